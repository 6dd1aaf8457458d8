"""Nominal rates of links between GPUs, and the lane counts that NVIDIA's names are built from."""

from __future__ import annotations

# Bytes per second of one NVLink in one direction, by compute capability [nvlink-rates]. A GPU of
# an unknown capability gets none: a guess would look like a fact.
_PER_LINK_BY_CAPABILITY = {
    "6.0": 20e9,
    "7.0": 25e9,
    "8.0": 25e9,
    "8.6": 14.0625e9,
    "9.0": 25e9,
    "10.0": 50e9,
    "10.3": 50e9,
}
_CAPABILITY_BY_DEVICE = {
    "15f9": "6.0", "15f7": "6.0", "15f8": "6.0",
    "1db1": "7.0", "1db3": "7.0", "1db5": "7.0", "1db8": "7.0",
    "20b0": "8.0", "20b2": "8.0", "20b3": "8.0", "20b5": "8.0",
    "2330": "9.0", "2335": "9.0", "2329": "9.0",
    "2901": "10.0", "2941": "10.0",
}  # fmt: skip


def nvlink_bytes_per_s(compute_capability: str | None) -> float | None:
    """Return the nominal rate of one NVLink, one direction, or None if unknown."""
    return _PER_LINK_BY_CAPABILITY.get(compute_capability or "")


def capability_of_device(vendor: str | None, device: str | None) -> str | None:
    """Return the compute capability of an NVIDIA data centre GPU by its PCI device id."""
    return _CAPABILITY_BY_DEVICE.get(device or "") if vendor == "10de" else None
