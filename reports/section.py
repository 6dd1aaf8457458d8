"""What a section of the page is given, and how it says that it has nothing to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import ResultsDocument
from topoprobe.records.run import RunDocument


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents that a page is made of; None for those that were not given."""

    machine: MachineDocument | None = None
    results: ResultsDocument | None = None
    calibration: CalibrationDocument | None = None
    run: RunDocument | None = None

    def with_embedded_machine(self) -> Documents:
        """Take the machine from the calibration or the results where none was given."""
        if self.machine is not None:
            return self
        holder = self.calibration or self.results
        machine = holder.machine if holder is not None else None
        return Documents(machine, self.results, self.calibration, self.run)


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a section is not shown: one sentence, with what to do about it where that is known."""

    reason: str


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page.

    Attributes
    ----------
    name : str
        The anchor in the page, and the name of its template in ``templates/sections``.
    title : str
        The heading.
    payload : callable
        Returns what the template shows, or why there is nothing.
    is_wide : bool
        Takes the whole width of the page instead of half.
    """

    name: str
    title: str
    payload: Callable[[Documents], object | Absent]
    is_wide: bool = False


NEEDS_MACHINE = Absent("No machine document was given: run `topoprobe scan -o machine.json`.")
NEEDS_RESULTS = Absent("No results document was given: run `topoprobe bench -o results.json`.")
NEEDS_CALIBRATION = Absent(
    "No calibration document was given: run `topoprobe calibrate results.json`."
)
NEEDS_RUN = Absent("No run document was given: run `topoprobe run` or `topoprobe simulate`.")


def not_measured(documents: Documents, what: str, benchmarks: tuple[str, ...]) -> Absent:
    """Say that something was not measured, with the reason that the documents hold.

    Parameters
    ----------
    documents : Documents
        Searched for reasons: first the calibration's missing numbers, then the experiments.
    what : str
        The beginning of the sentence, as ``Memory bandwidth``.
    benchmarks : tuple of str
        Words of which one is part of the name of a benchmark or fact that would have given it.
    """
    reasons: list[str] = []
    if documents.calibration is not None:
        reasons += [
            missing.reason
            for missing in documents.calibration.missing
            if any(word in f"{missing.subject} {missing.fact}" for word in benchmarks)
        ]
    if documents.results is not None:
        reasons += [
            experiment.reason
            for experiment in documents.results.experiments
            if experiment.reason and any(word in experiment.benchmark for word in benchmarks)
        ]
    why = f": {reasons[0]}" if reasons else "; no document says why"
    return Absent(f"{what} not measured{why}.".replace("..", "."))
