"""What concurrent flows do to each other, from samples with known answers."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from tests.model.calibration.samples import TOOL, results, series
from topoprobe.machine.sources.scan import make_up
from topoprobe.measure.flows import parse_flow_set
from topoprobe.model.calibration.build import calibrate
from topoprobe.records.calibration import CalibrationDocument, Contention, FlowSetShare
from topoprobe.records.documents import encode
from topoprobe.records.results import Series


def shared(text: str, rates: tuple[float, ...], solo_per_s: float | None = None) -> list[Series]:
    """The series of a set whose flows run twice as fast alone, or at a given rate."""
    flows = parse_flow_set(text).flows
    together = [
        series("contention.shared", rate, set=text, flow=str(flow), index=index)
        for index, (flow, rate) in enumerate(zip(flows, rates, strict=True))
    ]
    alone = [
        series("contention.solo", solo_per_s or 2 * rate, set=str(flow), flow=str(flow), index=0)
        for flow, rate in zip(flows, rates, strict=True)
    ]
    return [*together, *alone]


def calibrated(members: list[Series], machine: str | None = None) -> CalibrationDocument:
    document = results(*members)
    if machine is not None:
        made = make_up(machine)
        assert made is not None
        document = msgspec.structs.replace(document, machine=made)
    return calibrate(document, tool=TOOL)


def contention(members: list[Series], machine: str | None = None) -> Contention:
    (found,) = calibrated(members, machine).contention
    return found


def only_set(members: list[Series], machine: str | None = None) -> FlowSetShare:
    (found,) = contention(members, machine).sets
    return found


def test_flows_of_one_set_may_have_buffers_of_unlike_sizes() -> None:
    text = "host:0 -> core:0 via cpu | host:0 -> core:1 via cpu, size=64MiB"
    sized = [
        msgspec.structs.replace(one, factors={**one.factors, "size_bytes": size})
        for one, size in zip(shared(text, (1e9, 2e9)), (128 << 20, 64 << 20) * 2, strict=True)
    ]
    found = only_set(sized)
    assert [one.shared_per_s.value for one in found.flows] == pytest.approx([1e9, 2e9])


def test_last_run_counts_of_those_with_buffers_of_other_sizes() -> None:
    text = "host:0 -> core:0 via cpu | host:0 -> core:1 via cpu"
    runs = [
        msgspec.structs.replace(one, factors={**one.factors, "size_bytes": size})
        for rates, size in (((1e9, 2e9), 64 << 20), ((3e9, 4e9), 128 << 20))
        for one in shared(text, rates)
    ]
    found = only_set(runs)
    assert [one.shared_per_s.value for one in found.flows] == pytest.approx([3e9, 4e9])


def pairs(sizes: tuple[int, ...], alpha: float, solo_per_s: float = 9e9) -> list[Series]:
    """All pairs of transaction sizes, divided by the law with an exponent."""
    members = []
    for one, other in itertools.permutations(sizes, 2):
        text = f"host:0 -> gpu:0 via sm, txn={one} | host:0 -> gpu:1 via sm, txn={other}"
        rates = ((one / other) ** alpha * 1e9, 1e9)
        members += shared(str(parse_flow_set(text)), rates, solo_per_s)
    return members


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_exponent_of_transaction_sizes_is_recovered(alpha: float) -> None:
    found = contention(pairs((32, 64, 128), alpha)).sharing_exponent
    assert found is not None
    assert found.value == pytest.approx(alpha, abs=0.02)
    assert found.low <= alpha + 0.02
    assert found.high >= alpha - 0.02


def test_exponent_of_too_few_pairs_is_missing_with_the_reason() -> None:
    document = calibrated(pairs((32, 64), 1.0))
    assert document.contention[0].sharing_exponent is None
    (missing,) = [one for one in document.missing if one.fact == "sharing_exponent"]
    assert (missing.subject, "4 pairs" in missing.reason) == ("contention of host", True)


def test_exponent_ignores_flows_that_do_not_contend() -> None:
    found = contention(pairs((32, 64, 128), 1.0, solo_per_s=1e9))
    assert found.sharing_exponent is None


def test_exponent_ignores_message_sizes_of_networks() -> None:
    members = []
    for one, other in itertools.permutations((4096, 65536, 1 << 20), 2):
        text = f"host:0 -> nic:a via nic, txn={one} | host:0 -> nic:b via nic, txn={other}"
        members += shared(str(parse_flow_set(text)), (1e9, 2e9))
    assert contention(members).sharing_exponent is None


def test_fairness_on_the_wire_counts_headers() -> None:
    text = "host:0 -> gpu:0 via sm, txn=32 | host:0 -> gpu:1 via sm, txn=128"
    # Equal rates on the wire: 32 of 56 bytes and 128 of 152 are payload.
    found = only_set(shared(text, (32 / 56 * 1e9, 128 / 152 * 1e9)))
    assert found.wire_jain_ratio is not None
    assert found.wire_jain_ratio.value == pytest.approx(1.0, abs=1e-3)
    assert found.jain_ratio.value == pytest.approx(1.0, abs=1e-3)  # both keep half


def test_fairness_on_the_wire_is_unknown_without_packet_sizes() -> None:
    text = "host:0 -> gpu:0 via sm, txn=32 | host:0 -> gpu:1 via ce"
    assert only_set(shared(text, (1e9, 2e9))).wire_jain_ratio is None


def test_sum_over_the_shared_link_is_told() -> None:
    text = "host:0 -> gpu:0 via ce | host:0 -> gpu:1 via ce"
    found = only_set(shared(text, (6e9, 6e9)), "dgx-v100")  # below one switch, Gen3 x16
    assert found.bottleneck is not None
    assert found.bottleneck_ratio is not None
    assert found.bottleneck_ratio.value == pytest.approx(12e9 / 15.75e9, rel=0.01)


def test_sum_over_no_shared_link_is_absent() -> None:
    text = "host:0 -> core:0 via cpu | host:0 -> core:1 via cpu, work=stream"
    found = only_set(shared(text, (6e9, 6e9)))
    assert (found.bottleneck, found.bottleneck_ratio) == (None, None)


def test_jitter_and_convergence_stand_beside_their_flow() -> None:
    text = "host:0 -> core:0 via cpu | host:0 -> core:1 via cpu, delay=100ms"
    first, _ = parse_flow_set(text).flows
    factors = {"set": text, "flow": str(first), "index": 0}
    found = only_set(
        [
            *shared(text, (6e9, 6e9)),
            series("contention.jitter", 1.5, "ratio", **factors),
            series("contention.convergence", 0.02, "s", **factors),
        ]
    )
    early, late = found.flows
    assert early.jitter_ratio is not None
    assert early.convergence_s is not None
    assert early.jitter_ratio.value == pytest.approx(1.5, rel=0.01)
    assert early.convergence_s.value == pytest.approx(0.02, rel=0.01)
    assert (late.jitter_ratio, late.convergence_s) == (None, None)


def test_matrix_names_the_disk_as_a_partner() -> None:
    text = "core:0 -> host:0 via cpu, work=disk | host:0 -> core:1 via cpu, work=stream"
    matrix = contention(shared(text, (1e9, 9e9))).slowdown
    assert matrix is not None
    assert matrix.flows == ("disk", "stream")


def test_flow_that_starved_has_no_slowdown_and_enters_no_document() -> None:
    text = "host:0 -> core:0 via cpu, work=chase | host:0 -> core:1 via cpu, work=stream"
    document = calibrated(shared(text, (0.0, 9e9), 1e9))
    assert document.contention == ()
    assert encode(document)
