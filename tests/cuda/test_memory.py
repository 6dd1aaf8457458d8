"""Memory of the host for a GPU: kinds, placement, locking; and batched copies (conftest.py)."""

from __future__ import annotations

import gc
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure.devices.cuda import batch

KIB = 1 << 10
MIB = 1 << 20
SMAPS = """\
7f0000000000-7f0000400000 rw-p 00000000 00:00 0
Size:               4096 kB
Rss:                4096 kB
AnonHugePages:      2048 kB
7f0000400000-7f0000800000 rw-p 00000000 00:00 0
Rss:                   0 kB
AnonHugePages:         0 kB
"""


@pytest.fixture
def device(fake_cupy: ModuleType) -> Any:
    from topoprobe.measure.devices.cuda.device import CudaDevice

    return CudaDevice("gpu@0000:01:00.0", "0000:01:00.0")


@pytest.fixture
def locked(device: Any, monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    import cupy

    found: dict[int, int] = {}
    monkeypatch.setattr(
        cupy.cuda.runtime, "hostRegister", lambda at, size, flags: found.update({at: size})
    )
    monkeypatch.setattr(cupy.cuda.runtime, "hostUnregister", found.pop)
    return found


def test_pinned_memory_is_locked_while_it_lives(device: Any, locked: dict[int, int]) -> None:
    buffer = device.reserve(64 * KIB, "pinned:0")
    assert locked == {buffer.pointer: 64 * KIB}
    part = buffer.piece(8 * KIB, KIB)
    del buffer
    gc.collect()
    assert list(locked.values()) == [64 * KIB]  # the part keeps it
    del part
    gc.collect()
    assert locked == {}


def test_pageable_memory_is_filled_and_checked_by_the_host(
    device: Any, locked: dict[int, int]
) -> None:
    buffer = device.allocate(64 * KIB, "pageable:0", seed=5)
    assert locked == {}
    assert device.verify(buffer, seed=5, poison_seed=6) is None


def test_pageable_memory_behind_a_closed_latch_is_refused(device: Any) -> None:
    host, local = device.reserve(KIB, "pageable:0"), device.reserve(KIB, "gpu")
    latch = device.latch()
    with device.open_stream() as stream:
        stream.hold(latch)
        with pytest.raises(UsageError, match="for ever"):
            stream.copy_async(local, host, KIB)
        latch.open()
        stream.copy_async(local, host, KIB)


def test_memory_of_small_pages_has_no_huge_ones(device: Any) -> None:
    buffer = device.reserve(8 * MIB, "pinned_small:0")
    assert buffer.huge_page_ratio() in (0.0, None)


def test_huge_page_ratio_is_that_of_the_mapping_around_the_address(
    fake_cupy: ModuleType, tmp_path: Path
) -> None:
    from topoprobe.measure.devices.cuda.memory import huge_page_ratio

    maps = tmp_path / "smaps"
    maps.write_text(SMAPS)
    assert huge_page_ratio(0x7F0000001000, maps) == 0.5
    assert huge_page_ratio(0x7F0000401000, maps) is None
    assert huge_page_ratio(0x1000, maps) is None
    assert huge_page_ratio(0x1000, tmp_path / "absent") is None


def test_memory_that_cuda_does_not_lock_fails_the_measurement(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cupy

    def refuse(*arguments: int) -> None:
        raise cupy.cuda.runtime.CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")

    monkeypatch.setattr(cupy.cuda.runtime, "hostRegister", refuse)
    with pytest.raises(MeasurementFailed, match="lock 1024 bytes at pinned:0"):
        device.reserve(KIB, "pinned:0")


@pytest.mark.parametrize(
    ("share", "is_verified"), [(1.0, True), (EnvironmentMissing("refused"), False)]
)
def test_memory_that_the_kernel_will_not_place_is_touched_near_and_looked_up(
    device: Any, monkeypatch: pytest.MonkeyPatch, share: Any, is_verified: bool
) -> None:
    from topoprobe.measure.devices.cuda import memory

    monkeypatch.setattr(memory, "buffer_on_node", _refusing)
    monkeypatch.setattr(memory, "node_share", lambda array, node: _told(share))
    assert device.reserve(KIB, "pinned:0").is_placement_verified is is_verified


def test_memory_that_lies_elsewhere_is_refused(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topoprobe.measure.devices.cuda import memory

    monkeypatch.setattr(memory, "buffer_on_node", _refusing)
    monkeypatch.setattr(memory, "node_share", lambda array, node: 0.5)
    with pytest.raises(EnvironmentMissing, match="not placed"):
        device.reserve(KIB, "pinned:0")


def test_piece_outside_its_buffer_is_refused(device: Any) -> None:
    with pytest.raises(UsageError, match="do not lie in"):
        device.reserve(KIB, "gpu").piece(512, KIB)


def test_stored_values_are_read_back(device: Any) -> None:
    buffer = device.reserve(KIB, "gpu")
    device.store(buffer, np.arange(8.0), start_bytes=64)
    np.testing.assert_array_equal(device.read_back(buffer, 64, 64), np.arange(8.0))


def test_pieces_are_copied_to_their_addresses(device: Any) -> None:
    source = device.allocate(4 * KIB, "pinned:0", seed=1)
    target = device.allocate(4 * KIB, "gpu", seed=2)
    order = np.array([2, 0, 3, 1], dtype=np.uint64) * KIB
    with device.open_stream() as stream:
        stream.copy_pieces(order + target.pointer, order + source.pointer, KIB)
    assert device.verify(target, seed=1, poison_seed=2) is None


def test_batch_without_a_driver_says_which_one_has_it() -> None:
    batch._function.cache_clear()
    assert "CUDA 12.8" in (batch.batch_gap() or "")


def test_batch_that_the_driver_refuses_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_function", lambda: lambda *arguments: 801)
    one = np.zeros(1, dtype=np.uint64)
    with pytest.raises(MeasurementFailed, match="answered 801"):
        batch.copy_batch(one, one, one, 0)


def _refusing(*arguments: Any) -> Any:
    raise EnvironmentMissing("not placed")


def _told(share: Any) -> float:
    if isinstance(share, Exception):
        raise share
    return float(share)
