"""`topoprobe compare` as a program: what it prints, writes and refuses."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BIG = "2 socket: switch: gpu(h100 nvlink=18), nic(cx7)"
SMALL = "2 socket: switch(gen4): gpu(h100), nic(cx7)"


def topoprobe(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "topoprobe", *arguments],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
        text=stdin is None,
        input=stdin,
    )


def compare(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
    return topoprobe("compare", *arguments, stdin=stdin)


def test_same_machine_ends_with_code_0() -> None:
    done = compare("dgx-a100", "dgx-a100")
    assert done.returncode == 0
    assert done.stdout.startswith("Nothing changed: ")
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == "Next: topoprobe scan dgx-a100\n"


def test_worse_machine_ends_with_code_1_and_says_what_is_worse() -> None:
    done = compare(BIG, SMALL)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    worse = lines[lines.index("Worse") :]
    assert "gpu@0000:03:00.0 nominal link bandwidth" in done.stdout
    assert "63.0 GB/s -> 31.5 GB/s (0.5x)" in done.stdout
    assert any(line.endswith("NV18 -> SYS") for line in worse)
    assert done.stderr.startswith("Next: topoprobe doctor '2 socket")
    assert compare(SMALL, BIG).returncode == 0


def test_json_holds_every_comparison_in_its_shape() -> None:
    done = compare(BIG, SMALL, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    printed = json.loads(done.stdout)
    assert (printed["before"], printed["after"]) == (BIG, SMALL)
    assert {row["verdict"] for row in printed["comparisons"]} == {"same", "worse", "incomparable"}
    for row in printed["comparisons"]:
        assert row.keys() >= {"name", "before", "after", "ratio", "verdict"}
    counts = printed["summary"]
    assert counts["worse"] == sum(r["verdict"] == "worse" for r in printed["comparisons"])
    assert sum(counts.values()) == len(printed["comparisons"])


def test_machines_with_nothing_in_common_say_so_first() -> None:
    done = compare("socket: gpu", "8 socket: 20 nic, gpu")
    assert " ".join(done.stdout.split()).startswith(
        "socket: gpu and 8 socket: 20 nic, gpu have no device in common: are they the same machine?"
    )


def test_long_lists_are_short_on_the_screen() -> None:
    done = compare("socket: gpu", "8 socket: 20 nic, gpu")
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert re.search(r"^  nic@\S+ and 159 more +new$", done.stdout, re.MULTILINE)
    assert len(done.stdout.splitlines()) < 30


def test_changes_that_are_alike_are_one_row() -> None:
    done = compare("hgx-h100", "2 socket: 4 switch: gpu(h100), nic(cx7)")
    alone = compare("socket: 8 gpu(h100 nvlink=18), 4 nvswitch(h100)", "socket: 8 gpu(h100)")
    assert re.search(
        r"^  class gpu\S+ gpu\S+ and 27 more +NV18 -> PHB$", alone.stdout, re.MULTILINE
    )
    assert done.returncode == alone.returncode == 1


def on_terminal(columns: int, *arguments: str) -> list[str]:
    """Return what the program shows on a terminal of that width."""
    master, slave = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "topoprobe", "compare", *arguments],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
        )
        os.close(slave)
        written = b""
        while process.poll() is None or select.select([master], [], [], 0)[0]:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    written += os.read(master, 1 << 16)
                except OSError:  # Linux says so when the last writer is gone
                    break
        process.wait(timeout=60)
    finally:
        os.close(master)
    return written.decode().splitlines()


def test_terminal_lines_are_wrapped_between_words() -> None:
    lines = on_terminal(60, "dgx-a100", "hgx-h100")
    words = set(" ".join(compare("dgx-a100", "hgx-h100").stdout.split()).split())
    assert set(" ".join(lines).split()) >= words
    assert all(len(line) <= 60 for line in lines)
    assert any(line.endswith("Processor -> Intel(R)") for line in lines)


def test_document_from_stdin_is_compared() -> None:
    machine = topoprobe("scan", BIG, "--json").stdout.encode()
    done = compare("-", BIG, "--json", stdin=machine)
    assert done.returncode == 0
    assert json.loads(done.stdout)["before"] == "stdin"


def test_output_file_tells_its_format_by_suffix(tmp_path: Path) -> None:
    target = tmp_path / "changes.json"
    done = compare(BIG, SMALL, "-o", str(target))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Wrote {target}." in done.stderr
    assert json.loads(target.read_text(encoding="utf-8"))["comparisons"]
    again = compare(BIG, SMALL, "-o", str(target))
    assert again.returncode == 2
    assert "--force" in again.stderr
    text = tmp_path / "changes.txt"
    assert compare(BIG, BIG, "-o", str(text), "--quiet").stderr == ""
    assert text.read_text(encoding="utf-8").startswith("Nothing changed")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dgx-a100", "no-such.json"), "no-such.json does not exist"),
        (("dgx-a100", "2 socket: gup"), "at position 11"),
        (("-", "-"), "stdin can be read once"),
        (("dgx-a100", "dgx-a100", "-o", "changes.csv"), "suffix that says no format"),
        (("dgx-a100", "dgx-a100", "--json", "-o", "changes.txt"), "suffix that says no format"),
    ],
)
def test_bad_usage_is_one_sentence_and_code_2(arguments: tuple[str, ...], words: str) -> None:
    done = compare(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def results(tmp_path: Path) -> str:
    machine = json.loads(topoprobe("scan", "gpu", "--json").stdout)
    document = {
        "schema": "topoprobe.results",
        "version": 1,
        "tool": {"tool_version": "0"},
        "machine": {key: value for key, value in machine.items() if key != "schema"},
        "environment": {"python": "3.11"},
        "suite": "quick",
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def test_other_documents_come_with_a_later_version(results: str) -> None:
    done = compare(results, results)
    assert (done.returncode, done.stdout) == (2, "")
    assert "are results documents, which a later version will compare" in done.stderr
    mixed = compare(results, "dgx-a100")
    assert mixed.returncode == 2
    assert "give two of one kind" in mixed.stderr


def test_one_figure_is_a_singular() -> None:
    from topoprobe.cli.changes import change_lines
    from topoprobe.records.base import Change

    same = Change(name="a", before=1, after=1, ratio=None, verdict="same")
    unknown = Change(name="b", before=1, after=None, ratio=None, verdict="incomparable")
    assert change_lines([same], 80) == ["Nothing changed: 1 figure is the same."]
    assert change_lines([unknown, unknown], 80)[-1] == (
        "2 figures are known of one side only; --json lists them."
    )
    assert change_lines([unknown], 80)[-1] == (
        "1 figure is known of one side only; --json lists it."
    )


def test_nothing_of_something_is_no_hexadecimal() -> None:
    done = compare("socket: gpu, nvme", "socket: gpu")
    assert re.search(r"^  count of drives +1 -> 0$", done.stdout, re.MULTILINE)


def test_noise_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(bytes(range(256)) * 40)
    done = compare(str(path), "dgx-a100")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_help_shows_examples() -> None:
    done = compare("--help")
    _, _, examples = done.stdout.rpartition("Examples:")
    assert examples.count("topoprobe compare") == 2
