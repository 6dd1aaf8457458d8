"""A made-up driver, whose every call can be made to fail: for tests, and to try what is reported.

As shipped its GPUs are those of an HGX H100 board: 18 NVLinks each into NVSwitches whose addresses
the driver hides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from topoprobe.machine.sources.nvml.codes import MAX_NVLINKS, WORDS, Code, FarEnd, Field
from topoprobe.machine.sources.nvml.provider import Answer

_HIDDEN = "FFFFFFFF:FF:FF.0"


@dataclass(frozen=True, slots=True)
class FakeGpu:
    """One GPU.

    Attributes
    ----------
    address : str
        As NVML writes it, with eight digits of domain.
    num_links : int
        NVLinks that it has.
    links_down : tuple of int
        Those that are not up.
    peers : mapping
        Address of the GPU at the far end of a link; the others end at a hidden NVSwitch.
    c2c : (int, int) or None
        Links to the CPU, and MB/s of each.
    partitions : tuple of str
        Names of its MIG devices; none if it is not split.
    changed : mapping
        Answers to other functions, or in place of the usual ones, by name: a value, or a function
        of the arguments after the device.
    """

    address: str
    name: str = "NVIDIA H100 80GB HBM3"
    uuid: str = "GPU-5ca1ab1e-0000-4000-8000-000000000000"
    device_id: int = 0x233010DE
    compute_capability: tuple[int, int] = (9, 0)
    memory_bytes: int = 80 << 30
    bar1_bytes: int = 128 << 30
    generation: int = 5
    max_generation: int = 5
    own_generation: int = 5
    width: int = 16
    max_width: int = 16
    performance_state: int = 0
    cpu_words: tuple[int, ...] = (0b1111,)
    numa_words: tuple[int, ...] = (0b1,)
    num_links: int = 18
    links_down: tuple[int, ...] = ()
    peers: Mapping[int, str] = field(default_factory=dict)
    c2c: tuple[int, int] | None = None
    partitions: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    changed: Mapping[str, Any] = field(default_factory=dict)


class FakeNvml:
    """Answers like a driver that shows these GPUs.

    Parameters
    ----------
    gpus : sequence of FakeGpu
        In the driver's order.
    failures : mapping
        Codes of calls that fail, by what fails: a function's name, a pair of that and a GPU's
        number, or a GPU's number alone, of which nothing answers any more.
    driver : str
        Its version.
    """

    def __init__(
        self,
        gpus: Sequence[FakeGpu],
        failures: Mapping[str | int | tuple[str, int], Code] | None = None,
        driver: str = "580.105.08",
    ) -> None:
        self._gpus = tuple(gpus)
        self._failures = dict(failures or {})
        self._driver = driver
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def ask(self, function: str, *arguments: Any) -> Answer:
        """Answer one call, and remember it in `calls`."""
        self.calls.append((function, arguments))
        index = self._index(function, arguments)
        for failing in (index, (function, index), function):
            if failing in self._failures:
                return _refusal(function, self._failures[failing])
        if index is None:
            return self._of_system(function)
        if index >= len(self._gpus):
            return _refusal(function, Code.INVALID_ARGUMENT)
        return self._of_gpu(function, index, arguments)

    def _index(self, function: str, arguments: tuple[Any, ...]) -> int | None:
        if not arguments:
            return None
        first = arguments[0]
        if function == "nvmlDeviceGetHandleByPciBusId":
            found = [i for i, gpu in enumerate(self._gpus) if gpu.address.endswith(first.upper())]
            return found[0] if found else len(self._gpus)
        number = str(first).removeprefix("gpu:").partition("/")[0]
        return int(number) if number.isdecimal() else len(self._gpus)

    def _of_system(self, function: str) -> Answer:
        answers = {
            "nvmlDeviceGetCount": len(self._gpus),
            "nvmlSystemGetDriverVersion": self._driver,
        }
        return _answer(function, answers)

    def _of_gpu(self, function: str, index: int, arguments: tuple[Any, ...]) -> Answer:
        gpu = self._gpus[index]
        if function in gpu.changed:
            answer = gpu.changed[function]
            return Answer(answer(*arguments[1:]) if callable(answer) else answer)
        if "NvLink" in function:
            return _of_link(gpu, function, *arguments[1:])
        if function == "nvmlDeviceGetFieldValues":
            return Answer([_field(gpu, asked) for asked in arguments[1]])
        if function == "nvmlDeviceGetMigDeviceHandleByIndex":
            is_there = arguments[1] < len(gpu.partitions)
            handle = f"{arguments[0]}/mig:{arguments[1]}"
            return Answer(handle) if is_there else _refusal(function, Code.NOT_FOUND)
        if function == "nvmlDeviceGetName" and "/mig:" in arguments[0]:
            return Answer(gpu.partitions[int(arguments[0].partition("/mig:")[2])])
        return _answer(function, _answers(gpu, index))


def _answers(gpu: FakeGpu, index: int) -> dict[str, Any]:
    return {
        "nvmlDeviceGetHandleByIndex": f"gpu:{index}",
        "nvmlDeviceGetHandleByPciBusId": f"gpu:{index}",
        "nvmlDeviceGetPciInfo": {"busId": gpu.address, "pciDeviceId": gpu.device_id},
        "nvmlDeviceGetName": gpu.name,
        "nvmlDeviceGetUUID": gpu.uuid,
        "nvmlDeviceGetCudaComputeCapability": list(gpu.compute_capability),
        "nvmlDeviceGetMemoryInfo": {"total": gpu.memory_bytes},
        "nvmlDeviceGetBAR1MemoryInfo": {"bar1Total": gpu.bar1_bytes},
        "nvmlDeviceGetCurrPcieLinkGeneration": gpu.generation,
        "nvmlDeviceGetMaxPcieLinkGeneration": gpu.max_generation,
        "nvmlDeviceGetGpuMaxPcieLinkGeneration": gpu.own_generation,
        "nvmlDeviceGetCurrPcieLinkWidth": gpu.width,
        "nvmlDeviceGetMaxPcieLinkWidth": gpu.max_width,
        "nvmlDeviceGetPerformanceState": gpu.performance_state,
        "nvmlDeviceGetCurrentClocksEventReasons": int(gpu.performance_state > 0),
        "nvmlDeviceGetPcieReplayCounter": 0,
        "nvmlDeviceGetTotalEccErrors": 0,
        "nvmlDeviceGetRemappedRows": [0, 0, 0, 0],
        "nvmlDeviceGetCpuAffinityWithinScope": list(gpu.cpu_words),
        "nvmlDeviceGetMemoryAffinity": list(gpu.numa_words),
        "nvmlDeviceGetVirtualizationMode": 0,
        "nvmlDeviceGetMigMode": [int(bool(gpu.partitions))] * 2,
        "nvmlDeviceGetMaxMigDeviceCount": 7,
        "nvmlDeviceGetTopologyCommonAncestor": 50,
        "nvmlDeviceGetP2PStatus": 0,
        "nvmlDeviceGetComputeRunningProcesses": [{"pid": pid} for pid in gpu.processes],
        "nvmlDeviceGetUtilizationRates": {"gpu": 0, "memory": 0},
    }


def _of_link(gpu: FakeGpu, function: str, link: int, *more: int) -> Answer:
    if link >= MAX_NVLINKS:
        return _refusal(function, Code.INVALID_ARGUMENT)
    if link >= gpu.num_links:
        return _refusal(function, Code.NOT_SUPPORTED)
    peer = gpu.peers.get(link)
    answers = {
        "nvmlDeviceGetNvLinkState": int(link not in gpu.links_down),
        "nvmlDeviceGetNvLinkCapability": 1,
        "nvmlDeviceGetNvLinkVersion": 6,
        "nvmlDeviceGetNvLinkRemoteDeviceType": int(FarEnd.GPU if peer else FarEnd.SWITCH),
        "nvmlDeviceGetNvLinkRemotePciInfo": {"busId": peer or _HIDDEN},
    }
    return _answer(function, answers)


def _field(gpu: FakeGpu, asked: int | list[int]) -> dict[str, Any]:
    number, scope = (asked[0], asked[1]) if isinstance(asked, list) else (asked, 0)
    values: dict[int, int] = {
        Field.NVLINK_LINK_COUNT: gpu.num_links,
        Field.GET_GPU_RECOVERY_ACTION: 0,
    }
    if gpu.c2c is not None:
        values[Field.C2C_LINK_COUNT], values[Field.C2C_LINK_GET_MAX_BW] = gpu.c2c
        values[Field.C2C_LINK_GET_STATUS] = 1
    return {
        "fieldId": number,
        "scopeId": scope,
        "nvmlReturn": 0 if number in values else int(Code.NOT_SUPPORTED),
        "value": values.get(number),
    }


def _answer(function: str, answers: Mapping[str, Any]) -> Answer:
    if function in answers:
        return Answer(answers[function])
    return _refusal(function, Code.NOT_SUPPORTED)


def _refusal(function: str, code: Code) -> Answer:
    return Answer(None, f"{function} failed: {WORDS[code].rstrip('.')}.", int(code))
