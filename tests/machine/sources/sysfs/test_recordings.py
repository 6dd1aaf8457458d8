"""Recorded trees of /sys read to the figures worked out by hand, and to what hwloc prints of them.

The texts beside the recordings are what hwloc's own `lstopo` prints: an independent reading of the
same files.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from topoprobe.machine.facts import Facts
from topoprobe.machine.pcie import capability
from topoprobe.machine.sources import detect, hwloc_xml
from topoprobe.machine.sources.files.archive import Archive
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import (
    Gpu,
    HostBridge,
    Nic,
    Numa,
    Nvme,
    Package,
    PcieSwitch,
)

EIGHT_VE = "32intel64-2p8co2t+8ve"
R910 = "40intel64-2g2n4c+pcilocality"
GUEST = "2pa-pcidomain32bits"
SUMMIT = "nvidiagpunumanodes"
GEN3_X16 = capability(8e9, 16)


class Recorded:
    """One recording: the facts of its tree, and the machine that they make."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.name = name
        self._data = (folder / f"{name}.tar.bz2").read_bytes()

    @property
    def facts(self) -> Facts:
        archive = Archive.read(detect.unpack(self._data, self.name), self.name)
        return next(f for f in detect.read_tree(archive, self.name) if f.source.startswith("sysfs"))

    @property
    def machine(self) -> Machine:
        return Machine(scan_files([(f"{self.name}.tar.bz2", self._data)]))

    def text(self, suffix: str) -> str:
        return (self._folder / f"{self.name}{suffix}").read_text()


@pytest.fixture
def recorded(recordings: Path, request: pytest.FixtureRequest) -> Recorded:
    return Recorded(recordings / "topologies" / "sysfs", request.param)


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("recorded", [name], indirect=True)


@pytest.mark.parametrize(
    ("recorded", "counts"),
    [
        (EIGHT_VE, {Package: 2, Numa: 2, HostBridge: 3, PcieSwitch: 3, Gpu: 8, Nic: 4, Nvme: 0}),
        (R910, {Package: 4, Numa: 4, HostBridge: 2, Gpu: 0, Nic: 5, Nvme: 1}),
        (GUEST, {Package: 2, Numa: 1, HostBridge: 2, PcieSwitch: 0, Gpu: 0, Nic: 1, Nvme: 1}),
        (SUMMIT, {Package: 2, Numa: 8, Gpu: 6, Nic: 0, Nvme: 0}),
    ],
    indirect=["recorded"],
)
def test_recording_has_what_the_machine_has(recorded: Recorded, counts: dict[type, int]) -> None:
    machine = recorded.machine
    assert {kind: len(machine.all(kind)) for kind in counts} == counts


@of(EIGHT_VE)
def test_vector_engines_stand_at_their_switches(recorded: Recorded) -> None:
    machine = recorded.machine
    behind = {
        switch.pci_address: {
            node.pci_address for node in (*machine.all(Gpu), *machine.all(Nic))
            if node.parent == switch.id
        }
        for switch in machine.all(PcieSwitch)
    }  # fmt: skip
    assert behind == {
        "0000:18:00.0": {f"0000:{bus}:00.0" for bus in ("1a", "1b", "1c", "1d", "1e")},
        "0000:3b:00.0": {f"0000:{bus}:00.0" for bus in ("3d", "3e", "3f", "40", "41")},
        "0000:5e:00.0": {"0000:60:00.0", "0000:60:00.1"},
    }
    roots = {bridge.id: [p.address for p in bridge.ports] for bridge in machine.all(HostBridge)}
    assert roots == {
        "host_bridge@0000:17": ["0000:17:00.0"],
        "host_bridge@0000:3a": ["0000:3a:00.0"],
        "host_bridge@0000:5d": ["0000:5d:02.0"],
    }
    assert {gpu.numa_index for gpu in machine.all(Gpu)} == {0}
    assert {gpu.pci_class for gpu in machine.all(Gpu)} == {"0b4000"}


@of(EIGHT_VE)
def test_vector_engines_are_near_one_nic_and_far_from_the_other(recorded: Recorded) -> None:
    machine = recorded.machine
    infiniband = {nic.id for nic in machine.all(Nic) if nic.pci_vendor == "15b3"}
    near: dict[str, list[str | None]] = {}
    for pair in machine.document.pairs:
        if pair.b in infiniband:
            near.setdefault(pair.b, []).append(pair.path_class)
    assert {nic: Counter(classes) for nic, classes in near.items()} == {
        "nic@0000:1a:00.0": {"PIX": 4, "NODE": 4},
        "nic@0000:3e:00.0": {"PIX": 4, "NODE": 4},
    }


@of(EIGHT_VE)
def test_links_of_an_old_kernel_are_read(recorded: Recorded) -> None:
    machine = recorded.machine
    ends = (*machine.all(Gpu), *(n for n in machine.all(Nic) if n.pci_vendor == "15b3"))
    links = [machine.link_above(node.id) for node in ends]
    assert {(link.nominal, link.current) for link in links if link} == {(GEN3_X16, GEN3_X16)}
    assert GEN3_X16 is not None
    assert GEN3_X16.bandwidth_bytes_per_s == pytest.approx(15.754e9, rel=1e-4)
    for address in ("0000:60:00.0", "0000:60:00.1"):
        link = machine.link_above(f"nic@{address}")
        assert link is not None
        assert (link.current, link.b_capability) == (capability(2.5e9, 1), capability(8e9, 1))


