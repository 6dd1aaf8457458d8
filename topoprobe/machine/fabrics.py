"""The links between GPUs that are no PCIe, as text: NVSwitches, fabrics, hives, links to CPUs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import TypeVar

from topoprobe.machine.inventory import FABRIC
from topoprobe.machine.table import Column, draw_table, side_by_side
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count, gpu_names
from topoprobe.records.machine import Gpu, Link, LinkKind
from topoprobe.units import format_rate

T = TypeVar("T")


def draw_fabrics(machine: Machine, width: int) -> str:
    """Draw the NVLinks of each GPU to each NVSwitch, and say what else joins GPUs.

    Direct links between GPUs are in the matrix of path classes. Empty where there is nothing else.
    """
    table = _switch_table(machine, width)
    sentences = (
        *_unaddressed_switches(machine),
        *_fabric_membership(machine),
        *_hives(machine),
        *_links_to_cpus(machine),
    )
    lines = [line for text in sentences for line in wrap(text, width, subsequent_indent="  ")]
    return "\n".join((*table, *([""] if table and lines else []), *lines))


def _switch_table(machine: Machine, width: int) -> list[str]:
    """Count the links from GPUs to NVSwitches with addresses; GPUs with the same share a row."""
    counts = {gpu: _counts(machine.fabric_links(gpu.id), gpu.id) for gpu in machine.all(Gpu)}
    switches = [n.id for n in machine.document.nodes if any(n.id in c for c in counts.values())]
    switches = [node_id for node_id in switches if node_id != FABRIC]
    if not switches:
        return []
    rows = _grouped((gpu, tuple(to.get(s, 0) for s in switches)) for gpu, to in counts.items())
    names = [f"SW{i}" for i in range(len(switches))]
    columns = [
        Column(name, tuple(str(row[i] or "-") for row, _ in rows)) for i, name in enumerate(names)
    ]
    total = Column("all", tuple(str(sum(row)) for row, _ in rows))
    rates = Column("each way", tuple(_rate(machine, gpus[0]) for _, gpus in rows))
    lines = draw_table([gpu_names(gpus) for _, gpus in rows], [columns, [total, rates]], width)
    addresses = [s.partition("@")[2] for s in switches]
    legend = [f"{name:<4} {address}" for name, address in zip(names, addresses, strict=True)]
    return ["NVLinks to NVSwitches", *lines, "", *side_by_side(legend, width)]


def _counts(links: Sequence[Link], gpu_id: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for link in links:
        end = link.b if link.a == gpu_id else link.a
        found[end] = found.get(end, 0) + link.count
    return found


def _rate(machine: Machine, gpu: Gpu) -> str:
    rate = _total_rate(machine.fabric_links(gpu.id))
    return format_rate(rate) if rate else "?"


def _total_rate(links: Sequence[Link]) -> float | None:
    rates = [link.nominal.bandwidth_bytes_per_s if link.nominal else None for link in links]
    return None if not rates or None in rates else sum(rate for rate in rates if rate)


def _unaddressed_switches(machine: Machine) -> Iterator[str]:
    told = []
    for gpu in machine.all(Gpu):
        links = [x for x in machine.fabric_links(gpu.id) if FABRIC in {x.a, x.b}]
        if links:
            told.append((gpu, (sum(link.count for link in links), _total_rate(links))))
    for (number, rate), gpus in _grouped(told):
        each = f" ({format_rate(rate)} each way)" if rate else ""
        yield (
            f"{_have(gpus, 'has', 'have')} {count(number, 'NVLink')}{each} to NVSwitches whose "
            "addresses are not told."
        )


def _fabric_membership(machine: Machine) -> Iterator[str]:
    told = [(gpu, gpu.fabric) for gpu in machine.all(Gpu) if gpu.fabric is not None]
    for fabric, gpus in _grouped(told):
        state = f"{fabric.state}{f', {fabric.health}' if fabric.health else ''}"
        if fabric.cluster_uuid is None:
            yield f"NVLink fabric of {gpu_names(gpus)}: {state}; it ends at this machine."
        else:
            yield (
                f"NVLink fabric of {gpu_names(gpus)}: {state}; clique {fabric.clique_id} of "
                f"cluster {fabric.cluster_uuid}, which other machines may share."
            )


def _hives(machine: Machine) -> Iterator[str]:
    told = [(gpu, gpu.hive_id) for gpu in machine.all(Gpu) if gpu.hive_id is not None]
    hives = _grouped(told)
    if len(hives) > 1:
        listed = "; ".join(gpu_names(gpus) for _, gpus in hives)
        yield f"xGMI hives: {listed}; between two hives there is only PCIe."


def _links_to_cpus(machine: Machine) -> Iterator[str]:
    gpus = {gpu.id: gpu for gpu in machine.all(Gpu)}
    told = []
    for link in machine.document.links:
        ends = [end for end in (link.a, link.b) if end in gpus]
        is_direct = link.kind in {LinkKind.C2C, LinkKind.NVLINK, LinkKind.XGMI}
        if is_direct and len(ends) == 1 and not link.b.startswith("nvswitch@"):
            told.append((gpus[ends[0]], (link.kind, link.count, _total_rate([link]))))
    words = {LinkKind.C2C: "C2C", LinkKind.NVLINK: "NVLink", LinkKind.XGMI: "xGMI"}
    for (kind, number, rate), found in _grouped(told):
        each = f" ({format_rate(rate)} each way)" if rate else ""
        links = count(number, f"{words[kind]} link")
        yield f"{_have(found, 'has', 'have')} {links}{each} to the CPU."


def _grouped(told: Iterable[tuple[Gpu, T]]) -> list[tuple[T, list[Gpu]]]:
    """Put GPUs together of which the same is told, in the order of the first of each."""
    groups: list[tuple[T, list[Gpu]]] = []
    for gpu, what in told:
        group = next((gpus for other, gpus in groups if other == what), None)
        if group is None:
            groups.append((what, [gpu]))
        else:
            group.append(gpu)
    return groups


def _have(gpus: Sequence[Gpu], one: str, many: str) -> str:
    return f"{gpu_names(gpus)} {one if len(gpus) == 1 else f'each {many}'}"
