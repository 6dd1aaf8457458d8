"""Reading a driver that can refuse any call, as drivers, guests and containers do."""

from __future__ import annotations

from typing import Any

import pytest

from topoprobe.machine.building import build
from topoprobe.machine.facts import Facts
from topoprobe.machine.sources import nvml
from topoprobe.machine.sources.nvml.codes import Code
from topoprobe.machine.sources.nvml.fake import FakeGpu, FakeNvml
from topoprobe.machine.view import Machine
from topoprobe.records.base import Tool
from topoprobe.records.machine import Fabric, Gpu, Health, LinkKind, MachineDocument, Partition

A, B = "00000000:53:00.0", "00000000:64:00.0"
CLUSTER = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
# What a call is answered with on a GB200 tray; 18 links into hidden switches.
COHERENT = FakeGpu(
    address="00000008:01:00.0",
    name="NVIDIA GB200",
    device_id=0x294110DE,
    compute_capability=(10, 0),
    own_generation=6,
    c2c=(5, 44712),
    numa_words=(0b1,),
    changed={
        "nvmlDeviceGetNumaNodeId": 2,
        "nvmlDeviceGetModuleId": 2,
        "nvmlDeviceGetAddressingMode": 2,
        "nvmlDeviceGetPlatformInfo": {"slotNumber": 14, "trayIndex": 4, "moduleId": 2},
        "nvmlDeviceGetGpuFabricInfoV": {
            "state": 3, "status": 0, "clusterUuid": CLUSTER, "cliqueId": 2,
            "healthMask": 0b10_10_10_10, "healthSummary": 1,
        },
    },
)  # fmt: skip


def fake(failures: dict[Any, Code] | None = None, **changed: Any) -> FakeNvml:
    return FakeNvml([FakeGpu(A, changed=changed), FakeGpu(B, changed=changed)], failures)


def scan(provider: FakeNvml) -> MachineDocument:
    return build([nvml.read(provider)], origin="live", tool=Tool(tool_version="0"))


def gpus(provider: FakeNvml) -> tuple[Gpu, ...]:
    return Machine(scan(provider)).all(Gpu)


def reasons(facts: Facts | MachineDocument) -> dict[tuple[str, str], str]:
    return {(m.subject, m.fact): m.reason for m in facts.unknown}


def test_gpus_get_their_drivers_facts() -> None:
    document = scan(fake())
    first, second = Machine(document).all(Gpu)
    assert (first.id, second.id) == ("gpu@0000:53:00.0", "gpu@0000:64:00.0")
    assert first.name == "NVIDIA H100 80GB HBM3"
    assert first.uuid == "GPU-5ca1ab1e-0000-4000-8000-000000000000"
    assert (first.memory_bytes, first.bar1_bytes) == (80 << 30, 128 << 30)
    assert (first.pci_vendor, first.pci_device) == ("10de", "2330")
    assert (first.compute_capability, first.driver) == ("9.0", "nvidia 580.105.08")
    assert (first.numa_index, first.cpus) == (0, (0, 1, 2, 3))
    assert (first.num_nvlinks, first.max_nvlinks, first.is_mig_enabled) == (18, 18, False)
    assert (first.performance_state, first.is_idle, first.num_pcie_replays) == ("P0", False, 0)
    assert first.virtualization == "none"
    (pair,) = document.pairs
    assert (pair.path_class, pair.pcie_class, pair.peer_status) == ("NV18", "SYS", "OK")
    links = [link for link in document.links if link.kind is LinkKind.NVLINK]
    assert [link.nominal and link.nominal.bandwidth_bytes_per_s for link in links] == [450e9] * 2
    assert document.contradictions == ()


def test_pcie_link_keeps_now_limit_and_the_gpus_own_generation_apart() -> None:
    gpu = FakeGpu(A, generation=1, max_generation=5, own_generation=6, width=8)
    (function,) = nvml.read(FakeNvml([gpu])).functions
    assert function.current is not None
    assert function.nominal is not None
    assert function.maximum is not None
    assert (function.current.transfers_per_s, function.current.num_lanes) == (2.5e9, 8)
    assert (function.nominal.transfers_per_s, function.nominal.num_lanes) == (32e9, 16)
    assert (function.maximum.transfers_per_s, function.maximum.num_lanes) == (64e9, None)


def test_link_faster_than_its_limit_is_a_contradiction() -> None:
    facts = nvml.read(FakeNvml([FakeGpu(A, generation=6, max_generation=4, own_generation=6)]))
    (found,) = facts.contradictions
    assert (found.subject, found.fact) == ("0000:53:00.0", "PCIe generation")
    assert found.readings == ("current: Gen6", "the GPU and its slot at most: Gen4")
    assert facts.functions[0].nominal is not None
    assert facts.functions[0].nominal.transfers_per_s is None


