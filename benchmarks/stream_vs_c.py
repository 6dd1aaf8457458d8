"""topoprobe's CPU kernels against C's, side by side: same arrays, same CPUs, alternating samples.

Compiles ``stream_c.c`` with gcc and prints, for one and for all CPUs, the best of topoprobe's
variants over the best of C's (plain and past the cache, preferring 256- and 512-bit vectors). Rates
are those of the fastest of all rounds, which is STREAM's own rule and the least disturbed by what
else runs; the ratio of medians is printed beside. Run it on a quiet machine::

    python benchmarks/stream_vs_c.py [--mib 256] [--rounds 15] [--exclusive]

On a shared machine ``--exclusive`` (for root) lets the measuring threads of both sides run before
all others during each sample of a few ten milliseconds.
Ends with 1 if a target is missed: 0.97 for each STREAM kernel, 0.85 for multiply-adds.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from topoprobe.measure.devices.cpu import plain_loops, vector_loops
from topoprobe.measure.devices.cpu.buffer import CpuBuffer
from topoprobe.measure.devices.cpu.device import CpuDevice, CpuStream, available_cpus
from topoprobe.measure.devices.cpu.jit import widest_vector_bytes
from topoprobe.measure.devices.cpu.libraries import library_threads
from topoprobe.measure.devices.cpu.ring import fill_ring
from topoprobe.measure.devices.cpu.stream import ARRAYS_MOVED, SCALAR, stream_variants
from topoprobe.measure.devices.cpu.team import Team

STREAM_TARGET, FMA_TARGET = 0.97, 0.85
FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
ROUNDS = 16_000_001
HOPS = 200_000

Timer = Callable[[], float]
"""Runs once and returns seconds."""


def main() -> int:
    """Compare, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=256, help="size of each array")
    parser.add_argument("--rounds", type=int, default=15, help="samples of each variant")
    parser.add_argument("--exclusive", action="store_true", help="real-time priority (root)")
    options = parser.parse_args()
    device = CpuDevice(available_cpus())
    counts = sorted({1, len(device.cpus)})
    ok = True
    with tempfile.TemporaryDirectory() as folder, library_threads(1):
        libraries = compile_c(Path(folder))
        for num_threads in counts:
            with (
                Team(device, num_threads) as team,
                device.open_stream(f"core:{device.cpus[0]}") as stream,
            ):
                for library in libraries.values():
                    pin(library, stream, device.cpus[:num_threads])
                sides = Sides(team, stream, libraries, options.exclusive)
                ok &= compare_stream(sides, options.mib << 20, options.rounds)
                ok &= compare_multiply_add(sides, options.rounds)
        with device.open_stream(f"core:{device.cpus[0]}") as stream:
            compare_chase(stream, libraries, options.mib << 20, options.rounds)
    return 0 if ok else 1


def compile_c(folder: Path) -> dict[str, ctypes.CDLL]:
    """Return the library compiled as it is, and with the widest vectors preferred."""
    source = Path(__file__).with_name("stream_c.c")
    libraries = {}
    for name, extra in (("C", ()), ("C-512", ("-mprefer-vector-width=512",))):
        target = folder / f"{name}.so"
        done = subprocess.run(
            ["gcc", *FLAGS, *extra, str(source), "-o", str(target)], capture_output=True, text=True
        )
        if done.returncode == 0:
            libraries[name] = ctypes.CDLL(str(target))
        elif not extra:  # a CPU without such vectors refuses the second one only
            sys.exit(f"gcc failed: {done.stderr.strip()}")
    print(f"{len(libraries)} libraries by gcc {' '.join(FLAGS[:3])}")
    return libraries


def pin(library: ctypes.CDLL, stream: CpuStream, cpus: Sequence[int]) -> None:
    """Bind the OpenMP threads that calls from this stream will use."""
    numbers = (ctypes.c_int * len(cpus))(*cpus)
    stream.launch(library.pin, numbers, len(cpus))
    stream.synchronize()


