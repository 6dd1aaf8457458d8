"""Numbers that runs lack: from an earlier calibration, or from data sheets, and marked as such."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from topoprobe.errors import InputError
from topoprobe.machine.sameness import difference
from topoprobe.model.calibration.builtin import nominal_devices, nominal_links
from topoprobe.records.base import Estimate, Record
from topoprobe.records.calibration import (
    CalibrationDocument,
    ComputeRate,
    Contention,
    CpuWork,
    DeviceCalibration,
    FlowSetShare,
    LinkCalibration,
    ModelCost,
    OperatorCost,
    RooflinePoint,
    SlowdownMatrix,
    StorageRate,
    StreamRate,
    SwapLaw,
    SwapRate,
)

T = TypeVar("T", bound=Record)

# What makes two entries of a list one quantity. Lists of other entries are taken as a whole: the
# points of a curve belong together.
_KEYS: Mapping[type[Record], Callable[[Any], object]] = {
    DeviceCalibration: lambda one: one.device,
    StreamRate: lambda one: (one.kernel, one.num_threads),
    ComputeRate: lambda one: (one.dtype, one.method, one.num_threads),
    RooflinePoint: lambda one: (one.dtype, one.intensity_flop_per_byte, one.num_threads),
    SwapRate: lambda one: (one.direction, one.layout, one.load, one.block_bytes),
    SwapLaw: lambda one: (one.direction, one.layout),
    StorageRate: lambda one: (one.name, one.operation, one.is_direct, one.block_bytes),
    LinkCalibration: lambda one: one.link,
    Contention: lambda one: one.resource,
    FlowSetShare: lambda one: tuple(share.flow for share in one.flows),
    CpuWork: lambda one: one.work,
    ModelCost: lambda one: (one.model.name, one.model.dtype, one.devices, one.num_threads),
    OperatorCost: lambda one: (one.operator, one.implementation, one.dtype, one.devices),
}
_TAKEN = ("devices", "links", "contention", "models", "operators")


def completed(
    document: CalibrationDocument, base: CalibrationDocument, name: str
) -> CalibrationDocument:
    """Fill in what a calibration lacks from an earlier one of the same machine.

    Parameters
    ----------
    document : CalibrationDocument
        Whose own numbers stay as they are.
    base : CalibrationDocument
        The earlier one. The evidence of what is taken says so.
    name : str
        What evidence and messages call it.

    Raises
    ------
    InputError
        If it is of another machine.
    """
    why = difference(document.machine, base.machine)
    if why is not None:
        raise InputError(
            f"{name} is a calibration of another machine than the results: {why}; give one of the "
            "same machine, or none."
        )
    marked = _marked(base, f"from {name}: ")
    taken = {field: _list(getattr(document, field), getattr(marked, field)) for field in _TAKEN}
    results = (*document.results, *(f"{name}: {run}" for run in base.results))
    return msgspec.structs.replace(document, results=results, **taken)


def supplemented(document: CalibrationDocument) -> CalibrationDocument:
    """Fill in what nobody measured of GPUs and links from data sheets and the links' rates.

    They are nominal. A nominal rate of arithmetic stands only where none was measured in its type.
    """
    sheets = {one.device: one for one in nominal_devices(document.machine)}
    devices = [_supplied(one, sheets.pop(one.device, None)) for one in document.devices]
    rates = {one.link: one for one in nominal_links(document.machine)}
    links = [_entry(one, rates.pop(one.link, None)) for one in document.links]
    return msgspec.structs.replace(
        document,
        devices=(*devices, *sheets.values()),
        links=(*links, *rates.values()),
    )


def _supplied(device: DeviceCalibration, sheet: DeviceCalibration | None) -> DeviceCalibration:
    if sheet is None:
        return device
    known = {rate.dtype for rate in device.compute}
    compute = tuple(rate for rate in sheet.compute if rate.dtype not in known)
    return _filled(device, msgspec.structs.replace(sheet, compute=compute))


def _filled(new: T, base: T) -> T:
    taken: dict[str, Any] = {}
    for field in new.__struct_fields__:
        mine, theirs = getattr(new, field), getattr(base, field)
        if isinstance(mine, tuple) and isinstance(theirs, tuple):
            taken[field] = _list(mine, theirs)
        elif isinstance(mine, SlowdownMatrix) and isinstance(theirs, SlowdownMatrix):
            taken[field] = _matrix(mine, theirs)
        elif mine is None:
            taken[field] = theirs
    return msgspec.structs.replace(new, **taken)


def _list(mine: tuple[Any, ...], theirs: tuple[Any, ...]) -> tuple[Any, ...]:
    if not mine or not theirs:
        return mine or theirs
    key = _KEYS.get(type(mine[0]))
    if key is None:
        return mine
    base = {key(one): one for one in theirs}
    own = tuple(_entry(one, base.pop(key(one), None)) for one in mine)
    return own + tuple(base.values())


def _matrix(mine: SlowdownMatrix, theirs: SlowdownMatrix) -> SlowdownMatrix:
    """Return the cells of both; a pair that both have keeps the cell of the first."""
    cells = _cells(theirs) | _cells(mine)
    flows = tuple(dict.fromkeys(mine.flows + theirs.flows))
    rows = tuple(tuple(cells.get((victim, other)) for other in flows) for victim in flows)
    return SlowdownMatrix(flows=flows, slowdown_victim_aggressor=rows)


def _cells(matrix: SlowdownMatrix) -> dict[tuple[str, str], Estimate]:
    return {
        (victim, aggressor): cell
        for victim, row in zip(matrix.flows, matrix.slowdown_victim_aggressor, strict=True)
        for aggressor, cell in zip(matrix.flows, row, strict=True)
        if cell is not None
    }


def _entry(mine: Any, theirs: Any) -> Any:
    """Fill in a device, a link or a resource; a law or a measured set stands by itself."""
    is_collection = isinstance(mine, DeviceCalibration | LinkCalibration | Contention)
    return _filled(mine, theirs) if is_collection and theirs is not None else mine


def _marked(value: Any, mark: str) -> Any:
    """Return a record with the mark before the evidence of every estimate in it."""
    if isinstance(value, Estimate):
        return msgspec.structs.replace(value, evidence=mark + value.evidence)
    if isinstance(value, tuple):
        return tuple(_marked(one, mark) for one in value)
    if isinstance(value, Record):
        fields = {name: _marked(getattr(value, name), mark) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    return value
