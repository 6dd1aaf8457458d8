"""The CUDA device and its orchestration, on a CUDA runtime made of CPU threads (conftest.py)."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure.concurrent import Lane, run_together
from topoprobe.measure.devices.cpu.device import CpuLatch

KIB = 1 << 10


@pytest.fixture
def device(fake_cupy: ModuleType) -> Any:
    from topoprobe.measure.devices.cuda.device import CudaDevice

    return CudaDevice("gpu@0000:01:00.0", "0000:01:00.0")


def test_device_at_an_address_that_cuda_hides_says_so(fake_cupy: ModuleType) -> None:
    from topoprobe.measure.devices.cuda.device import CudaDevice

    with pytest.raises(EnvironmentMissing, match="CUDA_VISIBLE_DEVICES"):
        CudaDevice("gpu@0000:02:00.0", "0000:02:00.0")


def test_allocate_at_each_place_holds_the_pattern(device: Any) -> None:
    for place in ("gpu", "pinned:0"):
        buffer = device.allocate(64 * KIB, place, seed=3)
        assert (buffer.num_bytes, buffer.place) == (64 * KIB, place)
        assert device.verify(buffer, seed=3, poison_seed=4) is None


@pytest.mark.parametrize("place", ["gpu", "pinned:0"])
def test_verify_of_a_partial_transfer_tells_where_and_how_much(device: Any, place: str) -> None:
    source = device.allocate(64 * KIB, "pinned:0", seed=3)
    target = device.allocate(64 * KIB, place, seed=4)
    with device.open_stream() as stream:
        stream.copy_async(target, source, 16 * KIB)
    mismatch = device.verify(target, seed=3, poison_seed=4)
    assert mismatch is not None
    assert mismatch.first_bad_offset_bytes == 16 * KIB
    assert (mismatch.num_unwritten_bytes, mismatch.num_corrupted_bytes) == (48 * KIB, 0)
    assert "48.0 KiB were never written" in str(mismatch)


@pytest.mark.parametrize("grid", ["strided", "one_pass"])
def test_triad_on_either_grid_equals_numpy(device: Any, grid: str) -> None:
    a, b, c = (device.reserve(32 * KIB, "gpu") for _ in range(3))
    device.fill_floats(b, seed=1)
    device.fill_floats(c, seed=2)
    with device.open_stream() as stream:
        stream.launch(device.kernels.triad, a, b, c, 0.4, grid)
    whole = (0, 32 * KIB)
    np.testing.assert_allclose(
        device.read_back(a, *whole),
        device.read_back(b, *whole) + 0.4 * device.read_back(c, *whole),
        rtol=1e-15,
    )


def test_other_stream_kernels_equal_numpy(device: Any) -> None:
    size = 32 * KIB
    a, b, c = (device.reserve(size, "gpu") for _ in range(3))
    device.fill_floats(a, seed=1)
    with device.open_stream() as stream:
        stream.launch(device.kernels.copy, c, a)
        stream.launch(device.kernels.scale, b, c, 0.5)
        stream.launch(device.kernels.add, c, a, b)
    np.testing.assert_array_equal(device.read_back(c, 0, size), 1.5 * device.read_back(a, 0, size))
    with device.open_stream() as stream:
        stream.launch(device.kernels.write, a, 7.0)
    assert (device.read_back(a, 0, size) == 7.0).all()


def test_read_kernel_reads_every_word_once(device: Any) -> None:
    a, sums = (device.allocate(size, "gpu", seed=1) for size in (8 * KIB, 64 * KIB))
    with device.open_stream() as stream:
        num_sums = device.kernels.num_read_sums(a)
        stream.launch(device.kernels.read, a, sums)
    found = device.read_back(sums, 0, 8 * num_sums).view(np.uint64)
    words = device.read_back(a, 0, a.num_bytes).view(np.uint64)
    assert np.bitwise_xor.reduce(found) == np.bitwise_xor.reduce(words)


def test_gather_and_scatter_move_the_blocks_of_the_table(device: Any) -> None:
    block_bytes = 4 * KIB
    pool = device.allocate(8 * block_bytes, "gpu", seed=1)
    staging = device.reserve(3 * block_bytes, "gpu")
    table = device.reserve(12, "pinned:0")
    table.host_view("uint32")[:] = (6, 0, 3)
    back = device.allocate(8 * block_bytes, "gpu", seed=2)
    with device.open_stream() as stream:
        stream.launch(device.kernels.gather_blocks, staging, pool, table, block_bytes)
        stream.launch(device.kernels.scatter_blocks, back, staging, table, block_bytes)
    words = device.read_back(pool, 0, pool.num_bytes).view(np.uint64).reshape(8, -1)
    moved = device.read_back(back, 0, back.num_bytes).view(np.uint64).reshape(8, -1)
    assert [int(i) for i in range(8) if (words[i] == moved[i]).all()] == [0, 3, 6]


def test_latch_holds_its_streams_until_it_is_opened(device: Any) -> None:
    latch = device.latch()
    streams = [device.open_stream() for _ in range(2)]
    for stream in streams:
        stream.hold(latch)
    events = [stream.record() for stream in streams]
    time.sleep(0.02)
    assert not any(event.is_done() for event in events)
    with pytest.raises(MeasurementFailed, match="has not happened"):
        events[0].time_s()
    opened_s = time.monotonic()
    latch.open()
    for stream in streams:
        stream.synchronize()
    assert all(opened_s - 1e-3 < event.time_s() < opened_s + 5.0 for event in events)


def test_latch_that_nobody_opens_fails_the_measurement(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topoprobe.measure.devices.cuda import device as module

    monkeypatch.setattr(module, "LATCH_TIMEOUT_S", 0.01)
    stream = device.open_stream()
    stream.hold(device.latch())
    with pytest.raises(MeasurementFailed, match="started alone"):
        stream.synchronize()
    stream.synchronize()  # the failure is told once; the stream stays usable


def test_event_times_on_the_hosts_clock_bracket_the_work(device: Any) -> None:
    stream = device.open_stream()
    before_s = time.monotonic()
    first = stream.record()
    stream.launch(device.kernels.nothing)
    last = stream.record()
    last.wait()
    after_s = time.monotonic()
    assert before_s - 1e-3 < first.time_s() <= last.time_s() < after_s + 1e-3
    assert last.seconds_since(first) == pytest.approx(last.time_s() - first.time_s(), abs=1e-6)


def test_copies_behind_a_closed_latch_are_limited(device: Any) -> None:
    from topoprobe.measure.devices.cuda.device import MAX_COPIES_BEHIND_LATCH

    source = device.allocate(KIB, "pinned:0", seed=1)
    target = device.allocate(KIB, "gpu", seed=2)
    latch, stream = device.latch(), device.open_stream()
    stream.hold(latch)
    for _ in range(MAX_COPIES_BEHIND_LATCH):
        stream.copy_async(target, source, KIB)
    with pytest.raises(UsageError, match="open it first"):
        stream.copy_async(target, source, KIB)
    latch.open()
    stream.copy_async(target, source, KIB)
    stream.synchronize()
    assert device.verify(target, seed=1, poison_seed=2) is None


def test_stream_given_foreign_things_refuses_them(device: Any) -> None:
    stream = device.open_stream()
    buffer = device.allocate(KIB, "gpu", seed=1)
    with pytest.raises(UsageError, match="cannot wait for a CpuLatch"):
        stream.hold(CpuLatch())
    with pytest.raises(UsageError, match="do not fit"):
        stream.copy_async(buffer, buffer, 2 * KIB)
    with pytest.raises(UsageError, match="no memory of a GPU"):
        device.allocate(KIB, "host:0", seed=1)
    with pytest.raises(UsageError, match="cannot be read by the host"):
        buffer.host_view("uint8")


def test_kernels_given_unequal_or_odd_buffers_refuse_them(device: Any) -> None:
    small, large = (device.reserve(size, "gpu") for size in (KIB, 2 * KIB))
    with pytest.raises(UsageError, match="equal multiples of 16"):
        device.kernels.copy(small, large)
    with pytest.raises(UsageError, match="expected a multiple of 16"):
        device.kernels.gather_blocks(small, large, small, 20)
    with pytest.raises(UsageError, match="do not fit the staging area"):
        device.kernels.gather_blocks(small, large, small, KIB)


def test_flows_in_a_common_window_on_one_gpu_both_get_a_rate(device: Any) -> None:
    pinned = [device.allocate(64 * KIB, "pinned:0", seed=index) for index in range(2)]
    local = [device.allocate(64 * KIB, "gpu", seed=index) for index in range(2)]
    down = Lane(
        device, device.open_stream(),
        lambda stream: stream.copy_async(local[0], pinned[0], 64 * KIB), 64 * KIB,
    )  # fmt: skip
    up = Lane(
        device, device.open_stream(),
        lambda stream: stream.copy_async(pinned[1], local[1], 64 * KIB), 64 * KIB,
    )  # fmt: skip
    rates = run_together([[down], [up]], 0.05, clock=time.monotonic, pause=time.sleep)
    assert min(rates) > 1e6
