"""Lay out resources and streams as the event loop reads them: stages, queues, ports, servers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from random import Random
from typing import TypeAlias, TypeVar

from topoprobe.errors import ModelError
from topoprobe.model.fabric.resource import Resource
from topoprobe.model.fabric.transactions.loop import NEVER, Plan
from topoprobe.model.fabric.transactions.stream import Hop, Stream

FS_PER_S = 1e15
"""Femtoseconds: 64 bytes take 8 ps of a memory with 8 TB/s."""
# Longer than any simulation; a few of them still fit into 64 bits.
_ENDLESS = NEVER // 64
# A buffer holds what is under way until credit is back, and some packets on top, as large as any
# that its sender may send in between, so that what it limits is the sender that has nowhere to go
# and not the link.
_SPARE_TRANSACTIONS = 4
# Of a buffer that several queues share, parts that no queue has for itself. As long as each has
# more than its own part, all are in it in the order in which they came, as in one queue.
_COMMON_PARTS = 14

_Name = TypeVar("_Name")
# A resource, where its packets come from, and of which kind they are.
PortKey: TypeAlias = tuple[str, str, str]
# Whose packets wait, where any stream's do not, and what they cross beyond.
QueueKey: TypeAlias = tuple[str, tuple[str, ...]]
# A port, and the way from its resource to one of those beyond.
Claim: TypeAlias = tuple[PortKey, tuple[str, ...]]
# The same for all ports of a resource whose packets are of one kind.
Place: TypeAlias = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class PortSetting:
    """What is special about the ports where packets from one resource (or stream) meet another.

    Posted writes, requests and completions have ports of their own, which all get this.

    Attributes
    ----------
    resource : str
        Whose port it is.
    ingress : str
        The resource, or for first hops the stream, that packets come from.
    weight : float
        Of its turns: 2 has twice the share of 1.
    buffer_bytes : float or None
        Payload that a port takes, or requests ask for: its credits. None for as much as keeps the
        link busy.
    """

    resource: str
    ingress: str
    weight: float = 1.0
    buffer_bytes: float | None = None


@dataclass(slots=True)
class _Buffer:
    """What one port's packets are kept in."""

    upstream: str | None
    rate_bytes_per_s: float = 0.0  # of payload, that one way can take at most
    latency_s: float = 0.0
    most_bytes: float = 0.0
    between_bytes: float = 0.0  # the largest packet that its sender sends
    queues: set[QueueKey] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Stage:
    """One hop of one stream, and the queue before it."""

    stream: int
    hop: Hop
    port: PortKey
    queue: QueueKey
    amounts: tuple[float, ...]  # payload of each of its packets, of a request what it asks for
    num_beyond: int  # hops that its packets cross beyond

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The places that its packets go on to, the next one first."""
        _, way = self.queue
        return tuple((self.port, way[: at + 1]) for at in range(self.num_beyond))


def plan(
    resources: Iterable[Resource],
    streams: Sequence[Stream],
    *,
    settings: Iterable[PortSetting] = (),
    seed: int = 0,
) -> Plan:
    """Return what the loop reads.

    Parameters
    ----------
    resources : iterable of Resource
        All that streams cross, and perhaps more.
    streams : sequence of Stream
        With different ids.
    settings : iterable of PortSetting
        Ports that differ from the others.
    seed : int
        Shifts each stream's start by up to one packet, so that none is in step with another.

    Raises
    ------
    ModelError
        If there is no stream, ids repeat, or a resource or port is not there.
    """
    known = {resource.id: resource for resource in resources}
    _require_known(known, streams)
    stages = [stage for index, each in enumerate(streams) for stage in _stages(index, each)]
    special = _by_port(settings, stages)
    servers = sorted({stage.hop.resource for stage in stages})
    ports = sorted({stage.port for stage in stages})
    queues = sorted({(stage.port, stage.queue) for stage in stages})
    buffers = _buffers(known, stages)
    sizes = {port: _size(buffers[port], special.get(port[:2])) for port in ports}
    for port in ports:
        _require_room(port, buffers[port], sizes[port])
    number = {name: index for index, name in enumerate(servers)}
    forms = [(stage, amount) for stage in stages for amount in stage.amounts]
    units = [unit for stage in stages for unit in _units(stage)]
    queue_number = {key: index for index, key in enumerate(queues)}
    stage_queue = [queue_number[stage.port, stage.queue] for stage in stages]
    port_number = {port: index for index, port in enumerate(ports)}
    queue_port = [port_number[port] for port, _ in queues]
    queue_beyond = [-1] * len(queues)
    for at, (stage, after) in enumerate(pairwise(stages)):
        if stage.stream == after.stream:
            queue_beyond[stage_queue[at]] = stage_queue[at + 1]
    claims = {(stage.port, stage.queue): stage.claims for stage in stages}
    queue_claims = [claims[key] for key in queues]
    claim_number = _numbers(claim for each in queue_claims for claim in each)
    place_number = _numbers(_place(claim) for claim in claim_number)
    stage_form = _begins([len(stage.amounts) for stage in stages])
    random = Random(seed)
    return Plan(
        stream_stage=_begins([len(each.hops) for each in streams]),
        stream_turn=[
            begin + len(each.request)
            for begin, each in zip(_begins([len(s.hops) for s in streams]), streams, strict=False)
        ],
        stream_num_packets=[len(each.packets) for each in streams],
        stream_max_open=[each.max_open or 1 for each in streams],
        stream_is_shown=[int(each.max_open is None) for each in streams],
        stream_gap=[_fs(each.transaction_bytes / each.cap_bytes_per_s) for each in streams],
        stream_start=[
            _fs(each.start_s + random.random() * _first_service_s(known, each)) for each in streams
        ],
        stream_left=[
            NEVER if each.num_transactions is None else each.num_transactions for each in streams
        ],
        stage_stream=[stage.stream for stage in stages],
        stage_queue=stage_queue,
        stage_form=stage_form[:-1],
        stage_latency=[_fs(known[stage.hop.resource].latency_s) for stage in stages],
        form_service=[
            max(1, _fs(unit / known[stage.hop.resource].capacity_per_s))
            for unit, (stage, _) in zip(units, forms, strict=True)
        ],
        form_cost=[
            unit ** (1.0 - _exponent(known[stage.hop.resource]))
            for unit, (stage, _) in zip(units, forms, strict=True)
        ],
        form_bytes=[ceil(amount) for _, amount in forms],
        form_queue=[
            queue for stage, queue in zip(stages, stage_queue, strict=True) for _ in stage.amounts
        ],
        queue_port=queue_port,
        queue_beyond=queue_beyond,
        queue_way=_begins([len(each) for each in queue_claims]),
        queue_own=[_bytes(sizes[port] / _num_parts(buffers[port])) for port, _ in queues],
        queue_most=[ceil(buffers[port].most_bytes) for port, _ in queues],
        way_claim=[claim_number[claim] for each in queue_claims for claim in each],
        claim_place=[place_number[_place(claim)] for claim in claim_number],
        place_server=[number[way[-1]] for _, _, way in place_number],
        port_queue=_begins([queue_port.count(port) for port in range(len(ports))]),
        port_common=[_common_bytes(buffers[port], sizes[port]) for port in ports],
        port_upstream=[
            -1 if (upstream := buffers[port].upstream) is None else number[upstream]
            for port in ports
        ],
        port_latency=[_fs(buffers[port].latency_s) for port in ports],
        port_server=[number[port[0]] for port in ports],
        port_share=[
            1.0 / special[port[:2]].weight if port[:2] in special else 1.0 for port in ports
        ],
        server_port=_begins([sum(port[0] == name for port in ports) for name in servers]),
        server_is_fair=[int(known[name].sharing.by == "transaction") for name in servers],
    )


def server_ids(streams: Iterable[Stream]) -> list[str]:
    """Return the resources in the order in which a plan numbers its servers."""
    return sorted({hop.resource for each in streams for hop in each.hops})


def _stages(index: int, stream: Stream) -> Iterator[_Stage]:
    """Yield the hops of a stream; what differs beyond a hop has queues of its own before it."""
    hops, turn = stream.hops, len(stream.request)
    for at, hop in enumerate(hops):
        ingress = f"stream {stream.id}" if at in (0, turn) else hops[at - 1].resource
        beyond = tuple(each.resource for each in hops[at + 1 :])
        kind = "request" if at < turn else "completion" if turn else "posted"
        whose = stream.id if at < turn else ""
        total = (stream.transaction_bytes,)
        yield _Stage(
            stream=index,
            hop=hop,
            port=(hop.resource, ingress, kind),
            queue=(whose, beyond),
            amounts=total if at < turn else stream.packets,
            num_beyond=(turn if at < turn else len(hops)) - at - 1,
        )


def _units(stage: _Stage) -> list[float]:
    """Return what each packet of a transaction takes of the stage's resource."""
    return [stage.hop.units(amount, first=at == 0) for at, amount in enumerate(stage.amounts)]


