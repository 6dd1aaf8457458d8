"""The one-screen summary of a machine, its ceilings, and how well a run was predicted.

Documents in, lines of text out; nothing here measures or opens files.
"""

from __future__ import annotations

from collections.abc import Sized

from topoprobe.measure.flows import parse_flow_set
from topoprobe.measure.statistics import median
from topoprobe.model.calibration.foresight import Foresight, foresights
from topoprobe.records.base import Estimate, Source, Status
from topoprobe.records.calibration import (
    CalibrationDocument,
    DeviceCalibration,
    FlowSetShare,
    SlowdownMatrix,
    StorageRate,
    StreamRate,
    SwapRate,
)
from topoprobe.records.machine import (
    Gpu,
    Host,
    HostBridge,
    MachineDocument,
    Nic,
    Numa,
    Nvme,
    Package,
    PcieSwitch,
)
from topoprobe.records.results import ResultsDocument
from topoprobe.records.run import Comparison, RunDocument
from topoprobe.serving.comparison import BOUND_RATIO
from topoprobe.units import format_bytes, format_flops, format_rate, format_seconds

_LABEL_WIDTH = 10
_METRICS = {
    "output_throughput_tokens_per_s": "output tokens/s",
    "mean_ttft_s": "mean TTFT",
    "mean_tpot_s": "mean TPOT",
}


def machine_lines(machine: MachineDocument) -> list[str]:
    """Say in two lines what the machine is."""
    nodes = machine.nodes
    packages = [node for node in nodes if isinstance(node, Package)]
    numas = [node for node in nodes if isinstance(node, Numa)]
    gpus = [node for node in nodes if isinstance(node, Gpu)]
    host = next((node for node in nodes if isinstance(node, Host)), None)
    parts = []
    if packages:
        cores = sum(package.num_cores or 0 for package in packages)
        parts.append(f"{len(packages)} x {packages[0].name}" + (f", {cores} cores" * bool(cores)))
    memory = sum(numa.memory_bytes or 0 for numa in numas)
    if memory:
        parts.append(f"{format_bytes(memory)} in {_count(numas, 'NUMA node')}")
    if host is not None and host.is_virtual:
        parts.append(f"virtual ({host.virtualization})" if host.virtualization else "virtual")
    devices = [_count(gpus, "GPU") if gpus else "no GPU"]
    for kind, word in (
        (Nic, "NIC"),
        (Nvme, "drive"),
        (PcieSwitch, "PCIe switch"),
        (HostBridge, "root complex"),
    ):
        found = [node for node in nodes if isinstance(node, kind)]
        if found:
            devices.append(_count(found, word))
    if gpus:
        devices[0] += f" ({gpus[0].name})"
    return labelled("machine", ["; ".join(parts) or "unknown", ", ".join(devices)])


def ceiling_lines(calibration: CalibrationDocument) -> list[str]:
    """Say what each device gives alone."""
    lines = []
    for device in calibration.devices:
        lines += labelled("memory", _memory(device))
        lines += labelled("compute", _compute(device))
        lines += labelled("KV swap", _swap(device))
        lines += labelled("disk", _disk(device.storage))
    return lines


def contention_lines(calibration: CalibrationDocument) -> list[str]:
    """Say what the largest concurrent set does to its flows, and the worst pair."""
    lines = []
    for contention in calibration.contention:
        if contention.sets:
            largest = max(contention.sets, key=lambda flow_set: len(flow_set.flows))
            lines.append(_together(largest))
        worst = _slowed_pair(contention.slowdown) if contention.slowdown else None
        if worst is None and contention.slowdown is not None:
            lines.append("no pair slows measurably")
        elif worst is not None:
            victim, aggressor, slowdown = worst
            lines.append(
                f"worst pair: {victim} runs x{slowdown.value:.2f} slower beside {aggressor} "
                f"({slowdown.low:.2f}-{slowdown.high:.2f})"
            )
        lines += _foretold(foresights(contention))
    return labelled("together", lines)


