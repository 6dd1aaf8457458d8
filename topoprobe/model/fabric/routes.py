"""A transfer over several ways at once: how many bytes take which, so that all end soonest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from topoprobe.errors import ModelError
from topoprobe.model.fabric.demand import Demand, Way
from topoprobe.model.fabric.resource import Resource
from topoprobe.model.fabric.timeline import ENDLESS, Move, Timeline

WORTH_RATIO = 1.0 - 1e-6  # another way has to save more than this of the time


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a transfer that takes one way.

    Attributes
    ----------
    way : Way
        Which.
    num_bytes : float
        Its payload.
    bottleneck : str or None
        The resource that holds it back at its end; None where its own cap does.
    """

    way: Way
    num_bytes: float
    bottleneck: str | None


@dataclass(frozen=True, slots=True)
class Split:
    """A transfer in pieces that end together.

    Attributes
    ----------
    pieces : tuple of Piece
        Most bytes first.
    duration_s : float
        Until the last byte has arrived.
    single_s : float
        The same over the best single way.
    """

    pieces: tuple[Piece, ...]
    duration_s: float
    single_s: float

    @property
    def gain(self) -> float:
        """How many times faster it is than over the best single way."""
        return self.single_s / self.duration_s

    @property
    def bottleneck(self) -> str | None:
        """The resource that holds back most of its bytes; None where caps do."""
        held: dict[str | None, float] = {}
        for piece in self.pieces:
            held[piece.bottleneck] = held.get(piece.bottleneck, 0.0) + piece.num_bytes
        return max(held, key=lambda name: held[name])


def split(
    resources: Iterable[Resource],
    ways: Sequence[Way],
    transfer: Move,
    in_flight: Sequence[Move] = (),
) -> Split:
    """Divide a transfer among its ways so that the last piece ends soonest.

    Pieces that are to end together need no bytes told beforehand: all ways that are used run until
    together they have moved everything, and what each has moved then is its piece. That takes in
    that other flows get slower because of the pieces, and that they end. Ways are added one at a
    time, the one that saves most first, as long as any does: a way that only takes from a better
    one is left out.

    Parameters
    ----------
    resources : iterable of Resource
        All that is crossed.
    ways : sequence of Way
        Candidates.
    transfer : Move
        The bytes, and a demand for its id, its transactions and its cap, which each piece has; its
        own way is not used.
    in_flight : sequence of Move
        Other flows, with what they have left.

    Returns
    -------
    Split
        Never slower than the best single way.

    Raises
    ------
    ModelError
        If there is no way, two have one name, the transfer has nothing to move or no end, or as
        `Timeline`.
    """
    known = tuple(resources)
    names = [way.name for way in ways]
    if not names or len(set(names)) < len(names):
        raise ModelError(
            f"{transfer.demand.id} has the ways {', '.join(names) or 'none'}; expected one at "
            "least, and a name of its own for each."
        )
    if not 0.0 < transfer.num_bytes < ENDLESS:
        raise ModelError(
            f"{transfer.demand.id} has {transfer.num_bytes:g} bytes to move; expected a finite "
            "number above zero."
        )
    singles = [_run(known, (way,), transfer, in_flight) for way in ways]
    best = single = min(singles, key=lambda each: each.duration_s)
    rest = [way for way in ways if way != single.pieces[0].way]
    while rest:
        used = tuple(piece.way for piece in best.pieces)
        wider = [_run(known, (*used, way), transfer, in_flight) for way in rest]
        first = min(range(len(rest)), key=lambda index: wider[index].duration_s)
        if wider[first].duration_s > best.duration_s * WORTH_RATIO:
            break
        best = wider[first]
        del rest[first]
    return replace(best, single_s=single.duration_s)


def _run(
    resources: Sequence[Resource], ways: Sequence[Way], transfer: Move, in_flight: Sequence[Move]
) -> Split:
    """Run pieces over all of some ways until they have moved everything."""
    timeline = Timeline(resources)
    for move in in_flight:
        timeline.start(move.demand, move.num_bytes)
    pieces = [_piece(transfer.demand, way) for way in ways]
    for piece in pieces:
        timeline.start(piece)
    left = transfer.num_bytes
    while True:
        got = timeline.allocations()
        rate = sum(got[piece.id].rate_bytes_per_s for piece in pieces)
        next_s = timeline.next_end_s()
        if next_s is None or left <= rate * (next_s - timeline.now_s):
            timeline.advance(timeline.now_s + left / rate)
            break
        left -= rate * (next_s - timeline.now_s)
        timeline.advance(next_s)
    parts = [
        Piece(way, timeline.moved_bytes(piece.id), got[piece.id].bottleneck)
        for way, piece in zip(ways, pieces, strict=True)
    ]
    parts.sort(key=lambda part: -part.num_bytes)
    return Split(tuple(parts), timeline.now_s, timeline.now_s)


def _piece(demand: Demand, way: Way) -> Demand:
    return replace(demand, id=f"{demand.id} {way.name}", along=way.along, beside=way.beside)
