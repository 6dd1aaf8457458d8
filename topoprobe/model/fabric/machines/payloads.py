"""How many bytes one packet of a transfer carries, and what a link's packets are."""

from __future__ import annotations

from collections.abc import Iterable

from topoprobe.machine.pcie import generation_of
from topoprobe.machine.view import Machine
from topoprobe.model.fabric import packets
from topoprobe.records.machine import Gpu, Link, PciNode

PCIE_PAYLOAD_BYTES = 256
"""What firmware of servers sets nearly everywhere; a recording that tells another figure wins."""

EARLY_GPU_PAYLOAD_BYTES = 128
"""Copies of Gen3 and Gen4 GPUs run as packets of 128 bytes do (25.9 GB/s at Gen4 x16; 26.0 to 26.3
are published), although 256 are set: a fitted figure, see docs/model.md."""

REQUEST_BYTES = 512
"""What one read request asks for, unless the function's configuration tells."""

KERNEL_PAYLOAD_BYTES = 128
"""A GPU's kernel asks for a cache line at once [min2020]."""

NVLINK_PAYLOAD_BYTES = 256
"""Of a copy engine's packet; kernels use `KERNEL_PAYLOAD_BYTES` [nccl-tests-149]."""

NVLINK_HEADER_BYTES = 16
"""One flit; 256 and 128 bytes of payload then differ as copies by engine and kernel do
[h800-nvbandwidth]."""

LAST_FRAMED = 5
_LAST_EARLY = 4
# Gen4 x16 carries 31.5 GB/s; wider or faster slots of GPUs are of later generations.
_MOST_EARLY_BYTES_PER_S = 32e9


def pcie_payload_bytes(machine: Machine, ways: Iterable[str], mover: PciNode) -> int:
    """Return the payload of a transfer's PCIe packets.

    Parameters
    ----------
    machine : Machine
    ways : iterable of str
        Ids of the PCIe links that it crosses.
    mover : PciNode
        The device that sends or asks.
    """
    wanted = set(ways)
    links = [link for link in machine.document.links if link.id in wanted]
    told = [
        node.max_payload_bytes
        for link in links
        for node in (machine.node(link.a), machine.node(link.b))
        if isinstance(node, PciNode) and node.max_payload_bytes is not None
    ]
    payload = min(told, default=PCIE_PAYLOAD_BYTES)
    own = machine.link_above(mover.id)
    if isinstance(mover, Gpu) and own is not None and _is_early(own):
        return min(payload, EARLY_GPU_PAYLOAD_BYTES)
    return payload


def packets_on(
    link: Link, payload_bytes: int = PCIE_PAYLOAD_BYTES, request_bytes: int = REQUEST_BYTES
) -> packets.Link:
    """Return a link of a machine as packets see it; of the fifth generation unless told."""
    generation = _generation(link)
    return packets.Link(
        generation=LAST_FRAMED if generation is None else generation,
        num_lanes=1,
        max_payload_bytes=payload_bytes,
        max_read_bytes=request_bytes,
    )


def request_bytes(mover: PciNode) -> int:
    """Return what a device asks for with one read request."""
    return mover.max_read_request_bytes or REQUEST_BYTES


def _is_early(link: Link) -> bool:
    """Tell whether a GPU's link is of an early generation, by its rate where only that is told."""
    generation = _generation(link)
    if generation is not None:
        return generation <= _LAST_EARLY
    capability = link.nominal or link.current
    rate = None if capability is None else capability.bandwidth_bytes_per_s
    return rate is not None and rate < _MOST_EARLY_BYTES_PER_S


def _generation(link: Link) -> int | None:
    capability = link.nominal or link.current
    found = generation_of(capability.transfers_per_s) if capability is not None else None
    return None if found is None else found.number
