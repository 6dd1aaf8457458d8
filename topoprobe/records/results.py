"""The results document: every sample of every benchmark, with the conditions it was taken under.

Statistics are never stored; they are recomputed on reading (`topoprobe.measure.statistics`).
"""

from __future__ import annotations

import msgspec

from topoprobe.records.base import Record, Status, Tool
from topoprobe.records.machine import MachineDocument

Factor = str | int | float


class Conditions(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The state of the machine while one sample was taken; what could not be read is left out.

    Attributes
    ----------
    other_cpu_ratio : float
        Share of the CPUs' time used by other processes.
    steal_ratio : float
        Share of the CPUs' time taken by the hypervisor.
    cpu_clock_hz : float
        Mean clock of the CPUs, where the kernel tells.
    sm_clock_hz, memory_clock_hz, power_w, temperature_c : float
        GPU telemetry: medians of the readings beside the sample, the highest temperature.
    lowest_sm_clock_hz, highest_power_w : float
        Extremes of the same readings.
    throttle_reasons : tuple of str
        NVML's reasons that were active in any reading, empty when none was.
    pcie_generation, pcie_num_lanes : int
        GPU link under this load: the highest generation (a resting link lowers it) and the fewest
        lanes that were read.
    num_pcie_replays : int
        Packets that the link sent again since the sample before.
    num_other_processes : int
        Most processes that computed on the GPU beside the measuring one.
    num_readings : int
        Readings of the telemetry beside the sample.
    """

    other_cpu_ratio: float | None = None
    steal_ratio: float | None = None
    cpu_clock_hz: float | None = None
    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    lowest_sm_clock_hz: float | None = None
    highest_power_w: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    pcie_generation: int | None = None
    pcie_num_lanes: int | None = None
    num_pcie_replays: int | None = None
    num_other_processes: int | None = None
    num_readings: int | None = None


class Sample(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One measured value.

    Attributes
    ----------
    value : float
        In the unit of its series.
    started_s, duration_s : float
        Seconds since the experiment began, and how long it took.
    is_warmup : bool
        Taken before the readings were steady; kept, not used.
    conditions : Conditions or None
        None where nothing could be read.
    """

    value: float
    started_s: float
    duration_s: float
    is_warmup: bool = False
    conditions: Conditions | None = None


class Series(Record, frozen=True, kw_only=True):
    """Repeated samples of one quantity under fixed factors.

    Attributes
    ----------
    name : str
        The quantity, such as ``stream.triad`` or ``contention.shared``.
    unit : str
        SI unit: ``bytes_per_s``, ``s``, ``flop_per_s``, ``ratio``.
    factors : dict
        What was held fixed: threads, variant, sizes in bytes, the flow set's text.
    is_better_higher : bool
        Whether larger values are better.
    status, reason : Status, str or None
        A reason is given unless the status is ``ok``.
    tolerance_ratio : float or None
        How well the median had to be known to be ``ok``, relative to itself; None where nothing
        was measured.
    """

    name: str
    unit: str
    factors: dict[str, Factor]
    is_better_higher: bool
    status: Status
    reason: str | None = None
    tolerance_ratio: float | None = None
    samples: tuple[Sample, ...] = ()


class Experiment(Record, frozen=True, kw_only=True):
    """One run of one benchmark.

    `revision` is the benchmark's own: results are comparable only while it is equal.
    """

    benchmark: str
    revision: int
    summary: str
    status: Status
    reason: str | None = None
    started_at: str | None = None
    elapsed_s: float | None = None
    series: tuple[Series, ...] = ()


class Environment(Record, frozen=True, kw_only=True):
    """Software and settings that a reader needs to judge the numbers.

    `is_exclusive` where samples were taken with real-time priority, but for flows that share a CPU.
    """

    kernel: str | None = None
    python: str
    packages: dict[str, str] = msgspec.field(default_factory=dict)
    affinity_cpus: tuple[int, ...] = ()
    governor: str | None = None
    transparent_huge_pages: str | None = None
    numa_balancing: str | None = None
    driver: str | None = None
    cuda: str | None = None
    is_exclusive: bool = False


class ResultsDocument(
    Record, frozen=True, kw_only=True, tag_field="schema", tag="topoprobe.results"
):
    """Every sample that was taken on a machine in one run of the suite."""

    version: int = 1
    tool: Tool
    machine: MachineDocument
    environment: Environment
    suite: str
    started_at: str
    is_partial: bool = False
    experiments: tuple[Experiment, ...] = ()
