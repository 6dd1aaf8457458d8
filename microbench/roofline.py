"""The roofline: attained arithmetic rate against arithmetic intensity, for arrays in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cpu.buffer import check_groups
from topoprobe.measure.devices.cpu.device import CpuDevice
from topoprobe.measure.devices.cpu.libraries import numba_gap
from topoprobe.measure.devices.cpu.team import Team
from topoprobe.measure.series import Quantity, require_any
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series

from .compute import DTYPES, FMA_SCALE, FMA_SHIFT, vector_widths
from .rivals import Rival, compete
from .sizes import ArraySize, array_size

# Multiply-adds per element: 2 flop each, on an element that is read once and written once.
_ROUNDS = {"quick": (1, 8, 32, 128), "standard": (1, 4, 8, 16, 32, 128)}
_ALL_ROUNDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)


@dataclass(frozen=True, slots=True)
class RooflineBenchmark:
    """An array updated in place with more and more multiply-adds per element."""

    name: str = "cpu.roofline"
    summary: str = "Sweep arithmetic intensity from memory-bound to compute-bound."
    revision: int = 2
    seconds: float = 7.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Ask for numba, whose vector loops do the arithmetic."""
        return numba_gap()

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every intensity, fp32 and fp64, with rival vector widths.

        On all CPUs; the longer suites also on one.
        """
        device = CpuDevice.of(machine, context.cpus)
        size = array_size(machine, context.budget, num_arrays=1)
        rounds = _ROUNDS.get(context.budget.suite, _ALL_ROUNDS)
        counts = {len(context.cpus)} if context.budget.suite == "quick" else {1, len(context.cpus)}
        series: list[Series] = []
        for num_threads in sorted(counts):
            with Team(device, num_threads) as team:
                for dtype, numpy_dtype in DTYPES.items():
                    array = team.allocate_floats(size.num_bytes, numpy_dtype, seed=1)
                    for num_rounds in rounds:
                        series += _point(team, array, dtype, num_rounds, size, context)
        return Outcome(require_any(series))


def _point(
    team: Team,
    array: NDArray[Any],
    dtype: str,
    num_rounds: int,
    size: ArraySize,
    context: Context,
) -> list[Series]:
    from topoprobe.measure.devices.cpu import vector_loops

    kernels = {
        f"numba_{width * 8}bit": getattr(vector_loops, f"update_{width}")
        for width in vector_widths()
    }
    for part in team.slices(array):
        check_groups(part)
    parts = _arguments(team, array, num_rounds)
    for kernel in kernels.values():
        kernel(*_arguments(team, array, 0)[0])  # compiles; no round leaves the array as it is
    flop = 2.0 * array.size * num_rounds
    factors: dict[str, Factor] = {
        "device": "host",
        "dtype": dtype,
        "threads": team.num_threads,
        "intensity": num_rounds / array.itemsize,
        **size.factors(),
    }
    measured = compete(
        context,
        team,
        [
            Rival(
                Quantity("roofline", "flop_per_s", {**factors, "variant": variant}),
                partial(team.run, kernel, parts),
                flop,
            )
            for variant, kernel in kernels.items()
        ],
    )
    return [
        _verified(one, team, kernel, array)
        for one, kernel in zip(measured, kernels.values(), strict=True)
    ]


def _arguments(team: Team, array: NDArray[Any], num_rounds: int) -> list[tuple[Any, ...]]:
    scale, shift = array.dtype.type(FMA_SCALE), array.dtype.type(FMA_SHIFT)
    return [(part, scale, shift, num_rounds) for part in team.slices(array)]


def _verified(
    series: Series, team: Team, kernel: Callable[..., Any], array: NDArray[Any]
) -> Series:
    """Do three more rounds and compare a sample of elements with ``3 - x``, which is exact."""
    step = 1009  # prime, so that every position in a vector is looked at
    before = array[::step].copy()
    team.run(kernel, _arguments(team, array, 3))
    if not np.array_equal(array[::step], array.dtype.type(FMA_SHIFT) - before):
        wrong = step * int(np.argmax(array[::step] != FMA_SHIFT - before))
        reason = f"element {wrong} is {array[wrong]!r} after three rounds, which is wrong"
        return msgspec.structs.replace(series, status=Status.FAILED, reason=reason)
    return series
