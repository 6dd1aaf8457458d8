"""The paged KV cache: blocks of tokens for all layers, written by slot and read by block table."""

from __future__ import annotations

import torch

from topoprobe.records.calibration import ModelShape
from topoprobe.serving.runner.weights import torch_dtype


class PagedCache:
    """Keys and values of every cached token, in blocks that any request may own.

    A *slot* is the place of one token: ``block * block_size + offset``. Which blocks a request
    owns, and in which order, is the scheduler's business; the cache is told block numbers only.

    Attributes
    ----------
    num_blocks, block_size : int
        Blocks, and tokens per block.
    keys, values : Tensor, shape (num_layers, num_blocks, block_size, num_kv_heads, head_dim)
        The memory. A block of one layer is contiguous.
    """

    def __init__(
        self,
        shape: ModelShape,
        *,
        num_blocks: int,
        block_size: int = 16,
        device: torch.device | str = "cpu",
    ) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        size = (shape.num_layers, num_blocks, block_size, shape.num_kv_heads, shape.head_dim)
        # Zeroed, for a padded row reads a block before it was written, and what is masked out must
        # still be a number; and by writing, so that no later step pays for its page faults.
        self.keys = torch.empty(size, dtype=torch_dtype(shape), device=device).zero_()
        self.values = torch.empty_like(self.keys).zero_()
        self._key_slots = self.keys.view(shape.num_layers, -1, *size[3:])
        self._value_slots = self.values.view(shape.num_layers, -1, *size[3:])
        self._scratch = self.keys.new_empty(2, 0, *size[2:])

    def write(
        self, layer: int, slots: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> None:
        """Store the keys and values of new tokens.

        Parameters
        ----------
        layer : int
            The layer they belong to.
        slots : Tensor, shape (n,), int64
            Where each token goes.
        keys, values : Tensor, shape (n, num_kv_heads, head_dim)
            What is stored.
        """
        self._key_slots[layer].index_copy_(0, slots, keys)
        self._value_slots[layer].index_copy_(0, slots, values)

    def read(
        self, layer: int, block_ids: torch.Tensor, num_rows: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gather the blocks of `num_rows` requests, equally many of each.

        The result lies in memory that the next call overwrites: gathering into fresh memory would
        pay for its page faults in every layer of every step.

        Parameters
        ----------
        layer : int
            The layer to read.
        block_ids : Tensor, shape (num_rows * blocks_per_row,), int64
            Block tables, one row after another.
        num_rows : int
            Number of requests.

        Returns
        -------
        keys, values : Tensor, shape (num_rows, num_kv_heads, tokens, head_dim)
            With ``tokens = blocks_per_row * block_size``.
        """
        num_gathered = len(block_ids)
        if self._scratch.shape[1] < num_gathered:
            self._scratch = self._scratch.new_empty(2, num_gathered, *self._scratch.shape[2:])
        keys, values = self._scratch[:, :num_gathered]
        torch.index_select(self.keys[layer], 0, block_ids, out=keys)
        torch.index_select(self.values[layer], 0, block_ids, out=values)
        rows = (num_rows, -1, *self._scratch.shape[3:])
        return keys.view(rows).transpose(1, 2), values.view(rows).transpose(1, 2)
