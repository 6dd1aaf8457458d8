"""The ways that a copy between a host and a GPU can take: its own, and over each of its peers.

A peer's engine copies between the host and its own memory, and another one, of the GPU that holds
the bytes, over the direct links between the two.
"""

from __future__ import annotations

from dataclasses import replace

from topoprobe.errors import ModelError
from topoprobe.measure.ends import in_pci_order
from topoprobe.measure.flows import End, Executor, Flow
from topoprobe.model.fabric.demand import Way
from topoprobe.model.fabric.machines.fabric import MachineFabric, resolve
from topoprobe.model.fabric.machines.names import called
from topoprobe.model.fabric.machines.peers import is_direct
from topoprobe.records.machine import Gpu


def ways_between(fabric: MachineFabric, flow: Flow) -> tuple[Way, ...]:
    """Return the ways of a copy between a host's memory and a GPU's, its own one first.

    Parameters
    ----------
    fabric : MachineFabric
    flow : Flow
        By copy engine.

    Raises
    ------
    ModelError
        If its ends are not a host and a GPU, or it is no copy by engine.
    """
    if flow.executor.kind != "ce" or {flow.source.kind, flow.destination.kind} != {"host", "gpu"}:
        raise ModelError(
            f"{flow} cannot be split over peers; expected a copy by engine between a host and a "
            "gpu."
        )
    is_into_gpu = flow.destination.kind == "gpu"
    target = resolve(fabric.machine, flow.destination if is_into_gpu else flow.source)
    own = fabric.place(flow, "own").demand
    over = tuple(
        _over(fabric, flow, peer)
        for peer in in_pci_order(fabric.machine.all(Gpu))
        if peer != target and is_direct(fabric.machine, peer.id, target.id)
    )
    return (Way("own path", own.along, own.beside), *over)


def _over(fabric: MachineFabric, flow: Flow, peer: Gpu) -> Way:
    stop = End("gpu", peer.pci_address or "")
    copy = replace(flow, executor=Executor("ce"))
    first = fabric.place(replace(copy, destination=stop), "first").demand
    last = fabric.place(replace(copy, source=stop), "last").demand
    return Way(
        f"over {called(fabric.machine, peer.id)}",
        (*first.along, *last.along),
        (*first.beside, *last.beside),
    )
