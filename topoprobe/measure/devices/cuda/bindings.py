"""One typed function per kernel of the folder `cuda/`: checks the arguments, chooses the launch.

A binding runs on the current CUDA stream (`CudaStream.launch` sets it) and returns at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np

from topoprobe.errors import EnvironmentMissing, UsageError
from topoprobe.measure.devices.cuda.chase import BOARD_BYTES, OUT_BYTES
from topoprobe.measure.devices.cuda.floats import FLOAT_TYPES, FloatType
from topoprobe.measure.flows import KERNEL_ACCESS_BYTES

PAIR_BYTES = 16
WORD_BYTES = 8
PRELOAD_BYTES = 256
"""Scratch memory that `Kernels.preload` needs."""

ACCESS_BYTES = KERNEL_ACCESS_BYTES
"""Sizes of access that the zero-copy kernels make."""

# The data of an intensity sweep fall into as many equal parts as a thread has vectors, at most 4.
_INTENSITY_BYTES = 64
# Accesses nearer than this may leave an SM as one request (a line of its cache).
_LINE_BYTES = 128
_COPY_THREADS_PER_BLOCK = 512
_VECTORS_PER_LOAD_THREAD = 4
_CHASER_TIMEOUT_S = 1.0
# The longest sleep of the instruction `nanosleep`.
_MAX_PAUSE_S = 1e-3
_THREADS_PER_BLOCK = 256
# 8 blocks of 256 threads fill every multiprocessor from compute capability 7.0 on (8.6, 8.9 and
# 12.0 hold 1536 threads; their remaining blocks follow).
_BLOCKS_PER_SM = 8
# The most blocks that a grid may have in y, on every architecture.
_MAX_GRID_Y = 65535

Dim = tuple[int, ...]
Grid = Literal["strided", "one_pass"] | int
"""``strided`` fills the GPU once and strides, ``one_pass`` gives each pair of numbers its own
thread, and a number is that of the blocks."""


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

    @property
    def num_filling(self) -> int:
        """Blocks that fill the GPU."""
        return self._num_sms * _BLOCKS_PER_SM

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
        grid : str or int
            See `Grid`.
        """
        self._stream("stream_triad", (a, b, c), (np.float64(scalar),), grid)

    def num_read_sums(self, a: DeviceMemory, grid: Grid = "strided") -> int:
        """Return how many words `read` stores for this buffer, one per thread."""
        num_pairs = _num_units((a,), PAIR_BYTES)
        return self._num_blocks(num_pairs, grid) * _THREADS_PER_BLOCK

    def read(self, a: DeviceMemory, sums: DeviceMemory, grid: Grid = "strided") -> None:
        """XOR all words of `a` into `num_read_sums` words of `sums`."""
        num_sums = self.num_read_sums(a, grid)
        _require_room("stream_read", sums.num_bytes, num_sums * WORD_BYTES)
        num_pairs = _num_units((a,), PAIR_BYTES)
        num_blocks = num_sums // _THREADS_PER_BLOCK
        self._launch("stream_read", num_blocks, _address(a), _address(sums), np.uint64(num_pairs))

    def write(self, a: DeviceMemory, value: float, grid: Grid = "strided") -> None:
        """Store one float64 everywhere."""
        self._stream("stream_write", (a,), (np.float64(value),), grid)

    def fill_pattern(self, memory: DeviceMemory, seed: int) -> None:
        """Fill with the words of the verification pattern; size a multiple of 8 bytes."""
        self._fill("pattern_fill", memory, seed)

    def fill_floats(self, memory: DeviceMemory, seed: int, float_type: FloatType = "fp64") -> None:
        """Fill with random numbers in [1, 2); size a multiple of 8 bytes."""
        layout = FLOAT_TYPES[float_type]
        self._fill("pattern_fill_floats", memory, seed, layout.mantissa_word, layout.one_word)

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

    def num_gemv_parts(self, weights: DeviceMemory, vector: DeviceMemory) -> int:
        """Return in how many parts `gemv` leaves its sums: as many as fill the GPU."""
        num_rows, num_vectors = _matrix(weights, vector)
        return max(1, min(num_rows, self.num_filling // self._num_columns(num_vectors)))

    def gemv(self, weights: DeviceMemory, vector: DeviceMemory, partial: DeviceMemory) -> None:
        """Multiply a vector with a matrix of float32.

        Parameters
        ----------
        weights : DeviceMemory
            Row after row, as many as `vector` has numbers; rows are a multiple of 16 bytes.
        vector : DeviceMemory
            float32.
        partial : DeviceMemory
            `num_gemv_parts` rows of float32, whose sum is the product.
        """
        num_rows, num_vectors = _matrix(weights, vector)
        num_parts = self.num_gemv_parts(weights, vector)
        _require_room("gemv", partial.num_bytes, num_parts * num_vectors * PAIR_BYTES)
        self._functions["gemv"](
            (self._num_columns(num_vectors), num_parts),
            (_THREADS_PER_BLOCK,),
            (
                _address(weights), _address(vector), _address(partial), np.uint64(num_rows),
                np.uint64(num_vectors),
            ),
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

    def sm_copy(
        self, target: DeviceMemory, source: DeviceMemory, num_bytes: int, num_blocks: int
    ) -> None:
        """Copy the first `num_bytes`, a multiple of 16, by `num_blocks` blocks of 512 threads.

        Either may be another GPU's memory or pinned memory of the host.
        """
        if num_bytes <= 0 or num_bytes % PAIR_BYTES or num_blocks <= 0:
            raise UsageError(
                f"{num_blocks} blocks cannot copy {num_bytes} bytes; expected at least one block "
                f"and a positive multiple of {PAIR_BYTES} bytes."
            )
        _require_room("sm_copy", min(target.num_bytes, source.num_bytes), num_bytes)
        self._functions["sm_copy"](
            (num_blocks,),
            (_COPY_THREADS_PER_BLOCK,),
            (_address(target), _address(source), np.uint64(num_bytes // PAIR_BYTES)),
        )

    def flush_l2(self, scratch: DeviceMemory, l2_bytes: int) -> None:
        """Drive everything else out of the L2 cache, by writing a scratch area of its size or more.

        The cache is left full of written lines; what runs next pays for their way to memory, so
        that a sample should move much more than `l2_bytes`.
        """
        _require_room("A flush of the L2 cache", scratch.num_bytes, l2_bytes)
        self.write(scratch, 0.0)

    def chase(
        self,
        ring: DeviceMemory,
        out: DeviceMemory,
        num_hops: int,
        num_warm_hops: int = 0,
        first_word: int = 0,
    ) -> None:
        """Follow a ring (`chase.ring_words`) by one thread; `chase.Chase` reads what `out` holds.

        Parameters
        ----------
        ring : DeviceMemory
            uint32 words, on the GPU or in pinned memory.
        out : DeviceMemory
            At least `chase.OUT_BYTES`.
        num_hops, num_warm_hops : int
            Loads to time, and loads before them.
        first_word : int
            Word of the ring to start at.
        """
        _require_hops(num_hops, num_warm_hops)
        _require_room("pointer_chase", out.num_bytes, OUT_BYTES)
        _require_room("The ring of pointer_chase", ring.num_bytes, 4 * (first_word + 1))
        self._functions["pointer_chase"](
            (1,),
            (1,),
            (
                _address(ring), _address(out), np.uint32(first_word),
                np.uint32(num_warm_hops), np.uint32(num_hops),
            ),
        )  # fmt: skip

    def loaded_chase(
        self,
        ring: DeviceMemory,
        load: DeviceMemory,
        board: DeviceMemory,
        num_hops: int,
        num_warm_hops: int,
        write_sixteenths: int = 0,
        pause_s: float = 0.0,
        first_word: int = 0,
    ) -> None:
        """Follow a ring on one SM while all others stream through `load`.

        `chase.LoadedChase` reads what `board` holds afterwards.

        Parameters
        ----------
        ring : DeviceMemory
            uint32 words, on the GPU or in pinned memory.
        load : DeviceMemory
            What the streamers go through: far larger than the L2 cache, so that it is memory that
            they load.
        board : DeviceMemory
            At least `chase.BOARD_BYTES` of the GPU's own memory.
        num_hops, num_warm_hops : int
            Loads to time, and loads before them, during which the streamers get going: 10 000 are
            some milliseconds.
        write_sixteenths : int
            Of 16 chunks of 16 KiB, how many are written; the others are read.
        pause_s : float
            Rest of each warp after each chunk, at most 1 ms; the load that results is measured,
            not derived from it.
        first_word : int
            Word of the ring to start at.
        """
        _require_hops(num_hops, num_warm_hops)
        _require_room("loaded_chase", board.num_bytes, BOARD_BYTES)
        num_blocks = self.num_filling
        chunk_bytes = _VECTORS_PER_LOAD_THREAD * PAIR_BYTES * _THREADS_PER_BLOCK
        _require_room("The load of loaded_chase", load.num_bytes, (num_blocks - 1) * chunk_bytes)
        if not 0 <= write_sixteenths <= 16 or not 0.0 <= pause_s <= _MAX_PAUSE_S:
            raise UsageError(
                f"A load cannot write {write_sixteenths} sixteenths with pauses of {pause_s} s; "
                f"expected 0 to 16, and at most {_MAX_PAUSE_S} s."
            )
        self._functions["loaded_chase_reset"]((1,), (1,), (_address(board),))
        self._launch(
            "loaded_chase",
            num_blocks,
            _address(ring), _address(load), _address(board), np.uint32(first_word),
            np.uint32(num_warm_hops), np.uint32(num_hops),
            np.uint64(load.num_bytes // PAIR_BYTES), np.uint32(write_sixteenths),
            np.uint32(round(pause_s * 1e9)), np.uint64(_CHASER_TIMEOUT_S * 1e9),
        )  # fmt: skip

    @property
    def intensity_types(self) -> tuple[FloatType, ...]:
        """Number types that `intensity` computes with on this GPU; bf16 needs capability 8.0."""
        return tuple(name for name in FLOAT_TYPES if f"intensity_{name}" in self._functions)

    def intensity(self, data: DeviceMemory, float_type: FloatType, num_rounds: int) -> None:
        """Replace every number x by 3 - x, `num_rounds` times: as many multiply-adds of 2 flop.

        Parameters
        ----------
        data : DeviceMemory
            Numbers in [1, 2] (`fill_floats`); size a multiple of 64 bytes. An even number of
            rounds leaves them as they were.
        float_type : str
            One of `intensity_types`.
        num_rounds : int
            Multiples of 16 keep the loop's own cost below the arithmetic's.

        Raises
        ------
        EnvironmentMissing
            If the GPU has no arithmetic of that type.
        """
        if float_type not in self.intensity_types:
            raise EnvironmentMissing(f"This GPU has no multiply-add of {float_type}.")
        num_vectors = _num_units((data,), _INTENSITY_BYTES) * (_INTENSITY_BYTES // PAIR_BYTES)
        layout = FLOAT_TYPES[float_type]
        self._launch(
            f"intensity_{float_type}",
            self._num_blocks(num_vectors // layout.vectors_per_thread, "strided"),
            _address(data), layout.argument(-1.0), layout.argument(3.0), np.uint32(num_rounds),
            np.uint64(num_vectors),
        )  # fmt: skip

    def num_zero_copy_sums(self, num_accesses: int, access_bytes: int) -> int:
        """Return how many words `zero_copy_read` stores, one per thread."""
        num_lanes = _num_lanes(access_bytes)
        return self._num_blocks(num_accesses * num_lanes, "strided") * _THREADS_PER_BLOCK

    def zero_copy_read(
        self,
        memory: DeviceMemory,
        sums: DeviceMemory,
        access_bytes: int,
        stride_bytes: int,
        num_accesses: int,
    ) -> None:
        """Read `access_bytes` at every multiple of `stride_bytes`, straight over the link.

        Parameters
        ----------
        memory : DeviceMemory
            Pinned memory of the host or another GPU's; the L2 cache keeps no part of it if it is
            much larger.
        sums : DeviceMemory
            `num_zero_copy_sums` words: the XOR of what each thread read.
        access_bytes : int
            One of `ACCESS_BYTES`; those up to 128 leave an SM as one request.
        stride_bytes : int
            Distance of the accesses: a multiple of 128 bytes, so that none are merged.
        num_accesses : int
            How many.
        """
        num_sums = self.num_zero_copy_sums(num_accesses, access_bytes)
        _require_room("zero_copy_read", sums.num_bytes, num_sums * WORD_BYTES)
        _require_accesses(memory, access_bytes, stride_bytes, num_accesses)
        self._launch(
            "zero_copy_read",
            num_sums // _THREADS_PER_BLOCK,
            _address(memory), _address(sums), np.uint32(_num_lanes(access_bytes)),
            np.uint64(stride_bytes // PAIR_BYTES), np.uint64(num_accesses),
        )  # fmt: skip

    def zero_copy_write(
        self,
        memory: DeviceMemory,
        seed: int,
        access_bytes: int,
        stride_bytes: int,
        num_accesses: int,
    ) -> None:
        """Write `pattern.paired_words` where `zero_copy_read` would read."""
        _require_accesses(memory, access_bytes, stride_bytes, num_accesses)
        num_lanes = _num_lanes(access_bytes)
        self._launch(
            "zero_copy_write",
            self._num_blocks(num_accesses * num_lanes, "strided"),
            _address(memory), np.uint64(seed), np.uint32(num_lanes),
            np.uint64(stride_bytes // PAIR_BYTES), np.uint64(num_accesses),
        )  # fmt: skip

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
            At least `PRELOAD_BYTES`.
        flag, outcome : int
            As in `wait_for`.
        """
        none, zero, zero32, scalar = np.uint64(0), np.uint64(0), np.uint32(0), np.float64(0)
        place = _address(scratch)
        empty: dict[str, tuple[Any, ...]] = {
            **{
                f"intensity_{name}": (none, layout.argument(0), layout.argument(0), zero32, zero)
                for name, layout in FLOAT_TYPES.items()
            },
            "gemv": (none, none, none, zero, zero),
            "kv_gather": (none, none, none, zero32, zero32),
            "kv_scatter": (none, none, none, zero32, zero32),
            "latch_wait": (np.uint64(flag), np.uint64(outcome), zero),
            "pointer_chase": (none, place, zero32, zero32, zero32),
            "loaded_chase_reset": (place,),
            "loaded_chase": (
                none, none, place, zero32, zero32, zero32, zero, zero32, zero32, zero,
            ),
            "launch_nothing": (),
            "pattern_fill": (none, zero, zero, zero),
            "pattern_fill_floats": (none, zero, zero, zero, zero, zero),
            "pattern_verify": (none, zero, zero, zero, zero, none),
            "sm_copy": (none, none, zero),
            "stream_copy": (none, none, zero),
            "stream_scale": (none, none, scalar, zero),
            "stream_add": (none, none, none, zero),
            "stream_triad": (none, none, none, scalar, zero),
            "stream_read": (none, place, zero),
            "stream_write": (none, scalar, zero),
            "zero_copy_read": (none, place, np.uint32(1), zero, zero),
            "zero_copy_write": (none, zero, np.uint32(1), zero, zero),
        }  # fmt: skip
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

    def _fill(self, name: str, memory: DeviceMemory, seed: int, *masks: int) -> None:
        num_words = _num_units((memory,), WORD_BYTES)
        self._launch(
            name,
            self._num_blocks(num_words, "strided"),
            _address(memory), np.uint64(seed), np.uint64(0), np.uint64(num_words),
            *(np.uint64(mask) for mask in masks),
        )  # fmt: skip

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
        rows = max(1, min(num_blocks, _MAX_GRID_Y))
        self._functions[name](
            (columns, rows),
            (_THREADS_PER_BLOCK,),
            (
                _address(target), _address(source), _address(table),
                np.uint32(num_blocks), np.uint32(vectors),
            ),
        )  # fmt: skip

    def _num_columns(self, num_vectors: int) -> int:
        """Return the blocks side by side over a row of a matrix."""
        return max(1, min(self.num_filling, -(-num_vectors // _THREADS_PER_BLOCK)))

    def _num_blocks(self, num_elements: int, grid: Grid) -> int:
        covering = max(1, -(-num_elements // _THREADS_PER_BLOCK))
        if grid == "one_pass":
            return covering
        return min(covering, self.num_filling if grid == "strided" else grid)

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


def _matrix(weights: DeviceMemory, vector: DeviceMemory) -> tuple[int, int]:
    """Return the rows of a float32 matrix, and their 16-byte vectors."""
    num_rows = vector.num_bytes // 4
    if num_rows == 0 or weights.num_bytes == 0 or weights.num_bytes % (num_rows * PAIR_BYTES):
        raise UsageError(
            f"A matrix of {weights.num_bytes} bytes has not {num_rows} equal rows of whole "
            f"vectors of {PAIR_BYTES} bytes."
        )
    return num_rows, weights.num_bytes // (num_rows * PAIR_BYTES)


def _require_room(what: str, num_bytes: int, needed_bytes: int) -> None:
    if num_bytes < needed_bytes:
        raise UsageError(f"{what} needs {needed_bytes} bytes and was given {num_bytes}.")


def _require_hops(num_hops: int, num_warm_hops: int) -> None:
    if not 0 < num_hops < 1 << 32 or not 0 <= num_warm_hops < 1 << 32:
        raise UsageError(
            f"A chase cannot take {num_warm_hops} and {num_hops} hops; expected at least one to "
            "time, and fewer than 2^32."
        )


def _num_lanes(access_bytes: int) -> int:
    if access_bytes not in ACCESS_BYTES:
        sizes = ", ".join(str(size) for size in ACCESS_BYTES)
        raise UsageError(f"An access of {access_bytes} bytes is not offered; expected {sizes}.")
    return access_bytes // PAIR_BYTES


def _require_accesses(
    memory: DeviceMemory, access_bytes: int, stride_bytes: int, num_accesses: int
) -> None:
    """Check that accesses lie apart from each other, on whole lines, and within the memory."""
    if stride_bytes % _LINE_BYTES or stride_bytes < access_bytes or num_accesses <= 0:
        raise UsageError(
            f"{num_accesses} accesses of {access_bytes} bytes cannot be {stride_bytes} bytes "
            f"apart; expected one at least, and a multiple of {_LINE_BYTES} that holds it."
        )
    needed_bytes = (num_accesses - 1) * stride_bytes + access_bytes
    _require_room("The memory of a zero-copy", memory.num_bytes, needed_bytes)
