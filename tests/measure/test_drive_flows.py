"""Flows of drives, on a scratch file in a temporary folder."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.microbench.context import machine
from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure.concurrent import run_together
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.measure.devices.flows import Place
from topoprobe.measure.devices.storage import flows as drive_flows
from topoprobe.measure.devices.storage import scratch
from topoprobe.measure.devices.storage.flows import NUM_REQUESTS, DriveFlows
from topoprobe.measure.devices.storage.mounts import Storage
from topoprobe.measure.flows import Flow, parse_flow_set
from topoprobe.records.machine import MachineDocument, Nvme

MIB = 1 << 20
READ, WRITE = "nvme:fast -> host:0 via nvme", "host:0 -> nvme:fast via nvme"


def with_drive() -> MachineDocument:
    drive = Nvme(
        id="nvme@0000:01:00.0",
        name="fast",
        parent="host",
        pci_address="0000:01:00.0",
        block_devices=("nvme0n1",),
    )
    bare = machine()
    return msgspec.structs.replace(bare, nodes=(*bare.nodes, drive))


def flow(text: str) -> Flow:
    return parse_flow_set(text).flows[0]


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DriveFlows]:
    """As if the temporary folder lay on the drive."""
    monkeypatch.setattr(drive_flows, "folder_on", lambda drives, preferred: preferred)
    monkeypatch.setattr(scratch, "storage_under", lambda folder: Storage("ext4", "nvme0n1"))
    with closing(DriveFlows(Place(with_drive(), available_cpus(), tmp_path))) as opener:
        yield opener


@pytest.mark.parametrize("text", [READ, WRITE])
def test_drive_flow_has_a_rate_and_leaves_nothing(
    flows: DriveFlows, tmp_path: Path, text: str
) -> None:
    one = flow(f"{text}, size=4MiB, txn=256KiB, chunk=512KiB")
    assert flows.missing(one) is None
    opened = flows.open(one, 0, 64 * MIB)
    assert len(opened.lanes) == opened.factors["num_requests"] == NUM_REQUESTS
    assert opened.factors["size_bytes"] == 4 * MIB
    assert {lane.work for lane in opened.lanes} == {512 << 10}
    (rate,) = run_together([opened.lanes], 0.03, clock=time.monotonic, pause=time.sleep)
    assert rate > 0.0
    assert list(tmp_path.iterdir()) == []


def test_drive_flow_that_reads_something_else_fails(
    flows: DriveFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = flows.open(flow(READ), 0, 16 * MIB)
    monkeypatch.setattr(os, "preadv", lambda descriptor, buffers, offset: len(buffers[0]))
    with pytest.raises(MeasurementFailed, match="something else than was written"):
        run_together([opened.lanes], 0.01, clock=time.monotonic, pause=time.sleep)


def test_drive_that_is_full_fails_with_a_sentence(
    flows: DriveFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, buffers: Any, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(MeasurementFailed, match="No space left on device"):
        flows.open(flow(READ), 0, 4 * MIB)


def test_drive_without_room_is_refused_before_writing(flows: DriveFlows) -> None:
    assert "free some space" in (flows.missing(flow(f"{READ}, size=1000TiB")) or "")
    with pytest.raises(EnvironmentMissing, match="free some space"):
        flows.open(flow(READ), 0, 1 << 60)


def test_drive_that_is_not_mounted_says_so(
    flows: DriveFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive_flows, "folder_on", lambda drives, preferred: None)
    assert "is mounted where it may be written" in (flows.missing(flow(READ)) or "")


def test_drive_flow_tells_where_its_files_are(flows: DriveFlows, tmp_path: Path) -> None:
    assert flows.scratch_folder(flow(READ)) == tmp_path


def test_drive_may_be_named_by_its_number(flows: DriveFlows) -> None:
    assert flows.missing(flow("nvme:0 -> host:0 via nvme")) is None


def test_machine_without_drives_says_so(tmp_path: Path) -> None:
    place = Place(machine(), available_cpus(), tmp_path)
    told = "is no drive of this machine; it has none"
    with closing(DriveFlows(place)) as opener, pytest.raises(EnvironmentMissing, match=told):
        opener.missing(flow(READ))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nvme:slow -> host:0 via nvme", "nvme:slow is no drive of this machine; there is"),
        ("nvme:fast -> nvme:fast via nvme", "between nvme:NAME and host:N"),
        ("nvme:fast -> core:0 via nvme", "between nvme:NAME and host:N"),
        ("nvme:fast -> host:9 via nvme", "host:9 is no NUMA node"),
        (f"{READ}, txn=4KiB", "txn is no multiple of 262144"),
        (f"{READ}, chunk=1000", "chunk is no multiple of 262144"),
        (f"{READ}, work=gemm", "knows no work"),
        (f"{READ}, peer=other", "no peer"),
    ],
)
def test_drive_flow_that_makes_no_sense_is_refused(
    flows: DriveFlows, text: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        flows.missing(flow(text))


def test_drive_flow_reads_into_memory_of_its_node(
    flows: DriveFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes: list[int] = []
    placed: Callable[..., Any] = drive_flows.buffer_on_node

    def record(num_bytes: int, node: int, fill: Any) -> Any:
        nodes.append(node)
        return placed(num_bytes, 0, fill)

    monkeypatch.setattr(drive_flows, "buffer_on_node", record)
    flows.open(flow("nvme:fast -> host:1 via nvme"), 0, 4 * MIB)
    assert set(nodes) == {1}
