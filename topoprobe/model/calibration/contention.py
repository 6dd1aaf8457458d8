"""What concurrent flows do to each other: slowdowns, Jain's index, the matrix over pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from topoprobe.machine.view import Machine
from topoprobe.measure.bottleneck import Bottleneck, bottleneck
from topoprobe.measure.fairness import HEADER_BYTES
from topoprobe.measure.flows import Flow, parse_flow_set
from topoprobe.measure.sharing import MIN_PAIRS, SizePair, sharing_exponent
from topoprobe.model.calibration.readings import Reading, Readings, combined, measured
from topoprobe.records.base import Estimate
from topoprobe.records.calibration import FlowSetShare, FlowShare, SlowdownMatrix

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]


# A GPU's kernel asks for a cache line at once; a longer access is several.
_LONGEST_ACCESS_BYTES = 128
# A flow that keeps more of its own rate gets what it asks for, not what an arbiter gives it.
_MOST_KEPT_RATIO = 0.95


@dataclass(frozen=True, slots=True)
class MeasuredFlow:
    """A flow of a concurrent set, with its readings alone and together."""

    flow: Flow
    solo: Reading
    shared: Reading
    jitter: Reading | None
    convergence: Reading | None

    @property
    def label(self) -> str:
        """What it does; its whole text where that is no work of a CPU."""
        return self.flow.work if self.flow.executor.kind == "cpu" else str(self.flow)

    @property
    def is_slowed(self) -> bool:
        """Whether the others take something from it."""
        return self.shared.median < _MOST_KEPT_RATIO * self.solo.median

    @property
    def packet_bytes(self) -> int | None:
        """Payload of its PCIe packets, known of kernels alone: they choose what they access."""
        if self.flow.executor.kind != "sm" or self.flow.txn_bytes is None:
            return None
        return min(self.flow.txn_bytes, _LONGEST_ACCESS_BYTES)


def flow_sets(
    readings: Readings,
    device: str,
    machine: Machine,
    predicted: Mapping[str, tuple[float, ...]] | None = None,
) -> tuple[FlowSetShare, ...]:
    """Return every concurrent set of which each flow was measured alone and together.

    Parameters
    ----------
    readings, device, machine : Readings, str, Machine
        What was measured, and whose resource the flows share.
    predicted : mapping of str to tuple of float, optional
        Slowdowns of the flows of some sets, by the set's text.
    """
    shares = []
    for flows in measured_sets(readings, device):
        text = flows[0].shared.text("set")
        told = (predicted or {}).get(text, (None,) * len(flows))
        shares.append(_share(flows, bottleneck(machine, parse_flow_set(text)), told))
    return tuple(shares)


def transaction_exponent(readings: Readings, device: str) -> Estimate | None:
    """Fit how a resource is divided by transaction size, over pairs of flows that name one.

    Reads and writes may be divided differently: of the pairs that come from one kind of end, the
    first kind with enough of them counts. Pairs of which a flow is hardly slowed tell nothing of
    the resource and are left out. None where neither kind has enough.
    """
    pairs: dict[str, list[SizePair]] = {}
    for flows in measured_sets(readings, device):
        sizes = [one.packet_bytes for one in flows]
        kinds = {one.flow.source.kind for one in flows}
        if len(sizes) != 2 or sizes[0] is None or sizes[1] is None or len(kinds) != 1:
            continue
        # Both rates of a window stand at the same place of their series.
        windows = zip(flows[0].shared.values, flows[1].shared.values, strict=False)
        ratios = tuple(first / second for first, second in windows)
        if sizes[0] != sizes[1] and all(one.is_slowed for one in flows):
            pairs.setdefault(kinds.pop(), []).append(SizePair(sizes[0], sizes[1], ratios))
    telling = next((found for found in pairs.values() if len(found) >= MIN_PAIRS), None)
    return None if telling is None else sharing_exponent(telling)


def slowdown_matrix(readings: Readings, device: str) -> SlowdownMatrix | None:
    """Return the slowdown of each victim (row) beside each aggressor (column), over the pairs.

    Rows are named by what the flow does. None where no pair was measured.
    """
    cells: dict[tuple[str, str], Estimate] = {}
    for flows in measured_sets(readings, device):
        if len(flows) == 2:
            first, second = flows
            cells.setdefault((first.label, second.label), _slowdown(first))
            cells.setdefault((second.label, first.label), _slowdown(second))
    labels = tuple(dict.fromkeys(victim for victim, _ in cells))
    if not labels:
        return None
    return SlowdownMatrix(
        flows=labels,
        slowdown_victim_aggressor=tuple(
            tuple(cells.get((victim, aggressor)) for aggressor in labels) for victim in labels
        ),
    )


def measured_sets(readings: Readings, device: str) -> list[list[MeasuredFlow]]:
    """Return the flows of each concurrent set of which each flow was also measured alone."""
    solos = {
        reading.text("flow"): reading
        for reading in readings.select("contention.solo", device=device)
    }
    beside = {
        (name, reading.text("set"), reading.number("index")): reading
        for name in ("contention.jitter", "contention.convergence")
        for reading in readings.select(name, device=device)
    }
    sets = []
    for text, members in _newest_sets(readings, device).items():
        members.sort(key=lambda reading: reading.number("index"))
        flows = parse_flow_set(text).flows
        if len(members) != len(flows):
            continue
        if all(_has_rates(solos.get(member.text("flow")), member) for member in members):
            sets.append(
                [
                    MeasuredFlow(
                        flow,
                        solos[member.text("flow")],
                        member,
                        beside.get(("contention.jitter", text, index)),
                        beside.get(("contention.convergence", text, index)),
                    )
                    for index, (flow, member) in enumerate(zip(flows, members, strict=True))
                ]
            )
    return sets


def _newest_sets(readings: Readings, device: str) -> dict[str, list[Reading]]:
    """Return the readings of each set; of runs with buffers of other sizes, those of the last."""
    sets: dict[str, dict[int, Reading]] = {}
    for reading in readings.select("contention.shared", device=device):
        sets.setdefault(reading.text("set"), {})[reading.number("index")] = reading
    return {text: list(members.values()) for text, members in sets.items()}


def _has_rates(solo: Reading | None, shared: Reading) -> bool:
    """Tell whether a flow moved something in every window; one that starved has no slowdown."""
    return solo is not None and min(*solo.values, *shared.values) > 0.0


def _share(
    flows: list[MeasuredFlow],
    shared_link: Bottleneck | None,
    predicted: Sequence[float | None],
) -> FlowSetShare:
    import numpy as np

    def kept(*arrays: Array) -> Array:
        """Share of the solo rate that each flow keeps, shape (..., num_flows)."""
        medians = [np.median(array, axis=-1) for array in arrays]
        return np.stack(medians[::2], axis=-1) / np.stack(medians[1::2], axis=-1)

    def jain(*arrays: Array) -> Array:
        return _jain(kept(*arrays))

    def max_min(*arrays: Array) -> Array:
        shares = kept(*arrays)
        ratio: Array = shares.max(axis=-1) / shares.min(axis=-1)
        return ratio

    everything = [reading for flow in flows for reading in (flow.shared, flow.solo)]
    evidence = f"{len(flows)} flows in a common window, shared / solo"
    return FlowSetShare(
        flows=tuple(
            FlowShare(
                flow=flow.shared.text("flow"),
                solo_per_s=measured(flow.solo),
                shared_per_s=measured(flow.shared),
                slowdown_ratio=_slowdown(flow),
                jitter_ratio=_measured_if(flow.jitter),
                convergence_s=_measured_if(flow.convergence),
                predicted_slowdown_ratio=foretold,
            )
            for flow, foretold in zip(flows, predicted, strict=True)
        ),
        jain_ratio=combined(jain, everything, evidence=f"Jain's index [jain1984] over {evidence}"),
        max_min_ratio=combined(max_min, everything, evidence=f"largest / least of {evidence}"),
        wire_jain_ratio=_wire_jain(flows),
        bottleneck=None if shared_link is None else shared_link.id,
        bottleneck_ratio=None if shared_link is None else _reached(flows, shared_link),
    )


def _measured_if(reading: Reading | None) -> Estimate | None:
    return None if reading is None else measured(reading)


def _wire_jain(flows: list[MeasuredFlow]) -> Estimate | None:
    """Return Jain's index over rates with packet headers; None where a size is not known."""
    import numpy as np

    sizes = [flow.packet_bytes for flow in flows]
    known = np.array([size for size in sizes if size is not None], dtype=np.float64)
    if len(known) < len(sizes):
        return None

    def jain(*arrays: Array) -> Array:
        rates = np.stack([np.median(array, axis=-1) for array in arrays], axis=-1)
        return _jain(rates * (known + HEADER_BYTES) / known)

    return combined(
        jain,
        [flow.shared for flow in flows],
        evidence=f"Jain's index [jain1984] over rates with {HEADER_BYTES} bytes around each packet",
    )


def _reached(flows: list[MeasuredFlow], shared_link: Bottleneck) -> Estimate:
    """Return what the flows moved over a link together, over its capacity."""
    import numpy as np

    def reached(*arrays: Array) -> Array:
        rates = np.stack([np.median(array, axis=-1) for array in arrays], axis=-1)
        total: Array = (rates * np.array(shared_link.shares)).sum(axis=-1)
        return total / shared_link.capacity_bytes_per_s

    return combined(
        reached,
        [flow.shared for flow in flows],
        evidence=f"sum of the shared rates / nominal capacity of {shared_link.id}",
    )


def _jain(shares: Array) -> Array:
    """Return Jain's index over the last axis."""
    index: Array = shares.sum(axis=-1) ** 2 / (shares.shape[-1] * (shares**2).sum(axis=-1))
    return index


def _slowdown(flow: MeasuredFlow) -> Estimate:
    import numpy as np

    return combined(
        lambda solo, shared: np.median(solo, axis=-1) / np.median(shared, axis=-1),
        [flow.solo, flow.shared],
        evidence=f"solo / shared rate of {flow.shared.text('flow')} in {flow.shared.text('set')}",
    )