@pytest.mark.parametrize("function", ["Event", "Throttle"])
def test_idleness_is_read_by_both_names_of_the_call(function: str) -> None:
    other = {"Event": "Throttle", "Throttle": "Event"}[function]
    provider = fake(
        {f"nvmlDeviceGetCurrentClocks{other}Reasons": Code.FUNCTION_NOT_FOUND},
        **{f"nvmlDeviceGetCurrentClocks{function}Reasons": 0x1},
    )
    assert [gpu.is_idle for gpu in nvml.read(provider).gpus] == [True, True]


def test_health_is_read() -> None:
    def fields(asked: list[Any]) -> list[dict[str, Any]]:
        return [{"nvmlReturn": 0 if one == 230 else 3, "value": 4} for one in asked]

    provider = fake(
        nvmlDeviceGetTotalEccErrors=lambda kind, counter: 10 * kind + counter,
        nvmlDeviceGetRemappedRows=[0, 2, 0, 1],
        nvmlDeviceGetCurrentClocksEventReasons=0x04 | 0x08 | 0x40,
        nvmlDeviceGetFieldValues=fields,
    )
    first, _ = nvml.read(provider).gpus
    assert first.health == Health(
        num_uncorrectable_errors=10,
        num_lifetime_uncorrectable_errors=11,
        is_remapping_pending=False,
        has_remapping_failed=True,
        slowdowns=("hw slowdown", "hw thermal slowdown"),
        recovery_action="drain and reset",
    )


@pytest.mark.parametrize("value", [[], [1], "x", None, [0, 0, None, None]])
def test_health_that_makes_no_sense_is_unknown(value: object) -> None:
    (first, _) = nvml.read(fake(nvmlDeviceGetRemappedRows=value)).gpus
    assert first.health is not None
    assert first.health.has_remapping_failed is None


def test_board_that_supports_nothing_has_no_health() -> None:
    refused = dict.fromkeys(
        (
            "nvmlDeviceGetTotalEccErrors",
            "nvmlDeviceGetRemappedRows",
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
            "nvmlDeviceGetFieldValues",
        ),
        Code.NOT_SUPPORTED,
    )
    facts = nvml.read(fake(refused))
    assert [gpu.health for gpu in facts.gpus] == [None, None]
    assert not [missing for missing in facts.unknown if missing.fact == "health"]


def test_calls_stay_modest() -> None:
    provider = FakeNvml([FakeGpu(f"00000000:{bus:02x}:00.0") for bus in range(8)])
    nvml.read(provider)
    assert len(provider.calls) <= 120 * 8


@pytest.mark.parametrize(
    ("function", "fact"),
    [
        ("nvmlDeviceGetName", "name"),
        ("nvmlDeviceGetUUID", "uuid"),
        ("nvmlDeviceGetMemoryInfo", "memory_bytes"),
        ("nvmlDeviceGetBAR1MemoryInfo", "bar1_bytes"),
        ("nvmlDeviceGetCudaComputeCapability", "compute_capability"),
        ("nvmlDeviceGetPerformanceState", "performance_state"),
    ],
)
def test_refused_call_costs_its_own_fact_only_and_says_why(function: str, fact: str) -> None:
    document = scan(fake({function: Code.NOT_SUPPORTED}))
    for gpu in Machine(document).all(Gpu):
        assert reasons(document)[gpu.id, fact] == f"{function} failed: Not Supported."
        assert gpu.num_nvlinks == 18


def test_facts_of_few_boards_are_absent_without_a_word_where_not_supported() -> None:
    document = scan(fake())
    assert {fact for subject, fact in reasons(document) if subject.startswith("gpu@")} == {"parent"}


@pytest.mark.parametrize(
    "function",
    [
        "nvmlDeviceGetModuleId", "nvmlDeviceGetNumaNodeId", "nvmlDeviceGetGpuFabricInfoV",
        "nvmlDeviceGetMigMode", "nvmlDeviceGetPcieReplayCounter", "nvmlDeviceGetAddressingMode",
        "nvmlDeviceGetFieldValues",
    ],
)  # fmt: skip
def test_facts_of_few_boards_that_fail_otherwise_are_unknown_and_named(function: str) -> None:
    facts = nvml.read(fake({function: Code.NO_PERMISSION}))
    assert f"{function} failed: Insufficient Permissions." in {m.reason for m in facts.unknown}


