"""Findings about what the machine gives, alone and under contention."""

from __future__ import annotations

from topoprobe.records.base import Estimate
from topoprobe.records.calibration import Contention, DeviceCalibration, SwapRate
from topoprobe.units import format_bytes, format_interval, format_rate, format_seconds, format_value

from .contention import flow_label, largest_set, slowed_pair, worst_cell
from .finding import Finding, capital, count
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
    # The same idle latency as at the head of the page, where the device has one.
    alone = {
        f"memory:{device.device}": device.memory_latency_s
        for device in documents.calibration.devices
        if device.memory_latency_s is not None
    }
    for item in documents.calibration.contention:
        points = sorted(item.loaded_latency, key=lambda point: point.load_bytes_per_s.value)
        if len(points) > 1:
            least, loaded = points[0], points[-1]
            idle = alone.get(item.resource, least.latency_s)
            drawn = format_rate(least.load_bytes_per_s.value)
            when = "idle" if item.resource in alone else f"at the least load, {drawn},"
            ratio = loaded.latency_s.value / idle.value
            lead = f"Memory latency rises {ratio:.1f}-fold under load."
            if ratio < _WORTH_LATENCY:
                lead = "Memory latency hardly rises under load."
            rest = (
                f"From {format_seconds(idle.value)} {when} to "
                f"{format_seconds(loaded.latency_s.value)} while others draw "
                f"{format_rate(loaded.load_bytes_per_s.value)}."
            )
            if item.knee_bytes_per_s is not None:
                rest += f" It is 1.5-fold at {format_rate(item.knee_bytes_per_s.value)}."
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
    largest = worst_cell(item.slowdown) if item.slowdown is not None else None
    if item.slowdown is None or largest is None:
        return []
    worst = slowed_pair(item.slowdown)
    if worst is None:
        lead = "No pair of flows slows measurably."
        rest = f"No 95 % interval lies above ×1; the largest median: {_slowdown(largest)}."
        return [Finding("good", lead, rest)]
    level = "warn" if worst[2].value >= _WORTH_SLOWDOWN else "good"
    interval = format_interval(worst[2].low, worst[2].high, "ratio")
    lead = f"The worst pair: {_slowdown(worst)}."
    return [Finding(level, lead, f"95 % interval {interval}.")]


def _slowdown(pair: tuple[str, str, Estimate]) -> str:
    """Write a slowdown as everywhere: ``chase runs ×3.35 slower beside stream``."""
    victim, aggressor, slowdown = pair
    times = format_value(slowdown.value, "ratio")
    return f"{flow_label(victim)} runs ×{times} slower beside {flow_label(aggressor)}"


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
        kept = _kept(parts.rate_bytes_per_s, whole.rate_bytes_per_s)
        blocks = f"Scattered KV blocks of {format_bytes(size)} swap out"
        slow, fast = _interval(parts.rate_bytes_per_s), _interval(whole.rate_bytes_per_s)
        rest = f"{slow} against {fast} on {device.name}."
        if kept is None:
            return [Finding("note", f"{blocks} without measurable loss.", rest)]
        lead = f"{blocks} at {kept:.2f} of the contiguous rate."
        return [Finding("note" if kept >= _WORTH_RATIO else "warn", lead, rest)]
    return []


def _beside_compute(device: DeviceCalibration) -> list[Finding]:
    """Compare loads at the largest block that has both."""
    for size, rates in sorted(_swaps_out(device).items(), reverse=True):
        idle, busy = rates.get(("scattered", "idle")), rates.get(("scattered", "beside_compute"))
        if idle is None or busy is None:
            continue
        kept = _kept(busy.rate_bytes_per_s, idle.rate_bytes_per_s)
        slow, fast = _interval(busy.rate_bytes_per_s), _interval(idle.rate_bytes_per_s)
        blocks = f"Scattered blocks of {format_bytes(size)}, out of {device.name}"
        rest = f"{blocks}: {slow} against {fast} idle."
        if kept is None:
            return [Finding("note", "Beside compute, swapping has no measurable loss.", rest)]
        lead = f"Beside compute, swapping keeps {kept:.2f} of its idle rate."
        return [Finding("note" if kept >= _WORTH_RATIO else "warn", lead, rest)]
    return []


def _kept(rate: Estimate, reference: Estimate) -> float | None:
    """Return the share of a rate that is left; None where the intervals show no loss."""
    is_told = rate.has_interval and reference.has_interval
    return rate.value / reference.value if is_told and rate.high < reference.low else None


def _interval(rate: Estimate) -> str:
    interval = format_interval(rate.low, rate.high, "bytes_per_s")
    return f"{format_rate(rate.value)} ({interval if rate.has_interval else 'one sample'})"


def _swaps_out(device: DeviceCalibration) -> dict[int, dict[tuple[str, str], SwapRate]]:
    sizes: dict[int, dict[tuple[str, str], SwapRate]] = {}
    for rate in device.host_swap:
        if rate.direction == "out":
            sizes.setdefault(rate.block_bytes, {})[rate.layout, rate.load] = rate
    return sizes
