"""topoprobe's CPU kernels against C's, side by side: same arrays, same CPUs, alternating samples.

Compiles ``stream_c.c`` with gcc and prints, for one and for all CPUs, the best of topoprobe's
variants over the best of C's (plain and past the cache, preferring 256- and 512-bit vectors), then
both pointer chases; topoprobe's arithmetic on arrays is held against C's in registers. Samples of
both sides have as many passes, and begin when all threads are awake. A few rounds of all variants
choose the best of each side, which then alternate alone. Ratios are of medians over these rounds;
that of the fastest rounds is printed beside. Run it on a quiet machine::

    python benchmarks/stream_vs_c.py [--mib 256] [--rounds 41] [--exclusive]

On a shared machine ``--exclusive`` (for root) lets the measuring threads of both sides run before
all others during each sample of a few ten milliseconds.
Ends with 1 if a limit is missed: 0.98 for each STREAM kernel, 0.87 for multiply-adds, in registers
and on arrays at 32 flop/byte, and 2 % for the chase.
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
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from topoprobe.measure.devices.cpu import plain_loops, vector_loops
from topoprobe.measure.devices.cpu.buffer import CpuBuffer
from topoprobe.measure.devices.cpu.device import CpuDevice, CpuStream, available_cpus
from topoprobe.measure.devices.cpu.exclusive import ExclusiveBursts
from topoprobe.measure.devices.cpu.jit import widest_vector_bytes
from topoprobe.measure.devices.cpu.libraries import library_threads
from topoprobe.measure.devices.cpu.ring import fill_ring
from topoprobe.measure.devices.cpu.stream import ARRAYS_MOVED, SCALAR, stream_variants
from topoprobe.measure.devices.cpu.team import Team

STREAM_LIMIT, FMA_LIMIT, CHASE_LIMIT = 0.98, 0.87, 0.02
STREAM_KERNELS = ("copy", "scale", "add", "triad")
INTENSITY = 32  # flop per byte of the arrays
_NUM_CHOOSING = 7  # rounds of all variants, to choose the best of each side
FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
ROUNDS = 16_000_001
HOPS = 200_000

Timer = Callable[[], float]
"""Runs once and returns seconds."""


def main() -> int:
    """Compare, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=256, help="size of each array")
    parser.add_argument("--rounds", type=int, default=41, help="samples of each side")
    parser.add_argument("--exclusive", action="store_true", help="real-time priority (root)")
    options = parser.parse_args()
    # Threads of C that wait for work by spinning would be in the way of topoprobe's samples.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    burst = ExclusiveBursts() if options.exclusive else nullcontext
    device = CpuDevice(available_cpus())
    num_bytes, num_rounds = options.mib << 20, options.rounds
    oks = []
    with tempfile.TemporaryDirectory() as folder, library_threads(1):
        libraries = compile_c(Path(folder))
        for num_threads in sorted({1, len(device.cpus)}):
            with (
                Team(device, num_threads) as team,
                device.open_stream(f"core:{device.cpus[0]}") as stream,
            ):
                for library in libraries.values():
                    pin(library, stream, device.cpus[:num_threads])
                sides = Sides(team, stream, libraries, Rounds(burst, num_rounds))
                oks += compare_stream(sides, num_bytes)
                oks += compare_multiply_add(sides, num_bytes)
        with device.open_stream(f"core:{device.cpus[0]}") as stream:
            oks.append(compare_chase(stream, libraries["C"], num_bytes, Rounds(burst, num_rounds)))
    return 0 if all(oks) else 1


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
class Rounds:
    """How samples are taken: each in a burst, in rounds of shuffled order."""

    burst: Callable[[], AbstractContextManager[None]]
    number: int

    def alternate(self, timers: dict[str, Timer], number: int) -> dict[str, list[float]]:
        """Return the seconds of each, without those of a first round."""
        order = random.Random(0)
        samples: dict[str, list[float]] = {name: [] for name in timers}
        for turn in range(number + 1):
            for name in order.sample(list(timers), len(timers)):
                with self.burst():
                    elapsed_s = timers[name]()
                if turn:
                    samples[name].append(elapsed_s)
        return samples

    def compare(self, ours: dict[str, Variant], theirs: dict[str, Variant]) -> tuple[Rate, Rate]:
        """Return the rates of the best variant of each side, which alternate once more alone.

        So neither side gains by having more variants to be lucky with.
        """
        variants = ours | theirs
        first = self._rates(variants, _NUM_CHOOSING)
        best = [max(side, key=lambda name: first[name].median) for side in (ours, theirs)]
        rates = self._rates({name: variants[name] for name in best}, self.number)
        return rates[best[0]], rates[best[1]]

    def _rates(self, variants: dict[str, Variant], number: int) -> dict[str, Rate]:
        times = self.alternate({name: one.timer for name, one in variants.items()}, number)
        return {
            name: Rate(
                name,
                variants[name].work / statistics.median(values) / 1e9,
                variants[name].work / min(values) / 1e9,
            )
            for name, values in times.items()
        }


