"""How large arrays have to be to lie in memory, and how large they may be."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.measure.benchmark import Budget
from topoprobe.records.machine import MachineDocument, Package

CACHE_MULTIPLE = 4
"""An array this many times the last-level cache is not served from it [stream]_.

.. [stream] J. McCalpin, STREAM, "Run Rules": each array at least four times the caches' sum.
"""

_MIN_BYTES = 64 << 20
_GRAIN_BYTES = 2 << 20  # a huge page
# Larger arrays would not fit the time of the suite.
_SUITE_LIMITS = {"quick": 256 << 20, "standard": 512 << 20}


@dataclass(frozen=True, slots=True)
class ArraySize:
    """A size, and how it compares with the last-level caches (None where those are unknown)."""

    num_bytes: int
    cache_ratio: float | None

    def factors(self, name: str = "array_bytes") -> dict[str, str | int | float]:
        """Return the factors that a series records about it."""
        factors: dict[str, str | int | float] = {name: self.num_bytes}
        if self.cache_ratio is not None:
            factors["cache_ratio"] = round(self.cache_ratio, 3)
        return factors


def last_cache_bytes(machine: MachineDocument) -> int | None:
    """Return the size of all last-level caches together, None where the machine does not tell."""
    total = 0
    for package in machine.nodes:
        if isinstance(package, Package):
            data = [cache for cache in package.caches if cache.type != "instruction"]
            last = max(data, key=lambda cache: cache.level, default=None)
            total += last.size_bytes * last.num_instances if last is not None else 0
    return total or None


def array_size(
    machine: MachineDocument, budget: Budget, num_arrays: int, *, scale: int = 1
) -> ArraySize:
    """Return the size of each of `num_arrays` arrays.

    Four times the last-level caches, or less where the budget's memory or the suite's time does
    not allow it; the ratio tells which it became.

    Parameters
    ----------
    machine : MachineDocument
        Its packages tell the caches.
    budget : Budget
        Its memory is shared by the arrays.
    num_arrays : int
        How many are held at once.
    scale : int
        Multiplies the suite's limit, for arrays that are read seldom.
    """
    cache_bytes = last_cache_bytes(machine)
    wanted = max(CACHE_MULTIPLE * (cache_bytes or 0), _MIN_BYTES)
    limit = _SUITE_LIMITS.get(budget.suite, budget.memory_bytes) * scale
    allowed = min(wanted, limit, budget.memory_bytes // num_arrays)
    num_bytes = max(allowed // _GRAIN_BYTES, 1) * _GRAIN_BYTES
    return ArraySize(num_bytes, num_bytes / cache_bytes if cache_bytes else None)


def thread_counts(num_cpus: int, suite: str) -> tuple[int, ...]:
    """Return the numbers of threads to measure with: 1 and all, and powers of two between.

    The quick suite leaves out what is between.
    """
    counts = {1, num_cpus}
    power = 2
    while suite != "quick" and power < num_cpus:
        counts.add(power)
        power *= 2
    return tuple(sorted(counts))
