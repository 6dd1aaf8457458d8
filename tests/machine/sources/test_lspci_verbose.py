"""Reading `lspci -v`, `-vv` and `-vvv`: figures of a real machine, and what real machines lack."""

from __future__ import annotations

import lzma
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import InputError
from topoprobe.machine.facts import Facts, PciFact
from topoprobe.machine.sources.detect import read_file
from topoprobe.machine.sources.lspci import listing, verbose
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import (
    Capability,
    Gpu,
    HostBridge,
    Link,
    LinkKind,
    MachineDocument,
    Nic,
    Nvme,
    NvSwitch,
    Other,
    PcieSwitch,
    PortRole,
)

# A root port above a switch with a GPU and a NIC below it, as root sees it.
SERVER = """\
15:00.0 System peripheral: Intel Corporation Device 09a2 (rev 20)
	Control: I/O- Mem- BusMaster- SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	NUMA node: 1
	IOMMU group: 7
	Capabilities: [40] Express (v2) Root Complex Integrated Endpoint, MSI 00

15:01.0 PCI bridge: Intel Corporation Device 352a (rev 04) (prog-if 00 [Normal decode])
	Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr+ Stepping- SERR+ FastB2B-
	NUMA node: 1
	Region 0: Memory at 217ffff00000 (64-bit, non-prefetchable) [size=128K]
	Bus: primary=15, secondary=16, subordinate=1a, sec-latency=0
	Memory behind bridge: 96000000-98ffffff [size=48M]
	Capabilities: [40] Express (v2) Root Port (Slot-), IntMsgNum 0
		DevCtl:	CorrErr- NonFatalErr- FatalErr+ UnsupReq-
			MaxPayload 256 bytes, MaxReadReq 512 bytes
		LnkCap:	Port #1, Speed 32GT/s, Width x16, ASPM not supported
		LnkSta:	Speed 32GT/s, Width x16
	Kernel driver in use: pcieport

16:00.0 PCI bridge: Broadcom / LSI PEX890xx PCIe Gen 5 Switch (rev b0) (prog-if 00 [Normal decode])
	Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	NUMA node: 1
	Bus: primary=16, secondary=17, subordinate=1a, sec-latency=0
	Capabilities: [68] Express (v2) Upstream Port, MSI 00
		LnkCap:	Port #0, Speed 32GT/s, Width x16, ASPM L0s L1, Exit Latency L0s <4us, L1 <32us
		LnkSta:	Speed 32GT/s (ok), Width x16 (ok)
	Kernel driver in use: pcieport

17:00.0 PCI bridge: Broadcom / LSI PEX890xx PCIe Gen 5 Switch (rev b0) (prog-if 00 [Normal decode])
	Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	Physical Slot: 21-1
	NUMA node: 1
	Bus: primary=17, secondary=18, subordinate=18, sec-latency=0
	Capabilities: [68] Express (v2) Downstream Port (Slot+), MSI 00
		LnkCap:	Port #0, Speed 32GT/s, Width x16, ASPM L0s L1, Exit Latency L0s <4us, L1 <32us
		LnkSta:	Speed 2.5GT/s (downgraded), Width x16 (ok)
	Capabilities: [170 v1] Access Control Services
		ACSCap:	SrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans+
		ACSCtl:	SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-
	Kernel driver in use: pcieport

17:01.0 PCI bridge: Broadcom / LSI PEX890xx PCIe Gen 5 Switch (rev b0) (prog-if 00 [Normal decode])
	Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	NUMA node: 1
	Bus: primary=17, secondary=19, subordinate=1a, sec-latency=0
	Capabilities: [68] Express (v2) Downstream Port (Slot+), MSI 00
		LnkCap:	Port #1, Speed 32GT/s, Width x16, ASPM not supported
		LnkSta:	Speed 16GT/s (downgraded), Width x16 (ok)
	Capabilities: [170 v1] Access Control Services
		ACSCap:	SrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans+
		ACSCtl:	SrcValid- TransBlk- ReqRedir- CmpltRedir- UpstreamFwd- EgressCtrl- DirectTrans-
	Kernel driver in use: pcieport

18:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)
	Subsystem: Gigabyte Technology Co., Ltd Device 40bf
	Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	NUMA node: 1
	Region 0: Memory at 97000000 (32-bit, non-prefetchable) [size=16M]
	Region 1: Memory at 216000000000 (64-bit, prefetchable) [size=256M]
	Region 3: Memory at 216010000000 (64-bit, prefetchable) [size=32M]
	Capabilities: [60] Power Management version 3
		Flags: PMEClk- DSI- D1- D2- AuxCurrent=375mA PME(D0+,D1-,D2-,D3hot+,D3cold+)
		Status: D3 NoSoftRst+ PME-Enable+ DSel=0 DScale=0 PME-
	Capabilities: [78] Express (v2) Legacy Endpoint, MSI 00
		LnkCap:	Port #0, Speed 16GT/s, Width x16, ASPM L1, Exit Latency L1 <4us
		LnkSta:	Speed 2.5GT/s (downgraded), Width x16 (ok)
	Capabilities: [bb0 v1] Physical Resizable BAR
		BAR 0: current size: 16MB, supported: 16MB
		BAR 1: current size: 256MB, supported: 64MB 128MB 256MB 512MB 1GB 2GB 4GB 8GB 16GB 32GB
		BAR 3: current size: 32MB, supported: 32MB
	Capabilities: [140 v1] Virtual Resizable BAR
		BAR 1: current size: 4GB, supported: 64MB 128GB 256TB 8EB
	Kernel driver in use: nvidia
	Kernel modules: nvidiafb, nouveau, nvidia_drm, nvidia

18:00.1 Audio device: NVIDIA Corporation AD102 High Definition Audio Controller (rev a1)
	Control: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	NUMA node: 1
	Capabilities: [78] Express (v2) Endpoint, MSI 00
		LnkCap:	Port #0, Speed 16GT/s, Width x16, ASPM L1, Exit Latency L1 <4us
		LnkSta:	Speed 2.5GT/s (downgraded), Width x16 (ok)

19:00.0 Ethernet controller: Mellanox Technologies MT2892 Family [ConnectX-6 Dx]
	Control: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	NUMA node: 1
	Region 0: Memory at 2165000000 (64-bit, prefetchable) [size=32M]
	Capabilities: [60] Express (v2) Endpoint, MSI 00
		LnkCap:	Port #0, Speed 16GT/s, Width x16, ASPM not supported
		LnkSta:	Speed 16GT/s (ok), Width x16 (ok)
	Capabilities: [180 v1] Single Root I/O Virtualization (SR-IOV)
		Initial VFs: 8, Total VFs: 8, Number of VFs: 2, Function Dependency Link: 00
		VF offset: 2, stride: 1, Device ID: 101e
		Region 0: Memory at 0000216600000000 (64-bit, prefetchable) [size=64M]
	Kernel driver in use: mlx5_core

19:00.1 Ethernet controller: Mellanox Technologies MT2892 Family [ConnectX-6 Dx]
	Control: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	NUMA node: 1
	Capabilities: [60] Express (v2) Endpoint, MSI 00
		LnkCap:	Port #0, Speed 16GT/s, Width x16, ASPM not supported
		LnkSta:	Speed 16GT/s (ok), Width x16 (ok)
	Capabilities: [180 v1] Single Root I/O Virtualization (SR-IOV)
		Initial VFs: 8, Total VFs: 8, Number of VFs: 1, Function Dependency Link: 01
		VF offset: 255, stride: 1, Device ID: 101e
	Kernel driver in use: vfio-pci

19:00.2 Ethernet controller: Mellanox Technologies ConnectX Family mlx5Gen Virtual Function
	Control: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	NUMA node: 1
	Capabilities: [60] Express (v2) Endpoint, MSI 00
		LnkCap:	Port #0, Speed 16GT/s, Width x16, ASPM not supported
		LnkSta:	Speed unknown, Width x0
	Kernel driver in use: mlx5_core

19:00.3 Ethernet controller: Mellanox Technologies ConnectX Family mlx5Gen Virtual Function
	Control: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	Kernel driver in use: mlx5_core

1a:00.0 Ethernet controller: Mellanox Technologies ConnectX Family mlx5Gen Virtual Function
	Control: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	Kernel driver in use: mlx5_core
"""

