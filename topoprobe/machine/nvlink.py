"""What NVIDIA's products are sold with: NVLinks per GPU, and the nominal rate of each.

Rates are nominal ones, in one direction: the round figures of the data sheets. `nvidia-smi nvlink`
prints the signalling rate before error correction instead, which is a few percent above.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from topoprobe.records.machine import Gpu


class Product(NamedTuple):
    """One product, or several that are alike.

    Attributes
    ----------
    words : str
        Words that its name has, in a driver's spelling or in that of the PCI id list.
    capability : str
        Compute capability.
    num_nvlinks : int or None
        What every card of it is wired with; None where that is the buyer's choice (bridges).
    devices : str
        Its PCI device ids.
    """

    words: str
    capability: str
    num_nvlinks: int | None
    devices: str = ""


# Counts [nvlink-rates]; device ids [pci-ids], [open-gpu-modules]. The first that fits is taken, so
# that what narrows a name down stands above the bare name.
_PRODUCTS = (
    Product("P100 SXM2", "6.0", 4, "15f9"),
    Product("P100 PCIE", "6.0", 0, "15f7 15f8"),
    Product("GP100", "6.0", None, "15f0"),
    Product("V100 SXM2", "7.0", 6, "1db1 1db5 1df5"),
    Product("V100 SXM3", "7.0", 6, "1db8"),
    Product("V100 DGXS", "7.0", None, "1db2 1db7"),
    Product("V100 FHHL", "7.0", 0, "1db3"),
    Product("V100 PCIE", "7.0", 0, "1db4 1db6"),
    Product("V100S PCIE", "7.0", 0, "1df6"),
    Product("GV100", "7.0", None, "1dba"),
    Product("A100 SXM4", "8.0", 12, "20b0 20b2"),
    Product("A100 SXM", "8.0", 12, "20b3"),
    Product("A100", "8.0", None, "20b1 20b5 20f1"),
    Product("A800 SXM4", "8.0", 8, "20bd 20f3"),
    Product("A800", "8.0", None, "20f5 20f6"),
    Product("A30", "8.0", None, "20b7"),
    Product("A40", "8.6", None, "2235"),
    Product("A6000", "8.6", None, "2230"),
    Product("A5500", "8.6", None, "2233"),
    Product("A5000", "8.6", None, "2231"),
    Product("A4500", "8.6", None, "2232"),
    Product("3090", "8.6", None, "2203 2204"),
    Product("A10", "8.6", 0, "2236"),
    Product("A10G", "8.6", 0, "2237"),
    Product("2080 TI", "7.5", None, "1e02 1e04 1e07"),
    Product("TITAN RTX", "7.5", None),
    Product("QUADRO RTX", "7.5", None),
    Product("T4", "7.5", 0, "1eb8"),
    Product("H100 PCIE", "9.0", None, "2331"),
    Product("H100 NVL", "9.0", None, "2321"),
    Product("H100 HBM3", "9.0", 18, "2330"),
    Product("H100 SXM5", "9.0", 18),
    Product("H100", "9.0", None, "2336 2337 2339"),
    Product("H800 PCIE", "9.0", None, "2322"),
    Product("H800", "9.0", 8, "2324"),
    Product("H200 NVL", "9.0", None, "233b"),
    Product("H200", "9.0", 18, "2335"),
    Product("H20", "9.0", 18, "2329 232c"),
    Product("GH200", "9.0", None, "2342 2345 2348"),
    Product("B200", "10.0", 18, "2901"),
    Product("GB200", "10.0", 18, "2941"),
    Product("B300", "10.3", 18, "3182"),
    Product("GB300", "10.3", 18, "31c2"),
)
# Bytes per second of one NVLink in one direction, by compute capability [nvlink-rates]. A GPU of
# an unknown capability gets none: a guess would look like a fact.
_PER_LINK_BY_CAPABILITY = {
    "6.0": 20e9,
    "7.0": 25e9,
    "7.5": 25e9,
    "8.0": 25e9,
    "8.6": 14.0625e9,
    "9.0": 25e9,
    "10.0": 50e9,
    "10.3": 50e9,
}
# Whole generations without NVLink: Ada, and Blackwell's workstation and desktop parts.
_CAPABILITIES_WITHOUT = {"8.9", "12.0", "12.1"}
# What `nvidia-smi nvlink -s` prints for links of these nominal rates, both in GB/s [nvlink-rates].
_NOMINAL_OF_PRINTED = {19.531: 20.0, 25.781: 25.0, 26.562: 25.0, 53.125: 50.0, 14.062: 14.0625}

_BY_DEVICE = {device: product for product in _PRODUCTS for device in product.devices.split()}


def nvlink_bytes_per_s(compute_capability: str | None) -> float | None:
    """Return the nominal rate of one NVLink, one direction, or None if unknown."""
    return _PER_LINK_BY_CAPABILITY.get(compute_capability or "")


def nominal_bytes_per_s(printed_gb_per_s: float) -> float:
    """Return the nominal rate of a link for which `nvidia-smi nvlink -s` prints this rate."""
    return _NOMINAL_OF_PRINTED.get(round(printed_gb_per_s, 3), printed_gb_per_s) * 1e9


def capability_of_device(vendor: str | None, device: str | None) -> str | None:
    """Return the compute capability of an NVIDIA GPU that may have NVLinks, by its device id."""
    product = _BY_DEVICE.get(device or "") if vendor == "10de" else None
    return product.capability if product else None


def capability_of_model(model: str | None) -> str | None:
    """Return the compute capability of such a GPU by its product's name."""
    product = _named(model)
    return product.capability if product else None


def expected_nvlinks(
    model: str | None, compute_capability: str | None, pci_device: str | None
) -> int | None:
    """Return how many NVLinks every GPU of a product has.

    None where it is sold with and without them (PCIe cards, whose bridges are optional; Grace
    Hopper, whose links may lead nowhere), and where the product is not known.
    """
    product = _BY_DEVICE.get(pci_device or "") or _named(model)
    if product is not None:
        return product.num_nvlinks
    return 0 if compute_capability in _CAPABILITIES_WITHOUT else None


def expected_num_nvlinks(gpu: Gpu) -> int | None:
    """Return how many NVLinks should be up on a GPU, or None if that cannot be said.

    A GPU that is divided (MIG) or lent out in parts (vGPU) uses none, whatever it is wired with.
    """
    is_divided = gpu.is_mig_enabled or (gpu.virtualization or "").lower() in {"vgpu", "host vgpu"}
    if is_divided or gpu.pci_vendor not in {None, "10de"}:
        return None
    return expected_nvlinks(gpu.model or gpu.name, gpu.compute_capability, gpu.pci_device)


def _named(model: str | None) -> Product | None:
    words = set(re.split(r"[^A-Z0-9]+", (model or "").upper()))
    return next((p for p in _PRODUCTS if words.issuperset(p.words.split())), None)