def _buffers(known: dict[str, Resource], stages: Sequence[_Stage]) -> dict[PortKey, _Buffer]:
    """Return each port's buffer, with what its sender may have under way."""
    buffers: dict[PortKey, _Buffer] = {}
    largest: dict[str, float] = {}
    for stage in stages:
        name = stage.hop.resource
        largest[name] = max(largest.get(name, 0.0), *stage.amounts)
    before: _Stage | None = None
    for stage, onwards in zip(stages, _rates_onwards(known, stages), strict=True):
        if before is None or before.stream != stage.stream:
            buffer = buffers.setdefault(stage.port, _Buffer(upstream=None))
            at_once = max(stage.amounts)
        else:
            sender = known[before.hop.resource]
            buffer = buffers.setdefault(stage.port, _Buffer(sender.id, latency_s=sender.latency_s))
            # What comes faster than it goes on would only fill the buffer, however large.
            rate = min(_rate(known, before), onwards)
            buffer.rate_bytes_per_s = max(buffer.rate_bytes_per_s, rate)
            buffer.between_bytes = largest[sender.id]
            is_turn = before.port[2] != stage.port[2]
            at_once = sum(stage.amounts) if is_turn else max(stage.amounts)
        buffer.most_bytes = max(buffer.most_bytes, at_once)
        buffer.queues.add(stage.queue)
        before = stage
    return buffers


