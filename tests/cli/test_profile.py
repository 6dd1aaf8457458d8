"""The loop as one command: its files, its summary, and what is left when it is stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import typer

from topoprobe.cli import profile, registry
from topoprobe.errors import MeasurementFailed, UsageError
from topoprobe.measure.benchmark import Benchmark, Context, Interrupted, Outcome
from topoprobe.measure.series import Quantity, Trial, collect
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.documents import decode_as
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import ResultsDocument


class TriadOfNumpy:
    """A small but real measurement."""

    name = "test.triad"
    summary = "Measure a small triad."
    revision = 1
    seconds = 1.0

    def missing(self, machine: MachineDocument) -> str | None:
        return None

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        import numpy as np

        x, y = np.ones(1 << 16), np.ones(1 << 16)
        factors = {"device": "host", "threads": 1, "variant": "numpy", "array_bytes": x.nbytes}

        def rate() -> float:
            begin_s = context.clock()
            for _ in range(20):
                x[:] = 0.5 * y
            return 20 * 2 * x.nbytes / (context.clock() - begin_s)

        quantity = Quantity("stream.triad", "bytes_per_s", factors)
        return Outcome(collect(context, [Trial.of(quantity, rate)], tolerance_ratio=1.0))


class StoppedByThePerson(TriadOfNumpy):
    """Measures, then gets Ctrl-C."""

    name = "test.stopped"

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        super().run(machine, context)
        os.kill(os.getpid(), signal.SIGINT)
        if context.should_stop():
            raise Interrupted
        raise AssertionError("the signal was not seen")


class Broken(TriadOfNumpy):
    """Always fails."""

    name = "test.broken"

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        raise OSError("the wire is cut")


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> object:
    def use_benchmarks(*benchmarks: Benchmark) -> None:
        monkeypatch.setattr(registry, "benchmarks", lambda: benchmarks)

    return use_benchmarks


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_profile_writes_its_documents_and_says_why_it_did_not_serve(
    tmp_path: Path, use, capsys: pytest.CaptureFixture[str]
) -> None:
    use(TriadOfNumpy(), Broken())
    profile.run(output=str(tmp_path / "out"), suite="quick")
    out, err = capsys.readouterr()
    assert names(tmp_path / "out") == {
        "machine.json", "results.json", "calibration.json", "report.html",
    }  # fmt: skip
    calibration = decode_as(
        (tmp_path / "out" / "calibration.json").read_bytes(), CalibrationDocument
    )
    assert calibration.devices[0].memory_bandwidth_bytes_per_s is not None
    assert "triad" in out
    assert "not served: tiny-llama has no step-cost law here" in out
    assert "test.broken failed: the wire is cut" in out
    assert "next: open" in err
    assert len(out.splitlines()) <= 24


def test_profile_does_not_touch_an_earlier_one_without_force(tmp_path: Path, use) -> None:
    use(TriadOfNumpy())
    (tmp_path / "machine.json").write_text("precious", encoding="utf-8")
    with pytest.raises(UsageError, match="--force"):
        profile.run(output=str(tmp_path), suite="quick")
    assert names(tmp_path) == {"machine.json"}
    assert (tmp_path / "machine.json").read_text(encoding="utf-8") == "precious"


def test_stopped_profile_saves_what_was_measured_and_marks_it(
    tmp_path: Path, use, capsys: pytest.CaptureFixture[str]
) -> None:
    use(StoppedByThePerson(), TriadOfNumpy())
    (tmp_path / "run.json").write_text("of an earlier run", encoding="utf-8")
    with pytest.raises(typer.Exit) as stopped:
        profile.run(output=str(tmp_path), suite="quick", force=True)
    assert stopped.value.exit_code == 130
    results = decode_as((tmp_path / "results.json").read_bytes(), ResultsDocument)
    assert results.is_partial
    assert [experiment.status for experiment in results.experiments] == ["unstable", "skipped"]
    assert results.experiments[0].series[0].samples
    assert "run.json" not in names(tmp_path)
    assert "partial" in capsys.readouterr().err


def test_profile_in_which_everything_fails_ends_with_that(tmp_path: Path, use) -> None:
    use(Broken())
    with pytest.raises(MeasurementFailed, match="nothing to calibrate"):
        profile.run(output=str(tmp_path), suite="quick")
    assert names(tmp_path) == {"machine.json", "results.json", "report.html"}


def test_profile_into_a_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot be written"):
        profile.run(output=str(tmp_path / "file" / "out"), suite="quick")


def test_unknown_suite_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="quick, standard, full"):
        profile.run(output=str(tmp_path / "out"), suite="eternal")
    assert not (tmp_path / "out").exists()
