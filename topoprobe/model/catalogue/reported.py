"""What others measured on their devices and published: a range to judge by, not the truth.

Rates of memory count bytes read and written, unless a remark says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_GIGA, _TERA, _NANO = 1e9, 1e12, 1e-9


@dataclass(frozen=True, slots=True)
class Reported:
    """A published measurement, or the range of several.

    Attributes
    ----------
    device : str
        Its name in the catalogue of data sheets, or a name of the same form where it has no entry.
    fact : str
        What was measured, with its unit, as ``triad_bytes_per_s``.
    low, high : float
        The ends of what is reported; equal for one figure.
    source : str
        Who published it.
    remark : str
        Under which conditions, where that is told.
    """

    device: str
    fact: str
    low: float
    high: float
    source: str
    remark: str = ""


_GPU_BENCHES = "RRZE-HPC/gpu-benches, best over occupancies"
_GPU_BENCHES_ROOFLINE = "RRZE-HPC/gpu-benches, gpu-roofline"
_ORACLE = "Oracle, OCI GPU quick start GB300, nvbandwidth 0.8"
_H800 = "liguodongiot/llm-action, nvbandwidth 0.2 on eight H800"
_TURIN = "a published TransferBench 1.57 report of eight RX 9700"
_LAPTOP = "a published nvbandwidth report of a laptop"
_BEKMAN_MATMUL = "stas00/ml-engineering, best matrix product, mean of 100"

_Range = float | tuple[float, float]


def _each(
    device: str,
    unit: float,
    facts: Mapping[str, _Range],
    source: str = _GPU_BENCHES,
    remark: str = "",
) -> tuple[Reported, ...]:
    return tuple(
        Reported(device, fact, low * unit, high * unit, source, remark)
        for fact, value in facts.items()
        for low, high in (value if isinstance(value, tuple) else (value, value),)
    )


def _stream(
    device: str, write: _Range, read: _Range, scale: _Range, triad: _Range
) -> tuple[Reported, ...]:
    rates = {"write": write, "read": read, "scale": scale, "triad": triad}
    return _each(device, _GIGA, {f"{k}_bytes_per_s": v for k, v in rates.items()})


def _latency(device: str, **latency_ns: _Range) -> tuple[Reported, ...]:
    return _each(device, _NANO, {f"{k}_latency_s": v for k, v in latency_ns.items()})


def _l2(device: str, rate: float, remark: str = "") -> tuple[Reported, ...]:
    told = "sets of 8 to 20 MB" + (f"; {remark}" if remark else "")
    return _each(device, _GIGA, {"l2_read_bytes_per_s": rate}, remark=told)


MEMORY = (
    *_stream("v100-16gb-pcie", 897, 867, 809, 814),
    *_latency("v100-16gb-pcie", l2=156, memory=314),
    *_each("v100-16gb-pcie", _GIGA, {"triad_bytes_per_s": 845},
           "UoB-HPC/performance-portability, BabelStream"),
    *_stream("a100-40gb-sxm", 1539, 1500, 1382, 1375),
    *_latency("a100-40gb-sxm", l2=151, memory=408),
    *_each("a100-40gb-sxm", _GIGA, {"copy_bytes_per_s": 1387, "triad_bytes_per_s": 1370},
           "UoB-HPC/performance-portability, BabelStream"),
    *_stream("a100-80gb-sxm", 1908, 1776, 1737, 1794),
    *_latency("a100-80gb-sxm", l2=150, memory=(392, 406)),
    *_l2("a100-80gb-sxm", 5394),
    *_each("a100-80gb-pcie", _GIGA, {"copy_bytes_per_s": 1727},
           "mli/transformers-benchmarks issue 4", "an A800"),
    *_stream("h100-80gb-pcie", 2018, 1942, 1704, 1832),
    *_latency("h100-80gb-pcie", l2=151, memory=375),
    *_l2("h100-80gb-pcie", 6965),
    *_each("h100-80gb-pcie", _GIGA, {"copy_bytes_per_s": 1860}, "Hacker News item 45236545"),
    *_each("h100-80gb-sxm", _GIGA, {"copy_engine_bytes_per_s": 2574}, "NVIDIA/nccl issue 1264"),
    *_each("h100-64gb-sxm", _GIGA, {"write_bytes_per_s": 1091}, "bsc-mem/Mess-results"),
    *_each("h100-64gb-sxm", _NANO, {"memory_latency_s": 365}, "bsc-mem/Mess-results", "unloaded"),
    *_stream("gh200-96gb", 3944, 2775, 3174, 3783),
    *_latency("gh200-96gb", memory=348),
    *_l2("gh200-96gb", 9924, "published under the name of an H200 first"),
    *_each("gh200-96gb", _GIGA, {"copy_bytes_per_s": 2979, "triad_bytes_per_s": 3315},
           "UoB-HPC/BabelStream pull request 194", "Julia, arrays of 268 MB"),
    *_stream("l40-48gb", 847, 845, 816, 831),
    *_latency("l40-48gb", l2=111, memory=(251, 254)),
    *_l2("l40-48gb", 5208),
    *_stream("a40-48gb", 680, 680, 659, 671),
    *_latency("a40-48gb", memory=320),
    *_each("rtx4090-24gb", _GIGA, {"copy_engine_bytes_per_s": (918, 924)},
           "tinygrad/open-gpu-kernel-modules issue 6"),
    *_each("gb300", _GIGA, {"copy_engine_bytes_per_s": 6625}, _ORACLE, "single site"),
    *_each("rtx3050-laptop", _GIGA, {"copy_engine_bytes_per_s": 169}, _LAPTOP, "single site"),
    *_stream("mi210-64gb", (1533, 1539), 1397, 1412, (1232, 1305)),
    *_latency("mi210-64gb", l2=148, memory=(391, 409)),
    *_l2("mi210-64gb", 4102),
    *_stream("mi300x-192gb", 4849, 4199, 4058, 4000),
    *_latency("mi300x-192gb", memory=434),
    *_stream("mi300a-128gb", 3069, 2688, 2956, 3034),
    *_latency("mi300a-128gb", memory=395),
)  # fmt: skip
"""Memory: bandwidths and latencies."""


def _matmul(device: str, **rate_tera: float) -> tuple[Reported, ...]:
    rates = {f"{dtype}_gemm_flop_per_s": rate for dtype, rate in rate_tera.items()}
    return _each(device, _TERA, rates, _BEKMAN_MATMUL)


COMPUTE = (
    *_matmul("a100-80gb-sxm", bf16=271),
    *_matmul("a100-80gb-pcie", bf16=253),
    *_matmul("h100-80gb-sxm", bf16=794.5, fp8=1403),
    *_matmul("h200-141gb-sxm", fp8=1453),
    *_matmul("gh200-96gb", bf16=829, fp8=1535),
    *_matmul("b200-180gb-sxm", bf16=1745, fp8=3432),
    *_matmul("gb200", bf16=1822),
    *_matmul("mi300x-192gb", bf16=668),
    *_each("a100-40gb-sxm", _TERA, {"fp32_fma_flop_per_s": 19.2}, _GPU_BENCHES_ROOFLINE,
           "1410 MHz, 181 W"),
    *_each("l40-48gb", _TERA, {"fp32_fma_flop_per_s": 50.9}, _GPU_BENCHES_ROOFLINE,
           "2220 MHz, 352 W"),
    *_each("gh200-96gb", _TERA, {"fp32_fma_flop_per_s": 42.6}, _GPU_BENCHES_ROOFLINE,
           "1980 MHz, 398 W"),
    *_each("mi300x-192gb", _TERA, {"fp32_fma_flop_per_s": 96.5}, _GPU_BENCHES_ROOFLINE,
           "1401 MHz, 747 W: power-throttled from 2100 MHz"),
)  # fmt: skip
"""Arithmetic: matrix products, and fused multiply-adds with their clocks and power."""


def _host(
    system: str,
    source: str,
    remark: str = "",
    **rate_giga: _Range,
) -> tuple[Reported, ...]:
    """Name rates of `system`: ``h2d``, ``d2h``, each under the other, and between peers."""
    rates = {f"{way}_bytes_per_s": rate for way, rate in rate_giga.items()}
    return _each(system, _GIGA, rates, source, remark)


LINKS = (
    *_host("v100-16gb-pcie", "RRZE-HPC/gpu-benches README", "Gen3 x16", h2d=12.35),
    *_host("p100-pcie", "gearshifft pull request 82", "Gen3 x16, own socket",
           h2d=12.15, d2h=12.89),
    *_host("p100-pcie", "gearshifft pull request 82", "Gen3 x16, far socket", h2d=3.78, d2h=2.54),
    *_host("rtx3050-laptop", _LAPTOP, "Gen4 x8, single site",
           h2d=12.98, d2h=13.17, h2d_under_d2h=12.66, d2h_under_h2d=11.06),
    *_host("a100-80gb-sxm", "NVIDIA/nvbandwidth README", "Gen4 x16, eight GPUs",
           h2d=(25.9, 26.2), h2d_under_d2h=(18.4, 19.6), p2p=(275, 277)),
    *_host("a100-80gb-sxm", "NVIDIA/nvbandwidth issue 53", "Gen4 x16, pairs behind a switch",
           h2d=24.8, d2h=25, h2d_under_d2h=11, d2h_under_h2d=24),
    *_host("rtx4090-24gb", "tinygrad/open-gpu-kernel-modules issue 6", "Gen4 x16",
           h2d=(23.1, 26.2), d2h=(24.6, 26.3), p2p_both=(25.8, 41.4)),
    *_host("rtx-a6000", "NVIDIA/nvbandwidth issue 50", "Gen4, same side", p2p=26.3),
    *_host("rtx-a6000", "NVIDIA/nvbandwidth issue 50", "Gen4, far side", p2p=(21.8, 22.6)),
    *_host("h800-sxm", _H800, "Gen5 x16, copy engines; single site",
           h2d=55.3, d2h=55.1, h2d_under_d2h=52.8, d2h_under_h2d=(34.4, 50.5), p2p=(172, 176),
           p2p_both=(341, 349)),
    *_host("h800-sxm", _H800, "SM copies; single site", p2p=(165, 168),
           p2p_both=(302, 328)),
    *_host("gen5-unnamed", "NVIDIA/cuda-samples issue 357", "Gen5 x16, eight GPUs",
           h2d=56.2, d2h=(53.5, 57.1), host_both=101.3),
    *_host("h100-80gb-sxm", "NVIDIA/nvbandwidth issue 24", "Gen5, SM copies", h2d=35.2, d2h=52.8),
    *_host("h100-80gb-sxm", "NVIDIA/nccl issue 1264", "NVLink 4", p2p=(371, 377),
           p2p_both=(742, 773)),
    *_host("rx-9700", _TURIN, "Gen5, EPYC 9575F, own socket; single site",
           h2d=56.3, d2h=55.5, h2d_under_d2h=(41.8, 44.5), d2h_under_h2d=(49.4, 50.9)),
    *_host("rx-9700", _TURIN, "Gen5, EPYC 9575F, far socket; single site", h2d=37.2),
    *_host("gb300", _ORACLE, "C2C and NVLink 5; single site",
           h2d=211.5, d2h=193.5, h2d_under_d2h=171.9, d2h_under_h2d=171.1, p2p=(769, 776),
           p2p_both=(1528, 1543)),
    *_host("mi300x-192gb", "scalarlm.com", "reference for one xGMI link", p2p=50),
    *_each("rtx3050-laptop", _NANO, {"host_latency_s": 613}, _LAPTOP, "single site"),
    *_each("gb300", _NANO, {"host_latency_s": 578, "p2p_latency_s": 1710}, _ORACLE,
           "single site"),
)  # fmt: skip
"""Links: to the host, alone and with the other direction busy, and to peers."""

REPORTED = MEMORY + COMPUTE + LINKS


def reported(device: str, fact: str) -> tuple[Reported, ...]:
    """Return what is reported of a device, each source for itself; empty if nothing is."""
    return tuple(each for each in REPORTED if (each.device, each.fact) == (device, fact))
