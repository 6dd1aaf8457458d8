"""How a flow goes through a machine: who moves it, what it takes, what holds it back by itself.

One provider for each family of executors, asked in the order of `PROVIDERS`; a new family is one
function and one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine
from topoprobe.measure.flows import ExecutorKind, Flow, Work
from topoprobe.model.fabric.demand import Demand, Use
from topoprobe.model.fabric.machines import peers, rested
from topoprobe.model.fabric.machines.capacities import Capacities
from topoprobe.model.fabric.machines.keys import check_keys, does_load, unheeded
from topoprobe.model.fabric.machines.names import called
from topoprobe.model.fabric.machines.payloads import (
    KERNEL_PAYLOAD_BYTES,
    NVLINK_PAYLOAD_BYTES,
    pcie_payload_bytes,
    request_bytes,
)
from topoprobe.model.fabric.machines.transfers import Crossing, Transfer, cross, links_between
from topoprobe.records.base import Missing
from topoprobe.records.machine import AnyNode, Gpu, Nic, Numa, Nvme, PciNode

KERNEL_READS_BYTES = 26.3e3
"""What a copying kernel keeps asked for: 35.2 GB/s of an H100 [nvbandwidth-24], taken to stand
behind a switch, where a round trip is 746 ns here."""

OWN_CAP = "goes no faster by itself: its own cap"

_UNLIMITED = float("inf")


@dataclass(frozen=True, slots=True)
class PlacedFlow:
    """A flow on a machine, in the terms of the fabric.

    Attributes
    ----------
    demand : Demand
    unknown : tuple of str
        Resources that it crosses and that are taken not to limit it.
    cap_reason : str
        Why it goes no faster than its cap, as a whole predicate; empty where it has none.
    assumed : tuple of Missing
        What else its way takes for granted.
    is_staged : bool
        Whether it stops in host memory, both legs at once at best.
    route : str
        Which NICs and rails it takes between hosts; empty within one.
    """

    demand: Demand
    unknown: tuple[str, ...] = ()
    cap_reason: str = ""
    assumed: tuple[Missing, ...] = ()
    is_staged: bool = False
    route: str = ""

    @property
    def is_upper_bound(self) -> bool:
        """Whether what nobody knows makes it slower than is said, if anything."""
        return (self.is_staged or bool(self.unknown)) and not self.may_be_faster

    @property
    def may_be_faster(self) -> bool:
        """Whether what no source shows may make it faster than is said."""
        return any(one.fact in (peers.HIDDEN, rested.RESTED) for one in self.assumed)


@dataclass(frozen=True, slots=True)
class Site:
    """A machine with what it shares: where ways are found."""

    machine: Machine
    capacities: Capacities


@dataclass(frozen=True, slots=True)
class Trip:
    """A flow between two nodes of a place, to find the way of."""

    id: str
    flow: Flow
    source: AnyNode
    destination: AnyNode


Provider = Callable[[Site, Trip], PlacedFlow]


def placed_flow(site: Site, trip: Trip) -> PlacedFlow:
    """Return the way of a flow.

    Raises
    ------
    ModelError
        If nobody knows how its executor moves it, or there is no way between its ends.
    """
    check_keys(trip.flow)
    provider = PROVIDERS.get(trip.flow.executor.kind)
    if provider is None:
        raise ModelError(
            f"The fabric does not know how {trip.flow.executor} moves {trip.flow}; expected one of "
            f"{', '.join(PROVIDERS)}."
        )
    return provider(site, trip)


def _by_copy_engine(site: Site, trip: Trip) -> PlacedFlow:
    """Find the way of a copy engine: it reads from a host, and writes to a host and to peers."""
    gpu, pair = _gpu(trip), _peers(site, trip)
    gap = pair and peers.gap(site.machine, *pair)
    if gap:
        return _staged(site, trip, gap)
    is_read = not isinstance(trip.source, Gpu)
    transfer = _transfer(site, trip, gpu, is_read)
    crossing = cross(site.machine, site.capacities, transfer)
    engine = "in" if is_read else "within" if trip.source == trip.destination else "out"
    use = Use(f"engine:{gpu.id}:{engine}", 1.0)
    if use.resource not in site.capacities.resources:
        unknown = (*crossing.unknown, use.resource)
        return _way(site, trip, replace(crossing, unknown=unknown), transfer)
    # It stands between the GPU's memory and its wires.
    split = len(crossing.along) - 1 if is_read else 1
    along = (*crossing.along[:split], use, *crossing.along[split:])
    return _way(site, trip, replace(crossing, along=along), transfer)


def _by_kernel(site: Site, trip: Trip) -> PlacedFlow:
    """Find the way of a kernel: packets of a cache line, and no more reads than it can ask for."""
    gpu, pair = _gpu(trip), _peers(site, trip)
    gap = pair and peers.gap(site.machine, *pair)
    if gap:
        raise ModelError(
            f"{trip.flow} cannot be: {gap}, so no kernel reaches the other GPU's memory; use via "
            "ce, which is staged through host memory."
        )
    is_read = not isinstance(trip.source, Gpu)
    sent = _transfer(site, trip, gpu, is_read)
    transfer = replace(
        sent,
        payload_bytes=min(sent.payload_bytes, KERNEL_PAYLOAD_BYTES),
        request_bytes=min(sent.request_bytes, KERNEL_PAYLOAD_BYTES),
        nvlink_payload_bytes=min(sent.nvlink_payload_bytes, KERNEL_PAYLOAD_BYTES),
    )
    crossing = cross(site.machine, site.capacities, transfer)
    is_over_pcie = bool(links_between(site.machine, trip.source.id, trip.destination.id))
    in_flight = KERNEL_READS_BYTES if is_read and is_over_pcie else _UNLIMITED
    return _way(site, trip, crossing, transfer, in_flight)


def _by_network(site: Site, trip: Trip) -> PlacedFlow:
    """Find the way of a NIC: it writes what arrives, and reads what goes to the network."""
    return _by_device(site, trip, Nic)


def _by_drive(site: Site, trip: Trip) -> PlacedFlow:
    """Find the way of a drive: it writes what is read from it, and reads the rest."""
    return _by_device(site, trip, Nvme)


PROVIDERS: dict[ExecutorKind, Provider] = {
    "ce": _by_copy_engine,
    "sm": _by_kernel,
    "nic": _by_network,
    "nvme": _by_drive,
}


def _by_device(site: Site, trip: Trip, kind: type[Nic] | type[Nvme]) -> PlacedFlow:
    ends = [trip.source, trip.destination]
    device = next((end for end in ends if isinstance(end, kind)), None)
    if device is None:
        name = trip.flow.executor.kind
        raise ModelError(f"{trip.flow} names no {name} to move it; expected one at an end.")
    if all(isinstance(end, kind) for end in ends):
        raise ModelError(
            f"{trip.flow} has no memory at either end; expected a host or gpu at one of them."
        )
    transfer = _transfer(site, trip, device, is_read=trip.destination == device)
    return _way(site, trip, cross(site.machine, site.capacities, transfer), transfer)


def _transfer(site: Site, trip: Trip, mover: PciNode, is_read: bool) -> Transfer:
    """Return a flow's packets: as large as may be, unless its transactions are smaller."""
    if trip.flow.work is not Work.MEMCPY:
        measures = f", and bench measures {trip.flow.work}" if does_load(trip.flow) else ""
        raise ModelError(
            f"{trip.flow}: only copies by {trip.flow.executor} are predicted{measures}; leave out "
            "work=."
        )
    links = links_between(site.machine, trip.source.id, trip.destination.id)
    most = (
        pcie_payload_bytes(site.machine, links, mover),
        request_bytes(mover),
        NVLINK_PAYLOAD_BYTES,
    )
    told = trip.flow.txn_bytes
    payload, request, nvlink = most if told is None else (min(each, told) for each in most)
    return Transfer(
        source=trip.source.id,
        destination=trip.destination.id,
        is_read=is_read,
        payload_bytes=payload,
        request_bytes=request,
        nvlink_payload_bytes=nvlink,
    )


