"""Assembling a made-up machine: a tree of items in, the facts that a source would tell out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from topoprobe.machine.facts import (
    Facts,
    GpuFact,
    HostFact,
    NicFact,
    NumaFact,
    PackageFact,
    PciFact,
    RootFact,
    StorageFact,
)
from topoprobe.machine.pcie import capability_of_generation
from topoprobe.machine.synthetic.attributes import Traits, traits_of
from topoprobe.machine.synthetic.grammar import Item, mistake
from topoprobe.machine.synthetic.links import PlacedGpu, Wiring, links_of
from topoprobe.records.machine import Fabric, NicPort, PortRole

_CORES = 32
_GENERATION = 5
_LANES = {"nvme": 4}
_CLASSES = {"gpu": "030200", "nic": "020000", "nvme": "010802", "nvswitch": "068000"}
# A device without a part has a class and no vendor, which does not make it one of these.
_KINDS: dict[str, Literal["gpu", "nvswitch"]] = {"gpu": "gpu", "nvswitch": "nvswitch"}
_INFINIBAND = "020700"
_MELLANOX = "15b3"
_NUM_BUSES = 256
# Device numbers on one bus; 0 stays free on a root bus, where a host bridge has it.
_NUM_SLOTS = 32
# What all made-up cliques belong to: "synthetic" in ASCII.
_CLUSTER = "73796e74-6865-7469-6300-000000000000"


class _Place(NamedTuple):
    """Where something stands: its host bridge, the bus it is on, and what is above it."""

    root: str
    bus: int
    parent: str | None
    generation: int
    numa: int

    @property
    def domain(self) -> str:
        return self.root.partition(":")[0]


def assemble(items: Sequence[Item], name: str, wiring: Wiring = ()) -> Facts:
    """Return the facts of a made-up machine.

    Parameters
    ----------
    items : sequence of Item
        Its parts.
    name : str
        What it is called.
    wiring : tuple of (int, int, int)
        Pairs of GPUs by number that are joined, and by how many NVLinks; beside those that the
        items ask for.

    Raises
    ------
    InputError
        If the parts do not fit together.
    """
    assembly = _Assembly()
    for socket in _sockets(items):
        for _ in range(socket.number):
            assembly.add_socket(socket)
    return assembly.facts(name, wiring)


def _sockets(items: Sequence[Item]) -> Sequence[Item]:
    """Return the sockets; things without one share a socket of their own."""
    loose = [item for item in items if item.kind != "socket"]
    if not loose:
        return items
    if len(loose) < len(items):
        raise mistake(
            loose[0].position, f"a {loose[0].kind} beside a socket", "it to stand in a socket"
        )
    return (Item("socket", 1, (), tuple(items), 0),)


class _Assembly:
    """Collects facts and hands out indexes, buses and addresses."""

    def __init__(self) -> None:
        self._packages: list[PackageFact] = []
        self._numas: list[tuple[int, Traits, int]] = []
        self._roots: list[RootFact] = []
        self._functions: list[PciFact] = []
        self._nics: list[NicFact] = []
        self._storage: list[StorageFact] = []
        self._gpus: list[PlacedGpu] = []
        self._nvswitches: list[str] = []
        self._domain, self._bus = 0, 0
        self._num_verbs_ports = self._num_net_ports = 0

    def add_socket(self, item: Item) -> None:
        package, traits = len(self._packages), traits_of(item)
        cores = traits.cores or (traits.cpu.num_cores if traits.cpu else _CORES)
        threads = traits.threads or (traits.cpu.threads_per_core if traits.cpu else 1)
        self._packages.append(
            PackageFact(
                os_index=package,
                name=traits.cpu.name if traits.cpu else None,
                vendor=traits.cpu.vendor if traits.cpu else None,
                architecture=traits.cpu.architecture if traits.cpu else None,
                num_cores=cores,
                num_threads=cores * threads,
                base_clock_hz=traits.cpu.base_clock_hz if traits.cpu else None,
            )
        )
        generation = traits.gen or (traits.cpu.generation if traits.cpu else _GENERATION)
        for numa in _numas_of(item):
            for _ in range(numa.number):
                self._add_numa(numa, package, generation)

    def _add_numa(self, item: Item, package: int, generation: int) -> None:
        traits = traits_of(item)
        index = traits.index
        if index is None:
            index = 1 + max((known for known, _, _ in self._numas), default=-1)
        if index in [known for known, _, _ in self._numas]:
            raise mistake(item.position, f"a second NUMA node {index}", "another index")
        self._numas.append((index, traits, package))
        for root in _roots_of(item):
            for _ in range(root.number):
                traits_of(root)
                self._add_root(root, index, generation)

    def _add_root(self, item: Item, numa: int, generation: int) -> None:
        num_buses = 1 + _num_buses(item.children)
        if num_buses > _NUM_BUSES:
            raise mistake(
                item.position, f"a host bridge with {num_buses} buses", f"at most {_NUM_BUSES}"
            )
        if self._bus + num_buses > _NUM_BUSES:
            self._domain, self._bus = self._domain + 1, 0
        key = f"{self._domain:04x}:{self._bus:02x}"
        self._roots.append(RootFact(key=key, numa_index=numa))
        place = _Place(key, self._take_bus(), None, generation, numa)
        self._add_all(item.children, place, PortRole.ROOT, first_slot=1)

    def _add_all(
        self, items: Sequence[Item], place: _Place, role: PortRole, first_slot: int
    ) -> None:
        """Give each child a port on this bus, and put the child below it."""
        each = [item for item in items for _ in range(item.number)]
        if len(each) > _NUM_SLOTS - first_slot:
            raise mistake(
                items[0].position,
                f"{len(each)} things on one bus",
                f"at most {_NUM_SLOTS - first_slot}; put some in another root or switch",
            )
        for slot, item in enumerate(each, first_slot):
            traits = traits_of(item)
            port = f"{place.domain}:{place.bus:02x}:{slot:02x}.0"
            self._functions.append(
                PciFact(
                    address=port,
                    root=place.root,
                    parent=place.parent,
                    class_code="060400",
                    role=role,
                    maximum=capability_of_generation(place.generation, _lanes(item, traits)),
                    numa_index=place.numa,
                )
            )
            below = place._replace(bus=self._take_bus(), parent=port)
            if item.kind == "switch":
                self._add_switch(item, traits, below)
            else:
                self._add_device(item, traits, below)

    def _add_switch(self, item: Item, traits: Traits, place: _Place) -> None:
        upstream = f"{place.domain}:{place.bus:02x}:00.0"
        generation = traits.gen or (traits.chip.generation if traits.chip else _GENERATION)
        self._functions.append(
            PciFact(
                address=upstream,
                root=place.root,
                parent=place.parent,
                class_code="060400",
                vendor=traits.chip.vendor if traits.chip else None,
                device=traits.chip.device if traits.chip else None,
                name=traits.chip.name if traits.chip else None,
                role=PortRole.UPSTREAM,
                maximum=capability_of_generation(generation, _lanes(item, traits)),
                numa_index=place.numa,
            )
        )
        inside = place._replace(bus=self._take_bus(), parent=upstream, generation=generation)
        self._add_all(item.children, inside, PortRole.DOWNSTREAM, first_slot=0)

    def _add_device(self, item: Item, traits: Traits, place: _Place) -> None:
        for function in range(traits.ports or 1):
            address = f"{place.domain}:{place.bus:02x}:00.{function}"
            self._functions.append(_device(item, traits, place, address))
            if item.kind == "gpu":
                self._gpus.append(PlacedGpu(address, traits, item.position, place.numa))
            elif item.kind == "nic":
                self._nics.append(
                    NicFact(key=address, address=address, ports=(self._port(traits),))
                )
            elif item.kind == "nvme":
                name = f"nvme{len(self._storage)}n1"
                self._storage.append(
                    StorageFact(address=address, block_devices=(name,), size_bytes=traits.size)
                )
            else:
                self._nvswitches.append(address)

    def _port(self, traits: Traits) -> NicPort:
        rate = traits.rate or (traits.nic.rate_bits_per_s if traits.nic else None)
        if traits.nic is None or traits.nic.vendor != _MELLANOX:
            name = f"eth{self._num_net_ports}"
            self._num_net_ports += 1
            return NicPort(name=name, net_interface=name, rate_bits_per_s=rate)
        name = f"mlx5_{self._num_verbs_ports}"
        self._num_verbs_ports += 1
        layer = "Ethernet" if traits.eth else "InfiniBand"
        return NicPort(name=name, verbs_device=name, link_layer=layer, rate_bits_per_s=rate)

    def _take_bus(self) -> int:
        self._bus += 1
        return self._bus - 1

    def facts(self, name: str, wiring: Wiring) -> Facts:
        cpus = _cpus(self._packages, self._numas)
        numas = tuple(
            NumaFact(os_index=index, memory_bytes=traits.size, cpus=cpus[index])
            for index, traits, _ in sorted(self._numas, key=lambda numa: numa[0])
        )
        numas += tuple(self._gpu_numas({numa.os_index for numa in numas}))
        sizes = [numa.memory_bytes for numa in numas]
        is_told = all(size is not None for size in sizes)
        return Facts(
            source=f"synthetic {name}",
            tree="full",
            host=HostFact(
                name=name,
                product="synthetic machine",
                is_virtual=False,
                memory_bytes=sum(size or 0 for size in sizes) if is_told else None,
            ),
            packages=tuple(
                msgspec.structs.replace(
                    package,
                    cpus=_union(cpus[n] for n, _, home in self._numas if home == package.os_index),
                )
                for package in self._packages
            ),
            numas=numas,
            roots=tuple(self._roots),
            functions=tuple(self._functions),
            nics=tuple(self._nics),
            storage=tuple(self._storage),
            gpus=tuple(_gpu_fact(gpu) for gpu in self._gpus),
            peers=tuple(links_of(self._gpus, self._nvswitches, wiring)),
        )

    def _gpu_numas(self, taken: set[int]) -> Iterator[NumaFact]:
        for gpu in self._gpus:
            index = gpu.traits.numa
            if index is None:
                continue
            if index in taken:
                raise mistake(gpu.position, f"a second NUMA node {index}", "another number")
            taken.add(index)
            memory = _gpu_fact(gpu).memory_bytes
            yield NumaFact(os_index=index, memory_bytes=memory, memory_of=gpu.address)


def _numas_of(socket: Item) -> Sequence[Item]:
    """Return a socket's NUMA nodes; without any it is one."""
    others = [item for item in socket.children if item.kind != "numa"]
    if len(others) == len(socket.children):
        return (Item("numa", 1, (), socket.children, socket.position),)
    if others:
        raise mistake(
            others[0].position, f"a {others[0].kind} beside a numa", "it to stand in a numa"
        )
    return socket.children


