"""CPU packages, their cores, caches and instruction sets, and NUMA nodes."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from topoprobe.machine.addresses import parse_cpu_list
from topoprobe.machine.facts import NumaFact, PackageFact
from topoprobe.machine.sources.files import Files
from topoprobe.records.machine import Cache
from topoprobe.units import parse_size

_CPU = "sys/devices/system/cpu"
_NODE = "sys/devices/system/node"
_CACHE_TYPES: dict[str, Literal["data", "instruction", "unified"]] = {
    "Data": "data", "Instruction": "instruction", "Unified": "unified",
}  # fmt: skip
_SIZE = re.compile(r"[0-9]+[KMG]?")
# What a kernel's author asks for: vector and matrix units.
_INSTRUCTION_SETS = (
    "sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "sve", "sve2", "bf16", "i8mm",
)  # fmt: skip


class _Processor(NamedTuple):
    """What the first entry of /proc/cpuinfo says; packages of one machine are alike."""

    vendor: str | None
    name: str | None
    instruction_sets: tuple[str, ...]


def read_packages(files: Files) -> tuple[PackageFact, ...]:
    """Read the CPU sockets with the CPUs that are online."""
    cpus = parse_cpu_list(files.text(f"{_CPU}/online") or "")
    cpus = cpus or tuple(number for number, _ in files.numbered(_CPU, "cpu"))
    packages: dict[int, list[int]] = {}
    cores: dict[int, set[tuple[int | None, int | None]]] = {}
    for cpu in cpus:
        topology = f"{_CPU}/cpu{cpu}/topology"
        package = files.number(f"{topology}/physical_package_id")
        # Some Arm firmware has no sockets to tell and leaves -1: the machine is one.
        package = 0 if package is None or package < 0 else package
        packages.setdefault(package, []).append(cpu)
        core = (files.number(f"{topology}/die_id"), files.number(f"{topology}/core_id"))
        cores.setdefault(package, set()).add(core if core[1] is not None else (None, cpu))
    processor = _processor(files)
    return tuple(
        PackageFact(
            os_index=package,
            name=processor.name,
            vendor=processor.vendor,
            architecture=_architecture(files),
            num_cores=len(cores[package]),
            num_threads=len(members),
            cpus=tuple(members),
            base_clock_hz=_base_clock(files, members[0]),
            instruction_sets=processor.instruction_sets,
            caches=_caches(files, members),
        )
        for package, members in sorted(packages.items())
    )


def read_numas(files: Files) -> tuple[NumaFact, ...]:
    """Read the NUMA nodes; a kernel without NUMA support has one."""
    nodes = []
    for index, path in files.numbered(_NODE, "node"):
        cpus = parse_cpu_list(files.text(f"{path}/cpulist") or "")
        distances = (files.text(f"{path}/distance") or "").split()
        nodes.append(
            NumaFact(
                os_index=index,
                name=None if cpus else f"NUMA node {index} (memory without CPUs)",
                memory_bytes=total_memory(files.text(f"{path}/meminfo")),
                cpus=cpus,
                distances=tuple(int(d) for d in distances if d.isdecimal()),
            )
        )
    if not nodes:
        memory = total_memory(files.text("proc/meminfo"))
        cpus = parse_cpu_list(files.text(f"{_CPU}/online") or "")
        if memory is not None and cpus:
            nodes.append(NumaFact(os_index=0, memory_bytes=memory, cpus=cpus))
    return tuple(nodes)


def _processor(files: Files) -> _Processor:
    # Asking for all of a large machine's entries makes the kernel sample every clock.
    fields: dict[str, str] = {}
    for line in (files.text("proc/cpuinfo", 16384) or "").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return _Processor(
        vendor=fields.get("vendor_id"),
        name=fields.get("model name") or fields.get("cpu"),
        instruction_sets=tuple(name for name in _INSTRUCTION_SETS if name in flags),
    )


def _architecture(files: Files) -> str | None:
    text = files.text("proc/sys/kernel/arch")  # since Linux 6.1
    if text:
        return text
    import platform

    return platform.machine() or None


def _base_clock(files: Files, cpu: int) -> float | None:
    kilohertz = files.number(f"{_CPU}/cpu{cpu}/cpufreq/base_frequency")
    return kilohertz * 1e3 if kilohertz else None


def _caches(files: Files, cpus: list[int]) -> tuple[Cache, ...]:
    counts: dict[tuple[int, Literal["data", "instruction", "unified"], int], int] = {}
    covered: dict[str, set[int]] = {}
    for cpu in cpus:
        folder = f"{_CPU}/cpu{cpu}/cache"
        for index in _cache_indexes(files, folder, covered):
            if cpu in covered.get(index, ()):
                continue
            path = f"{folder}/{index}"
            level, kind = files.number(f"{path}/level"), files.text(f"{path}/type")
            size = files.text(f"{path}/size")
            shared = parse_cpu_list(files.text(f"{path}/shared_cpu_list") or "")
            covered.setdefault(index, set()).update(shared or (cpu,))
            if level and kind in _CACHE_TYPES and size and _SIZE.fullmatch(size):
                key = (level, _CACHE_TYPES[kind], parse_size(size))
                counts[key] = counts.get(key, 0) + 1
    return tuple(
        Cache(level=level, type=kind, size_bytes=size, num_instances=count)
        for (level, kind, size), count in sorted(counts.items())
    )


def _cache_indexes(files: Files, folder: str, covered: dict[str, set[int]]) -> list[str]:
    """List the caches of a CPU; the first one's list serves all (a folder costs as a file)."""
    return list(covered) or [name for name in files.names(folder) if name.startswith("index")]


def total_memory(meminfo: str | None) -> int | None:
    """Read the total of a meminfo text, of the machine or of a NUMA node, in bytes."""
    for line in (meminfo or "").splitlines():
        if "MemTotal:" in line:
            words = line.split()
            return int(words[-2]) * 1024 if words[-2].isdecimal() else None
    return None
