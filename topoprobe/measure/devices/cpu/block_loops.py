"""Compiled loops that move KV blocks between two pools, block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from topoprobe.measure.devices.cpu import vector_loops
from topoprobe.measure.devices.cpu.jit import compiled


@compiled
def move(
    target: NDArray[Any],
    source: NDArray[Any],
    target_blocks: NDArray[np.uint64],
    source_blocks: NDArray[np.uint64],
) -> None:
    """Set ``target[target_blocks[i]] = source[source_blocks[i]]`` for every entry."""
    for entry in range(target_blocks.size):
        to, origin = target[target_blocks[entry]], source[source_blocks[entry]]
        for word in range(to.size):
            to[word] = origin[word]


@compiled
def move_past_cache(
    target: NDArray[Any],
    source: NDArray[Any],
    target_blocks: NDArray[np.uint64],
    source_blocks: NDArray[np.uint64],
) -> None:
    """Do the same with stores past the cache; blocks as `vector_loops.check_groups` wants them."""
    for entry in range(target_blocks.size):
        origin = source[source_blocks[entry]]
        vector_loops.copy_32(target[target_blocks[entry]], origin, origin, 0.0)
