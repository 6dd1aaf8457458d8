"""The real binding on a stand-in for the driver's library, and what is said where none starts."""

from __future__ import annotations

import builtins
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topoprobe.machine.sources.nvml import live
from topoprobe.machine.sources.nvml.codes import Code
from topoprobe.machine.sources.nvml.live import LiveProvider

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]

# Asks the library that the loader finds, in a process of its own: the binding keeps what it loaded.
_ASK = """
import json, sys
from topoprobe.machine.sources import nvml
provider = nvml.load()
calls = json.loads(sys.argv[1])
if isinstance(provider, str):
    print(json.dumps(provider))
else:
    print(json.dumps([provider.ask(*call) for call in calls]))
"""
GPU = "gpu:0"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the stand-in, compiled."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed, so there is no library to put the binding to the test")
    pytest.importorskip("pynvml")
    folder = tmp_path_factory.mktemp("nvml")
    built = folder / "libnvidia-ml.so.1"
    options = ["-std=c11", "-Wall", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *options, str(HERE / "library.c"), "-o", str(built)], check=True)
    return folder


def ask(library: Path, *calls: tuple[Any, ...], init: Code | None = None) -> Any:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library), "PYTHONPATH": str(ROOT)}
    if init is not None:
        environment["STAND_IN_INIT"] = str(int(init))
    done = subprocess.run(
        [sys.executable, "-c", _ASK, json.dumps(calls)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


OPEN = ("nvmlDeviceGetHandleByIndex", 0)
OPEN_NEXT = ("nvmlDeviceGetHandleByIndex", 1)


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (("nvmlDeviceGetCount",), 3),
        (("nvmlSystemGetDriverVersion",), "580.105.08"),
        (("nvmlDeviceGetHandleByIndex", 1), "gpu:1"),
        (("nvmlDeviceGetHandleByPciBusId", "0000:64:00.0"), "gpu@0000:64:00.0"),
        (
            ("nvmlDeviceGetPciInfo", GPU),
            {
                "busIdLegacy": "0000:53:00.0", "domain": 0, "bus": 0x53, "device": 0,
                "pciDeviceId": 0x233010DE, "pciSubSystemId": 7, "busId": "00000000:53:00.0",
            },
        ),
        (("nvmlDeviceGetName", GPU), "NVIDIA H100 80GB HBM3"),
        (("nvmlDeviceGetCudaComputeCapability", GPU), [9, 0]),
        (("nvmlDeviceGetMemoryInfo", GPU), {"total": 85520809984, "free": 2, "used": 3}),
        (
            ("nvmlDeviceGetMemoryInfo", GPU, 0x02000028),
            {"version": 0x02000028, "total": 85520809984, "reserved": 4, "free": 5, "used": 6},
        ),
        (
            ("nvmlDeviceGetBAR1MemoryInfo", GPU),
            {"bar1Total": 137438953472, "bar1Free": 8, "bar1Used": 9},
        ),
        (
            ("nvmlDeviceGetFieldValues", GPU, [91, [94, 0], [171, 2], [171, 3], 82, 140, 170]),
            [
                {"fieldId": 91, "scopeId": 0, "nvmlReturn": 0, "value": 18},
                {"fieldId": 94, "scopeId": 0, "nvmlReturn": 0, "value": 1 << 40},
                {"fieldId": 171, "scopeId": 2, "nvmlReturn": 0, "value": 1},
                {"fieldId": 171, "scopeId": 3, "nvmlReturn": 0, "value": 0},
                {"fieldId": 82, "scopeId": 0, "nvmlReturn": 0, "value": -7},
                {"fieldId": 140, "scopeId": 0, "nvmlReturn": 0, "value": 0.5},
                {"fieldId": 170, "scopeId": 0, "nvmlReturn": 3, "value": None},
            ],
        ),
        (
            ("nvmlDeviceGetGpuFabricInfoV", GPU),
            {
                "version": 0x02000024, "clusterUuid": list(range(16)), "status": 10,
                "cliqueId": 11, "state": 3, "healthMask": 0x2A,
            },
        ),
        (
            ("nvmlDeviceGetGpuFabricInfoV", "gpu:1"),
            {
                "version": 0x03000028, "clusterUuid": list(range(16)), "status": 10,
                "cliqueId": 11, "state": 3, "healthMask": 0x2A, "healthSummary": 1,
            },
        ),
        (
            ("nvmlDeviceGetPlatformInfo", GPU),
            {
                "version": 0x0200002C, "slotNumber": 14, "trayIndex": 200, "hostId": 0,
                "peerType": 1, "moduleId": 2,
            },
        ),
        (("nvmlDeviceGetC2cModeInfoV", GPU), {"isC2cEnabled": 1}),
        (("nvmlDeviceGetAddressingMode", GPU), 2),
        (("nvmlDeviceGetMemoryAffinity", GPU, 3, 0), [0, 1, 0]),
        (("nvmlDeviceGetMemoryAffinity", GPU, 3, 1), [0, 2, 0]),
        (("nvmlDeviceGetP2PStatus", GPU, "gpu:1", 0), 0),
        (("nvmlDeviceGetP2PStatus", GPU, "gpu:1", 1), 1),
        (("nvmlDeviceGetMigMode", GPU), [1, 0]),
        (("nvmlDeviceGetMigDeviceHandleByIndex", GPU, 0), "gpu:0/mig:0"),
        (("nvmlDeviceGetUtilizationRates", GPU), {"gpu": 88, "memory": 40}),
        (
            ("nvmlDeviceGetComputeRunningProcesses", GPU),
            [
                {
                    "pid": 4242, "usedGpuMemory": 1 << 20, "gpuInstanceId": 0,
                    "computeInstanceId": 0,
                }
            ],
        ),
    ],
    ids=lambda part: part[0] if isinstance(part, tuple) else "",
)  # fmt: skip
def test_binding_gives_plain_data(library: Path, call: tuple[Any, ...], value: Any) -> None:
    *_, (found, reason, code) = ask(library, OPEN, OPEN_NEXT, call)
    assert (found, reason, code) == (value, None, None)


