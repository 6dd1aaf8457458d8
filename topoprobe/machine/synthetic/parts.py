"""What made-up machines are made of: public figures of processors, GPUs, switches and NICs.

Memory and BAR sizes of GPUs are what `nvidia-smi -q` prints in recordings of such machines
[nvml-mock] where there are any, and the data sheet's figures otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

_MIB, _GIB = 1 << 20, 1 << 30


class Cpu(NamedTuple):
    """A processor; `generation` is that of its PCIe root ports."""

    name: str
    vendor: str
    architecture: str
    num_cores: int
    threads_per_core: int
    base_clock_hz: float
    generation: int


class GpuPart(NamedTuple):
    """A GPU, with the generation and lanes of its own PCIe port and its links to others.

    Attributes
    ----------
    bar1_bytes : int or None
        The window through which others reach its memory, with resizable BAR switched on.
    link_bytes_per_s : float or None
        Nominal, of one NVLink or xGMI link in one direction.
    c2c_bytes_per_s : float or None
        Nominal, of one chip-to-chip link to the CPU in one direction.
    """

    name: str
    vendor: str
    device: str
    class_code: str
    memory_bytes: int
    bar1_bytes: int | None
    generation: int
    num_lanes: int = 16
    compute_capability: str | None = None
    link_bytes_per_s: float | None = None
    c2c_bytes_per_s: float | None = None


class NicPart(NamedTuple):
    """A NIC, with the rate of each of its ports."""

    name: str
    vendor: str
    device: str
    rate_bits_per_s: float
    generation: int
    num_lanes: int = 16


class Chip(NamedTuple):
    """A PCIe switch or an NVSwitch."""

    name: str
    vendor: str
    device: str
    generation: int
    num_lanes: int = 16


# Cores, threads and base clocks from the makers' product pages [cpu-specs].
CPUS = {
    "xeon-e5-2698v4": Cpu(
        "Intel(R) Xeon(R) CPU E5-2698 v4", "GenuineIntel", "x86_64", 20, 2, 2.2e9, 3
    ),
    "xeon-8480c": Cpu("Intel(R) Xeon(R) Platinum 8480C", "GenuineIntel", "x86_64", 56, 2, 2e9, 5),
    "xeon-8570": Cpu("Intel(R) Xeon(R) Platinum 8570", "GenuineIntel", "x86_64", 56, 2, 2.1e9, 5),
    "epyc-7742": Cpu("AMD EPYC 7742 64-Core Processor", "AuthenticAMD", "x86_64", 64, 2, 2.25e9, 4),
    "epyc-9575f": Cpu(
        "AMD EPYC 9575F 64-Core Processor", "AuthenticAMD", "x86_64", 64, 2, 3.3e9, 5
    ),
    # Arm prints no model: the name is the product's [grace].
    "grace": Cpu("NVIDIA Grace", "ARM", "aarch64", 72, 1, 3.1e9, 5),
}

# NVLink rates [nvlink-rates]; xGMI of MI300X is 128 GB/s in both directions together [mi300x].
GPUS = {
    "v100": GpuPart(
        "Tesla V100-SXM2-32GB", "10de", "1db5", "030200", 32 * _GIB, 32 * _GIB, 3,
        compute_capability="7.0", link_bytes_per_s=25e9,
    ),
    "a100": GpuPart(
        "NVIDIA A100-SXM4-40GB", "10de", "20b0", "030200", 40960 * _MIB, 64 * _GIB, 4,
        compute_capability="8.0", link_bytes_per_s=25e9,
    ),
    "a100-80gb": GpuPart(
        "NVIDIA A100-SXM4-80GB", "10de", "20b2", "030200", 81920 * _MIB, 128 * _GIB, 4,
        compute_capability="8.0", link_bytes_per_s=25e9,
    ),
    "h100": GpuPart(
        "NVIDIA H100 80GB HBM3", "10de", "2330", "030200", 81559 * _MIB, 128 * _GIB, 5,
        compute_capability="9.0", link_bytes_per_s=25e9,
    ),
    "h200": GpuPart(
        "NVIDIA H200", "10de", "2335", "030200", 143771 * _MIB, 256 * _GIB, 5,
        compute_capability="9.0", link_bytes_per_s=25e9,
    ),
    "b200": GpuPart(
        "NVIDIA B200", "10de", "2901", "030200", 183359 * _MIB, 256 * _GIB, 5,
        compute_capability="10.0", link_bytes_per_s=50e9,
    ),
    # C2C: 5 links of 44712 MB/s, as NCCL and `nvidia-smi -q` tell.
    "gb200": GpuPart(
        "NVIDIA GB200", "10de", "2941", "030200", 189471 * _MIB, 256 * _GIB, 6,
        compute_capability="10.0", link_bytes_per_s=50e9, c2c_bytes_per_s=44.712e9,
    ),
    "l40s": GpuPart(
        "NVIDIA L40S", "10de", "26b9", "030200", 46068 * _MIB, 64 * _GIB, 4,
        compute_capability="8.9",
    ),
    "rtx4090": GpuPart(
        "NVIDIA GeForce RTX 4090", "10de", "2684", "030000", 24564 * _MIB, 32 * _GIB, 4,
        compute_capability="8.9",
    ),
    "mi300x": GpuPart(
        "AMD Instinct MI300X", "1002", "74a1", "120000", 192 * _GIB, 256 * _GIB, 5,
        link_bytes_per_s=64e9,
    ),
}  # fmt: skip

SWITCHES = {
    "pex8796": Chip("PLX PEX 8796", "10b5", "8796", 3),
    "pex88096": Chip("Broadcom PEX88096", "1000", "c010", 4),
    "pex89144": Chip("Broadcom PEX89144", "1000", "c030", 5),
}

NICS = {
    "cx4": NicPart("Mellanox ConnectX-4", "15b3", "1013", 100e9, 3),
    "cx5": NicPart("Mellanox ConnectX-5", "15b3", "1017", 100e9, 3),
    "cx6": NicPart("Mellanox ConnectX-6", "15b3", "101b", 200e9, 4),
    "cx6-dx": NicPart("Mellanox ConnectX-6 Dx", "15b3", "101d", 100e9, 4),
    "cx7": NicPart("Mellanox ConnectX-7", "15b3", "1021", 400e9, 5),
    "cx8": NicPart("Mellanox ConnectX-8", "15b3", "1023", 800e9, 6),
    "bf3": NicPart("Mellanox BlueField-3", "15b3", "a2dc", 400e9, 5),
}

# Named by the GPUs that they join. Their PCIe links carry management only; an HGX H100 has them at
# Gen4 x2 [gpud-h100].
NVSWITCHES = {
    "v100": Chip("NVSwitch (V100)", "10de", "1ac2", 3, 4),
    "a100": Chip("NVSwitch (A100)", "10de", "1af1", 4, 2),
    "h100": Chip("NVSwitch (H100)", "10de", "22a3", 4, 2),
}
