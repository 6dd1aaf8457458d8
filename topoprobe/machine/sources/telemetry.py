"""What a GPU is doing right now, asked of NVML through its provider: clocks, power, who uses it."""

from __future__ import annotations

from typing import Any

from topoprobe.machine.sources import nvml
from topoprobe.records.results import Conditions

# Values of the C interface, which bindings of all ages share [nvml].
_SM_CLOCK, _MEMORY_CLOCK, _CORE_SENSOR = 1, 2, 0
# Bits of nvmlDeviceGetCurrentClocksEventReasons. Idleness (bit 0) slows nothing down.
_REASONS = {
    0x002: "applications_clocks_setting",
    0x004: "software_power_cap",
    0x008: "hardware_slowdown",
    0x010: "sync_boost",
    0x020: "software_thermal_slowdown",
    0x040: "hardware_thermal_slowdown",
    0x080: "hardware_power_brake",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
# A GPU busier than this without a visible process is used from another container.
_BUSY_RATIO = 0.05


class GpuTelemetry:
    """Readings of one GPU; what the driver refuses is left out.

    Parameters
    ----------
    library : module
        What `nvml.load` returned, or anything with the same functions.
    pci_address : str
        As ``0000:1b:00.0``.
    """

    def __init__(self, library: Any, pci_address: str) -> None:
        self._library = library
        found = nvml.ask(library, "nvmlDeviceGetHandleByPciBusId", pci_address.encode())
        self._handle = found.value
        self.gap = found.reason

    def conditions(self) -> Conditions:
        """Return clocks, power, temperature, throttle reasons and the link as it is now."""
        if self._handle is None:
            return Conditions()
        power_mw = self._asked("nvmlDeviceGetPowerUsage")
        return Conditions(
            sm_clock_hz=_scaled(self._asked("nvmlDeviceGetClockInfo", _SM_CLOCK), 1e6),
            memory_clock_hz=_scaled(self._asked("nvmlDeviceGetClockInfo", _MEMORY_CLOCK), 1e6),
            power_w=_scaled(power_mw, 1e-3),
            temperature_c=_scaled(self._asked("nvmlDeviceGetTemperature", _CORE_SENSOR), 1.0),
            throttle_reasons=self._throttle_reasons(),
            pcie_generation=self._asked("nvmlDeviceGetCurrPcieLinkGeneration"),
            pcie_num_lanes=self._asked("nvmlDeviceGetCurrPcieLinkWidth"),
        )

    def use_by_others(self, own_pid: int) -> str | None:
        """Say who else computes on the GPU, or None; a clause that can follow "is in use".

        NVML shows only processes of this container; a busy GPU without one tells of the rest.
        """
        if self._handle is None:
            return None
        running = self._asked("nvmlDeviceGetComputeRunningProcesses") or ()
        pids = sorted({int(process.pid) for process in running} - {own_pid})
        if pids:
            return f"by process {', '.join(map(str, pids))}"
        rates = self._asked("nvmlDeviceGetUtilizationRates")
        if not running and rates is not None and rates.gpu / 100 > _BUSY_RATIO:
            return f"({rates.gpu} % busy, by a process that cannot be seen from here)"
        return None

    def _throttle_reasons(self) -> tuple[str, ...]:
        bits = self._asked("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # the name before driver 535
            bits = self._asked("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return tuple(name for bit, name in _REASONS.items() if int(bits) & bit)

    def _asked(self, function: str, *arguments: Any) -> Any:
        return nvml.ask(self._library, function, self._handle, *arguments).value


def gpu_telemetry(pci_address: str) -> GpuTelemetry | None:
    """Return the telemetry of a GPU of this machine, or None where NVML cannot be used."""
    library = nvml.load()
    return None if isinstance(library, str) else GpuTelemetry(library, pci_address)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