def _rates_onwards(known: dict[str, Resource], stages: Sequence[_Stage]) -> list[float]:
    """Return the payload rate that each stage and those of its stream beyond it can take."""
    rates: list[float] = []
    beyond = -1
    for stage in reversed(stages):
        rate, is_on_way = _rate(known, stage), stage.stream == beyond
        rates.append(min(rate, rates[-1]) if is_on_way else rate)
        beyond = stage.stream
    return rates[::-1]


def _rate(known: dict[str, Resource], stage: _Stage) -> float:
    return sum(stage.amounts) * known[stage.hop.resource].capacity_per_s / sum(_units(stage))


def _size(buffer: _Buffer, setting: PortSetting | None) -> float:
    if buffer.upstream is None:
        return float("inf")
    if setting is not None and setting.buffer_bytes is not None:
        return setting.buffer_bytes
    under_way = 2.0 * buffer.latency_s * buffer.rate_bytes_per_s
    spare = _SPARE_TRANSACTIONS * max(buffer.most_bytes, buffer.between_bytes)
    return _num_parts(buffer) * (under_way + spare)


def _common_bytes(buffer: _Buffer, size: float) -> int:
    """Return what of a buffer no queue has for itself."""
    num_common = _num_parts(buffer) - len(buffer.queues)
    return _bytes(size * num_common / _num_parts(buffer)) if num_common else 0


def _num_parts(buffer: _Buffer) -> int:
    """Return into how many parts a buffer is divided: one for each queue, and the common ones."""
    num_queues = len(buffer.queues)
    return 1 if num_queues == 1 else num_queues + _COMMON_PARTS


def _bytes(size: float) -> int:
    return NEVER if size == float("inf") else round(size)


def _by_port(
    settings: Iterable[PortSetting], stages: Sequence[_Stage]
) -> dict[tuple[str, str], PortSetting]:
    there = {stage.port[:2] for stage in stages}
    found = {}
    for each in settings:
        keys = ((each.resource, each.ingress), (each.resource, f"stream {each.ingress}"))
        key = next((key for key in keys if key in there), None)
        if key is None:
            raise ModelError(f"No stream comes from {each.ingress} to {each.resource}.")
        if not 0.0 < each.weight < float("inf"):
            raise ModelError(f"The port from {each.ingress} has a weight of {each.weight:g}.")
        found[key] = each
    return found


def _require_known(known: dict[str, Resource], streams: Sequence[Stream]) -> None:
    ids = [each.id for each in streams]
    if not ids:
        raise ModelError("There is no stream to simulate; expected at least one.")
    if len(set(ids)) < len(ids):
        raise ModelError(f"Streams share an id; expected different ones among {', '.join(ids)}.")
    for each in streams:
        for hop in each.hops:
            if hop.resource not in known:
                raise ModelError(
                    f"Stream {each.id} crosses {hop.resource}, which is not among the "
                    f"{len(known)} resources."
                )


def _require_room(port: PortKey, buffer: _Buffer, size: float) -> None:
    if not size / _num_parts(buffer) >= buffer.most_bytes:
        raise ModelError(
            f"The buffer from {port[1]} to {port[0]} holds {size:g} bytes; expected at least "
            f"{_num_parts(buffer) * buffer.most_bytes:g}, so that each of its {len(buffer.queues)} "
            "queues has room for a packet."
        )


def _exponent(resource: Resource) -> float:
    sharing = resource.sharing
    if sharing.by == "outstanding" and sharing.exponent != 1.0:
        raise ModelError(
            f"{resource.id} shares by outstanding bytes with exponent {sharing.exponent:g}; "
            "packets can be simulated with 1 (oldest first). Use the fluid model for others."
        )
    return sharing.exponent


def _place(claim: Claim) -> Place:
    (resource, _, kind), way = claim
    return (resource, kind, way)


def _numbers(names: Iterable[_Name]) -> dict[_Name, int]:
    """Give each name a number, in the order in which they come."""
    return {name: index for index, name in enumerate(dict.fromkeys(names))}


def _first_service_s(known: dict[str, Resource], stream: Stream) -> float:
    hop = stream.hops[0]
    return hop.units(stream.packets[0], first=True) / known[hop.resource].capacity_per_s


def _begins(lengths: Iterable[int]) -> list[int]:
    begins = [0]
    for length in lengths:
        begins.append(begins[-1] + length)
    return begins


def _fs(seconds: float) -> int:
    return round(min(seconds * FS_PER_S, _ENDLESS))
