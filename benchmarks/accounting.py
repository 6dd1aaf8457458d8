"""How exactly concurrent flows are accounted for: on flows whose rates, shares and law are known.

Two flows share a link of 15 GB/s, one gets twice as much as the other, and the faster ends first,
after which the other has the link to itself. The runner that measures
real flows (`topoprobe.measure.concurrent`) counts what both moved while both ran. The usual method
divides what each moved by its own time, and is printed beside it.

The same runner is used on streams of a virtual clock and on real threads that pace themselves.
Then the sharing exponent and Jain's index are recovered from chunk traces with the jitter of real
copies. This says how good the accounting is, nothing of any hardware.

    python benchmarks/accounting.py
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from topoprobe.measure.concurrent import Lane, trace_together  # noqa: E402
from topoprobe.measure.devices.cpu.device import CpuDevice, available_cpus  # noqa: E402
from topoprobe.measure.fairness import jain_ratio  # noqa: E402
from topoprobe.measure.sharing import SizePair, sharing_exponent  # noqa: E402
from topoprobe.measure.statistics import median  # noqa: E402
from topoprobe.measure.window import Trace, rates_per_s  # noqa: E402

CHUNK_BYTES = 40e6
LINK_BYTES_PER_S = 15e9
# The faster flow has two thirds of the link: a chunk takes it 4 ms and the other 8 ms, or 8/3 ms
# once it is alone.
FAST_CHUNK_S = CHUNK_BYTES / (LINK_BYTES_PER_S * 2 / 3)
SLOW_CHUNK_S = CHUNK_BYTES / (LINK_BYTES_PER_S / 3)
ALONE_CHUNK_S = CHUNK_BYTES / LINK_BYTES_PER_S
# An odd number, so that a chunk of the slower flow lies across the end of the faster one.
NUM_FAST_CHUNKS = 251
# No chunk is handed out later than this; the last one ends half a chunk after it.
FAST_S = (NUM_FAST_CHUNKS - 0.5) * FAST_CHUNK_S
FAST_END_S = NUM_FAST_CHUNKS * FAST_CHUNK_S
RUN_S = 2 * FAST_END_S

MAX_ERROR_RATIO = 0.01
MAX_EXPONENT_ERROR = 0.05
MAX_JAIN_ERROR = 0.01
SIZE_PAIRS = ((256, 128), (256, 64), (512, 64), (128, 64), (512, 256))
EXPONENTS = (0.0, 0.3, 0.5, 0.8, 1.0)
NUM_WINDOWS = 10


def fast_end_s(chunk: int) -> float:
    """Return when a chunk of the faster flow ends, after the start."""
    return (chunk + 1) * FAST_CHUNK_S


def slow_end_s(chunk: int) -> float:
    """Return when a chunk of the slower flow ends, after the start."""
    num_together = FAST_END_S / SLOW_CHUNK_S
    if chunk + 1 <= num_together:
        return (chunk + 1) * SLOW_CHUNK_S
    return FAST_END_S + (chunk + 1 - num_together) * ALONE_CHUNK_S


@dataclass
class VirtualClock:
    """Time that passes when the runner pauses."""

    now_s: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


@dataclass(frozen=True)
class VirtualEvent:
    """A point in a virtual stream."""

    clock: VirtualClock
    at_s: float

    def is_done(self) -> bool:
        """Tell whether its time has come."""
        return self.clock.now_s >= self.at_s

    def time_s(self) -> float:
        """Return its time."""
        return self.at_s

    def wait(self) -> None:
        """Let time pass until then."""
        self.clock.now_s = max(self.clock.now_s, self.at_s)


@dataclass
class VirtualStream:
    """Chunks that end when they are told to."""

    clock: VirtualClock
    end_s: Callable[[int], float]
    num_chunks: int = 0

    def hold(self, latch: Any) -> None:
        """Do nothing: no time passes before the latch opens."""

    def launch(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Put one chunk on it."""
        self.num_chunks += 1

    def record(self) -> VirtualEvent:
        """Return the end of the chunks so far."""
        return VirtualEvent(self.clock, self.end_s(self.num_chunks - 1) if self.num_chunks else 0.0)

    def synchronize(self) -> None:
        """Let time pass to its end."""
        self.record().wait()


class VirtualDevice:
    """Streams of a virtual clock share one latch that holds nothing."""

    def latch(self) -> VirtualDevice:
        """Return the latch."""
        return self

    def open(self) -> None:
        """Do nothing."""


def on_a_virtual_clock() -> tuple[Trace, ...]:
    """Run both flows on streams whose chunks end to the instant."""
    clock, device = VirtualClock(), VirtualDevice()
    lanes = [
        lane(device, VirtualStream(clock, end_s), lambda stream: stream.launch(print), duration_s)
        for end_s, duration_s in ((fast_end_s, FAST_S), (slow_end_s, None))
    ]
    return trace_together(lanes, RUN_S, clock=clock, pause=clock.pause)


@dataclass
class Pace:
    """Waits on a thread until each chunk is to end, counted from a start that flows share."""

    end_s: Callable[[int], float]
    start: list[float]
    lock: threading.Lock = field(default_factory=threading.Lock)
    num_chunks: int = 0

    def wait(self) -> None:
        """Be one chunk."""
        with self.lock:
            if not self.start:
                self.start.append(time.monotonic())
        left_s = self.start[0] + self.end_s(self.num_chunks) - time.monotonic()
        self.num_chunks += 1
        time.sleep(max(left_s, 0.0))


