"""What a machine's flows share, with capacities: measured where a calibration has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine
from topoprobe.model.fabric.machines.measured import measured_resources
from topoprobe.model.fabric.machines.places import place_resources, write_costs
from topoprobe.model.fabric.machines.wires import wire_resources
from topoprobe.model.fabric.resource import Resource
from topoprobe.records.base import Missing
from topoprobe.records.calibration import CalibrationDocument


@dataclass(frozen=True, slots=True)
class Capacities:
    """The resources of a machine.

    Attributes
    ----------
    resources : mapping of str to Resource
        Those whose capacity is known, by id.
    words : mapping of str to str
        What people call each, also of those that are not known.
    unknown : mapping of str to Missing
        Those that limit nothing because nobody tells their capacity, and why.
    write_cost : mapping of str to float
        Of a host memory: what a byte that a device writes takes, in bytes read; 1 unless told.
    """

    resources: Mapping[str, Resource]
    words: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, Missing] = field(default_factory=dict)
    write_cost: Mapping[str, float] = field(default_factory=dict)

    def having(self, resources: Iterable[Resource]) -> Capacities:
        """Return these capacities with other ones for some resources.

        Raises
        ------
        ModelError
            If the machine has no such resource.
        """
        new = {resource.id: resource for resource in resources}
        strangers = [one for one in new if one not in self.words]
        if strangers:
            raise ModelError(
                f"The machine has no {strangers[0]}; expected one of its resources, as "
                f"{next(iter(self.words), 'none')}."
            )
        unknown = {one: why for one, why in self.unknown.items() if one not in new}
        return replace(self, resources={**self.resources, **new}, unknown=unknown)


def capacities_of(machine: Machine, calibration: CalibrationDocument | None = None) -> Capacities:
    """Return what flows on a machine share.

    Parameters
    ----------
    machine : Machine
    calibration : CalibrationDocument, optional
        Of this machine; what it measured stands before nominal figures.

    Raises
    ------
    ModelError
        If the calibration is of another machine, or a link has a capacity of zero.
    """
    described = [*wire_resources(machine), *place_resources(machine)]
    nominal = Capacities(
        resources={one.id: one.resource for one in described if one.resource is not None},
        words={one.id: one.words for one in described},
        unknown={
            one.id: Missing(subject=one.id, fact="capacity", reason=one.reason)
            for one in described
            if one.resource is None
        },
        write_cost=write_costs(machine),
    )
    if calibration is None:
        return nominal
    return nominal.having(measured_resources(machine, nominal.resources, calibration))
