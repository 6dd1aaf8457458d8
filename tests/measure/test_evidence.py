"""Why samples lie apart, by what stood beside them."""

from __future__ import annotations

import pytest

from topoprobe.measure.evidence import differing_conditions, find_outliers
from topoprobe.records.base import Status
from topoprobe.records.results import Conditions, Sample, Series

CALM = Conditions(
    other_cpu_ratio=0.01,
    steal_ratio=0.0,
    cpu_clock_hz=3.0e9,
    sm_clock_hz=1.98e9,
    memory_clock_hz=2.6e9,
    pcie_generation=5,
    pcie_num_lanes=16,
    num_pcie_replays=0,
    num_other_processes=0,
)


def series(*samples: tuple[float, Conditions | None], num_warmups: int = 0) -> Series:
    return Series(
        name="copy.h2d",
        unit="bytes_per_s",
        factors={},
        is_better_higher=True,
        status=Status.OK,
        samples=tuple(
            Sample(
                value=value,
                started_s=float(index),
                duration_s=1.0,
                is_warmup=index < num_warmups,
                conditions=conditions,
            )
            for index, (value, conditions) in enumerate(samples)
        ),
    )


def with_last(conditions: Conditions | None) -> Series:
    return series(*((10.0 + 0.01 * index, CALM) for index in range(6)), (5.0, conditions))


@pytest.mark.parametrize(
    ("changed", "clause"),
    [
        ({"throttle_reasons": ("software_power_cap",)}, "throttled: software_power_cap"),
        ({"num_other_processes": 2}, "2 other processes on the GPU"),
        ({"num_other_processes": 1}, "1 other process on the GPU"),
        ({"other_cpu_ratio": 0.4}, "other processes took 40% of the CPUs, 1% usually"),
        ({"steal_ratio": 0.1}, "the hypervisor took 10% of the CPUs, 0% usually"),
        ({"sm_clock_hz": 1.2e9}, "SM clock 1.20 GHz, 1.98 GHz usually"),
        ({"memory_clock_hz": 1.3e9}, "memory clock 1.30 GHz, 2.60 GHz usually"),
        ({"cpu_clock_hz": 2.0e9}, "CPU clock 2.00 GHz, 3.00 GHz usually"),
        ({"pcie_generation": 1}, "link Gen1, Gen5 usually"),
        ({"num_pcie_replays": 9}, "the link sent 9 packets again"),
    ],
)
def test_outlier_under_unusual_conditions_names_them(
    changed: dict[str, object], clause: str
) -> None:
    fields = {name: getattr(CALM, name) for name in CALM.__struct_fields__}
    (outlier,) = find_outliers(with_last(Conditions(**{**fields, **changed})))  # type: ignore[arg-type]
    assert (outlier.index, outlier.value, outlier.evidence) == (6, 5.0, (clause,))
    assert clause in str(outlier)


def test_outlier_under_usual_conditions_says_that_nothing_was_seen() -> None:
    for conditions in (CALM, None):
        (outlier,) = find_outliers(with_last(conditions))
        assert outlier.evidence == ()
        assert str(outlier).endswith("MAD from the median: no evidence why")


def test_load_that_stands_beside_every_sample_explains_none() -> None:
    busy = Conditions(other_cpu_ratio=0.5)
    found = series(*((10.0 + 0.01 * index, busy) for index in range(6)), (5.0, busy))
    assert [outlier.evidence for outlier in find_outliers(found)] == [()]


def test_outliers_are_counted_from_the_first_sample_and_leave_warmup_out() -> None:
    values = [(99.0, None), *((10.0 + 0.01 * index, None) for index in range(6)), (5.0, None)]
    assert [one.index for one in find_outliers(series(*values, num_warmups=1))] == [7]


def test_outliers_without_spread_have_no_distance() -> None:
    (outlier,) = find_outliers(series(*[(1.0, None)] * 5, (1.1, None)))
    assert outlier.distance_mads is None
    assert str(outlier) == "outlier: no evidence why"


def test_outliers_of_nothing_are_none() -> None:
    assert find_outliers(series()) == ()


def test_differing_conditions_name_link_clocks_and_throttling() -> None:
    own = Conditions(
        sm_clock_hz=1.5e9,
        memory_clock_hz=2.6e9,
        pcie_generation=4,
        pcie_num_lanes=8,
        throttle_reasons=("board_limit",),
    )
    assert differing_conditions([own], [CALM, CALM]) == (
        "SM clock 1.50 GHz where theirs is 1.98 GHz",
        "link Gen4 where theirs is Gen5",
        "link x8 where theirs is x16",
        "throttled: board_limit",
    )
    assert differing_conditions([CALM], [CALM]) == ()
