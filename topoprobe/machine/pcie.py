"""PCI Express speeds: generations, line encoding, and the bandwidth that is left after it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from topoprobe.records.machine import Capability


class Generation(NamedTuple):
    """One generation of PCI Express."""

    number: int
    transfers_per_s: float
    encoding: float

    @property
    def lane_bytes_per_s(self) -> float:
        """Bytes per second of one lane in one direction, before packet headers."""
        return self.transfers_per_s * self.encoding / 8


# Gen1-2 send 8 bits as 10, Gen3-5 send 128 as 130, Gen6 and later send FLITs of which 242 bytes in
# 256 are left [pcie-base].
GENERATIONS = (
    Generation(1, 2.5e9, 8 / 10),
    Generation(2, 5e9, 8 / 10),
    Generation(3, 8e9, 128 / 130),
    Generation(4, 16e9, 128 / 130),
    Generation(5, 32e9, 128 / 130),
    Generation(6, 64e9, 242 / 256),
    Generation(7, 128e9, 242 / 256),
)
LANE_COUNTS = (1, 2, 4, 8, 12, 16, 32)
_MAX_GIGATRANSFERS = 1e6
_SPEED = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*GT/s(?:\s+PCIe)?\s*", re.IGNORECASE)


def parse_speed(text: str) -> float | None:
    """Read a signalling rate as Linux and NCCL write it.

    Parameters
    ----------
    text : str
        ``8 GT/s`` (kernels up to 5.6), ``8.0 GT/s PCIe`` (later ones), ``Unknown``, or empty.

    Returns
    -------
    float or None
        Transfers per second of a lane; None where the text does not tell.
    """
    match = _SPEED.fullmatch(text)
    return float(match[1]) * 1e9 if match and 0 < float(match[1]) < _MAX_GIGATRANSFERS else None


def parse_width(text: str) -> int | None:
    """Read a number of lanes; 0 (virtual functions), 63 and 255 (dead devices) mean unknown."""
    text = text.strip().lower().removeprefix("x")
    return int(text) if text.isdecimal() and int(text) in LANE_COUNTS else None


def generation_of(transfers_per_s: float | None) -> Generation | None:
    """Return the generation with this signalling rate, or None."""
    if transfers_per_s is None:
        return None
    return next(
        (g for g in GENERATIONS if abs(g.transfers_per_s / transfers_per_s - 1) < 0.01), None
    )


def capability(transfers_per_s: float | None, num_lanes: int | None) -> Capability | None:
    """Return what so many lanes at this rate carry; None where nothing is known.

    The bandwidth is left out unless both are known.
    """
    if transfers_per_s is None and num_lanes is None:
        return None
    generation = generation_of(transfers_per_s)
    return Capability(
        bandwidth_bytes_per_s=(
            generation.lane_bytes_per_s * num_lanes if generation and num_lanes else None
        ),
        transfers_per_s=transfers_per_s,
        num_lanes=num_lanes,
    )


def capability_of_generation(number: int | None, num_lanes: int | None) -> Capability | None:
    """Return what so many lanes of a generation carry, as NVML tells them."""
    rate = next((g.transfers_per_s for g in GENERATIONS if g.number == number), None)
    return capability(rate, num_lanes)


def lesser(one: Capability | None, other: Capability | None) -> Capability | None:
    """Return what a link between two ports carries: the lower rate on the fewer lanes."""
    if one is None or other is None:
        return one or other
    rate = _least(one.transfers_per_s, other.transfers_per_s)
    lanes = _least(one.num_lanes, other.num_lanes)
    joint = capability(rate, None if lanes is None else int(lanes))
    if joint is not None and joint.bandwidth_bytes_per_s is not None:
        return joint
    bandwidth = _least(one.bandwidth_bytes_per_s, other.bandwidth_bytes_per_s)
    return Capability(
        bandwidth_bytes_per_s=bandwidth,
        transfers_per_s=rate,
        num_lanes=None if lanes is None else int(lanes),
    )


class Reading(NamedTuple):
    """A bandwidth figure brought back to what PCI Express can be; `slip` says what was wrong."""

    capability: Capability
    slip: str | None


@lru_cache(maxsize=256)  # a file has few figures, each on many links
def read_bandwidth(bytes_per_s: float) -> Reading | None:
    """Interpret a bandwidth figure that came without rate and width, as in hwloc's files.

    A figure may fit several generations and widths (Gen3 x16 is Gen4 x8), which then stay
    unknown. Two slips of such files are repaired and reported: Gen2 computed with Gen3's encoding
    (0.615385 GB/s per lane, where 0.5 is right), and rounded vendor figures (31 for 31.508).

    Returns
    -------
    Reading or None
        None for a figure of zero, which means unknown.
    """
    if bytes_per_s <= 0:
        return None
    for lanes in LANE_COUNTS:
        if _close(bytes_per_s, 5e9 * 128 / 130 / 8 * lanes, 1e-4):
            right = capability(5e9, lanes)
            if right is not None:
                return Reading(right, "Gen2 computed with the line encoding of Gen3")
    exact = _fits(bytes_per_s, 1e-4)
    if exact:
        return Reading(_common(exact), None)
    near = _fits(bytes_per_s, 0.02)
    if near:
        return Reading(_common(near), "a rounded figure that no PCIe link has")
    return Reading(Capability(bandwidth_bytes_per_s=bytes_per_s), "no PCIe link has this figure")


def describe(what: Capability | None) -> str:
    """Write a capability for people, as ``Gen4 x16``; empty where rate and width are unknown."""
    if what is None:
        return ""
    generation = generation_of(what.transfers_per_s)
    words = [f"Gen{generation.number}"] if generation else []
    if what.num_lanes is not None:
        words.append(f"x{what.num_lanes}")
    return " ".join(words)


def _fits(bytes_per_s: float, tolerance: float) -> list[Capability]:
    found = []
    for generation in GENERATIONS:
        for lanes in LANE_COUNTS:
            fit = capability(generation.transfers_per_s, lanes)
            if fit and _close(bytes_per_s, generation.lane_bytes_per_s * lanes, tolerance):
                found.append(fit)
    return found


def _common(fits: list[Capability]) -> Capability:
    """Return the only fit, or what several share: their bandwidth."""
    if len(fits) == 1:
        return fits[0]
    return Capability(bandwidth_bytes_per_s=fits[0].bandwidth_bytes_per_s)


def _close(value: float, target: float, tolerance: float) -> bool:
    return abs(value / target - 1) < tolerance


def _least(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return min(known, default=None)