GEN1_X16 = Capability(bandwidth_bytes_per_s=4e9, transfers_per_s=2.5e9, num_lanes=16)


def facts_of(text: str) -> dict[str, PciFact]:
    return {function.address: function for function in verbose.read(text, "x").functions}


def reasons(facts: Facts, fact: str) -> dict[str, str]:
    return {m.subject: m.reason for m in facts.unknown if m.fact == fact}


@pytest.fixture(scope="module")
def h100_text(recordings: Path) -> str:
    path = recordings / "topologies/lspci/h100x8-pex890xx-lspci-vvv.txt.xz"
    return lzma.decompress(path.read_bytes()).decode()


@pytest.fixture(scope="module")
def h100(h100_text: str) -> Facts:
    assert verbose.matches(h100_text)
    assert not listing.matches(h100_text)
    return verbose.read(h100_text, "h100")


@pytest.fixture(scope="module")
def h100_document(h100_text: str) -> MachineDocument:
    return scan_files([("h100", h100_text.encode())])


GPUS = (0x19, 0x3B, 0x4C, 0x5D, 0x9B, 0xBB, 0xCB, 0xDB)
ROOTS = (0x15, 0x37, 0x48, 0x59, 0x97, 0xB7, 0xC7, 0xD7)


def test_h100_capture_has_every_function_in_its_place(h100: Facts) -> None:
    functions = {f.address: f for f in h100.functions}
    assert len(functions) == len(h100.functions) == 517
    assert h100.tree == "full"
    assert Counter(f.numa_index for f in h100.functions) == {0: 261, 1: 256}
    assert sum(f.class_code == "0604" for f in h100.functions) == 59
    assert Counter(f.role for f in h100.functions if f.role) == {
        PortRole.ROOT: 11,
        PortRole.UPSTREAM: 9,
        PortRole.DOWNSTREAM: 38,
        PortRole.BRIDGE: 1,
    }
    for gpu, root in zip(GPUS, ROOTS, strict=True):
        function = functions[f"0000:{gpu:02x}:00.0"]
        assert (function.vendor, function.device, function.class_code) == ("10de", "2330", "0302")
        assert function.root == f"0000:{root:02x}"
        assert function.numa_index == int(gpu > 0x80)
    assert not reasons(h100, "parent")


