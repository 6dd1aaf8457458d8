"""Arithmetic ceilings: chains of multiply-adds in registers, and matrix products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cpu.device import CpuDevice
from topoprobe.measure.devices.cpu.gemm import GemmVariant, gemm_variants, num_flop
from topoprobe.measure.devices.cpu.libraries import library_threads, numba_gap
from topoprobe.measure.devices.cpu.team import Team
from topoprobe.measure.series import Quantity, Trial, collect, require_any, skipped
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series

from .rivals import Rival, compete
from .sizes import thread_counts

DTYPES = {"fp32": "float32", "fp64": "float64"}
"""Names in documents, and numpy's."""

# x -> 3 - x keeps values in (1, 2], is exact in binary floating point, and is undone by a second
# round: data stay random however long it runs, and the result is known.
FMA_SCALE, FMA_SHIFT = -1.0, 3.0

# Some ten milliseconds, as wide vectors take some to get their clock. Odd, so that the result
# differs from the start.
_FMA_ROUNDS = 8_000_001
_START_BYTES = 4096
_GEMM_SIZES = {"quick": 1024, "standard": 2048}
_GEMM_SIZE = 3072
_NUM_CHECKED_ROWS = 4
_GEMM_TOLERANCE = {"fp32": 1e-4, "fp64": 1e-12}


def vector_widths() -> tuple[int, ...]:
    """Return the vector widths worth trying, in bytes: the CPU's widest and the next."""
    from topoprobe.measure.devices.cpu.jit import widest_vector_bytes

    widest = widest_vector_bytes()
    return (widest, widest // 2) if widest > 16 else (widest,)


@dataclass(frozen=True, slots=True)
class ComputeBenchmark:
    """FMA and GEMM ceilings for fp32 and fp64 on one and on all CPUs."""

    name: str = "cpu.compute"
    summary: str = "Measure arithmetic ceilings: fused multiply-adds and matrix products."
    revision: int = 3
    seconds: float = 6.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Return None: what is not installed is skipped inside."""
        return None

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every dtype, number of threads and variant."""
        device = CpuDevice.of(machine, context.cpus)
        series: list[Series] = []
        for num_threads in thread_counts(len(context.cpus), context.budget.suite):
            with Team(device, num_threads) as team:
                for dtype in DTYPES:
                    series += _multiply_adds(team, dtype, context)
                    series += _products(team, dtype, context)
        return Outcome(require_any(series))


def _multiply_adds(team: Team, dtype: str, context: Context) -> tuple[Series, ...]:
    factors: dict[str, Factor] = {"device": "host", "dtype": dtype, "threads": team.num_threads}
    gap = numba_gap()
    if gap is not None:
        quantity = Quantity("compute.fma", "flop_per_s", {**factors, "variant": "numba"})
        return (skipped(quantity, gap),)
    start = team.allocate_floats(_START_BYTES * team.num_threads, DTYPES[dtype], seed=1)
    chains = [_Chains(team, start, width) for width in vector_widths()]
    measured = compete(
        context,
        team,
        [
            Rival(
                Quantity(
                    "compute.fma", "flop_per_s", {**factors, "variant": f"numba_{one.width * 8}bit"}
                ),
                one.run,
                one.flop,
            )
            for one in chains
        ],
    )
    return tuple(one.verified(series) for one, series in zip(chains, measured, strict=True))


class _Chains:
    """Multiply-adds in registers of one width on every thread."""

    def __init__(self, team: Team, start: NDArray[Any], width: int) -> None:
        from topoprobe.measure.devices.cpu import vector_loops

        self.width = width
        self._team = team
        self._parts = team.slices(start)
        self._kernel = getattr(vector_loops, f"multiply_add_{width}")
        self._num_values = vector_loops.NUM_CHAINS * width // start.itemsize
        self.flop = 2.0 * self._num_values * _FMA_ROUNDS * team.num_threads
        self._sums: list[float] = []
        team.run(self._add_up, [(part, 1) for part in self._parts])  # compiles

    def run(self, num_passes: int) -> float:
        """Run so many passes and return the seconds of one."""
        arguments = [(part, _FMA_ROUNDS) for part in self._parts]
        return self._team.run(self._add_up, arguments, num_passes)

    def verified(self, series: Series) -> Series:
        """Compare the sums of a pass with what is known; a wrong one fails the series."""
        self._sums.clear()
        self.run(1)
        values = (part[: self._num_values].astype(np.float64) for part in self._parts)
        wanted = sum(float((FMA_SHIFT - start).sum()) for start in values)
        if np.isclose(sum(self._sums), wanted, rtol=1e-5):
            return series
        reason = f"the chains sum up to {sum(self._sums)!r} instead of {wanted!r}"
        return msgspec.structs.replace(series, status=Status.FAILED, reason=reason)

    def _add_up(self, part: NDArray[Any], num_rounds: int) -> None:
        kind = part.dtype.type
        self._sums.append(self._kernel(part, kind(FMA_SCALE), kind(FMA_SHIFT), num_rounds))


def _products(team: Team, dtype: str, context: Context) -> list[Series]:
    size = _GEMM_SIZES.get(context.budget.suite, _GEMM_SIZE)
    shape = (size, size)
    num_bytes = size * size * np.dtype(DTYPES[dtype]).itemsize
    out, x, y = (
        team.allocate_floats(num_bytes, DTYPES[dtype], seed).reshape(shape) for seed in range(3)
    )
    quantities = {
        variant.name: _gemm_quantity(variant, dtype, team, size) for variant in gemm_variants()
    }
    usable = [
        (variant.name, variant.multiply)
        for variant in gemm_variants()
        if variant.multiply is not None
    ]
    series = [
        skipped(quantities[variant.name], variant.missing)
        for variant in gemm_variants()
        if variant.missing is not None
    ]

    def timed(multiply: Callable[..., None]) -> Callable[[], float]:
        def measure() -> float:
            # On one CPU the pinned stream runs it. On several the library's own threads do, which
            # must not inherit the pinning of a stream: they are started from here.
            if team.num_threads == 1:
                return num_flop(size) / team.run(multiply, [(out, x, y)])
            start_s = context.clock()
            multiply(out, x, y)
            return num_flop(size) / (context.clock() - start_s)

        return measure

    with library_threads(team.num_threads):
        measured = collect(
            context, [Trial.of(quantities[name], timed(multiply)) for name, multiply in usable]
        )
        for (_, multiply), one in zip(usable, measured, strict=True):
            out[:_NUM_CHECKED_ROWS] = 0.0
            multiply(out, x, y)
            series.append(_verified(one, out, x, y, _GEMM_TOLERANCE[dtype]))
    return series


def _gemm_quantity(variant: GemmVariant, dtype: str, team: Team, size: int) -> Quantity:
    return Quantity(
        "compute.gemm",
        "flop_per_s",
        {
            "device": "host",
            "dtype": dtype,
            "threads": team.num_threads,
            "variant": variant.name,
            "size": size,
        },
    )


def _verified(
    series: Series, out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], tolerance: float
) -> Series:
    """Compare some rows with a product in fp64; a wrong result fails the series."""
    rows = slice(0, _NUM_CHECKED_ROWS)
    wanted = x[rows].astype(np.float64) @ y.astype(np.float64)
    error = float(np.max(np.abs(out[rows] - wanted) / wanted))
    if error > tolerance:
        reason = f"the product is off by {error:.1e}, more than {tolerance:.0e}"
        return msgspec.structs.replace(series, status=Status.FAILED, reason=reason)
    return series
