"""Whether a hypervisor hides or makes up how the machine is wired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from topoprobe.machine.paths import is_nowhere
from topoprobe.machine.verdicts.check import Check, ok, warn
from topoprobe.machine.verdicts.wires import is_emulated
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, HostBridge, LinkKind, PcieSwitch

NAME = "guest"
_FIX = (
    "Give NCCL the cloud's topology file for this instance (NCCL_TOPO_FILE); on your own "
    "hypervisor, give the guest NUMA nodes, a switch for each real one, and ATS. Unprepared, an "
    "all-reduce fell from 475 to 27 GB/s (nccl-tests#256)."
)


def judge(machine: Machine) -> Iterator[Verdict]:
    """Look for emulated switches and for trees in which all devices stand side by side."""
    host = machine.host
    emulated = _num_emulated(machine)
    if emulated:
        verb = "is" if emulated == 1 else "are"
        yield warn(
            NAME,
            "host",
            f"{count(emulated, 'PCIe switch')} {verb} emulated (104c:8232), and so are "
            "the links and path classes around them.",
            _FIX,
        )
    elif _is_flat(machine):
        yield warn(NAME, "host", _flatness(machine), _FIX)
    elif host is not None and host.is_virtual:
        kind = f" ({host.virtualization})" if host.virtualization else ""
        yield ok(NAME, "host", f"This is a virtual machine{kind}.")


CHECK = Check(NAME, "parts of the tree are real", judge)


def _num_emulated(machine: Machine) -> int:
    return len(
        {
            link.b if link.b.startswith("pcie_switch@") else link.a
            for link in machine.document.links
            if link.kind is LinkKind.PCIE and is_emulated(machine, link)
        }
    )


def _is_flat(machine: Machine) -> bool:
    """Tell whether a guest's GPUs stand on root buses, so that no way between some is known."""
    gpus = machine.all(Gpu)
    ids = {gpu.id for gpu in gpus}
    pairs = (pair for pair in machine.document.pairs if pair.b in ids)
    if machine.all(PcieSwitch) or all(pair.pcie_class is not None for pair in pairs):
        return False
    is_guest = machine.host is not None and machine.host.is_virtual
    are_unplaced = all(is_nowhere(machine.node(gpu.parent or "host")) for gpu in gpus)
    return (
        _are_in_lone_domains(gpus)
        or are_unplaced
        or (bool(is_guest) and _are_on_root_buses(machine, gpus))
    )


def _are_on_root_buses(machine: Machine, gpus: Sequence[Gpu]) -> bool:
    return all(isinstance(machine.node(gpu.parent or "host"), HostBridge) for gpu in gpus)


def _are_in_lone_domains(gpus: Sequence[Gpu]) -> bool:
    """Tell Hyper-V's way: every device on the first bus of a PCI domain of its own."""
    places = [(gpu.pci_address or "").split(":") for gpu in gpus]
    domains = {place[0] for place in places}
    return len(domains) == len(gpus) and all(place[1:2] == ["00"] for place in places)


def _flatness(machine: Machine) -> str:
    gpus = machine.all(Gpu)
    if _are_in_lone_domains(gpus):
        return (
            f"Each of {count(len(gpus), 'GPU')} is alone in a PCI domain, as Hyper-V shows them, "
            "so no way between them is known."
        )
    if not (machine.host is not None and machine.host.is_virtual):
        return (
            f"All {count(len(gpus), 'GPU')} stand on one bus without a NUMA node, as guests show "
            "them whose hypervisor hides the real tree."
        )
    return (
        f"All {count(len(gpus), 'GPU')} stand side by side on the guest's root bus, which hides "
        "the real tree."
    )
