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
from topoprobe.errors import InputError, UsageError
from topoprobe.measure.flows import FlowSet, parse_flow_set
from topoprobe.units import format_rate, format_seconds

if TYPE_CHECKING:
    from topoprobe.model.fabric.machines import FlowFabric
    from topoprobe.model.prediction import FlowPrediction, Prediction, Solver

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
    fabric = _fabric(machine)

    from topoprobe.model.prediction import predict

    prediction = predict(fabric, flow_set, solver=_solver(model))
    if as_json:
        sys.stdout.write(json.dumps(_document(prediction, model), indent=1) + "\n")
        return
    write_lines(_lines(prediction))
    note(_next_command(machine, flow_set, model), quiet=quiet)


def _solver(model: str) -> Solver:
    from topoprobe.model.fabric.fluid import solve
    from topoprobe.model.prediction import packet_solver

    if model == "fluid":
        return solve
    from topoprobe.measure.devices.cpu.fabric import event_loop

    return packet_solver(event_loop())


def _fabric(name: str) -> FlowFabric:
    from topoprobe.cli.machines import read_machine
    from topoprobe.machine.view import Machine
    from topoprobe.model.fabric.machines import MachineFabric
    from topoprobe.model.fabric.pod_grammar import is_pod, parse_pod
    from topoprobe.model.fabric.pods import PodFabric
    from topoprobe.records.calibration import CalibrationDocument
    from topoprobe.records.documents import decode
    from topoprobe.records.machine import MachineDocument

    if not Path(name).exists() and is_pod(name):
        return PodFabric(parse_pod(name), lambda each: Machine(read_machine([each])))
    if name != "-" and not Path(name).is_file():
        return MachineFabric(Machine(read_machine([name])))
    data = read_input(name)
    if name != "-" and b'"topoprobe.' not in data[:4096]:
        return MachineFabric(Machine(read_machine([name])))
    document = decode(data, name)
    if isinstance(document, CalibrationDocument):
        return MachineFabric(Machine(document.machine), document)
    if isinstance(document, MachineDocument):
        return MachineFabric(Machine(document))
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
            f"        {format_rate(one.rate_bytes_per_s)} of {format_rate(one.solo_bytes_per_s)} "
            f"alone{change}{ends}",
            f"        {one.why}",
        ]
    lines.append(
        f"together {format_rate(prediction.aggregate_bytes_per_s)}; fairness of what each keeps: "
        f"Jain {prediction.jain_ratio:.3f}; of bytes on the wire: Jain "
        f"{prediction.wire_jain_ratio:.3f}"
    )
    evidence = dict.fromkeys((one.source, one.evidence) for one in prediction.bottlenecks)
    lines += [f"{source} capacity: {text}" for source, text in evidence]
    lines += [f"taken not to limit: {one.subject}, {one.reason}" for one in prediction.assumptions]
    return lines


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
