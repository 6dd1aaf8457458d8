"""Whether one GPU reaches another one's memory, and what that answer rests on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from topoprobe.machine.nvlink import expected_num_nvlinks
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import listed
from topoprobe.model.fabric.machines.names import called
from topoprobe.records.base import Missing
from topoprobe.records.machine import Gpu, LinkKind, Numa, Package

HIDDEN, STAGED = "num_nvlinks", "peer_access"
"""What is unknown of GPUs whose NVLinks no source shows, and lacking where copies are staged."""

_UNTOLD = (None, "U")
# Their drivers offer peer access only once modified [p2p-4090] [p2p-5090].
_WITHOUT = re.compile(r"GeForce RTX [45]0[0-9]{2}\b")

_CPU_WITH_NVLINKS = re.compile(r"POWER[89]\b")


def is_direct(machine: Machine, one: str, other: str) -> bool:
    """Tell whether links of their own join two GPUs: NVLink, xGMI."""
    return bool(
        machine.links_between(one, other)
        or (machine.fabric_links(one) and machine.fabric_links(other))
    )


def gap(machine: Machine, one: Gpu, other: Gpu) -> str | None:
    """Say why a GPU does not reach another one over PCIe; None where nothing speaks against it."""
    status = _status(machine, one, other)
    if status not in _UNTOLD:
        return None if status == "OK" else f"the driver tells {status} of peer access between them"
    name = next((name for gpu in (one, other) if _WITHOUT.search(name := _name(gpu))), None)
    return name and f"{name} has no peer access unless its driver is modified [p2p-4090]"


def guesses(machine: Machine, one: Gpu, other: Gpu) -> Iterator[Missing]:
    """Yield what a way over PCIe between two GPUs takes for granted."""
    hidden = [called(machine, gpu.id) for gpu in (one, other) if _are_links_hidden(machine, gpu)]
    if hidden:
        yield Missing(
            subject=one.id,
            fact=HIDDEN,
            reason=f"no source shows the NVLinks of {listed(hidden)}, so the copy goes over PCIe "
            "here; over NVLinks it is faster",
        )
    is_untold = _status(machine, one, other) in _UNTOLD and gap(machine, one, other) is None
    if is_untold and _are_apart(machine, one, other):
        names = " and ".join(called(machine, gpu.id) for gpu in (one, other))
        yield Missing(
            subject=f"{one.id} {other.id}",
            fact="peer_status",
            reason=f"peer access between {names}, on different sockets or NUMA nodes, is not told; "
            "without it, the copy is staged through host memory",
        )


def host_links(machine: Machine, gpus: Iterable[Gpu]) -> Iterator[Missing]:
    """Yield what a way over PCIe between a CPU and GPUs takes for granted where NVLinks may be."""
    has_them = any(_CPU_WITH_NVLINKS.match(one.name) for one in machine.all(Package))
    for gpu in gpus if has_them else ():
        shown = (link for link in machine.document.links if link.kind is LinkKind.NVLINK)
        cpus = (Numa, Package)
        is_shown = any(
            gpu.id in (link.a, link.b)
            and any(isinstance(machine.node(end), cpus) for end in (link.a, link.b))
            for link in shown
        )
        if expected_num_nvlinks(gpu) and not is_shown:
            yield Missing(
                subject=gpu.id,
                fact=HIDDEN,
                reason=f"no source shows NVLinks between the CPU and {called(machine, gpu.id)}, "
                "which both are made with, so the copy goes over PCIe here; over NVLinks it is "
                "faster",
            )


def shared_memory(gpus: Iterable[Gpu]) -> Iterator[Missing]:
    """Yield what a copy between a CPU and a GPU that are one chip takes for granted."""
    for gpu in gpus:
        if "MI300A" in _name(gpu):
            yield Missing(
                subject=gpu.id,
                fact="shared_memory",
                reason="an MI300A has one memory for its CPU and GPU cores, and no figure is "
                "known for a copy within it: the way is taken to be PCIe",
            )


def _are_links_hidden(machine: Machine, gpu: Gpu) -> bool:
    if expected_num_nvlinks(gpu) == 0:
        return False
    places = {gpu.id, gpu.pci_address, "host"}
    return any("nvlink" in one.fact and one.subject in places for one in machine.document.unknown)


def _are_apart(machine: Machine, one: Gpu, other: Gpu) -> bool:
    nodes: set[Numa | None] = {machine.numa(gpu.id) for gpu in (one, other)}
    return len(nodes) > 1


def _status(machine: Machine, one: Gpu, other: Gpu) -> str | None:
    ends = {one.id, other.id}
    pairs = (pair for pair in machine.document.pairs if {pair.a, pair.b} == ends)
    return next((pair.peer_status for pair in pairs), None)


def _name(gpu: Gpu) -> str:
    return gpu.model or gpu.name
