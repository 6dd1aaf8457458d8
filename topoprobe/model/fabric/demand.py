"""A flow as the fabric sees it: what it takes of which resources, in what order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from topoprobe.errors import ModelError


@dataclass(frozen=True, slots=True)
class Use:
    """What one payload byte of a flow takes of a resource.

    Attributes
    ----------
    resource : str
        Its id.
    per_byte : float
        Units of its capacity per payload byte: on a wire 1 plus the share of headers, and less
        where a fabric spreads a flow over several links; on a ``core`` seconds per byte.
    """

    resource: str
    per_byte: float


@dataclass(frozen=True, slots=True)
class Way:
    """One of the ways that a transfer can take.

    Attributes
    ----------
    name : str
        In words, as ``own path`` or ``over gpu:3``; unique among those of a transfer.
    along : tuple of Use
        As a `Demand` has it.
    beside : tuple of Use
        As a `Demand` has it.
    """

    name: str
    along: tuple[Use, ...]
    beside: tuple[Use, ...] = ()


@dataclass(frozen=True, slots=True)
class Demand:
    """A flow that wants to move as fast as what it crosses allows.

    Attributes
    ----------
    id : str
        Unique among the flows of one fabric.
    along : tuple of Use
        What its payload crosses, in order. The resource before another is the ingress port at
        which that other one meets the flow; at the first, each flow is a port of its own.
    beside : tuple of Use
        What it takes of resources that its payload does not cross: the requests of reads on the
        way back, a CPU's time, a memory's write-allocate traffic.
    txn_bytes : float
        Payload of one of its transactions.
    outstanding_bytes : float
        What it keeps in flight; infinite where nothing limits it.
    cap_bytes_per_s : float
        It never goes faster, infinite where nothing but resources limits it.
    """

    id: str
    along: tuple[Use, ...]
    beside: tuple[Use, ...] = ()
    txn_bytes: float = 256.0
    outstanding_bytes: float = float("inf")
    cap_bytes_per_s: float = float("inf")

    def __post_init__(self) -> None:
        """Refuse flows that cannot be.

        Raises
        ------
        ModelError
            If a size, a cap or a use is not above zero, or nothing limits the flow.
        """
        numbers = [self.txn_bytes, self.outstanding_bytes, self.cap_bytes_per_s]
        numbers += [use.per_byte for use in (*self.along, *self.beside)]
        if not all(number > 0.0 for number in numbers):
            raise ModelError(f"Flow {self.id} has a size, cap or use that is not above zero.")
        if not self.along and not self.beside and self.cap_bytes_per_s == float("inf"):
            raise ModelError(f"Flow {self.id} crosses nothing and has no cap: nothing limits it.")


class Allocation(NamedTuple):
    """What a flow gets.

    Attributes
    ----------
    rate_bytes_per_s : float
        Payload.
    bottleneck : str or None
        The resource that holds it back; None where its own cap does.
    """

    rate_bytes_per_s: float
    bottleneck: str | None
