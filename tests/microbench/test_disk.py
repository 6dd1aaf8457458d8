from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Budget, Context, Outcome
from topoprobe.measure.devices.storage import scratch
from topoprobe.measure.devices.storage.mounts import Storage
from topoprobe.microbench import disk
from topoprobe.microbench.disk import DiskBenchmark
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import Host, MachineDocument

MIB = 1 << 20
MACHINE = MachineDocument(
    tool=Tool(tool_version="0"),
    origin="synthetic",
    sources=(),
    nodes=(Host(id="host", name="test"),),
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run on a file of 16 MiB, as if the folder were on a drive (it may be on tmpfs here)."""
    for module in (disk, scratch):
        monkeypatch.setattr(module, "storage_under", lambda folder: Storage("ext4", "vda"))
    monkeypatch.setattr(disk, "_FILE_BYTES", {"quick": 16 * MIB})
    monkeypatch.setattr(disk, "_READ_SAMPLE_BYTES", 4 * MIB)
    monkeypatch.setattr(disk, "_WRITTEN_BYTES", {"quick": 64 * MIB})

    def run_once() -> Outcome:
        context = Context(
            budget=Budget("quick", num_samples=3, max_series_s=0.5, memory_bytes=64 * MIB),
            clock=time.monotonic,
            conditions=lambda: None,
            cpus=(0,),
            scratch=str(tmp_path),
        )
        return DiskBenchmark().run(MACHINE, context)

    return run_once


def test_disk_gives_rates_for_both_ways_of_access_and_leaves_nothing(
    run: Any, tmp_path: Path
) -> None:
    series = run().series
    assert [(one.name, one.factors["block_bytes"], one.factors["access"]) for one in series] == [
        ("disk.read", MIB, "sequential"),
        ("disk.write", MIB, "sequential"),
        ("disk.read", 256 << 10, "random"),
        ("disk.write", 256 << 10, "random"),
    ]
    for one in series:
        assert one.samples
        assert one.unit == "bytes_per_s"
        assert one.factors["name"] == "vda"
        assert (one.factors["direct"] == 1) == ("buffered_because" not in one.factors)
    assert list(tmp_path.iterdir()) == []


def test_disk_without_direct_access_reads_past_the_cache_and_says_why(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open
    forgotten = []

    def refuse_direct(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse_direct)
    monkeypatch.setattr(os, "posix_fadvise", lambda *arguments: forgotten.append(arguments))
    series = run().series
    assert {one.factors["direct"] for one in series} == {0}
    assert series[0].factors["buffered_because"] == "O_DIRECT: Invalid argument"
    assert len(forgotten) >= sum(len(one.samples) for one in series)
    assert {arguments[3] for arguments in forgotten} == {os.POSIX_FADV_DONTNEED}


def test_disk_writes_no_more_than_its_quota(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    real = os.pwritev

    def count(descriptor: int, buffers: Any, offset: int) -> int:
        written.append(real(descriptor, buffers, offset))
        return written[-1]

    monkeypatch.setattr(os, "pwritev", count)
    run()
    assert 16 * MIB < sum(written) <= (16 + 64) * MIB


def test_quick_quotas_add_up_to_less_than_a_gibibyte() -> None:
    assert disk._FILE_BYTES["quick"] + disk._WRITTEN_BYTES["quick"] <= 1 << 30


def test_disk_that_gives_back_old_data_fails_the_reads(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "preadv", lambda descriptor, buffers, offset: len(buffers[0]))
    series = run().series
    reads = [one for one in series if one.name == "disk.read"]
    assert {one.status for one in reads} == {Status.FAILED}
    assert "something else than was written" in reads[0].reason


def test_disk_that_runs_full_fails_with_a_sentence(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(descriptor: int, buffers: Any, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(MeasurementFailed, match="No space left on device"):
        run()
    assert list(tmp_path.iterdir()) == []


def test_disk_on_tmpfs_is_skipped_as_memory(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "storage_under", lambda folder: Storage("tmpfs", None))
    outcome = run()
    assert outcome.status is Status.SKIPPED
    assert "is memory" in outcome.reason


def test_disk_with_little_space_left_is_skipped(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_FILE_BYTES", {"quick": 1 << 60})
    outcome = run()
    assert outcome.status is Status.SKIPPED
    assert "free some space" in outcome.reason


def test_disk_in_a_folder_that_cannot_be_written_says_so(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Any, flags: int, mode: int = 0o777) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(MeasurementFailed, match="No scratch file can be opened"):
        run()
