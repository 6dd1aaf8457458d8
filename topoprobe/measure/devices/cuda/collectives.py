"""All-reduce over the GPUs of this process, by NCCL on streams of the device interface."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from topoprobe.errors import EnvironmentMissing, MeasurementFailed
from topoprobe.measure.devices.cuda.pattern import WORD_BYTES, pattern_words

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice, CudaStream

_FIRST_SEED = 301
# Of what is checked: enough to meet every GPU's part of a ring.
_CHECKED_BYTES = 1 << 20


def nccl_gap() -> str | None:
    """Say why there is no NCCL, or None. Ask only where `availability.cuda_gap` is None."""
    try:
        _nccl()
    except EnvironmentMissing as gap:
        return str(gap)
    return None


class AllReduce:
    """All-reduces of one size over some GPUs, one after the other.

    The numbers are 64-bit words and the operation is their maximum, so that the result is exact
    and can be checked; what crosses the links is the same as for a sum.

    Parameters
    ----------
    devices : sequence of CudaDevice
        Two or more.
    num_bytes : int
        Of each GPU's buffer, a multiple of 8.

    Raises
    ------
    EnvironmentMissing
        If there is no NCCL.
    MeasurementFailed
        If NCCL refuses the GPUs, or memory does not suffice.
    """

    def __init__(self, devices: Sequence[CudaDevice], num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self._nccl = _nccl()
        self._devices = tuple(devices)
        self._sources = [
            device.allocate(num_bytes, "gpu", seed=_FIRST_SEED + rank)
            for rank, device in enumerate(devices)
        ]
        self._results = [
            device.allocate(num_bytes, "gpu", seed=_FIRST_SEED - 1) for device in devices
        ]
        self.streams: tuple[CudaStream, ...] = tuple(device.open_stream() for device in devices)
        with self._mapped_errors("join the GPUs"):
            self._ranks = self._nccl.NcclCommunicator.initAll(
                [device.ordinal for device in devices]
            )

    @property
    def bus_ratio(self) -> float:
        """Bytes that each GPU sends per byte of its buffer, in a ring [nccl-tests]."""
        return 2 * (len(self._devices) - 1) / len(self._devices)

    def enqueue(self, stream: object) -> None:
        """Put one all-reduce on the streams of all GPUs; the one given is the first of them."""
        with self._mapped_errors("all-reduce"):
            self._nccl.groupStart()
            for rank, source, result, own in zip(
                self._ranks, self._sources, self._results, self.streams, strict=True
            ):
                rank.allReduce(
                    source.pointer, result.pointer, self.num_bytes // WORD_BYTES,
                    self._nccl.NCCL_UINT64, self._nccl.NCCL_MAX, own.handle,
                )  # fmt: skip
            self._nccl.groupEnd()

    def synchronize(self) -> None:
        """Wait for all GPUs; the runner waits for the first only."""
        for stream in self.streams:
            stream.synchronize()

    def check(self) -> None:
        """Compare the beginning of every GPU's result.

        Raises
        ------
        MeasurementFailed
            If one is wrong.
        """
        num_bytes = min(self.num_bytes, _CHECKED_BYTES)
        patterns = [
            pattern_words(_FIRST_SEED + rank, 0, num_bytes // WORD_BYTES)
            for rank in range(len(self._devices))
        ]
        expected = np.maximum.reduce(patterns)
        for device, result in zip(self._devices, self._results, strict=True):
            found = device.read_back(result, 0, num_bytes).view(np.uint64)
            bad = np.flatnonzero(found != expected)
            if len(bad):
                raise MeasurementFailed(
                    f"An all-reduce gave {device.node_id} a wrong word at offset "
                    f"{WORD_BYTES * int(bad[0])}."
                )

    def close(self) -> None:
        """Part the GPUs."""
        self.synchronize()
        for rank in self._ranks:
            rank.destroy()

    @contextlib.contextmanager
    def _mapped_errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except self._nccl.NcclError as error:
            raise MeasurementFailed(f"NCCL could not {action}: {error}.") from error


def _nccl() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy warns where the library is absent
        nccl: Any = importlib.import_module("cupy.cuda.nccl")
    if not nccl.available:
        raise EnvironmentMissing(
            "NCCL is not installed; pip install nvidia-nccl-cu12 (or -cu13, as CuPy's CUDA)"
        )
    return nccl
