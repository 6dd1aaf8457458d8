"""Whether it is known which NUMA node each device is near."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from topoprobe.machine.building import SILENCE
from topoprobe.machine.verdicts.check import Check, ok, warn
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count, name_of
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, Nic, Numa, Nvme, Pair, PciNode

NAME = "numa-place"


def judge(machine: Machine) -> Iterator[Verdict]:
    """Look for devices without a place among several NUMA nodes, and for memory that is a GPU's."""
    numas = [numa for numa in machine.all(Numa) if numa.memory_of is None]
    devices: list[PciNode] = [*machine.all(Gpu), *machine.all(Nic), *machine.all(Nvme)]
    torn = _torn(machine, devices)
    if torn:
        yield _hidden(machine, torn)
    elif len(numas) == 1 and devices:
        yield ok(NAME, "host", "There is one NUMA node, so every device is near it.")
    if len(numas) > 1:
        yield from _places(machine, devices, len(numas))
    yield from _gpu_memory(machine)


CHECK = Check(NAME, "devices have a known NUMA node", judge)


def _torn(machine: Machine, devices: Sequence[PciNode]) -> list[Pair]:
    """Find pairs that are told to be on different NUMA nodes although they are on one."""
    places = {device.id: device.numa_index for device in devices}
    return [
        pair
        for pair in machine.document.pairs
        if "SYS" in {pair.path_class, pair.pcie_class}
        and None is not places.get(pair.a) == places.get(pair.b)
    ]


def _hidden(machine: Machine, torn: Sequence[Pair]) -> Verdict:
    one, other = (name_of(machine.node(end)) for end in (torn[0].a, torn[0].b))
    nodes = {numa.os_index for numa in machine.all(Numa) if numa.memory_of is None}
    which = "the only one" if len(nodes) == 1 else "one"
    example = f"{one} and {other}" if len(torn) == 1 else f"{one} and {other} for example"
    return warn(
        NAME,
        "host",
        f"{count(len(torn), 'pair')} of devices ({example}) "
        f"{'is' if len(torn) == 1 else 'are'} told to be on different NUMA nodes (SYS) and on "
        f"{which} at once.",
        "See with `numactl -H` and in the BIOS whether NUMA nodes are hidden (NPS0, node "
        "interleaving, a guest without them): a node that stands for several sockets does not "
        "tell what is near.",
    )


def _places(machine: Machine, devices: Sequence[PciNode], num_numas: int) -> Iterator[Verdict]:
    # A contradiction is told as such, and a source that never tells places says nothing of them.
    doubted = {c.subject for c in machine.document.contradictions if c.fact == "numa_index"}
    reasons = {
        m.subject: m.reason
        for m in machine.document.unknown
        if m.fact == "numa_index" and m.reason != SILENCE
    }
    is_virtual = machine.host is not None and machine.host.is_virtual
    for device in devices:
        if device.numa_index is not None:
            yield ok(NAME, device.id, f"Is near NUMA node {device.numa_index} of {num_numas}.")
        elif device.id not in doubted and device.id in reasons:
            reason = reasons[device.id]
            yield warn(
                NAME,
                device.id,
                f"Has no known place among {num_numas} NUMA nodes: {reason}",
                "Let the hypervisor give its virtual bus a NUMA node (QEMU: pxb-pcie, numa_node=N)."
                if is_virtual
                else "Update the firmware, or look up the slot's socket in the board's manual and "
                "bind to that; a wrong side costs part of every host copy. `topoprobe bench` "
                "measures it.",
            )


def _gpu_memory(machine: Machine) -> Iterator[Verdict]:
    owned = [numa for numa in machine.all(Numa) if numa.memory_of is not None]
    if owned:
        own = [str(n.os_index) for n in machine.all(Numa) if n.memory_of is None]
        nodes = ", ".join(str(numa.os_index) for numa in owned)
        is_one = len(owned) == 1
        yield ok(
            NAME,
            "host",
            f"{count(len(owned), 'NUMA node')} ({nodes}) {'is' if is_one else 'are'} GPU memory; "
            f"the host's own {'is' if len(own) == 1 else 'are'} {', '.join(own)}.",
        )