@dataclass(frozen=True)
class Variant:
    """A timer, and the bytes or operations that it does."""

    timer: Timer
    work: float


@dataclass(frozen=True)
class Rate:
    """What a variant reached, in 10^9 per second."""

    name: str
    median: float
    fastest: float


@dataclass(frozen=True)
class Sides:
    """topoprobe's threads, and the thread that calls C, whose OpenMP workers are as many."""

    team: Team
    stream: CpuStream
    libraries: dict[str, ctypes.CDLL]
    rounds: Rounds

    def ours(
        self,
        kernel: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        num_passes: int = 1,
    ) -> Timer:
        """Return a timer of a pass of a kernel on topoprobe's threads."""
        return lambda: self.team.run(kernel, arguments, num_passes)

    def theirs(self, library: str, function: str, *arguments: Any) -> Timer:
        """Return a timer of a C function that returns its seconds itself."""
        called = self._function(library, function)
        return lambda: result_of(self.stream, called, *arguments, self.team.num_threads)

    def timed_theirs(self, library: str, function: str, *arguments: Any) -> Timer:
        """Return a timer of a C function that does not."""
        called = self._function(library, function)
        return lambda: elapsed_s(self.stream, called, *arguments, self.team.num_threads)

    def _function(self, library: str, name: str) -> Callable[..., float]:
        function = getattr(self.libraries[library], name)
        function.restype = ctypes.c_double
        return cast("Callable[..., float]", function)


def result_of(stream: CpuStream, function: Callable[..., float], *arguments: Any) -> float:
    """Call a function on the stream's thread and return what it returns."""
    results: list[float] = []
    stream.launch(lambda: results.append(function(*arguments)))
    stream.synchronize()
    return results[0]


def elapsed_s(stream: CpuStream, function: Callable[..., Any], *arguments: Any) -> float:
    """Call a function on the stream's thread and return its seconds."""
    start = stream.record()
    stream.launch(function, *arguments)
    end = stream.record()
    stream.synchronize()
    return end.time_s() - start.time_s()


def report(title: str, ours: Rate, theirs: Rate, unit: str, limit: float) -> bool:
    """Print both sides and their ratio, and tell whether it reaches the limit."""
    ratio = ours.median / theirs.median
    verdict = "ok" if ratio >= limit else "MISSED"
    print(
        f"{title:<28} {ours.name:<11} {ours.median:7.2f}  {theirs.name:<7} {theirs.median:7.2f} "
        f"{unit}  ratio {ratio:.3f} (fastest {ours.fastest / theirs.fastest:.3f})  "
        f"{verdict}, limit {limit}",
        flush=True,
    )
    return ratio >= limit


def compare_stream(sides: Sides, num_bytes: int) -> list[bool]:
    """Compare the four kernels on the same three arrays."""
    team = sides.team
    out, x, y = (team.allocate_floats(num_bytes, "float64", seed) for seed in range(3))
    parts = [
        (*slices, SCALAR)
        for slices in zip(team.slices(out), team.slices(x), team.slices(y), strict=True)
    ]
    usable = [variant for variant in stream_variants() if variant.missing is None]
    oks = []
    for kernel in STREAM_KERNELS:
        num_passes = team.passes_for(team.run(usable[0].kernels[kernel], parts))
        arguments = (
            *(ctypes.c_void_p(array.ctypes.data) for array in (out, x, y)),
            ctypes.c_double(SCALAR),
            ctypes.c_ssize_t(out.size),
            num_passes,
        )
        work = float(ARRAYS_MOVED[kernel] * num_bytes)
        ours = {
            variant.name: Variant(sides.ours(variant.kernels[kernel], parts, num_passes), work)
            for variant in usable
        }
        functions = [(name, kernel) for name in sides.libraries]
        functions += [("C", f"{kernel}_nt{lanes}") for lanes in (4, 8)]
        theirs = {
            library + function.removeprefix(kernel): Variant(
                sides.theirs(library, function, *arguments), work
            )
            for library, function in functions
            if hasattr(sides.libraries[library], function)
        }
        title = f"{kernel}, {team.num_threads} thread(s)"
        oks.append(report(title, *sides.rounds.compare(ours, theirs), "GB/s", STREAM_LIMIT))
    return oks


