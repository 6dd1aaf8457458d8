"""`topoprobe profile`: the whole loop on this machine, into one folder."""

from __future__ import annotations

import contextlib
import datetime
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from topoprobe import __version__
from topoprobe.cli.options import Quiet
from topoprobe.cli.output import make_folder, refuse_existing, write_kept, write_output
from topoprobe.cli.stopping import stop_on_interrupt
from topoprobe.cli.terminal import Progress, note, progress_bar, write_lines
from topoprobe.errors import EnvironmentMissing, Interrupted, MeasurementFailed, ModelError
from topoprobe.records.base import Tool
from topoprobe.records.documents import Document, encode

if TYPE_CHECKING:
    from topoprobe.records.calibration import CalibrationDocument
    from topoprobe.records.machine import MachineDocument
    from topoprobe.records.results import ResultsDocument
    from topoprobe.records.run import RunDocument

_EPILOG = "Examples:\n\n  topoprobe profile -o out/ --force\n\n  topoprobe profile --suite standard"
_INTERRUPTED = 130
_FILES = ("machine.json", "results.json", "calibration.json", "run.json", "report.html")

# The real run: a saturated closed loop that takes well under half a minute on two cores.
MODEL = "tiny-llama"
NUM_REQUESTS = 12
CONCURRENCY = 6
PROMPT_TOKENS = "32-160"
OUTPUT_TOKENS = "200-260"
NUM_REPEATS = 3
SEED = 7


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profile", epilog=_EPILOG)(run)


def run(
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Folder to write; a new dated one by default."),
    ] = None,
    suite: Annotated[
        str, typer.Option("--suite", help="quick (minutes), standard or full (an hour).")
    ] = "quick",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the calibration document, and nothing else.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what an earlier profile left in the folder.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Scan, measure, calibrate, serve, predict and report: the whole loop in a few minutes."""
    from topoprobe.measure.devices.session import budget_here

    budget_here(suite)
    folder = make_folder(output or _dated_name())
    for name in _FILES:
        refuse_existing(str(folder / name), force)
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()  # so that a stopped run leaves no mixture of two

    with stop_on_interrupt() as should_stop:
        with progress_bar("profiling", quiet=quiet) as progress:
            loop = _Loop(folder, suite, progress, should_stop)
            loop.run()
        was_stopped = should_stop()
    if as_json and loop.calibration is not None:
        write_output("-", encode(loop.calibration))
    elif not as_json:
        write_lines(loop.summary())
    written = [name for name in _FILES if (folder / name).exists()]
    note(f"wrote {', '.join(written)} in {folder}/", quiet=quiet)
    if was_stopped:
        note("stopped before the end: what was measured is saved and marked as partial")
        raise typer.Exit(_INTERRUPTED)
    if loop.failure is not None:
        raise MeasurementFailed(loop.failure)
    simulate = f"topoprobe simulate {folder}/calibration.json --requests 100 --rate 2"
    note(f"next: open {folder}/report.html, or {simulate}", quiet=quiet)


class _Loop:
    """One turn of the loop; each document is written as soon as it is there."""

    def __init__(
        self, folder: Path, suite: str, progress: Progress, should_stop: Callable[[], bool]
    ) -> None:
        self._folder = folder
        self._suite = suite
        self._progress = progress
        self._should_stop = should_stop
        self.machine: MachineDocument | None = None
        self.results: ResultsDocument | None = None
        self.calibration: CalibrationDocument | None = None
        self.served: RunDocument | None = None
        self.failure: str | None = None
        self.not_served: str | None = None

    def run(self) -> None:
        """Go through the steps, up to the one that was stopped or cannot be done."""
        from topoprobe.cli.registry import render_report
        from topoprobe.machine.sources.scan import scan_live

        self._progress(0.0, "scan")
        self.machine = scan_live(captured_at=_now())
        self._write("machine.json", self.machine)
        self.results = self._bench(self.machine)
        self._write("results.json", self.results)
        self._calibrate(self.results)
        if self.calibration is not None and not self._should_stop():
            self._serve(self.calibration)
        self._progress(0.99, "report")
        page = render_report(
            machine=self.machine,
            results=self.results,
            calibration=self.calibration,
            run=self.served,
        )
        write_output(self._folder / "report.html", page.encode())

    def summary(self) -> list[str]:
        """Say on one screen what there is to know."""
        from topoprobe.cli.summary import (
            ceiling_lines,
            contention_lines,
            machine_lines,
            run_lines,
            status_lines,
        )

        lines = machine_lines(self.machine) if self.machine is not None else []
        if self.calibration is not None:
            lines += ceiling_lines(self.calibration) + contention_lines(self.calibration)
        if self.served is not None:
            lines += run_lines(self.served)
        elif self.not_served is not None:
            lines.append(f"not served: {self.not_served}")
        if self.results is not None:
            lines += status_lines(self.results, self.calibration)
        return lines

    def _bench(self, machine: MachineDocument) -> ResultsDocument:
        from topoprobe.cli.registry import benchmarks
        from topoprobe.measure.devices.session import budget_here, run_suite

        return run_suite(
            machine,
            benchmarks(),
            budget_here(self._suite),
            self._part(0.0, 0.85),
            self._should_stop,
        )

    def _calibrate(self, results: ResultsDocument) -> None:
        from topoprobe.model.calibration.build import calibrate
        from topoprobe.model.calibration.completing import supplemented

        self._progress(0.85, "calibrate")
        try:
            measured = calibrate(results, tool=_tool(), created_at=_now())
        except ModelError as error:
            self.failure = str(error)
            return
        self.calibration = supplemented(measured)
        self._write("calibration.json", self.calibration)

    def _serve(self, calibration: CalibrationDocument) -> None:
        """Serve the bundled model for real, with the prediction made before."""
        cost = next((cost for cost in calibration.models if cost.model.name == MODEL), None)
        if cost is None:
            self.not_served = f"{MODEL} has no step-cost law here: {self._why_no_law(calibration)}"
            return
        from topoprobe.model.deployment import deploy_calibrated
        from topoprobe.serving.runner.run import RunSettings, real_run
        from topoprobe.serving.workload.load import synthetic_load
        from topoprobe.serving.workload.synthetic import TokenRange

        load = synthetic_load(
            NUM_REQUESTS,
            seed=SEED,
            max_concurrency=CONCURRENCY,
            prompt=TokenRange.parse(PROMPT_TOKENS),
            output=TokenRange.parse(OUTPUT_TOKENS),
        )
        try:
            self.served = real_run(
                cost.model,
                load,
                RunSettings(num_threads=cost.num_threads or 1, num_repeats=NUM_REPEATS),
                tool=_tool(),
                deployment=deploy_calibrated(calibration, MODEL),
                calibration="calibration.json",
                started_at=_now(),
                progress=self._part(0.86, 0.99),
                should_stop=self._should_stop,
            )
        except (EnvironmentMissing, Interrupted) as error:
            self.not_served = str(error)
            return
        self._write("run.json", self.served)

    def _why_no_law(self, calibration: CalibrationDocument) -> str:
        reasons = [one.reason for one in calibration.missing if one.subject.startswith("model.")]
        return reasons[0] if reasons else "its steps were not measured"

    def _part(self, begin: float, end: float) -> Progress:
        return lambda done_ratio, text: self._progress(begin + (end - begin) * done_ratio, text)

    def _write(self, name: str, document: Document) -> None:
        write_kept(self._folder / name, encode(document))


def _tool() -> Tool:
    return Tool(tool_version=__version__)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _dated_name() -> str:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return f"topoprobe-{socket.gethostname()}-{stamp}"
