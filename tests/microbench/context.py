"""A machine and a context for running benchmarks in milliseconds, on small memory."""

from __future__ import annotations

import time

from topoprobe.measure.benchmark import Budget, Context
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.records.base import Tool
from topoprobe.records.machine import Cache, Host, MachineDocument, Package

MIB = 1 << 20


def machine(cache_bytes: int | None = 8 * MIB) -> MachineDocument:
    """Return a host with one package and, unless None, one last-level cache."""
    caches = () if cache_bytes is None else (_cache(cache_bytes),)
    return MachineDocument(
        tool=Tool(tool_version="0"),
        origin="synthetic",
        sources=(),
        nodes=(
            Host(id="host", name="a host"),
            Package(id="package:0", name="a CPU", parent="host", os_index=0, caches=caches),
        ),
    )


def context(
    memory_bytes: int,
    *,
    num_samples: int = 3,
    cpus: tuple[int, ...] = (),
    suite: str = "quick",
) -> Context:
    """Return a context with little time and memory."""
    return Context(
        budget=Budget(suite, num_samples, 0.5, memory_bytes),
        clock=time.monotonic,
        conditions=lambda: None,
        cpus=cpus or available_cpus(),
        scratch="/nonexistent",
    )


def _cache(size_bytes: int) -> Cache:
    return Cache(level=3, type="unified", size_bytes=size_bytes, num_instances=1)