def _roots_of(numa: Item) -> Sequence[Item]:
    """Return the host bridges of a NUMA node; what stands directly in it hangs on one more."""
    roots = [item for item in numa.children if item.kind == "root"]
    direct = tuple(item for item in numa.children if item.kind != "root")
    return [*roots, Item("root", 1, (), direct, numa.position)] if direct else roots


def _num_buses(items: Sequence[Item]) -> int:
    """Count the buses below: one for each thing, and one inside each switch."""
    return sum(
        item.number * (1 + (1 + _num_buses(item.children) if item.kind == "switch" else 0))
        for item in items
    )


def _lanes(item: Item, traits: Traits) -> int:
    return traits.x or (traits.part.num_lanes if traits.part else _LANES.get(item.kind, 16))


def _device(item: Item, traits: Traits, place: _Place, address: str) -> PciFact:
    part = traits.part
    class_code = _CLASSES[item.kind]
    if traits.gpu is not None:
        class_code = traits.gpu.class_code
    elif traits.nic is not None and not traits.eth:
        class_code = _INFINIBAND
    generation = traits.gen or (part.generation if part else None)
    is_told = generation is not None or traits.x is not None
    return PciFact(
        address=address,
        root=place.root,
        parent=place.parent,
        class_code=class_code,
        vendor=part.vendor if part else None,
        device=part.device if part else None,
        name=part.name if part else None,
        maximum=capability_of_generation(generation, _lanes(item, traits)) if is_told else None,
        numa_index=place.numa,
        kind=_KINDS.get(item.kind),
        has_interface=item.kind == "nic",
        bar_bytes=_bar(traits) if item.kind == "gpu" else None,
        max_bar_bytes=traits.gpu.bar1_bytes if traits.gpu else None,
    )


