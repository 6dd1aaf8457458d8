"""Text for people: wrapped between words on a terminal, untouched in a pipe."""

from __future__ import annotations

import pytest

from topoprobe.cli.terminal import write_lines

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
