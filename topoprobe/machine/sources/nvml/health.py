"""What the driver tells of a GPU's health: memory errors, spare rows, slowdowns, recovery."""

from __future__ import annotations

from typing import Any

from topoprobe.machine import nvidia
from topoprobe.machine.sources.nvml.codes import AGGREGATE, UNCORRECTED, VOLATILE, Field
from topoprobe.machine.sources.nvml.device import Device, field_values, number, numbers
from topoprobe.records.machine import Health

_FACT = "health"


def read_health(device: Device, clock_reasons: int | None) -> Health | None:
    """Ask for everything that only a fault makes worth knowing.

    Parameters
    ----------
    device : Device
        The GPU.
    clock_reasons : int or None
        The bits that say why its clocks are as low as they are.
    """
    rows = device.offered(_FACT, numbers, "nvmlDeviceGetRemappedRows") or []
    _, _, pending, failed = rows if len(rows) == 4 else (None,) * 4
    return nvidia.told_health(
        Health(
            num_uncorrectable_errors=_read_errors(device, VOLATILE),
            num_lifetime_uncorrectable_errors=_read_errors(device, AGGREGATE),
            is_remapping_pending=None if pending is None else bool(pending),
            has_remapping_failed=None if failed is None else bool(failed),
            slowdowns=None
            if clock_reasons is None
            else tuple(word for bit, word in nvidia.SLOWDOWNS.items() if clock_reasons & bit),
            recovery_action=_read_action(device),
        )
    )


def _read_errors(device: Device, counter: int) -> int | None:
    return device.offered(_FACT, number, "nvmlDeviceGetTotalEccErrors", UNCORRECTED, counter)


def _read_action(device: Device) -> str | None:
    """Read what is to be done; drivers before 565 know no such field."""
    asked: list[Any] = [int(Field.GET_GPU_RECOVERY_ACTION)]
    values = field_values(device.ask("nvmlDeviceGetFieldValues", asked).value)
    code = values[0] if values else None
    known = nvidia.RECOVERY_ACTIONS
    return known[code] if code is not None and code < len(known) else None
