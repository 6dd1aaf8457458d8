"""What a GPU computes while copies run beside it: STREAM, a decode-like GEMV, a matrix product.

The chunks of flows within one GPU that do something else than copying. Each is one launch over all
of its memory, which is far larger than the L2 cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.devices.cuda.gemm import Gemm, num_flop
from topoprobe.measure.devices.cuda.work import gemv_work, stream_work
from topoprobe.measure.flows import Work

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice, CudaStream

UNITS = {Work.STREAM: "bytes_per_s", Work.GEMV: "bytes_per_s", Work.GEMM: "flop_per_s"}
"""Unit of the rate of each load: bytes as STREAM counts them, weights that were read, flop."""

_SCALAR = 0.4
_FLOAT_BYTES = 4
# As wide as a layer of a model with 7e9 parameters.
_GEMV_COLUMNS = 4096
_CHECKED_COLUMNS = 16
_GEMM_DTYPE = "bf16"
# Products of matrices this large come near the ceiling of every GPU so far.
_GEMM_SIZE = 4096


class Load(Protocol):
    """One kind of load.

    Attributes
    ----------
    work : float
        Of one launch, in its unit.
    num_bytes : int
        Of the GPU's memory that it holds.
    """

    work: float
    num_bytes: int

    def enqueue(self, stream: Any) -> None:
        """Put one launch on a stream."""

    def check(self) -> None:
        """Look at what the launches left behind.

        Raises
        ------
        MeasurementFailed
            If it is wrong.
        """


class Triad:
    """STREAM's triad over three arrays of a size."""

    def __init__(self, device: CudaDevice, num_bytes: int) -> None:
        self._device = device
        self._arrays = [device.reserve(num_bytes, "gpu") for _ in range(3)]
        for seed, array in enumerate(self._arrays):
            device.fill_floats(array, seed)
        self.num_bytes = 3 * num_bytes
        self.work: float = stream_work("triad", num_bytes).num_bytes

    def enqueue(self, stream: CudaStream) -> None:
        """Put one triad on a stream."""
        stream.launch(self._device.kernels.triad, *self._arrays, _SCALAR)

    def check(self) -> None:
        """Compare the beginning and the end with numpy."""
        size = min(64 << 10, self._arrays[0].num_bytes)
        for start in (0, self._arrays[0].num_bytes - size):
            a, b, c = (self._device.read_back(one, start, size) for one in self._arrays)
            if not np.allclose(a, b + _SCALAR * c, rtol=1e-15, atol=0.0):
                raise MeasurementFailed(f"A triad is wrong at offset {start}.")


class Gemv:
    """A vector times a float32 matrix of a size, as decoding reads the weights of a model."""

    def __init__(self, device: CudaDevice, num_bytes: int) -> None:
        self._device = device
        row_bytes = _GEMV_COLUMNS * _FLOAT_BYTES
        # Vectors are filled by words of 8 bytes, 2 numbers each.
        num_rows = max(2, num_bytes // row_bytes // 2 * 2)
        self._weights = device.reserve(num_rows * row_bytes, "gpu")
        self._vector = device.reserve(num_rows * _FLOAT_BYTES, "gpu")
        num_parts = device.kernels.num_gemv_parts(self._weights, self._vector)
        self._partial = device.reserve(num_parts * row_bytes, "gpu")
        for seed, buffer in enumerate((self._weights, self._vector)):
            device.fill_floats(buffer, seed, "fp32")
        self.num_bytes = self._weights.num_bytes
        self.work: float = gemv_work(self.num_bytes).read_bytes

    def enqueue(self, stream: CudaStream) -> None:
        """Put one product on a stream."""
        kernel = self._device.kernels.gemv
        stream.launch(kernel, self._weights, self._vector, self._partial)

    def check(self) -> None:
        """Compare the first columns with numpy's product."""
        vector = self._floats(self._vector, 0, self._vector.num_bytes)
        row_bytes = _GEMV_COLUMNS * _FLOAT_BYTES
        size = _CHECKED_COLUMNS * _FLOAT_BYTES
        columns = [self._floats(self._weights, row * row_bytes, size) for row in range(len(vector))]
        parts = [
            self._floats(self._partial, start, size)
            for start in range(0, self._partial.num_bytes, row_bytes)
        ]
        expected = vector.astype(np.float64) @ np.array(columns, dtype=np.float64)
        found = np.array(parts, dtype=np.float64).sum(axis=0)
        if not np.allclose(found, expected, rtol=1e-3, atol=0.0):
            raise MeasurementFailed(f"A gemv gave {found[0]:g} where {expected[0]:g} was expected.")

    def _floats(self, buffer: Any, start_bytes: int, num_bytes: int) -> Any:
        return self._device.read_back(buffer, start_bytes, num_bytes).view(np.float32)


class Product:
    """A product of square bf16 matrices through torch; its size is its own."""

    def __init__(self, device: CudaDevice) -> None:
        self._gemm = Gemm.of(device, _GEMM_DTYPE, _GEMM_SIZE)
        self.num_bytes = 0
        self.work: float = num_flop(_GEMM_SIZE)

    def enqueue(self, stream: CudaStream) -> None:
        """Put one product on a stream."""
        self._gemm.enqueue(stream)

    def check(self) -> None:
        """Compare some rows."""
        self._gemm.check()


def open_load(device: CudaDevice, work: Work, num_bytes: int) -> Load:
    """Make a load ready on a GPU.

    Parameters
    ----------
    device : CudaDevice
        Where.
    work : Work
        One of `UNITS`.
    num_bytes : int
        Of each array, or of the matrix of weights.

    Raises
    ------
    MeasurementFailed
        If there is not enough memory.
    """
    if work is Work.GEMM:
        return Product(device)
    return Triad(device, num_bytes) if work is Work.STREAM else Gemv(device, num_bytes)
