"""What a PCI function is, from its class, its vendor, and what it carries."""

from __future__ import annotations

from enum import StrEnum

from topoprobe.machine.facts import PciFact


class Kind(StrEnum):
    """The kinds of PCI function that the machine document tells apart."""

    BRIDGE = "bridge"
    GPU = "gpu"
    NIC = "nic"
    NVME = "nvme"
    NVSWITCH = "nvswitch"
    CXL_MEMORY = "cxl_memory"
    PARTITION = "partition"
    OTHER = "other"


# The NVSwitches of V100, A100 and H100. Later ones show no PCI function of their own.
NVSWITCHES = frozenset({"1ac2", "1af1", "22a3"})
# A display class (0300) is also what the screen of a management controller has: only these vendors
# make GPUs, and ATI's old server chip is one of those screens.
_GPU_VENDORS = {"10de", "1002", "8086"}
_MANAGEMENT_SCREENS = {("1002", "515e"), ("1002", "474f"), ("1002", "4752"), ("1002", "5159")}
_MANAGEMENT_SCREEN_NAMES = ("ES1000", "Rage XL", "Radeon VE")
_NEC = "1bcf"  # Vector Engines are the accelerators of class 0b40; Intel's QAT there is not.
_NIC_CLASSES = ("0200", "0207", "0280", "02")  # the last where only a name tells

_CLASS_NAMES = {
    "00": "function without a class",
    "01": "storage controller",
    "02": "network function",
    "03": "display",
    "04": "multimedia",
    "05": "memory controller",
    "06": "bridge",
    "07": "communication controller",
    "08": "system peripheral",
    "09": "input controller",
    "0b": "processor",
    "0c": "serial bus controller",
    "0d": "wireless controller",
    "10": "encryption controller",
    "11": "signal processing controller",
    "12": "accelerator",
    "13": "instrumentation",
}
_VENDORS = {
    "1000": "Broadcom",
    "1002": "AMD",
    "1014": "IBM",
    "1022": "AMD",
    "104c": "Texas Instruments",
    "10b5": "PLX",
    "10de": "NVIDIA",
    "1137": "Cisco",
    "11f8": "Microchip",
    "144d": "Samsung",
    "14e4": "Broadcom",
    "15b3": "Mellanox",
    "17db": "HPE Cray",
    "1a03": "ASPEED",
    "1af4": "virtio",
    "1bcf": "NEC",
    "1d0f": "Amazon",
    "8086": "Intel",
}
# Names from the public PCI ID list [pci-ids], for recordings that carry only numbers.
_MODELS = {
    ("1002", "66a1"): "Radeon Instinct MI50/MI60",
    ("1002", "738c"): "Instinct MI100",
    ("1002", "7408"): "Instinct MI250X",
    ("1002", "740c"): "Instinct MI250X/MI250",
    ("1002", "740f"): "Instinct MI210",
    ("1002", "74a0"): "Instinct MI300A",
    ("1002", "74a1"): "Instinct MI300X",
    ("1002", "74a2"): "Instinct MI308X",
    ("1002", "74a5"): "Instinct MI325X",
    ("1002", "74b5"): "Instinct MI300X VF",
    ("1002", "74b9"): "Instinct MI325X VF",
    ("1002", "75a0"): "Instinct MI350X",
    ("1002", "75a3"): "Instinct MI355X",
    ("1000", "c010"): "PEX880xx Gen4 switch",
    ("1000", "c012"): "PEX880xx Gen4 switch",
    ("1000", "c030"): "PEX890xx Gen5 switch",
    ("1000", "c034"): "PEX890xx Gen5 switch",
    ("10b5", "8747"): "PEX 8747 Gen3 switch",
    ("10b5", "8796"): "PEX 8796 Gen3 switch",
    ("10b5", "9765"): "PEX 9765 Gen3 switch",
    ("10b5", "9797"): "PEX 9797 Gen3 switch",
    ("10de", "1ac2"): "NVSwitch (V100)",
    ("10de", "1af1"): "NVSwitch (A100)",
    ("10de", "22a3"): "NVSwitch (H100)",
    ("10de", "15f9"): "Tesla P100-SXM2-16GB",
    ("10de", "1db1"): "Tesla V100-SXM2-16GB",
    ("10de", "1db4"): "Tesla V100-PCIE-16GB",
    ("10de", "1db5"): "Tesla V100-SXM2-32GB",
    ("10de", "1db6"): "Tesla V100-PCIE-32GB",
    ("10de", "1db8"): "Tesla V100-SXM3-32GB",
    ("10de", "1eb8"): "Tesla T4",
    ("10de", "20b0"): "A100-SXM4-40GB",
    ("10de", "20b1"): "A100-PCIE-40GB",
    ("10de", "20b2"): "A100-SXM4-80GB",
    ("10de", "20b5"): "A100-PCIE-80GB",
    ("10de", "20b7"): "A30",
    ("10de", "20f1"): "A100-PCIE-40GB",
    ("10de", "20f3"): "A800-SXM4-80GB",
    ("10de", "2204"): "GeForce RTX 3090",
    ("10de", "2230"): "RTX A6000",
    ("10de", "2235"): "A40",
    ("10de", "2236"): "A10",
    ("10de", "2237"): "A10G",
    ("10de", "2321"): "H100-NVL-94GB",
    ("10de", "2322"): "H800-PCIE-80GB",
    ("10de", "2324"): "H800-SXM5-80GB",
    ("10de", "2329"): "H20",
    ("10de", "2330"): "H100-SXM5-80GB",
    ("10de", "2331"): "H100-PCIE-80GB",
    ("10de", "2335"): "H200-SXM-141GB",
    ("10de", "233b"): "H200-NVL",
    ("10de", "2342"): "GH200",
    ("10de", "2684"): "GeForce RTX 4090",
    ("10de", "26b1"): "RTX 6000 Ada",
    ("10de", "26b5"): "L40",
    ("10de", "26b9"): "L40S",
    ("10de", "27b8"): "L4",
    ("10de", "2901"): "B200",
    ("10de", "2941"): "GB200",
    ("10de", "2b85"): "GeForce RTX 5090",
    ("10de", "3182"): "B300",
    ("10de", "31c2"): "GB300",
    ("10de", "31c3"): "GB300",
    ("11f8", "4128"): "Switchtec PSX 28xG4 switch",
    ("15b3", "1013"): "ConnectX-4",
    ("15b3", "1015"): "ConnectX-4 Lx",
    ("15b3", "1016"): "ConnectX-4 Lx Virtual Function",
    ("15b3", "1017"): "ConnectX-5",
    ("15b3", "1018"): "ConnectX-5 Virtual Function",
    ("15b3", "1019"): "ConnectX-5 Ex",
    ("15b3", "101b"): "ConnectX-6",
    ("15b3", "101c"): "ConnectX-6 Virtual Function",
    ("15b3", "101d"): "ConnectX-6 Dx",
    ("15b3", "101e"): "ConnectX Virtual Function",
    ("15b3", "101f"): "ConnectX-6 Lx",
    ("15b3", "1021"): "ConnectX-7",
    ("15b3", "1023"): "ConnectX-8",
    ("15b3", "1979"): "ConnectX-7 PCIe bridge",
    ("15b3", "197b"): "BlueField-3 PCIe bridge",
    ("15b3", "a2d6"): "BlueField-2",
    ("15b3", "a2dc"): "BlueField-3",
    ("17db", "0501"): "Cassini (Slingshot 200Gb)",
    ("1af4", "1000"): "network device",
    ("1af4", "1041"): "network device",
    ("1af4", "1001"): "block device",
    ("1af4", "1042"): "block device",
    ("1bcf", "001c"): "Vector Engine 1.0",
    ("1d0f", "ec20"): "Elastic Network Adapter",
    ("1d0f", "efa0"): "Elastic Fabric Adapter",
    ("1d0f", "efa1"): "Elastic Fabric Adapter",
    ("1d0f", "efa2"): "Elastic Fabric Adapter",
}