@of(R910)
def test_place_that_firmware_does_not_tell_stays_unknown(recorded: Recorded) -> None:
    facts = recorded.facts
    assert len(facts.functions) == 37
    assert {root.key for root in facts.roots} == {"0000:00", "0000:40"}
    assert {(f.numa_index, f.cpus) for f in facts.functions} == {(None, ())}
    (contradiction,) = facts.contradictions
    assert contradiction.subject == "0000:43:00.0"
    assert contradiction.readings[0] == "numa_node 2"
    assert len([m for m in facts.unknown if m.fact == "numa_index" and "-1" in m.reason]) >= 36


@of(R910)
def test_links_without_files_are_unknown_with_a_reason(recorded: Recorded) -> None:
    """The configuration spaces were recorded by a user who sees 64 bytes of them."""
    facts = recorded.facts
    current = {f.address: f.current for f in facts.functions if f.current}
    assert current == {
        "0000:00:1f.2": capability(5e9, 2),
        "0000:03:00.1": capability(2.5e9, 1),
        "0000:43:00.0": capability(8e9, 4),
    }
    reasons = {m.subject: m.reason for m in facts.unknown if m.fact == "maximum"}
    assert len(reasons) == 37
    assert "less was readable" in reasons["0000:43:00.0"]


@of(R910)
def test_tree_equals_hwloc_s_file_of_the_same_machine(recorded: Recorded) -> None:
    ours = recorded.facts
    theirs = hwloc_xml.read(recorded.text(".xml").encode(), "xml")
    assert {(f.address, f.parent, f.vendor, f.device) for f in ours.functions} == {
        (f.address, f.parent, f.vendor, f.device) for f in theirs.functions
    }
    assert {(n.os_index, n.cpus) for n in ours.numas} == {
        (n.os_index, n.cpus) for n in theirs.numas
    }
    assert {(p.os_index, p.cpus) for p in ours.packages} == {
        (p.os_index, p.cpus) for p in theirs.packages
    }


@of(GUEST)
def test_domain_of_five_digits_is_kept(recorded: Recorded) -> None:
    machine = recorded.machine
    (drive,) = machine.all(Nvme)
    assert (drive.id, drive.parent) == ("nvme@10000:00:04.0", "host_bridge@10000:00")
    assert (drive.name, drive.size_bytes) == ("vda", 20971520 << 10)
    assert [port.name for nic in machine.all(Nic) for port in nic.ports] == ["ens3"]
    slots = {f.address: f.slot for f in recorded.facts.functions}
    assert (slots["0000:00:02.0"], slots["0000:00:03.0"]) == ("2", "3")
    assert machine.host is not None
    assert (machine.host.is_virtual, machine.host.virtualization) == (True, "KVM")


@of(SUMMIT)
def test_memory_of_gpus_is_told_from_memory_of_sockets(recorded: Recorded) -> None:
    machine = recorded.machine
    owners = {n.os_index: n.memory_of for n in machine.all(Numa)}
    assert owners == {
        0: None, 8: None, 255: "gpu@0004:05:00.0", 254: "gpu@0004:06:00.0",
        253: "gpu@0006:00:00.0", 252: "gpu@0007:00:00.0", 251: "gpu@0035:04:00.0",
        250: "gpu@0035:05:00.0",
    }  # fmt: skip
    places = {g.memory_numa_index: g.numa_index for g in machine.all(Gpu)}
    assert places == {253: 0, 254: 0, 255: 0, 250: 8, 251: 8, 252: 8}
    parents = {n.os_index: n.parent for n in machine.all(Numa) if n.memory_of is None}
    assert parents == {0: "package:0", 8: "package:8"}
    assert not machine.document.contradictions


# A line such as `PCIBridge L#2 (busid=0000:18:00.0 id=10b5:9797 … link=15.75GB/s buses=…)`.
DEVICE = re.compile(r"busid=(\S+) id=(\w+):(\w+) class=(\w{4})\S*(?: .*?link=([0-9.]+)GB/s)?")


@pytest.mark.parametrize("recorded", [EIGHT_VE, GUEST], indirect=True)
def test_devices_and_links_equal_what_hwloc_prints(recorded: Recorded) -> None:
    ours = {f.address: f for f in recorded.facts.functions}
    told = DEVICE.findall(recorded.text(".console"))
    assert told
    for address, vendor, device, class_code, link in told:
        function = ours[address]
        assert (function.vendor, function.device) == (vendor, device)
        assert (function.class_code or "").startswith(class_code)
        if link:
            assert function.current is not None
            gigabytes = (function.current.bandwidth_bytes_per_s or 0) / 1e9
            assert gigabytes == pytest.approx(float(link), abs=0.006)


@pytest.mark.parametrize(
    ("recorded", "suffix"),
    [
        (EIGHT_VE, ".console"), (GUEST, ".console"), (SUMMIT, "-kept.console"),
    ],
    indirect=["recorded"],
)  # fmt: skip
def test_counts_equal_what_hwloc_prints(recorded: Recorded, suffix: str) -> None:
    printed = recorded.text(suffix)
    facts = recorded.facts

    def count(what: str) -> int:
        return int(re.findall(rf"(\d+) {what} \(type", printed)[0])

    assert len(facts.packages) == count("Package")
    assert len(facts.numas) == count("NUMANode")
    assert sum(p.num_threads or 0 for p in facts.packages) == count("PU")
    assert sum(p.num_cores or 0 for p in facts.packages) == count("Core")
    levels = re.findall(r"(\d+) L(\d)(d|i)?Cache \(type", printed)
    kinds = {"d": "data", "i": "instruction", "": "unified"}
    ours: Counter[tuple[int, str]] = Counter()
    for package in facts.packages:
        for cache in package.caches:
            ours[cache.level, cache.type] += cache.num_instances
    assert ours == {(int(level), kinds[kind]): int(number) for number, level, kind in levels}
