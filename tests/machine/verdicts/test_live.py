"""Verdicts on a running machine: a small copy of /sys, and a driver that can fail any call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.machine.verdicts.made_up import levels
from topoprobe.machine.sources.files import Folder
from topoprobe.machine.sources.nvml.codes import Code
from topoprobe.machine.sources.nvml.fake import FakeGpu, FakeNvml
from topoprobe.machine.sources.scan import read_live
from topoprobe.machine.verdicts import judge
from topoprobe.machine.view import Machine
from topoprobe.records.base import Verdict

PORTS = ("0000:00:01.0", "0000:00:02.0")
BELOW_ONE_BRIDGE = {"nvmlDeviceGetTopologyCommonAncestor": 30}
GPUS = ("0000:01:00.0", "0000:02:00.0")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Write two GPUs below two root ports of one NUMA node, all Gen5 x16."""
    for port, gpu in zip(PORTS, GPUS, strict=True):
        above = tmp_path / "sys/devices/pci0000:00" / port
        for folder, class_code, vendor in ((above, "0x060400", "0x8086"),
                                           (above / gpu, "0x030200", "0x10de")):  # fmt: skip
            folder.mkdir(parents=True)
            files = {
                "class": class_code, "vendor": vendor, "device": "0x2330", "numa_node": "0",
                "max_link_speed": "32.0 GT/s PCIe", "max_link_width": "16",
                "current_link_speed": "32.0 GT/s PCIe", "current_link_width": "16",
            }  # fmt: skip
            for name, text in files.items():
                (folder / name).write_text(f"{text}\n")
            link = tmp_path / "sys/bus/pci/devices" / folder.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(folder)
    node = tmp_path / "sys/devices/system/node/node0"
    node.mkdir(parents=True)
    (node / "cpulist").write_text("0-3\n")
    return tmp_path


def set_link(tree: Path, number: int, **files: str) -> None:
    """Change the link of one GPU, as both of its ends see it."""
    above = tree / "sys/devices/pci0000:00" / PORTS[number]
    for folder in (above, above / GPUS[number]):
        for name, text in files.items():
            (folder / name).write_text(f"{text}\n")


def wrong(tree: Path, failures: Any = None, **gpu: Any) -> list[Verdict]:
    shown = [FakeGpu(f"0000{address.upper()}", changed=BELOW_ONE_BRIDGE, **gpu) for address in GPUS]
    document = read_live(Folder(tree), FakeNvml(shown, failures))
    return [verdict for verdict in judge(Machine(document)) if verdict.level != "OK"]


def test_healthy_machine_has_no_fault(tree: Path) -> None:
    assert wrong(tree) == []


def test_narrowed_gpu_fails(tree: Path) -> None:
    set_link(tree, 1, current_link_width="8")
    (verdict,) = [v for v in wrong(tree, width=8) if v.subject == f"pcie@{GPUS[1]}"]
    assert (verdict.level, verdict.check) == ("FAIL", "link-width")
    assert "x8 of x16, which costs 50 %" in verdict.evidence


def test_idle_gpu_at_gen1_is_no_fault_and_a_busy_one_is(tree: Path) -> None:
    for number in range(2):
        set_link(tree, number, current_link_speed="2.5 GT/s PCIe")
    assert wrong(tree, generation=1, performance_state=8) == []
    busy = wrong(tree, generation=1, performance_state=0)
    assert [(v.level, v.check) for v in busy] == [("FAIL", "link-speed")] * 2


def test_gpu_without_a_driver_cannot_be_judged_at_rest(tree: Path) -> None:
    set_link(tree, 0, current_link_speed="2.5 GT/s PCIe")
    document = read_live(Folder(tree), "NVML library not found.")
    found = [v for v in judge(Machine(document)) if v.level != "OK"]
    assert [(v.level, v.check) for v in found] == [("FAIL", "driver"), ("WARN", "link-speed")]


def test_slot_of_a_lower_generation_is_worth_a_look(tree: Path) -> None:
    port = tree / "sys/devices/pci0000:00" / PORTS[0]
    (port / "max_link_speed").write_text("16.0 GT/s PCIe\n")
    set_link(tree, 0, current_link_speed="16.0 GT/s PCIe")
    (verdict,) = wrong(tree, generation=4, max_generation=4)
    assert (verdict.level, verdict.check) == ("WARN", "link-speed")
    assert "a Gen5 card in a Gen4 slot" in verdict.evidence


def test_lost_nvlinks_fail_with_the_call_that_failed(tree: Path) -> None:
    (verdict,) = wrong(tree, {("nvmlDeviceGetNvLinkState", 1): Code.UNKNOWN})
    assert (verdict.level, verdict.check, verdict.subject) == ("FAIL", "nvlinks", f"gpu@{GPUS[1]}")
    assert "Has 0 of 18 NVLinks. nvmlDeviceGetNvLinkState" in verdict.evidence


def test_inactive_nvlinks_fail_with_their_numbers(tree: Path) -> None:
    found = wrong(tree, links_down=(3, 4))
    assert levels(found) == ["FAIL", "FAIL"]
    assert found[0].evidence == ("Has 16 of 18 NVLinks. The driver says these links are down: 3-4.")


def test_gpu_that_fell_off_the_bus_fails(tree: Path) -> None:
    found = wrong(tree, {"nvmlDeviceGetHandleByIndex": Code.GPU_IS_LOST})
    assert {v.check for v in found if v.level == "FAIL"} >= {"driver"}
    found = wrong(tree, {("nvmlDeviceGetPciInfo", 1): Code.GPU_IS_LOST})
    assert [v.check for v in found if v.level == "FAIL"] == ["driver"]
    assert "GPU 1" in found[0].evidence


def test_any_call_may_fail_without_a_traceback(tree: Path) -> None:
    provider = FakeNvml([FakeGpu(f"0000{address.upper()}") for address in GPUS])
    read_live(Folder(tree), provider)
    for function in sorted({function for function, _ in provider.calls}):
        for verdict in wrong(tree, {function: Code.UNKNOWN}):
            assert verdict.evidence
            assert verdict.fix
