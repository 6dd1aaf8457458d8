"""What the driver tells of one GPU: identity, memory, PCIe link, place, fabric, partitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from topoprobe.machine import nvidia
from topoprobe.machine.facts import GpuFact, PartitionFact, PciFact, PeerFact
from topoprobe.machine.pcie import LANE_COUNTS, capability_of_generation
from topoprobe.machine.sources.nvml.codes import (
    GPU_IDLE,
    MAX_PERFORMANCE_STATE,
    SCOPE_NODE,
    WORDS,
    Code,
)
from topoprobe.machine.sources.nvml.device import (
    Device,
    bits,
    member,
    number,
    numbers,
    size,
    text,
)
from topoprobe.machine.sources.nvml.health import read_health
from topoprobe.machine.sources.nvml.nvlinks import read_c2c, read_nvlinks
from topoprobe.records.machine import Contradiction, Fabric

_MAX_CPU_WORDS = 64
_MAX_NUMA_WORDS = 16  # coherent machines number the memory of their GPUs too
_MAX_PARTITIONS = 64

# Two bits of the fabric's health mask say whether one trouble is there, by the first of the bits.
_TROUBLES = {
    0: "bandwidth degraded",
    2: "route recovery in progress",
    4: "route unhealthy",
    6: "recovering from an access timeout",
}
_IS_TROUBLED, _IS_WELL = 1, 2
_CONFIGURATION_BIT, _CONFIGURATION_WIDTH, _CONFIGURATION_RIGHT = 8, 0xF, 1
_CONFIGURATIONS = {
    2: "incorrect system GUID",
    3: "incorrect chassis serial number",
    4: "no partition",
    5: "too few NVLinks",
    6: "incompatible GPU firmware",
    7: "invalid location",
    8: "invalid GPU state",
}


class GpuFacts(NamedTuple):
    """Everything about one GPU."""

    function: PciFact
    gpu: GpuFact
    partitions: tuple[PartitionFact, ...]
    peers: tuple[PeerFact, ...]
    contradictions: tuple[Contradiction, ...]


class _PcieLink(NamedTuple):
    """The numbers of a GPU's PCIe link; `limit` is that of the GPU and the system together."""

    generation: int | None
    width: int | None
    limit_generation: int | None
    limit_width: int | None
    own_generation: int | None


def read_gpu(device: Device, pci: Any, driver: str | None) -> GpuFacts:
    """Ask everything.

    Parameters
    ----------
    device : Device
        The GPU; its subject is its PCI address.
    pci : object
        What `nvmlDeviceGetPciInfo` gave.
    driver : str or None
        Version of the driver.
    """
    compute = device.wanted(
        "compute_capability", _compute_capability, "nvmlDeviceGetCudaComputeCapability"
    )
    link = _read_link(device)
    reasons = _read_clock_reasons(device)
    nvlinks = read_nvlinks(device, compute)
    is_split = _read_mig_mode(device)
    numa_index, memory_numa_index = _read_numas(device)
    slot, tray, module = _read_place(device)
    gpu = GpuFact(
        subject=device.subject,
        name=device.wanted("name", text, "nvmlDeviceGetName"),
        numa_index=numa_index,
        cpus=_read_cpus(device),
        uuid=device.wanted("uuid", _identity, "nvmlDeviceGetUUID"),
        memory_bytes=device.wanted(
            "memory_bytes", lambda info: size(member(info, "total")), "nvmlDeviceGetMemoryInfo"
        ),
        bar1_bytes=device.wanted(
            "bar1_bytes",
            lambda info: size(member(info, "bar1Total")),
            "nvmlDeviceGetBAR1MemoryInfo",
        ),
        compute_capability=compute,
        driver=f"nvidia {driver}" if driver else None,
        num_nvlinks=nvlinks.num_up,
        max_nvlinks=nvlinks.num_present,
        is_mig_enabled=is_split,
        partition_mode="mig" if is_split else None,
        performance_state=device.wanted(
            "performance_state", _performance_state, "nvmlDeviceGetPerformanceState"
        ),
        is_idle=None if reasons is None else bool(reasons & GPU_IDLE),
        memory_numa_index=memory_numa_index,
        module_id=module,
        virtualization=_word(
            device, "virtualization", nvidia.VIRTUALIZATION_MODES, "nvmlDeviceGetVirtualizationMode"
        ),
        addressing_mode=_word(
            device, "addressing_mode", nvidia.ADDRESSING_MODES, "nvmlDeviceGetAddressingMode"
        ),
        num_pcie_replays=device.offered(
            "num_pcie_replays", number, "nvmlDeviceGetPcieReplayCounter"
        ),
        fabric=device.offered("fabric", _fabric, "nvmlDeviceGetGpuFabricInfoV"),
        chassis_slot=slot,
        chassis_tray=tray,
        health=read_health(device, reasons),
    )
    return GpuFacts(
        function=_function(device.subject, pci, link),
        gpu=gpu,
        partitions=tuple(_read_partitions(device)) if is_split else (),
        peers=(*nvlinks.peers, *read_c2c(device)),
        contradictions=nvidia.impossible_generations(
            device.subject,
            link.generation,
            (
                ("the GPU and its slot at most", link.limit_generation),
                ("the GPU at most", link.own_generation),
            ),
        ),
    )


