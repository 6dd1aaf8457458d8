"""Error of the operators' cost law on shapes that it was not fitted on, beside a random forest.

Usage: python benchmarks/cost_law.py [--systems a100_sxm,h100_sxm] [--operators gemm] [--no-forest]

For each table of measured latencies a tenth of the shapes is drawn with three seeds; law and forest
are fitted on these, and judged on all others. Tables of collectives have only tens of shapes, so
half of them is drawn. The forest (scikit-learn) sees logarithms of the same columns and of flop and
bytes, and predicts the logarithm of the time.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.opdb import SYSTEMS, tables_of
from topoprobe.model.calibration.operators import (
    OperatorTable,
    fit_constants,
    fit_operator,
)

SEEDS = (0, 1, 2)
FEW_SHAPES = 300
TARGETS = {
    ("gemm", "h100_sxm"): 0.05, ("gemm", "h200_sxm"): 0.05, ("gemm", "a100_sxm"): 0.075,
    ("gemm", "l40s"): 0.09, **{("decode_attention", system): 0.12 for system in SYSTEMS},
}  # fmt: skip


def main() -> None:
    """Print a row per table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--operators", default="")
    parser.add_argument("--no-forest", action="store_true")
    options = parser.parse_args()
    print(
        f"{'system':9} {'operator':26} {'fit on':>7} {'roofline':>8}  "
        f"{'law: mean':>9} {'median':>6} {'p90':>6}  {'forest':>6}  {'goal':>5}  "
        f"{'fit s':>6} {'us each':>7} {'us one':>6}"
    )
    for system in options.systems.split(","):
        for name, table in tables_of(system).items():
            if options.operators in name:
                print(row(system, name, table, has_forest=not options.no_forest), flush=True)
                if name == "decode_attention":
                    print(weak_spot(system, table), flush=True)


def row(system: str, name: str, table: OperatorTable, *, has_forest: bool) -> str:
    """Fit and judge over the seeds."""
    share = 0.5 if len(table.seconds) < FEW_SHAPES else 0.1
    results = [judge(table, share, seed, has_forest=has_forest) for seed in SEEDS]
    plain, mean, median, p90, forest, fit_s, each_s, one_s = np.mean(results, axis=0)
    means = [result[1] for result in results]
    goal = TARGETS.get((name, system))
    return (
        f"{system:9} {name:26} {int(len(table.seconds) * share):7} {plain:8.1%}  "
        f"{mean:9.2%} {median:6.2%} {p90:6.1%}  {forest:6.1%}  "
        f"{'' if goal is None else format(goal, '.1%'):>5}  "
        f"{fit_s:6.2f} {each_s * 1e6:7.1f} {one_s * 1e6:6.0f}"
        f"   seeds {', '.join(f'{each:.2%}' for each in means)}"
    )


def weak_spot(system: str, table: OperatorTable) -> str:
    """Judge where a roofline alone is worst: few sequences with a long context."""
    results = []
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(table.seconds))
        num_fit = int(len(order) * 0.1)
        law, others = fit_operator(table.only(order[:num_fit])), table.only(order[num_fit:])
        is_weak = (others.shapes["num_sequences"] <= 4) & (others.shapes["context"] >= 8192)
        some = others.only(np.flatnonzero(is_weak))
        errors = np.abs(law.predict(some.shapes).seconds / some.seconds - 1)
        results.append((errors.mean(), np.median(errors), np.quantile(errors, 0.9)))
    mean, median, p90 = np.mean(results, axis=0)
    name = "  up to 4 x 8192 and more"
    return f"{system:9} {name:26} {'':7} {'':8}  {mean:9.2%} {median:6.2%} {p90:6.1%}"


def judge(table: OperatorTable, share: float, seed: int, *, has_forest: bool) -> tuple[float, ...]:
    """Return errors of roofline, law and forest on the other shapes, and the law's CPU seconds."""
    order = np.random.default_rng(seed).permutation(len(table.seconds))
    num_fit = int(len(order) * share)
    fitted, others = table.only(order[:num_fit]), table.only(order[num_fit:])
    started = time.process_time()
    law = fit_operator(fitted)
    fit_s = time.process_time() - started
    started = time.process_time()
    predicted = law.predict(others.shapes).seconds
    each_s = (time.process_time() - started) / len(others.seconds)
    one = {column: values[0] for column, values in others.shapes.items()}
    ones = []
    for _ in range(20):
        started = time.process_time()
        law.predict(one)
        ones.append(time.process_time() - started)
    errors = np.abs(predicted / others.seconds - 1)
    plain = np.abs(fit_constants(fitted).predict(others.shapes).seconds / others.seconds - 1)
    forest = forest_errors(fitted, others).mean() if has_forest else np.nan
    return (
        plain.mean(), errors.mean(), np.median(errors), np.quantile(errors, 0.9), forest,
        fit_s, each_s, float(np.median(ones)),
    )  # fmt: skip


def forest_errors(fitted: OperatorTable, others: OperatorTable) -> np.ndarray:
    """Return the errors of a random forest, the best of some settings by its out-of-bag error."""
    from sklearn.ensemble import RandomForestRegressor

    best, least = None, np.inf
    for max_features in (1.0, 0.6):
        for leaf in (1, 2):
            forest = RandomForestRegressor(
                n_estimators=100, min_samples_leaf=leaf, max_features=max_features,
                oob_score=True, random_state=0, n_jobs=1,
            ).fit(features(fitted), np.log(fitted.seconds))  # fmt: skip
            error = np.abs(np.expm1(forest.oob_prediction_ - np.log(fitted.seconds))).mean()
            if error < least:
                best, least = forest, error
    assert best is not None
    return np.abs(np.exp(best.predict(features(others))) / others.seconds - 1)


def features(table: OperatorTable) -> np.ndarray:
    """Return the forest's features: logarithms of the columns, of flop and of bytes."""
    work = table.operator.work(table.shapes, table.processor)
    columns = [np.log2(values + 1) for values in table.shapes.values()]
    return np.stack([*columns, np.log2(work.flop + 1), np.log2(work.num_bytes)], axis=1)


if __name__ == "__main__":
    main()
