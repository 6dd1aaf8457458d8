"""Published rates of an adapter, with the constants that `benchmarks/pcie_model.py` reads off."""

from __future__ import annotations

import pytest

from benchmarks.pcie_model import (
    BROADWELL,
    BROADWELL_OTHER,
    FAR_S,
    FAR_SOCKET,
    HASWELL,
    HASWELL_S,
    OTHER_SIZES,
    SIZES,
    Host,
    adapter_form,
    adapter_rate,
)

LOCAL, FAR, OTHER_HOST = Host(), Host(sockets_s=FAR_S), Host(round_trip_s=HASWELL_S)
KINDS = ("read", "write", "both")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("host", "table", "goal"),
    [(LOCAL, BROADWELL, 0.10), (FAR, FAR_SOCKET, 0.15), (OTHER_HOST, HASWELL, 0.15)],
)
def test_formula_of_each_published_size_is_within_the_goal(
    host: Host, table: dict[str, tuple[float, ...]], goal: float, kind: str
) -> None:
    formed = [adapter_form(kind, size, host) for size in SIZES]
    assert formed == pytest.approx(table[kind], rel=goal)


@pytest.mark.parametrize("kind", KINDS)
def test_formula_of_sizes_between_is_within_a_tenth(kind: str) -> None:
    published = dict(zip(OTHER_SIZES, BROADWELL_OTHER[kind], strict=True))
    if kind == "write":
        del published[192]  # sent as two pieces of 128 bytes, which is not modelled
    formed = {size: adapter_form(kind, size, LOCAL) for size in published}
    assert formed == pytest.approx(published, rel=0.10)


@pytest.mark.parametrize(
    ("kind", "size", "gigabytes_per_s"),
    [("both", 512, 5.3), ("both", 768, 5.38), ("both", 1536, 6.36), ("read", 64, 4.0)],
)
def test_simulated_adapter_reaches_the_published_rate(
    kind: str, size: int, gigabytes_per_s: float
) -> None:
    rate = adapter_rate(kind, size, LOCAL)
    assert rate == pytest.approx(gigabytes_per_s, rel=0.10)
    assert rate == pytest.approx(adapter_form(kind, size, LOCAL), rel=0.005)
