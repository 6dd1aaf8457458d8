"""Peer access: whether one GPU reaches another's memory without the host.

Imported only where `availability.cuda_gap` finds nothing missing: it imports cupy at its top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cupy

from topoprobe.measure.devices.cuda.memory import mapped_errors

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice

# cudaErrorPeerAccessAlreadyEnabled of CUDA's driver_types.h: what was asked for holds.
_ALREADY_OPEN = 704


def open_peer_access(device: CudaDevice, other: CudaDevice) -> str | None:
    """Let a GPU reach the memory of another; return why it cannot, or None where it can.

    Where it cannot, the driver stages copies between the two through memory of the host, and
    kernels have no way at all.

    Raises
    ------
    MeasurementFailed
        If the driver says that it can and then refuses.
    """
    with mapped_errors("ask for peer access"):
        can_reach = cupy.cuda.runtime.deviceCanAccessPeer(device.ordinal, other.ordinal)
    if not can_reach:
        return (
            f"{device.node_id} cannot reach the memory of {other.node_id}: the driver allows no "
            "peer access between them"
        )
    with device.current(), mapped_errors("open peer access"):
        try:
            cupy.cuda.runtime.deviceEnablePeerAccess(other.ordinal)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status != _ALREADY_OPEN:
                raise
    return None
