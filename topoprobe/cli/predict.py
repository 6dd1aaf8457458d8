"""`topoprobe predict`: what flows side by side would get, without running them."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from topoprobe.cli.options import Quiet
from topoprobe.cli.output import read_input
from topoprobe.cli.predicted import (
    prediction_document,
    prediction_lines,
    trust_lines,
)
from topoprobe.cli.terminal import note, write_lines
from topoprobe.errors import InputError, ModelError, UsageError
from topoprobe.measure.flows import (
    CHUNKED_WORKS,
    LEAST_CHUNK_BYTES,
    Flow,
    FlowSet,
    parse_flow_set,
)
from topoprobe.model.fabric.machines.peers import STAGED

if TYPE_CHECKING:
    from topoprobe.model.fabric.machines.fabric import FlowFabric
    from topoprobe.model.prediction import Prediction, Solver
    from topoprobe.records.calibration import CalibrationDocument
    from topoprobe.records.machine import MachineDocument

_EPILOG = (
    "Examples:\n\n"
    "  topoprobe predict hgx-h100 --flows 'host:0 > gpu:0 | host:0 > gpu:1 | nic:0 > gpu:0, "
    "txn=128'\n\n"
    "  topoprobe predict calibration.json --flow 'gpu:0 > host:0 via ce, size=8GiB' "
    "--flow 'gpu:1 > host:0 via sm, size=8GiB, delay=50ms'\n\n"
    "  topoprobe predict '128 x hgx-h100 : rail 400gb' --flows 'h0/gpu:0 > h3/gpu:0'\n\n"
    "A rate is that of all flows at once. Where some have a size, a duration or a delay, it is the "
    "mean over the time that the flow itself takes, of one without an end over the time beside "
    "others; its slowdown is that of this mean, and it is done after its delay and its bytes, "
    "without start-up, unless its duration ends it before. Flows by cpu need a calibration; their "
    "sizes are of buffers. A rate is 'at most' where the flow crosses something of unknown "
    "capacity; it holds 'if its links are as shown' where NVLinks may be hidden or PCIe links "
    "were read at rest, and may then be higher or lower."
)
_MODELS = ("fluid", "transactions")
# Characters of a set that the line of what comes next repeats.
_MOST_REPEATED = 400
# Sizes that bench takes: whole pages, of files whole blocks.
_PAGE_BYTES, _BLOCK_BYTES = 4096, 256 << 10


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
    fabric, solver, trust = _fabric(machine, flow_set, model)

    from topoprobe.model.prediction import predict

    prediction = predict(fabric, flow_set, solver=solver)
    if as_json:
        document = prediction_document(
            prediction, flow_set, machine=machine, model=model, trust=trust
        )
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        return
    write_lines([*prediction_lines(prediction), *trust])
    can = _can_be_measured(fabric, prediction)
    following = _next_command(machine, flow_set, model, can_be_measured=can)
    if following is not None:
        note(following, quiet=quiet)


def _fabric(name: str, flow_set: FlowSet, model: str) -> tuple[FlowFabric, Solver, tuple[str, ...]]:
    """Return what the flows are asked of, who answers, and how far that can be trusted."""
    from topoprobe.cli.machines import read_machine
    from topoprobe.machine.view import Machine
    from topoprobe.model.fabric.cpus.fabric import CpuFabric
    from topoprobe.model.fabric.cpus.laws import cpu_laws
    from topoprobe.model.fabric.machines.fabric import MachineFabric
    from topoprobe.model.fabric.pods.fabric import PodFabric
    from topoprobe.model.fabric.pods.grammar import is_pod, parse_pod

    if not Path(name).exists() and is_pod(name):
        pod = PodFabric(parse_pod(name), lambda each: Machine(read_machine([each])))
        return pod, _solver(model), ()
    document, calibration = _machine(name)
    machine = Machine(document)
    if any(flow.executor.kind == "cpu" for flow in flow_set.flows):
        laws = None if calibration is None else cpu_laws(calibration)
        if laws is None or calibration is None:
            raise ModelError(
                f"{name} has no laws of what flows by cpu do to each other; give the calibration "
                "of a machine that `topoprobe profile` or `bench --only cpu.contention` measured."
            )
        if model != "fluid":
            raise UsageError(f"--model {model} knows no CPUs; leave it out.")
        cpus = CpuFabric(machine, laws, flow_set)
        return cpus, cpus.solve, tuple(trust_lines(calibration))
    return MachineFabric(machine, calibration), _solver(model), ()


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


def _next_command(
    machine: str, flow_set: FlowSet, model: str, *, can_be_measured: bool
) -> str | None:
    """Say what to run next; None where there is nothing that bench would not refuse."""
    flows = f"--flows {shlex.quote(str(flow_set))}"
    if len(flows) > _MOST_REPEATED:
        flows = "with these flows"
    if can_be_measured:
        return f"next: topoprobe bench {flows}, on that machine, to measure it"
    if model == "fluid":
        return f"next: topoprobe predict {shlex.quote(machine)} {flows} --model transactions"
    return None


def _can_be_measured(fabric: FlowFabric, prediction: Prediction) -> bool:
    """Tell whether bench would take a set: its flows, its GPUs, and how these reach each other."""
    from topoprobe.model.fabric.machines.fabric import MachineFabric
    from topoprobe.records.machine import Gpu

    gpus = fabric.machine.all(Gpu) if isinstance(fabric, MachineFabric) else ()
    return (
        all(gpu.pci_vendor in (None, "10de") for gpu in gpus)
        and all(can_be_measured(one.flow) for one in prediction.flows)
        and all(one.fact != STAGED for one in prediction.assumptions)
    )


def can_be_measured(flow: Flow) -> bool:
    """Tell whether bench measures a flow of this kind, by its text alone."""
    kind, ends = flow.executor.kind, {flow.source.kind, flow.destination.kind}
    if any(end.host is not None for end in (flow.source, flow.destination)):
        return False
    if kind == "nic":
        is_plain = flow.size_bytes is flow.chunk_bytes is flow.cap_bytes_per_s is None
        return ends == {"nic", "host"} and is_plain
    if kind == "nvme":
        return ends == {"nvme", "host"} and _are_whole(
            _BLOCK_BYTES, flow.txn_bytes, flow.chunk_bytes
        )
    sizes = flow.size_bytes, flow.chunk_bytes
    least_bytes = LEAST_CHUNK_BYTES if kind == "cpu" and flow.work in CHUNKED_WORKS else 0
    if any(size < least_bytes for size in sizes if size is not None):
        return False
    return ends <= {"host", "gpu", "core"} and _are_whole(_PAGE_BYTES, *sizes)


def _are_whole(unit_bytes: int, *sizes: int | None) -> bool:
    return not any(size % unit_bytes for size in sizes if size is not None)
