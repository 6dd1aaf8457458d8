"""The cost of moving KV blocks: rates by block size, and the alpha-beta law fitted to them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from topoprobe.model.calibration.readings import (
    Reading,
    Readings,
    combined,
    fastest,
    grouped,
    measured,
)
from topoprobe.records.base import Source
from topoprobe.records.calibration import SwapLaw, SwapRate

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]


def swap_rates(readings: Readings, device: str) -> tuple[SwapRate, ...]:
    """Return the best variant for each direction, layout, load and block size."""
    return tuple(
        SwapRate(
            direction=direction,
            layout=reading.text("layout"),  # type: ignore[arg-type]
            load=reading.text("load"),  # type: ignore[arg-type]
            block_bytes=reading.number("block_bytes"),
            rate_bytes_per_s=measured(reading),
        )
        for direction in ("out", "in")
        for reading in _best(readings, device, direction)
    )


def swap_laws(readings: Readings, device: str) -> tuple[SwapLaw, ...]:
    """Fit the time of a block, ``alpha + bytes / bandwidth``, over the idle block sizes.

    At least three sizes are needed, and larger blocks must take longer; the fit minimises
    relative errors [hockney1994].
    """
    laws = []
    for direction in ("out", "in"):
        idle = [
            reading
            for reading in _best(readings, device, direction)
            if reading.factors["load"] == "idle"
        ]
        for (layout,), sizes in grouped(idle, "layout").items():
            if len(sizes) >= 3 and _times_grow(sizes):
                laws.append(_law(direction, str(layout), sizes))
    return tuple(laws)


def _law(direction: str, layout: str, sizes: list[Reading]) -> SwapLaw:
    import numpy as np

    block_bytes = np.array([reading.number("block_bytes") for reading in sizes], dtype=np.float64)

    def fit(*rates: Array) -> tuple[Array, Array]:
        medians = np.stack([np.median(rate, axis=-1) for rate in rates], axis=-1)
        return fit_alpha_beta(block_bytes, block_bytes / medians)

    evidence = f"{sizes[0].name} {layout}, idle, {len(sizes)} block sizes, least relative squares"
    latency = combined(
        lambda *rates: fit(*rates)[0], sizes, evidence=evidence, source=Source.DERIVED
    )
    bandwidth = combined(
        lambda *rates: 1 / fit(*rates)[1], sizes, evidence=evidence, source=Source.DERIVED
    )
    times = block_bytes / np.array([reading.median for reading in sizes])
    predicted = latency.value + block_bytes / bandwidth.value
    return SwapLaw(
        direction=direction,  # type: ignore[arg-type]
        layout=layout,  # type: ignore[arg-type]
        latency_s=latency,
        bandwidth_bytes_per_s=bandwidth,
        max_error_ratio=float(np.max(np.abs(predicted / times - 1))),
    )


def fit_alpha_beta(num_bytes: Array, seconds: Array) -> tuple[Array, Array]:
    """Fit ``seconds = alpha + beta * num_bytes`` with the least sum of squared relative errors.

    Parameters
    ----------
    num_bytes : ndarray, shape (num_sizes,), float64 -- bytes
    seconds : ndarray, shape (..., num_sizes), float64 -- s

    Returns
    -------
    alpha, beta : ndarray, shape (...,) -- s, s per byte
        `alpha` is not negative: where the best line has a negative start, the line through the
        origin is fitted.
    """
    import numpy as np

    weight = 1 / seconds**2
    total = weight.sum(axis=-1)
    mean_bytes = (weight * num_bytes).sum(axis=-1) / total
    mean_seconds = (weight * seconds).sum(axis=-1) / total
    offset = num_bytes - mean_bytes[..., None]
    slope = (weight * offset * (seconds - mean_seconds[..., None])).sum(axis=-1) / (
        weight * offset**2
    ).sum(axis=-1)
    start = mean_seconds - slope * mean_bytes
    through_origin = (weight * num_bytes * seconds).sum(axis=-1) / (weight * num_bytes**2).sum(
        axis=-1
    )
    is_negative = start < 0
    return np.where(is_negative, 0.0, start), np.where(is_negative, through_origin, slope)


def _times_grow(sizes: list[Reading]) -> bool:
    ordered = sorted(sizes, key=lambda reading: reading.number("block_bytes"))
    times = [reading.number("block_bytes") / reading.median for reading in ordered]
    return all(before < after for before, after in itertools.pairwise(times))


def _best(readings: Readings, device: str, direction: str) -> list[Reading]:
    selected = readings.select(f"swap.{direction}", device=device)
    groups = grouped(selected, "layout", "load", "block_bytes").values()
    return [best for group in groups if (best := fastest(group)) is not None]
