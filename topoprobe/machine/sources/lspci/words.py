"""What `lspci` calls classes and vendors, and reading the line that tells a function apart.

The names are those of the public PCI ID list [pci-ids], which may be had under the 3-clause BSD
licence.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Where only the base class is known, lspci writes its name with the number behind it.
_CLASS_TABLE = """
0000 Non-VGA unclassified device
0001 VGA compatible unclassified device
0005 Image coprocessor
0100 SCSI storage controller
0101 IDE interface
0102 Floppy disk controller
0104 RAID bus controller
0105 ATA controller
0106 SATA controller
0107 Serial Attached SCSI controller
0108 Non-Volatile memory controller
0109 Universal Flash Storage controller
0180 Mass storage controller
0200 Ethernet controller
0201 Token ring network controller
0202 FDDI network controller
0203 ATM network controller
0204 ISDN controller
0206 PICMG controller
0207 Infiniband controller
0208 Fabric controller
0280 Network controller
0300 VGA compatible controller
0301 XGA compatible controller
0302 3D controller
0380 Display controller
0400 Multimedia video controller
0401 Multimedia audio controller
0402 Computer telephony device
0403 Audio device
0480 Multimedia controller
0500 RAM memory
0501 FLASH memory
0502 CXL
0580 Memory controller
0600 Host bridge
0601 ISA bridge
0602 EISA bridge
0603 MicroChannel bridge
0604 PCI bridge
0605 PCMCIA bridge
0607 CardBus bridge
0609 Semi-transparent PCI-to-PCI bridge
060a InfiniBand to PCI host bridge
0680 Bridge
0700 Serial controller
0701 Parallel controller
0702 Multiport serial controller
0703 Modem
0780 Communication controller
0800 PIC
0801 DMA controller
0802 Timer
0803 RTC
0804 PCI Hot-plug controller
0805 SD Host controller
0806 IOMMU
0880 System peripheral
0899 Timing Card
0900 Keyboard controller
0902 Mouse controller
0980 Input device controller
0a00 Generic Docking Station
0a80 Docking Station
0b20 Power PC
0b30 MIPS
0b40 Co-processor
0c00 FireWire (IEEE 1394)
0c03 USB controller
0c04 Fibre Channel
0c05 SMBus
0c06 InfiniBand
0c07 IPMI Interface
0c09 CANBUS
0c80 Serial bus controller
0d11 Bluetooth
0d80 Wireless controller
0e00 I2O
1000 Network and computing encryption device
1010 Entertainment encryption device
1080 Encryption controller
1100 DPIO module
1101 Performance counters
1110 Communication synchronizer
1120 Signal processing management
1180 Signal processing controller
1200 Processing accelerators
1201 SNIA Smart Data Accelerator Interface (SDXI) controller
"""
_VENDOR_TABLE = """
025e Solidigm
1000 Broadcom / LSI
1000 LSI Logic / Symbios Logic
1002 Advanced Micro Devices, Inc. [AMD/ATI]
1013 Cirrus Logic
1014 IBM
1022 Advanced Micro Devices, Inc. [AMD]
102b Matrox Electronics Systems Ltd.
103c Hewlett-Packard Company
104c Texas Instruments
1077 QLogic Corp.
10b5 PLX Technology, Inc.
10de NVIDIA Corporation
10de nVidia Corporation
10ee Xilinx Corporation
1137 Cisco Systems Inc
1179 Toshiba Corporation
11f8 PMC-Sierra Inc.
1344 Micron Technology Inc
1414 Microsoft Corporation
1425 Chelsio Communications Inc
144d Samsung Electronics Co Ltd
14e4 Broadcom Inc. and subsidiaries
14e4 Broadcom Corporation
1556 PLDA
1590 Hewlett Packard Enterprise
15ad VMware
15b3 Mellanox Technologies
15b7 Sandisk Corp
177d Cavium, Inc.
17db Cray Inc
1987 Phison Electronics Corporation
19e5 Huawei Technologies Co., Ltd.
1a03 ASPEED Technology, Inc.
1ae0 Google, Inc.
1af4 Red Hat, Inc. Virtio
1b21 ASMedia Technology Inc.
1b36 Red Hat, Inc. QEMU
1b36 Red Hat, Inc. QXL
1b96 Western Digital
1bb1 Seagate Technology PLC
1bcf NEC Corporation Vector Engine
1c5c SK hynix
1cc1 ADATA Technology Co., Ltd.
1d0f Amazon.com, Inc.
1d94 Chengdu Haiguang IC Design Co., Ltd.
1da3 Habana Labs Ltd.
1dd8 AMD Pensando Systems
1e0f KIOXIA Corporation
5853 XenSource, Inc.
8086 Intel Corporation
80ee InnoTek Systemberatung GmbH
c0a9 Micron/Crucial Technology
"""


def _by_name(table: str) -> dict[str, str]:
    return {name: code for code, _, name in (row.partition(" ") for row in table.split("\n"))}


_CLASSES = _by_name(_CLASS_TABLE.strip())
_VENDORS = _by_name(_VENDOR_TABLE.strip())
# Words that only tell one maker's two vendor numbers apart belong to the product's name.
_HINTS = (" Virtio", " QEMU", " QXL", " Vector Engine")

_DEVICE = re.compile(
    r"(?:Class )?(?:(?P<number>[0-9a-f]{4})"
    r"|(?P<words>[^:\[]{2,60}?)(?: \[(?P<code>[0-9a-f]{4})\])?): (?P<product>\S.*)",
    re.IGNORECASE,
)
_REMARK = re.compile(r" \((?:rev|prog-if) ")
_NUMBERS = re.compile(r"\[?([0-9a-f]{4}):([0-9a-f]{4})\]?$", re.IGNORECASE)
_NAMELESS = re.compile(r"(?:Unknown )?[Dd]evice(?: ([0-9a-f]{4}))?$", re.IGNORECASE)
_FIELD = re.compile(r"(?:(.*\S) )?\[([0-9a-f]{4})\]|([0-9a-f]{4})", re.IGNORECASE)


class Identity(NamedTuple):
    """What a function is, as far as its line tells; `is_silent` if it answers with all ones."""

    class_code: str | None = None
    vendor: str | None = None
    device: str | None = None
    name: str | None = None
    is_silent: bool = False


def identify(line: str) -> Identity | None:
    """Read what stands behind an address: ``3D controller [0302]: NVIDIA … [10de:2330] (rev a1)``.

    Returns
    -------
    Identity or None
        None if the line is none that lspci writes.
    """
    match = _DEVICE.match(line)
    if match is None:
        return None
    code = match["number"] or match["code"] or _CLASSES.get(match["words"])
    if code is None:
        return None
    product = product_of(_REMARK.split(match["product"], maxsplit=1)[0])
    return product._replace(class_code=code.lower(), is_silent="(rev ff)" in line)


def product_of(text: str) -> Identity:
    """Read vendor, device and name from ``Vendor Product [vvvv:dddd]``, of which parts may lack."""
    text = text.strip()
    numbers = _NUMBERS.search(text)
    if numbers is not None:
        text = text[: numbers.start()].rstrip()
    vendor, name = _split_vendor(text)
    nameless = _NAMELESS.match(name)
    told = (nameless[1] if nameless else None) or None
    return Identity(
        vendor=numbers[1].lower() if numbers else vendor,
        device=numbers[2].lower() if numbers else told and told.lower(),
        name=None if nameless or not name else name,
    )


def identify_fields(class_text: str, vendor_text: str, device_text: str) -> Identity | None:
    """Read the three fields that ``-mm`` keeps apart, each in words, as number, or both."""
    class_words, class_code = _field(class_text)
    vendor_words, vendor = _field(vendor_text)
    device_words, device = _field(device_text)
    class_code = class_code or _CLASSES.get(class_words)
    if class_code is None:
        return None
    product = product_of(f"{vendor_words} {device_words}")
    return product._replace(
        class_code=class_code, vendor=vendor or product.vendor, device=device or product.device
    )


def _field(text: str) -> tuple[str, str | None]:
    """Split ``Words [1234]`` or ``1234``."""
    match = _FIELD.fullmatch(text.strip())
    if match is None:
        return text.strip(), None
    return match[1] or "", (match[2] or match[3]).lower()


def _split_vendor(text: str) -> tuple[str | None, str]:
    """Return the vendor's number and the product's name; without a known vendor all is name."""
    known = max((name for name in _VENDORS if _starts(text, name)), key=len, default=None)
    if known is None:
        return None, text.removeprefix("Red Hat, Inc. ")
    words = known
    for hint in _HINTS:
        words = words.removesuffix(hint)
    return _VENDORS[known], text[len(words) :].strip()


def _starts(text: str, name: str) -> bool:
    return text.startswith(name) and not text[len(name) : len(name) + 1].isalnum()
