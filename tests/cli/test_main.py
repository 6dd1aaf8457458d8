"""The program as a whole: what it imports, prints and returns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from topoprobe.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent.parent
HEAVY = ("numpy", "pandas", "torch", "cupy", "numba")


def topoprobe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "topoprobe", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["scan", "--json"],
        *([command, "--help"] for command in COMMANDS),
    ],
    ids=" ".join,
)
def test_command_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['topoprobe', *{arguments!r}]\n"
        "from topoprobe.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_in_examples(command: str) -> None:
    done = topoprobe(command, "--help")
    assert done.returncode == 0
    _, _, examples = done.stdout.rpartition("Examples:")
    assert 2 <= examples.count(f"topoprobe {command}") <= 4


def test_version_is_the_one_of_the_package() -> None:
    from topoprobe import __version__

    assert topoprobe("--version").stdout == f"topoprobe {__version__}\n"


def test_unknown_command_is_a_usage_error() -> None:
    assert topoprobe("nonsense").returncode == 2


def test_schema_prints_json_and_nothing_else() -> None:
    done = topoprobe("schema", "calibration")
    assert done.stdout.startswith("{")
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "arguments", [["schema", "run"], ["scan"], ["--help"], ["--version"]], ids=" ".join
)
def test_full_stdout_is_one_sentence(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "topoprobe", *arguments],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "topoprobe: stdout cannot be written: No space left on device; send it somewhere else."
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("shares_stderr", [False, True])
@pytest.mark.parametrize("arguments", [["schema", "run"], ["scan"], ["--help"]], ids=" ".join)
def test_reader_that_goes_away_is_no_failure(arguments: list[str], shares_stderr: bool) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-u", "-m", "topoprobe", *arguments],
        cwd=ROOT,
        stdout=writing,
        stderr=writing if shares_stderr else subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(writing)
    assert done.returncode == 0
    assert not done.stderr


def test_schema_does_not_overwrite_without_force(tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    target.write_text("precious", encoding="utf-8")
    done = topoprobe("schema", "run", "-o", str(target))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--force" in done.stderr
    assert target.read_text(encoding="utf-8") == "precious"
    assert topoprobe("schema", "run", "-o", str(target), "--force").returncode == 0
    assert target.read_text(encoding="utf-8").startswith("{")
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]
