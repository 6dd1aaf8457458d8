"""ACS on the ways between peers, the IOMMU, and what the driver says."""

from __future__ import annotations

import pytest

from tests.machine.verdicts.made_up import gpu, levels, link, machine, nic
from topoprobe.machine.verdicts import peer_access
from topoprobe.machine.view import Machine
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Pair, PcieSwitch, Port, PortRole

SWITCH = "pcie_switch@0000:20:00.0"


def switched(*controls: tuple[str, ...] | None, **host: object) -> Machine:
    """Put a GPU and a NIC behind two ports of one switch."""
    devices = [gpu(parent=SWITCH), nic(parent=SWITCH)]
    links = [link(d, (4, 16), (4, 16), (4, 16), above=SWITCH) for d in devices]
    ports = tuple(
        Port(address=one.a_port or "", role=PortRole.DOWNSTREAM, access_control=control)
        for one, control in zip(links, controls, strict=True)
    )
    switch = PcieSwitch(
        id=SWITCH, name="switch", parent="host_bridge@0000:00", pci_address="0000:20:00.0",
        ports=ports,
    )  # fmt: skip
    return machine(switch, *devices, links=links, **host)  # type: ignore[arg-type]


def test_redirection_between_gpu_and_nic_fails() -> None:
    (verdict,) = peer_access.judge(switched(("SrcValid", "ReqRedir", "CmpltRedir"), ("SrcValid",)))
    assert (verdict.level, verdict.subject) == ("FAIL", SWITCH)
    assert "1 port (0000:00:01.0)" in verdict.evidence
    assert "GPU 0 and NIC eth0" in verdict.evidence
    assert "setpci -s 0000:00:01.0 ECAP_ACS+6.w=0" in (verdict.fix or "")


def test_redirection_that_a_guest_sees_is_for_its_host_to_mend() -> None:
    found = peer_access.judge(switched(("ReqRedir",), (), is_virtual=True))
    assert levels(found) == ["WARN"]


def test_other_controls_do_not_redirect() -> None:
    assert levels(peer_access.judge(switched(("SrcValid", "UpstreamFwd"), ()))) == ["OK"]


def test_unread_controls_are_worth_a_look() -> None:
    (verdict,) = peer_access.judge(switched(None, None))
    assert (verdict.level, verdict.subject) == ("WARN", "host")
    assert "is not told for 1 PCIe switch" in verdict.evidence
    assert "as root" in (verdict.fix or "")
    assert list(peer_access.judge(switched(None, None, origin="synthetic"))) == []


def test_switch_without_a_gpu_is_of_no_interest() -> None:
    devices = [nic(0, parent=SWITCH), nic(1, parent=SWITCH)]
    links = [link(d, (4, 16), (4, 16), (4, 16), above=SWITCH) for d in devices]
    ports = tuple(
        Port(address=x.a_port or "", role=PortRole.DOWNSTREAM, access_control=("ReqRedir",))
        for x in links
    )
    switch = PcieSwitch(id=SWITCH, name="s", parent="host_bridge@0000:00", ports=ports)
    assert list(peer_access.judge(machine(switch, *devices, links=links))) == []


@pytest.mark.parametrize(
    ("iommu", "is_virtual", "expected"),
    [
        ("translated", None, ["WARN"]),
        ("identity", None, ["OK"]),
        ("off", None, ["OK"]),
        ("translated", True, ["OK"]),
        (None, None, []),
    ],
)
def test_iommu_that_translates_is_worth_a_look(
    iommu: str | None, is_virtual: bool | None, expected: list[str]
) -> None:
    found = peer_access.judge(machine(gpu(0), gpu(1), iommu=iommu, is_virtual=is_virtual))
    assert levels(found) == expected


def test_iommu_matters_only_with_peers() -> None:
    assert list(peer_access.judge(machine(gpu(0), iommu="translated"))) == []
    assert list(peer_access.judge(machine(nic(0), nic(1), iommu="translated"))) == []


def told(status: str, path_class: str = "PHB") -> list[Verdict]:
    pair = Pair(a=gpu(0).id, b=gpu(1).id, path_class=path_class, peer_status=status)
    return list(peer_access.judge(machine(gpu(0), gpu(1), pairs=[pair])))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("OK", ["OK"]), ("GNS", ["WARN"]), ("CNS", ["WARN"]), ("TNS", ["WARN"]), ("NS", ["WARN"]),
        ("DR", ["FAIL"]), ("U", []), ("XYZ", ["WARN"]),
    ],
)  # fmt: skip
def test_status_is_told_with_its_meaning(status: str, expected: list[str]) -> None:
    assert levels(told(status)) == expected


def test_refused_pair_with_nvlinks_fails() -> None:
    (verdict,) = told("NS", "NV12")
    assert verdict.level == "FAIL"
    assert "fabric manager" in (verdict.fix or "")


def test_pairs_are_counted_by_status() -> None:
    nodes = [gpu(i) for i in range(3)]
    statuses = (("OK", 0, 1), ("GNS", 0, 2), ("GNS", 1, 2))
    pairs = [
        Pair(a=nodes[a].id, b=nodes[b].id, path_class="PHB", peer_status=status)
        for status, a, b in statuses
    ]
    allowed, refused = peer_access.judge(machine(*nodes, pairs=pairs))
    assert "1 of 3 pairs" in allowed.evidence
    assert "2 of 3 pairs of GPUs: GNS, the GPU does not support it" in refused.evidence
