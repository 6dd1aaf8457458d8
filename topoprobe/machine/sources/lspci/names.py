"""What products are by their names, for drawings of the tree, which tell no classes."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from topoprobe.machine.devices import NVSWITCHES
from topoprobe.machine.sources.lspci.words import Identity

_HELPER = re.compile(
    r"Audio|USB|UCSI|Bridge|Switch|Tegra|nForce|MCP\d|SMBus|LPC|SATA|IDE|Crypto|DMA|Host|Root|IOMMU"
)
_GPU_NAMES = {
    "1002": re.compile(r"Instinct|Radeon|FirePro"),
    "8086": re.compile(r"\bArc\b|Data Center GPU|\bGraphics\b|Max 1[15]"),
}
_NETWORK = re.compile(
    r"ConnectX|Ethernet|Network|InfiniBand|BlueField|Cassini|Fabric|Omni-Path", re.IGNORECASE
)
_DRIVE = re.compile(r"NVMe|NVM Express|\bSSD\b")


class Guess(NamedTuple):
    """The first digits of the class, or the kind where several classes are possible."""

    class_code: str | None = None
    kind: Literal["gpu", "nvswitch"] | None = None


def guess(product: Identity, *, is_first_function: bool) -> Guess:
    """Tell what a product is. NVIDIA's without a name are GPUs if they are function 0 of a card."""
    name = product.name or ""
    if product.vendor == "10de" and (product.device in NVSWITCHES or "NVSwitch" in name):
        return Guess(kind="nvswitch")
    if _HELPER.search(name):
        return Guess()
    if product.vendor == "10de" and (name or is_first_function):
        return Guess(kind="gpu")
    if product.vendor in _GPU_NAMES and _GPU_NAMES[product.vendor].search(name):
        return Guess(kind="gpu")
    if _DRIVE.search(name):
        return Guess(class_code="0108")
    return Guess(class_code="02") if _NETWORK.search(name) else Guess()
