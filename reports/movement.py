"""Moving KV blocks and reading disks: rates by block size, direction, layout and load."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.records.calibration import DeviceCalibration, StorageRate, SwapLaw, SwapRate
from topoprobe.units import format_bytes, format_rate

from .drawing.bars import Bar, BarGroup, draw_bars
from .drawing.plot import Axis, Curve, Point, draw_plot, frame, name_room
from .drawing.scale import linear, logarithmic
from .drawing.svg import Svg
from .quantity import Quantity, format_percent, format_tick, quantity, tip
from .section import NEEDS_CALIBRATION, Absent, Documents, not_measured

_LOADS = {"idle": "idle", "beside_compute": "beside compute"}


@dataclass(frozen=True, slots=True)
class LawRow:
    """The fitted time of a block: latency plus bytes over bandwidth."""

    name: str
    latency: Quantity
    bandwidth: Quantity
    error: str


@dataclass(frozen=True, slots=True)
class Swap:
    """KV swap of one device."""

    device: str
    drawings: tuple[tuple[str, Svg], ...]
    laws: tuple[LawRow, ...]


@dataclass(frozen=True, slots=True)
class Storage:
    """The disk tier."""

    drawing: Svg
    note: str


def swap(documents: Documents) -> tuple[Swap, ...] | Absent:
    """Prepare the KV swap of every device that has one."""
    if documents.calibration is None:
        return NEEDS_CALIBRATION
    found = tuple(_swap(device) for device in documents.calibration.devices if device.host_swap)
    return found or not_measured(documents, "KV-block swap was", ("swap",))


def storage(documents: Documents) -> Storage | Absent:
    """Prepare the rates of the disk tier."""
    if documents.calibration is None:
        return NEEDS_CALIBRATION
    rates = [rate for device in documents.calibration.devices for rate in device.storage]
    if not rates:
        return not_measured(documents, "The disk tier was", ("disk", "storage"))
    names = dict.fromkeys(rate.name for rate in rates)
    groups = [
        BarGroup(name, tuple(_storage_bar(rate) for rate in rates if rate.name == name))
        for name in names
    ]
    cached = [rate for rate in rates if not rate.is_direct]
    note = "Some rates went through the page cache: O_DIRECT was not allowed." if cached else ""
    return Storage(draw_bars("Rates of the disk tier", groups), note)


def _swap(device: DeviceCalibration) -> Swap:
    titles = {"out": "Out: device pool to host pool", "in": "In: host pool to device pool"}
    drawings = tuple(
        (titles[direction], _swap_drawing(device, direction))
        for direction in ("out", "in")
        if any(rate.direction == direction for rate in device.host_swap)
    )
    return Swap(device.name, drawings, tuple(_law_row(law) for law in device.swap_laws))


def _swap_drawing(device: DeviceCalibration, direction: str) -> Svg:
    rates = [rate for rate in device.host_swap if rate.direction == direction]
    curves = []
    for layout, color in (("contiguous", 1), ("scattered", 2)):
        for load in _LOADS:
            points = tuple(
                _swap_point(rate)
                for rate in sorted(rates, key=lambda rate: rate.block_bytes)
                if (rate.layout, rate.load) == (layout, load)
            )
            if points:
                name = f"{layout}, {_LOADS[load]}"
                curves.append(Curve(name, points, color, is_dashed=load != "idle"))
    right = name_room([curve.name for curve in curves])
    x_ends, y_ends = frame(width=620.0, height=280.0, right=right)
    sizes = [rate.block_bytes for rate in rates]
    return draw_plot(
        f"KV swap {direction} of {device.name}, rate by block size",
        curves,
        logarithmic(min(sizes), max(sizes), *x_ends),
        linear(max(rate.rate_bytes_per_s.high for rate in rates), *y_ends),
        x_axis=Axis(
            "block size", lambda value: format_tick(value, "bytes"), ticks=tuple(sorted(set(sizes)))
        ),
        y_axis=Axis("rate", lambda value: format_tick(value, "bytes_per_s")),
        width=620.0,
        height=280.0,
        right=right,
    )


def _swap_point(rate: SwapRate) -> Point:
    estimate = rate.rate_bytes_per_s
    text = (
        f"{format_bytes(rate.block_bytes)} blocks, {rate.layout}, {_LOADS[rate.load]}\n"
        f"{tip(estimate, 'bytes_per_s')}"
    )
    return Point(rate.block_bytes, estimate.value, text, y_interval=(estimate.low, estimate.high))


def _law_row(law: SwapLaw) -> LawRow:
    return LawRow(
        name=f"{law.direction}, {law.layout}",
        latency=quantity(law.latency_s, "s"),
        bandwidth=quantity(law.bandwidth_bytes_per_s, "bytes_per_s"),
        error=format_percent(law.max_error_ratio),
    )


def _storage_bar(rate: StorageRate) -> Bar:
    estimate = rate.rate_bytes_per_s
    how = "direct" if rate.is_direct else "through the page cache"
    label = f"{rate.operation}, {format_bytes(rate.block_bytes)}"
    return Bar(
        label=label if rate.is_direct else f"{label}, cached",
        value=format_rate(estimate.value),
        length=estimate.value,
        low=estimate.low,
        high=estimate.high,
        color=1 if rate.operation == "read" else 4,
        tip=f"{label} on {rate.name}, {how}\n{tip(estimate, 'bytes_per_s')}",
    )
