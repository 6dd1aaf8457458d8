"""Energy of a GPU's work, from the power that was read beside its samples.

While one thing runs over and over, ``power = idle + energy_per_flop * flop/s +
energy_per_byte * bytes/s``. Memory streams, matrix products of one type, and a chase that keeps
next to nothing busy tell the three apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from topoprobe.model.calibration.nonnegative import solve_nonnegative
from topoprobe.model.calibration.readings import NUM_RESAMPLES, SEED, Reading, Readings, fastest
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import PowerLaw

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

_STREAMS = ("copy", "scale", "add", "triad", "read", "write")
_MIN_WORKS = 2


@dataclass(frozen=True, slots=True)
class _Work:
    """What one experiment did per second, and the power beside each of its samples."""

    flop_per_s: float
    bytes_per_s: float
    powers_w: tuple[float, ...]


def power_law(readings: Readings, device: str) -> PowerLaw | None:
    """Fit the coefficients; None where the power was not read beside enough kinds of work.

    Flop count as those of the type that gives the most of them.
    """
    streams = [
        _work(one, 0.0, 1.0)
        for name in _STREAMS
        for one in readings.select(f"stream.{name}", device=device)
    ]
    products = readings.select("compute.gemm", device=device)
    best = fastest(products)
    same = [one for one in products if best and one.factors.get("dtype") == best.factors["dtype"]]
    flops = [_work(one, 1.0, 0.0) for one in same]
    rests = [_work(one, 0.0, 0.0) for one in readings.select("latency.idle", device=device)]
    kinds = [[one for one in group if one is not None] for group in (rests, flops, streams)]
    if sum(map(bool, kinds)) < _MIN_WORKS:
        return None
    works = [one for group in kinds for one in group]
    idle, per_flop, per_byte = _fitted(works)
    return PowerLaw(
        idle_w=idle if kinds[0] else None,
        energy_per_flop_j=per_flop if kinds[1] else None,
        energy_per_byte_j=per_byte if kinds[2] else None,
    )


def _work(reading: Reading, flop: float, num_bytes: float) -> _Work | None:
    powers = tuple(one.power_w for one in reading.told if one.power_w is not None)
    if not powers:
        return None
    return _Work(flop * reading.median, num_bytes * reading.median, powers)


def _fitted(works: list[_Work]) -> tuple[Estimate, Estimate, Estimate]:
    """Fit by least squares of relative errors, with intervals over resampled readings."""
    import numpy as np

    design = np.array([(1.0, one.flop_per_s, one.bytes_per_s) for one in works])
    random = np.random.default_rng(SEED)

    def fit(powers: Array) -> Array:
        return solve_nonnegative(design / powers[:, None], np.ones(len(powers)))

    value = fit(np.array([np.median(one.powers_w) for one in works]))
    drawn = np.stack(
        [
            np.median(random.choice(one.powers_w, (NUM_RESAMPLES // 5, len(one.powers_w))), axis=1)
            for one in works
        ]
    )
    fits = np.array([fit(powers) for powers in drawn.T])
    low, high = np.quantile(fits, (0.025, 0.975), axis=0)
    evidence = f"power beside {len(works)} experiments, non-negative fit [lawson1995]"
    one, two, three = (
        Estimate(
            value=float(value[index]),
            low=float(min(low[index], value[index])),
            high=float(max(high[index], value[index])),
            source=Source.DERIVED,
            n=sum(len(work.powers_w) for work in works),
            evidence=evidence,
        )
        for index in range(3)
    )
    return one, two, three