def test_h100_capture_tells_windows_and_access_control(h100: Facts) -> None:
    functions = {f.address: f for f in h100.functions}
    for gpu in GPUS:
        assert functions[f"0000:{gpu:02x}:00.0"].bar_bytes == 128 << 30
        assert functions[f"0000:{gpu:02x}:00.0"].max_bar_bytes == 128 << 30
    assert sum(f.access_control is not None for f in h100.functions) == 55
    redirecting = [a for a, f in functions.items() if "ReqRedir" in (f.access_control or ())]
    assert redirecting == [f"0000:82:0{port}.0" for port in range(4)]
    assert functions["0000:17:03.0"].access_control == ()
    assert functions["0000:19:00.0"].max_payload_bytes == 256
    assert functions["0000:19:00.0"].max_read_request_bytes == 4096
    assert functions["0000:19:00.0"].driver == "nvidia"
    assert functions["0000:18:00.0"].slot == "167"


def test_h100_capture_gives_the_devices_of_its_machine(h100_document: MachineDocument) -> None:
    machine = Machine(h100_document)
    assert [n.pci_address for n in machine.all(Gpu)] == [f"0000:{b:02x}:00.0" for b in GPUS]
    assert len(machine.all(Nic)) == 14
    assert len(machine.all(Nvme)) == 8
    switches = {n.pci_address: n for n in machine.all(NvSwitch)}
    assert list(switches) == [f"0000:{bus}:00.0" for bus in (83, 84, 85, 86)]
    assert all(n.numa_index == 1 for n in switches.values())
    assert all(n.parent == "pcie_switch@0000:81:00.0" for n in switches.values())
    screens = [n for n in machine.all(Other) if n.pci_class == "0300"]
    assert [n.pci_vendor for n in screens] == ["102b"]
    ports = [p for n in (*machine.all(HostBridge), *machine.all(PcieSwitch)) for p in n.ports]
    assert Counter(port.role for port in ports) == {
        PortRole.ROOT: 11,
        PortRole.UPSTREAM: 9,
        PortRole.DOWNSTREAM: 38,
        PortRole.BRIDGE: 1,
    }