def _way(
    site: Site,
    trip: Trip,
    crossing: Crossing,
    transfer: Transfer,
    in_flight_bytes: float = _UNLIMITED,
) -> PlacedFlow:
    cap, reason = _UNLIMITED, ""
    if in_flight_bytes < _UNLIMITED:
        cap = in_flight_bytes / crossing.round_trip_s
        reason = (
            f"goes no faster by itself: a kernel keeps {in_flight_bytes / 1e3:.0f} kB of reads in "
            f"flight, which take {crossing.round_trip_s * 1e9:.0f} ns to come back (as an "
            "H100's [nvbandwidth-24])"
        )
    told = trip.flow.cap_bytes_per_s
    if told is not None and told < cap:
        cap, reason = told, OWN_CAP
    if not crossing.along and cap == _UNLIMITED:
        raise ModelError(
            f"Nothing that {trip.flow} crosses has a known capacity; measure this machine with "
            "`topoprobe profile`, or give the flow a cap."
        )
    demand = Demand(
        id=trip.id,
        along=crossing.along,
        beside=crossing.beside,
        txn_bytes=float(transfer.payload_bytes),
        outstanding_bytes=in_flight_bytes,
        cap_bytes_per_s=cap,
    )
    return PlacedFlow(demand, crossing.unknown, reason, tuple(_guesses(site, trip, crossing)))


