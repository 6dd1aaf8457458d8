"""Threads that numpy's BLAS and torch start by themselves, limited for a while."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

# numpy's wheels carry an OpenBLAS whose names have a prefix and, with 64-bit integers, a suffix.
_OPENBLAS_NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")


def has_module(name: str) -> bool:
    """Tell whether a module is installed, without importing it."""
    return name in sys.modules or find_spec(name) is not None


def numba_gap() -> str | None:
    """Say why kernels cannot be compiled here, or None."""
    if has_module("numba"):
        return None
    return "numba is not installed; pip install 'topoprobe[bench]'"


@contextmanager
def library_threads(num_threads: int) -> Iterator[None]:
    """Let numpy's BLAS and torch use `num_threads` threads; undone on leaving.

    A BLAS that cannot be told (see `can_limit_blas`) is left as it is.
    """
    setters: list[tuple[Callable[[int], object], int]] = []
    if has_module("torch"):
        import torch

        setters.append((torch.set_num_threads, torch.get_num_threads()))
    blas = _openblas()
    if blas is not None:
        get, set_ = blas
        setters.append((set_, get()))
    for set_threads, _ in setters:
        set_threads(num_threads)
    try:
        yield
    finally:
        for set_threads, before in setters:
            set_threads(before)


def compute_alone() -> None:
    """Let torch compute on the calling thread alone.

    OpenMP keeps a number for each thread: what `library_threads` says on one does not hold on
    another, whose helpers would run on the CPU that it is bound to, and wait for each other.
    """
    if has_module("torch"):
        import torch

        torch.set_num_threads(1)


def can_limit_blas() -> bool:
    """Tell whether numpy's BLAS is an OpenBLAS whose threads can be set."""
    return _openblas() is not None


@cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    import numpy  # noqa: F401 -- loads the library

    for path in _loaded_libraries("openblas"):
        library = ctypes.CDLL(path)
        for pattern in _OPENBLAS_NAMES:
            getter = getattr(library, pattern.format("get_num_threads"), None)
            setter = getattr(library, pattern.format("set_num_threads"), None)
            if getter is not None and setter is not None:
                return getter, setter
    return None


def _loaded_libraries(part: str) -> tuple[str, ...]:
    """Return paths of this process's loaded libraries whose file name contains `part`."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    paths = (line.split(maxsplit=5)[5] for line in lines if line.count("/") > 0)
    return tuple(dict.fromkeys(path for path in paths if part in Path(path).name))
