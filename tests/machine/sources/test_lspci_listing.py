"""Reading lists of functions: `lspci`, `-n`, `-nn`, `-nnk`, `-mm` and `-vmm`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import InputError
from topoprobe.machine.facts import PciFact
from topoprobe.machine.sources.detect import read_file
from topoprobe.machine.sources.lspci import listing, tree, verbose
from topoprobe.machine.sources.lspci.words import identify, product_of
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, HostBridge, Nic, Nvme, NvSwitch, Other, Partition

NUMBERED = """\
00:00.0 Host bridge [0600]: Intel Corporation Device [8086:09a2] (rev 20)
00:01.0 PCI bridge [0604]: Intel Corporation Device [8086:352a] (rev 04)
3b:00.0 3D controller [0302]: NVIDIA Corporation GH100[H100 SXM5 80GB] [10de:2330] (rev a1)
3c:00.0 Infiniband controller [0207]: Mellanox Technologies MT2910 Family [ConnectX-7] [15b3:1021]
3d:00.0 Non-Volatile memory controller [0108]: Samsung Electronics Co Ltd NVMe SSD Controller PM9A1/PM9A3/980PRO [144d:a80a] (prog-if 02 [NVM Express])
40:00.4 Generic system peripheral [0807]: Intel Corporation Device [8086:0b23]
"""  # noqa: E501
WORDS = """\
00:00.0 Host bridge: Intel Corporation Device 09a2 (rev 20)
00:01.0 PCI bridge: Intel Corporation Device 352a (rev 04)
3b:00.0 3D controller: NVIDIA Corporation Device 2330 (rev a1)
3c:00.0 Infiniband controller: Mellanox Technologies MT2910 Family [ConnectX-7]
3d:00.0 Non-Volatile memory controller: Samsung Electronics Co Ltd Device a80a (rev 01)
40:00.4 Generic system peripheral [0807]: Intel Corporation Device 0b23
"""
NUMBERS = """\
00:00.0 0600: 8086:09a2 (rev 20)
00:01.0 0604: 8086:352a (rev 04)
3b:00.0 0302: 10de:2330 (rev a1)
3c:00.0 0207: 15b3:1021
3d:00.0 0108: 144d:a80a
40:00.4 0807: 8086:0b23
"""
OLD_NUMBERS = "".join(f"{line[:8]}Class {line[8:]}\n" for line in NUMBERS.splitlines() if line)
QUOTED = """\
00:00.0 "Host bridge [0600]" "Intel Corporation [8086]" "Device [09a2]" -r20 -p00 "" ""
00:01.0 "PCI bridge [0604]" "Intel Corporation [8086]" "Device [352a]" -r04 -p00 "" ""
3b:00.0 "3D controller [0302]" "NVIDIA Corporation [10de]" "GH100[H100 SXM5 80GB] [2330]" -ra1 "" ""
3c:00.0 "0207" "15b3" "1021" "" ""
3d:00.0 "Non-Volatile memory controller" "Samsung Electronics Co Ltd" "Device a80a" "" ""
40:00.4 "Generic system peripheral [0807]" "Intel Corporation" "Device 0b23" "Dell" "Device 0b73"
"""
FIELDS = """\
Slot:	00:00.0
Class:	Host bridge
Vendor:	Intel Corporation
Device:	Device 09a2
Rev:	20

Slot:	00:01.0
Class:	PCI bridge
Vendor:	Intel Corporation
Device:	Device 352a

Slot:	3b:00.0
Class:	3D controller [0302]
Vendor:	NVIDIA Corporation [10de]
Device:	GH100[H100 SXM5 80GB] [2330]
Rev:	a1
Driver:	nvidia
NUMANode:	1
IOMMUGroup:	12

Slot:	3c:00.0
Class:	Infiniband controller
Vendor:	Mellanox Technologies
Device:	MT2910 Family [ConnectX-7]
PhySlot:	40
Driver:	mlx5_core
NUMANode:	1

Slot:	3d:00.0
Class:	Non-Volatile memory controller
Vendor:	Samsung Electronics Co Ltd
Device:	Device a80a

