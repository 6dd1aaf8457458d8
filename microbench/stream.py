"""Memory bandwidth: STREAM's four kernels, a read and a write, in variants that compete."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cpu.buffer import CpuBuffer, check_groups
from topoprobe.measure.devices.cpu.device import CpuDevice
from topoprobe.measure.devices.cpu.libraries import library_threads
from topoprobe.measure.devices.cpu.stream import (
    ARRAYS_MOVED,
    SCALAR,
    StreamVariant,
    expected,
    stream_variants,
)
from topoprobe.measure.devices.cpu.team import Team
from topoprobe.measure.series import Quantity, require_any, skipped
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Series

from .rivals import Rival, compete
from .sizes import ArraySize, array_size, thread_counts

_DTYPE = "float64"
# What moves one, two or three arrays; scale moves what copy does, and add what triad does.
_KERNELS = {"quick": ("copy", "triad", "read", "write")}
_TOLERANCE = 1e-12
# Millions of additions, in another order.
_SUM_TOLERANCE = 1e-9
# Enough blocks to see a slice that was left out or an end that was cut off.
_NUM_CHECKED_BLOCKS = 64
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class StreamBenchmark:
    """STREAM on 1 to all CPUs; bytes count as STREAM counts them."""

    name: str = "cpu.stream"
    summary: str = "Measure sustained memory bandwidth: STREAM's kernels, a read and a write."
    revision: int = 2
    seconds: float = 15.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Return None: numpy alone can do it."""
        return None

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every kernel and variant for each number of threads."""
        device = CpuDevice.of(machine, context.cpus)
        size = array_size(machine, context.budget, num_arrays=3)
        series: list[Series] = []
        with library_threads(1):
            for num_threads in thread_counts(len(context.cpus), context.budget.suite):
                with Team(device, num_threads) as team:
                    series += _measure(team, size, context)
        return Outcome(require_any(series))


def _measure(team: Team, size: ArraySize, context: Context) -> list[Series]:
    out, x, y = (team.allocate_floats(size.num_bytes, _DTYPE, 10 * seed) for seed in range(3))
    parts = [
        (*slices, SCALAR)
        for slices in zip(team.slices(out), team.slices(x), team.slices(y), strict=True)
    ]
    for *arrays, _ in parts:
        for array in arrays:
            check_groups(array)
    series: list[Series] = []
    for kernel in _KERNELS.get(context.budget.suite, tuple(ARRAYS_MOVED)):
        series += _measure_kernel(kernel, team, parts, size, context)
    return series


def _measure_kernel(
    kernel: str,
    team: Team,
    parts: list[tuple[Any, ...]],
    size: ArraySize,
    context: Context,
) -> list[Series]:
    variants = [one for one in stream_variants() if one.missing is None and kernel in one.kernels]
    for variant in variants:
        _compile(variant, kernel)
    moved = float(ARRAYS_MOVED[kernel] * size.num_bytes)
    measured = compete(
        context,
        team,
        [
            Rival(
                _quantity(kernel, variant, team, size),
                partial(team.run, variant.kernels[kernel], parts),
                moved,
            )
            for variant in variants
        ],
    )
    series = [
        skipped(_quantity(kernel, variant, team, size), variant.missing)
        for variant in stream_variants()
        if variant.missing is not None
    ]
    for variant, one in zip(variants, measured, strict=True):
        team.run(variant.kernels[kernel], _poisoned(parts))
        series.append(_verified(one, kernel, parts))
    return series


def _quantity(kernel: str, variant: StreamVariant, team: Team, size: ArraySize) -> Quantity:
    return Quantity(
        f"stream.{kernel}",
        "bytes_per_s",
        {
            "device": "host",
            "threads": team.num_threads,
            "variant": variant.name,
            **size.factors(),
        },
    )


def _compile(variant: StreamVariant, kernel: str) -> None:
    """Run once on little, so that no sample pays for compiling."""
    arrays = CpuBuffer(3 * 8 * _BLOCK, "host").view(_DTYPE).reshape(3, _BLOCK)
    arrays[:] = 1.0
    variant.kernels[kernel](arrays[0], arrays[1], arrays[2], SCALAR)


def _poisoned(parts: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Overwrite what will be checked, so that an earlier variant's result cannot pass."""
    for out, *_ in parts:
        out[:: _BLOCK // 8] = 0.0
    return parts


def _verified(series: Series, kernel: str, parts: list[tuple[Any, ...]]) -> Series:
    """Compare what was written with numpy's results; a wrong one fails the series."""
    find = _wrong_sum if kernel == "read" else _wrong_element
    for out, x, y, scalar in parts:
        reason = find(kernel, out, x, y, scalar)
        if reason is not None:
            return msgspec.structs.replace(series, status=Status.FAILED, reason=reason)
    return series


def _wrong_sum(
    kernel: str, out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float
) -> str | None:
    wanted = expected(kernel, x, y, scalar)[0]
    if math.isclose(out[0], wanted, rel_tol=_SUM_TOLERANCE):
        return None
    return f"the sum is {out[0]!r}, and numpy's is {wanted!r}"


def _wrong_element(
    kernel: str, out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float
) -> str | None:
    """Look at blocks all over a thread's part."""
    block = min(_BLOCK, out.size)
    starts = np.linspace(0, out.size - block, _NUM_CHECKED_BLOCKS).astype(np.int64)
    for start in starts.tolist():
        checked = slice(start, start + block)
        wanted = expected(kernel, x[checked], y[checked], scalar)
        is_right = np.isclose(out[checked], wanted, rtol=_TOLERANCE, atol=0.0)
        if not is_right.all():
            wrong = start + int(np.argmin(is_right))
            return f"element {wrong} is {out[wrong]!r}, which is not what numpy computes"
    return None
