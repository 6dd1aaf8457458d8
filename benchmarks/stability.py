"""How often noise is called stable: the rule of `measure/stability.py` beside the one it replaced.

The old rule looked for three consecutive samples within the tolerance. Both see the same normal
samples of known scatter and stop as `measure/series.py` does: at the wanted number, or at twice as
many. Printed: how often the series is called stable, and how often the median of such a series is
then off by more than the tolerance::

    python benchmarks/stability.py [--series 300]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from topoprobe.measure.stability import TOLERANCE_RATIO, judge

Rule = Callable[[Sequence[float], int], float | None]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=int, default=300)
    num_series = parser.parse_args().series
    random = np.random.default_rng(0)
    print(f"{'wanted':>6} {'scatter':>8}   {'three alike':>19}   {'median known':>19}")
    for num_wanted in (5, 10, 20):
        for scatter in (0.005, 0.01, 0.02, 0.03, 0.05, 0.1):
            draws = random.normal(1.0, scatter, (num_series, 2 * num_wanted)).tolist()
            cells = [describe(rule, draws, num_wanted) for rule in (three_alike, median_known)]
            print(f"{num_wanted:>6} {scatter:>8.1%}   {cells[0]:>19}   {cells[1]:>19}")


def describe(rule: Rule, draws: Sequence[Sequence[float]], num_wanted: int) -> str:
    """Say how often a rule is content, and how often its median is then wrong."""
    stable = [found for values in draws if (found := rule(values, num_wanted)) is not None]
    num_off = sum(abs(found - 1.0) > TOLERANCE_RATIO for found in stable)
    off = f"{num_off / len(stable):.0%}" if stable else "-"
    return f"{len(stable) / len(draws):.0%} stable, {off} off"


def three_alike(values: Sequence[float], num_wanted: int) -> float | None:
    """Return the median from the first three consecutive samples that agree; None without."""
    for start in range(1, len(values) - 2):
        near = values[start : start + 3]
        if max(near) - min(near) <= TOLERANCE_RATIO * statistics.median(near):
            return statistics.median(values[start : start + num_wanted])
    return None


def median_known(values: Sequence[float], num_wanted: int) -> float | None:
    """Return the median as soon as it is known; None if it never is."""
    for num_taken in range(num_wanted + 1, len(values) + 1):
        judgement = judge([values[:num_taken]], TOLERANCE_RATIO)
        if judgement.is_stable and num_taken - judgement.num_warmups >= num_wanted:
            return statistics.median(values[judgement.num_warmups : num_taken])
    return None


if __name__ == "__main__":
    main()
