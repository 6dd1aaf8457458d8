"""What a CPU socket's memory and its links to the other sockets carry: nominal, by product line.

Figures are per socket. Where nobody published what devices reach together, the nominal rate counts
times what was reached elsewhere, and `evidence` says so.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_DDR_RATIO = 0.78  # 241 of 307.2 GB/s on Sapphire Rapids [mess]
_XGMI_RATIO = 0.78  # 50 of 64 GB/s of an Infinity Fabric link [scalarlm-mi300x]


class NominalProcessor(NamedTuple):
    """One product line, all memory channels filled.

    Attributes
    ----------
    title : str
        What people call it.
    pattern : str
        Of its model names.
    memory_bytes_per_s : float
        Reads that its memory sustains.
    memory_evidence : str
        Where that comes from.
    inter_socket_bytes_per_s : float or None
        One direction to the other socket.
    inter_socket_evidence : str
        Where that comes from, or why there is none.
    write_cost : float
        What a byte that a device writes takes, in bytes read.
    """

    title: str
    pattern: str
    memory_bytes_per_s: float
    memory_evidence: str
    inter_socket_bytes_per_s: float | None
    inter_socket_evidence: str
    write_cost: float = 1.0


def _ddr(channels: int, name: str, bytes_per_s: float) -> tuple[float, str]:
    """Return what channels of eight bytes sustain."""
    nominal = channels * bytes_per_s
    return nominal * _DDR_RATIO, f"{channels} channels of {name} x {_DDR_RATIO} [mess]"


def _xgmi(generation: int, link_bytes_per_s: float) -> tuple[float, str]:
    return (
        3 * link_bytes_per_s * _XGMI_RATIO,
        f"3 links of xGMI{generation} x {_XGMI_RATIO} [scalarlm-mi300x]",
    )


_UPI = (101.7e9, "four GPUs behind the other socket of a Gen5 server together [cuda-samples-357]")
# Eight H800 write 44.8 GB/s each into the memories of two sockets, which can be read at 241
# [h800-nvbandwidth]: 241 / (4 x 44.8).
_WRITE_COST = 1.34

PROCESSORS = (
    NominalProcessor(
        "Xeon of the 5th generation", r"Xeon.* (?:Platinum|Gold|Silver) [3-8]5\d\d",
        *_ddr(8, "DDR5-5600", 44.8e9), *_UPI, _WRITE_COST,
    ),
    NominalProcessor(
        "Xeon of the 4th generation", r"Xeon.* (?:Platinum|Gold|Silver|Max) [3-9]4\d\d",
        241e9, "reads that a loaded-latency sweep reached with 8 channels of DDR5-4800 [mess]",
        *_UPI, _WRITE_COST,
    ),
    NominalProcessor(
        "Xeon of the 3rd generation", r"Xeon.* (?:Platinum|Gold|Silver) [3-8]3\d\d",
        *_ddr(8, "DDR4-3200", 25.6e9),
        3 * 22.4e9 * _XGMI_RATIO, "3 links of UPI at 11.2 GT/s, taken to reach what xGMI does",
    ),
    NominalProcessor(
        "Xeon E5 v4", r"Xeon.* E5-\d+\w? v4",
        *_ddr(4, "DDR4-2400", 19.2e9),
        2 * 19.2e9 * _XGMI_RATIO, "2 links of QPI at 9.6 GT/s, taken to reach what xGMI does",
    ),
    NominalProcessor(
        "EPYC 9005", r"EPYC 9\w\w5", *_ddr(12, "DDR5-6000", 48e9), *_xgmi(3, 64e9),
    ),
    NominalProcessor(
        "EPYC 9004", r"EPYC 9\w\w4", *_ddr(12, "DDR5-4800", 38.4e9), *_xgmi(3, 64e9),
    ),
    NominalProcessor(
        "EPYC 7002 or 7003", r"EPYC 7\w\w[23]", *_ddr(8, "DDR4-3200", 25.6e9), *_xgmi(2, 36e9),
    ),
    NominalProcessor(
        "Grace", r"Grace",
        375e9, "two GPUs over C2C together, 4 x 187.6 GB/s from two sockets [oci-gb300]",
        None, "nobody has published what the link between two Grace reaches",
    ),
)  # fmt: skip


def find_processor(name: str) -> NominalProcessor | None:
    """Return the product line of a processor's name, None if it is not known."""
    return next((one for one in PROCESSORS if re.search(one.pattern, name)), None)
