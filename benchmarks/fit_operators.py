"""Write the constants of the built-in operator laws, from recorded tables.

Usage: python benchmarks/fit_operators.py > topoprobe/model/catalogue/operator_constants.py

Constants are fitted on half of a table's shapes, at most 4,000, and judged on the others; intervals
are percentile bootstraps over the fitted shapes. Collectives of L40S are left out: without NVLink
all their bytes share the host's ways, which no roofline of one GPU tells.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.opdb import SYSTEMS, tables_of, versions_of
from topoprobe.model.calibration.operators import OperatorTable, errors_of, fit_constants
from topoprobe.model.catalogue.operator_fits import OperatorFit
from topoprobe.model.operators.roofline import UNITS

SOURCE = "ai-dynamo/aiconfigurator @095f58a, Apache-2.0"
WIDTH = 86
SEED = 0
MOST_SHAPES = 4000
NUM_RESAMPLES = 40
TABLES = {
    "gemm": "gemm",
    "prefill_attention": "context_attention",
    "decode_attention": "generation_attention",
    "nccl all_reduce": "nccl",
    "nccl all_gather": "nccl",
    "nccl reduce_scatter": "nccl",
    "nccl all_to_all": "nccl",
}
"""Tables of which a law is built in, and the recorded file that each is from."""

HEADER = '''"""Constants of operators on some devices; written by benchmarks/fit_operators.py."""

from __future__ import annotations

from topoprobe.model.catalogue.operator_fits import OperatorFit

SOURCE = "ai-dynamo/aiconfigurator @095f58a, Apache-2.0"
"""Who timed them: its maintainers, for its performance database [aiconfigurator]."""

OPERATOR_FITS = (
'''


def main() -> None:
    """Print the module."""
    sys.stdout.write(HEADER)
    for system in SYSTEMS:
        tables = tables_of(system)
        for name, table in TABLES.items():
            if system == "l40s" and table == "nccl":
                continue
            sys.stdout.write(written(fit(system, name, tables[name])))
            sys.stdout.flush()
    sys.stdout.write(")  # fmt: skip\n")


def fit(
    system: str, name: str, table: OperatorTable, num_resamples: int = NUM_RESAMPLES
) -> OperatorFit:
    """Fit one table's constants, with intervals and errors."""
    random = np.random.default_rng(SEED)
    order = random.permutation(len(table.seconds))
    num_fit = min(len(order) // 2, MOST_SHAPES)
    fitted, others = table.only(order[:num_fit]), table.only(order[num_fit:])
    law = fit_constants(fitted)
    errors = errors_of(law, others)
    resampled = np.array(
        [constants(fitted.only(random.integers(0, num_fit, num_fit))) for _ in range(num_resamples)]
    )
    value = np.array(constants(fitted))
    low, high = np.quantile(resampled, (0.025, 0.975), axis=0)
    return OperatorFit(
        device=SYSTEMS[system],
        operator=table.operator.name,
        implementation=versions_of(system, TABLES[name]),
        dtype="bf16",
        source=SOURCE,
        num_units=table.processor.num_units,
        cache_bytes=table.processor.cache_bytes,
        constants={
            constant: (rounded(v), rounded(min(lo, v)), rounded(max(hi, v)))
            for constant, v, lo, hi in zip(UNITS, value, low, high, strict=True)
        },
        num_fit_shapes=num_fit,
        num_validation_shapes=errors.num_shapes,
        mean_ratio=round(errors.mean_ratio, 3),
        median_ratio=round(errors.median_ratio, 3),
        p90_ratio=round(errors.p90_ratio, 3),
        ranges=law.ranges,
    )


def constants(table: OperatorTable) -> list[float]:
    """Return the fitted constants in the order of their names."""
    roofline = fit_constants(table).roofline
    return [getattr(roofline, f"{name}_s" if unit == "s" else name) for name, unit in UNITS.items()]


def rounded(value: float, digits: int = 3) -> float:
    """Return a number with so many significant digits."""
    return float(f"{value:.{digits}g}")


def written(fit: OperatorFit) -> str:
    """Write a fit as Python."""
    constants = {name: values for name, values in fit.constants.items() if values[0]}
    lines = [
        f"device={fit.device!r}, operator={fit.operator!r}, dtype={fit.dtype!r},",
        f"implementation={fit.implementation!r}, source=SOURCE,",
        f"num_units={fit.num_units}, cache_bytes={fit.cache_bytes / 1e6:g}e6,",
        "constants={",
        *packed(constants),
        "},",
        "ranges={",
        *packed(fit.ranges),
        "},",
        f"num_fit_shapes={fit.num_fit_shapes}, num_validation_shapes={fit.num_validation_shapes},",
        f"mean_ratio={fit.mean_ratio}, median_ratio={fit.median_ratio}, p90_ratio={fit.p90_ratio},",
    ]
    body = "".join(f"        {line}\n" for line in lines)
    return f"    OperatorFit(\n{body}    ),\n".replace("'", '"')


def packed(values: Mapping[str, tuple[float, ...]]) -> list[str]:
    """Write the entries of a dictionary, as many on a line as fit."""
    entries = (f"{key!r}: {value},".replace(" ", "\0") for key, value in values.items())
    return [f"    {line}".replace("\0", " ") for line in textwrap.wrap(" ".join(entries), WIDTH)]


if __name__ == "__main__":
    main()
