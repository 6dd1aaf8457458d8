"""What a GPU's link to the host gives: each direction, both at once, and what its packets cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from topoprobe.measure.flows import Flow
from topoprobe.model.calibration.contention import MeasuredFlow, measured_sets
from topoprobe.model.calibration.packet_laws import packet_law
from topoprobe.model.calibration.readings import Reading, Readings, combined, measured
from topoprobe.model.calibration.swap import fit_alpha_beta
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import EngineShare, LinkCalibration
from topoprobe.records.machine import LinkKind, MachineDocument

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

Direction = Literal["a_to_b", "b_to_a"]
COPIES: dict[Direction, str] = {"a_to_b": "copy.h2d", "b_to_a": "copy.d2h"}
"""Series of copies by direction of the link, whose end `a` is the host's side."""


def link_calibrations(machine: MachineDocument, readings: Readings) -> tuple[LinkCalibration, ...]:
    """Return the PCIe links over which copies between host and GPU were timed."""
    links = []
    for link in machine.links:
        if link.kind is not LinkKind.PCIE:
            continue
        down, up = (copies(readings, link.b, direction) for direction in COPIES)
        if not down and not up:
            continue
        laws = (packet_law(link, readings, one, COPIES[one]) for one in COPIES)
        both, ratio = _duplex(_engine_sets(readings, link.b))
        links.append(
            LinkCalibration(
                link=link.id,
                latency_s=_latency(down),
                b_to_a_latency_s=_latency(up),
                a_to_b_bytes_per_s=measured(down[-1]) if down else None,
                b_to_a_bytes_per_s=measured(up[-1]) if up else None,
                both_bytes_per_s=both,
                duplex_ratio=ratio,
                packet_laws=tuple(law for law in laws if law is not None),
            )
        )
    return tuple(links)


def engine_shares(readings: Readings, device: str) -> tuple[EngineShare, ...]:
    """Return what copies of one GPU at once reach together: of one direction, and both ways."""
    shares: dict[tuple[str, int], EngineShare] = {}
    for flows in _engine_sets(readings, device):
        ways = {_way(one.flow) for one in flows}
        direction: Literal["out", "in", "both"] = "both"
        if len(ways) == 1:
            direction = ways.pop()
        elif len(flows) != 2:
            continue
        share = EngineShare(
            direction=direction,
            num_flows=len(flows),
            together_ratio=combined(
                lambda *arrays: _sum(arrays[::2]) / (_sum(arrays[1::2]) / (len(arrays) / 2)),
                _alternating(flows),
                evidence=f"{len(flows)} copies in a common window over the mean of one alone",
            ),
        )
        shares.setdefault((direction, len(flows)), share)
    return tuple(shares.values())


def copies(readings: Readings, device: str, direction: Direction) -> list[Reading]:
    """Return the copies of one direction by size, the largest last."""
    found = readings.select(COPIES[direction], device=device)
    return sorted(found, key=lambda reading: reading.number("num_bytes"))


def _latency(sizes: list[Reading]) -> Estimate | None:
    """Return the start-up time fitted over the sizes."""
    import numpy as np

    if len(sizes) < 3:
        return None
    num_bytes = np.array([reading.number("num_bytes") for reading in sizes], dtype=np.float64)
    return combined(
        lambda *rates: fit_alpha_beta(
            num_bytes,
            num_bytes / np.stack([np.median(rate, axis=-1) for rate in rates], axis=-1),
        )[0],
        sizes,
        evidence=f"{sizes[0].name} over {len(sizes)} sizes, least relative squares [hockney1994]",
        source=Source.DERIVED,
    )


def _engine_sets(readings: Readings, device: str) -> list[list[MeasuredFlow]]:
    """Return the sets of copies by the engines of one GPU, to and from the host alone."""
    return [
        flows
        for flows in measured_sets(readings, device)
        if all(_is_copy_of(one.flow, device) for one in flows)
    ]


def _is_copy_of(flow: Flow, gpu: str) -> bool:
    kinds = {flow.source.kind, flow.destination.kind}
    ends = {str(flow.source), str(flow.destination)}
    return flow.executor.kind == "ce" and kinds == {"host", "gpu"} and gpu in ends


def _way(flow: Flow) -> Literal["out", "in"]:
    return "in" if flow.destination.kind == "gpu" else "out"


def _duplex(sets: list[list[MeasuredFlow]]) -> tuple[Estimate | None, Estimate | None]:
    """Return what one copy each way moves together, and that over the sum of both alone."""
    pair = next(
        (flows for flows in sets if sorted(_way(one.flow) for one in flows) == ["in", "out"]), None
    )
    if pair is None:
        return None, None
    both = combined(
        lambda *arrays: _sum(arrays),
        [one.shared for one in pair],
        evidence="one copy each way in a common window, together",
    )
    ratio = combined(
        lambda *arrays: _sum(arrays[::2]) / _sum(arrays[1::2]),
        _alternating(pair),
        evidence="one copy each way in a common window over the sum of both alone",
    )
    return both, ratio


def _alternating(flows: list[MeasuredFlow]) -> list[Reading]:
    return [reading for one in flows for reading in (one.shared, one.solo)]


def _sum(arrays: tuple[Array, ...]) -> Array:
    import numpy as np

    total: Array = np.stack([np.median(array, axis=-1) for array in arrays], axis=-1).sum(axis=-1)
    return total
