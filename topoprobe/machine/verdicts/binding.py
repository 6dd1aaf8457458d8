"""Whether this process may run near the GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.addresses import format_cpu_list
from topoprobe.machine.verdicts.check import Check, fail, ok
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import gpu_names
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, Numa

NAME = "binding"


def judge(machine: Machine) -> Iterator[Verdict]:
    """Compare the CPUs and memory that the reading process may use with those near the GPUs.

    Only of a live reading: a recording does not tell who will use the machine.
    """
    host = machine.host
    numas = [numa for numa in machine.all(Numa) if numa.memory_of is None]
    gpus = [gpu for gpu in machine.all(Gpu) if near_cpus(machine, gpu)]
    if machine.document.origin != "live" or host is None or len(numas) < 2 or not gpus:
        return
    yield from _cpus(machine, gpus, host.allowed_cpus)
    yield from _memory(gpus, {numa.os_index for numa in numas}, host.allowed_numas)


CHECK = Check(NAME, "places of this process are near the GPUs", judge)


def near_cpus(machine: Machine, gpu: Gpu) -> tuple[int, ...]:
    """Return the CPUs near a GPU; none if that is not known."""
    numa = machine.numa(gpu.id)
    return gpu.cpus or (numa.cpus if numa is not None else ())


def _cpus(machine: Machine, gpus: list[Gpu], allowed: tuple[int, ...]) -> Iterator[Verdict]:
    if not allowed:
        return
    near = [gpu for gpu in gpus if set(allowed) & set(near_cpus(machine, gpu))]
    mine = f"CPUs {format_cpu_list(allowed)}"
    if not near:
        wanted = sorted({cpu for gpu in gpus for cpu in near_cpus(machine, gpu)})
        yield fail(
            NAME,
            "host",
            f"The reading process may use {mine} only, and none of them is near a GPU; those "
            f"near one are {format_cpu_list(tuple(wanted))}.",
            "It was bound when it started (taskset, numactl, Slurm, a container's cpuset): ask "
            f"there for some of CPUs {format_cpu_list(tuple(wanted))}. No binding from here can "
            "leave that set, and every host copy crosses between NUMA nodes until then.",
        )
    elif len(near) < len(gpus):
        yield ok(
            NAME, "host", f"The reading process may use {mine}, which are near {gpu_names(near)}."
        )
    else:
        yield ok(NAME, "host", f"The reading process may use {mine}, some of them near each GPU.")


def _memory(gpus: list[Gpu], numas: set[int], allowed: tuple[int, ...]) -> Iterator[Verdict]:
    wanted = {gpu.numa_index for gpu in gpus if gpu.numa_index is not None} & numas
    if allowed and wanted and not wanted & set(allowed):
        nodes = ", ".join(map(str, sorted(wanted)))
        yield fail(
            NAME,
            "host",
            f"The reading process may take memory of NUMA node {', '.join(map(str, allowed))} "
            f"only; the GPUs are near {nodes}.",
            f"Ask whoever started it (numactl, Slurm, a container's cpuset) for memory of NUMA "
            f"node {nodes}: host copies cross between NUMA nodes until then.",
        )
