"""NVML through a stand-in that can refuse any call, as drivers, guests and containers do."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from topoprobe.machine.building import build
from topoprobe.machine.sources import nvml
from topoprobe.machine.view import Machine
from topoprobe.records.base import Tool
from topoprobe.records.machine import Gpu, LinkKind, MachineDocument, Partition

INVALID_ARGUMENT, NOT_SUPPORTED, GPU_IS_LOST = 2, 3, 15


class NvmlError(Exception):
    """What the binding raises: a code in `value`, and words."""

    def __init__(self, value: int, text: str) -> None:
        super().__init__(text)
        self.value = value


class FakeNvml:
    """Two H100s on one hidden NVSwitch fabric. `refuse` makes single functions fail."""

    def __init__(self, refuse: dict[str, Exception] | None = None, num_links: int = 18) -> None:
        self._refuse = refuse or {}
        self._num_links = num_links

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in object.__getattribute__(self, "_refuse"):
            error = object.__getattribute__(self, "_refuse")[name]

            def refuse(*arguments: object) -> None:
                raise error

            return refuse
        return object.__getattribute__(self, name)

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.105.08"

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"handle{index}"

    def nvmlDeviceGetPciInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(busId=f"00000000:{'5364'[2 * int(handle[-1]) :][:2]}:00.0")

    def nvmlDeviceGetName(self, handle: str) -> str:
        return "MIG 1g.10gb" if handle.startswith("mig") else "NVIDIA H100 80GB HBM3"

    def nvmlDeviceGetUUID(self, handle: str) -> bytes:
        return b"GPU-1234"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(total=80 << 30)

    def nvmlDeviceGetBAR1MemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(bar1Total=128 << 30)

    def nvmlDeviceGetCudaComputeCapability(self, handle: str) -> tuple[int, int]:
        return (9, 0)

    def nvmlDeviceGetCurrPcieLinkGeneration(self, handle: str) -> int:
        return 1

    def nvmlDeviceGetCurrPcieLinkWidth(self, handle: str) -> int:
        return 16

    def nvmlDeviceGetCpuAffinity(self, handle: str, num_words: int) -> list[int]:
        return [0b1111] + [0] * (num_words - 1)

    def nvmlDeviceGetNvLinkState(self, handle: str, link: int) -> int:
        if link >= self._num_links:
            raise NvmlError(INVALID_ARGUMENT, "Invalid Argument")
        return 1

    def nvmlDeviceGetNvLinkRemoteDeviceType(self, handle: str, link: int) -> int:
        return 2

    def nvmlDeviceGetNvLinkRemotePciInfo(self, handle: str, link: int) -> SimpleNamespace:
        return SimpleNamespace(busId="FFFFFFFF:FF:FF.0")

    def nvmlDeviceGetFieldValues(self, handle: str, fields: list[int]) -> list[Any]:
        return [SimpleNamespace(nvmlReturn=NOT_SUPPORTED, value=None) for _ in fields]

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:
        return [0, 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:
        if index:
            raise NvmlError(6, "Not Found")
        return "mig0"


def scan(library: object) -> MachineDocument:
    return build([nvml.read(library)], origin="live", tool=Tool(tool_version="0"))


def unknown(document: MachineDocument) -> dict[tuple[str, str], str]:
    return {(m.subject, m.fact): m.reason for m in document.unknown}


def test_gpus_get_their_drivers_facts() -> None:
    document = scan(FakeNvml())
    first, second = Machine(document).all(Gpu)
    assert (first.id, second.id) == ("gpu@0000:53:00.0", "gpu@0000:64:00.0")
    assert first.name == "NVIDIA H100 80GB HBM3"
    assert first.uuid == "GPU-1234"
    assert (first.memory_bytes, first.bar1_bytes) == (80 << 30, 128 << 30)
    assert first.compute_capability == "9.0"
    assert first.driver == "nvidia 580.105.08"
    assert first.cpus == (0, 1, 2, 3)
    assert (first.num_nvlinks, first.is_mig_enabled) == (18, False)
    assert [p.path_class for p in document.pairs] == ["NV18"]
    links = [link for link in document.links if link.kind is LinkKind.NVLINK]
    assert [link.nominal and link.nominal.bandwidth_bytes_per_s for link in links] == [450e9] * 2


@pytest.mark.parametrize(
    ("function", "fact"),
    [
        ("nvmlDeviceGetName", "name"),
        ("nvmlDeviceGetUUID", "uuid"),
        ("nvmlDeviceGetMemoryInfo", "memory_bytes"),
        ("nvmlDeviceGetBAR1MemoryInfo", "bar1_bytes"),
        ("nvmlDeviceGetCudaComputeCapability", "compute_capability"),
    ],
)
def test_refused_call_costs_its_own_fact_only_and_says_why(function: str, fact: str) -> None:
    document = scan(FakeNvml({function: NvmlError(NOT_SUPPORTED, "Not Supported")}))
    for gpu in Machine(document).all(Gpu):
        assert unknown(document)[gpu.id, fact] == f"{function} failed: Not Supported."
        assert gpu.num_nvlinks == 18


@pytest.mark.parametrize(
    "function",
    [name for name in dir(FakeNvml) if name.startswith("nvml")],
)
@pytest.mark.parametrize("error", [NvmlError(999, "Unknown Error"), AttributeError("no symbol")])
def test_no_single_failing_call_ends_the_scan(function: str, error: Exception) -> None:
    document = scan(FakeNvml({function: error}))
    assert document.nodes[0].id == "host"


def test_nvlinks_that_do_not_answer_are_unknown_and_not_zero() -> None:
    failing = {"nvmlDeviceGetNvLinkState": NvmlError(999, "Unknown Error")}
    document = scan(FakeNvml(failing))
    (gpu, _) = Machine(document).all(Gpu)
    assert gpu.num_nvlinks is None
    assert "Unknown Error" in unknown(document)[gpu.id, "nvlink 0"]


def test_board_without_nvlinks_has_zero() -> None:
    absent = {"nvmlDeviceGetNvLinkState": NvmlError(NOT_SUPPORTED, "Not Supported")}
    document = scan(FakeNvml(absent))
    assert [gpu.num_nvlinks for gpu in Machine(document).all(Gpu)] == [0, 0]


def test_links_that_are_down_are_named() -> None:
    class HalfDown(FakeNvml):
        def nvmlDeviceGetNvLinkState(self, handle: str, link: int) -> int:
            return super().nvmlDeviceGetNvLinkState(handle, link) * (link % 2)

    document = scan(HalfDown(num_links=4))
    (gpu, _) = Machine(document).all(Gpu)
    assert gpu.num_nvlinks == 2
    assert unknown(document)[gpu.id, "inactive nvlinks"].endswith("are down: 0, 2.")


def test_gpu_that_fell_off_the_bus_does_not_hide_the_next() -> None:
    class FirstLost(FakeNvml):
        def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
            if index == 0:
                raise NvmlError(GPU_IS_LOST, "GPU is lost")
            return super().nvmlDeviceGetHandleByIndex(index)

    document = scan(FirstLost())
    assert [gpu.id for gpu in Machine(document).all(Gpu)] == ["gpu@0000:64:00.0"]
    assert "GPU is lost" in unknown(document)["host", "NVML GPU 0"]


def test_mig_devices_are_partitions() -> None:
    class Split(FakeNvml):
        def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:
            return [1, 1]

    machine = Machine(scan(Split()))
    assert [gpu.is_mig_enabled for gpu in machine.all(Gpu)] == [True, True]
    parts = [(part.name, part.parent) for part in machine.all(Partition)]
    assert parts == [
        ("MIG 1g.10gb", "gpu@0000:53:00.0"), ("MIG 1g.10gb", "gpu@0000:64:00.0"),
    ]  # fmt: skip


def test_coherent_links_are_read_from_field_values() -> None:
    class Coherent(FakeNvml):
        def nvmlDeviceGetFieldValues(self, handle: str, fields: list[int]) -> list[Any]:
            return [
                SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=value))
                for value in (5, 44712)
            ]

    document = scan(Coherent())
    found = [link for link in document.links if link.kind is LinkKind.C2C]
    assert [link.count for link in found] == [5, 5]
    assert found[0].nominal is not None
    assert found[0].nominal.bandwidth_bytes_per_s == 5 * 44712e6


def test_missing_library_is_a_normal_case_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    pynvml = pytest.importorskip("pynvml")

    def not_found() -> None:
        raise pynvml.NVMLError_LibraryNotFound

    monkeypatch.setattr(pynvml, "nvmlInit", not_found)
    reason = nvml.load()
    assert isinstance(reason, str)
    assert reason.startswith("NVML library not found")
    facts = nvml.unavailable(reason)
    assert [(m.subject, m.fact, m.reason) for m in facts.unknown] == [("host", "nvml", reason)]


def test_missing_binding_is_a_normal_case(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def refuse(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "pynvml":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert "nvidia-ml-py" in str(nvml.load())


def test_driver_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    pynvml = pytest.importorskip("pynvml")

    def broken() -> None:
        raise NvmlError(18, "Driver/library version mismatch")

    monkeypatch.setattr(pynvml, "nvmlInit", broken)
    assert nvml.load() == "NVML does not start: Driver/library version mismatch."
