"""What each device gives alone: STREAM rates, latency, arithmetic, launch overhead."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import ComputeRate, DeviceCalibration, StreamRate

from .drawing.bars import Bar, BarGroup, draw_bars
from .drawing.svg import Svg
from .quantity import Quantity, quantity, tip
from .section import NEEDS_CALIBRATION, Absent, Documents, not_measured

_MAX_THREAD_COUNTS = 6
_METHODS = {"fma": "FMA loop", "gemm": "matrix product"}


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One line of the table of devices; None where a number is missing."""

    name: str
    memory: Quantity | None
    bandwidth: Quantity | None
    latency: Quantity | None
    launch: Quantity | None
    compute: tuple[Quantity | None, ...]


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The table of devices, and drawings of the rates behind it."""

    rows: tuple[DeviceRow, ...]
    compute_titles: tuple[str, ...]
    has_launch: bool
    drawings: tuple[tuple[str, Svg], ...]


def ceilings(documents: Documents) -> Ceilings | Absent:
    """Prepare the ceilings of all devices."""
    if documents.calibration is None:
        return NEEDS_CALIBRATION
    devices = documents.calibration.devices
    if not any(device.stream or device.compute or device.memory_latency_s for device in devices):
        return not_measured(documents, "Memory and arithmetic ceilings were", ("stream", "compute"))
    columns = _compute_columns(devices)
    return Ceilings(
        rows=tuple(_row(device, columns) for device in devices),
        compute_titles=tuple(f"{dtype} {method.upper()}" for dtype, method in columns),
        has_launch=any(device.launch_overhead_s for device in devices),
        drawings=(*_stream_drawings(devices), *_compute_drawings(devices)),
    )


def best_compute(device: DeviceCalibration, dtype: str, method: str) -> ComputeRate | None:
    """Return the highest arithmetic rate of a dtype and method, over threads and variants."""
    found = [rate for rate in device.compute if (rate.dtype, rate.method) == (dtype, method)]
    return max(found, key=lambda rate: rate.rate_flop_per_s.value, default=None)


def _compute_columns(devices: tuple[DeviceCalibration, ...]) -> list[tuple[str, str]]:
    found = {(rate.dtype, str(rate.method)) for device in devices for rate in device.compute}
    return sorted(found, key=lambda column: (column[1], column[0]))


def _row(device: DeviceCalibration, columns: list[tuple[str, str]]) -> DeviceRow:
    best = [best_compute(device, dtype, method) for dtype, method in columns]
    return DeviceRow(
        name=_title(device),
        memory=_optional(device.memory_bytes, "bytes"),
        bandwidth=_optional(device.memory_bandwidth_bytes_per_s, "bytes_per_s"),
        latency=_optional(device.memory_latency_s, "s"),
        launch=_optional(device.launch_overhead_s, "s"),
        compute=tuple(
            None if rate is None else quantity(rate.rate_flop_per_s, "flop_per_s") for rate in best
        ),
    )


def _optional(estimate: Estimate | None, unit: str) -> Quantity | None:
    return None if estimate is None else quantity(estimate, unit)


def _title(device: DeviceCalibration) -> str:
    return device.name if device.device in device.name else f"{device.name} ({device.device})"


def _stream_drawings(devices: tuple[DeviceCalibration, ...]) -> tuple[tuple[str, Svg], ...]:
    """Draw the CPUs by kernel and threads; GPUs together, by kernel and device."""
    drawings = []
    for device in devices:
        if device.kind == "cpu" and device.stream:
            title = f"STREAM rates of {device.name}"
            drawings.append((title, draw_bars(title, _thread_groups(device.stream))))
    gpus = [device for device in devices if device.kind == "gpu" and device.stream]
    if gpus:
        kernels = dict.fromkeys(rate.kernel for gpu in gpus for rate in gpu.stream)
        groups = [
            BarGroup(
                kernel,
                tuple(
                    _stream_bar(gpu.device, rate, 3)
                    for gpu in gpus
                    for rate in gpu.stream
                    if rate.kernel == kernel
                ),
            )
            for kernel in kernels
        ]
        title = "STREAM rates of GPU memory"
        drawings.append((title, draw_bars(title, groups)))
    return tuple(drawings)


def _thread_groups(rates: tuple[StreamRate, ...]) -> list[BarGroup]:
    shown = _shown_counts({rate.num_threads for rate in rates})
    return [
        BarGroup(
            kernel,
            tuple(
                _stream_bar(_threads(rate.num_threads), rate, 1)
                for rate in rates
                if rate.kernel == kernel and rate.num_threads in shown
            ),
        )
        for kernel in dict.fromkeys(rate.kernel for rate in rates)
    ]


def _shown_counts(counts: set[int | None]) -> set[int | None]:
    """Thin out many numbers of threads: the first, the last, and powers of two between."""
    if len(counts) <= _MAX_THREAD_COUNTS:
        return counts
    known = sorted(count for count in counts if count is not None)
    powers = [count for count in known if count & (count - 1) == 0]
    return {None, known[0], known[-1], *powers[-(_MAX_THREAD_COUNTS - 2) :]}


def _stream_bar(label: str, rate: StreamRate, color: int) -> Bar:
    best = rate.rate_bytes_per_s
    return Bar(
        label=label,
        value=quantity(best, "bytes_per_s").text,
        length=best.value,
        low=best.low,
        high=best.high,
        color=color,
        is_hollow=best.source is not Source.MEASURED,
        tip=f"{rate.kernel}, {label}, variant {rate.variant}\n{tip(best, 'bytes_per_s')}",
    )


def _compute_drawings(
    devices: tuple[DeviceCalibration, ...],
) -> tuple[tuple[str, Svg], ...]:
    drawings = []
    for device in devices:
        if not device.compute:
            continue
        groups = []
        for dtype, method in _compute_columns((device,)):
            rates = [
                rate for rate in device.compute if (rate.dtype, rate.method) == (dtype, method)
            ]
            shown = _shown_counts({rate.num_threads for rate in rates})
            bars = tuple(_compute_bar(rate) for rate in rates if rate.num_threads in shown)
            groups.append(BarGroup(f"{dtype}, {_METHODS[method]}", bars))
        title = f"Arithmetic rates of {device.name}"
        drawings.append((title, draw_bars(title, groups)))
        if device.kind == "gpu":
            break  # GPUs of a machine are compared in the table; one drawing shows the kind
    return tuple(drawings)


def _compute_bar(rate: ComputeRate) -> Bar:
    best = rate.rate_flop_per_s
    return Bar(
        label=_threads(rate.num_threads),
        value=quantity(best, "flop_per_s").text,
        length=best.value,
        low=best.low,
        high=best.high,
        color=4 if rate.method == "gemm" else 2,
        is_hollow=best.source is not Source.MEASURED,
        tip=f"{rate.dtype} {rate.method.upper()}, {_threads(rate.num_threads)}, "
        f"variant {rate.variant}\n{tip(best, 'flop_per_s')}",
    )


def _threads(count: int | None) -> str:
    if count is None:
        return "whole device"
    return "1 thread" if count == 1 else f"{count} threads"
