"""Results in, calibration out."""

from __future__ import annotations

import msgspec

from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine
from topoprobe.measure.sharing import MIN_PAIRS
from topoprobe.model.calibration import ceilings, contention, links, sockets, swap
from topoprobe.model.calibration.cpu_works import cpu_contention
from topoprobe.model.calibration.knee import knee_load
from topoprobe.model.calibration.merging import Merged
from topoprobe.model.calibration.power import power_law
from topoprobe.model.calibration.readings import Readings, measured, series_name
from topoprobe.model.calibration.steps import fit_models
from topoprobe.model.calibration.verdicts import verdicts
from topoprobe.records.base import Estimate, Missing, Source, Status, Tool
from topoprobe.records.calibration import (
    CalibrationDocument,
    Contention,
    DeviceCalibration,
)
from topoprobe.records.machine import Gpu, Host, MachineDocument, Numa, Package
from topoprobe.records.results import ResultsDocument


def calibrate_merged(
    merged: Merged, *, tool: Tool, created_at: str | None = None
) -> CalibrationDocument:
    """Turn several runs on one machine into estimates; contradictions become verdicts.

    Raises
    ------
    ModelError
        If they hold no usable series at all.
    """
    document = calibrate(merged.results, tool=tool, created_at=created_at)
    return msgspec.structs.replace(
        document,
        results=tuple(_run_name(run.results) for run in merged.runs),
        verdicts=(*merged.verdicts, *document.verdicts),
    )


def calibrate(
    results: ResultsDocument, *, tool: Tool, created_at: str | None = None
) -> CalibrationDocument:
    """Turn results into estimates with 95 % intervals.

    Parameters
    ----------
    results : ResultsDocument
        One run of the suite; partial runs give partial calibrations.
    tool : Tool
        Who writes the document.
    created_at : str, optional
        When, in ISO 8601.

    Raises
    ------
    ModelError
        If the results hold no usable series at all.
    """
    readings = Readings(results)
    devices = readings.devices()
    if not devices:
        raise ModelError(
            "The results hold no usable series, so there is nothing to calibrate: "
            "run `topoprobe bench` and see the reasons it gives."
        )
    machine = results.machine
    return CalibrationDocument(
        tool=tool,
        machine=machine,
        created_at=created_at,
        results=(_run_name(results),),
        devices=tuple(_device(machine, readings, device) for device in devices),
        links=(
            *links.link_calibrations(machine, readings),
            *sockets.socket_links(Machine(machine), readings),
        ),
        contention=(
            *(
                found
                for device in devices
                if (found := _contention(Machine(machine), readings, device)) is not None
            ),
            *sockets.node_memories(Machine(machine), readings),
            *sockets.node_ways(Machine(machine), readings),
        ),
        models=fit_models(readings),
        missing=_missing(results, readings),
        verdicts=verdicts(results),
    )


def _run_name(results: ResultsDocument) -> str:
    return f"{results.suite} suite started {results.started_at}"


def _device(machine: MachineDocument, readings: Readings, device: str) -> DeviceCalibration:
    stream = ceilings.stream_rates(readings, device)
    launches = readings.select("launch.overhead", device=device)
    is_gpu = any(node.id == device and isinstance(node, Gpu) for node in machine.nodes)
    return DeviceCalibration(
        device=device,
        kind="gpu" if is_gpu else "cpu",
        name=_device_name(machine, device),
        memory_bytes=_memory_bytes(machine, device),
        memory_bandwidth_bytes_per_s=ceilings.memory_bandwidth(stream),
        memory_latency_s=ceilings.memory_latency(readings, device),
        launch_overhead_s=measured(launches[0]) if launches else None,
        stream=stream,
        compute=ceilings.compute_rates(readings, device),
        roofline=ceilings.roofline(readings, device),
        host_swap=swap.swap_rates(readings, device),
        swap_laws=swap.swap_laws(readings, device),
        storage=ceilings.storage_rates(readings, device),
        power=power_law(readings, device),
        engines=links.engine_shares(readings, device),
        handovers=sockets.handovers(readings, device),
    )


def _contention(machine: Machine, readings: Readings, device: str) -> Contention | None:
    bandwidth = ceilings.memory_bandwidth(ceilings.stream_rates(readings, device))
    cpus = cpu_contention(readings, device, machine, bandwidth)
    sets = contention.flow_sets(readings, device, machine, cpus.predicted)
    loaded = ceilings.loaded_latency(readings, device)
    if not sets and not loaded:
        return None
    return Contention(
        resource=f"memory:{device}",
        capacity_bytes_per_s=bandwidth,
        sharing_exponent=contention.transaction_exponent(readings, device),
        loaded_latency=loaded,
        knee_bytes_per_s=knee_load(loaded),
        slowdown=contention.slowdown_matrix(readings, device),
        sets=sets,
        traffic_bytes_per_s=cpus.traffic_bytes_per_s,
        cpu_works=cpus.works,
    )


def _device_name(machine: MachineDocument, device: str) -> str:
    node = next((node for node in machine.nodes if node.id == device), None)
    if isinstance(node, Host):
        packages = [node.name for node in machine.nodes if isinstance(node, Package)]
        return f"{len(packages)} x {packages[0]}" if len(packages) > 1 else packages[0]
    return node.name if node is not None else device


def _memory_bytes(machine: MachineDocument, device: str) -> Estimate | None:
    sizes: list[int] = []
    evidence = "reported by the driver"
    for node in machine.nodes:
        if isinstance(node, Gpu) and node.id == device and node.memory_bytes:
            sizes = [node.memory_bytes]
        elif isinstance(node, Numa) and device == "host" and node.memory_bytes:
            sizes.append(node.memory_bytes)
            evidence = "sum over the NUMA nodes, reported by the kernel"
    if not sizes:
        return None
    total = float(sum(sizes))
    return Estimate(
        value=total, low=total, high=total, source=Source.NOMINAL, n=0, evidence=evidence
    )


def _missing(results: ResultsDocument, readings: Readings) -> tuple[Missing, ...]:
    """List what was not measured, and the numbers this version of the suite cannot give."""
    found = [
        Missing(
            subject=experiment.benchmark,
            fact=experiment.summary,
            reason=experiment.reason or f"the benchmark ended as {experiment.status}",
        )
        for experiment in results.experiments
        if experiment.status in (Status.SKIPPED, Status.FAILED)
    ]
    found += [
        Missing(
            subject=experiment.benchmark,
            fact=series_name(series),
            reason=series.reason or f"the series ended as {series.status}",
        )
        for experiment in results.experiments
        for series in experiment.series
        if series.status in (Status.SKIPPED, Status.FAILED)
    ]
    shared = {reading.text("device") for reading in readings.select("contention.shared")}
    found += [
        Missing(
            subject=f"contention of {device}",
            fact="sharing_exponent",
            reason=f"it takes {MIN_PAIRS} pairs of flows with different transaction sizes, both of "
            "which are slowed",
        )
        for device in sorted(shared)
        if contention.transaction_exponent(readings, device) is None
    ]
    found += [
        Missing(
            subject=device,
            fact="power",
            reason="no power was read beside its streams, matrix products and chases",
        )
        for device in readings.devices()
        if power_law(readings, device) is None
    ]
    return tuple(found)
