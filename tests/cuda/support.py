"""Memory between guard zones, and kernels called through their bindings, on the CPU."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from topoprobe.measure.devices.cuda import kernels
from topoprobe.measure.devices.cuda.bindings import Kernels

NUM_SMS = 2

_seeds = itertools.count(1)


class Memory:
    """Bytes that a kernel is given, with zones as large on both sides that it must leave alone."""

    def __init__(self, content: np.ndarray) -> None:
        raw = content.reshape(-1).view(np.uint8)
        self.num_bytes = raw.size
        # Every zone has its own bytes, so that copying one to another shows.
        rng = np.random.default_rng(next(_seeds))
        self._zoned = rng.integers(0, 256, 3 * raw.size + 16, dtype=np.uint8)
        self._zones = self._zoned.copy()
        self._at = raw.size + (-(self._zoned.ctypes.data + raw.size)) % 16
        self._zoned[self._at : self._at + raw.size] = raw
        self._dtype = content.dtype
        self.pointer = self._zoned.ctypes.data + self._at

    @property
    def array(self) -> np.ndarray:
        """What is in it, as the type of what it was made from."""
        return self._zoned[self._at : self._at + self.num_bytes].view(self._dtype)

    def is_guarded(self) -> bool:
        """Whether nothing around it was written."""
        end = self._at + self.num_bytes
        return np.array_equal(self._zoned[: self._at], self._zones[: self._at]) and np.array_equal(
            self._zoned[end:], self._zones[end:]
        )


class Watched(ctypes.Structure):
    """What ``accesses.hpp`` counts for one buffer."""

    _fields_ = [
        (name, ctypes.c_ulonglong)
        for name in (
            "start", "size", "loaded", "stored", "num_loads", "num_stores", "num_outside",
        )
    ]  # fmt: skip


class Counter:
    """Bindings whose kernels count every access to the memories given, by name."""

    def __init__(self, build: Callable[..., Any]) -> None:
        self._build = build
        self.kernels = bound(build, is_counted=True)

    def library(self, family: str) -> Any:
        """Return the kernels of a family as they are counted."""
        return self._build(family, is_counted=True)

    def count(
        self, family: str, call: Callable[[], None], **memories: Memory
    ) -> dict[str, Watched]:
        """Return what the kernels of a family did to each memory during a call."""
        watched = (Watched * len(memories))(
            *(Watched(memory.pointer, memory.num_bytes) for memory in memories.values())
        )
        library = self.library(family).library
        library.watch(watched, ctypes.c_uint(len(memories)))
        try:
            call()
        finally:
            library.watch(None, ctypes.c_uint(0))
        assert all(memory.is_guarded() for memory in memories.values())
        assert not any(one.num_outside for one in watched)
        return dict(zip(memories, watched, strict=True))


def bound(build: Callable[..., Any], is_counted: bool = False) -> Kernels:
    """Return the bindings over kernels that run at once, on the CPU."""

    def function(family: str, name: str) -> Callable[..., None]:
        def run(grid: Sequence[int], block: Sequence[int], args: tuple[Any, ...]) -> None:
            build(family, is_counted=is_counted).launch(name, grid, block[0], *args)

        return run

    return Kernels(
        {name: function(family, name) for family in kernels.FAMILIES for name in names_of(family)},
        NUM_SMS,
    )


def names_of(family: str) -> list[str]:
    """Return the kernels of a family, in the order of its text."""
    return kernels.kernel_names(kernels.source(f"{family}.cu"))
