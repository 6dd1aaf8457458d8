"""Measuring on this machine: the real clock, conditions, CPUs, memory and scratch folder."""

from __future__ import annotations

import datetime
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import msgspec

from topoprobe import __version__
from topoprobe.errors import EnvironmentMissing
from topoprobe.measure import suite
from topoprobe.measure.benchmark import Benchmark, Budget, Context, GpuChoice
from topoprobe.measure.devices.conditions import CpuConditions
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.measure.devices.cpu.exclusive import ExclusiveBursts
from topoprobe.measure.devices.cuda.inventory import ALL_IDLE
from topoprobe.measure.devices.environment import available_memory_bytes, environment
from topoprobe.records.base import Tool
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import ResultsDocument

# The other half stays for the page cache, for libraries, and for what else runs here.
_MEMORY_SHARE = 0.5
_ASSUMED_MEMORY_BYTES = 4 << 30


def budget_here(suite_name: str) -> Budget:
    """Return the budget of a suite on this machine: half of the memory that is available now.

    Raises
    ------
    UsageError
        If there is no such suite.
    """
    memory_bytes = available_memory_bytes() or _ASSUMED_MEMORY_BYTES
    return suite.budget(suite_name, int(memory_bytes * _MEMORY_SHARE))


def run_suite(
    machine: MachineDocument,
    benchmarks: Sequence[Benchmark],
    budget: Budget,
    progress: Callable[[float, str], None] = lambda done_ratio, text: None,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    max_time_s: float | None = None,
    is_exclusive: bool = False,
    gpus: GpuChoice = ALL_IDLE,
) -> ResultsDocument:
    """Run benchmarks on this machine, in order.

    Parameters
    ----------
    machine : MachineDocument
        This machine, as scanned.
    benchmarks : sequence of Benchmark
        What to run.
    budget : Budget
        See `budget_here`.
    progress : callable
        Told the share that is done (0 to 1) and what is running.
    should_stop : callable
        True once the person asked to stop; then the document is partial.
    max_time_s : float or None
        Stops as if asked after this time.
    is_exclusive : bool
        Keeps other programs off the CPUs during each sample, and rests as long after it.
    gpus : GpuChoice
        Which GPUs may be used.

    Raises
    ------
    EnvironmentMissing
        If there is no folder for temporary files, or no right to keep others off the CPUs.
    """
    began_s = time.monotonic()

    def is_over() -> bool:
        is_late = max_time_s is not None and time.monotonic() - began_s >= max_time_s
        return is_late or should_stop()

    cpus = available_cpus()
    conditions = CpuConditions(cpus)
    burst = _exclusive(conditions) if is_exclusive else nullcontext
    try:
        folder = tempfile.TemporaryDirectory(prefix="topoprobe-", dir=scratch_parent())
    except OSError as error:
        raise EnvironmentMissing(
            f"No folder for temporary files could be made: {error}; set TMPDIR."
        ) from error
    with folder as scratch:
        context = Context(
            budget=budget,
            clock=time.monotonic,
            conditions=conditions,
            cpus=cpus,
            scratch=scratch,
            should_stop=is_over,
            burst=burst,
            gpus=gpus,
        )
        return suite.run(
            machine,
            benchmarks,
            context,
            environment=msgspec.structs.replace(environment(), is_exclusive=is_exclusive),
            tool=Tool(tool_version=__version__),
            now=_now,
            progress=progress,
        )


def check_exclusive() -> None:
    """Check that others may be kept off the CPUs.

    Raises
    ------
    EnvironmentMissing
        If this process may not do so.
    """
    ExclusiveBursts()


def _exclusive(conditions: CpuConditions) -> Callable[[], AbstractContextManager[None]]:
    """Return bursts whose conditions leave out the rests between them."""
    bursts = ExclusiveBursts()

    @contextmanager
    def burst() -> Iterator[None]:
        with bursts():
            conditions.skip()
            yield

    return burst


def scratch_parent() -> Path:
    """Return where temporary files go: on a real disk if possible; ``/tmp`` is often memory."""
    usual = Path("/var/tmp")
    if "TMPDIR" not in os.environ and os.access(usual, os.W_OK) and usual.is_dir():
        return usual
    return Path(tempfile.gettempdir())


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
