"""What a person should know or do about a machine, in sentences, most useful first."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.pcie import describe
from topoprobe.machine.view import Machine
from topoprobe.records.machine import (
    Gpu,
    HostBridge,
    Link,
    Nic,
    Node,
    Numa,
    Nvme,
    NvSwitch,
    Package,
    PcieSwitch,
)
from topoprobe.units import format_rate

_FAR = {"SYS"}


def findings(machine: Machine) -> tuple[str, ...]:
    """Return the sentences for one machine: what it is, then what to do about it."""
    return (
        _summary(machine),
        *_narrow_links(machine),
        *_shared_uplinks(machine),
        *_gpus_far_from_nics(machine),
        *_binding(machine),
        *_guest(machine),
        *_no_gpu(machine),
        *_contradictions(machine),
    )


def count(number: int, noun: str) -> str:
    """Write a number with its noun, as ``1 switch`` or ``4 switches``."""
    plural = noun + ("es" if noun.endswith(("ch", "s", "x")) else "s")
    return f"{number} {noun if number == 1 else plural}"


def gpu_names(gpus: list[Gpu]) -> str:
    """Write GPUs by index, as ``GPU 0``, ``GPUs 0 and 1`` or ``GPUs 0-3``."""
    indexes = [gpu.index for gpu in gpus if gpu.index is not None]
    if len(indexes) == 1:
        return f"GPU {indexes[0]}"
    if len(indexes) > 2 and indexes == list(range(indexes[0], indexes[-1] + 1)):
        return f"GPUs {indexes[0]}-{indexes[-1]}"
    words = [str(index) for index in indexes]
    return f"GPUs {', '.join(words[:-1])} and {words[-1]}"


def _summary(machine: Machine) -> str:
    kinds: tuple[tuple[type[Node], str], ...] = (
        (Package, "CPU package"),
        (Numa, "NUMA node"),
        (Gpu, "GPU"),
        (NvSwitch, "NVSwitch"),
        (Nic, "NIC"),
        (Nvme, "drive"),
        (PcieSwitch, "PCIe switch"),
    )
    parts = [count(len(found), noun) for kind, noun in kinds if (found := machine.all(kind))]
    models = sorted({gpu.model for gpu in machine.all(Gpu) if gpu.model})
    of = f"; the GPUs are {', '.join(models)}" if models else ""
    return f"{', '.join(parts) or 'Nothing that can be measured'}{of}."


def _narrow_links(machine: Machine) -> Iterator[str]:
    for gpu in machine.all(Gpu):
        link = machine.link_above(gpu.id)
        if link is None or link.nominal is None:
            continue
        now = link.current.num_lanes if link.current else None
        possible = link.nominal.num_lanes
        own = link.b_capability.num_lanes if link.b_capability else None
        if now is not None and possible is not None and now < possible:
            yield (
                f"GPU {gpu.index} runs x{now} of x{possible}: reseat it or check its riser; it "
                f"loses {100 * (1 - now / possible):.0f} % of its host bandwidth."
            )
        elif own is not None and possible is not None and possible < own:
            yield f"GPU {gpu.index} is an x{own} card in an x{possible} slot; a wider one helps."


def _shared_uplinks(machine: Machine) -> Iterator[str]:
    behind: dict[str, list[Gpu]] = {}
    links: dict[str, Link] = {}
    for gpu in machine.all(Gpu):
        above = [gpu, *machine.ancestors(gpu.id)]
        for node in above:
            link = machine.link_above(node.id)
            if link is not None and isinstance(machine.node(link.a), HostBridge):
                behind.setdefault(link.wire, []).append(gpu)
                links[link.wire] = link
    groups: dict[str, list[list[Gpu]]] = {}
    for wire, gpus in behind.items():
        if len(gpus) > 1:
            best = links[wire].nominal or links[wire].current
            rate = best.bandwidth_bytes_per_s if best else None
            what = f"{describe(best)} uplink".strip()
            share = (
                f"copies to all of them at once share {format_rate(rate)}"
                if rate
                else "copies to all of them at once share it"
            )
            groups.setdefault(f"one {what} to the CPU: {share}", []).append(gpus)
    for text, shared in groups.items():
        names = "; ".join(gpu_names(gpus) for gpus in shared)
        each = " (each group)" if len(shared) > 1 else ""
        yield f"{names}{each} share {text}."


def _gpus_far_from_nics(machine: Machine) -> Iterator[str]:
    classes: dict[str, set[str | None]] = {}
    nics = {nic.id for nic in machine.all(Nic)}
    for pair in machine.document.pairs:
        if pair.b in nics:
            classes.setdefault(pair.a, set()).add(pair.path_class)
    far = [gpu for gpu in machine.all(Gpu) if classes.get(gpu.id) and classes[gpu.id] <= _FAR]
    if far:
        verb = "has" if len(far) == 1 else "have"
        yield (
            f"{gpu_names(far)} {verb} no NIC on their side: network traffic crosses the link "
            "between sockets."
        )


def _binding(machine: Machine) -> Iterator[str]:
    if len({gpu.numa_index for gpu in machine.all(Gpu)} - {None}) > 1:
        yield (
            "Start the process of each GPU on the CPUs in its row below (numactl --cpunodebind), "
            "so that its host memory is local."
        )


def _guest(machine: Machine) -> Iterator[str]:
    host = machine.host
    if host is None or not host.is_virtual:
        return
    text = f"This is a virtual machine ({host.virtualization})"
    if any(pair.path_class is None for pair in machine.document.pairs):
        text += (
            ": its bus hides how the host is wired, so only measuring tells which pairs are near"
        )
    yield f"{text}."


def _no_gpu(machine: Machine) -> Iterator[str]:
    if not machine.all(Gpu):
        is_here = machine.document.origin == "live"
        rest = ": CPU cores, memory and drives can still be profiled" if is_here else ""
        yield f"There is no GPU{rest}."
        return
    reason = next((m.reason for m in machine.document.unknown if m.fact == "nvml"), None)
    if reason is not None and any(gpu.pci_vendor == "10de" for gpu in machine.all(Gpu)):
        yield f"The GPUs cannot be used yet: {reason}"


def _contradictions(machine: Machine) -> Iterator[str]:
    number = len(machine.document.contradictions)
    if number:
        verb = "contradicts" if number == 1 else "contradict"
        yield f"{count(number, 'reading')} {verb} another or cannot be; they are listed below."
