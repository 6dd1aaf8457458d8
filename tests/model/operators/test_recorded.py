"""Operator laws read from a calibration document."""

from __future__ import annotations

import msgspec
import pytest

from topoprobe.errors import ModelError
from topoprobe.model.calibration.builtin import builtin_calibration
from topoprobe.model.operators.recorded import law_of
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import Coefficient, FeatureRange, OperatorCost


def constant(name: str, value: float, unit: str = "s") -> Coefficient:
    estimate = Estimate(
        value=value, low=value, high=value, source=Source.MEASURED, n=9, evidence="test"
    )
    return Coefficient(feature=name, unit=unit, estimate=estimate)


COST = OperatorCost(
    operator="gemm",
    implementation="test",
    dtype="bf16",
    devices=("gpu",),
    num_units=100,
    cache_bytes=0.0,
    coefficients=(
        constant("overhead", 1e-6), constant("per_flop", 1e-12), constant("per_byte", 1e-10),
        constant("sharpness", 8.0, unit="1"),
    ),
    num_fit_shapes=100,
    num_validation_shapes=10,
    mean_error_ratio=0.1,
    median_error_ratio=0.1,
    p90_error_ratio=0.2,
    ranges=tuple(
        FeatureRange(feature=name, low=1, high=1e9)
        for name in ("m", "n", "k", "flop", "num_bytes")
    ),
)  # fmt: skip


def test_law_of_a_document_predicts_by_its_constants() -> None:
    found = law_of(COST).predict({"m": 100, "n": [100, 1e6], "k": 100})
    assert found.seconds[0] == pytest.approx(1e-6 + 6e-6, rel=0.02)
    assert found.is_extrapolated.tolist() == [False, True]  # more flop than any that was seen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operator": "convolution"}, "has a law of 'convolution'; expected one of gemm"),
        ({"coefficients": (constant("speed", 1.0),)}, "has the constants speed"),
        ({"coefficients": (constant("overhead", 1.0, unit="ms"),)}, "in their units"),
        ({"coefficients": (constant("overhead", -1.0),)}, "not negative"),
        ({"coefficients": ()}, "has the constants none"),
        ({"ranges": (FeatureRange(feature="x", low=1, high=2),)}, "has a range of x; expected m"),
    ],
)
def test_document_with_another_law_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        law_of(msgspec.structs.replace(COST, **changes))


def test_built_in_laws_flag_what_nobody_timed() -> None:
    document = builtin_calibration("hgx-h100")
    assert document is not None
    law = next(law_of(cost) for cost in document.operators if cost.operator == "gemm")
    found = law.predict({"m": [1, 16, 1 << 22], "n": 4096, "k": 4096})
    assert found.is_extrapolated.tolist() == [False, False, True]
