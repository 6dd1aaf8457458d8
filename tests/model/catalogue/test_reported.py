"""Published measurements: sourced, in SI units, and below what the data sheets promise."""

from __future__ import annotations

import pytest

from topoprobe.machine.pcie import capability_of_generation
from topoprobe.model.catalogue.devices import find_nominal_device
from topoprobe.model.catalogue.reported import REPORTED, Reported, reported


def label(figure: Reported) -> str:
    return f"{figure.device} {figure.fact} {figure.remark}"


@pytest.mark.parametrize("figure", REPORTED, ids=label)
def test_figure_is_a_sourced_range(figure: Reported) -> None:
    assert 0 < figure.low <= figure.high
    assert figure.source
    assert figure.fact.endswith(("_bytes_per_s", "_flop_per_s", "_latency_s"))


def test_figures_are_not_repeated() -> None:
    keys = [(each.device, each.fact, each.source, each.remark) for each in REPORTED]
    assert len(keys) == len(set(keys))


def ceiling(figure: Reported) -> float | None:
    """What the data sheet promises for the same thing; None where it has no such number."""
    device = find_nominal_device(figure.device)
    name, _, rest = figure.fact.partition("_")
    if device is None:
        return None
    if rest == "gemm_flop_per_s":
        return device.compute_flop_per_s[name].value
    if name in {"write", "read", "scale", "triad", "copy"}:
        return device.memory_bytes_per_s.value
    if name in {"h2d", "d2h"}:
        link = capability_of_generation(int(device.pcie.generation.value), 16)
        return None if link is None else link.bandwidth_bytes_per_s
    if figure.fact == "p2p_bytes_per_s" and device.peer_links is not None:
        return device.peer_links.num_links.value * device.peer_links.bytes_per_s.value
    return None


def test_figures_are_not_above_the_data_sheets() -> None:
    compared = [(each, most) for each in REPORTED if (most := ceiling(each)) is not None]
    assert len(compared) > 40
    # One write-only stream reads 1 % above what its sheet rounds down to.
    assert [label(each) for each, most in compared if each.high > 1.01 * most] == []


def test_reported_keeps_sources_apart() -> None:
    triads = reported("v100-16gb-pcie", "triad_bytes_per_s")
    assert [each.low for each in triads] == [814e9, 845e9]
    assert reported("h100-80gb-sxm", "triad_bytes_per_s") == ()
