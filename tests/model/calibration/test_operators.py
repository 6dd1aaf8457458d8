"""Laws fitted to made-up tables: they find what made them, and only from the points they get."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import ModelError
from topoprobe.model.calibration.operators import (
    LEAST_POINTS,
    OperatorTable,
    errors_of,
    fit_constants,
    fit_operator,
)
from topoprobe.model.operators.law import OperatorLaw
from topoprobe.model.operators.roofline import Roofline
from topoprobe.model.operators.work import DECODE_ATTENTION, GEMM, Operator, Processor

PROCESSOR = Processor(num_units=100, cache_bytes=40e6)
TRUTH = Roofline(
    overhead_s=4e-6, second_kernel_s=5e-6, per_wave_s=1e-6, per_flop_s=1 / 700e12,
    per_byte_s=1 / 2e12, per_cached_byte_s=1 / 6e12, per_serial_s=1e-9, per_unsplit_s=0.0,
    sharpness=3.0, cache_share=0.8, cache_sharpness=4.0,
)  # fmt: skip
SIZES = 2.0 ** np.arange(5, 15)


def table(operator: Operator = GEMM, *, noise: float = 0.01, ripple: float = 0.0) -> OperatorTable:
    """Make the table of a machine with that roofline, a ripple along the sizes, and noise."""
    random = np.random.default_rng(3)
    if operator is GEMM:
        columns = np.meshgrid(SIZES, SIZES, SIZES)
    else:
        heads = ([8.0], [2.0], [128.0], [0.0])
        columns = np.meshgrid(2.0 ** np.arange(8), 2.0 ** np.arange(4, 18), *heads)
    shapes = {name: values.ravel() for name, values in zip(operator.columns, columns, strict=True)}
    work = operator.work(shapes, PROCESSOR)
    waves = ripple * np.sin(1.5 * work.coordinates[:, 0])
    seconds = TRUTH.seconds(work) * np.exp(waves + random.normal(0, noise, len(work.flop)))
    return OperatorTable(operator=operator, processor=PROCESSOR, shapes=shapes, seconds=seconds)


def halves(whole: OperatorTable) -> tuple[OperatorTable, OperatorTable]:
    order = np.random.default_rng(5).permutation(len(whole.seconds))
    middle = len(order) // 2
    return whole.only(order[:middle]), whole.only(order[middle:])


@pytest.mark.parametrize("operator", [GEMM, DECODE_ATTENTION], ids=lambda each: each.name)
def test_constants_predict_other_shapes_of_a_pure_roofline(operator: Operator) -> None:
    fitted, others = halves(table(operator))
    assert errors_of(fit_constants(fitted), others).mean_ratio < 0.04


def test_constants_are_those_of_the_machine() -> None:
    roofline = fit_constants(table()).roofline
    assert roofline.per_flop_s == pytest.approx(TRUTH.per_flop_s, rel=0.05)
    assert roofline.per_byte_s == pytest.approx(TRUTH.per_byte_s, rel=0.10)
    assert roofline.overhead_s == pytest.approx(TRUTH.overhead_s, rel=0.10)
    assert roofline.second_kernel_s == roofline.per_wave_s == 0.0  # a product has no such term


def test_constants_are_not_negative_and_a_cache_is_not_slower_than_memory() -> None:
    for operator in (GEMM, DECODE_ATTENTION):
        roofline = fit_constants(table(operator, noise=0.5)).roofline
        assert min(dataclasses.astuple(roofline)) >= 0.0
        assert roofline.per_cached_byte_s <= roofline.per_byte_s


def test_residual_takes_what_the_roofline_leaves() -> None:
    fitted, others = halves(table(ripple=0.3))
    plain = errors_of(fit_constants(fitted), others)
    law = errors_of(fit_operator(fitted), others)
    assert plain.mean_ratio > 0.1
    assert law.mean_ratio < 0.03
    assert law.median_ratio < law.p90_ratio
    assert law.num_shapes == len(others.seconds)


def test_slower_machine_is_predicted_slower_by_the_same_factor() -> None:
    fitted, others = halves(table(ripple=0.3).only(np.arange(0, 1000, 2)))
    slower = dataclasses.replace(fitted, seconds=fitted.seconds * 3)
    once, thrice = fit_operator(fitted), fit_operator(slower)
    ratio = thrice.predict(others.shapes).seconds / once.predict(others.shapes).seconds
    assert ratio == pytest.approx(3.0, rel=0.02)


@pytest.fixture(scope="module")
def law() -> OperatorLaw:
    return fit_operator(table().only(np.arange(0, 1000, 3)))


def test_shapes_beyond_the_fitted_range_are_flagged(law: OperatorLaw) -> None:
    found = law.predict({"m": [32, 512, 64, 1 << 20], "n": [512, 1024, 16, 512], "k": 512})
    assert found.is_extrapolated.tolist() == [False, False, True, True]
    within = dataclasses.replace(law, ranges={**law.ranges, "flop": (0.0, 1e6)})
    assert within.predict({"m": [32, 512], "n": 32, "k": 32}).is_extrapolated.tolist() == [
        False,
        True,
    ]


def test_extrapolation_follows_the_roofline(law: OperatorLaw) -> None:
    found = law.predict({"m": 1 << 20, "n": 1 << 20, "k": 1 << 20})
    assert found.seconds[0] == pytest.approx(2.0**61 / 700e12, rel=0.10)


def test_numbers_and_arrays_give_the_same(law: OperatorLaw) -> None:
    one = law.predict({"m": 64, "n": 256, "k": 512}).seconds
    many = law.predict({"m": [64, 32], "n": [256, 256], "k": 512}).seconds
    assert one.shape == (1,)
    assert many[0] == pytest.approx(one[0], rel=1e-12)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"m": 1, "n": 1}, "A shape of gemm has m, n, k; k is missing"),
        ({"m": 1, "n": 0, "k": 1}, "The n of gemm is 0; expected numbers of at least 1"),
        ({"m": [1, -5], "n": 1, "k": 1}, "The m of gemm is -5"),
        ({"m": float("nan"), "n": 1, "k": 1}, "The m of gemm is nan"),
        ({"m": 1, "n": 1, "k": float("inf")}, "The k of gemm is inf"),
    ],
)
def test_shape_that_is_none_is_refused(
    law: OperatorLaw, shapes: dict[str, float], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        law.predict(shapes)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), num_shapes=st.integers(LEAST_POINTS, 60), noise=st.floats(0, 9))
def test_fit_of_any_times_predicts_finite_times(seed: int, num_shapes: int, noise: float) -> None:
    random = np.random.default_rng(seed)
    for operator in (GEMM, DECODE_ATTENTION):
        whole = table(operator)
        some = whole.only(random.integers(0, len(whole.seconds), num_shapes))
        wild = some.seconds * np.exp(random.normal(0, noise, num_shapes))
        law = fit_operator(dataclasses.replace(some, seconds=wild))
        seconds = law.predict(whole.shapes).seconds
        assert np.isfinite(seconds).all()
        assert (seconds > 0).all()


def test_table_of_one_shape_is_its_time() -> None:
    same = table().only(np.full(LEAST_POINTS, 17))
    law = fit_operator(same)
    assert law.predict(same.shapes).seconds == pytest.approx(same.seconds, rel=0.05)


def test_table_that_is_too_small_or_has_no_times_is_refused() -> None:
    whole = table()
    with pytest.raises(ModelError, match=f"has 5 timed shapes; expected at least {LEAST_POINTS}"):
        fit_operator(whole.only(np.arange(5)))
    for bad in (0.0, -1.0, np.nan, np.inf):
        seconds = whole.seconds.copy()
        seconds[3] = bad
        with pytest.raises(ModelError, match="times that are not above zero"):
            fit_operator(dataclasses.replace(whole, seconds=seconds))
