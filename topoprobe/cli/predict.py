"""`topoprobe predict`: what flows side by side would get, without running them."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from topoprobe.cli.options import Quiet
from topoprobe.cli.output import read_input
from topoprobe.cli.terminal import note, write_lines
from topoprobe.errors import InputError, ModelError, UsageError
from topoprobe.measure.flows import FlowSet, Work, parse_flow_set
from topoprobe.units import format_rate, format_seconds

if TYPE_CHECKING:
    from topoprobe.model.fabric.machines import FlowFabric
    from topoprobe.model.prediction import FlowPrediction, Prediction, Solver
    from topoprobe.records.calibration import CalibrationDocument
    from topoprobe.records.machine import MachineDocument

_EPILOG = (
    "Examples:\n\n"
    "  topoprobe predict hgx-h100 --flows 'host:0 > gpu:0 | host:0 > gpu:1 | nic:0 > gpu:0, "
    "txn=128'\n\n"
    "  topoprobe predict calibration.json --flow 'gpu:0 > host:0 via ce, size=8GiB' "
    "--flow 'gpu:1 > host:0 via sm, size=8GiB, delay=50ms'\n\n"
    "  topoprobe predict '128 x hgx-h100 : rail 400gb' --flows 'h0/gpu:0 > h3/gpu:0'"
)
_MODELS = ("fluid", "transactions")
_SLOWED_RATIO = 1.02
# What CPUs do counts in its own unit, under the names that scripts know.
_UNITS = {Work.GEMM: "flop_per_s", Work.CHASE: "per_s"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", epilog=_EPILOG)(run)


def run(
    machine: Annotated[
        str,
        typer.Argument(
            metavar="CALIBRATION_OR_MACHINE",
            help="A calibration; or a machine document, a recording, the name or short text of a "
            "made-up machine, or a pod of them, all with nominal capacities.",
        ),
    ],
    flows: Annotated[
        list[str] | None,
        typer.Option(
            "--flows",
            "--flow",
            help="The concurrent set: 'END > END via EXECUTOR | ...'; repeated options run "
            "together.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="fluid (fair rates at once) or transactions (packet by packet, where small ones "
            "matter).",
        ),
    ] = "fluid",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Say what flows side by side would get, what holds each back, and why."""
    if not flows:
        raise UsageError(
            "There are no flows to predict; add --flows 'host:0 > gpu:0 | host:0 > gpu:1'."
        )
    if model not in _MODELS:
        raise UsageError(f"--model {model} is unknown; expected {' or '.join(_MODELS)}.")
    flow_set = parse_flow_set(" | ".join(flows))
    fabric, solver = _fabric(machine, flow_set, model)

    from topoprobe.model.prediction import predict

    prediction = predict(fabric, flow_set, solver=solver)
    if as_json:
        sys.stdout.write(json.dumps(_document(prediction, model), indent=1) + "\n")
        return
    write_lines(_lines(prediction))
    note(_next_command(machine, flow_set, model), quiet=quiet)


def _fabric(name: str, flow_set: FlowSet, model: str) -> tuple[FlowFabric, Solver]:
    """Return what the flows are asked of, and who answers."""
    from topoprobe.cli.machines import read_machine
    from topoprobe.machine.view import Machine
    from topoprobe.model.fabric.cpu_fabric import CpuFabric
    from topoprobe.model.fabric.cpus import cpu_laws
    from topoprobe.model.fabric.machines import MachineFabric
    from topoprobe.model.fabric.pod_grammar import is_pod, parse_pod
    from topoprobe.model.fabric.pods import PodFabric

    if not Path(name).exists() and is_pod(name):
        pod = PodFabric(parse_pod(name), lambda each: Machine(read_machine([each])))
        return pod, _solver(model)
    document, calibration = _machine(name)
    machine = Machine(document)
    if any(flow.executor.kind == "cpu" for flow in flow_set.flows):
        laws = None if calibration is None else cpu_laws(calibration)
        if laws is None:
            raise ModelError(
                f"{name} has no laws of what flows by cpu do to each other; give the calibration "
                "of a machine that `topoprobe profile` or `bench --only cpu.contention` measured."
            )
        if model != "fluid":
            raise UsageError(f"--model {model} knows no CPUs; leave it out.")
        cpus = CpuFabric(machine, laws, flow_set)
        return cpus, cpus.solve
    return MachineFabric(machine, calibration), _solver(model)


def _solver(model: str) -> Solver:
    from topoprobe.model.fabric.fluid import solve
    from topoprobe.model.prediction import packet_solver

    if model == "fluid":
        return solve
    from topoprobe.measure.devices.cpu.fabric import event_loop

    return packet_solver(event_loop())


