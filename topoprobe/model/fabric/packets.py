"""PCI Express packets: bytes on the wire of a write or a read, and the rates that a link leaves.

With R the rate of the wire, eta what acknowledgements, credits and clock compensation leave of it,
P the payload of a packet and M that of a read request:

    writes      R * eta * P / (P + write)
    reads       R * eta * P / (P + completion), and at most R * eta * M / request,
                and at most outstanding / round trip
    both        R * eta / ((P + write) / P + request / M)   in each direction

Up to the fifth generation a packet has 8 bytes of framing, sequence number and CRC around a header
of 12 (completions, 32-bit addresses) or 16 bytes (64-bit addresses) [pcie-base] [pcie-bench]. No
ECRC is assumed. From the sixth, packets travel in flits of 256 bytes, which carry number, CRC and
error correction for all packets in them: a packet is its header and payload. Of a flit 236 bytes
are packets, 6 are acknowledgements and credits, 14 are CRC and correction. The machine's rates
(`topoprobe.machine.pcie`) take off the 14 as they take off other line codes, so that 236 in 242 is
here what 0.95 is to the older generations.
"""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.errors import ModelError
from topoprobe.machine.pcie import GENERATIONS
from topoprobe.measure.fairness import HEADER_BYTES

PAGE_BYTES = 4096
"""No packet crosses a multiple of it [pcie-base]."""
COMPLETION_BOUNDARY_BYTES = 64
"""Where the answer to a read may be cut (RCB); root complexes may choose 128 [pcie-base]."""
EFFICIENCY = 0.95
"""What is left of the wire for packets up to the fifth generation: that of the adapter of
[pcie-bench], and within 4 % that of GPUs on the fifth."""
FLIT_EFFICIENCY = 236 / 242


@dataclass(frozen=True, slots=True)
class Overhead:
    """Bytes on the wire around the payload of each kind of packet."""

    write_bytes: int
    request_bytes: int
    completion_bytes: int


FRAMED = Overhead(write_bytes=HEADER_BYTES, request_bytes=24, completion_bytes=20)
# Headers alone, without the optional words that partial writes and address spaces need.
IN_FLITS = Overhead(write_bytes=16, request_bytes=16, completion_bytes=12)


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of a PCI Express link, with what its ends agreed on.

    Attributes
    ----------
    generation : int
        1 to 7.
    num_lanes : int
        Its width.
    max_payload_bytes : int
        Of a packet (MPS), the least along the way.
    max_read_bytes : int
        Of a read request (MRRS).
    efficiency_ratio : float or None
        What is left for packets of the rate after the line code; None for the default.
    """

    generation: int
    num_lanes: int
    max_payload_bytes: int = 256
    max_read_bytes: int = 512
    efficiency_ratio: float | None = None

    def __post_init__(self) -> None:
        """Refuse links that cannot be.

        Raises
        ------
        ModelError
            If the generation is unknown, or a width, size or efficiency is not above zero.
        """
        known = [generation.number for generation in GENERATIONS]
        if self.generation not in known:
            raise ModelError(
                f"PCIe generation {self.generation} is unknown; expected {known[0]} to {known[-1]}."
            )
        if min(self.num_lanes, self.max_payload_bytes, self.max_read_bytes) < 1:
            raise ModelError("A PCIe link has a width or size below one.")
        if self.efficiency_ratio is not None and not 0.0 < self.efficiency_ratio <= 1.0:
            raise ModelError(
                f"A link's efficiency is {self.efficiency_ratio:g}; expected above 0, at most 1."
            )

    @property
    def overhead(self) -> Overhead:
        """Bytes around each kind of packet."""
        return FRAMED if self.generation < 6 else IN_FLITS

    @property
    def wire_bytes_per_s(self) -> float:
        """What packets with all their bytes get of the wire."""
        speed = next(each for each in GENERATIONS if each.number == self.generation)
        default = EFFICIENCY if self.generation < 6 else FLIT_EFFICIENCY
        efficiency = default if self.efficiency_ratio is None else self.efficiency_ratio
        return speed.lane_bytes_per_s * self.num_lanes * efficiency

    def per_byte_written(self, size_bytes: int) -> float:
        """Return bytes on the wire per byte of writes of this size, in their own direction."""
        packets = split(size_bytes, self.max_payload_bytes)
        return 1.0 + len(packets) * self.overhead.write_bytes / size_bytes

    def per_byte_read(self, size_bytes: int) -> float:
        """Return bytes on the wire per byte of reads of this size, in the data's direction."""
        packets = [
            packet
            for request in split(size_bytes, self.max_read_bytes)
            for packet in completions(
                request,
                self.max_payload_bytes,
                boundary_bytes=min(COMPLETION_BOUNDARY_BYTES, self.max_payload_bytes),
            )
        ]
        return 1.0 + len(packets) * self.overhead.completion_bytes / size_bytes

    def per_byte_requested(self, size_bytes: int) -> float:
        """Return bytes on the wire per byte of reads of this size, in the requests' direction."""
        requests = split(size_bytes, self.max_read_bytes)
        return len(requests) * self.overhead.request_bytes / size_bytes

    def write_bytes_per_s(self, size_bytes: int) -> float:
        """Return the payload rate of writes of this size."""
        return self.wire_bytes_per_s / self.per_byte_written(size_bytes)

    def read_bytes_per_s(
        self,
        size_bytes: int,
        *,
        outstanding_bytes: float = float("inf"),
        round_trip_s: float = 0.0,
    ) -> float:
        """Return the payload rate of reads of this size.

        Parameters
        ----------
        size_bytes : int
            Of one read of the device, which splits it into requests.
        outstanding_bytes : float
            Asked for and not yet there, at most.
        round_trip_s : float
            From a request to its last byte on an idle link.
        """
        rates = [
            self.wire_bytes_per_s / self.per_byte_read(size_bytes),
            self.wire_bytes_per_s / self.per_byte_requested(size_bytes),
        ]
        if round_trip_s > 0.0:
            rates.append(outstanding_bytes / round_trip_s)
        return min(rates)

    def duplex_bytes_per_s(self, size_bytes: int) -> float:
        """Return the payload rate in each direction of as many reads as writes of this size."""
        outward = self.per_byte_written(size_bytes) + self.per_byte_requested(size_bytes)
        return self.wire_bytes_per_s / max(outward, self.per_byte_read(size_bytes))


