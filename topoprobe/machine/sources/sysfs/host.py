"""The machine as a whole: operating system, product, and whether it is a guest."""

from __future__ import annotations

from topoprobe.machine.facts import HostFact
from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.sysfs.cpu import total_memory

# Makers and products of virtual machines, as their firmware names them.
_GUESTS = {
    "QEMU": "QEMU",
    "KVM": "KVM",
    "VMware": "VMware",
    "innotek": "VirtualBox",
    "VirtualBox": "VirtualBox",
    "Virtual Machine": "Hyper-V",
    "HVM domU": "Xen",
    "Google Compute Engine": "Google Compute Engine",
    "Bochs": "Bochs",
}


def read(files: Files) -> HostFact:
    """Read what firmware and kernel say about the machine.

    The processor's ``hypervisor`` flag decides whether it is a guest; clouds put instance names
    where the product belongs, on guests and on bare metal alike.
    """
    product = _meaningful(files.text("sys/class/dmi/id/product_name"))
    vendor = _meaningful(files.text("sys/class/dmi/id/sys_vendor"))
    flags = f" {files.text('proc/cpuinfo', 16384) or ''} "
    hypervisor = files.text("sys/hypervisor/type")
    named = next((g for k, g in _GUESTS.items() if k in f"{vendor} {product}"), None)
    is_virtual = " hypervisor " in flags.replace("\n", " ") or hypervisor is not None
    kernel = files.text("proc/sys/kernel/osrelease")
    return HostFact(
        name=files.text("proc/sys/kernel/hostname") or product,
        operating_system=f"Linux {kernel}" if kernel else None,
        product=product,
        is_virtual=is_virtual or named is not None,
        virtualization=hypervisor or named or ("unnamed hypervisor" if is_virtual else None),
        memory_bytes=total_memory(files.text("proc/meminfo")),
    )


def _meaningful(text: str | None) -> str | None:
    fillers = {
        "",
        "Not Specified",
        "To Be Filled By O.E.M.",
        "Default string",
        "System Product Name",
    }
    return None if text is None or text in fillers else text
