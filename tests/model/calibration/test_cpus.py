"""Laws of CPU flows recovered from rates that follow them, and foretold from other sets."""

from __future__ import annotations

import itertools

import pytest

from tests.model.calibration.samples import TOOL, results, series
from tests.model.fabric.cpus.test_laws import LAWS, TEXTS, seats
from topoprobe.measure.flows import Work
from topoprobe.model.calibration.build import calibrate
from topoprobe.model.calibration.cpus import MeasuredSet, fit_cpu_laws, held_out_slowdowns
from topoprobe.model.fabric.cpus.laws import cpu_laws, settle
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.results import Series

PAIRS = list(itertools.combinations_with_replacement(TEXTS, 2))
SHARED = ((Work.DISK, 0), (Work.GEMM, 0))


def lawful(*flows: tuple[Work, int]) -> MeasuredSet:
    """A set whose rates are what the law says."""
    placed = seats(*flows)
    together = [one.rate_bytes_per_s for one in settle(LAWS, placed)]
    alone = [settle(LAWS, [seat])[0].rate_bytes_per_s for seat in placed]
    return MeasuredSet(placed, tuple(alone), tuple(together))


def lawful_pairs() -> list[MeasuredSet]:
    return [lawful((one, 0), (other, 1)) for one, other in PAIRS]


def lawful_series() -> list[Series]:
    """The series of all pairs and of a set that shares a CPU."""
    return series_of(*lawful_pairs(), lawful(*SHARED))


def series_of(*sets: MeasuredSet) -> list[Series]:
    """The series that measuring these sets gives."""
    made: dict[str, Series] = {}
    for one in sets:
        text = " | ".join(str(seat.flow) for seat in one.seats)
        for index, seat in enumerate(one.seats):
            flow = str(seat.flow)
            made[flow] = series(
                "contention.solo", one.solo_per_s[index], set=flow, flow=flow, index=0
            )
            made[f"{text} {index}"] = series(
                "contention.shared", one.shared_per_s[index], set=text, flow=flow, index=index
            )
    return list(made.values())


def test_laws_are_recovered_from_rates_that_follow_them() -> None:
    found = fit_cpu_laws([*lawful_pairs(), lawful(*SHARED)], LAWS.memory_bytes_per_s)
    for work, law in LAWS.works.items():
        fitted = found.works[work]
        assert fitted.solo_per_s == pytest.approx(law.solo_per_s)
        assert fitted.stall_ratio == pytest.approx(law.stall_ratio, abs=1e-6)
        assert fitted.core_ratio == pytest.approx(law.core_ratio, abs=1e-6)
        assert fitted.wait_ratio == pytest.approx(law.wait_ratio, abs=1e-6)
    assert found.works[Work.DISK].together_per_s == pytest.approx(3e9)


def test_noise_beside_next_to_no_load_is_no_stall() -> None:
    one = lawful((Work.GEMM, 0), (Work.CHASE, 1))
    noisy = MeasuredSet(one.seats, one.solo_per_s, (one.solo_per_s[0] / 1.07, one.shared_per_s[1]))
    assert fit_cpu_laws([noisy], LAWS.memory_bytes_per_s).works[Work.GEMM].stall_ratio == 0.0
    triad = series("stream.triad", LAWS.memory_bytes_per_s, threads=2, variant="numba")
    (contention,) = calibrated([*series_of(noisy), triad]).contention
    assert [one.stall_ratio for one in contention.cpu_works if one.work == "gemm"] == [None]


def test_held_out_kinds_are_foretold_by_the_others() -> None:
    sets = lawful_pairs()
    for one, foretold in zip(sets, held_out_slowdowns(sets, LAWS.memory_bytes_per_s), strict=True):
        if one.kinds != ("disk", "disk"):  # nothing else tells what the disk gives to two
            assert foretold == pytest.approx(one.slowdowns, rel=1e-5)


def test_held_out_prediction_does_not_know_its_own_set() -> None:
    sets = lawful_pairs()
    place = next(index for index, one in enumerate(sets) if one.kinds == ("chase", "stream"))
    slow = MeasuredSet(sets[place].seats, sets[place].solo_per_s, (1.0, 1.0))
    before = held_out_slowdowns(sets, LAWS.memory_bytes_per_s)[place]
    after = held_out_slowdowns([*sets[:place], slow, *sets[place + 1 :]], LAWS.memory_bytes_per_s)
    assert after[place] == pytest.approx(before)


def test_held_out_work_that_no_other_set_has_is_not_foretold() -> None:
    sets = [lawful((Work.CHASE, 0), (Work.STREAM, 1)), lawful((Work.GEMM, 0), (Work.STREAM, 1))]
    assert held_out_slowdowns(sets) == (None, None)


def calibrated(members: list[Series]) -> CalibrationDocument:
    return calibrate(results(*members), tool=TOOL)


def test_calibration_tells_laws_and_stores_predictions_beside_measurements() -> None:
    document = calibrated(lawful_series())
    (contention,) = document.contention
    works = {one.work: one for one in contention.cpu_works}
    assert works["memcpy"].memory_bytes_per_unit == 2.0
    assert works["memcpy"].core_ratio is None
    stall, taken = works["stream"].stall_ratio, works["disk"].core_ratio
    assert stall is not None
    assert taken is not None
    assert stall.low <= stall.value <= stall.high
    assert taken.value == pytest.approx(0.25, abs=0.02)
    for one in contention.sets:
        foretold = [share.predicted_slowdown_ratio for share in one.flows]
        assert None not in foretold
        if not any("disk" in share.flow for share in one.flows):
            measured = [share.slowdown_ratio.value for share in one.flows]
            assert foretold == pytest.approx(measured, rel=0.05)


def test_laws_come_back_from_a_calibration() -> None:
    found = cpu_laws(calibrated(lawful_series()))
    assert found is not None
    stalls = {work: law.stall_ratio / found.memory_bytes_per_s for work, law in found.works.items()}
    for work, law in LAWS.works.items():
        expected = law.stall_ratio / LAWS.memory_bytes_per_s
        assert stalls[work] == pytest.approx(expected, rel=0.1, abs=1e-13)


def test_laws_of_a_calibration_without_sets_are_none() -> None:
    rates = {"threads": 1, "variant": "none", "array_bytes": 64}
    assert cpu_laws(calibrated([series("stream.triad", 5e9, **rates)])) is None
