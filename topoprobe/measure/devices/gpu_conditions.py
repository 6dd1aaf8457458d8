"""The state of GPUs while a sample is taken: what 20 readings a second say together."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from topoprobe.machine.sources.telemetry import GpuReading, GpuTelemetry, gpu_telemetry
from topoprobe.measure.benchmark import Context
from topoprobe.measure.devices.sampling import PERIOD_S, Sampler
from topoprobe.measure.statistics import median
from topoprobe.records.results import Conditions

Number = TypeVar("Number", int, float)


@contextlib.contextmanager
def watched(context: Context, *pci_addresses: str | None) -> Iterator[Context]:
    """Give a context whose conditions include GPUs', read 20 times a second until the block ends.

    Figures are the first GPU's; throttling, replays and other processes are those of all. The
    context is returned as it is where NVML cannot be used.
    """
    told = [
        telemetry
        for address in pci_addresses
        if address is not None and (telemetry := gpu_telemetry(address)) is not None
    ]
    if not told:
        yield context
        return
    with GpuConditions(told).beside(context) as own:
        yield own


class GpuConditions:
    """What GPUs did since the previous sample.

    Parameters
    ----------
    told : sequence of GpuTelemetry
        Of the GPUs that are measured, the one whose figures are kept first.
    period_s : float
        Between two readings of all.
    """

    def __init__(self, told: Sequence[GpuTelemetry], period_s: float = PERIOD_S) -> None:
        self._told = tuple(told)
        self._period_s = period_s
        self._last: tuple[GpuReading, ...] = ()

    @contextlib.contextmanager
    def beside(self, context: Context) -> Iterator[Context]:
        """Give a context whose conditions are its own with the GPUs' added."""
        self._last = self._read()
        with Sampler(self._read, self._period_s) as sampler:
            yield dataclasses.replace(
                context, conditions=lambda: self._added(context.conditions(), sampler.take())
            )

    def _read(self) -> tuple[GpuReading, ...]:
        return tuple(telemetry.reading() for telemetry in self._told)

    def _added(
        self, host: Conditions | None, moments: Sequence[tuple[GpuReading, ...]]
    ) -> Conditions:
        by_gpu = tuple(zip(*moments, strict=True))
        replays = [
            _increase(before.num_pcie_replays, readings[-1].num_pcie_replays)
            for before, readings in zip(self._last, by_gpu, strict=True)
        ]
        self._last = moments[-1]
        return summary(host or Conditions(), by_gpu, replays)


def summary(
    host: Conditions,
    by_gpu: Sequence[Sequence[GpuReading]],
    replays: Sequence[int | None],
) -> Conditions:
    """Add what readings of GPUs say together to the host's conditions.

    Parameters
    ----------
    host : Conditions
        Its other fields are kept.
    by_gpu : sequence of sequence of GpuReading
        Readings of each GPU in order; figures are the first one's.
    replays : sequence of (int or None)
        Packets that each GPU's link sent again meanwhile.
    """
    first = by_gpu[0]
    clocks = _told(one.sm_clock_hz for one in first)
    powers = _told(one.power_w for one in first)
    everything = [reading for readings in by_gpu for reading in readings]
    reasons = {reason for one in everything for reason in one.throttle_reasons}
    counted = _told(replays)
    return msgspec.structs.replace(
        host,
        sm_clock_hz=_middle(clocks),
        lowest_sm_clock_hz=min(clocks, default=None),
        memory_clock_hz=_middle(_told(one.memory_clock_hz for one in first)),
        power_w=_middle(powers),
        highest_power_w=max(powers, default=None),
        temperature_c=max(_told(one.temperature_c for one in first), default=None),
        throttle_reasons=tuple(sorted(reasons)),
        pcie_generation=max(_told(one.pcie_generation for one in first), default=None),
        pcie_num_lanes=min(_told(one.pcie_num_lanes for one in first), default=None),
        num_pcie_replays=sum(counted) if counted else None,
        num_other_processes=max(_told(one.num_other_processes for one in everything), default=None),
        num_readings=len(first),
    )


def _told(values: Iterable[Number | None]) -> list[Number]:
    return [value for value in values if value is not None]


def _middle(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _increase(before: int | None, after: int | None) -> int | None:
    # A driver that is loaded anew counts from zero.
    return None if before is None or after is None else max(0, after - before)