Slot:	40:00.4
Class:	0807
Vendor:	8086
Device:	0b23
"""


def facts_of(text: str) -> dict[str, PciFact]:
    return {function.address: function for function in listing.read(text, "x").functions}


@pytest.mark.parametrize(
    "text", [NUMBERED, WORDS, NUMBERS, OLD_NUMBERS, QUOTED, FIELDS],
    ids=["-nn", "plain", "-n", "old -n", "-mm", "-vmm"],
)  # fmt: skip
def test_every_layout_tells_the_same_functions(text: str) -> None:
    assert listing.matches(text)
    assert not verbose.matches(text)
    assert not tree.matches(text)
    facts = listing.read(text, "x")
    assert facts.tree == "none"
    functions = {f.address: f for f in facts.functions}
    assert [(a, f.class_code, f.vendor) for a, f in functions.items()] == [
        ("0000:00:00.0", "0600", "8086"),
        ("0000:00:01.0", "0604", "8086"),
        ("0000:3b:00.0", "0302", "10de"),
        ("0000:3c:00.0", "0207", "15b3"),
        ("0000:3d:00.0", "0108", "144d"),
        ("0000:40:00.4", "0807", "8086"),
    ]
    assert functions["0000:3b:00.0"].device == "2330"
    assert functions["0000:3d:00.0"].device == "a80a"
    assert {f.root for f in facts.functions} == {f.parent for f in facts.functions} == {None}


def test_fields_tell_driver_numa_node_group_and_slot() -> None:
    facts = listing.read(FIELDS, "x")
    gpu, nic = facts.functions[2:4]
    assert (gpu.driver, gpu.numa_index, gpu.iommu_group) == ("nvidia", 1, 12)
    assert (nic.slot, nic.has_interface) == ("40", True)
    assert [numa.os_index for numa in facts.numas] == [1]


def test_list_with_drivers_tells_which_nics_are_held_for_guests() -> None:
    text = (
        "3c:00.0 Ethernet controller [0200]: Mellanox Technologies MT2910 Family [15b3:1021]\n"
        "\tSubsystem: Mellanox Technologies Device [15b3:0041]\n"
        "\tKernel driver in use: mlx5_core\n"
        "\tKernel modules: mlx5_core\n"
        "3c:00.1 Ethernet controller [0200]: Mellanox Technologies MT2910 Family [15b3:1021]\n"
        "\tKernel driver in use: vfio-pci\n"
    )
    functions = facts_of(text)
    assert functions["0000:3c:00.0"].has_interface is True
    assert functions["0000:3c:00.1"].has_interface is False


def test_azure_guest_has_all_devices_and_no_locality(recordings: Path) -> None:
    path = recordings / "topologies/lspci/azure-nd-a100-v4-lspci-nn.txt"
    assert not verbose.matches(path.read_text())
    document = scan_files([(path.name, path.read_bytes())])
    machine = Machine(document)
    assert [gpu.pci_address for gpu in machine.all(Gpu)] == [
        f"{domain:04x}:00:00.0" for domain in (1, 2, 3, 4, 0xB, 0xC, 0xD, 0xE)
    ]
    assert [gpu.pci_device for gpu in machine.all(Gpu)] == ["20b2"] * 8
    assert [node.pci_address for node in machine.all(NvSwitch)] == [
        f"{domain:04x}:00:00.0" for domain in range(5, 11)
    ]
    nics = machine.all(Nic)
    assert [(nic.pci_vendor, nic.pci_device) for nic in nics] == [
        *[("15b3", "101c")] * 8,
        ("15b3", "1016"),
    ]
    assert len(machine.all(Nvme)) == 8
    assert machine.all(Other) == machine.all(Partition) == ()
    assert machine.host is not None
    assert (machine.host.is_virtual, machine.host.virtualization) == (True, "Hyper-V")
    assert {pair.path_class for pair in document.pairs} == {None}
    assert all("lspci -vvv" in m.reason for m in document.unknown if m.fact == "parent")
    reasons = {m.reason for m in document.unknown if m.fact == "class"}
    assert reasons == {"It is not known where one of them is attached."}


def test_lists_and_drawing_of_one_machine_are_joined_by_address() -> None:
    drawing = (
        "-+-[0000:00]-+-00.0\n"
        " |           +-01.0-[3b]----00.0\n"
        " |           +-02.0-[3c]----00.0\n"
        " |           \\-03.0-[3d]----00.0\n"
        " \\-[0000:40]---00.4\n"
    )
    paste = f"$ lspci -nn\n{NUMBERED}\n$ lspci -t\n{drawing}"
    together = scan_files([("paste", paste.encode())])
    apart = scan_files([("nn", NUMBERED.encode()), ("t", drawing.encode())])
    for document in (together, apart):
        gpu = Machine(document).all(Gpu)[0]
        assert gpu.parent == "host_bridge@0000:00"
        assert gpu.model == "GH100[H100 SXM5 80GB]"
        ports = [port for bridge in Machine(document).all(HostBridge) for port in bridge.ports]
        assert [port.address for port in ports] == [f"0000:00:0{slot}.0" for slot in (1, 2, 3)]
        assert not {"parent", "kinds"} & {missing.fact for missing in document.unknown}


def test_virtual_functions_by_name_belong_to_their_card() -> None:
    text = (
        "1b:00.0 Ethernet controller: Mellanox Technologies MT2892 Family [ConnectX-6 Dx]\n"
        "1b:00.1 Ethernet controller: Mellanox Technologies MT2892 Family [ConnectX-6 Dx]\n"
        "1b:01.2 Ethernet controller: Mellanox Technologies ConnectX Family mlx5Gen Virtual "
        "Function\n"
        "1c:00.0 Ethernet controller: Mellanox Technologies ConnectX Family mlx5Gen Virtual "
        "Function\n"
    )
    functions = facts_of(text)
    assert functions["0000:1b:01.2"].physical_function == "0000:1b:00.0"
    assert functions["0000:1b:00.1"].physical_function is None
    assert functions["0000:1c:00.0"].physical_function is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("VGA compatible controller: ASPEED Technology, Inc. ASPEED Graphics Family (rev 52)",
         ("0300", "1a03", None, "ASPEED Graphics Family")),
        ("3D controller: nVidia Corporation Unknown device 102d (rev a1)",
         ("0302", "10de", "102d", None)),
        ("Ethernet controller: Red Hat, Inc. Virtio network device",
         ("0200", "1af4", None, "Virtio network device")),
        ("PCI bridge: Red Hat, Inc. QEMU PCIe Root port",
         ("0604", "1b36", None, "QEMU PCIe Root port")),
        ("Ethernet controller: Broadcom Inc. and subsidiaries BCM57508 NetXtreme-E 10Gb/25Gb",
         ("0200", "14e4", None, "BCM57508 NetXtreme-E 10Gb/25Gb")),
        ("PCI bridge: Broadcom / LSI PEX890xx PCIe Gen 5 Switch (rev b0)",
         ("0604", "1000", None, "PEX890xx PCIe Gen 5 Switch")),
        ("Processing accelerators [1200]: Advanced Micro Devices, Inc. [AMD/ATI] Aqua Vanjaram "
         "[Instinct MI300X] [1002:74a1]", ("1200", "1002", "74a1",
                                           "Aqua Vanjaram [Instinct MI300X]")),
        ("Co-processor: NEC Corporation Vector Engine 1.0 (rev 01)",
         ("0b40", "1bcf", None, "Vector Engine 1.0")),
        ("Unassigned class [ff00]: Some Maker Thing", ("ff00", None, None, "Some Maker Thing")),
        ("Memory controller [0502]: Montage Technology Co., Ltd. Device [1b00:c000] (rev 03) "
         "(prog-if 10 [CXL Memory Device (CXL 2.x)])", ("0502", "1b00", "c000",
                                                        "Montage Technology Co., Ltd. Device")),
    ],
)  # fmt: skip
def test_line_of_a_function_is_taken_apart(line: str, expected: tuple[str | None, ...]) -> None:
    identity = identify(line)
    assert identity is not None
    assert identity[:4] == expected
    assert not identity.is_silent


@pytest.mark.parametrize("line", ["INFO: something", "x", "", "Weird thing: Intel", "[0300]: x"])
def test_line_of_another_program_is_none_of_a_function(line: str) -> None:
    assert identify(line) is None


def test_product_without_a_known_vendor_keeps_its_words() -> None:
    assert product_of("Frobnitz Inc. Accelerator 9000")[:4] == (
        None, None, None, "Frobnitz Inc. Accelerator 9000",
    )  # fmt: skip


def test_function_that_answers_nothing_is_said_to_be_gone() -> None:
    text = "3b:00.0 3D controller: NVIDIA Corporation Device 2330 (rev ff)\n"
    assert [m.subject for m in listing.read(text, "x").unknown if m.fact == "config"] == [
        "0000:3b:00.0"
    ]
    quoted = '3b:00.0 "3D controller" "NVIDIA Corporation" "Device 2330" -rff -pff "" ""\n'
    assert [m.subject for m in listing.read(quoted, "x").unknown if m.fact == "config"] == [
        "0000:3b:00.0"
    ]


def test_every_layout_of_the_installed_lspci_tells_the_same_functions() -> None:
    if shutil.which("lspci") is None:
        pytest.skip("lspci is not installed")
    found = []
    for option in ("-Dvvvnn", "-v", "-nn", "-n", "-mm", "-vmmk", "-tv", "-t"):
        run = subprocess.run(["lspci", option], capture_output=True, text=True, check=False)
        if not run.stdout.strip():
            pytest.skip("lspci shows no devices here")
        facts = read_file(run.stdout.encode(), option)
        assert len(facts) == 1, option
        found.append({function.address for function in facts[0].functions})
    assert all(addresses == found[0] for addresses in found)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([NUMBERED, WORDS, QUOTED, FIELDS]), st.data())
def test_damaged_list_gives_facts_or_one_sentence(text: str, data: st.DataObject) -> None:
    lines = text.splitlines()
    kept = data.draw(st.lists(st.sampled_from(lines), max_size=20))
    start = data.draw(st.integers(0, 12))
    damaged = "\n".join(kept)[start:]
    try:
        read_file(damaged.encode(), "damaged")
    except InputError:
        return
    scan_files([("damaged", damaged.encode())])
