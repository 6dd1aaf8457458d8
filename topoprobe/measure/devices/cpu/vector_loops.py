"""Loops over explicit vector registers, emitted as LLVM code: what a plain loop does not reach.

Three things are out of a plain loop's reach. Stores that bypass the cache (``nontemporal``) spare
the read of each line about to be overwritten. A dozen independent chains hide the latency of
fused multiply-adds. And the width of the vectors is a choice: on some CPUs the widest is slower.

Arrays have to be aligned and of a size that `topoprobe.measure.devices.cpu.buffer.check_groups`
accepts: the loops do not look, and take whole groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.core import types
from numba.np import arrayobj as _arrayobj
from numpy.typing import NDArray

from topoprobe.measure.devices.cpu.jit import compiled, intrinsic

# numba annotates only parts of these.
arrayobj: Any = _arrayobj
cgutils: Any = _cgutils

NUM_CHAINS = 16
"""Independent chains of multiply-adds: latency 4 times 2 per cycle needs 8, some CPUs 10."""

_NUM_UPDATE_CHAINS = 8
_LINE_BYTES = 64
# Reads are asked for this far ahead: the CPU's own prefetchers stop at the end of each 4 KiB page.
_PREFETCH_BYTES = 2048
_BYTE_BITS = 8


class _Vectors:
    """Emits operations on vectors of one element type and width."""

    def __init__(self, context: Any, builder: Any, dtype: Any, vector_bytes: int) -> None:
        self.builder = builder
        self.element = context.get_data_type(dtype)
        self.num_lanes = vector_bytes * _BYTE_BITS // dtype.bitwidth
        self.type = ir.VectorType(self.element, self.num_lanes)
        self.vector_bytes = vector_bytes
        self._nontemporal = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])

    def splat(self, value: Any) -> Any:
        vector = ir.Constant(self.type, ir.Undefined)
        for lane in range(self.num_lanes):
            vector = self.builder.insert_element(vector, value, ir.Constant(ir.IntType(32), lane))
        return vector

    def load(self, array: Any, index: Any, step: int) -> Any:
        loaded = self.builder.load(self._pointer(array, index, step))
        loaded.align = self.vector_bytes
        return loaded

    def store(
        self, value: Any, array: Any, index: Any, step: int, *, nontemporal: bool = False
    ) -> None:
        stored = self.builder.store(
            value, self._pointer(array, index, step), align=self.vector_bytes
        )
        if nontemporal:
            stored.set_metadata("nontemporal", self._nontemporal)

    def prefetch(self, array: Any, index: Any, ahead_bytes: int) -> None:
        """Ask for the line `ahead_bytes` after an element, to be read soon."""
        byte = ir.IntType(8).as_pointer()
        number = ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(
            self.builder.module, signature, "llvm.prefetch.p0"
        )
        place = self.builder.bitcast(self.builder.gep(array, [index]), byte)
        place = self.builder.gep(place, [ir.Constant(index.type, ahead_bytes)])
        read, keep, data = (ir.Constant(number, value) for value in (0, 3, 1))
        self.builder.call(function, [place, read, keep, data])

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """Emit ``x * y + z`` rounded once (llvmlite's own declaration refuses vectors)."""
        name = f"llvm.fma.v{self.num_lanes}f{self.vector_bytes * _BYTE_BITS // self.num_lanes}"
        signature = ir.FunctionType(self.type, [self.type] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, [x, y, z])

    def sum_of(self, chains: Sequence[Any]) -> Any:
        """Emit the sum of all lanes of all vectors."""
        total = chains[0]
        for chain in chains[1:]:
            total = self.builder.fadd(total, chain)
        result = ir.Constant(self.element, 0.0)
        for lane in range(self.num_lanes):
            index = ir.Constant(ir.IntType(32), lane)
            result = self.builder.fadd(result, self.builder.extract_element(total, index))
        return result

    def _pointer(self, array: Any, index: Any, step: int) -> Any:
        offset = self.builder.add(index, ir.Constant(index.type, step * self.num_lanes))
        return self.builder.bitcast(self.builder.gep(array, [offset]), self.type.as_pointer())


def _data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return arrayobj.make_array(array_type)(context, builder, array).data


def _for_steps(builder: Any, count: Any, step: int) -> Any:
    """Loop with an index from 0 below `count` by `step`."""
    zero = ir.Constant(count.type, 0)
    return cgutils.for_range_slice(
        builder, zero, count, ir.Constant(count.type, step), intp=count.type, inc=True
    )


Emitter = Callable[[_Vectors, Any, Any, Any], Any]


def _stream_intrinsic(combine: Emitter, *, reads_both: bool) -> Any:
    """Make ``f(out, x, y, scalar, num_elements, vector_bytes)`` with stores past the cache.

    Each turn takes one cache line of every array.
    """

    def typed(typing: Any, out: Any, x: Any, y: Any, scalar: Any, count: Any, width: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            vectors = _Vectors(context, builder, out.dtype, width.literal_value)
            target, first, second = (
                _data(context, builder, array_type, array)
                for array_type, array in zip(signature.args[:3], values[:3], strict=True)
            )
            factor = vectors.splat(values[3])
            num_vectors = _LINE_BYTES // vectors.vector_bytes
            with _for_steps(builder, values[4], num_vectors * vectors.num_lanes) as (index, _):
                for array in (first, second)[: 1 + reads_both]:
                    vectors.prefetch(array, index, _PREFETCH_BYTES)
                results = [
                    combine(
                        vectors,
                        factor,
                        vectors.load(first, index, turn),
                        lambda turn=turn: vectors.load(second, index, turn),
                    )
                    for turn in range(num_vectors)
                ]
                for turn, result in enumerate(results):
                    vectors.store(result, target, index, turn, nontemporal=True)
            # Stores past the cache are not ordered with others until a fence.
            builder.fence("seq_cst")
            return context.get_dummy_value()

        return types.void(out, x, y, out.dtype, types.intp, width), emit

    return intrinsic(typed)


_copy = _stream_intrinsic(lambda vectors, factor, x, y: x, reads_both=False)
_scale = _stream_intrinsic(
    lambda vectors, factor, x, y: vectors.builder.fmul(factor, x), reads_both=False
)
_add = _stream_intrinsic(
    lambda vectors, factor, x, y: vectors.builder.fadd(x, y()), reads_both=True
)
_triad = _stream_intrinsic(
    lambda vectors, factor, x, y: vectors.fma(factor, y(), x), reads_both=True
)


@intrinsic
def _sum(typing: Any, x: Any, count: Any, width: Any) -> Any:
    """Return the sum of all elements, added up in one chain per vector of two cache lines."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vectors = _Vectors(context, builder, x.dtype, width.literal_value)
        data = _data(context, builder, signature.args[0], values[0])
        num_chains = 2 * _LINE_BYTES // vectors.vector_bytes
        nothing = vectors.splat(ir.Constant(vectors.element, 0.0))
        chains = [cgutils.alloca_once_value(builder, nothing) for _ in range(num_chains)]
        with _for_steps(builder, values[1], num_chains * vectors.num_lanes) as (index, _):
            for ahead_bytes in (_PREFETCH_BYTES, _PREFETCH_BYTES + _LINE_BYTES):
                vectors.prefetch(data, index, ahead_bytes)
            for number, chain in enumerate(chains):
                loaded = vectors.load(data, index, number)
                builder.store(builder.fadd(builder.load(chain), loaded), chain)
        return vectors.sum_of([builder.load(chain) for chain in chains])

    return x.dtype(x, types.intp, width), emit


@intrinsic
def _fill(typing: Any, out: Any, scalar: Any, count: Any, width: Any) -> Any:
    """Write a number to all elements, past the cache."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vectors = _Vectors(context, builder, out.dtype, width.literal_value)
        target = _data(context, builder, signature.args[0], values[0])
        number = vectors.splat(values[1])
        num_vectors = _LINE_BYTES // vectors.vector_bytes
        with _for_steps(builder, values[2], num_vectors * vectors.num_lanes) as (index, _):
            for turn in range(num_vectors):
                vectors.store(number, target, index, turn, nontemporal=True)
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(out, out.dtype, types.intp, width), emit


@compiled
def copy_32(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = x``, past the cache, with vectors of 32 bytes."""
    _copy(out, x, y, scalar, out.size, 32)


@compiled
def scale_32(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = scalar * x``, past the cache, with vectors of 32 bytes."""
    _scale(out, x, y, scalar, out.size, 32)


@compiled
def add_32(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = x + y``, past the cache, with vectors of 32 bytes."""
    _add(out, x, y, scalar, out.size, 32)


@compiled
def triad_32(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = x + scalar * y``, past the cache, with vectors of 32 bytes."""
    _triad(out, x, y, scalar, out.size, 32)


@compiled
def read_32(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out[0]`` to the sum of ``x``, with vectors of 32 bytes."""
    out[0] = _sum(x, x.size, 32)


@compiled
def write_32(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set all of ``out`` to the scalar, past the cache, with vectors of 32 bytes."""
    _fill(out, scalar, out.size, 32)


@compiled
def copy_64(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = x``, past the cache, with vectors of 64 bytes."""
    _copy(out, x, y, scalar, out.size, 64)


@compiled
def scale_64(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = scalar * x``, past the cache, with vectors of 64 bytes."""
    _scale(out, x, y, scalar, out.size, 64)


@compiled
def add_64(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = x + y``, past the cache, with vectors of 64 bytes."""
    _add(out, x, y, scalar, out.size, 64)


@compiled
def triad_64(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = x + scalar * y``, past the cache, with vectors of 64 bytes."""
    _triad(out, x, y, scalar, out.size, 64)


@compiled
def read_64(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out[0]`` to the sum of ``x``, with vectors of 64 bytes."""
    out[0] = _sum(x, x.size, 64)


@compiled
def write_64(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set all of ``out`` to the scalar, past the cache, with vectors of 64 bytes."""
    _fill(out, scalar, out.size, 64)


@compiled
def paced(
    mix: int,
    out: NDArray[Any],
    x: NDArray[Any],
    y: NDArray[Any],
    num_block: int,
    num_spins: int,
) -> float:
    """Move blocks of `num_block` elements and spin `num_spins` turns after each.

    Parameters
    ----------
    mix : int
        How many arrays are read and written: 0 reads one, 1 reads two and writes one (triad),
        2 reads one and writes one (copy), 3 writes one.
    out, x, y : ndarray, equal shape
        The arrays; their size is a multiple of `num_block`.
    num_block, num_spins : int
        Sizes of the turns.

    Returns
    -------
    float
        What was read and the state of the spinning, so that neither can be optimised away.
    """
    state = np.uint64(1)
    total = 0.0
    for start in range(0, out.size, num_block):
        end = start + num_block
        if mix == 0:
            total += _sum(x[start:end], num_block, 32)
        elif mix == 1:
            _triad(out[start:end], x[start:end], y[start:end], 0.4, num_block, 32)
        elif mix == 2:
            _copy(out[start:end], x[start:end], x[start:end], 0.4, num_block, 32)
        else:
            _fill(out[start:end], 0.4, num_block, 32)
        for _ in range(num_spins):
            state = state * np.uint64(6364136223846793005) + np.uint64(1)
    return total + float(state)


@intrinsic
def _multiply_add(
    typing: Any, start: Any, scale: Any, shift: Any, num_rounds: Any, width: Any
) -> Any:
    """Chains of ``x = x * scale + shift`` in registers; returns the sum of all lanes."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vectors = _Vectors(context, builder, start.dtype, width.literal_value)
        data = _data(context, builder, signature.args[0], values[0])
        factor, offset = vectors.splat(values[1]), vectors.splat(values[2])
        zero = ir.Constant(values[3].type, 0)
        chains = [cgutils.alloca_once(builder, vectors.type) for _ in range(NUM_CHAINS)]
        for number, chain in enumerate(chains):
            builder.store(vectors.load(data, zero, number), chain)
        with cgutils.for_range(builder, values[3]):
            for chain in chains:
                builder.store(vectors.fma(builder.load(chain), factor, offset), chain)
        return vectors.sum_of([builder.load(chain) for chain in chains])

    return start.dtype(start, start.dtype, start.dtype, types.intp, width), emit


@compiled
def multiply_add_16(start: NDArray[Any], scale: float, shift: float, num_rounds: int) -> float:
    """Run `num_rounds` of multiply-adds on `NUM_CHAINS` registers of 16 bytes; see `_32`."""
    return float(_multiply_add(start, scale, shift, num_rounds, 16))


@compiled
def multiply_add_32(start: NDArray[Any], scale: float, shift: float, num_rounds: int) -> float:
    """Run `num_rounds` of ``x = x * scale + shift`` on `NUM_CHAINS` registers of 32 bytes.

    Parameters
    ----------
    start : ndarray, shape (>= NUM_CHAINS * lanes,), float32 or float64
        Values that the lanes start from.
    scale, shift : float
        Of the same type as `start`.
    num_rounds : int
        Multiply-adds of each lane.

    Returns
    -------
    float
        Sum of all lanes, so that nothing can be optimised away.
    """
    return float(_multiply_add(start, scale, shift, num_rounds, 32))


@compiled
def multiply_add_64(start: NDArray[Any], scale: float, shift: float, num_rounds: int) -> float:
    """Run `num_rounds` of multiply-adds on `NUM_CHAINS` registers of 64 bytes; see `_32`."""
    return float(_multiply_add(start, scale, shift, num_rounds, 64))


@intrinsic
def _update(typing: Any, array: Any, scale: Any, shift: Any, num_rounds: Any, width: Any) -> Any:
    """Apply ``x = x * scale + shift`` to every element `num_rounds` times, in place."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vectors = _Vectors(context, builder, array.dtype, width.literal_value)
        data = _data(context, builder, signature.args[0], values[0])
        count = arrayobj.make_array(array)(context, builder, values[0]).nitems
        factor, offset = vectors.splat(values[1]), vectors.splat(values[2])
        chains = [cgutils.alloca_once(builder, vectors.type) for _ in range(_NUM_UPDATE_CHAINS)]
        step = _NUM_UPDATE_CHAINS * vectors.num_lanes
        with _for_steps(builder, count, step) as (index, _):
            for number, chain in enumerate(chains):
                builder.store(vectors.load(data, index, number), chain)
            with cgutils.for_range(builder, values[3]):
                for chain in chains:
                    builder.store(vectors.fma(builder.load(chain), factor, offset), chain)
            for number, chain in enumerate(chains):
                vectors.store(builder.load(chain), data, index, number)
        return context.get_dummy_value()

    return types.void(array, array.dtype, array.dtype, types.intp, width), emit


@compiled
def update_16(array: NDArray[Any], scale: float, shift: float, num_rounds: int) -> None:
    """Apply multiply-adds in place with vectors of 16 bytes; see `update_32`."""
    _update(array, scale, shift, num_rounds, 16)


@compiled
def update_32(array: NDArray[Any], scale: float, shift: float, num_rounds: int) -> None:
    """Apply ``x = x * scale + shift`` to every element `num_rounds` times, in place.

    Reads and writes each element once: ``num_rounds / itemsize`` flop per byte.
    """
    _update(array, scale, shift, num_rounds, 32)


@compiled
def update_64(array: NDArray[Any], scale: float, shift: float, num_rounds: int) -> None:
    """Apply multiply-adds in place with vectors of 64 bytes; see `update_32`."""
    _update(array, scale, shift, num_rounds, 64)