def run_lines(run: RunDocument) -> list[str]:
    """Say what a run did, and put the prediction beside the measurement."""
    summaries = run.repeats or (run.summary,)
    rate = median([each.output_throughput_tokens_per_s for each in summaries])
    latencies = []
    for name, found in (
        ("TTFT", [each.ttft_s for each in summaries]),
        ("TPOT", [each.tpot_s for each in summaries]),
    ):
        times = [each for each in found if each is not None]
        if times:
            latencies.append(
                f"{name} {format_seconds(median([each.mean for each in times]))} mean, "
                f"{format_seconds(median([each.p99 for each in times]))} p99"
            )
    what = "simulated" if run.kind == "simulated" else "real run"
    if len(summaries) > 1:
        latencies.append(f"each the median of {len(summaries)} repeats")
    lines = labelled(
        "serving",
        [
            f"{run.model.name}, {what}, {run.summary.num_finished} of {run.workload.num_requests} "
            f"requests: {rate:.0f} output tokens/s",
            ", ".join(latencies),
        ],
    )
    if run.comparisons:
        lines.append(
            f"predicted beside measured (bound: {BOUND_RATIO:.0%}, or the run-to-run spread where "
            "that is larger)"
        )
        lines += [_comparison(comparison) for comparison in run.comparisons]
    return lines


def status_lines(results: ResultsDocument, calibration: CalibrationDocument | None) -> list[str]:
    """Say what did not go as it should: what was not run, what did not settle, who disturbed."""
    lines = ["partial: measuring was stopped before its end"] if results.is_partial else []
    not_run: dict[str, list[str]] = {}
    for experiment in results.experiments:
        if experiment.status in (Status.SKIPPED, Status.FAILED):
            reason = f"{experiment.status}: {experiment.reason}"
            not_run.setdefault(reason, []).append(experiment.benchmark)
    lines += [f"{_names(names)} {reason}" for reason, names in not_run.items()]
    series = [one for experiment in results.experiments for one in experiment.series]
    unstable = [one for one in series if one.status is Status.UNSTABLE]
    if unstable:
        lines.append(f"{len(unstable)} of {len(series)} series did not settle (see the report)")
    if calibration is not None:
        lines += [
            f"{verdict.level}: {verdict.evidence}"
            for verdict in calibration.verdicts
            if verdict.check != "stability"
        ]
    return labelled("notes", lines)


def labelled(label: str, lines: list[str]) -> list[str]:
    """Return lines under one label; empty ones are left out."""
    return [
        f"{label if index == 0 else '':<{_LABEL_WIDTH}} {line}"
        for index, line in enumerate(line for line in lines if line)
    ]


