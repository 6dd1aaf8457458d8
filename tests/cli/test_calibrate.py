"""`topoprobe calibrate`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from topoprobe.cli.main import main
from topoprobe.records.base import Status, Tool
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.documents import decode_as, encode
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Environment, Experiment, ResultsDocument, Sample, Series

Command = Callable[..., tuple[int, str, str]]
TOOL = Tool(tool_version="0")


@pytest.fixture
def calibrate(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process; return exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["topoprobe", "calibrate", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capfd.readouterr()
        return int(stop.value.code or 0), out, err

    return run


@pytest.fixture
def results(tmp_path: Path) -> str:
    """Write results of a triad of 5 GB/s and return their path."""
    series = Series(
        name="stream.triad",
        unit="bytes_per_s",
        factors={"device": "host", "threads": 1, "variant": "none", "array_bytes": 64},
        is_better_higher=True,
        status=Status.OK,
        samples=tuple(Sample(value=5e9, started_s=0.0, duration_s=0.1) for _ in range(5)),
    )
    document = ResultsDocument(
        tool=TOOL,
        machine=MachineDocument(tool=TOOL, origin="synthetic", sources=(), nodes=()),
        environment=Environment(python="3"),
        suite="quick",
        started_at="2026-01-01T00:00:00+00:00",
        experiments=(
            Experiment(
                benchmark="cpu.stream",
                revision=1,
                summary="Stream.",
                status=Status.OK,
                series=(series,),
            ),
        ),
    )
    path = tmp_path / "results.json"
    path.write_bytes(encode(document))
    return str(path)


def test_calibrate_prints_ceilings_and_what_to_do(calibrate: Command, results: str) -> None:
    code, out, err = calibrate(results)
    assert code == 0
    assert "triad 5.0 GB/s" in out
    assert "add -o calibration.json" in err


def test_calibrate_json_prints_one_document_and_nothing_else(
    calibrate: Command, results: str
) -> None:
    code, out, err = calibrate(results, "--json")
    (rate,) = decode_as(out.encode(), CalibrationDocument).devices[0].stream
    assert (code, err) == (0, "")
    assert rate.rate_bytes_per_s.value == 5e9


def test_calibrate_json_with_a_file_prints_the_same_document(
    calibrate: Command, results: str, tmp_path: Path
) -> None:
    target = tmp_path / "calibration.json"
    code, out, err = calibrate(results, "--json", "-o", str(target))
    assert code == 0
    assert out.encode() == target.read_bytes()
    # There is no step law to simulate by, and no flows to predict.
    assert err == f"wrote {target}; next: topoprobe report {target} -o report.html\n"


def test_calibrate_file_that_cannot_be_written_is_refused_first(
    calibrate: Command, results: str
) -> None:
    code, _, err = calibrate(results, "-o", "/nonexistent/c.json")
    assert code == 2
    assert err.startswith("topoprobe: /nonexistent is not a folder")


def edited(path: str, target: Path, old: str, new: str) -> str:
    """Write a document with one text replaced and return its path."""
    text = Path(path).read_text()
    assert old in text
    target.write_text(text.replace(old, new))
    return str(target)


def test_calibrate_several_runs_pools_them_and_tells_of_contradictions(
    calibrate: Command, results: str, tmp_path: Path
) -> None:
    later = edited(results, tmp_path / "later.json", "2026-01-01", "2026-01-02")
    other = edited(later, tmp_path / "other.json", "5000000000.0", "3000000000.0")
    code, out, _ = calibrate(results, later, "--json")
    (rate,) = decode_as(out.encode(), CalibrationDocument).devices[0].stream
    assert (code, rate.rate_bytes_per_s.n) == (0, 10)
    code, out, _ = calibrate(results, other)
    assert code == 0
    assert "WARN: " in out
    assert "contradict each other in stream.triad" in out


def test_calibrate_with_a_base_takes_what_is_missing_from_it(
    calibrate: Command, results: str, tmp_path: Path
) -> None:
    base = str(tmp_path / "base.json")
    assert calibrate(results, "-o", base)[0] == 0
    only_copy = edited(results, tmp_path / "copy.json", "stream.triad", "stream.copy")
    code, out, _ = calibrate(only_copy, "--base", base, "--json")
    rates = decode_as(out.encode(), CalibrationDocument).devices[0].stream
    assert code == 0
    assert {rate.kernel for rate in rates} == {"copy", "triad"}


def test_calibrate_unknown_revision_is_refused_in_one_sentence(
    calibrate: Command, results: str, tmp_path: Path
) -> None:
    future = edited(results, tmp_path / "future.json", '"revision": 1', '"revision": 99')
    code, out, err = calibrate(future, "--json")
    assert (code, out) == (2, "")
    assert "cpu.stream in revision 99; this version knows revisions up to" in err
    assert len(err.splitlines()) == 1


def test_calibrate_number_beyond_floats_is_refused(
    calibrate: Command, results: str, tmp_path: Path
) -> None:
    huge = edited(results, tmp_path / "huge.json", "5000000000.0", "1e999")
    code, _, err = calibrate(huge)
    assert code == 2
    assert "is not valid JSON" in err


def test_calibrate_stdin_twice_is_refused(calibrate: Command) -> None:
    code, _, err = calibrate("-", "-")
    assert code == 2
    assert "stdin (-) holds one document" in err
