"""Damaged trees read to a part of the machine, or to nothing, and never to a traceback."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.machine.building import build
from topoprobe.machine.sources import sysfs
from topoprobe.machine.sources.files import Files
from topoprobe.records.base import Tool
from topoprobe.records.documents import decode, encode

CARD = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0"
CONTENTS: dict[str, bytes] = {
    f"{CARD}/class": b"0x030200", f"{CARD}/vendor": b"0x10de", f"{CARD}/device": b"0x2330",
    f"{CARD}/numa_node": b"0", f"{CARD}/local_cpulist": b"0-1", f"{CARD}/local_cpus": b"3",
    f"{CARD}/max_link_speed": b"32.0 GT/s PCIe", f"{CARD}/max_link_width": b"16",
    f"{CARD}/current_link_speed": b"2.5 GT/s PCIe", f"{CARD}/current_link_width": b"16",
    f"{CARD}/resource": b"0x1000 0x1fff 0x200", f"{CARD}/config": bytes(range(256)),
    f"{CARD}/power_state": b"D0", f"{CARD}/net/eth0/speed": b"1000",
    "sys/devices/pci0000:00/0000:00:01.0/class": b"0x060400",
    "sys/devices/pci0000:00/0000:00:01.0/config": b"\x01" * 64,
    "sys/bus/pci/slots/1/address": b"0000:01:00",
    "sys/devices/system/cpu/online": b"0-1",
    "sys/devices/system/cpu/cpu0/topology/physical_package_id": b"0",
    "sys/devices/system/cpu/cpu1/topology/physical_package_id": b"1",
    "sys/devices/system/cpu/cpu0/cache/index0/level": b"1",
    "sys/devices/system/cpu/cpu0/cache/index0/type": b"Data",
    "sys/devices/system/cpu/cpu0/cache/index0/size": b"32K",
    "sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_map": b"3",
    "sys/devices/system/cpu/cpu0/cpufreq/base_frequency": b"2000000",
    "sys/devices/system/node/node0/cpulist": b"0",
    "sys/devices/system/node/node0/meminfo": b"Node 0 MemTotal: 5 kB",
    "sys/devices/system/node/node1/distance": b"10 20",
    "sys/kernel/iommu_groups/0/type": b"DMA",
    "sys/bus/cxl/devices/mem0/ram/size": b"0x100",
    "sys/bus/dax/devices/dax0.0/target_node": b"1",
    "sys/block/sda/size": b"8",
    "sys/class/cxi/cxi0/device/uevent": b"PCI_SLOT_NAME=0000:01:00.0",
    "proc/driver/nvidia/gpus/0000:01:00.0/numa_status": b"Node: 1",
    "proc/driver/nvidia/gpus/0000:01:00.0/information": b"Model: H100",
    "proc/driver/nvidia/version": b"NVRM version: NVIDIA Kernel Module  535.1  x",
    "proc/meminfo": b"MemTotal: 10 kB", "proc/cmdline": b"iommu=pt",
    "proc/cpuinfo": b"flags : lm avx2", "proc/self/status": b"Cpus_allowed_list: 0",
    "proc/self/cgroup": b"0::/a", "proc/self/mountinfo": b"24 1 8:1 / / rw - ext4 /dev/a rw",
    "proc/hwloc-nofile-info": b"HostName: a",
}  # fmt: skip
LINKS = {
    "sys/bus/pci/devices/0000:00:01.0": "../../../devices/pci0000:00/0000:00:01.0",
    "sys/bus/pci/devices/0000:01:00.0": "../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0",
    "sys/class/net/eth0": "../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/net/eth0",
    f"{CARD}/driver": "../../../../bus/pci/drivers/nvidia",
    f"{CARD}/iommu_group": "../../../../kernel/iommu_groups/0",
}
JUNK = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"",
            b"-1",
            b"9" * 20,
            b"9" * 400,
            b"9" * 4096,
            b"MemTotal:",
            b"0x" + b"f" * 400,
            b"1 2 200",
            "²".encode(),
            b"0-4294967295",
            b"\xff" * 64,
            b"\0",
        ]
    ),
)


class Damaged(Files):
    """A tree with some files changed or gone and some links led elsewhere."""

    def __init__(self, changes: dict[str, bytes | None], links: dict[str, str | None]) -> None:
        contents = CONTENTS | changes
        self._contents = {path: data for path, data in contents.items() if data is not None}
        targets = LINKS | links
        self._targets = {path: target for path, target in targets.items() if target is not None}

    def data(self, path: str, max_bytes: int = 4096) -> bytes | None:
        found = self._contents.get(self._real(path))
        return None if found is None else found[:max_bytes]

    def names(self, path: str) -> list[str]:
        folder = f"{self._real(path)}/"
        paths = (*self._contents, *self._targets)
        return sorted({p[len(folder) :].partition("/")[0] for p in paths if p.startswith(folder)})

    def link(self, path: str) -> str | None:
        return self._targets.get(self._real(path), self._targets.get(path))

    def _real(self, path: str) -> str:
        for place, target in self._targets.items():
            if path.startswith(f"{place}/"):
                return f"sys/{target.replace('../', '')}{path[len(place) :]}"
        return path


@given(
    changes=st.dictionaries(st.sampled_from(sorted(CONTENTS)), st.none() | JUNK),
    links=st.dictionaries(
        st.sampled_from(sorted(LINKS)),
        st.none() | st.sampled_from(["", "..", "x", "../../devices/", "pci0000:00/0000:00:01.0"]),
    ),
)
@settings(deadline=None, max_examples=150)
def test_damaged_tree_reads_to_what_is_left(
    changes: dict[str, bytes | None], links: dict[str, str | None]
) -> None:
    facts = sysfs.read(Damaged(changes, links))
    document = build([facts], origin="recorded", tool=Tool(tool_version="0"))
    assert decode(encode(document), "x") == document


def test_whole_tree_reads_whole() -> None:
    facts = sysfs.read(Damaged({}, {}))
    assert [f.parent for f in facts.functions] == [None, "0000:00:01.0"]
    assert facts.functions[1].bar_bytes == 4096
    assert facts.numas[1].memory_of == "0000:01:00.0"
