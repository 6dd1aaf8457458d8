"""What PCIe packets cost, told by rates: the wire's efficiency and the payload of a copy's packets.

A direction whose lanes carry R gets ``R * eta * P / (P + h)`` with packets of P bytes and h bytes
around each. Kernels choose P by the width of their accesses, copy engines do not tell it. So the
widest-running kernel tells eta, and with it the largest copy tells P. Where no kernel was timed by
access size eta is taken from the literature; where a copy then beats any likely packet, P is taken
from there instead and eta told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from topoprobe.machine.pcie import capability_of_generation, generation_of
from topoprobe.measure.evidence import typical
from topoprobe.measure.flows import parse_flow_set
from topoprobe.model.calibration.readings import Reading, Readings, combined
from topoprobe.model.fabric.machines.payloads import (
    KERNEL_PAYLOAD_BYTES,
    LAST_FRAMED,
    PCIE_PAYLOAD_BYTES,
)
from topoprobe.model.fabric.packets import EFFICIENCY, FLIT_EFFICIENCY, FRAMED, IN_FLITS
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import PacketLaw
from topoprobe.records.machine import Link

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

MOST_PAYLOAD_BYTES = 4096
"""No packet has more [pcie-base]."""
LIKELY_PAYLOAD_BYTES = 512
"""Firmware sets 256, now and then 512: where only more would explain a copy, the wire's efficiency
is better than usual."""


def packet_law(
    link: Link, readings: Readings, direction: Literal["a_to_b", "b_to_a"], name: str
) -> PacketLaw | None:
    """Fit what packets of one direction cost.

    Parameters
    ----------
    link : Link
        Above the device that copies.
    readings : Readings
        With its copies, and kernels by access size if there are any.
    direction : str
        Of the link.
    name : str
        Series of the copies in that direction.

    Returns
    -------
    PacketLaw or None
        None where nobody tells the link's rate, or copies are faster than its lanes.
    """
    copies = readings.select(name, device=link.b)
    if not copies:
        return None
    largest = max(copies, key=lambda reading: reading.number("num_bytes"))
    wire = _wire(link, largest)
    if wire is None:
        return None
    wire_bytes_per_s, generation = wire
    overhead = FRAMED if generation <= LAST_FRAMED else IN_FLITS
    is_read = direction == "a_to_b"
    header_bytes = overhead.completion_bytes if is_read else overhead.write_bytes
    kernels = _kernels(readings, link.b, is_read)
    fit = _Fit(wire_bytes_per_s, header_bytes, largest, kernels, generation <= LAST_FRAMED)
    efficiency, payload = fit.estimates()
    if not 0.0 < efficiency.value <= 1.0:
        return None
    return PacketLaw(
        direction=direction,
        wire_bytes_per_s=wire_bytes_per_s,
        header_bytes=header_bytes,
        efficiency_ratio=efficiency,
        payload_bytes=payload,
    )


def _wire(link: Link, copy: Reading) -> tuple[float, int] | None:
    """Return the rate of the lanes and their generation: under load, else as they can be."""
    number = typical(copy.told, lambda one: one.pcie_generation)
    num_lanes = typical(copy.told, lambda one: one.pcie_num_lanes)
    if number is not None and num_lanes is not None:
        carried = capability_of_generation(int(number), int(num_lanes))
        if carried is not None and carried.bandwidth_bytes_per_s is not None:
            return carried.bandwidth_bytes_per_s, int(number)
    for capability in (link.nominal, link.current):
        if capability is not None and capability.bandwidth_bytes_per_s is not None:
            generation = generation_of(capability.transfers_per_s)
            known = LAST_FRAMED if generation is None else generation.number
            return capability.bandwidth_bytes_per_s, known
    return None


def _kernels(readings: Readings, gpu: str, is_read: bool) -> list[Reading]:
    """Return kernels alone that read the host's memory, or write it, by accesses of one size."""
    found = []
    for reading in readings.select("contention.solo"):
        (flow,) = parse_flow_set(reading.text("flow")).flows
        end, host = flow.destination, flow.source
        if not is_read:
            end, host = host, end
        is_by_size = flow.executor.kind == "sm" and flow.txn_bytes is not None
        if is_by_size and host.kind == "host" and str(end) == gpu:
            found.append(reading)
    return found


