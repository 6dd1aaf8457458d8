"""A worker that can run: model, cache and executor for a shape, on a device, on some threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from topoprobe.records.calibration import ModelShape
from topoprobe.serving.runner.executor import Executor
from topoprobe.serving.runner.model import Decoder
from topoprobe.serving.runner.paged_cache import PagedCache
from topoprobe.serving.runner.weights import random_weights

BLOCK_SIZE = 16
WEIGHTS_SEED = 0


def open_worker(
    shape: ModelShape,
    *,
    num_blocks: int,
    max_positions: int,
    block_size: int = BLOCK_SIZE,
    device: torch.device | str = "cpu",
    on_layer: Callable[[int], None] = lambda index: None,
) -> Executor:
    """Allocate a model with weights from a fixed seed, and a KV cache.

    Parameters
    ----------
    shape : ModelShape
        The model.
    num_blocks, block_size : int
        KV blocks, and tokens in each.
    max_positions : int
        Tokens of the longest request, prompt and output together.
    device : torch device
        Where it computes.
    on_layer : callable
        Told the index of each layer before its weights are drawn.
    """
    weights = random_weights(shape, WEIGHTS_SEED, device, on_layer=on_layer)
    model = Decoder(shape, weights, max_positions=max_positions)
    return Executor(
        model, PagedCache(shape, num_blocks=num_blocks, block_size=block_size, device=device)
    )


def default_num_threads(num_cpus: int) -> int:
    """Leave one CPU to the rest of the machine.

    The threads of a step meet a hundred times in it and spin while they wait, so a neighbour that
    takes one of their CPUs for a moment holds all of them up.
    """
    return max(1, num_cpus - 1)


@contextmanager
def threads(num_threads: int) -> Iterator[None]:
    """Let torch compute on so many threads within the block, and as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
