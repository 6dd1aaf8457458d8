"""Results of a made-up server with eight GPUs and two sockets, with known answers."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.model.calibration.samples import TOOL, results, series
from topoprobe.machine.sources.scan import make_up
from topoprobe.model.calibration.build import calibrate
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.machine import Gpu, LinkKind, MachineDocument
from topoprobe.records.results import Conditions, ResultsDocument, Series


def server() -> MachineDocument:
    """The built-in machine."""
    made = make_up("hgx-h100")
    assert made is not None
    return made


GPU = next(node.id for node in server().nodes if isinstance(node, Gpu))
LINK = next(link.id for link in server().links if link.b == GPU and link.kind is LinkKind.PCIE)
GEN5_X16 = Conditions(pcie_generation=5, pcie_num_lanes=16)
WIRE_BYTES_PER_S = 63.015384615e9


def beside(
    name: str,
    value: float,
    unit: str = "bytes_per_s",
    conditions: Conditions = GEN5_X16,
    **factors: Any,
) -> Series:
    """A series of the first GPU, with the same conditions beside all samples."""
    made = series(name, value, unit, **{"device": GPU, **factors})
    samples = tuple(msgspec.structs.replace(one, conditions=conditions) for one in made.samples)
    return msgspec.structs.replace(made, samples=samples)


def documented(*members: Series, machine: MachineDocument | None = None) -> ResultsDocument:
    """Results of the server."""
    return msgspec.structs.replace(results(*members), machine=machine or server())


def calibrated(*members: Series) -> CalibrationDocument:
    """The calibration of results of the server."""
    return calibrate(documented(*members), tool=TOOL)


def flows_of(text: str, solos: tuple[float, ...], shareds: tuple[float, ...]) -> list[Series]:
    """A concurrent set of the first GPU, each flow alone and all together."""
    flows = [part.strip() for part in text.split("|")]
    alone = [
        series("contention.solo", rate, device=GPU, set=flow, flow=flow, index=0)
        for flow, rate in zip(flows, solos, strict=True)
    ]
    together = [
        series("contention.shared", rate, device=GPU, set=text, flow=flow, index=index)
        for index, (flow, rate) in enumerate(zip(flows, shareds, strict=True))
    ]
    return [*alone, *together]
