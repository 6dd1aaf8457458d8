"""What each kernel of the folder `cuda/` reads, writes and computes: the formulas behind its rates.

Payload only, each byte once: neither what caches fetch besides, nor a block table, nor the words
in which a kernel keeps its loads alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from topoprobe.measure.devices.cuda.floats import FLOAT_TYPES, FloatType

StreamKernel = Literal["copy", "scale", "add", "triad", "read", "write"]

_FP64_BYTES = 8
# Arrays read, arrays written, and flop per element, as STREAM counts them [mccalpin1995].
_STREAM: dict[StreamKernel, tuple[int, int, int]] = {
    "copy": (1, 1, 0),
    "scale": (1, 1, 1),
    "add": (2, 1, 1),
    "triad": (2, 1, 2),
    "read": (1, 0, 0),
    "write": (0, 1, 0),
}


@dataclass(frozen=True, slots=True)
class Work:
    """What one launch does.

    Attributes
    ----------
    read_bytes, written_bytes : int
        Payload.
    num_flop : int
        Floating-point operations; a multiply-add is two.
    """

    read_bytes: int
    written_bytes: int
    num_flop: int = 0

    @property
    def num_bytes(self) -> int:
        """Bytes read and written together: the traffic of one memory that has both sides."""
        return self.read_bytes + self.written_bytes

    @property
    def flop_per_byte(self) -> float:
        """Arithmetic intensity [williams2009]."""
        return self.num_flop / self.num_bytes


def stream_work(kernel: StreamKernel, array_bytes: int) -> Work:
    """Return the work of a STREAM kernel on arrays of that size.

    References
    ----------
    [mccalpin1995]
    """
    num_read, num_written, flop_per_element = _STREAM[kernel]
    return Work(
        num_read * array_bytes,
        num_written * array_bytes,
        flop_per_element * array_bytes // _FP64_BYTES,
    )


def copy_work(num_bytes: int) -> Work:
    """Return the work of `sm_copy`."""
    return Work(num_bytes, num_bytes)


def block_work(num_blocks: int, block_bytes: int) -> Work:
    """Return the work of `kv_gather` or `kv_scatter`."""
    return copy_work(num_blocks * block_bytes)


def intensity_work(float_type: FloatType, num_bytes: int, num_rounds: int) -> Work:
    """Return the work of the intensity sweep: every number is read, updated and written once."""
    num_values = num_bytes // FLOAT_TYPES[float_type].num_bytes
    return Work(num_bytes, num_bytes, 2 * num_rounds * num_values)


def zero_copy_read_work(num_accesses: int, access_bytes: int) -> Work:
    """Return the work of `zero_copy_read`."""
    return Work(num_accesses * access_bytes, 0)


def zero_copy_write_work(num_accesses: int, access_bytes: int) -> Work:
    """Return the work of `zero_copy_write`."""
    return Work(0, num_accesses * access_bytes)


def gemv_work(weights_bytes: int) -> Work:
    """Return the work of `gemv`: every float32 weight is read once for a multiply-add.

    The vectors, a few thousandths of the matrix, do not count.
    """
    return Work(weights_bytes, 0, 2 * weights_bytes // 4)
