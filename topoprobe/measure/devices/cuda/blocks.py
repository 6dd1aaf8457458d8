"""Ways to move KV blocks between a paged pool on a GPU and one in pinned host memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from topoprobe.measure.devices.cuda.batch import batch_gap
from topoprobe.measure.devices.cuda.device import MAX_COPIES_BEHIND_LATCH

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice, CudaStream
    from topoprobe.measure.devices.cuda.memory import CudaBuffer

Direction = Literal["out", "in"]
Table = npt.NDArray[np.int64]

MAX_BLOCKS = MAX_COPIES_BEHIND_LATCH
"""Most blocks moved at a time: each may be a copy in the queue of a stream that is held."""

_ENTRY_BYTES = 4


@dataclass(frozen=True, slots=True)
class Swap:
    """Blocks to move one way: entry i of one table belongs to entry i of the other.

    Attributes
    ----------
    direction : str
        ``out`` of the GPU, or ``in``.
    host_blocks, gpu_blocks : ndarray, shape (num_blocks,), int64
        Blocks of each pool.
    """

    direction: Direction
    host_blocks: Table
    gpu_blocks: Table


class Pools:
    """A pool on a GPU and one of the host, divided into blocks of one size.

    Parameters
    ----------
    device : CudaDevice
        Whose pool.
    local, host : CudaBuffer
        The pools, of equal size.
    staging : mapping
        Memory of the GPU as large as one swap, for each direction.
    block_bytes : int
        A multiple of 16.
    """

    def __init__(
        self,
        device: CudaDevice,
        local: CudaBuffer,
        host: CudaBuffer,
        staging: Mapping[Direction, CudaBuffer],
        block_bytes: int,
    ) -> None:
        self.device = device
        self.local = local
        self.host = host
        self.block_bytes = block_bytes
        self.num_blocks = local.num_bytes // block_bytes
        self._staging = staging
        self._tables = {
            direction: device.reserve(MAX_BLOCKS * _ENTRY_BYTES, "gpu") for direction in staging
        }

    def prepare(self, swap: Swap) -> None:
        """Give the GPU the table, which kernels read there."""
        self.device.store(self._tables[swap.direction], swap.gpu_blocks.astype(np.uint32))

    def copies(self, stream: CudaStream, swap: Swap) -> None:
        """Copy block by block, a call of the driver for each."""
        stream.copy_pieces(*self._addresses(swap), self.block_bytes)

    def batch(self, stream: CudaStream, swap: Swap) -> None:
        """Copy block by block, one call of the driver for all."""
        stream.copy_batch(*self._addresses(swap), self.block_bytes)

    def merged(self, stream: CudaStream, swap: Swap) -> None:
        """Copy all blocks at once: they follow each other in both pools."""
        host, local = self._run(self.host, swap.host_blocks), self._run(self.local, swap.gpu_blocks)
        ends = (host, local) if swap.direction == "out" else (local, host)
        stream.copy_async(*ends, host.num_bytes)

    def staged(self, stream: CudaStream, swap: Swap) -> None:
        """Gather by a kernel and copy once, or copy once and scatter."""
        host = self._run(self.host, swap.host_blocks)
        staging = self._staging[swap.direction].piece(0, host.num_bytes)
        table = self._entries(swap)
        kernels = self.device.kernels
        if swap.direction == "out":
            stream.launch(kernels.gather_blocks, staging, self.local, table, self.block_bytes)
            stream.copy_async(host, staging, host.num_bytes)
        else:
            stream.copy_async(staging, host, host.num_bytes)
            stream.launch(kernels.scatter_blocks, self.local, staging, table, self.block_bytes)

    def kernel(self, stream: CudaStream, swap: Swap) -> None:
        """Gather into the host's memory, or scatter out of it, by a kernel that reaches through."""
        host, table = self._run(self.host, swap.host_blocks), self._entries(swap)
        kernels = self.device.kernels
        if swap.direction == "out":
            stream.launch(kernels.gather_blocks, host, self.local, table, self.block_bytes)
        else:
            stream.launch(kernels.scatter_blocks, self.local, host, table, self.block_bytes)

    def _addresses(self, swap: Swap) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Return addresses of the targets and of the sources."""
        host = (self.host.pointer + swap.host_blocks * self.block_bytes).astype(np.uint64)
        local = (self.local.pointer + swap.gpu_blocks * self.block_bytes).astype(np.uint64)
        return (host, local) if swap.direction == "out" else (local, host)

    def _run(self, pool: CudaBuffer, blocks: Table) -> CudaBuffer:
        return pool.piece(int(blocks[0]) * self.block_bytes, len(blocks) * self.block_bytes)

    def _entries(self, swap: Swap) -> CudaBuffer:
        return self._tables[swap.direction].piece(0, len(swap.gpu_blocks) * _ENTRY_BYTES)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to move blocks.

    Attributes
    ----------
    name : str
        Named after the method of `Pools`.
    enqueue : callable
        Takes pools, stream and swap.
    needs_host_run : bool
        The blocks follow each other in the host's pool, wherever they are in the GPU's.
    needs_gpu_run : bool
        And in the GPU's as well.
    missing : str or None
        Why it cannot be used here.
    """

    name: str
    enqueue: Callable[[Pools, CudaStream, Swap], None]
    needs_host_run: bool = False
    needs_gpu_run: bool = False
    missing: str | None = None


def block_variants() -> tuple[Variant, ...]:
    """Return every way, those that cannot be used here with the reason."""
    return (
        Variant("copies", Pools.copies),
        Variant("batch", Pools.batch, missing=batch_gap()),
        Variant("merged", Pools.merged, needs_host_run=True, needs_gpu_run=True),
        Variant("staged", Pools.staged, needs_host_run=True),
        Variant("kernel", Pools.kernel, needs_host_run=True),
    )
