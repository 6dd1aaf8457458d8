"""Links whose rate is only that of the moment when they were read, and they may have rested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from topoprobe.machine.view import Machine
from topoprobe.model.fabric.demand import Use
from topoprobe.model.fabric.machines.names import called
from topoprobe.model.fabric.resource import Resource
from topoprobe.records.base import Missing, Source
from topoprobe.records.machine import LinkKind

RESTED = "nominal_rate"
"""What is unknown of a link of which nothing but its speed of the moment was read."""


def guesses(
    machine: Machine, resources: Mapping[str, Resource], uses: Sequence[Use]
) -> Iterator[Missing]:
    """Yield the PCIe links of a way whose rate at work may be above the one that was read.

    Parameters
    ----------
    machine : Machine
    resources : mapping of str to Resource
        Where a link was measured, its rate at work is known.
    uses : sequence of Use
        Of resources whose capacity is known.
    """
    nominal = {use.resource for use in uses if resources[use.resource].source is Source.NOMINAL}
    wires = {name.rpartition(":")[0] for name in nominal}
    for link in machine.document.links:
        if link.kind is LinkKind.PCIE and link.nominal is None and link.wire in wires:
            yield Missing(
                subject=link.wire,
                fact=RESTED,
                reason=f"the link of {called(machine, link.b)} was read while it may have rested; "
                "at work it may be faster",
            )
