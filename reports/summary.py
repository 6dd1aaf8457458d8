"""The head of the page: what machine this is, when and by what it was read, and its key numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from topoprobe.records.calibration import CalibrationDocument, DeviceCalibration
from topoprobe.records.machine import (
    Gpu,
    Host,
    MachineDocument,
    Nic,
    Numa,
    Nvme,
    Package,
    PcieSwitch,
)
from topoprobe.units import format_bytes, format_value

from .ceilings import best_compute
from .contention import flow_label, slowed_pair
from .prediction import metric_name
from .quantity import format_percent, quantity
from .section import Documents
from .serving import median_throughput, repeats_note


@dataclass(frozen=True, slots=True)
class Card:
    """One big number.

    Attributes
    ----------
    number, unit : str
        Set large, and small beside it.
    label : str
        What it is.
    level : str
        ``plain``, ``good`` or ``bad``: its colour.
    source, tip : str
        Where it comes from and its interval.
    """

    number: str
    unit: str
    label: str
    level: str = "plain"
    source: str = ""
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """Title, description and cards."""

    title: str
    subtitle: str
    facts: tuple[str, ...]
    cards: tuple[Card, ...]


def head(documents: Documents) -> Head:
    """Prepare the head of the page from whatever documents there are."""
    return Head(
        title=_title(documents),
        subtitle=_subtitle(documents.machine),
        facts=_facts(documents),
        cards=tuple(_cards(documents)),
    )


def _title(documents: Documents) -> str:
    machine = documents.machine
    if machine is None:
        return documents.run.model.name if documents.run is not None else "no machine"
    host = next((node for node in machine.nodes if isinstance(node, Host)), None)
    return host.name if host is not None else "unnamed machine"


def _subtitle(machine: MachineDocument | None) -> str:
    if machine is None:
        return ""
    host = next((node for node in machine.nodes if isinstance(node, Host)), None)
    packages = [node for node in machine.nodes if isinstance(node, Package)]
    gpus = [node for node in machine.nodes if isinstance(node, Gpu)]
    memory = sum(node.memory_bytes or 0 for node in machine.nodes if isinstance(node, Numa))
    parts = []
    if gpus:
        parts.append(_times(len(gpus), gpus[0].model or gpus[0].name))
    if packages:
        parts.append(_times(len(packages), packages[0].name))
    if memory:
        parts.append(f"{format_bytes(memory)} of memory")
    for kind, word in ((Nic, "NIC"), (Nvme, "drive")):
        count = sum(isinstance(node, kind) for node in machine.nodes)
        if count:
            parts.append(f"{count} {word}{'' if count == 1 else 's'}")
    if host is not None and host.is_virtual:
        parts.append(f"virtual machine{f' ({host.virtualization})' if host.virtualization else ''}")
    return " · ".join(parts)


def _times(count: int, name: str) -> str:
    return f"{count} × {name}" if count > 1 else name


def _facts(documents: Documents) -> tuple[str, ...]:
    facts = []
    machine = documents.machine
    if machine is not None:
        host = next((node for node in machine.nodes if isinstance(node, Host)), None)
        facts += [text for text in (host and host.product, host and host.operating_system) if text]
        facts.append(f"{machine.origin} machine, from {', '.join(machine.sources)}")
    dates = [
        ("measured", documents.results.started_at if documents.results else None),
        ("calibrated", documents.calibration.created_at if documents.calibration else None),
        ("run", documents.run.started_at if documents.run else None),
    ]
    if not any(date for _, date in dates) and machine is not None:
        dates = [("captured", machine.captured_at)]
    facts += [f"{word} {_readable(date)}" for word, date in dates if date]
    facts += _tools(documents)
    return tuple(facts)


def _readable(date: str) -> str:
    """Write an ISO date for people: ``2026-11-20 17:40 UTC``; anything else stays as it is."""
    match = re.fullmatch(
        r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?", date
    )
    if match is None:
        return date
    zone = "UTC" if match[3] in ("Z", "+00:00") else match[3] or ""
    return f"{match[1]} {match[2]} {zone}".strip()


def _tools(documents: Documents) -> list[str]:
    """Name every version of the tool that wrote one of the documents."""
    tools = [
        one.tool
        for one in (documents.machine, documents.results, documents.calibration, documents.run)
        if one is not None
    ]
    texts = (
        f"{tool.name} {tool.tool_version}{f' ({tool.revision})' if tool.revision else ''}"
        for tool in tools
    )
    return list(dict.fromkeys(texts))


def _cards(documents: Documents) -> list[Card]:
    cards = _machine_cards(documents.machine)
    if documents.calibration is not None or documents.run is not None:
        cards = cards[:1]  # what was measured is worth more room than what is there
    if documents.calibration is not None:
        cards += _calibration_cards(documents.calibration)
    run = documents.run
    if run is not None:
        rate = median_throughput(run)
        label = f"output tokens/s, {run.model.name}"
        note = repeats_note(len(run.repeats))
        label += f", {note}" if note else ""
        if documents.calibration is None and documents.machine is not None:
            label += ", on a machine that the run does not tell"
        what = f"{run.kind} run of {run.summary.num_finished} requests"
        cards.append(Card(f"{rate:,.0f}", "tok/s", label, source="", tip=what))
        if run.comparisons:
            worst = max(run.comparisons, key=lambda one: abs(one.error_ratio))
            cards.append(
                Card(
                    format_percent(abs(worst.error_ratio)).removesuffix(" %"),
                    "%",
                    f"largest prediction error, {metric_name(worst.metric)}",
                    "good" if all(one.is_within for one in run.comparisons) else "bad",
                    tip=f"predicted {format_value(worst.predicted, worst.unit)}",
                )
            )
    return cards


def _machine_cards(machine: MachineDocument | None) -> list[Card]:
    if machine is None:
        return []
    kinds = ((Gpu, "GPU"), (Nic, "NIC"), (Nvme, "drive"), (PcieSwitch, "PCIe switch"))
    packages = [node for node in machine.nodes if isinstance(node, Package)]
    cores = sum(node.num_cores or 0 for node in packages)
    found = [
        (len([node for node in machine.nodes if isinstance(node, kind)]), word)
        for kind, word in kinds
    ]
    cards = [_count_card(number, word) for number, word in found if number]
    if cores:
        sockets = f"{len(packages)} socket{'' if len(packages) == 1 else 's'}"
        cards.insert(0, Card(str(cores), "", f"CPU cores, {sockets}"))
    return cards


def _count_card(number: int, word: str) -> Card:
    plural = "" if number == 1 else "es" if word.endswith("ch") else "s"
    return Card(str(number), "", f"{word}{plural}")


def _calibration_cards(calibration: CalibrationDocument) -> list[Card]:
    cards = []
    host = next((one for one in calibration.devices if one.kind == "cpu"), None)
    gpu = next((one for one in calibration.devices if one.kind == "gpu"), None)
    for device, word in ((gpu, "GPU"), (host, "host")):
        if device is not None:
            cards += _device_cards(device, word)
    slowdowns = [
        worst
        for item in calibration.contention
        if item.slowdown is not None and (worst := slowed_pair(item.slowdown)) is not None
    ]
    if slowdowns:
        victim, aggressor, slowdown = max(slowdowns, key=lambda one: one[2].low)
        shown = quantity(slowdown, "ratio")
        label = f"worst pair: {flow_label(victim)} beside {flow_label(aggressor)}"
        level = "bad" if slowdown.value >= 1.5 else "plain"
        cards.append(Card(f"×{shown.text}", "slower", label, level, shown.source, shown.tip))
    return cards


def _device_cards(device: DeviceCalibration, word: str) -> list[Card]:
    cards = []
    if device.memory_bandwidth_bytes_per_s is not None:
        shown = quantity(device.memory_bandwidth_bytes_per_s, "bytes_per_s")
        cards.append(_card(shown.text, f"{word} memory, triad", shown.source, shown.tip))
    if device.memory_latency_s is not None and device.kind == "cpu":
        shown = quantity(device.memory_latency_s, "s")
        cards.append(_card(shown.text, f"{word} memory latency", shown.source, shown.tip))
    for dtype in _headline_dtypes(device):
        best = best_compute(device, dtype, "gemm") or best_compute(device, dtype, "fma")
        if best is not None:
            shown = quantity(best.rate_flop_per_s, "flop_per_s")
            how = "matrix product" if best.method == "gemm" else "FMA"
            cards.append(_card(shown.text, f"{word} {dtype}, {how}", shown.source, shown.tip))
    return cards


def _headline_dtypes(device: DeviceCalibration) -> Sequence[str]:
    """Choose the one dtype that people quote for this kind of device."""
    known = {rate.dtype for rate in device.compute}
    wanted = ("bf16", "fp16", "fp32") if device.kind == "gpu" else ("fp32", "fp64")
    return [dtype for dtype in wanted if dtype in known][:1]


def _card(text: str, label: str, source: str, tip: str) -> Card:
    number, _, unit = text.partition(" ")
    return Card(number, unit, label, "plain", source, tip)
