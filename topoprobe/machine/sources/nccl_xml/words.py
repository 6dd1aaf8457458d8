"""The spellings of NCCL's attributes: PCI classes and ids, and names for processors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_HEX = re.compile(r"(?:0x)?([0-9a-f]{1,6})", re.IGNORECASE)
# NCCL adds the extended family shifted by four, where CPUID adds it as it is; people who write
# such files by hand take the family that `lscpu` prints.
_AMD_FAMILIES = {"143": "23", "175": "25", "191": "26"}
_PROCESSORS = {
    ("GenuineIntel", "6", "63"): "Haswell",
    ("GenuineIntel", "6", "79"): "Broadwell",
    ("GenuineIntel", "6", "85"): "Skylake or Cascade Lake",
    ("GenuineIntel", "6", "106"): "Ice Lake",
    ("GenuineIntel", "6", "143"): "Sapphire Rapids",
    ("GenuineIntel", "6", "173"): "Granite Rapids",
    ("GenuineIntel", "6", "207"): "Emerald Rapids",
    ("AuthenticAMD", "23", "1"): "Naples",
    ("AuthenticAMD", "23", "49"): "Rome",
    ("AuthenticAMD", "25", "1"): "Milan",
    ("AuthenticAMD", "25", "17"): "Genoa",
    ("AuthenticAMD", "25", "144"): "MI300A",
    ("AuthenticAMD", "26", "2"): "Turin",
    ("AuthenticAMD", "26", "17"): "Turin Dense",
}


def class_code(text: str | None) -> str | None:
    """Return a PCI class as 4 or 6 digits, whatever zeros the file leaves out."""
    match = _HEX.fullmatch((text or "").strip())
    if match is None:
        return None
    digits = match[1].lower()
    return digits.zfill(4 if len(digits) <= 4 else 6)


def pci_id(text: str | None) -> str | None:
    """Return a vendor or device id; hand-made files fill in 0xffff for unknown."""
    match = _HEX.fullmatch((text or "").strip())
    found = match[1].lower().zfill(4) if match else None
    return None if found in {"ffff", "0000"} else found


def architecture(gcn: str | None) -> str | None:
    """Return the name of an AMD GPU's architecture: RCCL writes 906, 910 (for gfx90a), gfx942."""
    known = (gcn or "").strip().lower()
    if not known or known == "0":
        return None
    return known if known.startswith("gfx") else {"910": "gfx90a"}.get(known, f"gfx{known}")


def processor(cpu: Element) -> str:
    """Say what is known of a CPU: its maker, instruction set and family; empty if nothing is."""
    vendor, family, model = (cpu.get(key, "") for key in ("vendor", "familyid", "modelid"))
    if vendor == "AuthenticAMD":
        family = _AMD_FAMILIES.get(family, family)
    parts = [vendor, cpu.get("arch", "")]
    if family and model:
        parts.append(f"family {family} model {model}")
    code_name = _PROCESSORS.get((vendor, family, model))
    if code_name:
        parts.append(f"= {code_name}")
    return " ".join(part for part in parts if part)
