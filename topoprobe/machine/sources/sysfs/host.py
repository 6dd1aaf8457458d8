"""The machine as a whole: operating system, product, guest or not, IOMMU and boot options."""

from __future__ import annotations

import re

from topoprobe.machine.facts import HostFact
from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.sysfs import limits
from topoprobe.machine.sources.sysfs.cpu import total_memory
from topoprobe.records.base import Missing

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
_FILLERS = {
    "",
    "Not Specified",
    "To Be Filled By O.E.M.",
    "Default string",
    "System Product Name",
}
# What hwloc-gather-topology writes beside its copy of /sys and /proc.
_OF_HWLOC = "proc/hwloc-nofile-info"
# Boot options that say how devices, memory and CPUs are laid out and kept apart.
_OPTIONS = re.compile(
    r"(?:(?:intel_|amd_)?iommu|pci|pcie_\w+|numa\w*|nohz|nohz_full|isolcpus|rcu_nocbs|irqaffinity"
    r"|maxcpus|nr_cpus|possible_cpus|nosmt|mem|memmap|movable_node|efi|swiotlb|noaer|acpi|noacpi"
    r"|(?:default_)?hugepagesz|hugepages|vfio[-_]pci|nvidia\w*|nouveau|amdgpu)(?:[.=].*)?"
)
_GROUPS = "sys/kernel/iommu_groups"
# What the type of an IOMMU group means for a device in it.
_IOMMU_MODES = {"DMA": "translated", "DMA-FQ": "translated", "identity": "identity"}


def read(files: Files) -> tuple[HostFact, tuple[Missing, ...]]:
    """Read what firmware and kernel say about the machine, and why something is unknown.

    The processor's ``hypervisor`` flag decides whether it is a guest; clouds put instance names
    where the product belongs, on guests and on bare metal alike.
    """
    product = _meaningful(files.text("sys/class/dmi/id/product_name")) or _meaningful(
        files.text("proc/device-tree/model")
    )
    vendor = _meaningful(files.text("sys/class/dmi/id/sys_vendor"))
    flags = f" {files.text('proc/cpuinfo', 16384) or ''} "
    hypervisor = files.text("sys/hypervisor/type")
    named = next((g for k, g in _GUESTS.items() if k in f"{vendor} {product}"), None)
    is_virtual = " hypervisor " in flags.replace("\n", " ") or hypervisor is not None
    beside = _beside(files)
    kernel = files.text("proc/sys/kernel/osrelease") or beside.get("OSRelease")
    cpus, numas = limits.allowed(files)
    mode, reason = _iommu(files)
    host = HostFact(
        name=files.text("proc/sys/kernel/hostname") or beside.get("HostName") or product,
        operating_system=f"Linux {kernel}" if kernel else None,
        product=product,
        is_virtual=is_virtual or named is not None,
        virtualization=hypervisor or named or ("unnamed hypervisor" if is_virtual else None),
        memory_bytes=total_memory(files.text("proc/meminfo")),
        is_container=limits.is_container(files),
        kernel_options=tuple(
            option
            for option in (files.text("proc/cmdline") or "").split()
            if _OPTIONS.fullmatch(option)
        ),
        iommu=mode,
        allowed_cpus=cpus,
        allowed_numas=numas,
    )
    missing = (Missing(subject="host", fact="iommu", reason=reason),) if reason else ()
    return host, missing


def _iommu(files: Files) -> tuple[str | None, str | None]:
    """Return how the IOMMU treats devices, or why that is unknown.

    One group that is translated is enough to keep its devices from others.
    """
    if "iommu_groups" not in files.names("sys/kernel"):
        return None, "There is no sys/kernel/iommu_groups."
    groups = files.names(_GROUPS)
    if not groups:
        return "off", None
    types = {files.text(f"{_GROUPS}/{group}/type") for group in groups}
    modes = {_IOMMU_MODES[kind] for kind in types if kind in _IOMMU_MODES}
    if not modes:
        return None, "The kernel does not tell the types of its IOMMU groups."
    return ("translated" if "translated" in modes else "identity"), None


def _beside(files: Files) -> dict[str, str]:
    pairs = (line.partition(": ") for line in (files.text(_OF_HWLOC) or "").splitlines())
    return {name: value.strip() for name, _, value in pairs if value.strip()}


def _meaningful(text: str | None) -> str | None:
    return None if text is None or text in _FILLERS else text
