"""The numbers by which the tree, the matrix and its legend call NICs and drives."""

from __future__ import annotations

from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, Nic, Nvme

_NVME_CLASS = "0108"


def endpoint_names(machine: Machine) -> dict[str, str]:
    """Name GPUs, NICs and drives by kind and number, as ``GPU 0``, ``NIC 3``, ``NVMe 1``.

    Returns
    -------
    dict
        By node id, in the order of columns. GPUs have the driver's numbers, the others those of
        their places in the document.
    """
    names = {gpu.id: f"GPU {gpu.index}" for gpu in machine.all(Gpu)}
    names |= {nic.id: f"NIC {i}" for i, nic in enumerate(machine.all(Nic))}
    names |= {drive.id: f"{_kind(drive)} {i}" for i, drive in enumerate(machine.all(Nvme))}
    return names


def _kind(drive: Nvme) -> str:
    is_nvme = drive.pci_class is None or drive.pci_class.startswith(_NVME_CLASS)
    return "NVMe" if is_nvme else "disk"
