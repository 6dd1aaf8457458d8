"""The roofline of a device: what memory and arithmetic allow, and what was attained.

Under the roof a kernel of intensity I flop/byte gives at most ``min(peak, I * bandwidth)``
[williams2009].
"""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.records.calibration import DeviceCalibration, RooflinePoint
from topoprobe.units import format_flops, format_rate

from .ceilings import best_compute
from .drawing.plot import Axis, Curve, Point, draw_plot, frame, name_room
from .drawing.scale import Scale, logarithmic
from .drawing.svg import Svg
from .quantity import format_tick, tip
from .section import NEEDS_CALIBRATION, Absent, Documents, not_measured

_WIDTH, _HEIGHT = 620.0, 380.0
_METHODS = ("fma", "gemm")


@dataclass(frozen=True, slots=True)
class Roofline:
    """Drawings, one per device, and the sentence that says where each roof bends."""

    drawings: tuple[tuple[str, Svg], ...]
    ridges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Roof:
    """One arithmetic ceiling."""

    name: str
    flop_per_s: float
    tip: str
    color: int


def roofline(documents: Documents) -> Roofline | Absent:
    """Prepare the rooflines of the CPUs and of the first GPU of each name."""
    if documents.calibration is None:
        return NEEDS_CALIBRATION
    shown: dict[str, DeviceCalibration] = {}
    for device in documents.calibration.devices:
        if device.memory_bandwidth_bytes_per_s is not None and (device.compute or device.roofline):
            shown.setdefault(device.name, device)
    if not shown:
        return not_measured(documents, "The roofline was", ("roofline", "compute"))
    return Roofline(
        drawings=tuple((name, _draw(device)) for name, device in shown.items()),
        ridges=tuple(text for device in shown.values() for text in ridges(device)),
    )


def ridges(device: DeviceCalibration) -> list[str]:
    """Say for each dtype from which intensity on arithmetic is the limit."""
    bandwidth = device.memory_bandwidth_bytes_per_s
    if bandwidth is None:
        return []
    texts = []
    for roof in _roofs(device):
        if roof.name.endswith("FMA"):
            ridge = roof.flop_per_s / bandwidth.value
            texts.append(
                f"{roof.name.split()[0]} code on {device.name} is limited by memory below "
                f"{ridge:.3g} flop/byte and by arithmetic above."
            )
    return texts


def _roofs(device: DeviceCalibration) -> list[Roof]:
    roofs = []
    dtypes = _dtypes(device)
    for dtype in dtypes:
        for method in _METHODS:
            best = best_compute(device, dtype, method)
            if best is not None:
                name = f"{dtype} {method.upper()}"
                text = f"{name}, variant {best.variant}\n{tip(best.rate_flop_per_s, 'flop_per_s')}"
                color = dtypes.index(dtype) % 6 + 1
                roofs.append(Roof(name, best.rate_flop_per_s.value, text, color))
    return roofs


def _dtypes(device: DeviceCalibration) -> list[str]:
    found = [rate.dtype for rate in device.compute] + [point.dtype for point in device.roofline]
    return sorted(dict.fromkeys(found))


def _draw(device: DeviceCalibration) -> Svg:
    estimate = device.memory_bandwidth_bytes_per_s
    assert estimate is not None, "roofline() chose devices with a bandwidth"
    bandwidth = estimate.value
    roofs = _roofs(device)
    names = [f"{roof.name} {format_flops(roof.flop_per_s)}" for roof in roofs]
    right = name_room([*names, f"memory {format_rate(bandwidth)}"])
    x_ends, y_ends = frame(_WIDTH, _HEIGHT, right)
    x_scale, y_scale = _scales(device, roofs, bandwidth, x_ends, y_ends)
    peak = max([roof.flop_per_s for roof in roofs], default=y_scale.high / 1.35)
    slope = _slope(bandwidth, peak, x_scale, y_scale, tip(estimate, "bytes_per_s"))
    curves = [slope]
    for name, roof in zip(names, roofs, strict=True):
        start = max(roof.flop_per_s / bandwidth, x_scale.low)
        ends = (
            Point(start, roof.flop_per_s, roof.tip),
            Point(x_scale.high, roof.flop_per_s, roof.tip),
        )
        is_dashed = " GEMM " in name
        curves.append(Curve(name, ends, roof.color, has_markers=False, is_dashed=is_dashed))
    for index, dtype in enumerate(_dtypes(device)):
        points = tuple(_point(point) for point in _of_most_threads(device, dtype))
        if points:
            curves.append(Curve(f"{dtype} attained", points, index % 6 + 1, has_line=False))
    return draw_plot(
        f"Roofline of {device.name}",
        curves,
        x_scale,
        y_scale,
        x_axis=Axis("arithmetic intensity, flop/byte", _plain),
        y_axis=Axis("attained FLOP/s", _without_unit),
        width=_WIDTH,
        height=_HEIGHT,
        right=right,
    )


def _scales(
    device: DeviceCalibration,
    roofs: list[Roof],
    bandwidth: float,
    x_ends: tuple[float, float],
    y_ends: tuple[float, float],
) -> tuple[Scale, Scale]:
    peaks = [roof.flop_per_s for roof in roofs]
    rates = peaks + [point.rate_flop_per_s.value for point in device.roofline]
    bends = [peak / bandwidth for peak in peaks]
    intensities = [point.intensity_flop_per_byte for point in device.roofline] + bends
    low, high = min([*intensities, *(bend / 8 for bend in bends)]), max(intensities)
    high = max(high, *(bend * 8 for bend in bends)) if bends else high
    x_scale = logarithmic(low, high, *x_ends)
    least = min([*rates, bandwidth * x_scale.low])
    return x_scale, logarithmic(least, max(rates), *y_ends)


def _slope(bandwidth: float, peak: float, x: Scale, y: Scale, text: str) -> Curve:
    start = max(x.low, y.low / bandwidth)
    end = min(peak / bandwidth, x.high)
    points = (
        Point(start, bandwidth * start, f"memory bandwidth\n{text}"),
        Point(end, bandwidth * end, text),
    )
    return Curve(
        f"memory {format_rate(bandwidth)}",
        points,
        color=7,
        has_markers=False,
        label_y=bandwidth * (start * end) ** 0.5,
    )


def _of_most_threads(device: DeviceCalibration, dtype: str) -> list[RooflinePoint]:
    """Return the points of a dtype that belong under these roofs, which are those of all CPUs."""
    points = [point for point in device.roofline if point.dtype == dtype]
    most = max((point.num_threads or 0 for point in points), default=0)
    return [point for point in points if (point.num_threads or 0) == most]


def _point(point: RooflinePoint) -> Point:
    rate = point.rate_flop_per_s
    threads = "" if point.num_threads is None else f", {point.num_threads} threads"
    return Point(
        point.intensity_flop_per_byte,
        rate.value,
        f"{point.dtype} at {point.intensity_flop_per_byte:.3g} flop/byte{threads}\n"
        f"{tip(rate, 'flop_per_s')}",
        y_interval=(rate.low, rate.high),
    )


def _without_unit(value: float) -> str:
    return format_tick(value, "flop_per_s").removesuffix("FLOP/s").rstrip()


def _plain(value: float) -> str:
    return f"{value:g}"