def split(size_bytes: int, most_bytes: int, *, offset_bytes: int = 0) -> tuple[int, ...]:
    """Split a write at the maximum payload, or a read at the maximum request, and at pages.

    Parameters
    ----------
    size_bytes : int
        Of the transfer.
    most_bytes : int
        Of one packet.
    offset_bytes : int
        Of its first byte in a page.

    Returns
    -------
    tuple of int
        Payload of each packet, in order.

    Raises
    ------
    ModelError
        If a size is not above zero or the offset is negative.
    """
    _require_sizes(size_bytes, most_bytes, offset_bytes)
    packets = []
    start, end = offset_bytes, offset_bytes + size_bytes
    while start < end:
        stop = min(start + most_bytes, end, start - start % PAGE_BYTES + PAGE_BYTES)
        packets.append(stop - start)
        start = stop
    return tuple(packets)


def completions(
    size_bytes: int,
    most_bytes: int,
    *,
    boundary_bytes: int = COMPLETION_BOUNDARY_BYTES,
    offset_bytes: int = 0,
) -> tuple[int, ...]:
    """Split the answer to one read request: all but the last end at the completion boundary.

    Parameters
    ----------
    size_bytes : int
        Of the request.
    most_bytes : int
        Of one packet: the maximum payload, or the boundary itself for chip sets that answer by
        cache lines.
    boundary_bytes : int
        The read completion boundary (RCB), 64 or 128, at most `most_bytes`.
    offset_bytes : int
        Of the first byte from a multiple of the boundary.

    Returns
    -------
    tuple of int
        Payload of each packet, in order.

    Raises
    ------
    ModelError
        As `split`, or if the boundary is not above zero or exceeds a packet.
    """
    _require_sizes(size_bytes, most_bytes, offset_bytes)
    if not 0 < boundary_bytes <= most_bytes:
        raise ModelError(
            f"A completion boundary of {boundary_bytes} bytes does not fit packets of {most_bytes}."
        )
    packets = []
    start, end = offset_bytes, offset_bytes + size_bytes
    while start < end:
        stop = start + most_bytes
        stop = end if stop >= end else stop - stop % boundary_bytes
        packets.append(stop - start)
        start = stop
    return tuple(packets)


def _require_sizes(size_bytes: int, most_bytes: int, offset_bytes: int) -> None:
    if min(size_bytes, most_bytes) < 1 or offset_bytes < 0:
        raise ModelError(
            f"Cannot split {size_bytes} bytes at offset {offset_bytes} into packets of "
            f"{most_bytes}; expected sizes above zero."
        )
