"""One transfer to or from a GPU, by copy engine or by kernel, that proves that it arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.devices.cuda.pattern import pattern_words

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice, CudaStream
    from topoprobe.measure.devices.cuda.memory import CudaBuffer

_SOURCE_SEED, _POISON_SEED = 11, 12
_WORD_BYTES = 8


class Transfer:
    """Moves the first bytes of one buffer to another.

    Source and target get different patterns before the first sample, and the target is compared
    after it; later samples move the same bytes again, and so would leave the target right even if
    they moved nothing: after the last one, `prove_again` and one more sample tell.

    Parameters
    ----------
    device : CudaDevice
        Who moves.
    target, source : CudaBuffer
        At least 8 bytes each.
    num_bytes : int
        How many.
    """

    def __init__(
        self, device: CudaDevice, target: CudaBuffer, source: CudaBuffer, num_bytes: int
    ) -> None:
        self.num_bytes = num_bytes
        self._device = device
        # Patterns consist of whole words; a smaller transfer leaves part of one as it was.
        whole = -(-num_bytes // _WORD_BYTES) * _WORD_BYTES
        self._target, self._source = target.piece(0, whole), source.piece(0, whole)
        self._is_checked = False

    def by_engine(self, stream: CudaStream) -> None:
        """Enqueue it on a copy engine."""
        stream.copy_async(self._target, self._source, self.num_bytes)

    def by_kernel(self, stream: CudaStream) -> None:
        """Enqueue it as a kernel on every multiprocessor; the size is a multiple of 16."""
        kernel, num_blocks = self._device.kernels.sm_copy, self._device.num_sms
        stream.launch(kernel, self._target, self._source, self.num_bytes, num_blocks)

    def prove_again(self) -> None:
        """Let the next sample prove that all arrives, as the first one did."""
        self._is_checked = False

    def poison_once(self) -> None:
        """Fill both ends, before the first sample or the one after the last."""
        if not self._is_checked:
            self._device.fill(self._source, _SOURCE_SEED)
            self._device.fill(self._target, _POISON_SEED)

    def check_once(self) -> None:
        """Compare what arrived, after such a sample.

        Raises
        ------
        MeasurementFailed
            If it is not the source; the message tells from which byte on.
        """
        if self._is_checked:
            return
        if self.num_bytes % _WORD_BYTES:
            self._check_part()
        else:
            mismatch = self._device.verify(self._target, _SOURCE_SEED, _POISON_SEED)
            if mismatch is not None:
                raise MeasurementFailed(f"A copy arrived wrong: {mismatch}.")
        self._is_checked = True

    def _check_part(self) -> None:
        size = self._target.num_bytes
        found = self._device.read_back(self._target, 0, size).view(np.uint8)
        expected = pattern_words(_POISON_SEED, 0, size // _WORD_BYTES).view(np.uint8)
        source = pattern_words(_SOURCE_SEED, 0, size // _WORD_BYTES).view(np.uint8)
        expected[: self.num_bytes] = source[: self.num_bytes]
        is_wrong = found != expected
        if is_wrong.any():
            first = int(np.argmax(is_wrong))
            raise MeasurementFailed(
                f"A copy of {self.num_bytes} bytes arrived wrong, from offset {first} on."
            )
