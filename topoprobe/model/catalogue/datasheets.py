"""Data sheets of GPUs, number by number; the sparse rates that some print first are left out.

What confirms a sheet are public collections of such figures [gpu-catalogues].
"""

from __future__ import annotations

from collections.abc import Mapping

from topoprobe.model.catalogue.nominal import Figure, NominalDevice, PcieSlot, PeerLinks

_BEKMAN = "ml-engineering compute/accelerator"
_LIGHTNING = "pytorch-lightning throughput.py"
_ANALYSIS = "llm-analysis gpu_configs"

_V100 = f"NVIDIA V100 data sheet; also in {_LIGHTNING} and {_ANALYSIS}"
_A100 = f"NVIDIA A100 data sheet; also in {_BEKMAN} and {_ANALYSIS}"
_H100 = f"NVIDIA H100 data sheet and product brief PB-11133; also in {_BEKMAN} and {_LIGHTNING}"
_H200 = f"NVIDIA H200 product page; also in {_BEKMAN}"
_GH200 = f"NVIDIA GH200 data sheet; also in {_BEKMAN}"
_B200 = f"NVIDIA HGX and DGX B200 data sheets; also in {_BEKMAN}"
_GB200 = f"NVIDIA GB200 NVL72 product page, a 72nd of the rack; also in {_BEKMAN}"
_L4 = "NVIDIA L4 product page"
_L40S = f"NVIDIA L40S data sheet; also in {_BEKMAN}"
_A10 = f"NVIDIA A10 data sheet; also in {_LIGHTNING}"
_T4 = f"NVIDIA T4 data sheet; also in {_LIGHTNING}"
_ADA = "NVIDIA Ada GPU architecture white paper"
_RTX_BLACKWELL = "NVIDIA RTX Blackwell GPU architecture white paper"
_MI250X = f"AMD Instinct MI250X product page, both dies together; also in {_BEKMAN}"
_MI300X = f"AMD Instinct MI300X product page; also in {_BEKMAN}"

_UNITS = "architecture white paper of its maker"

_GIGA, _TERA, _MEGA = 1e9, 1e12, 1e6

_VOLTA_SXM = {"fp16": 125.0, "fp32": 15.7, "fp64": 7.8}
_VOLTA_PCIE = {"fp16": 112.0, "fp32": 14.0, "fp64": 7.0}
_AMPERE = {"bf16": 312.0, "fp16": 312.0, "tf32": 156.0, "fp32": 19.5, "fp64": 9.7}
_HOPPER = {
    "fp8": 1979.0, "bf16": 989.0, "fp16": 989.0, "tf32": 494.0, "fp32": 67.0, "fp64": 34.0,
}  # fmt: skip


def _device(
    name: str,
    title: str,
    source: str,
    *,
    memory_gb: float,
    memory_gb_per_s: float,
    compute_tera: Mapping[str, float],
    l2_mb: float,
    pcie_generation: int,
    power_w: float,
    links: tuple[int, float] | None = None,
    is_bridge: bool = False,
    c2c_gb_per_s: float | None = None,
    half_accumulate_tera: Mapping[str, float] | None = None,
    num_units: int | None = None,
    driver_name: str | None = None,
    is_checked: bool = True,
    checked: tuple[str, ...] = (),
    remarks: Mapping[str, str] | None = None,
) -> NominalDevice:
    """Write a line of the catalogue; `checked` and `remarks` go by the name of a number."""

    def figure(name: str, value: float, unit: float = 1.0) -> Figure:
        remark = (remarks or {}).get(name)
        told = source if remark is None else f"{source}; {remark}"
        return Figure(value * unit, told, is_checked or name in checked)

    return NominalDevice(
        name=name,
        title=title,
        driver_name=driver_name,
        memory_bytes=figure("memory", memory_gb, _GIGA),
        memory_bytes_per_s=figure("bandwidth", memory_gb_per_s, _GIGA),
        compute_flop_per_s={k: figure(k, v, _TERA) for k, v in compute_tera.items()},
        half_accumulate_flop_per_s={
            k: figure(f"half {k}", v, _TERA) for k, v in (half_accumulate_tera or {}).items()
        },
        l2_bytes=figure("l2", l2_mb, _MEGA),
        power_w=figure("power", power_w),
        num_units=None if num_units is None else Figure(num_units, _UNITS, is_checked=False),
        pcie=PcieSlot(figure("pcie", pcie_generation), figure("pcie", 16)),
        peer_links=links
        and PeerLinks(
            figure("links", links[0]), figure("links", links[1], _GIGA), is_bridge=is_bridge
        ),
        c2c_bytes_per_s=None if c2c_gb_per_s is None else figure("c2c", c2c_gb_per_s, _GIGA),
    )


