"""The kernels as CPU functions, and a CUDA runtime made of threads that runs them."""

from __future__ import annotations

import ctypes
import functools
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

from tests.cuda.boxes import Box, simulate
from topoprobe.errors import EnvironmentMissing
from topoprobe.measure.devices.cuda import inventory, kernels

HERE = Path(__file__).resolve().parent
_SIGNATURE = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')


#: What numpy passes for each type of a kernel's parameter; a pointer is an address.
_C_TYPES = {
    "unsigned int": np.uint32,
    "unsigned long long": np.uint64,
    "float": np.float32,
    "double": np.float64,
}


class OnCpu:
    """The kernels of one family, compiled by g++.

    Threads of a grid run one after the other, or all at once where they wait for each other.
    """

    def __init__(self, library: ctypes.CDLL, signatures: dict[str, list[str]]) -> None:
        self.library = library
        self._signatures = signatures

    def launch(
        self,
        name: str,
        grid: Sequence[int],
        num_threads: int,
        *arguments: np.generic | np.ndarray,
        at_once: bool = False,
    ) -> None:
        """Run a grid; as with cuLaunchKernel, each argument is passed by its address."""
        cells = [np.array([value]) for value in self.values(name, *arguments)]
        addresses = (ctypes.c_void_p * max(1, len(cells)))(*(cell.ctypes.data for cell in cells))
        x, y = (*grid, 1)[:2]
        getattr(self.library, f"run_{name}")(
            ctypes.c_uint(x), ctypes.c_uint(y), ctypes.c_uint(num_threads), addresses,
            ctypes.c_bool(at_once),
        )  # fmt: skip

    def values(self, name: str, *arguments: np.generic | np.ndarray) -> list[np.generic]:
        """Return the arguments, an array by its address, checked against the kernel's types."""
        found = [
            np.uint64(value.ctypes.data) if isinstance(value, np.ndarray) else value
            for value in arguments
        ]
        expected = [_C_TYPES.get(kind, np.uint64) for kind in self._signatures[name]]
        assert [type(value) for value in found] == expected, f"{name} takes {expected}"
        return found


def _signatures(text: str) -> dict[str, list[str]]:
    """Return the types of every kernel's parameters."""
    return {
        name: [" ".join(part.split()[:-1]) for part in parameters.split(",") if part.strip()]
        for name, parameters in _SIGNATURE.findall(text)
    }


def _launcher(name: str, kinds: Sequence[str]) -> str:
    """Write the C function that runs the kernel for every thread of a grid."""
    values = ", ".join(
        f"*static_cast<std_remove_const<{kind}>*>(arguments[{index}])"
        for index, kind in enumerate(kinds)
    )
    return f"""
extern "C" ON_HOST void run_{name}(unsigned x, unsigned y, unsigned threads, void** arguments,
                                   bool at_once) {{
    const auto kernel = [=]() ON_HOST {{ {name}({values}); }};
    at_once ? run_grid_at_once(x, threads, kernel) : run_grid(x, y, threads, kernel);
}}
"""


Build = Callable[..., OnCpu]


@pytest.fixture(scope="session")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build a family of kernels for the CPU; `is_counted` counts what they load and store."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed, so the kernels' arithmetic cannot run on the CPU")
    folder = tmp_path_factory.mktemp("kernels")

    @functools.cache
    def build(family: str, is_counted: bool = False) -> OnCpu:
        text = kernels.source(f"{family}.cu")
        signatures = _signatures(text)
        name = f"{family}_counted" if is_counted else family
        unit, built = folder / f"{name}.cpp", folder / f"{name}.o"
        unit.write_text(text + "".join(_launcher(*one) for one in signatures.items()))
        # g++'s thread sanitizer calls a function at every access to memory, which the header
        # `accesses.hpp` defines; the sanitizer's own library is not linked.
        instrument = ["-fsanitize=thread", "-include", str(HERE / "accesses.hpp")]
        subprocess.run(
            [
                compiler, "-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-pthread",
                "-Wall", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function",
                "-include", str(HERE / "on_cpu.hpp"), *(instrument if is_counted else ()),
                "-I", str(HERE.parents[1] / "cuda"), "-c", str(unit), "-o", str(built),
            ],
            check=True,
        )  # fmt: skip
        library = folder / f"{name}.so"
        subprocess.run(
            [compiler, "-shared", "-pthread", str(built), "-o", str(library)], check=True
        )
        return OnCpu(ctypes.CDLL(str(library)), signatures)

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
LOCKED: dict[int, int] = {}  # bytes of host memory that is page-locked, by address
#: Modules that import cupy at their top.
_DEVICE_MODULES = tuple(
    f"topoprobe.measure.devices.cuda.{name}" for name in ("device", "memory", "peers")
)


class FakeDevice:
    compute_capability = "90"
    attributes = {"MultiProcessorCount": 2, "L2CacheSize": 1 << 16, "AsyncEngineCount": 2}  # noqa: RUF012
    mem_info = (8 << 20, 8 << 20)

    def __init__(self, ordinal: int) -> None:
        self.id = ordinal

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, *details: object) -> None:
        pass


class FakeMemory:
    def __init__(self, num_bytes: int, flags: int = 0) -> None:
        self._array = np.full(num_bytes + 256, 0xA5, dtype=np.uint8)
        self.ptr = self._array.ctypes.data + (-self._array.ctypes.data) % 256


@pytest.fixture
def fake_cupy(on_cpu: Build, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """Stand in for CuPy on a machine with one GPU, at 0000:01:00.0: threads instead of streams."""

    class FakeModule:
        def load(self, code: bytes) -> None:
            assert code.startswith(b"\x7fELF")

        def get_function(self, name: str) -> Callable[..., None]:
            family = next(one for one in kernels.FAMILIES if f"void {name}(" in _text(one))

            def enqueue(grid: Sequence[int], block: Sequence[int], args: tuple[Any, ...]) -> None:
                stream = FakeStream.current[-1]
                values = on_cpu(family).values(name, *args)
                stream.put(lambda: on_cpu(family).launch(name, grid, block[0], *values))

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
        hostRegister=lambda address, num_bytes, flags: LOCKED.update({address: num_bytes}),
        hostUnregister=LOCKED.pop,
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
    # Threads do not rest, so there is nothing to wait for.
    monkeypatch.setattr("topoprobe.microbench.gpus.BUSY_S", 0.0)
    module = types.ModuleType("cupy")
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    module.cuda = cuda  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", module)
    for name in _DEVICE_MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield module
    for name in _DEVICE_MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def make_box(
    fake_cupy: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Box]]:
    """Let the simulated runtime show the GPUs of a made-up machine; see `boxes.simulate`."""
    yield functools.partial(simulate, fake_cupy, monkeypatch)
    inventory._opened.cache_clear()


def _text(family: str) -> str:
    return kernels.source(f"{family}.cu")
