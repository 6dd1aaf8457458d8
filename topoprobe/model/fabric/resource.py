"""What flows share: one direction of a wire, a memory, an engine, a CPU, and how it is divided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from topoprobe.errors import ModelError
from topoprobe.records.base import Source


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a resource that is asked for more than it has divides itself among its ingress ports.

    A port's share grows as ``size ** exponent``. `size` is the payload of one transaction, or the
    bytes that a flow keeps outstanding. An arbiter that serves one transaction of each port in
    turn has exponent 1, one that counts bytes 0; the oldest packet first serves a port in
    proportion to what it has queued.

    Attributes
    ----------
    exponent : float
        Of the size, at least 0.
    by : str
        Which size counts.
    """

    exponent: float
    by: Literal["transaction", "outstanding"] = "transaction"


PER_TRANSACTION = Sharing(1.0)
BYTE_FAIR = Sharing(0.0)
OLDEST_FIRST = Sharing(1.0, by="outstanding")


@dataclass(frozen=True, slots=True)
class Resource:
    """Something with a capacity that flows share.

    Attributes
    ----------
    id : str
        Equal for all flows that use it.
    kind : str
        A `LinkKind`, or ``memory``, ``engine``, ``core``, ``storage``, ``port``.
    capacity_per_s : float
        Bytes on the wire per second, after line encoding and what acknowledgements take; for a
        ``core``, seconds of it per second, which is 1.
    sharing : Sharing
        How it is divided when it is asked for more.
    source : Source
        Whether its capacity was measured, derived or is nominal.
    evidence : str
        Where its capacity comes from, in words.
    latency_s : float
        What crossing it takes at least.
    """

    id: str
    kind: str
    capacity_per_s: float
    sharing: Sharing = PER_TRANSACTION
    source: Source = Source.NOMINAL
    evidence: str = ""
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what nothing can flow through.

        Raises
        ------
        ModelError
            If the capacity is not a finite number above zero.
        """
        if not 0.0 < self.capacity_per_s < float("inf"):
            raise ModelError(
                f"{self.id} has a capacity of {self.capacity_per_s:g}; expected a finite number "
                "above zero."
            )
