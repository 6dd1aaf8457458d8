"""Compiling kernels with numba; imported only where numba is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import extending

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile on first use, without the GIL, and cache the machine code on disk where possible.

    ``error_model="numpy"`` and ``boundscheck=False`` leave nothing in the loop but the loop;
    ``fastmath`` is not set, so that results can be compared with numpy's bit for bit or nearly so.
    """
    compile_: Any = numba.njit
    options = {"nogil": True, "error_model": "numpy", "boundscheck": False}
    try:
        made = compile_(cache=True, **options)(function)
    except RuntimeError:  # neither the source's folder nor the user's cache can be written
        made = compile_(**options)(function)
    return cast("F", made)


def intrinsic(function: Callable[..., Any]) -> Any:
    """Make a function that emits LLVM code; it sees constant arguments as literals."""
    # numba cannot express that an intrinsic's caller leaves out the first argument.
    make: Any = extending.intrinsic
    return make(prefer_literal=True)(function)


def widest_vector_bytes() -> int:
    """Return the width of this CPU's widest floating-point vector registers."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16
