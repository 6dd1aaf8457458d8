"""Findings about what the machine gives, alone and under contention."""

from __future__ import annotations

from topoprobe.records.calibration import Contention, DeviceCalibration, SwapRate
from topoprobe.units import format_bytes, format_rate, format_seconds

from .contention import flow_label, largest_set, worst_cell
from .finding import Finding, capital, count
from .quantity import format_interval, format_value
from .roofline import ridges
from .section import Documents

# Slowdowns below this, and losses of rate above that, are not worth a warning.
_WORTH_SLOWDOWN = 1.25
_WORTH_RATIO = 0.9
_WORTH_LATENCY = 1.1


def sharing(documents: Documents) -> list[Finding]:
    """Say what concurrent flows keep, and name the worst pair."""
    if documents.calibration is None:
        return []
    items = documents.calibration.contention
    return [one for item in items for one in (*_largest(item), *_worst_pair(item))]


def loaded_latency(documents: Documents) -> list[Finding]:
    """Say how memory latency rises under load."""
    if documents.calibration is None:
        return []
    found = []
    for item in documents.calibration.contention:
        points = sorted(item.loaded_latency, key=lambda point: point.load_bytes_per_s.value)
        if len(points) > 1:
            idle, loaded = points[0], points[-1]
            ratio = loaded.latency_s.value / idle.latency_s.value
            lead = f"Memory latency rises {ratio:.1f}-fold under load."
            if ratio < _WORTH_LATENCY:
                lead = "Memory latency hardly rises under load."
            rest = (
                f"From {format_seconds(idle.latency_s.value)} to "
                f"{format_seconds(loaded.latency_s.value)} while others draw "
                f"{format_rate(loaded.load_bytes_per_s.value)}."
            )
            found.append(Finding("note", lead, rest))
    return found


def devices(documents: Documents) -> list[Finding]:
    """Say for each kind of device what limits it, how it scales, and what swapping costs."""
    if documents.calibration is None:
        return []
    first = {device.name: device for device in reversed(documents.calibration.devices)}
    found = []
    for device in reversed(first.values()):
        found += [Finding("note", text) for text in ridges(device)[:1]]
        found += _threads(device) + _scattered(device) + _beside_compute(device)
    return found


def _largest(item: Contention) -> list[Finding]:
    largest = largest_set(item)
    if largest is None:
        return []
    kept = [(1 / share.slowdown_ratio.value, share.flow) for share in largest.flows]
    (least, flow), (most, _) = min(kept), max(kept)
    rates = f"{least:.2f}" if most - least < 0.005 else f"{least:.2f} to {most:.2f}"
    lead = f"{capital(count(len(kept), 'flow'))} at once keep {rates} of their solo rates."
    rest = f"{_subject(flow)} suffers most; Jain's index is {largest.jain_ratio.value:.2f}."
    return [Finding("warn" if least < 1 / _WORTH_SLOWDOWN else "good", lead, rest)]


def _worst_pair(item: Contention) -> list[Finding]:
    worst = worst_cell(item.slowdown) if item.slowdown is not None else None
    if worst is None:
        return []
    victim, aggressor, slowdown = worst
    times = format_value(slowdown.value, "ratio")
    interval = format_interval(slowdown.low, slowdown.high, "ratio")
    rest = f"95 % interval {interval}; the worst of all pairs."
    if slowdown.value < _WORTH_SLOWDOWN:
        lead = f"No pair of flows slows one of them by more than {times} times."
        return [Finding("good", lead, rest)]
    lead = f"{_subject(victim)} runs {times} times slower beside {flow_label(aggressor)}."
    return [Finding("warn", lead, rest)]


def _subject(flow: str) -> str:
    """Begin a sentence with a flow; the names of ends stay as they are written."""
    label = flow_label(flow)
    return f"The flow {label}" if ":" in label else capital(label)


def _threads(device: DeviceCalibration) -> list[Finding]:
    triads = {
        rate.num_threads: rate.rate_bytes_per_s.value
        for rate in device.stream
        if rate.kernel == "triad" and rate.num_threads
    }
    alone = triads.get(1)
    if alone is None or len(triads) < 2:
        return []
    best = max(triads, key=lambda threads: triads[threads])
    if best == 1:
        lead = f"One thread alone draws the most from memory, {format_rate(alone)}."
        return [Finding("note", lead, "More threads do not add to it.")]
    lead = f"Memory gives {format_rate(triads[best])} (triad) to {count(best, 'thread')}."
    ratio = f"{triads[best] / alone:.3g} times what one thread gets alone"
    return [Finding("note", lead, f"That is {ratio}, {format_rate(alone)}.")]


def _scattered(device: DeviceCalibration) -> list[Finding]:
    """Compare layouts at the smallest block that has both: there the difference is largest."""
    for size, rates in sorted(_swaps_out(device).items()):
        whole, parts = rates.get(("contiguous", "idle")), rates.get(("scattered", "idle"))
        if whole is None or parts is None:
            continue
        slow, fast = parts.rate_bytes_per_s.value, whole.rate_bytes_per_s.value
        lead = (
            f"Scattered KV blocks of {format_bytes(size)} swap out at {slow / fast:.2f} of the "
            "contiguous rate."
        )
        rest = f"{format_rate(slow)} against {format_rate(fast)} on {device.name}."
        return [Finding("note" if slow / fast >= _WORTH_RATIO else "warn", lead, rest)]
    return []


def _beside_compute(device: DeviceCalibration) -> list[Finding]:
    """Compare loads at the largest block that has both."""
    for size, rates in sorted(_swaps_out(device).items(), reverse=True):
        idle, busy = rates.get(("scattered", "idle")), rates.get(("scattered", "beside_compute"))
        if idle is None or busy is None:
            continue
        kept = busy.rate_bytes_per_s.value / idle.rate_bytes_per_s.value
        lead = f"Beside compute, swapping keeps {kept:.2f} of its idle rate."
        rest = f"Scattered blocks of {format_bytes(size)}, out of {device.name}."
        return [Finding("note" if kept >= _WORTH_RATIO else "warn", lead, rest)]
    return []


def _swaps_out(device: DeviceCalibration) -> dict[int, dict[tuple[str, str], SwapRate]]:
    sizes: dict[int, dict[tuple[str, str], SwapRate]] = {}
    for rate in device.host_swap:
        if rate.direction == "out":
            sizes.setdefault(rate.block_bytes, {})[rate.layout, rate.load] = rate
    return sizes
