"""The CPU as an asynchronous device."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure.devices.cpu import device as device_module
from topoprobe.measure.devices.cpu.buffer import CpuBuffer, check_groups, fill_floats
from topoprobe.measure.devices.cpu.device import CpuDevice, available_cpus


@pytest.fixture
def device() -> CpuDevice:
    return CpuDevice(available_cpus())


def test_device_without_cpus_is_refused() -> None:
    with pytest.raises(EnvironmentMissing, match="No CPU"):
        CpuDevice(())


def test_stream_runs_in_order_on_its_cpu(device: CpuDevice) -> None:
    cpu, seen = device.cpus[-1], []
    with device.open_stream(f"core:{cpu}") as stream:
        for index in range(3):
            stream.launch(lambda index=index: seen.append((index, os.sched_getaffinity(0))))
        stream.synchronize()
    assert seen == [(index, {cpu}) for index in range(3)]


def test_events_are_ordered_in_time_and_known_only_afterwards(device: CpuDevice) -> None:
    gate = threading.Event()
    with device.open_stream() as stream:
        first = stream.record()
        stream.launch(gate.wait)
        second = stream.record()
        first.wait()
        assert not second.is_done()
        with pytest.raises(MeasurementFailed, match="not happened"):
            second.time_s()
        gate.set()
        stream.synchronize()
    assert second.is_done()
    assert first.time_s() <= second.time_s()


def test_latch_holds_streams_until_opened(device: CpuDevice) -> None:
    latch, passed = device.latch(), []
    streams = [device.open_stream() for _ in range(3)]
    for index, stream in enumerate(streams):
        stream.hold(latch)
        stream.launch(passed.append, index)
    assert passed == []
    latch.open()
    for stream in streams:
        stream.close()
    assert sorted(passed) == [0, 1, 2]


def test_latch_never_opened_fails_the_stream(
    device: CpuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_module, "LATCH_TIMEOUT_S", 0.01)
    with device.open_stream() as stream:
        stream.hold(device.latch())
        with pytest.raises(MeasurementFailed, match="latch"):
            stream.synchronize()


def test_stream_error_is_raised_once_and_later_work_is_dropped(device: CpuDevice) -> None:
    done: list[int] = []
    with device.open_stream() as stream:
        stream.launch(lambda: 1 // 0)
        stream.launch(done.append, 1)
        event = stream.record()
        with pytest.raises(ZeroDivisionError):
            stream.synchronize()
        assert event.is_done()
        stream.launch(done.append, 2)
        stream.synchronize()
    assert done == [2]


def test_copy_async_moves_only_the_bytes_asked_for(device: CpuDevice) -> None:
    source = device.allocate(4096, "host:0", seed=1)
    target = device.allocate(4096, "host:0", seed=2)
    before = target.array.copy()
    with device.open_stream() as stream:
        stream.copy_async(target, source, 1000)
        stream.synchronize()
    assert (target.array[:1000] == source.array[:1000]).all()
    assert (target.array[1000:] == before[1000:]).all()


def test_copy_async_too_long_is_refused(device: CpuDevice) -> None:
    buffer = device.reserve(64)
    with device.open_stream() as stream, pytest.raises(UsageError, match="do not fit"):
        stream.copy_async(buffer, buffer, 65)


def test_available_cpus_second_threads_of_cores_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cpu, siblings in enumerate(["0-1", "0-1", "2-3", "2-3"]):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    assert available_cpus(tmp_path) == (0, 2, 1, 3)


@pytest.mark.parametrize("place", ["gpu:0", "core:x", "core:99999", "host:7", "core"])
def test_open_stream_unknown_place_is_refused(device: CpuDevice, place: str) -> None:
    with pytest.raises(UsageError):
        device.open_stream(place)


def test_check_place_names_the_numa_nodes_that_there_are() -> None:
    cpus = available_cpus()
    device = CpuDevice(cpus, {0: cpus, 2: ()})
    device.check_place("host:2")  # memory without CPUs of its own
    device.check_place(f"core:{cpus[0]}")
    with pytest.raises(UsageError, match=r"host:7 is no NUMA node .* there is host:0, host:2"):
        device.check_place("host:7")
    with pytest.raises(UsageError, match="core:99999 is no usable CPU"):
        device.check_place("core:99999")


def test_allocate_is_aligned_and_random(device: CpuDevice) -> None:
    buffer = device.allocate(5 << 20, "host:0", seed=5)
    assert buffer.array.ctypes.data % (2 << 20) == 0
    counts = np.bincount(buffer.array, minlength=256)
    assert counts.min() > 0.9 * buffer.num_bytes / 256


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fill_floats_gives_values_from_one_to_two(dtype: str) -> None:
    values = CpuBuffer(1 << 16, "host:0").view(dtype)
    fill_floats(values, seed=3)
    assert values.min() >= 1.0
    assert values.max() < 2.0
    assert len(np.unique(values)) > 0.9 * values.size


def test_check_groups_unaligned_or_odd_array_is_refused() -> None:
    array = CpuBuffer(1 << 16, "host:0").view("float64")
    check_groups(array)
    for wrong in (array[1:129], array[:100]):
        with pytest.raises(UsageError, match="aligned to 64"):
            check_groups(wrong)
