"""The kernels as CPU functions, and a CUDA runtime made of threads that runs them."""

from __future__ import annotations

import ctypes
import importlib.machinery
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from topoprobe.errors import EnvironmentMissing
from topoprobe.measure.devices.cuda import kernels

HERE = Path(__file__).resolve().parent
_SIGNATURE = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')


class OnCpu:
    """The kernels of one family, compiled by g++; threads of a grid run one after the other."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def launch(
        self, name: str, grid: Sequence[int], num_threads: int, *arguments: np.generic | np.ndarray
    ) -> None:
        """Run a grid; as with cuLaunchKernel, each argument is passed by its address."""
        values = [
            np.uint64(value.ctypes.data) if isinstance(value, np.ndarray) else value
            for value in arguments
        ]
        cells = [np.array([value]) for value in values]
        addresses = (ctypes.c_void_p * max(1, len(cells)))(*(cell.ctypes.data for cell in cells))
        x, y = (*grid, 1)[:2]
        getattr(self._library, f"run_{name}")(
            ctypes.c_uint(x), ctypes.c_uint(y), ctypes.c_uint(num_threads), addresses
        )


def _launcher(name: str, parameters: str) -> str:
    """Write the C function that runs the kernel for every thread of a grid."""
    types_ = [" ".join(part.split()[:-1]) for part in parameters.split(",") if part.strip()]
    values = ", ".join(
        f"*static_cast<std_remove_const<{kind}>*>(arguments[{index}])"
        for index, kind in enumerate(types_)
    )
    return f"""
extern "C" void run_{name}(unsigned x, unsigned y, unsigned threads, void** arguments) {{
    run_grid(x, y, threads, [&] {{ {name}({values}); }});
}}
"""


@pytest.fixture(scope="session")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], OnCpu]:
    """Build a family of kernels for the CPU."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed, so the kernels' arithmetic cannot run on the CPU")
    folder = tmp_path_factory.mktemp("kernels")
    built: dict[str, OnCpu] = {}

    def build(family: str) -> OnCpu:
        if family not in built:
            text = kernels.source(f"{family}.cu")
            unit = folder / f"{family}.cpp"
            unit.write_text(text + "".join(_launcher(*found) for found in _SIGNATURE.findall(text)))
            library = folder / f"{family}.so"
            options = ["-std=c++17", "-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
            headers = ["-include", str(HERE / "on_cpu.hpp"), "-I", str(HERE.parents[1] / "cuda")]
            subprocess.run(
                [compiler, *options, *headers, str(unit), "-o", str(library)], check=True
            )
            built[family] = OnCpu(ctypes.CDLL(str(library)))
        return built[family]

    return build


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


class FakeEvent:
    def __init__(self) -> None:
        self._passed = threading.Event()
        self.at_s = 0.0

    def record(self, stream: FakeStream) -> None:
        stream.put(self._mark)

    def _mark(self) -> None:
        self.at_s = time.perf_counter()
        self._passed.set()

    @property
    def done(self) -> bool:
        return self._passed.is_set()

    def synchronize(self) -> None:
        self._passed.wait()


class FakeStream:
    """A thread that does what it is given, in order."""

    current: list[FakeStream] = []  # noqa: RUF012

    def __init__(self, non_blocking: bool) -> None:
        assert non_blocking
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.ptr = id(self)
        STREAMS[self.ptr] = self
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            self._tasks.get()()

    def put(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)

    def synchronize(self) -> None:
        event = FakeEvent()
        event.record(self)
        event.synchronize()

    def __enter__(self) -> FakeStream:
        self.current.append(self)
        return self

    def __exit__(self, *details: object) -> None:
        self.current.pop()


STREAMS: dict[int, FakeStream] = {}


class FakeDevice:
    compute_capability = "90"
    attributes = {"MultiProcessorCount": 2, "L2CacheSize": 1 << 16, "AsyncEngineCount": 2}  # noqa: RUF012
    mem_info = (8 << 20, 8 << 20)

    def __init__(self, ordinal: int) -> None:
        self.ordinal = ordinal

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, *details: object) -> None:
        pass


class FakeMemory:
    def __init__(self, num_bytes: int, flags: int = 0) -> None:
        self._array = np.full(num_bytes + 256, 0xA5, dtype=np.uint8)
        self.ptr = self._array.ctypes.data + (-self._array.ctypes.data) % 256


@pytest.fixture
def fake_cupy(
    on_cpu: Callable[[str], OnCpu], monkeypatch: pytest.MonkeyPatch
) -> Iterator[types.ModuleType]:
    """Stand in for CuPy on a machine with one GPU, at 0000:01:00.0: threads instead of streams."""

    class FakeModule:
        def load(self, code: bytes) -> None:
            assert code.startswith(b"\x7fELF")

        def get_function(self, name: str) -> Callable[..., None]:
            family = next(one for one in kernels.FAMILIES if f"void {name}(" in _text(one))

            def enqueue(grid: Sequence[int], block: Sequence[int], args: tuple[Any, ...]) -> None:
                stream = FakeStream.current[-1]
                stream.put(lambda: on_cpu(family).launch(name, grid, block[0], *args))

            return enqueue

    def device_at(pci_address: str) -> int:
        if pci_address != "0000:01:00.0":
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        return 0

    def copy_now(destination: int, source: int, num_bytes: int, kind: int) -> None:
        ctypes.memmove(destination, source, num_bytes)

    def copy_async(destination: int, source: int, num_bytes: int, kind: int, stream: int) -> None:
        STREAMS[stream].put(lambda: copy_now(destination, source, num_bytes, kind))

    runtime = types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        deviceGetByPCIBusId=device_at,
        getDeviceCount=lambda: 1,
        hostAllocPortable=1,
        hostAllocMapped=2,
        memcpyDefault=4,
        memcpy=copy_now,
        memcpyAsync=copy_async,
    )
    cuda = types.SimpleNamespace(
        runtime=runtime,
        driver=types.SimpleNamespace(CUDADriverError=type("CUDADriverError", (RuntimeError,), {})),
        memory=types.SimpleNamespace(
            OutOfMemoryError=type("OutOfMemoryError", (MemoryError,), {}), Memory=FakeMemory
        ),
        pinned_memory=types.SimpleNamespace(PinnedMemory=FakeMemory),
        function=types.SimpleNamespace(Module=FakeModule),
        Device=FakeDevice,
        Stream=FakeStream,
        Event=FakeEvent,
        get_elapsed_time=lambda first, last: (last.at_s - first.at_s) * 1e3,
    )
    try:
        kernels.supported_capabilities()
    except EnvironmentMissing as gap:
        pytest.skip(str(gap))
    module = types.ModuleType("cupy")
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    module.cuda = cuda  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.delitem(sys.modules, "topoprobe.measure.devices.cuda.device", raising=False)
    yield module
    sys.modules.pop("topoprobe.measure.devices.cuda.device", None)


def _text(family: str) -> str:
    return kernels.source(f"{family}.cu")
