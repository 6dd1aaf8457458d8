"""What vendors say of their devices: dense arithmetic, memory, links; nothing measured."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.model.catalogue.datasheets import NOMINAL_DEVICES
from topoprobe.model.catalogue.nominal import Figure, NominalDevice

__all__ = ["NOMINAL_DEVICES", "Figure", "NominalDevice", "find_by_driver_name",
           "find_nominal_device", "memory_rate", "named_figures"]  # fmt: skip


_SINGLE = (
    "memory_bytes", "memory_bytes_per_s", "l2_bytes", "power_w", "c2c_bytes_per_s", "num_units",
)  # fmt: skip


def find_nominal_device(name: str) -> NominalDevice | None:
    """Return the device of that name, None if there is none."""
    return next((device for device in NOMINAL_DEVICES if device.name == name), None)


def find_by_driver_name(name: str) -> NominalDevice | None:
    """Return the device that its driver calls so, None if it is not in the catalogue."""
    return next((device for device in NOMINAL_DEVICES if device.driver_name == name), None)


def memory_rate(
    device: NominalDevice | None, *, bus_width_bits: int | None, memory_clock_hz: float | None
) -> Figure | None:
    """Return the nominal memory bandwidth: what the driver's figures give, else the data sheet's.

    Two bits cross each wire of the bus in a period of the memory clock. Data sheets round, and
    one name stands for boards with several memories; what the driver reads is of this board.

    Parameters
    ----------
    device : NominalDevice or None
        The device in the catalogue, None if it is not there.
    bus_width_bits : int or None
        Wires of the memory bus, where the driver tells.
    memory_clock_hz : float or None
        The highest memory clock, where the driver tells.
    """
    if bus_width_bits and memory_clock_hz:
        rate = bus_width_bits / 8 * memory_clock_hz * 2
        return Figure(rate, f"driver: {bus_width_bits} bit x {memory_clock_hz / 1e6:.0f} MHz x 2")
    return None if device is None else device.memory_bytes_per_s


def named_figures(device: NominalDevice) -> Iterator[tuple[str, Figure]]:
    """Yield every number that the catalogue has of a device, with a name."""
    for name in _SINGLE:
        figure = getattr(device, name)
        if figure is not None:
            yield name, figure
    for dtype, figure in device.compute_flop_per_s.items():
        yield f"compute {dtype}", figure
    for dtype, figure in device.half_accumulate_flop_per_s.items():
        yield f"compute {dtype}, fp16 accumulation", figure
    yield "pcie generation", device.pcie.generation
    yield "pcie lanes", device.pcie.num_lanes
    if device.peer_links is not None:
        yield "peer links", device.peer_links.num_links
        yield "peer link rate", device.peer_links.bytes_per_s
