"""What readings of GPUs say together, and the thread that makes them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.measure.support import Bench
from topoprobe.machine.sources import nvml
from topoprobe.machine.sources.nvml.codes import Code
from topoprobe.machine.sources.nvml.fake import FakeGpu, FakeNvml
from topoprobe.machine.sources.telemetry import GpuReading, GpuTelemetry
from topoprobe.measure.devices import gpu_conditions
from topoprobe.measure.devices.gpu_conditions import GpuConditions, summary, watched
from topoprobe.measure.devices.sampling import Sampler
from topoprobe.records.results import Conditions

ADDRESS = "0000:01:00.0"


def driver(**changed: Any) -> FakeNvml:
    answers = {"nvmlDeviceGetClockInfo": 1980, "nvmlDeviceGetPowerUsage": 400_000, **changed}
    return FakeNvml([FakeGpu(address="00000000:01:00.0", changed=answers)])


def counting(start: int, step: int) -> Any:
    numbers = itertools.count(start, step)
    return lambda *arguments: next(numbers)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "telemetry"]


def test_summary_keeps_medians_extremes_and_every_throttle_reason() -> None:
    readings = [
        GpuReading(sm_clock_hz=2e9, power_w=300.0, temperature_c=50.0, pcie_generation=1),
        GpuReading(sm_clock_hz=1e9, power_w=700.0, temperature_c=60.0, pcie_generation=5,
                   throttle_reasons=("software_power_cap",)),
        GpuReading(sm_clock_hz=2e9, power_w=500.0, temperature_c=55.0, pcie_generation=5,
                   pcie_num_lanes=8, num_other_processes=1),
    ]  # fmt: skip
    found = summary(Conditions(steal_ratio=0.1), [readings], [3])
    assert (found.sm_clock_hz, found.lowest_sm_clock_hz) == (2e9, 1e9)
    assert (found.power_w, found.highest_power_w, found.temperature_c) == (500.0, 700.0, 60.0)
    assert found.throttle_reasons == ("software_power_cap",)
    assert (found.pcie_generation, found.pcie_num_lanes) == (5, 8)
    assert (found.num_pcie_replays, found.num_other_processes) == (3, 1)
    assert (found.num_readings, found.steal_ratio) == (3, 0.1)


def test_summary_of_a_mute_driver_leaves_everything_out() -> None:
    assert summary(Conditions(), [[GpuReading()]], [None]) == Conditions(num_readings=1)


def test_summary_of_two_gpus_adds_what_disturbs_either() -> None:
    first = GpuReading(sm_clock_hz=2e9, num_other_processes=0)
    second = GpuReading(sm_clock_hz=1e9, num_other_processes=2, throttle_reasons=("sync_boost",))
    found = summary(Conditions(), [[first], [second]], [1, 4])
    assert (found.sm_clock_hz, found.num_other_processes) == (2e9, 2)
    assert (found.num_pcie_replays, found.throttle_reasons) == (5, ("sync_boost",))


def test_conditions_count_replays_since_the_sample_before() -> None:
    telemetry = GpuTelemetry(driver(nvmlDeviceGetPcieReplayCounter=counting(100, 7)), ADDRESS)
    with GpuConditions([telemetry], period_s=60.0).beside(Bench().context()) as context:
        found = [context.conditions() for _ in range(2)]
    assert [one.num_pcie_replays for one in found if one is not None] == [7, 7]


def test_conditions_keep_the_hosts() -> None:
    with GpuConditions([GpuTelemetry(driver(), ADDRESS)]).beside(Bench().context()) as context:
        found = context.conditions()
    assert found is not None
    assert (found.other_cpu_ratio, found.sm_clock_hz, found.power_w) == (0.25, 1.98e9, 400.0)


def test_this_process_is_not_another_whatever_its_number() -> None:
    running = driver(nvmlDeviceGetComputeRunningProcesses=[{"pid": 4242}, {"pid": 4243}])
    assert GpuTelemetry(running, ADDRESS).reading().num_other_processes == 1
    assert GpuTelemetry(driver(), ADDRESS).reading().num_other_processes == 0


def test_a_gpu_that_falls_off_the_bus_leaves_gaps() -> None:
    lost = FakeNvml([FakeGpu(address="00000000:01:00.0")], {0: Code.GPU_IS_LOST})
    assert GpuTelemetry(lost, ADDRESS).reading() == GpuReading()


def test_watched_without_a_driver_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "load", lambda: "no driver")
    context = Bench().context()
    with watched(context, ADDRESS) as found:
        assert found is context
        assert threads() == []


def test_watched_ends_its_thread_also_when_the_measurement_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nvml, "load", driver)
    seen: list[str] = []

    def measure() -> None:
        with watched(Bench().context(), ADDRESS, None):
            seen.extend(threads())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure()
    assert (seen, threads()) == (["telemetry"], [])


def test_sampler_gives_each_reading_once_and_in_order() -> None:
    numbers: Iterator[int] = itertools.count()
    enough = threading.Event()

    def read() -> int:
        number = next(numbers)
        if number == 5:
            enough.set()
        return number

    with Sampler(read, period_s=1e-4) as sampler:
        assert enough.wait(10.0)
        first = sampler.take()
    # The thread is over: what it left, then one made now.
    rest = [*sampler.take(), *sampler.take()]
    assert [*first, *rest] == list(range(len(first) + len(rest)))
    assert len(first) >= 5


def test_sampler_without_a_tick_reads_now() -> None:
    with Sampler(lambda: "now", period_s=60.0) as sampler:
        assert sampler.take() == ("now",)


def test_readings_are_made_twenty_times_a_second() -> None:
    assert gpu_conditions.PERIOD_S == 1 / 20
