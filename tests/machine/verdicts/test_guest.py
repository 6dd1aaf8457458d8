"""Trees that a hypervisor made up or flattened."""

from __future__ import annotations

from tests.machine.verdicts.made_up import gpu, levels, link, machine, nic
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.verdicts import guest
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, HostBridge, Pair, PcieSwitch, Port, PortRole


def test_emulated_switch_is_worth_a_look() -> None:
    switch = PcieSwitch(
        id="pcie_switch@0000:05:00.0", name="s", parent="host_bridge@0000:00",
        pci_address="0000:05:00.0", pci_vendor="104c", pci_device="8232",
    )  # fmt: skip
    node = gpu(parent=switch.id)
    links = [
        link(switch, (1, 1), (1, 1), (1, 1)),
        link(node, (4, 16), (4, 16), (1, 1), above=switch.id),
    ]
    (verdict,) = guest.judge(machine(switch, node, links=links))
    assert verdict.level == "WARN"
    assert "1 PCIe switch is emulated (104c:8232)" in verdict.evidence
    assert "NCCL_TOPO_FILE" in (verdict.fix or "")


def test_gpus_side_by_side_on_a_guests_bus_are_worth_a_look() -> None:
    pairs = [Pair(a=gpu(0).id, b=gpu(1).id, path_class="NV12")]
    made = machine(gpu(0), gpu(1), pairs=pairs, is_virtual=True, virtualization="KVM")
    (verdict,) = guest.judge(made)
    assert verdict.level == "WARN"
    assert "All 2 GPUs stand side by side" in verdict.evidence


def test_gpus_alone_in_their_domains_are_hyper_vs() -> None:
    nodes = []
    for domain in ("0001", "0002"):
        root = HostBridge(id=f"host_bridge@{domain}:00", name="root", parent="host")
        address = f"{domain}:00:00.0"
        nodes += [root, Gpu(id=f"gpu@{address}", name="g", parent=root.id, pci_address=address)]
    ends = {"a": "gpu@0001:00:00.0", "b": "gpu@0002:00:00.0"}
    unknown = Pair(**ends, path_class=None)
    (verdict,) = guest.judge(machine(*nodes, pairs=[unknown]))
    assert verdict.level == "WARN"
    assert "as Hyper-V shows them" in verdict.evidence
    known = Pair(**ends, path_class="SYS", pcie_class="SYS")
    assert list(guest.judge(machine(*nodes, pairs=[known]))) == []


def test_coherent_machine_with_a_domain_and_a_port_for_each_gpu_is_real() -> None:
    nodes = []
    for domain in ("0008", "0009"):
        port = Port(address=f"{domain}:00:00.0", role=PortRole.ROOT)
        root = HostBridge(id=f"host_bridge@{domain}:00", name="root", parent="host", ports=(port,))
        address = f"{domain}:01:00.0"
        nodes += [root, Gpu(id=f"gpu@{address}", name="g", parent=root.id, pci_address=address)]
    assert list(guest.judge(machine(*nodes))) == []


def test_bare_metal_has_nothing_to_say() -> None:
    assert list(guest.judge(machine(gpu(0), gpu(1), nic()))) == []


def test_guest_with_one_gpu_has_nothing_to_mend() -> None:
    (verdict,) = guest.judge(machine(gpu(), is_virtual=True, virtualization="KVM"))
    assert verdict.level == "OK"
    assert "KVM" in verdict.evidence


def test_gpus_that_the_source_could_not_place_are_worth_a_look() -> None:
    nowhere = HostBridge(id="host_bridge@cpu:-1", name="CPU", parent="host")
    nodes = [gpu(i, parent=nowhere.id) for i in range(2)]
    pair = Pair(a=nodes[0].id, b=nodes[1].id, path_class=None)
    (verdict,) = guest.judge(machine(nowhere, *nodes, pairs=[pair]))
    assert verdict.level == "WARN"
    assert "All 2 GPUs stand on one bus without a NUMA node" in verdict.evidence


FLAT = """<system version="1"><cpu numaid="-1" affinity="ff" arch="x86_64" vendor="GenuineIntel">
    <pci busid="0000:06:00.0" class="0x030200" vendor="0x10de" device="0x2330" link_speed=""/>
    <pci busid="0000:07:00.0" class="0x030200" vendor="0x10de" device="0x2330" link_speed=""/>
    <pci busid="0000:08:00.0" class="0x020700" vendor="0x15b3" device="0x101e" link_speed=""/>
</cpu></system>"""


def test_nccl_file_of_a_flat_guest_tells_no_classes() -> None:
    document = scan_files([("flat.xml", FLAT.encode())])
    assert [pair.path_class for pair in document.pairs] == [None] * 3
    assert levels(guest.judge(Machine(document))) == ["WARN"]
    placed = scan_files([("flat.xml", FLAT.replace('"-1"', '"0"').encode())])
    assert [pair.path_class for pair in placed.pairs] == ["PHB"] * 3
    assert list(guest.judge(Machine(placed))) == []