def test_h100_capture_gives_the_path_classes_of_its_machine(h100_document: MachineDocument) -> None:
    machine = Machine(h100_document)
    classes = {(p.a, p.b): p.path_class for p in h100_document.pairs}
    gpus = [gpu.id for gpu in machine.all(Gpu)]
    assert Counter(c for (_, b), c in classes.items() if b in gpus) == {"NODE": 12, "SYS": 16}
    near = {(a, b) for (a, b), c in classes.items() if c == "PIX" and b.startswith("nic@")}
    assert near == {
        *((f"gpu@0000:{bus:02x}:00.0", f"nic@0000:{bus + 1:02x}:00.0") for bus in GPUS),
        ("gpu@0000:19:00.0", "nic@0000:1b:00.0"),
        ("gpu@0000:19:00.0", "nic@0000:1b:00.1"),
        ("gpu@0000:9b:00.0", "nic@0000:9d:00.0"),
        ("gpu@0000:9b:00.0", "nic@0000:9d:00.1"),
    }
    drives = {a: b for (a, b), c in classes.items() if c == "PIX" and b.startswith("nvme@")}
    assert sorted(drives) == sorted(gpus)
    assert len(set(drives.values())) == 8


def test_h100_capture_has_no_link_below_what_both_ends_can_do(
    h100_document: MachineDocument, h100_text: str
) -> None:
    links = [link for link in h100_document.links if link.kind is LinkKind.PCIE]
    assert h100_text.count("(downgraded)") == 16
    assert len(links) == 53
    assert all(link.a_capability and link.b_capability and link.current for link in links)
    assert [link.id for link in links if falls_short(link)] == []
    by_id = {link.id: link for link in links}
    for bus in (83, 84, 85, 86):
        current = by_id[f"pcie@0000:{bus}:00.0"].current
        assert current is not None
        assert (current.transfers_per_s, current.num_lanes) == (16e9, 2)
    gpu = by_id["pcie@0000:19:00.0"].nominal
    assert gpu is not None
    assert gpu.bandwidth_bytes_per_s == pytest.approx(63.015e9, rel=1e-4)


def falls_short(link: Link) -> bool:
    assert link.nominal is not None
    assert link.current is not None
    rates = (link.current.bandwidth_bytes_per_s, link.nominal.bandwidth_bytes_per_s)
    return rates[0] is None or rates[1] is None or rates[0] < rates[1] * 0.999


def test_h100_capture_without_its_first_character_is_the_same(h100: Facts, h100_text: str) -> None:
    cut = verbose.read(h100_text.removeprefix("0"), "h100")
    assert cut.functions == h100.functions
    assert reasons(cut, "address") == {
        "0000:00:00.0": "The text begins inside an address: '0:00.0' is read as '00:00.0'."
    }