def compare_multiply_add(sides: Sides, num_bytes: int) -> list[bool]:
    """Compare chains of multiply-adds in registers, and topoprobe's on an array with C's chains."""
    team = sides.team
    oks = []
    for dtype, numpy_dtype in (("fp32", "float32"), ("fp64", "float64")):
        start = team.allocate_floats(4096 * team.num_threads, numpy_dtype, seed=1)
        array = team.allocate_floats(num_bytes, numpy_dtype, seed=2)
        scale, shift = start.dtype.type(-1.0), start.dtype.type(3.0)
        array_rounds = INTENSITY * start.itemsize
        chains, updates, theirs = {}, {}, {}
        for width in (32, 64):
            flop = 2.0 * ROUNDS * vector_loops.NUM_CHAINS * width / start.itemsize
            flop *= team.num_threads
            if width <= widest_vector_bytes():
                kernel = getattr(vector_loops, f"multiply_add_{width}")
                parts = [(part, scale, shift, ROUNDS) for part in team.slices(start)]
                chains[f"numba_{width}"] = Variant(sides.ours(kernel, parts), flop)
                kernel = getattr(vector_loops, f"update_{width}")
                parts = [(part, scale, shift, array_rounds) for part in team.slices(array)]
                updates[f"update_{width}"] = Variant(
                    sides.ours(kernel, parts), 2.0 * array.size * array_rounds
                )
            called = sides.timed_theirs(
                "C",
                f"fma_{dtype}_{width}",
                ctypes.c_void_p(start.ctypes.data),
                ctypes.c_double(-1.0),
                ctypes.c_double(3.0),
                ctypes.c_int64(ROUNDS),
            )
            theirs[f"C_{width}"] = Variant(called, flop)
        for name, ours in (("FMA", chains), (f"{INTENSITY} flop/B", updates)):
            title = f"{name} {dtype}, {team.num_threads} thread(s)"
            oks.append(report(title, *sides.rounds.compare(ours, theirs), "GF/s", FMA_LIMIT))
    return oks


def compare_chase(stream: CpuStream, library: ctypes.CDLL, num_bytes: int, rounds: Rounds) -> bool:
    """Compare the pointer chase on the same ring."""
    ring = CpuBuffer(num_bytes, "host").view("uint64")
    fill_ring(ring, seed=1)
    places = np.random.default_rng(2)

    def start() -> int:
        return int(places.integers(ring.size // 8)) * 8

    def ours() -> None:
        plain_loops.chase(ring, start(), HOPS)

    def theirs() -> None:
        library.chase(
            ctypes.c_void_p(ring.ctypes.data), ctypes.c_uint64(start()), ctypes.c_int64(HOPS)
        )

    times = rounds.alternate(
        {"numba": lambda: elapsed_s(stream, ours), "C": lambda: elapsed_s(stream, theirs)},
        rounds.number,
    )
    nanoseconds = {name: statistics.median(values) / HOPS * 1e9 for name, values in times.items()}
    ratio = nanoseconds["numba"] / nanoseconds["C"]
    is_near = abs(ratio - 1.0) <= CHASE_LIMIT
    print(
        f"{'chase, 1 thread':<28} numba {nanoseconds['numba']:.1f} ns  "
        f"C {nanoseconds['C']:.1f} ns  "
        f"ratio {ratio:.3f}  {'ok' if is_near else 'MISSED'}, limit {1.0 + CHASE_LIMIT}"
    )
    return is_near


if __name__ == "__main__":
    sys.exit(main())
