"""The fabric of a pod: hosts, rails and spine as one graph of resources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from topoprobe.errors import InputError, ModelError
from topoprobe.machine.nearness import nearest_nics
from topoprobe.machine.view import Machine
from topoprobe.measure.ends import in_pci_order
from topoprobe.measure.flows import End, Executor, Flow
from topoprobe.model.fabric.demand import Use
from topoprobe.model.fabric.machines.fabric import MachineFabric, resolve
from topoprobe.model.fabric.machines.peers import HIDDEN
from topoprobe.model.fabric.machines.places import NETWORK_RATIO
from topoprobe.model.fabric.machines.ways import PlacedFlow, joined
from topoprobe.model.fabric.pods.grammar import Network, Pod
from topoprobe.model.fabric.resource import BYTE_FAIR, Resource
from topoprobe.records.base import Missing
from topoprobe.records.machine import AnyNode, Gpu, Nic, Numa


@dataclass(frozen=True, slots=True)
class _Host:
    """A kind of host, and its NICs in the network, by rail."""

    fabric: MachineFabric
    nics: tuple[Nic, ...]


class PodFabric:
    """Machines that a network joins.

    Parameters
    ----------
    pod : Pod
        Its text, read.
    read : callable
        From a group's machine to the machine; called once per group.

    Raises
    ------
    InputError
        If a machine has no NIC that fits the network.
    """

    def __init__(self, pod: Pod, read: Callable[[str], Machine]) -> None:
        self._network = pod.network
        self._hosts: list[_Host] = []
        for group in pod.groups:
            host = _host(group.machine, read(group.machine), pod.network)
            self._hosts += [host] * group.number

    @property
    def num_hosts(self) -> int:
        """How many hosts there are."""
        return len(self._hosts)

    @cached_property
    def resources(self) -> Mapping[str, Resource]:
        """What flows share, by id: a host's resources begin with ``h3/``."""
        found = {
            f"h{index}/{name}": replace(one, id=f"h{index}/{name}")
            for index, host in enumerate(self._hosts)
            for name, one in host.fabric.resources.items()
        }
        found |= {one.id: one for one in self._spine()}
        return found

    def place(self, flow: Flow, flow_id: str) -> PlacedFlow:
        """Return how a flow goes, within a host or over the network.

        Raises
        ------
        ModelError
            If an end names no host or none that there is, or there is no way.
        """
        source, destination = self._index(flow, flow.source), self._index(flow, flow.destination)
        if source == destination:
            within = replace(
                flow,
                source=replace(flow.source, host=None),
                destination=replace(flow.destination, host=None),
            )
            return _prefixed(self._hosts[source].fabric.place(within, flow_id), source)
        if flow.executor.kind != "nic":
            raise ModelError(f"{flow} goes to another host, which only a nic does; leave out via.")
        return self._between(flow, flow_id, source, destination)

    def among(self, placed: Mapping[int, PlacedFlow]) -> Mapping[int, PlacedFlow]:
        """Return the same flows: what one takes does not depend on others."""
        return placed

    def words(self, resource_id: str) -> str:
        """Return what people call a resource."""
        host, _, name = resource_id.partition("/")
        if not name:
            rail, _, way = resource_id.removeprefix("rail:").partition(":")
            return f"the links of rail {rail} {'to' if way == 'up' else 'from'} the spine"
        return f"{self._hosts[int(host[1:])].fabric.words(name)} of {host}"

    def unknown(self, resource_id: str) -> Missing:
        """Return why a resource limits nothing."""
        host, _, name = resource_id.partition("/")
        return replace_subject(self._hosts[int(host[1:])].fabric.unknown(name), resource_id)

    def _spine(self) -> Iterator[Resource]:
        ratio = self._network.oversubscription_ratio
        if ratio is None or self._network.kind == "flat":
            return
        for rail in range(max(len(host.nics) for host in self._hosts)):
            nics = [host.nics[rail] for host in self._hosts if rail < len(host.nics)]
            total = sum(_rate(nic, self._network) for nic in nics) / 8
            for way in ("up", "down"):
                yield Resource(
                    id=f"rail:{rail}:{way}",
                    kind="network",
                    capacity_per_s=total * NETWORK_RATIO / ratio,
                    sharing=BYTE_FAIR,
                    evidence=f"{len(nics)} NICs below it, oversubscribed {ratio:g}:1",
                )

    def _index(self, flow: Flow, end: End) -> int:
        if end.host is None:
            raise ModelError(
                f"{flow} does not say of which host {end} is; expected h0/{end} to "
                f"h{self.num_hosts - 1}/{end}."
            )
        if end.host >= self.num_hosts:
            raise ModelError(f"The pod has no {end}: its hosts are h0 to h{self.num_hosts - 1}.")
        return end.host

    def _between(self, flow: Flow, flow_id: str, source: int, destination: int) -> PlacedFlow:
        """Go to the NIC of the source's rail, over the network, and from a NIC to the end."""
        hosts = self._hosts[source], self._hosts[destination]
        out, into = (
            _rail(host, resolve(host.fabric.machine, end), flow)
            for host, end in zip(hosts, (flow.source, flow.destination), strict=True)
        )
        over: tuple[Use, ...] = ()
        if self._network.kind == "rail" and out != into:
            if self._network.oversubscription_ratio is None:
                into = out
            else:
                over = (Use(f"rail:{out}:up", 1.0), Use(f"rail:{into}:down", 1.0))
        if into >= len(hosts[1].nics):
            raise ModelError(
                f"There is no way for {flow}: h{destination} has no NIC on rail {into}, and no "
                "spine joins the rails."
            )
        first = _leg(hosts[0], flow, flow_id, out, leaves=True)
        last = _leg(hosts[1], flow, flow_id, into, leaves=False)
        whole = joined(_prefixed(first, source), _prefixed(last, destination), over)
        return replace(
            whole,
            route=self._route((source, out), (destination, into)),
            assumed=(*whole.assumed, *_left_out(hosts, flow)),
        )

    def _route(self, leaves: tuple[int, int], arrives: tuple[int, int]) -> str:
        """Name the NICs of a flow between hosts, each a host and a rail, and what is between."""
        first, last = (
            f"nic:{self._hosts[host].nics[rail].name} of h{host}"
            for host, rail in (leaves, arrives)
        )
        if self._network.kind == "flat":
            return f"{first}, the one switch, {last}"
        if leaves[1] == arrives[1]:
            return f"{first}, rail {leaves[1]}, {last}"
        return f"{first}, rail {leaves[1]}, the spine, rail {arrives[1]}, {last}"


