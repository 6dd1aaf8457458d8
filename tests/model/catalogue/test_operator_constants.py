"""Constants that are built in: complete, plausible, and what the recorded tables give again."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from topoprobe.model.calibration.operators import OperatorTable, errors_of
from topoprobe.model.catalogue.devices import find_nominal_device
from topoprobe.model.catalogue.operator_constants import OPERATOR_FITS
from topoprobe.model.catalogue.operator_fits import OperatorFit
from topoprobe.model.operators.law import OperatorLaw
from topoprobe.model.operators.recorded import OPERATORS
from topoprobe.model.operators.roofline import UNITS, Roofline
from topoprobe.model.operators.work import Processor

ROOT = Path(__file__).resolve().parents[3]


def label(fit: OperatorFit) -> str:
    return f"{fit.device} {fit.operator}"


each_fit = pytest.mark.parametrize("fit", OPERATOR_FITS, ids=label)


def law(fit: OperatorFit) -> OperatorLaw:
    return OperatorLaw(
        operator=OPERATORS[fit.operator],
        processor=Processor(num_units=fit.num_units, cache_bytes=fit.cache_bytes),
        roofline=Roofline(*(fit.constants.get(name, (0.0,))[0] for name in UNITS)),
        residual=None,
        ranges=fit.ranges,
    )


def test_fits_are_not_repeated() -> None:
    assert len({label(fit) for fit in OPERATOR_FITS}) == len(OPERATOR_FITS)


@each_fit
def test_fit_is_complete(fit: OperatorFit) -> None:
    device = find_nominal_device(fit.device)
    assert device is not None
    assert device.num_units is not None
    assert fit.num_units == device.num_units.value
    assert fit.cache_bytes == device.l2_bytes.value
    assert "aiconfigurator" in fit.source
    assert set(fit.constants) <= set(UNITS)
    assert set(fit.ranges) == {*OPERATORS[fit.operator].columns, "flop", "num_bytes"}
    for value, low, high in fit.constants.values():
        assert 0 < low <= value <= high
    assert 0 < fit.mean_ratio < fit.p90_ratio
    assert 0 < fit.median_ratio < fit.p90_ratio


@pytest.mark.parametrize("fit", [fit for fit in OPERATOR_FITS if fit.operator == "gemm"], ids=label)
def test_large_products_are_below_the_data_sheet(fit: OperatorFit) -> None:
    device = find_nominal_device(fit.device)
    assert device is not None
    rate = 1 / fit.constants["per_flop"][0]
    assert 0.5 < rate / device.compute_flop_per_s["bf16"].value < 1.0
    bandwidth = 1 / fit.constants["per_byte"][0]
    assert 0.7 < bandwidth / device.memory_bytes_per_s.value < 1.0


@pytest.fixture(scope="module")
def script() -> object:
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module("benchmarks.fit_operators")
    finally:
        sys.path.remove(str(ROOT))


def recorded_table(script: object, system: str, name: str) -> OperatorTable:
    return script.tables_of(system)[name]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("system", "name"),
    [("a100_sxm", "gemm"), ("h100_sxm", "decode_attention"), ("a100_sxm", "nccl all_reduce")],
)
def test_script_gives_the_constants_again(
    recordings: Path, script: object, system: str, name: str
) -> None:
    if not (recordings / "opdb").is_dir():
        pytest.skip(f"the tables of operators are absent: no opdb in {recordings}")
    table = recorded_table(script, system, name)
    again = script.fit(system, name, table, num_resamples=2)  # type: ignore[attr-defined]
    kept = next(fit for fit in OPERATOR_FITS if label(fit) == label(again))
    assert again.ranges == kept.ranges
    assert again.mean_ratio == pytest.approx(kept.mean_ratio, abs=0.005)
    some = table.only(np.arange(0, len(table.seconds), 7))
    seconds = law(again).predict(some.shapes).seconds
    assert law(kept).predict(some.shapes).seconds == pytest.approx(seconds, rel=0.02)
    assert errors_of(law(kept), table).mean_ratio == pytest.approx(kept.mean_ratio, abs=0.05)