def _bar(traits: Traits) -> int | None:
    return traits.bar or (traits.gpu.bar1_bytes if traits.gpu else None)


def _gpu_fact(gpu: PlacedGpu) -> GpuFact:
    traits, part = gpu.traits, gpu.traits.gpu
    fabric = None
    if traits.clique is not None:
        fabric = Fabric(state="completed", cluster_uuid=_CLUSTER, clique_id=traits.clique)
    elif traits.fabric:
        fabric = Fabric(state="completed")
    return GpuFact(
        subject=gpu.address,
        name=part.name if part else None,
        memory_bytes=traits.size or (part.memory_bytes if part else None),
        bar1_bytes=_bar(traits),
        compute_capability=part.compute_capability if part else None,
        memory_numa_index=traits.numa,
        fabric=fabric,
    )


def _cpus(
    packages: Sequence[PackageFact], numas: Sequence[tuple[int, Traits, int]]
) -> dict[int, tuple[int, ...]]:
    """Give CPUs Linux's numbers: all cores first, socket by socket, then their other threads."""
    num_cores = sum(package.num_cores or 0 for package in packages)
    found: dict[int, tuple[int, ...]] = {}
    first = 0
    for package in packages:
        cores = package.num_cores or 0
        threads = (package.num_threads or cores) // cores
        mine = sorted(index for index, _, home in numas if home == package.os_index)
        for position, index in enumerate(mine):
            start = first + cores * position // len(mine)
            end = first + cores * (position + 1) // len(mine)
            found[index] = tuple(
                core + thread * num_cores for thread in range(threads) for core in range(start, end)
            )
        first += cores
    return found


def _union(sets: Iterator[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted({cpu for cpus in sets for cpu in cpus}))
