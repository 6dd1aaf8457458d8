"""Whether a hypervisor hides or makes up how the machine is wired."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.verdicts.check import Check, ok, warn
from topoprobe.machine.verdicts.wires import is_emulated
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, HostBridge, LinkKind, Nic, NvSwitch, PcieSwitch

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
    elif host is not None and host.is_virtual and machine.all(Gpu):
        yield ok(
            NAME,
            "host",
            f"This is a virtual machine ({host.virtualization}); its tree places the GPUs.",
        )
    elif host is not None and host.is_virtual:
        yield ok(NAME, "host", f"This is a virtual machine ({host.virtualization}).")


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
    """Tell whether several devices hang on root buses, in a guest or each in a domain of its own.

    A real server has no GPU without a port above it, and shares domains among its devices.
    """
    devices = (*machine.all(Gpu), *machine.all(Nic), *machine.all(NvSwitch))
    if len(machine.all(Gpu)) < 2 or machine.all(PcieSwitch):
        return False
    above = {device.parent for device in devices}
    if not all(isinstance(machine.node(parent), HostBridge) for parent in above if parent):
        return False
    is_guest = machine.host is not None and machine.host.is_virtual
    return bool(is_guest) or _has_lone_domains(machine)


def _has_lone_domains(machine: Machine) -> bool:
    """Tell Hyper-V's way: every device alone in its PCI domain, and no ports at all."""
    gpus = machine.all(Gpu)
    domains = {(gpu.pci_address or "").partition(":")[0] for gpu in gpus}
    has_ports = any(bridge.ports for bridge in machine.all(HostBridge))
    return len(domains) == len(gpus) and not has_ports


def _flatness(machine: Machine) -> str:
    gpus = count(len(machine.all(Gpu)), "GPU")
    if _has_lone_domains(machine):
        return f"Each of {gpus} is alone in a PCI domain, as Hyper-V shows them: no way is known."
    return f"All {gpus} stand side by side on the guest's root bus, which hides the real tree."