def test_server_is_read_with_all_that_it_tells() -> None:
    facts = verbose.read(SERVER, "server")
    functions = {f.address: f for f in facts.functions}
    assert verbose.matches(SERVER)
    assert facts.tree == "full"
    assert [root.key for root in facts.roots] == ["0000:15"]
    assert [numa.os_index for numa in facts.numas] == [1]
    gpu = functions["0000:18:00.0"]
    assert (gpu.root, gpu.parent) == ("0000:15", "0000:17:00.0")
    assert (gpu.class_code, gpu.vendor, gpu.name) == ("0300", "10de", "AD102 [GeForce RTX 4090]")
    assert (gpu.bar_bytes, gpu.max_bar_bytes) == (256 << 20, 32 << 30)
    assert gpu.power_state == "D3hot"
    assert gpu.current == GEN1_X16
    port = functions["0000:17:00.0"]
    assert port.access_control == ("SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd")
    assert port.slot == "21-1"
    assert functions["0000:15:00.0"].iommu_group == 7
    root = functions["0000:15:01.0"]
    assert (root.role, root.max_payload_bytes, root.bar_bytes) == (PortRole.ROOT, 256, 128 << 10)
    assert root.current is not None
    assert root.current.num_lanes == 16


def test_virtual_functions_belong_to_the_function_whose_capability_counts_them() -> None:
    functions = facts_of(SERVER)
    assert functions["0000:19:00.2"].physical_function == "0000:19:00.0"
    assert functions["0000:19:00.3"].physical_function == "0000:19:00.0"
    assert functions["0000:1a:00.0"].physical_function == "0000:19:00.1"
    assert functions["0000:19:00.0"].physical_function is None
    assert functions["0000:19:00.0"].bar_bytes == 32 << 20
    assert functions["0000:19:00.2"].current is None
    machine = Machine(scan_files([("server", SERVER.encode())]))
    assert [nic.pci_address for nic in machine.all(Nic)] == ["0000:19:00.0"]


def test_sound_of_a_gpu_is_no_gpu_and_a_nic_held_for_a_guest_has_no_interface() -> None:
    machine = Machine(scan_files([("server", SERVER.encode())]))
    assert [gpu.pci_address for gpu in machine.all(Gpu)] == ["0000:18:00.0"]
    assert facts_of(SERVER)["0000:19:00.1"].has_interface is False


USER = """\
0000:c0:00.0 Host bridge: Advanced Micro Devices, Inc. [AMD] Genoa Root Complex (rev 01)
	Subsystem: Super Micro Computer Inc Device 1d0e
	Flags: fast devsel, NUMA node 1

0000:c0:01.1 PCI bridge: Advanced Micro Devices, Inc. [AMD] Device 14ab (rev 01) (prog-if 00 [Normal decode])
	Flags: bus master, fast devsel, latency 0, IRQ 91, NUMA node 1, IOMMU group 40
	Bus: primary=c0, secondary=c1, subordinate=c1, sec-latency=0
	Capabilities: <access denied>
	Kernel driver in use: pcieport

0000:c1:00.0 Processing accelerators: Advanced Micro Devices, Inc. [AMD/ATI] Aqua Vanjaram [Instinct MI300X]
	Flags: bus master, fast devsel, latency 0, IRQ 200, NUMA node 1, IOMMU group 41
	Memory at 26000000000 (64-bit, prefetchable) [size=256G]
	Memory at 2a000000000 (64-bit, prefetchable) [size=2M]
	Capabilities: <access denied>
	Kernel driver in use: amdgpu

0001:01:00.0 VGA compatible controller: Advanced Micro Devices, Inc. [AMD/ATI] ES1000 (rev 02)
	Flags: fast devsel
	Memory at a0000000 (32-bit, prefetchable) [size=128M]
	Capabilities: <access denied>
"""  # noqa: E501


def test_ordinary_users_capture_has_the_tree_and_says_what_is_hidden() -> None:
    assert verbose.matches(USER)
    facts = verbose.read(USER, "user")
    functions = {f.address: f for f in facts.functions}
    gpu = functions["0000:c1:00.0"]
    assert (gpu.root, gpu.parent, gpu.numa_index) == ("0000:c0", "0000:c0:01.1", 1)
    assert (gpu.bar_bytes, gpu.iommu_group, gpu.driver) == (256 << 30, 41, "amdgpu")
    assert gpu.maximum is None
    assert "run lspci -vvv as root" in reasons(facts, "maximum")["0000:c1:00.0"]
    machine = Machine(scan_files([("user", USER.encode())]))
    assert [node.pci_address for node in machine.all(Gpu)] == ["0000:c1:00.0"]


