"""Run streams through resources packet by packet, and measure what each gets after a warm-up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from topoprobe.errors import ModelError
from topoprobe.model.fabric.demand import Demand
from topoprobe.model.fabric.resource import Resource
from topoprobe.model.fabric.transactions.loop import NEVER, Counts, Loop, Plan, run
from topoprobe.model.fabric.transactions.plan import FS_PER_S, PortSetting, plan, server_ids
from topoprobe.model.fabric.transactions.stream import Hop, Stream

_BUSY_RATIO = 0.97
"""A resource that is busy for less of the time holds nobody back."""
_CAP_RATIO = 0.99
"""A stream that has so much of its cap is held back by it."""
_WARM_UP_RATIO = 0.25
_SHORTEST_S = 40e-6
"""Some thousand packets of a Gen5 link."""
_MOST_DOUBLINGS = 4
_HELD_RATIO = 0.005
"""Of what flows issue, so much may stay in buffers: what others get is wrong by no more."""
_HELD_TRANSACTIONS = 4
_ENOUGH_PACKETS = 100
_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stream got.

    Attributes
    ----------
    rate_bytes_per_s : float
        Payload delivered per second of the window.
    bottleneck : str or None
        The resource that holds it back; None where its own cap does, its limit of open
        transactions, or its end.
    num_packets : int
        Packets with payload delivered in the window.
    latency_s : float or None
        Mean time of its transactions, from issue to last packet; None where none ended.
    num_issued, num_finished : int
        Transactions, from the start to the end of the simulation.
    num_entered, num_ended : int
        Transactions, in the window. Where more enter, buffers fill and what others get is not
        their share yet.
    end_s : float or None
        When the last transaction of a finite stream was delivered; None if that was not seen.
    """

    rate_bytes_per_s: float
    bottleneck: str | None
    num_packets: int
    latency_s: float | None
    num_issued: int
    num_finished: int
    num_entered: int
    num_ended: int
    end_s: float | None


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulation saw.

    Attributes
    ----------
    outcomes : dict of str to Outcome
        By stream.
    busy_ratio : dict of str to float
        Part of the window in which each resource sent packets.
    num_packets : int
        Packets with payload delivered in the window.
    """

    outcomes: dict[str, Outcome]
    busy_ratio: dict[str, float]
    num_packets: int


def simulate_transactions(
    resources: Iterable[Resource],
    demands: Sequence[Demand],
    *,
    duration_s: float,
    seed: int = 0,
    warm_up_s: float | None = None,
    settings: Iterable[PortSetting] = (),
    loop: Loop = run,
) -> dict[str, Outcome]:
    """Simulate flows packet by packet; each transaction of a demand is one packet.

    What a demand takes beside its way, each packet takes first, as a read's request does.

    Parameters
    ----------
    resources : iterable of Resource
        What they share.
    demands : sequence of Demand
        Endless flows that start together.
    duration_s : float
        Simulated time. It should span hundreds of packets of the slowest flow.
    seed : int
        Of the phases in which flows start.
    warm_up_s : float, optional
        What is not counted at the beginning; a quarter of the duration unless told.
    settings : iterable of PortSetting
        Ports with weights or buffers of their own.
    loop : callable
        The event loop: `topoprobe.measure.devices.cpu.fabric.event_loop` has a compiled one.

    Returns
    -------
    dict of str to Outcome
        By demand.

    Raises
    ------
    ModelError
        If a resource is not there, ids repeat, or a time is out of range.
    """
    streams = [stream_of(demand) for demand in demands]
    return simulate(
        resources,
        streams,
        duration_s=duration_s,
        warm_up_s=warm_up_s,
        seed=seed,
        settings=settings,
        loop=loop,
    ).outcomes


def settled_transactions(
    resources: Iterable[Resource], demands: Sequence[Demand], *, loop: Loop = run
) -> dict[str, Outcome]:
    """Simulate flows until the buffers before what is slow are full.

    Until then an arbiter before them gives turns to flows that will have none to use later. The
    time is doubled as long as a flow has more enter than end, or too few packets to count; a flow
    that moves next to nothing is left at that after 16 times the shortest.

    Raises
    ------
    ModelError
        As `simulate_transactions`.
    """
    resources = tuple(resources)
    for doublings in range(_MOST_DOUBLINGS + 1):
        outcomes = simulate_transactions(
            resources, demands, duration_s=_SHORTEST_S * 2**doublings, loop=loop
        )
        if all(_is_settled(each) for each in outcomes.values()):
            break
    return outcomes


def _is_settled(outcome: Outcome) -> bool:
    held = abs(outcome.num_entered - outcome.num_ended)
    is_steady = held <= _HELD_TRANSACTIONS + _HELD_RATIO * outcome.num_ended
    return is_steady and outcome.num_packets >= _ENOUGH_PACKETS


def stream_of(demand: Demand) -> Stream:
    """Return a demand as a stream of transactions of one packet each."""
    along = tuple(Hop(use.resource, per_byte=use.per_byte) for use in demand.along)
    beside = tuple(Hop(use.resource, per_byte=use.per_byte) for use in demand.beside)
    most = demand.outstanding_bytes / demand.txn_bytes
    return Stream(
        id=demand.id,
        packets=(demand.txn_bytes,),
        payload=along or beside,
        request=beside if along else (),
        max_open=None if most == float("inf") else max(1, int(most)),
        cap_bytes_per_s=demand.cap_bytes_per_s,
    )


def simulate(
    resources: Iterable[Resource],
    streams: Sequence[Stream],
    *,
    duration_s: float,
    warm_up_s: float | None = None,
    seed: int = 0,
    settings: Iterable[PortSetting] = (),
    loop: Loop = run,
) -> Simulated:
    """Simulate streams from 0 to `duration_s`, and count what arrives after the warm-up.

    Raises
    ------
    ModelError
        As `simulate_transactions`.
    """
    begin_s = _WARM_UP_RATIO * duration_s if warm_up_s is None else warm_up_s
    if not duration_s <= _LONGEST_S:
        raise ModelError(
            f"A simulation of {duration_s:g} s was asked for; expected at most {_LONGEST_S:g} s, "
            "and microseconds show what flows share."
        )
    if not 0.0 <= begin_s < duration_s:
        raise ModelError(
            f"A warm-up of {begin_s:g} s in {duration_s:g} s leaves nothing to measure; expected "
            "a shorter one."
        )
    laid_out = plan(resources, streams, settings=settings, seed=seed)
    begin, end = round(begin_s * FS_PER_S), round(duration_s * FS_PER_S)
    counts = loop(laid_out, begin, end)
    window_s = (end - begin) / FS_PER_S
    busy = {
        name: time / FS_PER_S / window_s
        for name, time in zip(server_ids(streams), counts.server_busy, strict=True)
    }
    outcomes = {}
    for index, stream in enumerate(streams):
        form = laid_out.stage_form[laid_out.stream_stage[index + 1] - 1]
        counted = counts.form_counted[form : form + len(stream.packets)]
        moved = sum(number * size for number, size in zip(counted, stream.packets, strict=True))
        ended = counts.stream_counted[index]
        is_over = counts.stream_finished[index] == stream.num_transactions
        rate = _rate(stream, moved, window_s)
        outcomes[stream.id] = Outcome(
            rate_bytes_per_s=rate,
            bottleneck=_bottleneck(stream, rate, busy, _piled_up(laid_out, counts, index, stream)),
            num_packets=sum(counted),
            latency_s=counts.stream_latency[index] / ended / FS_PER_S if ended else None,
            num_issued=counts.stream_issued[index],
            num_finished=counts.stream_finished[index],
            num_entered=counts.stream_entered[index],
            num_ended=ended,
            end_s=counts.stream_last[index] / FS_PER_S if is_over else None,
        )
    return Simulated(outcomes, busy, sum(each.num_packets for each in outcomes.values()))


def _rate(stream: Stream, moved_bytes: float, window_s: float) -> float:
    """Return the payload rate: the cap, where not a whole transaction lacks.

    A window that begins just before a transaction arrives and ends just behind one counts one more
    than fits, and one the other way round one less.
    """
    cap = stream.cap_bytes_per_s
    is_at_cap = moved_bytes + stream.transaction_bytes > cap * window_s
    return cap if is_at_cap else moved_bytes / window_s


def _bottleneck(
    stream: Stream, rate_bytes_per_s: float, busy: dict[str, float], has_piled: Sequence[bool]
) -> str | None:
    """Return the last resource that is always busy and before which the stream's packets pile up.

    They also pile up before what the bottleneck gives no credit, but not beyond it.
    """
    if rate_bytes_per_s >= _CAP_RATIO * stream.cap_bytes_per_s:
        return None
    found = [
        hop.resource
        for hop, piled in zip(stream.hops, has_piled, strict=True)
        if piled and busy[hop.resource] >= _BUSY_RATIO
    ]
    return found[-1] if found else None


def _piled_up(laid_out: Plan, counts: Counts, index: int, stream: Stream) -> list[bool]:
    """Tell of each hop whether its queue was full, held most of what is open, or is the source."""
    first, last = laid_out.stream_stage[index : index + 2]
    open_bytes = (stream.max_open or NEVER) * stream.transaction_bytes
    piled = []
    for queue in laid_out.stage_queue[first:last]:
        own, most = laid_out.queue_own[queue], laid_out.queue_most[queue]
        enough = min(own, open_bytes / 2)
        piled.append(own == NEVER or counts.queue_peak[queue] + most > enough)
    return piled