def _machine(name: str) -> tuple[MachineDocument, CalibrationDocument | None]:
    """Read a calibration with its machine, or a machine that nobody measured."""
    from topoprobe.cli.machines import read_machine
    from topoprobe.records.calibration import CalibrationDocument
    from topoprobe.records.documents import decode
    from topoprobe.records.machine import MachineDocument

    if name != "-" and not Path(name).is_file():
        return read_machine([name]), None
    data = read_input(name)
    if name != "-" and b'"topoprobe.' not in data[:4096]:
        return read_machine([name]), None
    document = decode(data, name)
    if isinstance(document, CalibrationDocument):
        return document.machine, document
    if isinstance(document, MachineDocument):
        return document, None
    raise InputError(
        f"{name} holds no capacities; expected a calibration (topoprobe calibrate {name} -o "
        "calibration.json makes one of results) or a machine document."
    )


def _next_command(machine: str, flow_set: FlowSet, model: str) -> str:
    flows = shlex.quote(str(flow_set))
    if any(flow.source.host is not None for flow in flow_set.flows):
        other = "transactions" if model == "fluid" else "fluid"
        return f"next: topoprobe predict {shlex.quote(machine)} --flows {flows} --model {other}"
    return f"next: topoprobe bench --flows {flows}, on that machine, to measure it"


def _document(prediction: Prediction, model: str) -> dict[str, Any]:
    return {
        "model": model,
        "flows": [_flow_record(one) for one in prediction.flows],
        "jain_ratio": prediction.jain_ratio,
        "wire_jain_ratio": prediction.wire_jain_ratio,
        "aggregate_bytes_per_s": prediction.aggregate_bytes_per_s,
        "bottlenecks": [
            {
                "id": one.id,
                "kind": str(one.kind),
                "capacity_per_s": one.capacity_per_s,
                "source": str(one.source),
                "evidence": one.evidence,
            }
            for one in prediction.bottlenecks
        ],
        "unknown": [
            {"subject": one.subject, "fact": one.fact, "reason": one.reason}
            for one in prediction.assumptions
        ],
    }


def _flow_record(one: FlowPrediction) -> dict[str, Any]:
    record: dict[str, Any] = {
        "src": str(one.flow.source),
        "dst": str(one.flow.destination),
        "executor": str(one.flow.executor),
        "rate_bytes_per_s": one.rate_bytes_per_s,
        "solo_bytes_per_s": one.solo_bytes_per_s,
        "unit": _UNITS.get(one.flow.work, "bytes_per_s"),
        "slowdown": one.slowdown_ratio,
        "bottleneck": one.bottleneck,
        "why": one.why,
    }
    if one.completion_s is not None:
        record["completion_s"] = one.completion_s
    return record


def _lines(prediction: Prediction) -> list[str]:
    lines = [_headline(prediction)]
    for number, one in enumerate(prediction.flows, start=1):
        change = f", x{one.slowdown_ratio:.2f} slower" if _is_slowed(one) else ""
        ends = (
            "" if one.completion_s is None else f", done after {format_seconds(one.completion_s)}"
        )
        lines += [
            f"flow {number}  {one.flow}",
            f"        {_rate(one, one.rate_bytes_per_s)} of {_rate(one, one.solo_bytes_per_s)} "
            f"alone{change}{ends}",
            f"        {one.why}",
        ]
    lines.append(_fairness(prediction))
    evidence = dict.fromkeys((one.source, one.evidence) for one in prediction.bottlenecks)
    lines += [f"{source} capacity: {text}" for source, text in evidence]
    lines += [f"taken not to limit: {one.subject}, {one.reason}" for one in prediction.assumptions]
    return lines


def _fairness(prediction: Prediction) -> str:
    kept = f"fairness of what each keeps: Jain {prediction.jain_ratio:.3f}"
    if any(one.flow.executor.kind == "cpu" for one in prediction.flows):
        return kept
    return (
        f"together {format_rate(prediction.aggregate_bytes_per_s)}; {kept}; of bytes on the wire: "
        f"Jain {prediction.wire_jain_ratio:.3f}"
    )


def _rate(one: FlowPrediction, per_s: float) -> str:
    from topoprobe.cli.measured import rate_text

    return rate_text(str(one.flow), per_s)


def _headline(prediction: Prediction) -> str:
    slowed = [one for one in prediction.flows if _is_slowed(one)]
    if not slowed:
        return "No flow slows another one: each goes as fast as it would alone."
    worst = max(slowed, key=lambda one: one.slowdown_ratio)
    number = prediction.flows.index(worst) + 1
    count = len(slowed)
    return (
        f"{count} of {len(prediction.flows)} flows are slowed; flow {number} most, by "
        f"x{worst.slowdown_ratio:.2f}: cap or delay the others, or give it a way around "
        f"{worst.bottleneck_words or 'what it shares'}."
    )


def _is_slowed(one: FlowPrediction) -> bool:
    return one.slowdown_ratio > _SLOWED_RATIO
