"""Names by kind and number."""

from __future__ import annotations

from topoprobe.machine.building import build
from topoprobe.machine.facts import Facts, PciFact, StorageFact
from topoprobe.machine.numbering import endpoint_names
from topoprobe.machine.view import Machine
from topoprobe.records.base import Tool


def test_endpoints_are_numbered_by_kind_in_the_order_of_the_document() -> None:
    codes = ("030200", "020000", "010802", "020000", "010700")
    functions = tuple(
        PciFact(address=f"0000:0{i}:00.0", root="0000:00", class_code=code, vendor="10de")
        for i, code in enumerate(codes)
    )
    disk = StorageFact(address="0000:04:00.0", block_devices=("sda",))
    facts = Facts(source="a", tree="full", functions=functions, storage=(disk,))
    machine = Machine(build([facts], origin="recorded", tool=Tool(tool_version="0")))
    assert endpoint_names(machine) == {
        "gpu@0000:00:00.0": "GPU 0",
        "nic@0000:01:00.0": "NIC 0",
        "nic@0000:03:00.0": "NIC 1",
        "nvme@0000:02:00.0": "NVMe 0",
        "nvme@0000:04:00.0": "disk 1",
    }
