"""`topoprobe doctor` as a program: what it prints, writes, refuses, and its exit codes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from topoprobe.machine.building import build
from topoprobe.machine.facts import Facts, HostFact, PciFact
from topoprobe.machine.pcie import capability
from topoprobe.records.base import Tool
from topoprobe.records.documents import encode

ROOT = Path(__file__).resolve().parent.parent.parent


def doctor(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "topoprobe", "doctor", *arguments],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
        input=stdin,
    )


@pytest.fixture
def narrowed(tmp_path: Path) -> str:
    """Write a machine whose GPU lost half its lanes."""
    port = PciFact(
        address="0000:00:01.0", root="0000:00", class_code="060400", maximum=capability(16e9, 16)
    )
    gpu = PciFact(
        address="0000:01:00.0", root="0000:00", parent=port.address, class_code="030200",
        vendor="10de", maximum=capability(16e9, 16), current=capability(16e9, 8),
    )  # fmt: skip
    host = HostFact(name="secret-host")
    facts = Facts(source="a", tree="full", host=host, functions=(port, gpu))
    path = tmp_path / "machine.json"
    path.write_bytes(encode(build([facts], origin="recorded", tool=Tool(tool_version="0"))))
    return str(path)


def test_live_machine_is_judged() -> None:
    done = doctor()
    assert done.returncode in (0, 1)
    assert b"check" in done.stdout.splitlines()[0]
    assert done.stderr.decode().startswith("Next: topoprobe ")


def test_json_has_the_published_shape(narrowed: str) -> None:
    done = doctor(narrowed, "--json")
    assert done.stderr == b""
    document = json.loads(done.stdout)
    assert list(document) == ["verdicts"]
    for verdict in document["verdicts"]:
        assert list(verdict) == ["level", "check", "subject", "evidence", "fix"]
        assert verdict["level"] in ("OK", "WARN", "FAIL")
        assert (verdict["fix"] is None) is (verdict["level"] == "OK")
    assert document["verdicts"][0]["subject"] == "pcie@0000:01:00.0"
    assert all(isinstance(v, dict) for v in json.loads(doctor("--json").stdout)["verdicts"])


def test_failure_is_exit_code_one_in_every_form(narrowed: str, tmp_path: Path) -> None:
    target = str(tmp_path / "out.md")
    for more in ([], ["--json"], ["--markdown"], ["-o", target]):
        assert doctor(narrowed, *more).returncode == 1
    assert Path(target).read_text(encoding="utf-8").startswith("**topoprobe doctor**")


def test_made_up_machine_without_faults_is_exit_code_zero() -> None:
    done = doctor("hgx-h100")
    assert done.returncode == 0
    assert done.stdout.startswith(b"Nothing to mend")
    assert done.stderr == b"Next: topoprobe scan hgx-h100\n"


def test_recording_on_stdin_is_judged(narrowed: str) -> None:
    done = doctor("-", "--quiet", stdin=Path(narrowed).read_bytes())
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"FAIL link-width     GPU 0 runs x8 of x16" in done.stdout


def test_markdown_does_not_name_the_host(narrowed: str) -> None:
    assert b"secret-host" not in doctor(narrowed, "--markdown").stdout


def test_software_is_judged_on_this_machine_only(narrowed: str) -> None:
    checks = [v["check"] for v in json.loads(doctor("--json").stdout)["verdicts"]]
    assert "software" in checks
    checks = [v["check"] for v in json.loads(doctor(narrowed, "--json").stdout)["verdicts"]]
    assert "software" not in checks


@pytest.mark.parametrize(("suffix", "start"), [(".json", "{"), (".md", "**"), (".txt", "1 thing")])
def test_suffix_chooses_the_form(narrowed: str, tmp_path: Path, suffix: str, start: str) -> None:
    target = tmp_path / f"verdicts{suffix}"
    done = doctor(narrowed, "-o", str(target))
    assert (done.returncode, done.stdout) == (1, b"")
    assert target.read_text(encoding="utf-8").startswith(start)
    assert doctor(narrowed, "-o", str(target)).returncode == 2  # it is there already


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.xml"], "does not exist"),
        (["--json", "--markdown"], "exclude each other"),
        (["-o", "x.yaml"], "suffix"),
        (["--json", "-o", "x.md"], "suffix"),
    ],
)
def test_bad_use_is_one_sentence_and_exit_code_two(arguments: list[str], words: str) -> None:
    done = doctor(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def on_terminal(*arguments: str, **environment: str) -> str:
    """Return what the command prints on a terminal of 90 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS"}}
    command = subprocess.Popen(
        [sys.executable, "-m", "topoprobe", "doctor", *arguments],
        cwd=ROOT, stdout=theirs, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        env=kept | {"TERM": "xterm-256color"} | environment,
    )  # fmt: skip
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
        while part := os.read(ours, 65536):
            text += part
    os.close(ours)
    assert command.wait(60) == 1
    return text.decode().replace("\r\n", "\n")


def test_what_is_wrong_is_coloured_on_a_terminal_only(narrowed: str) -> None:
    coloured = on_terminal(narrowed)
    assert "\x1b[31mFAIL\x1b[0m link-width " in coloured
    plain = on_terminal(narrowed, NO_COLOR="1")
    assert "\x1b" not in plain
    assert "\x1b" not in on_terminal(narrowed, TERM="dumb")
    assert b"\x1b" not in doctor(narrowed).stdout
    # Colours change no layout.
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['topoprobe', 'doctor', '--json']\n"
        "from topoprobe.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert stop.code in (0, 1, None), stop.code\n"
        "heavy = ('numpy', 'pandas', 'torch', 'cupy', 'numba', 'jinja2', 'rich')\n"
        "sys.stderr.write(str([name for name in heavy if name in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stderr == b"[]"
