"""Whether two documents tell of one machine: its name and what is built in, not its state."""

from __future__ import annotations

from topoprobe.records.machine import (
    AnyNode,
    Gpu,
    Host,
    MachineDocument,
    Nic,
    Numa,
    Nvme,
    NvSwitch,
    Package,
)

_BUILT_IN = {
    Package: "CPU package",
    Numa: "NUMA node",
    Gpu: "GPU",
    NvSwitch: "NVSwitch",
    Nic: "NIC",
    Nvme: "drive",
}
# What the names of other things are changes with drivers and cables.
_NAMED = (Package, Gpu)


def difference(one: MachineDocument, other: MachineDocument) -> str | None:
    """Say why two documents cannot be of one machine, or return None.

    In a container the host's name is made up anew each time, so it does not count there.
    """
    hosts = [_host(one), _host(other)]
    names = [host.name for host in hosts if host is not None and not host.is_container]
    if len(names) == 2 and names[0] != names[1]:
        return f"one is of {names[0]}, the other of {names[1]}"
    first, second = _parts(one), _parts(other)
    for mine, theirs, which in ((first, second, "first"), (second, first, "second")):
        for part in mine:
            if part not in theirs:
                return f"only the {which} has {part}"
    return None


def _host(machine: MachineDocument) -> Host | None:
    return next((node for node in machine.nodes if isinstance(node, Host)), None)


def _parts(machine: MachineDocument) -> dict[str, None]:
    return {_part(node): None for node in machine.nodes if type(node) in _BUILT_IN}


def _part(node: AnyNode) -> str:
    kind = _BUILT_IN[type(node)]
    return f"{kind} {node.id}" + (f" ({node.name})" if isinstance(node, _NAMED) else "")