def replace_subject(missing: Missing, subject: str) -> Missing:
    """Return the same gap, of another subject."""
    return Missing(subject=subject, fact=missing.fact, reason=missing.reason)


def _host(name: str, machine: Machine, network: Network) -> _Host:
    nics = [nic for nic in in_pci_order(machine.all(Nic)) if _told(nic) is not None]
    fastest = max((_told(nic) or 0.0 for nic in nics), default=0.0)
    wanted = network.rate_bits_per_s or fastest
    taking_part = tuple(nic for nic in nics if (_told(nic) or 0.0) >= wanted)
    if not fastest:
        raise InputError(
            f"No source tells the rate of a NIC of {name}; expected machines whose NICs are known "
            "to carry something."
        )
    if not taking_part:
        raise InputError(
            f"{name} has no NIC that carries {wanted / 1e9:g} Gb/s; its fastest one carries "
            f"{fastest / 1e9:g}."
        )
    fabric = MachineFabric(machine)
    slower = [
        replace(
            one,
            capacity_per_s=wanted / 8 * NETWORK_RATIO,
            evidence=f"the network's {wanted / 1e9:g} Gb/s x {NETWORK_RATIO} [oci-gb300]",
        )
        for nic in taking_part
        for way in ("in", "out")
        if (one := fabric.resources[f"port:{nic.id}:{way}"]).capacity_per_s
        > wanted / 8 * NETWORK_RATIO
    ]
    return _Host(MachineFabric(machine, capacities=fabric.capacities.having(slower)), taking_part)


def _told(nic: Nic) -> float | None:
    rates = [port.rate_bits_per_s for port in nic.ports if port.rate_bits_per_s is not None]
    return sum(rates) if rates else None


def _rate(nic: Nic, network: Network) -> float:
    return min(_told(nic) or 0.0, network.rate_bits_per_s or float("inf"))


def _rail(host: _Host, node: AnyNode, flow: Flow) -> int:
    """Return the rail of the NIC that serves an end best; equally near ones take turns."""
    machine = host.fabric.machine
    if isinstance(node, Gpu):
        _, near = nearest_nics(machine, node.id, host.nics)
        place = in_pci_order(machine.all(Gpu)).index(node)
    elif isinstance(node, Numa):
        near = [nic.id for nic in host.nics if machine.numa(nic.id) == node]
        place = 0
    else:
        raise ModelError(
            f"{flow} ends at {node.id}, and flows between hosts go from memory to memory; expected "
            "a gpu or host at both ends."
        )
    ids = [nic.id for nic in host.nics]
    return ids.index(near[place % len(near)]) if near else place % len(ids)


def _leg(host: _Host, flow: Flow, flow_id: str, rail: int, *, leaves: bool) -> PlacedFlow:
    nic = End("nic", host.nics[rail].name)
    memory = replace(flow.source if leaves else flow.destination, host=None)
    source, destination = (memory, nic) if leaves else (nic, memory)
    leg = replace(flow, source=source, destination=destination, executor=Executor("nic"))
    return host.fabric.place(leg, flow_id)


def _left_out(hosts: tuple[_Host, _Host], flow: Flow) -> Iterator[Missing]:
    """Yield that NVLinks between machines are left out, where both GPUs are made for them."""
    nodes = [
        resolve(host.fabric.machine, end)
        for host, end in zip(hosts, (flow.source, flow.destination), strict=True)
    ]
    if all(isinstance(node, Gpu) and _is_in_a_clique(node) for node in nodes):
        yield Missing(
            subject="nvlinks",
            fact=HIDDEN,
            reason="NVLinks between machines are not modelled, so copies go by NIC here; between "
            "GPUs of one NVLink clique they are faster",
        )


def _is_in_a_clique(gpu: Gpu) -> bool:
    return gpu.fabric is not None and None not in (gpu.fabric.cluster_uuid, gpu.fabric.clique_id)


def _prefixed(placed: PlacedFlow, host: int) -> PlacedFlow:
    def of_host(uses: Iterable[Use]) -> tuple[Use, ...]:
        return tuple(Use(f"h{host}/{use.resource}", use.per_byte) for use in uses)

    demand = placed.demand
    return replace(
        placed,
        demand=replace(demand, along=of_host(demand.along), beside=of_host(demand.beside)),
        unknown=tuple(f"h{host}/{name}" for name in placed.unknown),
        assumed=tuple(
            Missing(
                subject=f"h{host}/{one.subject}", fact=one.fact, reason=f"h{host}: {one.reason}"
            )
            for one in placed.assumed
        ),
    )
