"""Text for people: wrapped between words on a terminal, untouched in a pipe; progress."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from topoprobe.cli.terminal import note, write_lines

ROOT = Path(__file__).resolve().parent.parent.parent
SHOW = """
from topoprobe.cli.terminal import progress_bar
with progress_bar("measuring") as tell:
    tell(0.5, "cpu.contention " + "host:0 -> core:0 via cpu, work=stream | " * 5)
"""
LINES = [
    "machine    1 x Some Processor, 2 cores; 24 GiB in one node; virtual (unnamed hypervisor)",
    "           no GPU, 1 NIC, 1 drive",
    "a sentence without a column that is quite a bit longer than the terminal is wide today",
]


def test_lines_in_a_pipe_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(LINES)
    assert capsys.readouterr().out == "\n".join(LINES) + "\n"


def test_lines_on_a_terminal_are_wrapped_under_their_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "50")
    write_lines(LINES)
    assert capsys.readouterr().out.splitlines() == [
        "machine    1 x Some Processor, 2 cores; 24 GiB in",
        "           one node; virtual (unnamed hypervisor)",
        "           no GPU, 1 NIC, 1 drive",
        "a sentence without a column that is quite a bit",
        "  longer than the terminal is wide today",
    ]


def test_messages_on_a_terminal_are_wrapped_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/a/path/that/is/longer/than/the/terminal/is/wide.txt"
    text = f"Next: topoprobe doctor {path} (what is wrong with it)"
    note(text)
    assert capsys.readouterr().err == f"{text}\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "30")
    note(text)
    assert capsys.readouterr().err.splitlines() == [
        "Next: topoprobe doctor",
        f"  {path}",
        "  (what is wrong with it)",
    ]


@pytest.mark.parametrize("columns", ["", "0", "wide"])
def test_width_that_nobody_tells_is_80(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", columns)
    note("word " * 40)
    assert 70 < max(map(len, capsys.readouterr().err.splitlines())) <= 80


def test_message_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    note("a \x1b[31mname\x9b, \udc80")
    assert capsys.readouterr().err == "a ?[31mname?, ?\n"


def test_quiet_message_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    note("hush", quiet=True)
    assert capsys.readouterr().err == ""


def shown_at(columns: int) -> list[str]:
    """Return the lines of a progress bar with a long text on a terminal of that width."""
    master, slave = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", SHOW],
            cwd=ROOT,
            stderr=slave,
            env=os.environ | {"COLUMNS": str(columns), "LINES": "24", "TERM": "xterm"},
            check=True,
            timeout=60,
        )
        written = os.read(master, 1 << 16).decode()
    finally:
        os.close(slave)
        os.close(master)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()]


def test_progress_bar_long_text_is_cut_and_not_the_bar() -> None:
    last = shown_at(80)[-1]
    assert len(last) <= 80
    assert re.match(r"measuring \S{12,} +\S* *50% 0:00:\d\d cpu\.contention .*…$", last.rstrip())