def _function(address: str, pci: Any, link: _PcieLink) -> PciFact:
    identity = number(member(pci, "pciDeviceId"))  # device << 16 | vendor
    is_slower = (link.limit_generation or 0) < (link.generation or 0)
    return PciFact(
        address=address,
        kind="gpu",
        vendor=f"{identity & 0xFFFF:04x}" if identity else None,
        device=f"{identity >> 16:04x}" if identity else None,
        current=capability_of_generation(link.generation, link.width),
        nominal=capability_of_generation(
            None if is_slower else link.limit_generation, link.limit_width
        ),
        maximum=capability_of_generation(link.own_generation, None),
    )


def _read_link(device: Device) -> _PcieLink:
    return _PcieLink(
        generation=device.offered("current", size, "nvmlDeviceGetCurrPcieLinkGeneration"),
        width=device.offered("current", _lanes, "nvmlDeviceGetCurrPcieLinkWidth"),
        limit_generation=device.offered("nominal", size, "nvmlDeviceGetMaxPcieLinkGeneration"),
        limit_width=device.offered("nominal", _lanes, "nvmlDeviceGetMaxPcieLinkWidth"),
        own_generation=device.offered("maximum", size, "nvmlDeviceGetGpuMaxPcieLinkGeneration"),
    )


def _read_clock_reasons(device: Device) -> int | None:
    """Read the bits that say why the clocks are as low as they are."""
    reasons = number(device.ask("nvmlDeviceGetCurrentClocksEventReasons").value)
    if reasons is None:  # the name before driver 535
        function = "nvmlDeviceGetCurrentClocksThrottleReasons"
        reasons = device.offered("is_idle", number, function)
    return reasons


def _read_cpus(device: Device) -> tuple[int, ...]:
    """Read the CPUs near the GPU; a driver in a guest or container may name some that are gone."""
    asked = ("nvmlDeviceGetCpuAffinityWithinScope", _MAX_CPU_WORDS, SCOPE_NODE)
    cpus = bits(device.ask(*asked).value)
    return cpus or bits(device.ask("nvmlDeviceGetCpuAffinity", _MAX_CPU_WORDS).value)


def _read_numas(device: Device) -> tuple[int | None, int | None]:
    """Return the NUMA node that the GPU is attached to, and the one that its own memory is.

    Only GPUs whose memory is a NUMA node have a node id of their own; some drivers answer with
    the node they are attached to, which is not meant.
    """
    near = device.offered(
        "numa_index", bits, "nvmlDeviceGetMemoryAffinity", _MAX_NUMA_WORDS, SCOPE_NODE
    )
    index = near[0] if near and len(near) == 1 else None
    own = device.offered("memory_numa_index", number, "nvmlDeviceGetNumaNodeId")
    return index, None if near and own in near else own