def test_no_single_failing_call_ends_the_scan() -> None:
    provider = fake()
    nvml.read(provider)
    for function in {name for name, _ in provider.calls}:
        for code in Code:
            document = scan(fake({function: code}))
            assert document.nodes[0].id == "host"


@pytest.mark.parametrize("odd", [None, True, -1, 1 << 70, "N/A", [], {}, [None], {"total": "x"}])
def test_answers_that_make_no_sense_are_unknown(odd: object) -> None:
    provider = fake()
    nvml.read(provider)
    for function in {name for name, _ in provider.calls}:
        document = scan(fake(**{function: odd}))
        assert document.nodes[0].id == "host"


def test_nvlinks_that_do_not_answer_are_unknown_and_not_zero() -> None:
    facts = nvml.read(fake({"nvmlDeviceGetNvLinkState": Code.UNKNOWN}))
    assert [(gpu.num_nvlinks, gpu.max_nvlinks) for gpu in facts.gpus] == [(None, 18)] * 2
    assert reasons(facts)["0000:53:00.0", "nvlinks"] == (
        "nvmlDeviceGetNvLinkState failed: Unknown Error, for links 0-17."
    )


@pytest.mark.parametrize("count", [Code.NOT_SUPPORTED, None])
def test_board_without_nvlinks_has_zero(count: Code | None) -> None:
    failures = {} if count is None else {"nvmlDeviceGetFieldValues": count}
    facts = nvml.read(FakeNvml([FakeGpu(A, num_links=0)], failures))
    assert [gpu.num_nvlinks for gpu in facts.gpus] == [0]
    assert facts.peers == ()


def test_links_that_are_down_are_named() -> None:
    facts = nvml.read(FakeNvml([FakeGpu(A, num_links=4, links_down=(0, 2))]))
    assert (facts.gpus[0].num_nvlinks, facts.gpus[0].max_nvlinks) == (2, 4)
    reason = reasons(facts)["0000:53:00.0", "inactive nvlinks"]
    assert reason == "The driver says these links are down: 0,2."


def test_links_without_peer_access_are_named() -> None:
    facts = nvml.read(fake(nvmlDeviceGetNvLinkCapability=0))
    reason = reasons(facts)["0000:53:00.0", "nvlinks without peers"]
    assert reason == "The driver says these links are not for peers: 0-17."


def test_direct_links_join_their_two_gpus() -> None:
    ends = [FakeGpu(A, num_links=4, peers=dict.fromkeys(range(4), B)),
            FakeGpu(B, num_links=4, peers=dict.fromkeys(range(4), A))]  # fmt: skip
    document = scan(FakeNvml(ends))
    assert [pair.path_class for pair in document.pairs] == ["NV4"]
    (link,) = (link for link in document.links if link.kind is LinkKind.NVLINK)
    assert (link.a, link.b, link.count) == ("gpu@0000:53:00.0", "gpu@0000:64:00.0", 4)


def test_rate_of_an_unknown_gpu_follows_from_the_version_of_its_links() -> None:
    unknown = FakeGpu(A, compute_capability=(99, 0), num_links=2)
    facts = nvml.read(FakeNvml([unknown]))
    assert [peer.bandwidth_bytes_per_s for peer in facts.peers] == [2 * 25e9]


def test_gpu_that_fell_off_the_bus_does_not_hide_the_next() -> None:
    document = scan(fake({0: Code.GPU_IS_LOST}))
    assert [gpu.id for gpu in Machine(document).all(Gpu)] == ["gpu@0000:64:00.0"]
    assert reasons(document)["host", "NVML GPU 0"] == (
        "nvmlDeviceGetHandleByIndex failed: GPU is lost."
    )


def test_gpu_that_falls_off_while_it_is_asked_keeps_its_address_and_is_asked_no_more() -> None:
    provider = fake({("nvmlDeviceGetCurrPcieLinkGeneration", 0): Code.GPU_IS_LOST})
    facts = nvml.read(provider)
    assert [gpu.subject for gpu in facts.gpus] == ["0000:53:00.0", "0000:64:00.0"]
    assert "GPU is lost" in reasons(facts)["0000:53:00.0", "name"]
    assert facts.gpus[0].num_nvlinks is None
    asked = [name for name, arguments in provider.calls if arguments[:1] == ("gpu:0",)]
    assert asked[-1] == "nvmlDeviceGetCurrPcieLinkGeneration"
    assert facts.pairs == ()


