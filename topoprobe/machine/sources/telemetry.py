"""What a GPU is doing right now, asked of NVML through its provider: clocks, power, who uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from topoprobe.machine.sources import nvml
from topoprobe.machine.sources.nvml.codes import CLOCK_MEMORY, CLOCK_SM, SENSOR_GPU
from topoprobe.machine.sources.nvml.device import Device, member, number
from topoprobe.machine.sources.nvml.provider import Provider

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


@dataclass(frozen=True, slots=True)
class GpuReading:
    """What the driver told at one moment; None where it does not tell.

    Attributes
    ----------
    sm_clock_hz, memory_clock_hz, power_w, temperature_c : float or None
        As the driver rounds them.
    throttle_reasons : tuple of str
        Those active now.
    pcie_generation, pcie_num_lanes : int or None
        Of the link as it is now; a resting link lowers its generation.
    num_pcie_replays : int or None
        Packets sent again since the driver was loaded.
    num_other_processes : int or None
        Processes that compute on the GPU beside this one.
    """

    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    pcie_generation: int | None = None
    pcie_num_lanes: int | None = None
    num_pcie_replays: int | None = None
    num_other_processes: int | None = None


class GpuTelemetry:
    """Readings of one GPU; what the driver refuses is left out.

    Parameters
    ----------
    provider : Provider
        Who answers, as `nvml.load` gives it.
    pci_address : str
        As ``0000:1b:00.0``.
    """

    def __init__(self, provider: Provider, pci_address: str) -> None:
        found = provider.ask("nvmlDeviceGetHandleByPciBusId", pci_address)
        is_found = isinstance(found.value, str)
        self._device = Device(provider, found.value, pci_address) if is_found else None
        self.gap = found.reason

    def reading(self) -> GpuReading:
        """Return clocks, power, temperature, throttle reasons, link and users as they are now."""
        return GpuReading(
            sm_clock_hz=_scaled(self._number("nvmlDeviceGetClockInfo", CLOCK_SM), 1e6),
            memory_clock_hz=_scaled(self._number("nvmlDeviceGetClockInfo", CLOCK_MEMORY), 1e6),
            power_w=_scaled(self._number("nvmlDeviceGetPowerUsage"), 1e-3),
            temperature_c=_scaled(self._number("nvmlDeviceGetTemperature", SENSOR_GPU), 1.0),
            throttle_reasons=self._throttle_reasons(),
            pcie_generation=self._number("nvmlDeviceGetCurrPcieLinkGeneration"),
            pcie_num_lanes=self._number("nvmlDeviceGetCurrPcieLinkWidth"),
            num_pcie_replays=self._number("nvmlDeviceGetPcieReplayCounter"),
            num_other_processes=self._num_other_processes(),
        )

    def use_by_others(self, own_pid: int) -> str | None:
        """Say who else computes on the GPU, or None; a clause that can follow "is in use".

        NVML shows only processes of this container; a busy GPU without one tells of the rest.
        """
        running = self._asked("nvmlDeviceGetComputeRunningProcesses")
        told = [number(member(one, "pid")) for one in running] if isinstance(running, list) else []
        pids = sorted({pid for pid in told if pid is not None} - {own_pid})
        if pids:
            return f"by process {', '.join(map(str, pids))}"
        busy = number(member(self._asked("nvmlDeviceGetUtilizationRates"), "gpu"))
        if not told and busy is not None and busy / 100 > _BUSY_RATIO:
            return f"({busy} % busy, by a process that cannot be seen from here)"
        return None

    def _num_other_processes(self) -> int | None:
        # A container may know this process by another number than the driver: it is one of those
        # listed, whichever.
        running = self._asked("nvmlDeviceGetComputeRunningProcesses")
        return max(0, len(running) - 1) if isinstance(running, list) else None

    def _throttle_reasons(self) -> tuple[str, ...]:
        bits = self._number("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # the name before driver 535
            bits = self._number("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return tuple(name for bit, name in _REASONS.items() if bits & bit)

    def _asked(self, function: str, *arguments: Any) -> Any:
        return None if self._device is None else self._device.ask(function, *arguments).value

    def _number(self, function: str, *arguments: Any) -> int | None:
        return number(self._asked(function, *arguments))


def gpu_telemetry(pci_address: str) -> GpuTelemetry | None:
    """Return the telemetry of a GPU of this machine, or None where NVML cannot be used."""
    provider = nvml.load()
    return None if isinstance(provider, str) else GpuTelemetry(provider, pci_address)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
