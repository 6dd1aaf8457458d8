"""Matrix products by the libraries that people use: numpy's BLAS and torch's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topoprobe.measure.devices.cpu.libraries import can_limit_blas, has_module

Multiply = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], None]
"""``multiply(out, x, y)`` sets ``out = x @ y``."""


@dataclass(frozen=True, slots=True)
class GemmVariant:
    """One library's product; `missing` says why it cannot run here with a given thread count."""

    name: str
    multiply: Multiply | None
    missing: str | None = None


def gemm_variants() -> tuple[GemmVariant, ...]:
    """Return all variants; those that cannot run here say why."""
    numpy_variant = GemmVariant("numpy", _multiply)
    if not can_limit_blas():
        numpy_variant = GemmVariant(
            "numpy", None, "numpy's BLAS is no OpenBLAS, whose threads could be set"
        )
    return (numpy_variant, _torch_variant())


def num_flop(size: int) -> int:
    """Return the operations of a product of square matrices: ``2 size^3``."""
    return 2 * size**3


def _multiply(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> None:
    np.matmul(x, y, out=out)


def _torch_variant() -> GemmVariant:
    if not has_module("torch"):
        return GemmVariant("torch", None, "torch is not installed; pip install 'topoprobe[torch]'")
    import torch

    def multiply(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> None:
        torch.mm(torch.from_numpy(x), torch.from_numpy(y), out=torch.from_numpy(out))

    return GemmVariant("torch", multiply)
