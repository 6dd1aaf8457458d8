"""One typed function per kernel of the folder `cuda/`: checks the arguments, chooses the launch.

A binding runs on the current CUDA stream (`CudaStream.launch` sets it) and returns at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np

from topoprobe.errors import UsageError

PAIR_BYTES = 16
WORD_BYTES = 8
_THREADS_PER_BLOCK = 256
# 8 blocks of 256 threads fill every multiprocessor from compute capability 7.0 on (8.6, 8.9 and
# 12.0 hold 1536 threads; their remaining blocks follow).
_BLOCKS_PER_SM = 8
# The most blocks that a grid may have in y, on every architecture.
_MAX_GRID_Y = 65535

Dim = tuple[int, ...]
Grid = Literal["strided", "one_pass"]


class Function(Protocol):
    """A loaded kernel, as CuPy's ``Function``."""

    def __call__(self, grid: Dim, block: Dim, args: tuple[Any, ...]) -> None:
        """Enqueue it on the current stream."""


class DeviceMemory(Protocol):
    """Memory that a kernel can reach."""

    num_bytes: int
    pointer: int


class Kernels:
    """The kernels of one GPU.

    Parameters
    ----------
    functions : mapping
        Loaded kernels by name.
    num_sms : int
        Multiprocessors of the GPU.
    """

    def __init__(self, functions: Mapping[str, Function], num_sms: int) -> None:
        self._functions = functions
        self._num_sms = num_sms

    def copy(self, c: DeviceMemory, a: DeviceMemory, grid: Grid = "strided") -> None:
        """Store ``c = a``; buffers of equal size, a multiple of 16 bytes."""
        self._stream("stream_copy", (c, a), (), grid)

    def scale(
        self, b: DeviceMemory, c: DeviceMemory, scalar: float, grid: Grid = "strided"
    ) -> None:
        """Store ``b = scalar * c`` of float64."""
        self._stream("stream_scale", (b, c), (np.float64(scalar),), grid)

    def add(
        self, c: DeviceMemory, a: DeviceMemory, b: DeviceMemory, grid: Grid = "strided"
    ) -> None:
        """Store ``c = a + b`` of float64."""
        self._stream("stream_add", (c, a, b), (), grid)

    def triad(
        self,
        a: DeviceMemory,
        b: DeviceMemory,
        c: DeviceMemory,
        scalar: float,
        grid: Grid = "strided",
    ) -> None:
        """Store ``a = b + scalar * c`` of float64.

        Parameters
        ----------
        a, b, c : DeviceMemory
            Buffers of equal size, a multiple of 16 bytes.
        scalar : float
            Factor.
        grid : str
            ``strided`` fills the GPU once and strides; ``one_pass`` gives each pair of numbers its
            own thread.
        """
        self._stream("stream_triad", (a, b, c), (np.float64(scalar),), grid)

    def num_read_sums(self, a: DeviceMemory) -> int:
        """Return how many words `read` stores for this buffer, one per thread."""
        num_pairs = _num_units((a,), PAIR_BYTES)
        return self._num_blocks(num_pairs, "strided") * _THREADS_PER_BLOCK

    def read(self, a: DeviceMemory, sums: DeviceMemory) -> None:
        """XOR all words of `a` into `num_read_sums` words of `sums`."""
        num_sums = self.num_read_sums(a)
        if sums.num_bytes < num_sums * WORD_BYTES:
            raise UsageError(
                f"stream_read stores {num_sums * WORD_BYTES} bytes and was given "
                f"{sums.num_bytes}; allocate more."
            )
        num_pairs = _num_units((a,), PAIR_BYTES)
        num_blocks = num_sums // _THREADS_PER_BLOCK
        self._launch("stream_read", num_blocks, _address(a), _address(sums), np.uint64(num_pairs))

    def write(self, a: DeviceMemory, value: float) -> None:
        """Store one float64 everywhere."""
        self._stream("stream_write", (a,), (np.float64(value),), "strided")

    def fill_pattern(self, memory: DeviceMemory, seed: int) -> None:
        """Fill with the words of the verification pattern; size a multiple of 8 bytes."""
        self._fill("pattern_fill", memory, seed)

    def fill_floats(self, memory: DeviceMemory, seed: int) -> None:
        """Fill with random float64 in [1, 2); size a multiple of 8 bytes."""
        self._fill("pattern_fill_floats", memory, seed)

    def verify_pattern(
        self, memory: DeviceMemory, seed: int, poison_seed: int, report: DeviceMemory
    ) -> None:
        """Compare with the pattern of `seed`, telling words that still hold `poison_seed`'s.

        `report` has 3 uint64: the first wrong index (set it to all ones before), the number of
        words never written, the number of words corrupted.
        """
        num_words = _num_units((memory,), WORD_BYTES)
        _num_units((report,), 3 * WORD_BYTES)
        self._launch(
            "pattern_verify",
            self._num_blocks(num_words, "strided"),
            _address(memory), np.uint64(seed), np.uint64(poison_seed), np.uint64(0),
            np.uint64(num_words), _address(report),
        )  # fmt: skip

    def gather_blocks(
        self, staging: DeviceMemory, pool: DeviceMemory, table: DeviceMemory, block_bytes: int
    ) -> None:
        """Copy the pool's blocks named by `table` (uint32) to `staging`, one after the other."""
        self._move_blocks("kv_gather", staging, pool, staging, table, block_bytes)

    def scatter_blocks(
        self, pool: DeviceMemory, staging: DeviceMemory, table: DeviceMemory, block_bytes: int
    ) -> None:
        """Copy `staging`, block by block, to the pool's blocks named by `table` (uint32)."""
        self._move_blocks("kv_scatter", pool, staging, staging, table, block_bytes)

    def nothing(self) -> None:
        """Run the empty kernel."""
        self._functions["launch_nothing"]((1,), (1,), ())

    def wait_for(self, flag: int, outcome: int, timeout_s: float) -> None:
        """Hold the stream until the uint32 at address `flag` is set; see ``cuda/latch.cu``."""
        self._functions["latch_wait"](
            (1,), (1,), (np.uint64(flag), np.uint64(outcome), np.uint64(timeout_s * 1e9))
        )

    def preload(self, scratch: DeviceMemory, flag: int, outcome: int) -> None:
        """Run every kernel once on nothing.

        CUDA loads a kernel at its first launch and waits for the device meanwhile; behind a closed
        latch that would never end.

        Parameters
        ----------
        scratch : DeviceMemory
            At least 8 bytes.
        flag, outcome : int
            As in `wait_for`.
        """
        none, zero, scalar = np.uint64(0), np.uint64(0), np.float64(0)
        empty: dict[str, tuple[Any, ...]] = {
            "kv_gather": (none, none, none, np.uint32(0), np.uint32(0)),
            "kv_scatter": (none, none, none, np.uint32(0), np.uint32(0)),
            "latch_wait": (np.uint64(flag), np.uint64(outcome), zero),
            "launch_nothing": (),
            "pattern_fill": (none, zero, zero, zero),
            "pattern_fill_floats": (none, zero, zero, zero),
            "pattern_verify": (none, zero, zero, zero, zero, none),
            "stream_copy": (none, none, zero),
            "stream_scale": (none, none, scalar, zero),
            "stream_add": (none, none, none, zero),
            "stream_triad": (none, none, none, scalar, zero),
            "stream_read": (none, _address(scratch), zero),
            "stream_write": (none, scalar, zero),
        }
        for name, function in self._functions.items():
            function((1,), (1,), empty[name])

    def _stream(
        self,
        name: str,
        memories: tuple[DeviceMemory, ...],
        scalars: tuple[Any, ...],
        grid: Grid,
    ) -> None:
        num_pairs = _num_units(memories, PAIR_BYTES)
        addresses = tuple(_address(memory) for memory in memories)
        num_blocks = self._num_blocks(num_pairs, grid)
        self._launch(name, num_blocks, *addresses, *scalars, np.uint64(num_pairs))

    def _fill(self, name: str, memory: DeviceMemory, seed: int) -> None:
        num_words = _num_units((memory,), WORD_BYTES)
        num_blocks = self._num_blocks(num_words, "strided")
        self._launch(
            name, num_blocks, _address(memory), np.uint64(seed), np.uint64(0), np.uint64(num_words)
        )

    def _move_blocks(
        self,
        name: str,
        target: DeviceMemory,
        source: DeviceMemory,
        staging: DeviceMemory,
        table: DeviceMemory,
        block_bytes: int,
    ) -> None:
        if block_bytes <= 0 or block_bytes % PAIR_BYTES:
            raise UsageError(
                f"A KV block of {block_bytes} bytes cannot be moved; "
                f"expected a multiple of {PAIR_BYTES}."
            )
        num_blocks = _num_units((table,), 4)
        if staging.num_bytes < num_blocks * block_bytes:
            raise UsageError(
                f"{num_blocks} blocks of {block_bytes} bytes do not fit the staging area of "
                f"{staging.num_bytes} bytes."
            )
        vectors = block_bytes // PAIR_BYTES
        columns = -(-vectors // _THREADS_PER_BLOCK)
        rows = min(num_blocks, _MAX_GRID_Y)
        self._functions[name](
            (columns, rows),
            (_THREADS_PER_BLOCK,),
            (
                _address(target), _address(source), _address(table),
                np.uint32(num_blocks), np.uint32(vectors),
            ),
        )  # fmt: skip

    def _num_blocks(self, num_elements: int, grid: Grid) -> int:
        covering = max(1, -(-num_elements // _THREADS_PER_BLOCK))
        return covering if grid == "one_pass" else min(covering, self._num_sms * _BLOCKS_PER_SM)

    def _launch(self, name: str, num_blocks: int, *arguments: Any) -> None:
        self._functions[name]((num_blocks,), (_THREADS_PER_BLOCK,), arguments)


def _address(memory: DeviceMemory) -> np.uint64:
    return np.uint64(memory.pointer)


def _num_units(memories: tuple[DeviceMemory, ...], unit_bytes: int) -> int:
    """Return how many units each of the buffers holds, which must be the same number."""
    sizes = {memory.num_bytes for memory in memories}
    num_bytes = sizes.pop()
    if sizes or num_bytes % unit_bytes:
        found = ", ".join(str(memory.num_bytes) for memory in memories)
        raise UsageError(
            f"A kernel was given buffers of {found} bytes; expected equal multiples of "
            f"{unit_bytes}."
        )
    return num_bytes // unit_bytes