def test_handle_of_a_mig_device_can_be_asked(library: Path) -> None:
    mig = ("nvmlDeviceGetMigDeviceHandleByIndex", GPU, 0)
    *_, (name, _, _) = ask(library, OPEN, mig, ("nvmlDeviceGetName", "gpu:0/mig:0"))
    assert name == "NVIDIA H100 MIG 1g.10gb"


@pytest.mark.parametrize(
    ("call", "reason", "code"),
    [
        (("nvmlDeviceGetHandleByIndex", 2), "GPU is lost", Code.GPU_IS_LOST),
        (("nvmlDeviceGetMemoryInfo", GPU, 0x01000028), "Version", Code.ARGUMENT_VERSION_MISMATCH),
        (("nvmlDeviceGetModuleId", GPU), "Function Not Found", Code.FUNCTION_NOT_FOUND),
        (("nvmlDeviceGetName", "gpu:9"), "nvmlDeviceGetName failed", None),
        (("nvmlDeviceGetNothing", GPU), "does not know", Code.FUNCTION_NOT_FOUND),
    ],
)
def test_refusal_says_why(
    library: Path, call: tuple[Any, ...], reason: str, code: Code | None
) -> None:
    *_, (value, found, found_code) = ask(library, OPEN, call)
    assert value is None
    assert reason in found
    assert call[0] in found
    assert found_code == code


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (Code.DRIVER_NOT_LOADED, "not loaded"),
        (Code.LIB_RM_VERSION_MISMATCH, "different versions"),
        (Code.NO_PERMISSION, "permissions"),
        (Code.GPU_IS_LOST, "fell off the bus"),
        (Code.UNKNOWN, "NVML does not start: Unknown Error."),
    ],
)
def test_driver_that_does_not_start_says_why(library: Path, code: Code, words: str) -> None:
    reason = ask(library, init=code)
    assert isinstance(reason, str)
    assert words in reason


def test_missing_library_is_a_normal_case_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_LIBRARY", "libno-such-library.so.1")
    assert live.load() == "NVML library not found: there is no NVIDIA driver here."


def test_library_that_is_damaged_is_told_from_a_missing_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    damaged = tmp_path / "libdamaged.so.1"
    damaged.write_bytes(b"no library")
    monkeypatch.setattr(live, "_LIBRARY", str(damaged))
    assert "cannot be loaded" in str(live.load())


def test_missing_binding_is_a_normal_case(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def refuse(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "pynvml":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(live, "_missing_library", lambda: None)
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert "nvidia-ml-py" in str(live.load())


def test_text_of_an_old_binding_is_decoded() -> None:
    class Old:
        @staticmethod
        def nvmlSystemGetDriverVersion() -> bytes:
            return b"450.80\xff\0"

    assert LiveProvider(Old).ask("nvmlSystemGetDriverVersion").value == "450.80�"