def test_domains_keep_buses_of_one_number_apart() -> None:
    domains = ("0000", "0001", "10000")
    text = "\n".join(re.sub(r"(?m)^(?=[0-9a-f]{2}:)", f"{domain}:", SERVER) for domain in domains)
    functions = facts_of(text)
    assert len(functions) == 3 * len(facts_of(SERVER))
    assert functions["0001:18:00.0"].parent == "0001:17:00.0"
    assert functions["10000:18:00.0"].root == "10000:15"
    assert functions["0001:19:00.2"].physical_function == "0001:19:00.0"


GONE = """\
3b:00.0 3D controller: NVIDIA Corporation Device 2330 (rev ff) (prog-if ff)
	!!! Unknown header type 7f
	Physical Slot: 4
	Kernel modules: nvidiafb, nouveau, nvidia_drm, nvidia

4c:00.0 3D controller: NVIDIA Corporation Device 2330 (rev a1)
	Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-
	NUMA node: 0
"""


def test_function_that_answers_nothing_is_said_to_be_gone() -> None:
    facts = verbose.read(GONE, "gone")
    assert list(reasons(facts, "config")) == ["0000:3b:00.0"]
    assert "fell off the bus" in reasons(facts, "config")["0000:3b:00.0"]
    assert facts.functions[0].slot == "4"


def test_selection_of_functions_leaves_their_places_open() -> None:
    facts = verbose.read(GONE, "gone")
    assert facts.tree == "none"
    assert {f.root for f in facts.functions} == {None}
    assert reasons(facts, "parent")["0000:4c:00.0"] == (
        "The text shows no bridge that leads to bus 0000:4c."
    )


def test_functions_below_a_lost_bridge_are_not_put_on_a_root_bus() -> None:
    blocks = SERVER.split("\n\n")
    without_port = "\n\n".join(block for block in blocks if not block.startswith("17:00.0"))
    functions = facts_of(without_port)
    assert (functions["0000:18:00.0"].root, functions["0000:18:00.0"].parent) == (None, None)
    assert functions["0000:19:00.0"].parent == "0000:17:01.0"
    without_switch = "\n\n".join(block for block in blocks if not block.startswith("16:00.0"))
    assert facts_of(without_switch)["0000:19:00.0"].root is None


GUEST = """\
00:00.0 Host bridge: Intel Corporation 440FX - 82441FX PMC [Natoma] (rev 02)
	Subsystem: Red Hat, Inc. Qemu virtual machine
	Flags: fast devsel

00:05.0 3D controller: NVIDIA Corporation TU104GL [Tesla T4] (rev a1)
	Subsystem: NVIDIA Corporation Device 12a2
	Flags: bus master, fast devsel, latency 0, IRQ 11
	Memory at fd000000 (32-bit, non-prefetchable) [size=16M]

00:06.0 3D controller: NVIDIA Corporation TU104GL [Tesla T4] (rev a1)
	Flags: bus master, fast devsel, latency 0, IRQ 11

00:07.0 Ethernet controller: Mellanox Technologies MT28908 Family [ConnectX-6 Virtual Function]
	Flags: bus master, fast devsel, latency 0, IRQ 11
	Kernel driver in use: mlx5_core
"""


def test_guests_flat_bus_is_no_evidence_of_locality() -> None:
    document = scan_files([("guest", GUEST.encode())])
    host = Machine(document).host
    assert host is not None
    assert host.is_virtual
    assert {pair.path_class for pair in document.pairs} == {None}
    assert len(Machine(document).all(Nic)) == 1


@pytest.mark.parametrize("margin", ["> ", ">> ", "    ", "\t"])
def test_quoted_and_indented_pastes_read_the_same(margin: str) -> None:
    quoted = "".join(f"{margin}{line}\n" for line in SERVER.splitlines())
    assert verbose.matches(quoted)
    assert verbose.read(quoted, "x") == verbose.read(SERVER, "x")