def on_threads() -> tuple[Trace, ...]:
    """Run both flows on real threads, whose chunks end as late as the scheduler makes them."""
    device = CpuDevice(available_cpus())
    start: list[float] = []
    lock = threading.Lock()
    with ExitStack() as stack:
        lanes = []
        for end_s, duration_s in ((fast_end_s, FAST_S), (slow_end_s, None)):
            pace = Pace(end_s, start, lock)
            stream = stack.enter_context(device.open_stream())

            def enqueue(stream: Any, pace: Pace = pace) -> None:
                stream.launch(pace.wait)

            lanes.append(lane(device, stream, enqueue, duration_s))
        return trace_together(lanes, RUN_S, clock=time.monotonic, pause=time.sleep)


def lane(
    device: Any, stream: Any, enqueue: Callable[[Any], None], duration_s: float | None
) -> Lane:
    """Return a lane of one chunk at a time, so that its last one is known."""
    return Lane(device, stream, enqueue, CHUNK_BYTES, num_queued=1, duration_s=duration_s)


def own_rate_per_s(trace: Trace) -> float:
    """Return what a flow moved over its own time: the usual method."""
    return trace.work * len(trace.ends_s) / (trace.ends_s[-1] - trace.start_s)


def print_rates(name: str, traces: Sequence[Trace]) -> bool:
    """Print both flows by both methods; return whether the common window is right."""
    known = (LINK_BYTES_PER_S * 2 / 3, LINK_BYTES_PER_S / 3)
    common = rates_per_s([[trace] for trace in traces])
    own = [own_rate_per_s(trace) for trace in traces]
    is_good = True
    for flow, truth, ours, usual in zip(("fast", "slow"), known, common, own, strict=True):
        error = ours / truth - 1
        is_right = abs(error) <= MAX_ERROR_RATIO
        is_good &= is_right
        print(
            f"{name:<8} {flow}: known {truth / 1e9:5.2f} GB/s, common window {ours / 1e9:5.2f} "
            f"({error:+.2%}) {verdict(is_right)}; over its own time {usual / 1e9:5.2f} "
            f"({usual / truth - 1:+.0%})"
        )
    return is_good


def jittered(rate_per_s: float, dice: random.Random) -> Trace:
    """Return half a second of chunks with the jitter, and now and then the hiccup, of a copy."""
    start_s = now_s = dice.uniform(0.0, 0.02)
    ends = []
    while now_s < start_s + 0.5:
        hiccup = 1.5 if dice.random() < 0.01 else 1.0
        now_s += CHUNK_BYTES / rate_per_s * dice.lognormvariate(0.0, 0.08) * hiccup
        ends.append(now_s)
    return Trace(start_s, tuple(ends), CHUNK_BYTES)


def share_ratio(sizes: tuple[int, int], exponent: float, dice: random.Random) -> float:
    """Return the measured share of two flows that divide a link by a known law."""
    weights = [size**exponent for size in sizes]
    rates = [4 * LINK_BYTES_PER_S * weight / sum(weights) for weight in weights]
    one, other = rates_per_s([[jittered(rate, dice)] for rate in rates])
    return one / other


def print_exponents() -> bool:
    """Recover sharing exponents; return whether all are right."""
    is_good = True
    for exponent in EXPONENTS:
        dice = random.Random(round(1000 * exponent))
        found = sharing_exponent(
            [
                SizePair(
                    *sizes, tuple(share_ratio(sizes, exponent, dice) for _ in range(NUM_WINDOWS))
                )
                for sizes in SIZE_PAIRS
            ]
        )
        is_right = abs(found.value - exponent) <= MAX_EXPONENT_ERROR
        is_good &= is_right
        print(
            f"exponent {exponent:.1f}: found {found.value:.3f} ({found.low:.3f}-{found.high:.3f}) "
            f"from {found.n} windows {verdict(is_right)}"
        )
    return is_good


def print_jain() -> bool:
    """Recover Jain's index of flows divided by packet; return whether all are right."""
    is_good = True
    for sizes in SIZE_PAIRS[:2]:
        dice = random.Random(sum(sizes))
        truth = jain_ratio(sizes)
        found = median(
            [jain_ratio((share_ratio(sizes, 1.0, dice), 1.0)) for _ in range(NUM_WINDOWS)]
        )
        is_right = abs(found - truth) <= MAX_JAIN_ERROR
        is_good &= is_right
        print(
            f"Jain     {sizes[0]} and {sizes[1]} bytes by packet: known {truth:.3f}, found "
            f"{found:.3f} {verdict(is_right)}"
        )
    return is_good


def verdict(is_right: bool) -> str:
    """Return one word."""
    return "ok" if is_right else "MISSED"


def main() -> None:
    """Print everything; exit with 1 if a bound was missed."""
    outcomes = [
        print_rates("virtual", on_a_virtual_clock()),
        print_rates("threads", on_threads()),
        print_exponents(),
        print_jain(),
    ]
    sys.exit(0 if all(outcomes) else 1)


if __name__ == "__main__":
    main()