class _Fit:
    """Rates of one direction, and what they tell."""

    def __init__(
        self,
        wire_bytes_per_s: float,
        header_bytes: int,
        copy: Reading,
        kernels: list[Reading],
        is_framed: bool,
    ) -> None:
        self._wire = wire_bytes_per_s
        self._header = header_bytes
        self._copy = copy
        self._kernels = kernels
        self._default = EFFICIENCY if is_framed else FLIT_EFFICIENCY

    def estimates(self) -> tuple[Estimate, Estimate]:
        """Return the efficiency and the payload."""
        efficiency, most_bytes = self._efficiency_by_kernels(), MOST_PAYLOAD_BYTES
        if efficiency is None:
            efficiency = _nominal(self._default, "what adapters and GPUs leave [pcie-bench]")
            most_bytes = LIKELY_PAYLOAD_BYTES
        if self._copy.median < self._rate(efficiency.value, most_bytes):
            return efficiency, self._payload(efficiency)
        evidence = "what firmware of servers sets nearly everywhere"
        return self._efficiency_by_copy(), _nominal(float(PCIE_PAYLOAD_BYTES), evidence)

    def _rate(self, efficiency_ratio: float, payload_bytes: float) -> float:
        share = payload_bytes / (payload_bytes + self._header)
        return self._wire * efficiency_ratio * share

    def _efficiency_by_kernels(self) -> Estimate | None:
        import numpy as np

        if not self._kernels:
            return None
        payloads = np.array([_payload_of(reading) for reading in self._kernels])
        carried = (payloads + self._header) / payloads / self._wire

        def most(*rates: Array) -> Array:
            medians = np.stack([np.median(rate, axis=-1) for rate in rates], axis=-1)
            return np.asarray((medians * carried).max(axis=-1))

        found = combined(
            most,
            self._kernels,
            evidence=f"the most bytes that kernels of {len(set(payloads))} access sizes put on "
            "the wire",
            source=Source.DERIVED,
        )
        return found if found.value <= 1.0 else None

    def _payload(self, efficiency: Estimate) -> Estimate:
        """Return P of ``rate = R * eta * P / (P + h)`` for the largest copy."""
        import numpy as np

        carried = self._wire * efficiency.value

        def payload(rates: Array) -> Array:
            rate = np.median(rates, axis=-1)
            spare = np.maximum(carried - rate, carried / MOST_PAYLOAD_BYTES)
            return np.asarray(self._header * rate / spare)

        return combined(
            payload,
            [self._copy],
            evidence=f"{self._copy.evidence}, with an efficiency of {efficiency.value:.3f}",
            source=Source.DERIVED,
        )

    def _efficiency_by_copy(self) -> Estimate:
        import numpy as np

        full = self._rate(1.0, PCIE_PAYLOAD_BYTES)
        return combined(
            lambda rates: np.asarray(np.median(rates, axis=-1) / full),
            [self._copy],
            evidence=f"{self._copy.evidence}, with packets of {PCIE_PAYLOAD_BYTES} bytes",
            source=Source.DERIVED,
        )


def _payload_of(reading: Reading) -> float:
    (flow,) = parse_flow_set(reading.text("flow")).flows
    return float(min(flow.txn_bytes or KERNEL_PAYLOAD_BYTES, KERNEL_PAYLOAD_BYTES))


def _nominal(value: float, evidence: str) -> Estimate:
    return Estimate(
        value=value, low=value, high=value, source=Source.NOMINAL, n=0, evidence=evidence
    )
