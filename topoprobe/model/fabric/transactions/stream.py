"""A stream of transactions as a device issues it: packets, their way, how many are open."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from topoprobe.errors import ModelError


@dataclass(frozen=True, slots=True)
class Hop:
    """What the packets of a stream take of one resource on their way.

    Attributes
    ----------
    resource : str
        Its id. The hop before it is the port at which they arrive; at the first hop, and where
        answers to requests start, each stream is a port of its own.
    per_packet : float
        Units of the resource's capacity for each packet, as the bytes of its headers.
    per_byte : float
        Units for each byte of payload that the packet carries, or asks for.
    per_transaction : float
        Units that the first packet of a transaction takes besides.
    """

    resource: str
    per_packet: float = 0.0
    per_byte: float = 1.0
    per_transaction: float = 0.0

    def units(self, payload_bytes: float, *, first: bool) -> float:
        """Return what one packet takes."""
        extra = self.per_transaction if first else 0.0
        return self.per_packet + extra + self.per_byte * payload_bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """Transactions of one device, as fast as what they cross lets them.

    Attributes
    ----------
    id : str
        Unique among the streams of one simulation.
    packets : tuple of float
        Payload of each packet of a transaction: one to the maximum payload for a write, the
        completions of one request for a read.
    payload : tuple of Hop
        What the packets with the payload cross, in order.
    request : tuple of Hop
        What a read's request crosses first; empty for a posted write.
    max_open : int or None
        Transactions under way at most (tags); None where nothing limits them. A stream without a
        limit shows its arbiter one transaction at a time.
    cap_bytes_per_s : float
        It issues no faster, but for up to 16 transactions that it was held up with.
    start_s : float
        When it issues its first transaction.
    num_transactions : int or None
        After so many it ends; None if it never does.
    """

    id: str
    packets: tuple[float, ...]
    payload: tuple[Hop, ...]
    request: tuple[Hop, ...] = ()
    max_open: int | None = None
    cap_bytes_per_s: float = float("inf")
    start_s: float = 0.0
    num_transactions: int | None = None

    def __post_init__(self) -> None:
        """Refuse streams that cannot be.

        Raises
        ------
        ModelError
            If it has no packet or way, or a size, cap, limit or time is out of range.
        """
        if not self.packets or not self.payload:
            raise ModelError(f"Stream {self.id} has no packet or no way to go.")
        if not all(0.0 < size < float("inf") for size in self.packets):
            raise ModelError(f"Stream {self.id} has a packet without payload.")
        counts = [self.max_open, self.num_transactions]
        if any(count is not None and count < 1 for count in counts):
            raise ModelError(f"Stream {self.id} has a limit below one transaction.")
        if not self.cap_bytes_per_s > 0.0 or not (isfinite(self.start_s) and self.start_s >= 0.0):
            raise ModelError(f"Stream {self.id} has a cap or a start that cannot be.")
        for hop in self.hops:
            amounts = (hop.per_packet, hop.per_byte, hop.per_transaction)
            if not all(0.0 <= amount < float("inf") for amount in amounts) or not any(amounts):
                raise ModelError(f"Stream {self.id} takes no finite amount of {hop.resource}.")

    @property
    def hops(self) -> tuple[Hop, ...]:
        """All that it crosses, requests first."""
        return self.request + self.payload

    @property
    def transaction_bytes(self) -> float:
        """Payload of one transaction."""
        return sum(self.packets)
