"""The pool of KV-cache blocks: fixed in number, counted by reference, deterministic in order."""

from __future__ import annotations

from collections.abc import Sequence

from topoprobe.serving.events import ProtocolError


class BlockPool:
    """Hands out block numbers and takes them back.

    The block that was freed last is handed out first, so equal histories give equal tables. A
    block with several holders is free when the last of them lets go.

    Attributes
    ----------
    num_blocks : int
        Blocks in the pool, numbered from 0.
    peak_used : int
        Most blocks that were ever in use at once.
    """

    __slots__ = ("_extra_holders", "_free", "num_blocks", "peak_used")

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.peak_used = 0
        self._free = list(range(num_blocks - 1, -1, -1))  # a stack: the end is handed out first
        self._extra_holders: dict[int, int] = {}  # holders beyond the first

    @property
    def num_free(self) -> int:
        """Number of blocks that can be allocated now."""
        return len(self._free)

    @property
    def num_used(self) -> int:
        """Number of blocks with at least one holder."""
        return self.num_blocks - len(self._free)

    def upcoming(self, count: int) -> list[int]:
        """Look at the blocks that the next `count` allocations will give, without taking them."""
        return self._free[: -count - 1 : -1] if count else []

    def allocate(self, count: int) -> list[int]:
        """Take `count` blocks.

        Raises
        ------
        ProtocolError
            If fewer are free.
        """
        if count > len(self._free):
            raise ProtocolError(
                f"{count} KV blocks were asked for and {len(self._free)} are free; ask num_free "
                "first."
            )
        taken = self.upcoming(count)
        del self._free[len(self._free) - count :]
        self.peak_used = max(self.peak_used, self.num_used)
        return taken

    def share(self, blocks: Sequence[int]) -> None:
        """Add a holder to each of `blocks`, which are in use."""
        for block in blocks:
            self._extra_holders[block] = self._extra_holders.get(block, 0) + 1

    def release(self, blocks: Sequence[int]) -> None:
        """Let one holder of each of `blocks` go; the first of them is the first to be reused.

        Raises
        ------
        ProtocolError
            If more blocks would be free than there are.
        """
        if self._extra_holders:
            blocks = [block for block in blocks if not self._drop_holder(block)]
        self._free.extend(reversed(blocks))
        if len(self._free) > self.num_blocks:
            raise ProtocolError("A KV block was released twice; each holder releases it once.")

    def _drop_holder(self, block: int) -> bool:
        """Tell whether `block` still has a holder after one has let go."""
        extra = self._extra_holders.pop(block, 0)
        if extra > 1:
            self._extra_holders[block] = extra - 1
        return extra > 0
