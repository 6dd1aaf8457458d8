"""What a person should know or do about a machine, in sentences, most useful first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from topoprobe.machine.inventory import FABRIC
from topoprobe.machine.pcie import describe
from topoprobe.machine.verdicts import contradictions, driver, guest, judge
from topoprobe.machine.verdicts.binding import near_cpus
from topoprobe.machine.verdicts.grouping import grouped, sentence
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import Names, count, gpu_names
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

# `topoprobe doctor` tells all.
_MOST_VERDICTS = 6
# Who makes GPUs; a text that tells no vendor is of a GPU's driver.
_GPU_VENDORS = {"10de", "1002", "8086", None}
# Checks whose OKs say what kind of machine this is.
_TELLING = {driver.NAME, guest.NAME}


def findings(machine: Machine) -> tuple[str, ...]:
    """Return the sentences for one machine: what it is, then what to do about it."""
    return (
        summary(machine),
        *_verdicts(machine),
        *_shared_uplinks(machine),
        *_binding(machine),
        *_contradictions(machine),
    )


def summary(machine: Machine) -> str:
    """Count what there is, in one sentence."""
    kinds: tuple[tuple[type[Node], str], ...] = (
        (Package, "CPU package"),
        (Numa, "NUMA node"),
        (Gpu, "GPU"),
        (NvSwitch, "NVSwitch"),
        (Nic, "NIC"),
        (Nvme, "drive"),
        (PcieSwitch, "PCIe switch"),
    )
    others = [gpu for gpu in machine.all(Gpu) if not _is_graphics(gpu)]
    parts = []
    for kind, noun in kinds:
        found = [node for node in machine.all(kind) if node not in others]
        parts += [_counted(found, noun)] if found else []
        parts += [count(len(others), "accelerator")] if kind is Gpu and others else []
    told = [
        _models([gpu for gpu in machine.all(Gpu) if gpu not in others], "GPU"),
        _models(others, "accelerator"),
        f"here called {gpu_names(others)}" if others else "",
    ]
    return (
        "; ".join((", ".join(parts) or "Nothing that can be measured", *filter(None, told))) + "."
    )


def _models(gpus: Sequence[Gpu], noun: str) -> str:
    """Name the products, in the order of the GPUs."""
    models = dict.fromkeys(gpu.model or (gpu.name if noun != "GPU" else None) for gpu in gpus)
    named = [model for model in models if model]
    verb = f"the {noun} is" if len(gpus) == 1 else f"the {noun}s are"
    return f"{verb} {', '.join(named)}" if named else ""


def _is_graphics(gpu: Gpu) -> bool:
    """Tell GPUs from other accelerators, as NEC's vector engines."""
    return gpu.pci_vendor in _GPU_VENDORS


def _counted(nodes: Sequence[Node], noun: str) -> str:
    """Count nodes, unless one stands for several that no source tells apart."""
    if any(node.id == FABRIC for node in nodes):
        return "NVSwitches (how many is not told)"
    return count(len(nodes), noun)


def _verdicts(machine: Machine) -> Iterator[str]:
    """Tell what is wrong with its fix, then what kind of machine it is.

    Contradictions are left out: the scan lists them in full.
    """
    found = grouped(v for v in judge(machine) if v.check != contradictions.NAME)
    names = Names(machine)
    wrong = [group for group in found if group.level != "OK"]
    for group in wrong[:_MOST_VERDICTS]:
        yield f"{sentence(group, names)} {group.fix or ''}".rstrip()
    if len(wrong) > _MOST_VERDICTS:
        more = count(len(wrong) - _MOST_VERDICTS, "more finding")
        yield f"`topoprobe doctor` has {more}."
    for group in found:
        if group.level == "OK" and group.check in _TELLING:
            yield sentence(group, names)


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
            groups.setdefault(_uplink(links[wire]), []).append(gpus)
    for text, shared in groups.items():
        names = "; ".join(gpu_names(gpus) for gpus in shared)
        each = " (each group)" if len(shared) > 1 else ""
        yield f"{names}{each} share {text}."


def _uplink(link: Link) -> str:
    best = link.nominal or link.current
    rate = best.bandwidth_bytes_per_s if best else None
    amount = format_rate(rate) if rate else "it"
    # A link may have rested when nothing but its speed of the moment was read.
    when = " (read while it may have rested)" if rate and link.nominal is None else ""
    what = f"{describe(best)} uplink".strip()
    return f"one {what} to the CPU: copies to all of them at once share {amount}{when}"


def _binding(machine: Machine) -> Iterator[str]:
    """Advise to bind processes, unless this process could not do so."""
    gpus = machine.all(Gpu)
    allowed = machine.host.allowed_cpus if machine.host else ()
    is_free = not allowed or all(set(near_cpus(machine, gpu)) & set(allowed) for gpu in gpus)
    if is_free and len({gpu.numa_index for gpu in gpus} - {None}) > 1:
        yield (
            "Start the process of each GPU on its NUMA node, told in its row below (numactl "
            "--cpunodebind), so that its host memory is local."
        )


def _contradictions(machine: Machine) -> Iterator[str]:
    number = len(machine.document.contradictions)
    if number:
        verb, they = ("contradicts", "it is") if number == 1 else ("contradict", "they are")
        yield f"{count(number, 'reading')} {verb} another or cannot be; {they} listed below."