def test_driver_without_a_count_is_unavailable() -> None:
    facts = nvml.read(fake({"nvmlDeviceGetCount": Code.LIB_RM_VERSION_MISMATCH}))
    assert "version mismatch" in reasons(facts)["host", "nvml"]


def test_mig_devices_are_partitions() -> None:
    split = FakeGpu(A, partitions=("MIG 1g.10gb", "MIG 2g.20gb"))
    machine = Machine(scan(FakeNvml([split, FakeGpu(B)])))
    assert [gpu.is_mig_enabled for gpu in machine.all(Gpu)] == [True, False]
    assert [gpu.partition_mode for gpu in machine.all(Gpu)] == ["mig", None]
    parts = [(part.name, part.parent) for part in machine.all(Partition)]
    assert parts == [
        ("MIG 1g.10gb", "gpu@0000:53:00.0"), ("MIG 2g.20gb", "gpu@0000:53:00.0"),
    ]  # fmt: skip


def test_coherent_gpu_of_a_rack_tells_its_memory_fabric_and_place() -> None:
    facts = nvml.read(FakeNvml([COHERENT]))
    (gpu,) = facts.gpus
    assert (gpu.numa_index, gpu.memory_numa_index) == (0, 2)
    assert [(n.os_index, n.memory_of) for n in facts.numas] == [(2, "0008:01:00.0")]
    assert (gpu.addressing_mode, gpu.module_id) == ("ats", 2)
    assert (gpu.chassis_slot, gpu.chassis_tray) == (14, 4)
    assert gpu.fabric == Fabric(
        state="completed", status="success", clique_id=2, health="healthy",
        cluster_uuid="00000001-0000-0000-0000-000000000001",
    )  # fmt: skip
    c2c = [peer for peer in facts.peers if peer.kind is LinkKind.C2C]
    assert [(peer.count, peer.bandwidth_bytes_per_s) for peer in c2c] == [(5, 5 * 44712e6)]


def test_node_that_a_gpu_is_attached_to_is_not_its_memory() -> None:
    (gpu,) = nvml.read(FakeNvml([FakeGpu(A, changed={"nvmlDeviceGetNumaNodeId": 0})])).gpus
    assert gpu.memory_numa_index is None


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"state": 0}, None),
        ({"state": 1, "status": 0}, Fabric(state="not started", status="success")),
        (
            {"state": 3, "status": 0, "clusterUuid": [0] * 16, "cliqueId": 0, "healthMask": 0},
            Fabric(state="completed", status="success"),
        ),
        (
            {"state": 3, "status": 999, "clusterUuid": CLUSTER, "cliqueId": 7, "healthMask": 9},
            Fabric(
                state="completed",
                status="unknown error",
                cluster_uuid="00000001-0000-0000-0000-000000000001",
                clique_id=7,
                health="unhealthy: bandwidth degraded",
            ),
        ),
        (
            {"state": 3, "status": 0, "healthMask": 5 << 8, "healthSummary": 3},
            Fabric(state="completed", status="success", health="limited capacity: too few NVLinks"),
        ),
    ],
)  # fmt: skip
def test_fabric_is_what_its_numbers_mean(info: dict[str, Any], expected: Fabric | None) -> None:
    facts = nvml.read(FakeNvml([FakeGpu(A, changed={"nvmlDeviceGetGpuFabricInfoV": info})]))
    assert facts.gpus[0].fabric == expected


def test_guest_is_told_and_a_shared_root_bus_there_is_no_class() -> None:
    guest = {"nvmlDeviceGetVirtualizationMode": 1, "nvmlDeviceGetTopologyCommonAncestor": 30}
    facts = nvml.read(fake(**guest))
    assert facts.host is not None
    assert facts.host.is_virtual is True
    assert [pair.pcie_class for pair in facts.pairs] == [None]


@pytest.mark.parametrize(
    ("read_status", "write_status", "word"),
    [(0, 0, "OK"), (1, 1, "CNS"), (0, 4, "DR"), (5, 0, "NS"), (9, 0, None)],
)
def test_peer_status_is_the_worse_of_reading_and_writing(
    read_status: int, write_status: int, word: str | None
) -> None:
    def status(other: str, access: int) -> int:
        return (read_status, write_status)[access]

    (pair,) = nvml.read(fake(nvmlDeviceGetP2PStatus=status)).pairs
    assert pair.peer_status == word


def test_missing_library_is_a_normal_case_with_its_reason() -> None:
    facts = nvml.unavailable("NVML library not found: there is no NVIDIA driver here.")
    assert [(m.subject, m.fact) for m in facts.unknown] == [("host", "nvml")]
