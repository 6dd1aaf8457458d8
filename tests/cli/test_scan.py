"""`topoprobe scan` as a program: what it prints, writes, refuses and imports."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from topoprobe.records.documents import decode
from topoprobe.records.machine import MachineDocument

ROOT = Path(__file__).resolve().parent.parent.parent
HEAVY = ("numpy", "pandas", "torch", "cupy", "numba", "jinja2", "rich")
GPU = '<pci busid="0000:{}:00.0" class="0x030200" link_speed="16 GT/s" link_width="16"/>'
SMALL = (
    '<system version="1"><cpu numaid="0" affinity="0000000f" arch="x86_64">'
    + GPU.format("01")
    + GPU.format("02")
    + "</cpu></system>"
)


def scan(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "topoprobe", "scan", *arguments],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
        input=stdin,
    )


@pytest.fixture
def recording(tmp_path: Path) -> str:
    path = tmp_path / "topo.xml"
    path.write_text(SMALL, encoding="utf-8")
    return str(path)


def test_live_scan_succeeds_and_notes_the_time() -> None:
    done = scan("--json")
    assert (done.returncode, done.stderr) == (0, b"")
    document = decode(done.stdout)
    assert isinstance(document, MachineDocument)
    assert document.origin == "live"
    assert document.captured_at is not None
    assert {"host", "package", "numa"} <= {
        node["kind"] for node in json.loads(done.stdout)["nodes"]
    }


def test_recordings_of_two_machines_are_refused(recording: str, tmp_path: Path) -> None:
    other = tmp_path / "other.xml"
    other.write_text(SMALL.replace("0000:0", "0000:8"), encoding="utf-8")
    done = scan(recording, str(other))
    assert done.returncode == 2
    assert b"no GPU in common" in done.stderr


def test_json_of_a_recording_has_the_published_shape(recording: str) -> None:
    done = scan(recording, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(done.stdout)
    assert document["schema"] == "topoprobe.machine"
    assert [n["pci_address"] for n in document["nodes"] if n["kind"] == "gpu"] == [
        "0000:01:00.0", "0000:02:00.0",
    ]  # fmt: skip
    (pair,) = document["pairs"]
    assert (pair["a"], pair["b"], pair["class"]) == (
        "gpu@0000:01:00.0", "gpu@0000:02:00.0", "PHB",
    )  # fmt: skip
    assert {"links", "contradictions", "unknown"} <= set(document)


def test_json_imports_nothing_that_costs_time(recording: str) -> None:
    for arguments in ([recording, "--json"], ["--json"]):
        code = (
            "import sys\n"
            f"sys.argv = ['topoprobe', 'scan', *{arguments!r}]\n"
            "from topoprobe.cli.main import main\n"
            "try:\n    main()\n"
            "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
            f"sys.stderr.write(str([name for name in {HEAVY!r} if name in sys.modules]))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True
        )
        assert done.stderr == b"[]"


def test_drawing_goes_to_stdout_and_the_next_command_to_stderr(recording: str) -> None:
    done = scan(recording)
    assert done.returncode == 0
    assert done.stdout.decode().startswith("• 1 NUMA node, 2 GPUs.")
    assert done.stderr.decode().startswith("Next: topoprobe doctor ")
    assert scan(recording, "--quiet").stderr == b""


def test_dash_reads_stdin() -> None:
    done = scan("-", "--json", stdin=SMALL.encode())
    assert done.returncode == 0
    assert json.loads(done.stdout)["sources"] == ["nccl-xml stdin"]


def test_output_file_is_a_document_or_a_drawing_by_its_suffix(
    recording: str, tmp_path: Path
) -> None:
    document, drawing = tmp_path / "machine.json", tmp_path / "machine.txt"
    assert scan(recording, "-o", str(document)).returncode == 0
    assert scan(recording, "-o", str(drawing)).returncode == 0
    assert isinstance(decode(document.read_bytes()), MachineDocument)
    assert drawing.read_text(encoding="utf-8").startswith("• 1 NUMA node")
    again = scan(str(document))
    assert again.stdout.decode() == drawing.read_text(encoding="utf-8")


def test_existing_file_is_kept_without_force(recording: str, tmp_path: Path) -> None:
    target = tmp_path / "machine.json"
    target.write_text("precious", encoding="utf-8")
    refused = scan(recording, "-o", str(target))
    assert refused.returncode == 2
    assert b"--force" in refused.stderr
    assert target.read_text(encoding="utf-8") == "precious"
    assert scan(recording, "-o", str(target), "--force").returncode == 0
    assert target.read_bytes().startswith(b"{")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.xml"], "does not exist"),
        ([""], "topoprobe: '' does not exist"),
        (["nowhere.xml"], "dgx-a100"),
        (["dgx-a10"], "did you mean dgx-a100?"),
        (["HGX_H100"], "did you mean hgx-h100?"),
        (["\x1b[31mname"], "?[31mname does not exist"),
        (["dgx-a100", "pyproject.toml"], "give it alone"),
        (["2 socket: 4 swich"], "swich"),
        (["tests"], "holds none of the files that are known"),
        (["pyproject.toml"], "unknown format"),
        (["--capture", "x.zip"], "end it in .tar.gz"),
        (["--capture", "no/such/folder/x.tgz"], "is not a folder"),
        (["--capture", "x.tar.gz", "dgx-a100"], "records this machine"),
        (["pyproject.toml", "-o", "x.yaml"], "suffix"),
        (["pyproject.toml", "--json", "-o", "x.txt"], "suffix"),
        (["pyproject.toml", "-o", "no/such/folder/x.json"], "is not a folder"),
    ],
)
def test_bad_use_is_one_sentence_and_exit_code_two(arguments: list[str], words: str) -> None:
    done = scan(*arguments)
    assert done.returncode == 2
    assert done.stdout == b""
    message = done.stderr.decode()
    assert words in message
    assert message.count("\n") == 1
    assert "Traceback" not in message


def test_capture_is_written_once_and_reads_like_the_machine(tmp_path: Path) -> None:
    target = tmp_path / "box.tar.gz"
    done = scan("--json", "--capture", str(target), "--keep-identities")
    assert done.returncode == 0
    notes = done.stderr.decode()
    assert "files of /sys and /proc" in notes
    assert "It names this machine" in notes
    live, replayed = json.loads(done.stdout), json.loads(scan(str(target), "--json").stdout)
    assert replayed["origin"] == "recorded"
    assert replayed["captured_at"] == live["captured_at"]
    assert (replayed["nodes"], replayed["links"]) == (live["nodes"], live["links"])
    assert b"--force" in scan("--capture", str(target)).stderr


def test_capture_blanks_the_host_name_unless_asked_not_to(tmp_path: Path) -> None:
    target = tmp_path / "box.tgz"
    done = scan("--capture", str(target))
    assert "host name" in done.stderr.decode().partition("Blanked in it: ")[2]
    assert done.stderr.decode().splitlines()[-1].startswith("Next: topoprobe scan ")
    assert json.loads(scan(str(target), "--json").stdout)["nodes"][0]["name"] == "host-1"


def test_folder_is_read_like_the_archive_it_was_packed_in(tmp_path: Path) -> None:
    target = tmp_path / "box.tar.gz"
    scan("--capture", str(target), "--quiet")
    with tarfile.open(target) as archive:
        archive.extractall(tmp_path, filter="data")
    document = json.loads(scan(str(target), "--json").stdout)
    for folder in ("box", "box/"):
        copy = json.loads(scan(str(tmp_path / folder), "--json").stdout)
        assert (copy["nodes"], copy["links"]) == (document["nodes"], document["links"])


@pytest.mark.parametrize("source", ["dgx-a100", "1 socket: 2 gpu"])
def test_made_up_machine_is_marked_as_such(source: str) -> None:
    document = json.loads(scan(source, "--json").stdout)
    assert document["origin"] == "synthetic"
    assert len([n for n in document["nodes"] if n["kind"] == "gpu"]) in {2, 8}


@pytest.mark.parametrize("content", ["", "<system version='1'><cpu", "noise \x00"])
def test_bad_file_is_one_sentence_and_exit_code_two(content: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.xml"
    path.write_text(content, encoding="utf-8")
    done = scan(str(path), "--json")
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
