"""CPU packages, their cores, caches and instruction sets, and NUMA nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from topoprobe.machine.addresses import parse_cpu_list, parse_cpu_mask
from topoprobe.machine.facts import NumaFact, PackageFact
from topoprobe.machine.sources.files import Files, whole_number
from topoprobe.records.machine import Cache
from topoprobe.units import parse_size

_CPU = "sys/devices/system/cpu"
_NODE = "sys/devices/system/node"
_CACHE_TYPES: dict[str, Literal["data", "instruction", "unified"]] = {
    "Data": "data", "Instruction": "instruction", "Unified": "unified",
}  # fmt: skip
_MEM_TOTAL = re.compile(r"MemTotal:\s*([0-9]{1,15}) kB")
_SIZE = re.compile(r"[0-9]{1,9}[KMG]?")
# Asking for all entries of a large machine makes the kernel sample every clock.
_CPUINFO_BYTES = 16384
# How /proc/cpuinfo of each architecture is told; the flag "lm" means 64 bits.
_ARCHITECTURES = (
    (re.compile(r"^flags\s*:.*\blm\b", re.MULTILINE), "x86_64"),
    (re.compile(r"^CPU architecture\s*: 8", re.MULTILINE), "aarch64"),
)
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
    cpus = _online(files) or tuple(number for number, _ in files.numbered(_CPU, "cpu"))
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
    processor, machine = _processor(files), architecture(files)
    return tuple(
        PackageFact(
            os_index=package,
            name=processor.name,
            vendor=processor.vendor,
            architecture=machine,
            num_cores=len(cores[package]),
            num_threads=len(members),
            cpus=tuple(members),
            base_clock_hz=_base_clock(files, members[0]),
            instruction_sets=processor.instruction_sets,
            caches=_caches(files, members),
        )
        for package, members in sorted(packages.items())
    )


def read_numas(
    files: Files, gpus: Mapping[int, str], kinds: Mapping[int, str]
) -> tuple[NumaFact, ...]:
    """Read the NUMA nodes with the CPUs that are online; a kernel without NUMA support has one.

    Parameters
    ----------
    files : Files
        Where to read.
    gpus : mapping
        Addresses of the GPUs whose own memory a node is, by the node.
    kinds : mapping
        In words what the memory of other nodes without CPUs is.
    """
    nodes = []
    online = _online(files)
    for index, path in files.numbered(_NODE, "node"):
        cpus = _cpus(files, f"{path}/cpulist", f"{path}/cpumap")
        if online:
            cpus = tuple(sorted(set(cpus) & set(online)))
        distances = map(whole_number, (files.text(f"{path}/distance") or "").split())
        nodes.append(
            NumaFact(
                os_index=index,
                name=None if cpus else _name_of_memory(index, gpus.get(index), kinds.get(index)),
                memory_bytes=total_memory(files.text(f"{path}/meminfo")),
                cpus=cpus,
                distances=tuple(d for d in distances if d is not None),
                memory_of=gpus.get(index),
            )
        )
    if not nodes:
        memory = total_memory(files.text("proc/meminfo"))
        if memory is not None and online:
            nodes.append(NumaFact(os_index=0, memory_bytes=memory, cpus=online))
    return tuple(nodes)


def _online(files: Files) -> tuple[int, ...]:
    return parse_cpu_list(files.text(f"{_CPU}/online") or "")


def _cpus(files: Files, listed: str, mask: str) -> tuple[int, ...]:
    """Return CPUs from a list, which the oldest kernels do not have, or else from a mask."""
    text = files.text(listed)
    return parse_cpu_mask(files.text(mask) or "") if text is None else parse_cpu_list(text)


def _name_of_memory(index: int, gpu: str | None, kind: str | None) -> str:
    what = f"memory of GPU {gpu}" if gpu else kind or "memory without CPUs"
    return f"NUMA node {index} ({what})"


def _processor(files: Files) -> _Processor:
    fields: dict[str, str] = {}
    for line in (files.text("proc/cpuinfo", _CPUINFO_BYTES) or "").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return _Processor(
        vendor=fields.get("vendor_id"),
        name=fields.get("model name") or fields.get("cpu"),
        instruction_sets=tuple(name for name in _INSTRUCTION_SETS if name in flags),
    )


def architecture(files: Files) -> str | None:
    """Return what the kernel calls the machine, as ``x86_64``."""
    told = files.text("proc/sys/kernel/arch")  # since Linux 6.1
    if told:
        return told
    text = files.text("proc/cpuinfo", _CPUINFO_BYTES) or ""
    return next((name for mark, name in _ARCHITECTURES if mark.search(text)), None)


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
            shared = _cpus(files, f"{path}/shared_cpu_list", f"{path}/shared_cpu_map")
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
    match = _MEM_TOTAL.search(meminfo or "")
    return int(match[1]) * 1024 if match else None
