"""What is known about a link: its shape, what was measured, and whether that is as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from topoprobe.machine.pcie import generation_of
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import LinkCalibration
from topoprobe.records.machine import Capability, Link, LinkKind
from topoprobe.units import format_rate

from .drawing.layout import Wire
from .quantity import Quantity, quantity, tip

# What a healthy PCIe link gives is 0.85-0.9 of its nominal rate after packet headers.
GOOD_RATIO, FAIR_RATIO = 0.8, 0.6

_KINDS = {
    LinkKind.PCIE: "PCIe",
    LinkKind.NVLINK: "NVLink",
    LinkKind.XGMI: "xGMI",
    LinkKind.XELINK: "Xe Link",
    LinkKind.C2C: "C2C",
    LinkKind.INTER_SOCKET: "between sockets",
}


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One line of the table of links."""

    name: str
    kind: str
    nominal: str
    current: str
    measured: Quantity | None
    share: str


@dataclass(frozen=True, slots=True)
class LinkBook:
    """Links of a machine beside what was measured on them.

    Attributes
    ----------
    names : mapping
        Node id to short name.
    measured : mapping
        Link id to calibration.
    """

    names: Mapping[str, str]
    measured: Mapping[str, LinkCalibration]

    def wire(self, link: Link) -> Wire:
        """Return how a link is drawn above a box."""
        rate, nominal, now = self.rate(link), _bandwidth(link.nominal), _bandwidth(link.current)
        parts = [shape(link)] if shape(link) else []
        if rate is not None:
            parts.append(format_rate(rate.value))
        elif nominal is not None:
            parts.append(f"≤ {format_rate(nominal)}")
        elif now is not None:
            parts += [format_rate(now), "when read"]
        return Wire(tuple(parts) or ("link unknown",), self.tip(link), self.health(link))

    def rate(self, link: Link) -> Estimate | None:
        """Return the measured rate away from the CPU, or else towards it."""
        return next(iter(self._rates(link)), None)

    def _rates(self, link: Link) -> list[Estimate]:
        """Return the rates of both directions, but for nominal ones: those are the link's own."""
        found = self.measured.get(link.id)
        rates = () if found is None else (found.a_to_b_bytes_per_s, found.b_to_a_bytes_per_s)
        return [rate for rate in rates if rate is not None and rate.source is not Source.NOMINAL]

    def health(self, link: Link) -> str:
        """Return ``good``, ``fair`` or ``poor`` by the slower direction, or ``unmeasured``."""
        if is_narrowed(link):
            return "poor"
        known, nominal = [rate.value for rate in self._rates(link)], _bandwidth(link.nominal)
        if not known or nominal is None:
            return "unmeasured"
        share = min(known) / nominal
        return "good" if share >= GOOD_RATIO else "fair" if share >= FAIR_RATIO else "poor"

    def tip(self, link: Link) -> str:
        """Return all that is known about a link, in lines."""
        lines = [f"{self._name(link.a)} to {self._name(link.b)}: {kind_name(link)}"]
        if link.nominal is not None:
            lines.append(f"nominal {_capability(link.nominal)}")
        if link.current is not None:
            lines.append(f"when read {_capability(link.current)} (an idle link may be slower)")
        found = self.measured.get(link.id)
        if found is None or self.rate(link) is None:
            return "\n".join([*lines, "not measured"])
        for word, rate in (
            ("forward", found.a_to_b_bytes_per_s),
            ("back", found.b_to_a_bytes_per_s),
            ("both at once", found.both_bytes_per_s),
        ):
            if rate is not None:
                lines.append(f"{word}: {tip(rate, 'bytes_per_s')}")
        return "\n".join(lines)

    def row(self, link: Link) -> LinkRow:
        """Return the line of a link in the table."""
        rate, nominal = self.rate(link), _bandwidth(link.nominal)
        return LinkRow(
            name=f"{self._name(link.a)} → {self._name(link.b)}",
            kind=kind_name(link),
            nominal=_capability(link.nominal),
            current=_capability(link.current),
            measured=None if rate is None else quantity(rate, "bytes_per_s"),
            share=f"{rate.value / nominal:.2f}" if rate is not None and nominal else "",
        )

    def _name(self, node_id: str) -> str:
        return self.names.get(node_id, node_id)


def is_narrowed(link: Link) -> bool:
    """Tell whether fewer lanes were negotiated than both ends have; idling never does that."""
    lanes = link.nominal.num_lanes if link.nominal is not None else None
    now = link.current.num_lanes if link.current is not None else None
    return lanes is not None and now is not None and now < lanes


def shape(link: Link) -> str:
    """Write width and generation, as ``x16 Gen5`` or ``x8 of x16 Gen4``; empty where unknown."""
    if link.nominal is None:
        return ""
    lanes = f"x{link.nominal.num_lanes}" if link.nominal.num_lanes else ""
    if is_narrowed(link) and link.current is not None:
        lanes = f"x{link.current.num_lanes} of {lanes}"
    generation = generation_of(link.nominal.transfers_per_s)
    return f"{lanes} {f'Gen{generation.number}' if generation else ''}".strip()


def kind_name(link: Link) -> str:
    """Name a link's technology, with the number of bundled links."""
    name = _KINDS.get(link.kind, link.kind.value)
    return f"{name} × {link.count}" if link.count > 1 else name


def _bandwidth(capability: Capability | None) -> float | None:
    return capability.bandwidth_bytes_per_s if capability is not None else None


def _capability(capability: Capability | None) -> str:
    if capability is None:
        return "unknown"
    generation = generation_of(capability.transfers_per_s)
    parts = [f"x{capability.num_lanes}"] if capability.num_lanes else []
    parts += [f"Gen{generation.number}"] if generation else []
    if capability.bandwidth_bytes_per_s:
        parts.append(format_rate(capability.bandwidth_bytes_per_s))
    return " ".join(parts) or "unknown"