def test_paste_with_a_list_before_it_reads_each_function_once() -> None:
    headers = [line for line in SERVER.splitlines() if re.match(r"[0-9a-f]{2}:", line)]
    mixed = "$ lspci\n" + "\n".join(headers) + "\n$ sudo lspci -vvv\n" + SERVER
    assert not listing.matches(mixed)
    assert verbose.read(mixed, "x").functions == verbose.read(SERVER, "x").functions


def test_order_of_the_functions_does_not_matter() -> None:
    blocks = SERVER.strip().split("\n\n")
    expected = verbose.read(SERVER, "x")
    for seed in range(5):
        random.Random(seed).shuffle(blocks)
        shuffled = verbose.read("\n\n".join(blocks), "x")
        assert shuffled.functions == expected.functions
        assert shuffled.roots == expected.roots
        assert set(shuffled.unknown) == set(expected.unknown)


def test_details_of_a_function_without_its_address_go_to_nobody() -> None:
    lines = [line for line in SERVER.split("\n") if not line.startswith("16:00.0") and line]
    facts = verbose.read("\n".join(lines), "x")
    root = next(f for f in facts.functions if f.address == "0000:15:01.0")
    assert root.role is PortRole.ROOT
    assert reasons(facts, "functions") == {
        "host": "Functions left out, as the text lacks the line with their address: 1."
    }


@pytest.mark.parametrize(
    "text",
    [
        "pci 0000:18:00.0: [10de:2684] type 00 class 0x030000\nCapabilities: [60] x",
        "12:10.5 INFO: Capabilities: [nothing] here",
        "Flags: fpu vme de pse tsc msr pae mce cx8 apic sep",
        "|   0  NVIDIA H100  On   | 00000000:18:00.0 Off |\nControl: I/O-",
    ],
)
def test_logs_are_not_taken_for_lspci(text: str) -> None:
    assert not verbose.matches(text)
    assert not listing.matches(text)


def read_or_refuse(text: str) -> list[Facts]:
    try:
        return read_file(text.encode(), "damaged")
    except InputError:
        return []


def assert_part_of(facts: Facts, whole: dict[str, PciFact]) -> None:
    """Require that what is told of each function is what the undamaged text tells, or nothing."""
    for function in facts.functions:
        known = whole[function.address]
        if function.root is not None:
            assert function.parent == known.parent
        for field in ("root", "parent", "role", "maximum", "numa_index", "access_control", "slot"):
            assert getattr(function, field) in {None, getattr(known, field)}, field


def test_text_without_any_one_of_its_lines_tells_nothing_wrong() -> None:
    lines = SERVER.split("\n")
    whole = facts_of(SERVER)
    for dropped in range(len(lines)):
        for facts in read_or_refuse("\n".join(lines[:dropped] + lines[dropped + 1 :])):
            assert_part_of(facts, whole)


@settings(deadline=None, max_examples=60)
@given(start=st.integers(0, 2000), length=st.integers(0, len(SERVER)))
def test_piece_of_a_text_tells_nothing_wrong(start: int, length: int) -> None:
    text = SERVER[start : start + length]
    for facts in read_or_refuse(text):
        assert_part_of(facts, facts_of(SERVER))
        scan_files([("piece", text.encode())])


@settings(deadline=None, max_examples=60)
@given(st.sets(st.integers(0, SERVER.count("\n")), max_size=60))
def test_text_full_of_holes_gives_facts_or_one_sentence(dropped: set[int]) -> None:
    lines = SERVER.split("\n")
    text = "\n".join(line for number, line in enumerate(lines) if number not in dropped)
    if read_or_refuse(text):
        scan_files([("holes", text.encode())])


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet="0123456789abcdef:. []()+-\n\tCapabilities<>LnkSta", max_size=300))
def test_noise_in_the_middle_is_borne(noise: str) -> None:
    place = SERVER.index("18:00.0 VGA")
    text = SERVER[:place] + noise + SERVER[place:]
    assert len(verbose.read(text, "x").functions) >= len(facts_of(SERVER)) - 1
    scan_files([("noisy", text.encode())])
