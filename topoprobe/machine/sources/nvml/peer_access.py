"""What the driver tells of two GPUs together: the way over PCIe, and peer access."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from topoprobe.machine import nvidia
from topoprobe.machine.facts import PairFact
from topoprobe.machine.sources.nvml.codes import PeerAccess
from topoprobe.machine.sources.nvml.device import Device, number


def read_pairs(devices: Sequence[Device], *, is_guest: bool) -> Iterator[PairFact]:
    """Ask about each pair once; a refusal is noted with the first of the two.

    Parameters
    ----------
    devices : sequence of Device
        The GPUs.
    is_guest : bool
        Whether this is a virtual machine, where a common host bridge says nothing.
    """
    for a, b in itertools.combinations(devices, 2):
        if a.is_lost or b.is_lost:
            continue
        level = a.wanted(
            f"path to {b.subject}", number, "nvmlDeviceGetTopologyCommonAncestor", b.handle
        )
        name = None if level is None else nvidia.CLASS_OF_LEVEL.get(level)
        yield PairFact(
            a=a.subject,
            b=b.subject,
            pcie_class=None if is_guest and name == "PHB" else name,
            peer_status=_peer_status(a, b),
        )


def _peer_status(a: Device, b: Device) -> str | None:
    """Return the driver's word for reading and writing; the worse one where they differ."""
    words = []
    for access in PeerAccess:
        status = a.wanted(
            f"peer access to {b.subject}", number, "nvmlDeviceGetP2PStatus", b.handle, int(access)
        )
        if status is None or status >= len(nvidia.PEER_STATUSES):
            return None
        words.append(nvidia.PEER_STATUSES[status])
    return next((word for word in words if word != "OK"), "OK")
