"""`topoprobe report`: documents in, one page out."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.reports import sample
from topoprobe.cli.report import run
from topoprobe.errors import InputError, UsageError
from topoprobe.records.documents import encode
from topoprobe.reports.embedded import documents_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "machine.json").write_bytes(encode(sample.vm_machine()))
    (tmp_path / "results.json").write_bytes(encode(sample.vm_results()))
    (tmp_path / "calibration.json").write_bytes(encode(sample.vm_calibration()))
    (tmp_path / "run.json").write_bytes(encode(sample.vm_run()))
    return tmp_path


def report(folder: Path, *names: str, output: str = "report.html", **options: bool) -> None:
    target = output if output == "-" else str(folder / output)
    run([str(folder / name) for name in names], output=target, quiet=True, **options)


def test_report_of_all_documents_holds_them(folder: Path) -> None:
    report(folder, "run.json", "machine.json", "calibration.json", "results.json")
    page = (folder / "report.html").read_bytes()
    assert page.startswith(b"<!doctype html>")
    assert documents_of(page) == (
        sample.vm_machine(),
        sample.vm_results(),
        sample.vm_calibration(),
        sample.vm_run(),
    )


def test_report_of_a_calibration_alone_shows_its_machine(folder: Path) -> None:
    report(folder, "calibration.json")
    page = (folder / "report.html").read_text("utf-8")
    assert 'id="topology"' in page
    assert "build-vm" in page


def test_report_of_a_report_and_another_document_joins_them(folder: Path) -> None:
    report(folder, "calibration.json", output="first.html")
    report(folder, "first.html", "run.json", output="second.html")
    documents = documents_of((folder / "second.html").read_bytes())
    assert documents == (sample.vm_calibration(), sample.vm_run())


def test_report_of_two_of_a_kind_is_refused(folder: Path) -> None:
    (folder / "other.json").write_bytes(encode(sample.empty_machine()))
    with pytest.raises(UsageError, match="second machine document"):
        report(folder, "machine.json", "other.json")
    assert not (folder / "report.html").exists()


def test_report_keeps_an_existing_file_unless_forced(folder: Path) -> None:
    (folder / "report.html").write_text("precious")
    with pytest.raises(UsageError, match="--force"):
        report(folder, "machine.json")
    assert (folder / "report.html").read_text() == "precious"
    report(folder, "machine.json", force=True)
    assert "precious" not in (folder / "report.html").read_text("utf-8")


def test_report_with_a_suffix_of_another_format_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"\.html"):
        report(folder, "machine.json", output="report.pdf")


def test_report_to_stdout_prints_only_the_page(
    folder: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    report(folder, "machine.json", output="-")
    printed = capsysbinary.readouterr()
    assert documents_of(printed.out) == (sample.vm_machine(),)
    assert printed.err == b""


def test_report_reads_stdin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(encode(sample.vm_machine())))
    monkeypatch.setattr("sys.stdin", stdin)
    run(["-"], output=str(folder / "report.html"), quiet=True)
    assert "build-vm" in (folder / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b'{"schema"', "not valid JSON"), (b"<html></html>", "without topoprobe")],
)
def test_report_of_bad_input_says_what_is_wrong_and_writes_nothing(
    folder: Path, content: bytes, words: str
) -> None:
    (folder / "bad").write_bytes(content)
    with pytest.raises(InputError, match=words):
        report(folder, "bad")
    assert not (folder / "report.html").exists()


def test_report_note_names_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(folder / "report.html")
    run([str(folder / "machine.json")], output=target)
    assert capsys.readouterr().err.startswith(f"wrote {target} (")
