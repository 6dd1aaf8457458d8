"""What a benchmark is: a value with a name, a sentence, a revision, and two questions.

The registry of benchmarks is an ordered tuple in `topoprobe.microbench`; adding one is one file
and one entry.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Conditions, Series

Clock = Callable[[], float]
"""A monotonic clock in seconds."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much time and memory a benchmark may take.

    Attributes
    ----------
    suite : str
        ``quick``, ``standard`` or ``full``.
    num_samples : int
        Steady samples wanted per series; fewer only when `max_series_s` runs out.
    max_series_s : float
        Longest time for one series, warm-up included.
    memory_bytes : int
        Most memory that a benchmark may hold at once.
    """

    suite: str
    num_samples: int
    max_series_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class GpuChoice:
    """Which GPUs may be measured.

    Attributes
    ----------
    indices : tuple of int or None
        Positions in PCI-address order; None for all.
    allows_busy : bool
        Whether also those that other processes use.
    """

    indices: tuple[int, ...] | None = None
    allows_busy: bool = False


class Interrupted(Exception):
    """The person asked to stop; what was measured so far is kept."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a running benchmark is given by its caller.

    Attributes
    ----------
    budget : Budget
        Time, samples and memory.
    clock : Clock
        Monotonic seconds; the only clock a benchmark reads.
    conditions : callable
        Returns the machine's state since its previous call (one per sample).
    progress : callable
        Told a short text whenever a new series begins.
    should_stop : callable
        True once the person asked to stop; checked between samples.
    keep : callable
        Given every series as soon as it is over, so that nothing is lost when the person stops.
    cpus : tuple of int
        CPUs this process may run on, one thread each, nearest first.
    scratch : str
        A folder for temporary files on the disk to be measured; removed by the caller.
    gpus : GpuChoice
        Which GPUs may be measured.
    burst : callable
        Returns a block to take one sample in; in it others may be kept off the CPUs.
    """

    budget: Budget
    clock: Clock
    conditions: Callable[[], Conditions | None]
    cpus: tuple[int, ...]
    scratch: str
    progress: Callable[[str], None] = field(default=lambda text: None)
    should_stop: Callable[[], bool] = field(default=lambda: False)
    keep: Callable[[Series], None] = field(default=lambda series: None)
    gpus: GpuChoice = field(default_factory=GpuChoice)
    burst: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a benchmark hands back: its series, and a status for the whole.

    The status is ``ok`` when any series is; a reason is given otherwise.
    """

    series: tuple[Series, ...]
    status: Status = Status.OK
    reason: str | None = None


class Benchmark(Protocol):
    """One experiment.

    Attributes
    ----------
    name : str
        Dotted, as ``cpu.stream``; what ``--only`` matches.
    summary : str
        One sentence in the imperative.
    revision : int
        Changed when its numbers stop being comparable.
    seconds : float
        About how long the quick suite takes on it, for ``--dry-run`` and the progress bar.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def summary(self) -> str: ...  # noqa: D102

    @property
    def revision(self) -> int: ...  # noqa: D102

    @property
    def seconds(self) -> float: ...  # noqa: D102

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure.

        Raises
        ------
        Interrupted
            If the person asked to stop.
        MeasurementFailed
            If nothing could be measured.
        """


@dataclass(frozen=True, slots=True)
class PlannedSet:
    """One concurrent set that would run.

    Attributes
    ----------
    flows : str
        Its text.
    memory_bytes : int
        Host memory that it takes.
    seconds : float
        Of all its runs.
    missing : str or None
        Why it cannot run here.
    scratch_folders : tuple of str
        Where it writes files, which are gone afterwards.
    """

    flows: str
    memory_bytes: int
    seconds: float
    missing: str | None = None
    scratch_folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The concurrent sets that a benchmark would run.

    Attributes
    ----------
    sets : tuple of PlannedSet
        Flows alone among them.
    memory_bytes : int
        Host memory of all that is held at once.
    """

    sets: tuple[PlannedSet, ...]
    memory_bytes: int


@runtime_checkable
class RunsSets(Protocol):
    """A benchmark that can say beforehand which concurrent sets it runs."""

    def plan(self, machine: MachineDocument, budget: Budget, gpus: GpuChoice) -> Plan:
        """Return the sets that it would run on these GPUs.

        Raises
        ------
        EnvironmentMissing
            If they are too few for any.
        """