@dataclass(frozen=True)
class Sides:
    """topoprobe's threads, and the thread that calls C, whose OpenMP workers are as many."""

    team: Team
    stream: CpuStream
    libraries: dict[str, ctypes.CDLL]
    is_exclusive: bool

    def ours(self, kernel: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Timer:
        """Return a timer of a kernel on topoprobe's threads."""

        def run() -> float:
            with self._alone(lambda on: self.team.run(set_priority, [(on,)] * self._num_threads)):
                return self.team.run(kernel, arguments)

        return run

    def theirs(self, library: str, function: str, *arguments: Any, result: Any = None) -> Timer:
        """Return a timer of a C function; the number of threads is its last argument."""
        called = getattr(self.libraries[library], function)
        called.restype = result

        def run() -> float:
            with self._alone(self._set_theirs(library)):
                return elapsed_s(self.stream, called, *arguments, self._num_threads)

        return run

    @property
    def _num_threads(self) -> int:
        return self.team.num_threads

    def _set_theirs(self, library: str) -> Callable[[bool], object]:
        switch = self.libraries[library].exclusive
        return lambda on: elapsed_s(self.stream, switch, int(on), self._num_threads)

    @contextmanager
    def _alone(self, switch: Callable[[bool], object]) -> Iterator[None]:
        if not self.is_exclusive:
            yield
            return
        switch(True)
        try:
            yield
        finally:
            switch(False)
            time.sleep(0.02)  # lets others catch up


def set_priority(on: bool) -> None:
    """Run the calling thread before all others, or as usual."""
    os.sched_setscheduler(
        0, os.SCHED_FIFO if on else os.SCHED_OTHER, os.sched_param(1 if on else 0)
    )


def elapsed_s(stream: CpuStream, function: Callable[..., Any], *arguments: Any) -> float:
    """Call a function on the stream's thread and return its seconds."""
    start = stream.record()
    stream.launch(function, *arguments)
    end = stream.record()
    stream.synchronize()
    return end.time_s() - start.time_s()


def alternate(timers: dict[str, Timer], num_rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each, taken in rounds of shuffled order after a first one."""
    order = random.Random(0)
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for number in range(num_rounds + 1):
        for name in order.sample(list(timers), len(timers)):
            elapsed_s = timers[name]()
            if number:
                samples[name].append(elapsed_s)
    return samples


def report(
    title: str, times: dict[str, list[float]], work: dict[str, float], unit: str, target: float
) -> bool:
    """Print the best of both sides and their ratio, and tell whether the target is reached."""
    best = {name: work[name] / min(values) / 1e9 for name, values in times.items()}
    usual = {name: work[name] / statistics.median(values) / 1e9 for name, values in times.items()}
    ours = max((name for name in best if not name.startswith("C")), key=best.__getitem__)
    theirs = max((name for name in best if name.startswith("C")), key=best.__getitem__)
    ratio = best[ours] / best[theirs]
    of_medians = max(rate for name, rate in usual.items() if not name.startswith("C")) / max(
        rate for name, rate in usual.items() if name.startswith("C")
    )
    verdict = "" if ratio >= target else f"   below {target}"
    print(
        f"{title:<20} {ours:<9} {best[ours]:7.2f}   {theirs:<7} {best[theirs]:7.2f} {unit}   "
        f"ratio {ratio:.3f} (of medians {of_medians:.3f}){verdict}"
    )
    others = (f"{name} {rate:.2f}" for name, rate in best.items() if name not in (ours, theirs))
    print(f"{'':<20} {'  '.join(others)}")
    return ratio >= target


def compare_stream(sides: Sides, num_bytes: int, num_rounds: int) -> bool:
    """Compare the four kernels on the same three arrays."""
    team = sides.team
    out, x, y = (team.allocate_floats(num_bytes, "float64", seed) for seed in range(3))
    parts = [
        (*slices, SCALAR)
        for slices in zip(team.slices(out), team.slices(x), team.slices(y), strict=True)
    ]
    arguments = (
        *(ctypes.c_void_p(array.ctypes.data) for array in (out, x, y)),
        ctypes.c_double(SCALAR),
        ctypes.c_ssize_t(out.size),
    )
    ok = True
    for kernel, num_arrays in ARRAYS_MOVED.items():
        timers = {
            variant.name: sides.ours(variant.kernels[kernel], parts)
            for variant in stream_variants()
            if variant.missing is None
        }
        for library in sides.libraries:
            timers[library] = sides.theirs(library, kernel, *arguments)
        for suffix in ("_nt4", "_nt8"):
            if hasattr(sides.libraries["C"], kernel + suffix):
                timers[f"C{suffix}"] = sides.theirs("C", kernel + suffix, *arguments)
        work = dict.fromkeys(timers, float(num_arrays * num_bytes))
        title = f"{kernel}, {team.num_threads} thread(s)"
        ok &= report(title, alternate(timers, num_rounds), work, "GB/s", STREAM_TARGET)
    return ok


def compare_multiply_add(sides: Sides, num_rounds: int) -> bool:
    """Compare chains of multiply-adds, for the same rounds on vectors of each width."""
    team = sides.team
    ok = True
    for dtype, numpy_dtype in (("fp32", "float32"), ("fp64", "float64")):
        start = team.allocate_floats(4096 * team.num_threads, numpy_dtype, seed=1)
        scale, shift = start.dtype.type(-1.0), start.dtype.type(3.0)
        timers: dict[str, Timer] = {}
        work: dict[str, float] = {}
        for width in (32, 64):
            flop = 2.0 * ROUNDS * vector_loops.NUM_CHAINS * width / start.itemsize
            work |= dict.fromkeys((f"numba_{width}", f"C_{width}"), flop * team.num_threads)
            if width <= widest_vector_bytes():
                kernel = getattr(vector_loops, f"multiply_add_{width}")
                parts = [(part, scale, shift, ROUNDS) for part in team.slices(start)]
                timers[f"numba_{width}"] = sides.ours(kernel, parts)
            timers[f"C_{width}"] = sides.theirs(
                "C",
                f"fma_{dtype}_{width}",
                ctypes.c_void_p(start.ctypes.data),
                ctypes.c_double(-1.0),
                ctypes.c_double(3.0),
                ctypes.c_int64(ROUNDS),
                result=ctypes.c_double,
            )
        title = f"FMA {dtype}, {team.num_threads} thread(s)"
        ok &= report(title, alternate(timers, num_rounds), work, "GF/s", FMA_TARGET)
    return ok


def compare_chase(
    stream: CpuStream, libraries: dict[str, ctypes.CDLL], num_bytes: int, num_rounds: int
) -> None:
    """Compare the pointer chase on the same ring; there is no target, both wait for the memory."""
    ring = CpuBuffer(num_bytes, "host").view("uint64")
    fill_ring(ring, seed=1)
    places = np.random.default_rng(2)

    def start() -> int:
        return int(places.integers(ring.size // 8)) * 8

    def ours() -> None:
        plain_loops.chase(ring, start(), HOPS)

    def theirs() -> None:
        libraries["C"].chase(
            ctypes.c_void_p(ring.ctypes.data), ctypes.c_uint64(start()), ctypes.c_int64(HOPS)
        )

    times = alternate(
        {"numba": lambda: elapsed_s(stream, ours), "C": lambda: elapsed_s(stream, theirs)},
        num_rounds,
    )
    nanoseconds = {name: min(values) / HOPS * 1e9 for name, values in times.items()}
    print(
        f"{'chase, 1 thread':<22} numba {nanoseconds['numba']:.1f} ns   C {nanoseconds['C']:.1f} ns"
        f"   ratio of times {nanoseconds['numba'] / nanoseconds['C']:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