def _names(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 3 else f"{len(names)} benchmarks"


def _memory(device: DeviceCalibration) -> list[str]:
    best: dict[str, StreamRate] = {}
    for rate in device.stream:
        if rate.kernel not in best or rate.rate_bytes_per_s.value > _value(best[rate.kernel]):
            best[rate.kernel] = rate
    most = max((rate.num_threads or 0 for rate in device.stream), default=0)
    rates = [
        f"{kernel} {_value(rate) / 1e9:.1f}"
        + (f" ({rate.num_threads} of {most} threads)" if (rate.num_threads or 0) < most else "")
        for kernel, rate in best.items()
    ]
    parts = [f"{'  '.join(rates)} GB/s"] if rates else []
    if device.memory_latency_s is not None:
        parts.append(f"latency {format_seconds(device.memory_latency_s.value)}")
    return [", ".join(parts)] if parts else []


def _value(rate: StreamRate) -> float:
    return rate.rate_bytes_per_s.value


def _compute(device: DeviceCalibration) -> list[str]:
    best: dict[tuple[str, str], float] = {}
    for rate in device.compute:
        if rate.rate_flop_per_s.source is Source.NOMINAL:  # a summary tells what was measured
            continue
        key = rate.dtype, rate.method
        best[key] = max(best.get(key, 0.0), rate.rate_flop_per_s.value)
    names = {"fma": "FMA", "gemm": "GEMM"}
    parts = [f"{dtype} {names[how]} {format_flops(rate)}" for (dtype, how), rate in best.items()]
    return [", ".join(parts)]


def _swap(device: DeviceCalibration) -> list[str]:
    idle = [rate for rate in device.host_swap if rate.load == "idle"]
    if not idle:
        return []
    size = sorted({rate.block_bytes for rate in idle})[len({r.block_bytes for r in idle}) // 2]
    chosen = [rate for rate in device.host_swap if rate.block_bytes == size]

    def rate_of(direction: str, layout: str, load: str) -> str:
        found: list[SwapRate] = [
            rate for rate in chosen
            if (rate.direction, rate.layout, rate.load) == (direction, layout, load)
        ]  # fmt: skip
        return format_rate(found[0].rate_bytes_per_s.value) if found else "not measured"

    return [
        f"blocks of {format_bytes(size)}: out {rate_of('out', 'contiguous', 'idle')} contiguous, "
        f"{rate_of('out', 'scattered', 'idle')} scattered, "
        f"{rate_of('out', 'scattered', 'beside_compute')} beside compute"
    ]


def _disk(rates: tuple[StorageRate, ...]) -> list[str]:
    if not rates:
        return []
    largest = max(rate.block_bytes for rate in rates)
    parts = [
        f"{rate.operation} {format_rate(rate.rate_bytes_per_s.value)}"
        + ("" if rate.is_direct else " (through the page cache)")
        for rate in rates
        if rate.block_bytes == largest
    ]
    return [f"{', '.join(parts)} in blocks of {format_bytes(largest)}"]


def _together(flow_set: FlowSetShare) -> str:
    kept = []
    cores = set()
    for share in flow_set.flows:
        (flow,) = parse_flow_set(share.flow).flows
        cores |= {end.index for end in (flow.source, flow.destination) if end.kind == "core"}
        name = flow.work if flow.executor.kind == "cpu" else share.flow
        kept.append(f"{name} {1 / share.slowdown_ratio.value:.2f}")
    # Flows bound to fewer CPUs than there are flows compete for more than the memory.
    shared = f" on {_count(cores, 'CPU')} that they share" if 0 < len(cores) < len(kept) else ""
    return (
        f"{len(flow_set.flows)} flows at once{shared} keep, of their solo rate: {', '.join(kept)} "
        f"(Jain {flow_set.jain_ratio.value:.2f})"
    )


def _foretold(found: tuple[Foresight, ...]) -> list[str]:
    """Put what was foretold beside what was measured; no line where nothing was."""
    if not found:
        return []
    worst = max(found, key=lambda one: abs(one.error_ratio))
    error = median([abs(one.error_ratio) for one in found])
    blind = median([abs(1 / one.measured.value - 1) for one in found])
    (flow,) = parse_flow_set(worst.flow).flows
    name = flow.work if flow.executor.kind == "cpu" else worst.flow
    return [
        f"predicted beside measured: {len(found)} slowdowns, median error {error:.1%} "
        f"({blind:.1%} if none were expected); worst: {name} of {worst.num_flows} flows "
        f"x{worst.predicted:.2f}, measured x{worst.measured.value:.2f}"
    ]


def _slowed_pair(matrix: SlowdownMatrix) -> tuple[str, str, Estimate] | None:
    """Return the pair that is surely slowed most; intervals that include 1 do not count."""
    slowed = [
        (victim, aggressor, cell)
        for victim, row in zip(matrix.flows, matrix.slowdown_victim_aggressor, strict=True)
        for aggressor, cell in zip(matrix.flows, row, strict=True)
        if cell is not None and cell.has_interval and cell.low > 1
    ]
    return max(slowed, key=lambda cell: cell[2].low, default=None)


def _comparison(comparison: Comparison) -> str:
    measured = median(comparison.measured)
    name = _METRICS.get(comparison.metric, comparison.metric)
    if comparison.unit == "s":
        texts = format_seconds(comparison.predicted), format_seconds(measured)
    else:
        texts = f"{comparison.predicted:.0f}", f"{measured:.0f}"
    spread = (
        f", run-to-run spread {comparison.spread_ratio:.1%}"
        if comparison.spread_ratio is not None
        else ""
    )
    verdict = "" if comparison.is_within else "  <- outside the bound"
    return (
        f"  {name:<17} {texts[0]:>8} | {texts[1]:<8} {comparison.error_ratio:+.1%}{spread}{verdict}"
    )


def _count(items: Sized, word: str) -> str:
    plural = "" if len(items) == 1 else "es" if word.endswith(("x", "ch")) else "s"
    return f"{len(items)} {word}{plural}"
