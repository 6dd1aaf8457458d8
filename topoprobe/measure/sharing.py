"""The sharing law of a resource by transaction size, fitted from pairs of flows.

Two flows that keep a resource busy divide it as ``share_i / share_j = (P_i / P_j) ** alpha``, with
P the bytes of one transaction. An arbiter that takes one transaction from each in turn has alpha
1, one that counts bytes has 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from topoprobe.errors import ModelError
from topoprobe.measure.statistics import median
from topoprobe.records.base import Estimate, Source

MIN_PAIRS = 4
"""Pairs of different sizes that a fit needs: fewer cannot show that one exponent fits them all."""

_NUM_RESAMPLES = 2000
_TAIL_RATIO = 0.025


@dataclass(frozen=True, slots=True)
class SizePair:
    """Two flows that shared a resource in several windows.

    Attributes
    ----------
    first_bytes, second_bytes : int
        Bytes of one transaction of each.
    share_ratios : tuple of float
        Rate of the first over rate of the second, one per window.
    """

    first_bytes: int
    second_bytes: int
    share_ratios: tuple[float, ...]


def sharing_exponent(pairs: Sequence[SizePair], *, seed: int = 0) -> Estimate:
    """Fit alpha by least squares through the origin of log share over log size.

    The interval is a percentile bootstrap over the windows of each pair.

    Raises
    ------
    ModelError
        If fewer than `MIN_PAIRS` pairs have different sizes, or a ratio is not positive.
    """
    telling = [pair for pair in pairs if pair.first_bytes != pair.second_bytes]
    if len(telling) < MIN_PAIRS:
        raise ModelError(
            f"{len(telling)} pairs of different transaction sizes; expected at least {MIN_PAIRS}."
        )
    if any(not pair.share_ratios or min(pair.share_ratios) <= 0.0 for pair in telling):
        raise ModelError("A pair has no window, or a share that is not above zero.")
    import numpy as np

    sizes = np.array([math.log(pair.first_bytes / pair.second_bytes) for pair in telling])
    shares = np.array([math.log(median(pair.share_ratios)) for pair in telling])
    value = float(shares @ sizes / (sizes @ sizes))
    random = np.random.default_rng(seed)
    resampled = np.stack(
        [
            np.median(
                random.choice(np.log(pair.share_ratios), (_NUM_RESAMPLES, len(pair.share_ratios))),
                axis=1,
            )
            for pair in telling
        ],
        axis=1,
    )  # shape (num_resamples, num_pairs)
    low, high = np.quantile(resampled @ sizes / (sizes @ sizes), (_TAIL_RATIO, 1 - _TAIL_RATIO))
    return Estimate(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        source=Source.MEASURED,
        n=sum(len(pair.share_ratios) for pair in telling),
        evidence=f"{len(telling)} pairs of transaction sizes, log share over log size",
    )
