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
    assert err.startswith(f"wrote {target}; next: ")


def test_calibrate_file_that_cannot_be_written_is_refused_first(
    calibrate: Command, results: str
) -> None:
    code, _, err = calibrate(results, "-o", "/nonexistent/c.json")
    assert code == 2
    assert err.startswith("topoprobe: /nonexistent is not a folder")
