"""What firmware tells of the CPUs near a device, and when that cannot be or says nothing.

The kernel gives "all CPUs" to devices of which it knows nothing, so that is no answer on a machine
with several NUMA nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from topoprobe.machine.addresses import format_cpu_list
from topoprobe.machine.facts import NumaFact, PackageFact, PciFact
from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction


class Judged(NamedTuple):
    """Functions without what cannot be, and what was left out or is odd."""

    functions: tuple[PciFact, ...]
    unknown: tuple[Missing, ...]
    contradictions: tuple[Contradiction, ...]


def judge(
    functions: Sequence[PciFact], packages: Sequence[PackageFact], numas: Sequence[NumaFact]
) -> Judged:
    """Look through what the functions say of their places."""
    everywhere = {cpu for numa in numas for cpu in numa.cpus}
    has_places = sum(bool(numa.cpus) for numa in numas) > 1
    sockets = [set(package.cpus) for package in packages]
    kept, unknown, contradictions = [], [], []
    for function in functions:
        near = set(function.cpus)
        if has_places and near >= everywhere:
            if function.numa_index is not None:
                contradictions.append(_of_node_and_all_cpus(function))
            unknown.append(_without_place(function))
            function = msgspec.structs.replace(function, numa_index=None, cpus=())
        elif _is_torn(near, sockets):
            contradictions.append(_between_packages(function))
        kept.append(function)
    return Judged(tuple(kept), tuple(unknown), (*contradictions, *_shared_cpus(numas)))


def _is_torn(near: set[int], sockets: Sequence[set[int]]) -> bool:
    """Tell whether CPUs are of several packages and only a part of one of them."""
    touched = [socket for socket in sockets if socket & near]
    return len(touched) > 1 and any(not socket <= near for socket in touched)


def _of_node_and_all_cpus(function: PciFact) -> Contradiction:
    return Contradiction(
        subject=function.address,
        fact="numa_index",
        readings=(
            f"numa_node {function.numa_index}",
            f"local_cpulist {format_cpu_list(function.cpus)}, all CPUs",
        ),
        meaning="A device near one NUMA node is near that node's CPUs only; neither is believed.",
    )


def _without_place(function: PciFact) -> Missing:
    reason = (
        "sysfs says numa_node -1 and all CPUs near it: firmware or hypervisor does not tell it."
        if function.numa_index is None
        else f"sysfs says numa_node {function.numa_index}, but all CPUs near it."
    )
    return Missing(subject=function.address, fact="numa_index", reason=reason)


def _between_packages(function: PciFact) -> Contradiction:
    return Contradiction(
        subject=function.address,
        fact="cpus",
        readings=(f"local_cpulist {format_cpu_list(function.cpus)}",),
        meaning="These CPUs are parts of several packages, and a device hangs on one; they are "
        "kept.",
    )


def _shared_cpus(numas: Sequence[NumaFact]) -> Iterator[Contradiction]:
    """Report NUMA nodes that have CPUs in common."""
    owner: dict[int, int] = {}
    for numa in numas:
        others = {owner[cpu] for cpu in numa.cpus if cpu in owner}
        owner.update((cpu, numa.os_index) for cpu in numa.cpus)
        for other in sorted(others):
            yield Contradiction(
                subject=f"numa:{numa.os_index}",
                fact="cpus",
                readings=(f"CPUs {format_cpu_list(numa.cpus)}", f"NUMA node {other} has some too"),
                meaning="A CPU is of one NUMA node; which one is not known.",
            )
