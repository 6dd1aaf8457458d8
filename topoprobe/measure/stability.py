"""Whether samples of one quantity make a number: where warm-up ends, how well the median is known.

A rule that waits for a few consecutive samples to agree is a lottery: the noisier the machine the
more it depends on luck, and the more samples it may take the surer it passes. Here all samples
after the warm-up are judged together, and more of them make a noisy quantity better known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topoprobe.measure.statistics import (
    OUTLIER_MADS,
    bootstrap_interval,
    drift_ratio,
    is_trend,
    mad,
    median,
)

TOLERANCE_RATIO = 0.02
"""A quantity is stable when its median is known to this share of itself, and drifts by less."""

MIN_SAMPLES = 3
"""Fewer samples after the warm-up tell nothing of their spread."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What samples are good for.

    Attributes
    ----------
    num_warmups : int
        Leading samples that do not count.
    reasons : tuple of (str or None)
        For each quantity why it is unstable; None where it is stable.
    """

    num_warmups: int
    reasons: tuple[str | None, ...]

    @property
    def is_stable(self) -> bool:
        """Whether all quantities are."""
        return not any(self.reasons)


def judge(columns: Sequence[Sequence[float]], tolerance_ratio: float) -> Judgement:
    """Judge quantities that were measured together, one value of each per repetition.

    Parameters
    ----------
    columns : sequence of sequence of float
        The samples of each quantity in the order in which they were taken.
    tolerance_ratio : float
        The 95 % interval of a median may reach this far from it, and the samples may drift by as
        much over their whole length, relative to the median.
    """
    num_warmups = max(warmup_length(column, tolerance_ratio) for column in columns)
    return Judgement(
        num_warmups,
        tuple(_instability(column[num_warmups:], tolerance_ratio) for column in columns),
    )


def warmup_length(values: Sequence[float], tolerance_ratio: float) -> int:
    """Return how many leading samples are warm-up.

    The first always is (unless it is the only one), and so is each after it that is an outlier of
    those that follow, by more than the tolerance; half of the samples at most.
    """
    length = min(1, max(0, len(values) - 1))
    while length < len(values) // 2 and _stands_out(
        values[length], values[length + 1 :], tolerance_ratio
    ):
        length += 1
    return length


def _stands_out(value: float, others: Sequence[float], tolerance_ratio: float) -> bool:
    center = median(others)
    limit = max(tolerance_ratio * abs(center), OUTLIER_MADS * mad(others))
    return abs(value - center) > limit


def _instability(values: Sequence[float], tolerance_ratio: float) -> str | None:
    """Say why these samples make no number, or None."""
    if len(values) < MIN_SAMPLES:
        plural = "" if len(values) == 1 else "s"
        return f"{len(values)} sample{plural} after warm-up; expected at least {MIN_SAMPLES}"
    center = median(values)
    low, high = bootstrap_interval(values)
    reach = max(high - center, center - low)
    if reach > tolerance_ratio * abs(center):
        return _vagueness(values, reach, tolerance_ratio)
    drift = drift_ratio(values)
    if abs(drift) > tolerance_ratio and is_trend(values):
        return (
            f"it drifts by {drift:+.1%} over {len(values)} samples, more than {tolerance_ratio:.0%}"
        )
    return None


def _vagueness(values: Sequence[float], reach: float, tolerance_ratio: float) -> str:
    """Say how badly a median is known, relative to it, so that it reads the same in any unit."""
    center = median(values)
    if not center:
        return f"its median is zero, and its 95 % interval is not, from {len(values)} samples"
    low, high = ((end - center) / abs(center) for end in (min(values), max(values)))
    told = _above(reach / abs(center), tolerance_ratio)
    return (
        f"its median is known to ±{told} only, not to ±{tolerance_ratio:.0%}, "
        f"from {len(values)} samples that lie between {low:+.1%} and {high:+.1%} of it"
    )


def _above(ratio: float, limit_ratio: float) -> str:
    """Write a ratio that is above a limit with enough digits for it to look so."""
    texts = [f"{ratio:.{digits}%}" for digits in (1, 2, 3, 4)]
    return next((text for text in texts if float(text[:-1]) > 100 * limit_ratio), texts[-1])