def _guesses(site: Site, trip: Trip, crossing: Crossing) -> Iterator[Missing]:
    """Yield what is taken for granted beside capacities."""
    yield from rested.guesses(site.machine, site.capacities.resources, crossing.along)
    pair = _peers(site, trip)
    if pair is not None:
        yield from peers.guesses(site.machine, *pair)
    elif isinstance(trip.source, Numa) or isinstance(trip.destination, Numa):
        yield from peers.host_links(site.machine, _gpus(trip))
        yield from peers.shared_memory(_gpus(trip))
    yield from unheeded(trip.flow)


def _gpus(trip: Trip) -> tuple[Gpu, ...]:
    return tuple(end for end in (trip.source, trip.destination) if isinstance(end, Gpu))


def joined(first: PlacedFlow, last: PlacedFlow, over: tuple[Use, ...] = ()) -> PlacedFlow:
    """Return one way of two that a flow takes at once, the second one where the first ends.

    Parameters
    ----------
    first, last : PlacedFlow
    over : tuple of Use
        What it crosses between them.
    """
    one, other = first.demand, last.demand
    demand = Demand(
        id=one.id,
        along=_meeting(one.along, (*over, *other.along)),
        beside=(*one.beside, *other.beside),
        txn_bytes=min(one.txn_bytes, other.txn_bytes),
        cap_bytes_per_s=min(one.cap_bytes_per_s, other.cap_bytes_per_s),
    )
    return PlacedFlow(
        demand,
        tuple(dict.fromkeys((*first.unknown, *last.unknown))),
        first.cap_reason,
        (*first.assumed, *last.assumed),
        first.is_staged or last.is_staged,
    )


def _meeting(first: tuple[Use, ...], last: tuple[Use, ...]) -> tuple[Use, ...]:
    """Join two ways; where they meet in one memory, it is written and read."""
    if first and last and first[-1].resource == last[0].resource:
        both = Use(first[-1].resource, first[-1].per_byte + last[0].per_byte)
        return (*first[:-1], both, *last[1:])
    return (*first, *last)


def _staged(site: Site, trip: Trip, gap: str) -> PlacedFlow:
    """Go through the memory near the source's GPU, written and read again at once."""
    stop = site.machine.numa(trip.source.id) or next(
        (numa for numa in site.machine.all(Numa) if numa.memory_of is None), None
    )
    if stop is None:
        raise ModelError(f"{trip.flow} has no way: {gap}, and no host memory is known to stop in.")
    legs = (replace(trip, destination=stop), replace(trip, source=stop))
    first, last = (_by_copy_engine(site, leg) for leg in legs)
    one, other, memory = (
        called(site.machine, node.id) for node in (trip.source, trip.destination, stop)
    )
    staged = Missing(
        subject=trip.source.id,
        fact=peers.STAGED,
        reason=f"{one} to {other} is staged through the memory of {memory}, for {gap}; both legs "
        "go at once at best",
    )
    whole = joined(first, last)
    return replace(whole, assumed=(staged, *whole.assumed), is_staged=True)


def _peers(site: Site, trip: Trip) -> tuple[Gpu, Gpu] | None:
    """Return two GPUs with only PCIe between them; None where the ends are anything else."""
    source, destination = trip.source, trip.destination
    if not isinstance(source, Gpu) or not isinstance(destination, Gpu) or source == destination:
        return None
    if peers.is_direct(site.machine, source.id, destination.id):
        return None
    return source, destination


def _gpu(trip: Trip) -> Gpu:
    """Return the GPU that moves: where bytes come from, or else where they go."""
    for gpu in _gpus(trip):
        return gpu
    raise ModelError(
        f"{trip.flow} has no GPU to move it; expected a gpu at one of its ends, or another "
        "executor."
    )