def _read_place(device: Device) -> tuple[int | None, int | None, int | None]:
    """Return slot and tray in the rack's chassis, and the place on the board.

    Boards outside a rack have neither slot nor tray; the driver then gives 0 or 255 for them.
    """
    module = device.offered("module_id", number, "nvmlDeviceGetModuleId")
    info = device.offered("chassis_slot", _dict, "nvmlDeviceGetPlatformInfo")
    slot = size(member(info, "slotNumber") or member(info, "chassisPhysicalSlotNumber"))
    tray = number(member(info, "trayIndex"))
    if slot is None or slot == 255 or tray == 255:
        return None, None, module
    return slot, tray, module


def _read_mig_mode(device: Device) -> bool | None:
    """Tell whether the GPU is split; a board that cannot be is not."""
    mode = device.ask("nvmlDeviceGetMigMode")
    if mode.reason is None:
        current = numbers(mode.value)[:1]
        return None if current in ([], [None]) else bool(current[0])
    if mode.code == Code.NOT_SUPPORTED:
        return False
    device.miss("is_mig_enabled", mode.reason)
    return None


def _read_partitions(device: Device) -> Iterator[PartitionFact]:
    count = device.wanted("partitions", number, "nvmlDeviceGetMaxMigDeviceCount") or 0
    for index in range(min(count, _MAX_PARTITIONS)):
        handle = device.ask("nvmlDeviceGetMigDeviceHandleByIndex", index).value
        if not isinstance(handle, str):
            continue  # most slots are empty
        name = text(device.provider.ask("nvmlDeviceGetName", handle).value)
        yield PartitionFact(
            key=f"mig{index}",
            subject=device.subject,
            name=name or f"MIG device {index}",
            partition_kind="mig",
        )


def _compute_capability(value: Any) -> str | None:
    parts = numbers(value)
    return f"{parts[0]}.{parts[1]}" if len(parts) == 2 and None not in parts else None


def _identity(value: Any) -> str | None:
    return nvidia.identity(text(value))


def _memory(info: Any) -> int | None:
    return size(member(info, "total"))


def _performance_state(value: Any) -> str | None:
    state = number(value)
    return f"P{state}" if state is not None and state <= MAX_PERFORMANCE_STATE else None


def _lanes(value: Any) -> int | None:
    return value if number(value) in LANE_COUNTS else None


def _dict(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _word(device: Device, fact: str, words: tuple[str, ...], function: str) -> str | None:
    mode = device.offered(fact, number, function)
    return words[mode] if mode is not None and mode < len(words) else None


def _fabric(info: Any) -> Fabric | None:
    state = number(member(info, "state"))
    if state is None or state >= len(nvidia.FABRIC_STATES):
        return None
    status = number(member(info, "status"))
    return nvidia.fabric(
        nvidia.FABRIC_STATES[state],
        None if status is None else _status(status),
        _uuid(member(info, "clusterUuid")),
        number(member(info, "cliqueId")),
        _health(info),
    )


def _status(code: int) -> str:
    known = {int(one): words.lower() for one, words in WORDS.items()}
    return "success" if code == 0 else known.get(code, f"error {code}")


def _uuid(value: Any) -> str | None:
    octets = [octet for octet in numbers(value) if octet is not None and octet < 256]
    if len(octets) != 16:
        return None
    digits = bytes(octets).hex()
    return "-".join(digits[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))


def _health(info: Any) -> str | None:
    mask = number(member(info, "healthMask")) or 0
    told = {bit: mask >> bit & 3 for bit in _TROUBLES}
    troubles = [_TROUBLES[bit] for bit, state in told.items() if state == _IS_TROUBLED]
    configuration = mask >> _CONFIGURATION_BIT & _CONFIGURATION_WIDTH
    if configuration > _CONFIGURATION_RIGHT:
        troubles.append(_CONFIGURATIONS.get(configuration, "configured wrongly"))
    summary = number(member(info, "healthSummary")) or 0
    if 0 < summary < len(nvidia.HEALTH_SUMMARIES):
        return nvidia.fabric_health(nvidia.HEALTH_SUMMARIES[summary], troubles)
    return nvidia.fabric_health("healthy" if _IS_WELL in told.values() else None, troubles)
