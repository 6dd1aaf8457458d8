"""What an earlier calibration gives where newer runs are silent."""

from __future__ import annotations

import msgspec
import pytest

from tests.model.calibration import gpu_server
from tests.model.calibration.samples import MACHINE, TOOL, results, series
from topoprobe.errors import InputError
from topoprobe.model.calibration.build import calibrate
from topoprobe.model.calibration.builtin import builtin_calibration
from topoprobe.model.calibration.completing import completed, supplemented
from topoprobe.records.base import Source
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.documents import encode
from topoprobe.records.machine import Host
from topoprobe.records.results import Series


def stream(kernel: str, rate: float, threads: int = 1) -> Series:
    return series(f"stream.{kernel}", rate, threads=threads, variant="none", array_bytes=64)


def calibrated(*members: Series) -> CalibrationDocument:
    return calibrate(results(*members), tool=TOOL)


def pair(one: str, other: str, slowdown: float) -> list[Series]:
    """Two flows of one rate alone, and that much slower together."""
    flows = [
        f"host:0 -> core:{core} via cpu, work={work}" for core, work in enumerate((one, other))
    ]
    return [
        series(name, rate, set=text, flow=flow, index=index)
        for index, flow in enumerate(flows)
        for name, rate, text in (
            ("contention.shared", 12e9 / slowdown, " | ".join(flows)),
            ("contention.solo", 12e9, flow),
        )
    ]


BASE = calibrated(
    stream("triad", 5e9),
    stream("copy", 4e9),
    series("latency.idle", 1e-7, "s", ring_bytes=64),
    series("stream.triad", 2e12, device="gpu0", variant="cuda"),
)


def test_numbers_that_new_runs_lack_come_from_the_base_and_say_so() -> None:
    document = completed(calibrated(stream("triad", 6e9)), BASE, "base.json")
    host, gpu = document.devices
    rates = {one.kernel: one.rate_bytes_per_s for one in host.stream}
    assert rates["triad"].value == pytest.approx(6e9)
    assert not rates["triad"].evidence.startswith("from base.json")
    assert rates["copy"].value == pytest.approx(4e9)
    assert rates["copy"].evidence.startswith("from base.json: test.bench r3")
    assert host.memory_latency_s is not None
    assert host.memory_latency_s.evidence.startswith("from base.json: ")
    assert gpu.device == "gpu0"
    assert document.results[1].startswith("base.json: quick suite")
    assert encode(document)


def test_costs_of_operators_come_from_the_base() -> None:
    base = builtin_calibration("hgx-h100")
    assert base is not None
    assert base.operators
    document = completed(msgspec.structs.replace(base, operators=()), base, "base.json")
    assert [one.operator for one in document.operators] == [one.operator for one in base.operators]
    told = document.operators[0].coefficients[0].estimate.evidence
    assert told.startswith("from base.json: ")


def test_complete_calibration_takes_nothing_from_its_base() -> None:
    document = completed(BASE, BASE, "base.json")
    assert document.devices == BASE.devices


def test_base_of_another_machine_is_refused() -> None:
    nodes = tuple(
        msgspec.structs.replace(node, name="tower") if isinstance(node, Host) else node
        for node in MACHINE.nodes
    )
    other = msgspec.structs.replace(BASE, machine=msgspec.structs.replace(MACHINE, nodes=nodes))
    with pytest.raises(InputError, match=r"old.json is a calibration of another machine"):
        completed(BASE, other, "old.json")


def test_what_nobody_measured_comes_from_data_sheets_and_is_nominal() -> None:
    measured = gpu_server.calibrated(
        gpu_server.beside("stream.triad", 2.9e12, variant="v"),
        gpu_server.beside("compute.gemm", 6e14, "flop_per_s", dtype="bf16", variant="v"),
        gpu_server.beside("copy.h2d", 55e9, executor="ce", num_bytes=1 << 28),
    )
    document = supplemented(measured)
    first, *others = document.devices
    assert len(others) == 7
    assert {one.memory_bandwidth_bytes_per_s.source for one in others if
            one.memory_bandwidth_bytes_per_s} == {Source.NOMINAL}  # fmt: skip
    assert first.memory_bandwidth_bytes_per_s is not None
    assert first.memory_bandwidth_bytes_per_s.source is Source.MEASURED
    sources = {rate.dtype: rate.rate_flop_per_s.source for rate in first.compute}
    assert sources["bf16"] is Source.MEASURED
    assert sources["fp64"] is Source.NOMINAL
    assert len([rate for rate in first.compute if rate.dtype == "bf16"]) == 1
    link = next(one for one in document.links if one.link == gpu_server.LINK)
    assert link.a_to_b_bytes_per_s is not None
    assert link.b_to_a_bytes_per_s is not None
    assert link.a_to_b_bytes_per_s.source is Source.MEASURED
    assert link.b_to_a_bytes_per_s.source is Source.NOMINAL
    assert len(document.links) > len(measured.links)


def test_machine_without_gpus_takes_nothing_from_data_sheets() -> None:
    assert supplemented(BASE).links == BASE.links


def test_slowdowns_of_pairs_that_new_runs_lack_come_from_the_base() -> None:
    old = calibrated(*pair("stream", "stream", 2.0), *pair("stream", "memcpy", 4.0))
    new = calibrated(*pair("memcpy", "memcpy", 3.0), *pair("stream", "stream", 5.0))
    matrix = completed(new, old, "base.json").contention[0].slowdown
    assert matrix is not None
    assert matrix.flows == ("memcpy", "stream")
    (both, beside_read), (beside_memcpy, again) = matrix.slowdown_victim_aggressor
    assert both is not None
    assert again is not None
    assert beside_read is not None
    assert beside_memcpy is not None
    assert [both.value, again.value] == pytest.approx([3.0, 5.0])
    assert [beside_read.value, beside_memcpy.value] == pytest.approx([4.0, 4.0])
    assert beside_read.evidence.startswith("from base.json: ")
    assert not again.evidence.startswith("from base.json: ")
