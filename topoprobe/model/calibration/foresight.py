"""Slowdowns that were foretold beside those that were measured."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.records.base import Estimate
from topoprobe.records.calibration import Contention


@dataclass(frozen=True, slots=True)
class Foresight:
    """One flow of a concurrent set.

    Attributes
    ----------
    flow, flows : str
        Its text, and that of all flows of its set.
    num_flows : int
        How many these are.
    predicted : float
        Slowdown by laws fitted to sets of other kinds.
    measured : Estimate
        Slowdown in the common window.
    """

    flow: str
    flows: str
    num_flows: int
    predicted: float
    measured: Estimate

    @property
    def error_ratio(self) -> float:
        """Predicted over measured, minus 1."""
        return self.predicted / self.measured.value - 1.0


def foresights(contention: Contention) -> tuple[Foresight, ...]:
    """Return all flows whose slowdown was foretold."""
    return tuple(
        Foresight(
            share.flow,
            " | ".join(each.flow for each in one.flows),
            len(one.flows),
            share.predicted_slowdown_ratio,
            share.slowdown_ratio,
        )
        for one in contention.sets
        for share in one.flows
        if share.predicted_slowdown_ratio is not None
    )