def kind_of(function: PciFact, *, has_storage: bool) -> Kind:
    """Tell what a function is.

    Parameters
    ----------
    function : PciFact
        Its joined facts.
    has_storage : bool
        Whether block devices hang on it.
    """
    class_code = (function.class_code or "")[:4]
    if function.physical_function is not None:
        return Kind.PARTITION
    if function.kind is not None:
        return Kind(function.kind)
    if class_code in {"0604", "0609"}:
        return Kind.BRIDGE
    if _is_gpu_function(function):
        return Kind.GPU
    if class_code == "0680" and function.vendor == "10de":
        return Kind.NVSWITCH
    if function.has_interface or (class_code in _NIC_CLASSES and function.has_interface is None):
        return Kind.NIC
    if class_code == "0108" or has_storage:
        return Kind.NVME
    if class_code == "0502":
        return Kind.CXL_MEMORY
    return Kind.OTHER


def model_of(function: PciFact) -> str | None:
    """Return the product's name: as a source gave it, or from the PCI ID list."""
    if function.name:
        return function.name
    vendor = _VENDORS.get(function.vendor or "")
    model = _MODELS.get((function.vendor or "", function.device or ""))
    return f"{vendor} {model}" if vendor and model else None


def label_of(function: PciFact) -> str:
    """Return the best short name there is: product, or vendor and what its class says."""
    model = model_of(function)
    if model:
        return model
    is_gpu = function.kind == "gpu" or _is_gpu_function(function)
    what = "GPU" if is_gpu else role_of(function)
    if is_gpu and function.vendor == _NEC:
        what = "accelerator"
    vendor = _VENDORS.get(function.vendor or "")
    numbers = f" {function.vendor}:{function.device}" if function.vendor and function.device else ""
    return f"{vendor} {what}{numbers}" if vendor else f"{what}{numbers}"


def role_of(function: PciFact) -> str:
    """Say in words what a function's class means."""
    class_code = function.class_code or ""
    if function.has_interface is False and class_code[:4] in _NIC_CLASSES:
        return "network function without an interface"
    return _CLASS_NAMES.get(class_code[:2], "unknown function")


def _is_gpu_function(function: PciFact) -> bool:
    class_code, vendor, device = (function.class_code or "")[:4], function.vendor, function.device
    if class_code in {"0302", "1200"}:
        return True
    if class_code in {"0300", "0380"}:
        name = function.name or ""
        is_screen = any(screen in name for screen in _MANAGEMENT_SCREEN_NAMES)
        is_screen = is_screen or (vendor, device) in _MANAGEMENT_SCREENS
        return vendor in _GPU_VENDORS and not is_screen
    return class_code == "0b40" and vendor == _NEC