NOMINAL_DEVICES = (
    _device(
        "v100-16gb-sxm", "NVIDIA V100 SXM2 16 GB", _V100, driver_name="Tesla V100-SXM2-16GB",
        memory_gb=16, memory_gb_per_s=900, compute_tera=_VOLTA_SXM, l2_mb=6, pcie_generation=3,
        links=(6, 25), power_w=300, num_units=80,
    ),
    _device(
        "v100-32gb-sxm", "NVIDIA V100 SXM2 32 GB", _V100, driver_name="Tesla V100-SXM2-32GB",
        memory_gb=32, memory_gb_per_s=900, compute_tera=_VOLTA_SXM, l2_mb=6, pcie_generation=3,
        links=(6, 25), power_w=300, num_units=80,
    ),
    _device(
        "v100-16gb-pcie", "NVIDIA V100 PCIe 16 GB", _V100, driver_name="Tesla V100-PCIE-16GB",
        memory_gb=16, memory_gb_per_s=900, compute_tera=_VOLTA_PCIE, l2_mb=6, pcie_generation=3,
        power_w=250, num_units=80,
    ),
    _device(
        "v100-32gb-pcie", "NVIDIA V100 PCIe 32 GB", _V100, driver_name="Tesla V100-PCIE-32GB",
        memory_gb=32, memory_gb_per_s=900, compute_tera=_VOLTA_PCIE, l2_mb=6, pcie_generation=3,
        power_w=250, num_units=80,
    ),
    _device(
        "a100-40gb-sxm", "NVIDIA A100 SXM 40 GB", _A100, driver_name="NVIDIA A100-SXM4-40GB",
        memory_gb=40, memory_gb_per_s=1555, compute_tera=_AMPERE, l2_mb=40, pcie_generation=4,
        links=(12, 25), power_w=400, num_units=108,
    ),
    _device(
        "a100-40gb-pcie", "NVIDIA A100 PCIe 40 GB", f"NVIDIA A100 data sheet; also in {_ANALYSIS}",
        driver_name="NVIDIA A100-PCIE-40GB",
        memory_gb=40, memory_gb_per_s=1555, compute_tera=_AMPERE, l2_mb=40, pcie_generation=4,
        links=(12, 25), is_bridge=True, power_w=250, num_units=108,
    ),
    _device(
        "a100-80gb-sxm", "NVIDIA A100 SXM 80 GB", _A100, driver_name="NVIDIA A100-SXM4-80GB",
        memory_gb=80, memory_gb_per_s=2039, compute_tera=_AMPERE, l2_mb=40, pcie_generation=4,
        links=(12, 25), power_w=400, num_units=108,
    ),
    _device(
        "a100-80gb-pcie", "NVIDIA A100 PCIe 80 GB", _A100, driver_name="NVIDIA A100 80GB PCIe",
        memory_gb=80, memory_gb_per_s=1935, compute_tera=_AMPERE, l2_mb=40, pcie_generation=4,
        links=(12, 25), is_bridge=True, power_w=300, num_units=108,
    ),
    _device(
        "h100-80gb-pcie", "NVIDIA H100 PCIe 80 GB", _H100, driver_name="NVIDIA H100 PCIe",
        memory_gb=80, memory_gb_per_s=2000,
        compute_tera={
            "fp8": 1513, "bf16": 756, "fp16": 756, "tf32": 378, "fp32": 51, "fp64": 26,
        },
        l2_mb=50, pcie_generation=5, links=(12, 25), is_bridge=True, power_w=350, num_units=114,
        remarks={"bandwidth": "bus width x clock give 2039 GB/s"},
    ),
    _device(
        "h100-80gb-sxm", "NVIDIA H100 SXM 80 GB", _H100, driver_name="NVIDIA H100 80GB HBM3",
        memory_gb=80, memory_gb_per_s=3350, compute_tera=_HOPPER, l2_mb=50, pcie_generation=5,
        links=(18, 25), power_w=700, num_units=132,
    ),
    _device(
        "h200-141gb-sxm", "NVIDIA H200 SXM 141 GB", _H200, driver_name="NVIDIA H200",
        memory_gb=141, memory_gb_per_s=4800, compute_tera=_HOPPER, l2_mb=50, pcie_generation=5,
        links=(18, 25), power_w=700, num_units=132,
    ),
    _device(
        "gh200-96gb", "NVIDIA GH200 96 GB", _GH200, driver_name="NVIDIA GH200 480GB",
        memory_gb=96, memory_gb_per_s=4000, compute_tera=_HOPPER, l2_mb=50, pcie_generation=5,
        links=(18, 25), c2c_gb_per_s=450, power_w=1000, num_units=132,
        remarks={"power": "of the module with its CPU, set between 450 and 1000 W"},
    ),
    _device(
        "gh200-144gb", "NVIDIA GH200 144 GB", _GH200,
        memory_gb=144, memory_gb_per_s=4900, compute_tera=_HOPPER, l2_mb=50, pcie_generation=5,
        links=(18, 25), c2c_gb_per_s=450, power_w=1000, num_units=132,
        remarks={
            "memory": "141 GB elsewhere",
            "bandwidth": "4800 GB/s elsewhere",
            "power": "of the module with its CPU, set between 450 and 1000 W",
        },
    ),
    _device(
        "b200-180gb-sxm", "NVIDIA B200 SXM 180 GB", _B200, driver_name="NVIDIA B200",
        memory_gb=180, memory_gb_per_s=7672,
        compute_tera={
            "fp8": 4500, "bf16": 2250, "fp16": 2250, "tf32": 1125, "fp32": 75, "fp64": 37,
        },
        l2_mb=126.5, pcie_generation=5, links=(18, 50), power_w=1000, num_units=148,
        remarks={
            "bandwidth": "they say 8000 GB/s, and the driver's bus width x clock 7672 "
            "(pytorch/ao pull request 4002)",
            "fp32": "80 elsewhere",
        },
    ),
    _device(
        "gb200-186gb", "NVIDIA GB200 186 GB", _GB200, driver_name="NVIDIA GB200",
        memory_gb=186, memory_gb_per_s=8000,
        compute_tera={
            "fp8": 5000, "bf16": 2500, "fp16": 2500, "tf32": 1250, "fp32": 80, "fp64": 40,
        },
        l2_mb=126.5, pcie_generation=6, links=(18, 50), c2c_gb_per_s=225, power_w=1200,
        remarks={
            "memory": "the driver tells 199 GB",
            "c2c": "half of what joins its CPU to two GPUs",
            "l2": "of the B200",
        },
    ),
    _device(
        "l4-24gb", "NVIDIA L4 24 GB", _L4, driver_name="NVIDIA L4", is_checked=False,
        memory_gb=24, memory_gb_per_s=300,
        compute_tera={
            "fp8": 242, "bf16": 121, "fp16": 121, "tf32": 60, "fp32": 30.3, "fp64": 0.49,
        },
        l2_mb=48, pcie_generation=4, power_w=72, num_units=58,
    ),
    _device(
        "l40s-48gb", "NVIDIA L40S 48 GB", _L40S, driver_name="NVIDIA L40S",
        memory_gb=48, memory_gb_per_s=864,
        compute_tera={
            "fp8": 733, "bf16": 362, "fp16": 362, "tf32": 183, "fp32": 91.6, "fp64": 1.43,
        },
        l2_mb=96, pcie_generation=4, power_w=350, num_units=142,
    ),
    _device(
        "a10-24gb", "NVIDIA A10 24 GB", _A10, driver_name="NVIDIA A10",
        memory_gb=24, memory_gb_per_s=600,
        compute_tera={"bf16": 125, "fp16": 125, "tf32": 62.5, "fp32": 31.2, "fp64": 0.49},
        l2_mb=6, pcie_generation=4, power_w=150, num_units=72,
    ),
    _device(
        "t4-16gb", "NVIDIA T4 16 GB", _T4, driver_name="Tesla T4",
        memory_gb=16, memory_gb_per_s=320,
        compute_tera={"fp16": 65, "fp32": 8.1, "fp64": 0.25},
        l2_mb=4, pcie_generation=3, power_w=70, num_units=40,
        remarks={"bandwidth": "300 GB/s in its first edition"},
    ),
    _device(
        "rtx4090-24gb", "NVIDIA GeForce RTX 4090 24 GB", _ADA, is_checked=False,
        driver_name="NVIDIA GeForce RTX 4090", memory_gb=24, memory_gb_per_s=1008,
        compute_tera={
            "fp8": 330, "bf16": 165, "fp16": 165, "tf32": 82.6, "fp32": 82.6, "fp64": 1.29,
        },
        half_accumulate_tera={"fp16": 330, "fp8": 660}, l2_mb=72, pcie_generation=4, power_w=450,
    ),
    _device(
        "rtx5090-32gb", "NVIDIA GeForce RTX 5090 32 GB", _RTX_BLACKWELL, is_checked=False,
        driver_name="NVIDIA GeForce RTX 5090", memory_gb=32, memory_gb_per_s=1792,
        compute_tera={
            "fp8": 419, "bf16": 209.5, "fp16": 209.5, "tf32": 104.8, "fp32": 104.8, "fp64": 1.64,
        },
        half_accumulate_tera={"fp16": 419, "fp8": 838}, l2_mb=96, pcie_generation=5, power_w=575,
        checked=("bf16", "fp8", "fp32"),
    ),
    _device(
        "mi250x-128gb", "AMD Instinct MI250X 128 GB", _MI250X,
        memory_gb=128, memory_gb_per_s=3277,
        compute_tera={"bf16": 383, "fp16": 383, "fp32": 47.9, "fp64": 47.9},
        l2_mb=16, pcie_generation=4, links=(7, 50), power_w=500, num_units=220,
        remarks={"l2": "8 MB on each die", "power": "560 W at peak"},
    ),
    _device(
        "mi300x-192gb", "AMD Instinct MI300X 192 GB", _MI300X,
        driver_name="AMD Instinct MI300X", memory_gb=192, memory_gb_per_s=5300,
        compute_tera={
            "fp8": 2615, "bf16": 1307, "fp16": 1307, "tf32": 654, "fp32": 163.4, "fp64": 81.7,
        },
        l2_mb=256, pcie_generation=5, links=(7, 64), power_w=750, num_units=304,
        remarks={"l2": "its last level; each of eight dies has 4 MB before it"},
    ),
)  # fmt: skip
