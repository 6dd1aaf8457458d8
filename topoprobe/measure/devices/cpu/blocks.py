"""Moving KV blocks between two pools of host memory, in competing variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topoprobe.measure.devices.cpu.libraries import has_module

Pool = NDArray[np.float64]
"""Shape (num_blocks, words_per_block)."""

Table = NDArray[np.int64]
"""Shape (num_entries,): indices of blocks, each at most once."""

Move = Callable[[Pool, Pool, Table, Table, Pool], None]
"""``move(target, source, target_blocks, source_blocks, staging)`` copies one block per entry.

`staging` has room for all of them; a variant that needs two passes goes through it.
"""


@dataclass(frozen=True, slots=True)
class MoveVariant:
    """One way to move blocks; `missing` says why it cannot run here.

    Attributes
    ----------
    name : str
        ``numba`` (a loop), ``numba_nt`` (stores past the cache), ``numpy`` (take, then put) or
        ``torch`` (index_select, then index_copy).
    """

    name: str
    move: Move | None
    missing: str | None = None


def move_variants() -> tuple[MoveVariant, ...]:
    """Return all variants; those that cannot run here say why."""
    return (*_numba_variants(), MoveVariant("numpy", _take_and_put), _torch_variant())


def _take_and_put(
    target: Pool, source: Pool, target_blocks: Table, source_blocks: Table, staging: Pool
) -> None:
    # Indices are in range; "clip" only spares numpy a buffered copy.
    np.take(source, source_blocks, axis=0, out=staging, mode="clip")
    target[target_blocks] = staging


def _numba_variants() -> tuple[MoveVariant, ...]:
    if not has_module("numba"):
        reason = "numba is not installed; pip install 'topoprobe[bench]'"
        return tuple(MoveVariant(name, None, reason) for name in ("numba", "numba_nt"))
    from topoprobe.measure.devices.cpu import block_loops

    def unsigned(loop: Callable[..., Any]) -> Move:
        # A signed index costs the loop a test for wrapping round at every access.
        def move(
            target: Pool, source: Pool, target_blocks: Table, source_blocks: Table, staging: Pool
        ) -> None:
            loop(target, source, target_blocks.view(np.uint64), source_blocks.view(np.uint64))

        return move

    return (
        MoveVariant("numba", unsigned(block_loops.move)),
        MoveVariant("numba_nt", unsigned(block_loops.move_past_cache)),
    )


def _torch_variant() -> MoveVariant:
    if not has_module("torch"):
        return MoveVariant("torch", None, "torch is not installed; pip install 'topoprobe[torch]'")
    import torch

    def move(
        target: Pool, source: Pool, target_blocks: Table, source_blocks: Table, staging: Pool
    ) -> None:
        staged = torch.from_numpy(staging)
        torch.index_select(torch.from_numpy(source), 0, torch.from_numpy(source_blocks), out=staged)
        torch.from_numpy(target).index_copy_(0, torch.from_numpy(target_blocks), staged)

    return MoveVariant("torch", move)
