"""Where output goes."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from topoprobe.cli.output import deliver, read_input, refuse_existing
from topoprobe.errors import UsageError
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.documents import decode_as

ROOT = Path(__file__).resolve().parents[2]
# A disk of 16 KiB, and a document of 64 KiB for it; then what lies on it.
FILL_A_DISK = """
mount -t tmpfs -o size=16k small "$1" || exit 77
"$2" -c '
import os, sys
from topoprobe.cli.output import deliver
from topoprobe.errors import UsageError
try:
    deliver(b"x" * 65536, sys.argv[1] + "/x.json", as_json=False)
except UsageError as error:
    print(error)
print(os.listdir(sys.argv[1]))' "$1"
"""


@pytest.mark.parametrize(
    ("has_file", "as_json", "printed", "may_print"),
    [
        (False, False, "", True),
        (True, False, "", True),
        (False, True, "{}", False),
        (True, True, "{}", False),
    ],
)
def test_deliver_writes_wherever_it_was_asked(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    has_file: bool,
    as_json: bool,
    printed: str,
    may_print: bool,
) -> None:
    target = tmp_path / "x.json"
    assert deliver(b"{}", str(target) if has_file else None, as_json=as_json) is may_print
    assert capfd.readouterr().out == printed
    assert target.exists() is has_file


def test_deliver_dash_is_stdout_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert deliver(b"{}", "-", as_json=True) is False
    assert capfd.readouterr().out == "{}"


def test_refuse_existing_leaves_nothing_behind(tmp_path: Path) -> None:
    refuse_existing(str(tmp_path / "x.json"), force=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_refuse_existing_tries_the_folder() -> None:
    with pytest.raises(UsageError, match=r"/proc/x\.json cannot be written"):
        refuse_existing("/proc/x.json", force=False)


def test_refuse_existing_name_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="File name too long"):
        refuse_existing(str(tmp_path / ("x" * 255)), force=False)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_stdin_from_a_terminal_says_that_it_waits(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"text"))
    monkeypatch.setattr(stdin, "isatty", lambda: is_terminal)
    monkeypatch.setattr("sys.stdin", stdin)
    assert read_input("-", 10) == b"text"
    assert ("Ctrl-D" in capsys.readouterr().err) is is_terminal


def test_deliver_to_a_full_disk_keeps_the_document_elsewhere(tmp_path: Path) -> None:
    disk, spare = tmp_path / "disk", tmp_path / "spare"
    disk.mkdir()
    spare.mkdir()
    command = ["unshare", "-rm", "sh", "-c", FILL_A_DISK, "sh", str(disk), sys.executable]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(spare)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if done.returncode != 0 and not done.stdout:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    said, left = done.stdout.splitlines()
    (kept,) = spare.iterdir()
    assert said == (
        f"{disk}/x.json cannot be written: No space left on device; it was kept as {kept}."
    )
    assert kept.read_bytes() == b"x" * 65536
    assert left == "[]"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_document_that_does_not_fit_stdout_is_kept_elsewhere(tmp_path: Path) -> None:
    results = ROOT / "tests/data/results/cpu-latency.json"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "topoprobe", "calibrate", str(results), "--json"],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(tmp_path)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    (kept,) = tmp_path.iterdir()
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "topoprobe: stdout cannot be written: No space left on device; send it somewhere else; "
        f"it was kept as {kept}."
    ]
    assert decode_as(kept.read_bytes(), CalibrationDocument).devices


def test_deliver_where_no_folder_takes_it_says_that_it_is_lost(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(
            UsageError, match=r"x\.json cannot be written: File too large; it is lost"
        ):
            deliver(b"x" * 4096, str(tmp_path / "x.json"), as_json=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
