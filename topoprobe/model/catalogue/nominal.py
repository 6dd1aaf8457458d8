"""What an entry of the device catalogue is: numbers that each say where they are printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was looked up.

    Attributes
    ----------
    value : float
        In the unit of the field that holds it.
    source : str
        Where it is printed, and what confirms or contradicts it.
    is_checked : bool
        Whether it was read again or confirmed by a second source; else it is the well-known value
        of the document that `source` names.
    """

    value: float
    source: str
    is_checked: bool = True


@dataclass(frozen=True, slots=True)
class PcieSlot:
    """The PCIe port of a device: its generation and lanes."""

    generation: Figure
    num_lanes: Figure


@dataclass(frozen=True, slots=True)
class PeerLinks:
    """Links to devices of the same kind: NVLink, or AMD's xGMI.

    Attributes
    ----------
    num_links : Figure
        How many a device has.
    bytes_per_s : Figure
        Nominal rate of one link in one direction.
    is_bridge : bool
        Whether they only exist where a bridge is plugged between two cards.
    """

    num_links: Figure
    bytes_per_s: Figure
    is_bridge: bool = False


@dataclass(frozen=True, slots=True)
class NominalDevice:
    """A device as its data sheet describes it.

    Attributes
    ----------
    name : str
        How it is called on the command line.
    title : str
        How people call it.
    memory_bytes : Figure
        Size of the device memory.
    memory_bytes_per_s : Figure
        Its bandwidth.
    compute_flop_per_s : mapping of str to Figure
        Dense peak by data type: matrix units with fp32 accumulation; vector units for fp32, fp64.
    pcie : PcieSlot
        How it is attached to the host.
    l2_bytes : Figure
        Size of the last cache level that every part of the device shares.
    power_w : Figure
        Highest sustained power.
    half_accumulate_flop_per_s : mapping of str to Figure
        Dense peak with fp16 accumulation, where it is higher.
    peer_links : PeerLinks or None
        Links to its peers; None if it has none.
    c2c_bytes_per_s : Figure or None
        Chip-to-chip link to its CPU, in one direction.
    num_units : Figure or None
        Streaming multiprocessors or compute units, all dies together.
    driver_name : str or None
        How its driver calls it, where that is known.
    """

    name: str
    title: str
    memory_bytes: Figure
    memory_bytes_per_s: Figure
    compute_flop_per_s: Mapping[str, Figure]
    pcie: PcieSlot
    l2_bytes: Figure
    power_w: Figure
    half_accumulate_flop_per_s: Mapping[str, Figure] = field(default_factory=dict)
    peer_links: PeerLinks | None = None
    c2c_bytes_per_s: Figure | None = None
    num_units: Figure | None = None
    driver_name: str | None = None
