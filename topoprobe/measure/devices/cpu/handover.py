"""Passing one cache line to and fro between two CPUs, with atomic loads and stores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.np import arrayobj as _arrayobj
from numpy.typing import NDArray

from topoprobe.measure.devices.cpu.jit import compiled, intrinsic

arrayobj: Any = _arrayobj  # numba annotates only parts of it

_ALIGNMENT_BYTES = 8


@intrinsic
def _load(typing: Any, line: Any) -> Any:
    """Read the first element now, and nothing after it earlier."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = arrayobj.make_array(line)(context, builder, values[0]).data
        return builder.load_atomic(data, "acquire", _ALIGNMENT_BYTES)

    return line.dtype(line), emit


@intrinsic
def _store(typing: Any, line: Any, value: Any) -> Any:
    """Write the first element now, and nothing before it later."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = arrayobj.make_array(line)(context, builder, values[0]).data
        builder.store_atomic(values[1], data, "release", _ALIGNMENT_BYTES)
        return context.get_dummy_value()

    return types.void(line, line.dtype), emit


@compiled
def hand_over(line: NDArray[np.int64], first_turn: int, num_rounds: int, max_spins: int) -> int:
    """Wait for one's turn and give the other the next, again and again.

    Parameters
    ----------
    line : ndarray, shape (>= 1,), int64
        Its first element says whose turn it is; alone on its cache line.
    first_turn : int
        The turn waited for first; every second one after it follows.
    num_rounds : int
        Turns to take.
    max_spins : int
        Looks at the line in vain after which the other is given up.

    Returns
    -------
    int
        Turns taken: fewer than `num_rounds` if the other did not answer.
    """
    for number in range(num_rounds):
        turn = np.int64(first_turn + 2 * number)
        num_spins = 0
        while _load(line) != turn:
            num_spins += 1
            if num_spins >= max_spins:
                return number
        _store(line, turn + np.int64(1))
    return num_rounds
