"""`nvidia-smi -q -x`: recorded machines, layouts of other versions, and damage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import InputError
from topoprobe.machine.building import build
from topoprobe.machine.drawing import draw_tree
from topoprobe.machine.facts import Facts
from topoprobe.machine.pcie import describe
from topoprobe.machine.sources import detect
from topoprobe.machine.view import Machine
from topoprobe.records.base import Tool
from topoprobe.records.machine import Fabric, Gpu, Health, MachineDocument, Partition

CLUSTER = "00000001-0000-0000-0000-000000000001"


class Recorded(NamedTuple):
    """What a recording holds, GPU by GPU or the same for all."""

    file: str
    driver: str
    model: str
    device: str
    addresses: tuple[str, ...]
    current: str
    nominal: str
    own_generation: str
    memory_mib: int
    bar1_mib: int
    modules: tuple[int, ...]
    replays: tuple[int, ...]
    addressing: str
    place: tuple[int | None, int | None]
    fabric: Fabric | None


RECORDINGS = (
    Recorded(
        file="qx-h100.xml",
        driver="nvidia 580.105.08",
        model="NVIDIA H100 80GB HBM3",
        device="2330",
        addresses=tuple(
            f"0000:{bus}:00.0" for bus in ("53", "64", "75", "86", "97", "a8", "b9", "ca")
        ),
        current="Gen5 x16",
        nominal="Gen5 x16",
        own_generation="Gen5",
        memory_mib=81559,
        bar1_mib=131072,
        modules=(7, 5, 6, 8, 1, 3, 4, 2),
        replays=(150, 144, 174, 158, 145, 172, 162, 106),
        addressing="hmm",
        place=(None, None),
        fabric=Fabric(state="completed", status="success"),
    ),
    Recorded(
        file="qx-gb200.xml",
        driver="nvidia 580.173.02",
        model="NVIDIA GB200",
        device="2941",
        addresses=tuple(f"0000:{bus}:00.0" for bus in ("29", "3f", "9c", "b2")),
        current="Gen5 x16",
        nominal="Gen5 x16",
        own_generation="Gen6",
        memory_mib=189471,
        bar1_mib=262144,
        modules=(2, 1, 4, 3),
        replays=(0, 0, 0, 0),
        addressing="ats",
        place=(14, 4),
        fabric=Fabric(
            state="completed", status="success", cluster_uuid=CLUSTER, clique_id=2,
            health="healthy",
        ),
    ),
    Recorded(
        file="qx-l40s.xml",
        driver="nvidia 595.91.07",
        model="NVIDIA L40S",
        device="26b9",
        addresses=("0000:30:00.0",),
        current="Gen4 x8",
        nominal="Gen4 x16",
        own_generation="Gen4",
        memory_mib=46068,
        bar1_mib=65536,
        modules=(1,),
        replays=(0,),
        addressing="hmm",
        place=(None, None),
        fabric=None,
    ),
    Recorded(
        file="qx-a100.xml",
        driver="nvidia 570.148.08",
        model="NVIDIA A100-SXM4-40GB",
        device="20b0",
        addresses=("0000:06:00.0",),
        current="Gen4 x16",
        nominal="Gen4 x16",
        own_generation="Gen4",
        memory_mib=40960,
        bar1_mib=65536,
        modules=(7,),
        replays=(0,),
        addressing="hmm",
        place=(None, None),
        fabric=None,
    ),
)  # fmt: skip


@pytest.mark.parametrize("expected", RECORDINGS, ids=lambda row: row.file)
def test_recorded_machine_is_read_with_every_figure(recordings: Path, expected: Recorded) -> None:
    document = scan((recordings / "topologies/nvidia-smi-q" / expected.file).read_bytes())
    machine = Machine(document)
    gpus = machine.all(Gpu)
    links = [machine.link_above(gpu.id) for gpu in gpus]
    assert tuple(gpu.pci_address for gpu in gpus) == expected.addresses
    assert {gpu.model for gpu in gpus} == {expected.model}
    assert {(gpu.pci_vendor, gpu.pci_device) for gpu in gpus} == {("10de", expected.device)}
    assert {gpu.driver for gpu in gpus} == {expected.driver}
    assert {describe(link and link.current) for link in links} == {expected.current}
    assert {describe(link and link.nominal) for link in links} == {expected.nominal}
    assert {describe(link and link.b_capability) for link in links} == {expected.own_generation}
    assert {gpu.memory_bytes for gpu in gpus} == {expected.memory_mib << 20}
    assert {gpu.bar1_bytes for gpu in gpus} == {expected.bar1_mib << 20}
    assert tuple(gpu.module_id for gpu in gpus) == expected.modules
    assert tuple(gpu.num_pcie_replays for gpu in gpus) == expected.replays
    assert {gpu.addressing_mode for gpu in gpus} == {expected.addressing}
    assert {gpu.virtualization for gpu in gpus} == {"pass-through"}
    assert {(gpu.chassis_slot, gpu.chassis_tray) for gpu in gpus} == {expected.place}
    assert {gpu.performance_state for gpu in gpus} == {"P0"}
    assert [gpu.fabric for gpu in gpus] == [expected.fabric] * len(gpus)
    assert {gpu.is_mig_enabled for gpu in gpus} == {False}
    assert machine.host is not None
    assert machine.host.is_virtual is True
    assert document.contradictions == ()


OLD = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v11.dtd">
<nvidia_smi_log>
	<timestamp>Tue Mar  2 10:00:00 2021</timestamp>
	<driver_version>450.80.02</driver_version>
	<attached_gpus>1</attached_gpus>
	<gpu id="00000000:3B:00.0">
		<product_name>Tesla V100-SXM2-32GB</product_name>
		<uuid>GPU-7a8b1c2d-0000-4000-8000-123456789abc</uuid>
		<mig_mode>
			<current_mig>N/A</current_mig>
			<pending_mig>N/A</pending_mig>
		</mig_mode>
		<gpu_virtualization_mode>
			<virtualization_mode>None</virtualization_mode>
			<host_vgpu_mode>N/A</host_vgpu_mode>
		</gpu_virtualization_mode>
		<pci>
			<pci_device_id>1DB510DE</pci_device_id>
			<pci_bus_id>00000000:3B:00.0</pci_bus_id>
			<pci_gpu_link_info>
				<pcie_gen>
					<max_link_gen>3</max_link_gen>
					<current_link_gen>1</current_link_gen>
				</pcie_gen>
				<link_widths>
					<max_link_width>16x</max_link_width>
					<current_link_width>16x</current_link_width>
				</link_widths>
			</pci_gpu_link_info>
			<replay_counter>3</replay_counter>
		</pci>
		<performance_state>P8</performance_state>
		<clocks_throttle_reasons>
			<clocks_throttle_reason_gpu_idle>Active</clocks_throttle_reason_gpu_idle>
		</clocks_throttle_reasons>
		<fb_memory_usage>
			<total>32510 MiB</total>
		</fb_memory_usage>
		<bar1_memory_usage>
			<total>32768 MiB</total>
		</bar1_memory_usage>
		<processes>
		</processes>
	</gpu>

</nvidia_smi_log>
"""
SPLIT = """
		<mig_mode>
			<current_mig>Enabled</current_mig>
		</mig_mode>
		<mig_devices>
			<mig_device>
				<index>0</index>
				<gpu_instance_id>1</gpu_instance_id>
				<compute_instance_id>0</compute_instance_id>
				<fb_memory_usage>
					<total>19968 MiB</total>
				</fb_memory_usage>
			</mig_device>
			<mig_device>
				<index>2</index>
				<fb_memory_usage>
					<total>N/A</total>
				</fb_memory_usage>
			</mig_device>
		</mig_devices>
"""


def changed(*replacements: tuple[str, str]) -> str:
    text = OLD
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return text


def facts(text: str) -> Facts:
    (found,) = detect.read_file(text.encode(), "q.xml")
    return found


def scan(data: bytes) -> MachineDocument:
    return build(detect.read_file(data, "q.xml"), origin="recorded", tool=Tool(tool_version="0"))


def test_guest_of_unknown_kind_is_drawn_without_one() -> None:
    guest = changed(
        ("<virtualization_mode>None", "<virtualization_mode>Pass-Through"),
    )
    text = draw_tree(Machine(scan(guest.encode())), width=100)
    assert "virtual machine" in text
    assert "None" not in text


def reasons(found: Facts) -> dict[tuple[str, str], str]:
    return {(m.subject, m.fact): m.reason for m in found.unknown}


def test_old_layout_is_read_and_its_document_type_not_fetched() -> None:
    found = facts(OLD)
    (gpu,), (function,) = found.gpus, found.functions
    assert (gpu.subject, gpu.name) == ("0000:3b:00.0", "Tesla V100-SXM2-32GB")
    assert gpu.uuid == "GPU-7a8b1c2d-0000-4000-8000-123456789abc"
    assert (gpu.memory_bytes, gpu.bar1_bytes) == (32510 << 20, 32768 << 20)
    assert (gpu.performance_state, gpu.is_idle, gpu.num_pcie_replays) == ("P8", True, 3)
    assert (gpu.virtualization, gpu.is_mig_enabled, gpu.fabric) == ("none", False, None)
    assert describe(function.current) == "Gen1 x16"
    assert describe(function.nominal) == "Gen3 x16"
    assert function.maximum is None
    assert (found.unknown, found.contradictions, found.host) == ((), (), None)


HEALTH = """<ecc_errors>
        <volatile>
            <sram_correctable>9</sram_correctable>
            <sram_uncorrectable_parity>1</sram_uncorrectable_parity>
            <sram_uncorrectable_secded>2</sram_uncorrectable_secded>
            <dram_uncorrectable>4</dram_uncorrectable>
        </volatile>
        <aggregate><sram_uncorrectable>8</sram_uncorrectable>
            <dram_uncorrectable>N/A</dram_uncorrectable></aggregate>
    </ecc_errors>
    <remapped_rows>
        <remapped_row_pending>Yes</remapped_row_pending>
        <remapped_row_failure>No</remapped_row_failure>
    </remapped_rows>
    <gpu_recovery_action>GPU Reset</gpu_recovery_action>
    <clocks_event_reasons>
        <clocks_event_reason_hw_slowdown>Active</clocks_event_reason_hw_slowdown>
        <clocks_event_reason_hw_power_brake_slowdown>Active</clocks_event_reason_hw_power_brake_slowdown>
        <clocks_event_reason_sw_power_cap>Active</clocks_event_reason_sw_power_cap>
    </clocks_event_reasons><processes>"""


def test_health_is_read_and_what_is_as_it_should_be_is_no_slowdown() -> None:
    (gpu,) = facts(changed(("<processes>", HEALTH))).gpus
    assert gpu.health == Health(
        num_uncorrectable_errors=7,
        num_lifetime_uncorrectable_errors=8,
        is_remapping_pending=True,
        has_remapping_failed=False,
        slowdowns=("hw slowdown", "hw power brake slowdown"),
        recovery_action="gpu reset",
    )


def test_errors_of_old_boards_are_one_total() -> None:
    total = (
        "<ecc_errors><volatile><double_bit><total>3</total></double_bit></volatile></ecc_errors>"
    )
    (gpu,) = facts(changed(("<processes>", f"{total}<processes>"))).gpus
    assert gpu.health is not None
    assert gpu.health.num_uncorrectable_errors == 3
    assert gpu.health.num_lifetime_uncorrectable_errors is None


@pytest.mark.parametrize("name", ["qx-h100.xml", "qx-gb200.xml", "qx-l40s.xml", "qx-a100.xml"])
def test_recorded_gpus_are_healthy(name: str, recordings: Path) -> None:
    data = (recordings / "topologies" / "nvidia-smi-q" / name).read_bytes()
    (found,) = detect.read_file(data, name)
    assert {gpu.health for gpu in found.gpus} == {
        Health(
            num_uncorrectable_errors=0,
            num_lifetime_uncorrectable_errors=0,
            is_remapping_pending=False,
            has_remapping_failed=False,
            slowdowns=(),
            recovery_action="none",
        )
    }


def test_short_domain_and_missing_id_are_read() -> None:
    assert facts(changed(('id="00000000:3B:00.0"', 'id="0000:3B:00.0"'))).gpus[0].subject == (
        "0000:3b:00.0"
    )
    assert facts(changed((' id="00000000:3B:00.0"', ""))).gpus[0].subject == "0000:3b:00.0"


def test_module_of_drivers_before_the_platform_was_printed_is_read() -> None:
    found = facts(changed(("<processes>", "<gpu_module_id>4</gpu_module_id><processes>")))
    assert found.gpus[0].module_id == 4


def test_link_faster_than_the_slot_is_a_contradiction() -> None:
    limits = """<max_link_gen>6</max_link_gen>
        <current_link_gen>6</current_link_gen>
        <device_current_link_gen>6</device_current_link_gen>
        <max_device_link_gen>6</max_device_link_gen>
        <max_host_link_gen>4</max_host_link_gen>"""
    found = facts(
        changed(
            ("<max_link_gen>3</max_link_gen>", limits),
            ("<current_link_gen>1</current_link_gen>", ""),
        )
    )
    (contradiction,) = found.contradictions
    assert contradiction.subject == "0000:3b:00.0"
    assert contradiction.readings == ("current: Gen6", "the slot at most: Gen4")
    assert describe(found.functions[0].nominal) == "Gen6 x16"


def test_slot_of_generation_zero_is_unknown_and_contradicts_nothing() -> None:
    zero = "<max_host_link_gen>0</max_host_link_gen></pcie_gen>"
    assert facts(changed(("</pcie_gen>", zero))).contradictions == ()


def test_mig_devices_are_partitions() -> None:
    old = re.search(r"\t\t<mig_mode>.*?</mig_mode>\n", OLD, re.DOTALL)
    assert old is not None
    document = scan(changed((old[0], SPLIT)).encode())
    (gpu,) = Machine(document).all(Gpu)
    assert (gpu.is_mig_enabled, gpu.partition_mode) == (True, "mig")
    parts = [(part.id, part.name) for part in Machine(document).all(Partition)]
    assert parts == [
        ("partition@0000:3b:00.0/mig0", "MIG device 0 (19968 MiB)"),
        ("partition@0000:3b:00.0/mig2", "MIG device 2"),
    ]


@pytest.mark.parametrize("words", ["GPU is lost", "[GPU is lost]", "Unknown Error", "ERR!"])
def test_lost_gpu_keeps_its_address_and_its_words_are_reasons(words: str) -> None:
    found = facts(re.sub(r"(<(\w+)>)[^<>\n]+(</\2>)", rf"\g<1>{words}\3", OLD))
    (gpu,) = found.gpus
    assert gpu.subject == "0000:3b:00.0"
    assert (gpu.name, gpu.memory_bytes, gpu.performance_state) == (None, None, None)
    bare = words.strip("[]")
    told = reasons(found)
    assert told["0000:3b:00.0", "name"] == f"nvidia-smi prints '{bare}' as <product_name>."
    assert told["0000:3b:00.0", "current"] == f"nvidia-smi prints '{bare}' as <current_link_gen>."


@pytest.mark.parametrize("nothing", ["N/A", "[N/A]", "Not Supported", "[Not Supported]", ""])
def test_what_is_not_there_is_none_and_never_zero(nothing: str) -> None:
    found = facts(re.sub(r"(<(\w+)>)[^<>\n]+(</\2>)", rf"\g<1>{nothing}\3", OLD))
    (gpu,) = found.gpus
    assert gpu.memory_bytes is None
    assert gpu.bar1_bytes is None
    assert gpu.driver is None
    assert gpu.num_pcie_replays is None
    assert gpu.is_mig_enabled is False
    assert ("0000:3b:00.0", "memory_bytes") in reasons(found)
    assert ("0000:3b:00.0", "num_pcie_replays") not in reasons(found)


def test_absent_element_is_named() -> None:
    found = facts(changed(("<performance_state>P8</performance_state>", "")))
    assert reasons(found)["0000:3b:00.0", "performance_state"] == (
        "The recording has no <performance_state>."
    )


def test_blanked_uuid_is_none() -> None:
    blank = "GPU-00000000-0000-0000-0000-000000000000"
    assert facts(changed(("GPU-7a8b1c2d-0000-4000-8000-123456789abc", blank))).gpus[0].uuid is None


def test_blanked_addresses_leave_the_gpus_numbered() -> None:
    gpu = re.search(r"\t<gpu .*</gpu>\n", OLD, re.DOTALL)
    assert gpu is not None
    twice = changed(("3B:00.0", "00:00.0"), ("</nvidia_smi_log>", ""))
    twice += gpu[0].replace("3B:00.0", "00:00.0") + "</nvidia_smi_log>"
    found = facts(twice)
    assert [one.subject for one in found.gpus] == ["gpu:0", "gpu:1"]
    assert found.functions == ()


def test_gpus_that_are_counted_and_not_printed_are_named() -> None:
    found = facts(changed(("<attached_gpus>1<", "<attached_gpus>8<")))
    assert reasons(found)["host", "GPUs"] == "The driver counts 8 GPUs, and 1 are printed."


def test_only_the_first_of_several_outputs_in_a_row_is_read() -> None:
    assert len(facts(OLD + OLD).gpus) == 1
    assert len(facts(OLD + "Unable to determine the device handle\n").gpus) == 1


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        ("<bandwidth>Full</bandwidth>", "healthy"),
        ("<bandwidth>Degraded</bandwidth>", "unhealthy: bandwidth degraded"),
        (
            "<summary>Limited Capacity</summary><route_unhealthy>True</route_unhealthy>",
            "limited capacity: route unhealthy",
        ),
        (
            "<summary>Healthy</summary><incorrect_configuration>No Partition"
            "</incorrect_configuration>",
            "unhealthy: no partition",
        ),
        ("<summary>N/A</summary><incorrect_configuration>N/A</incorrect_configuration>", None),
    ],
)
def test_fabric_health_is_its_summary_and_what_is_wrong(health: str, expected: str | None) -> None:
    fabric = f"<fabric><state>In Progress</state><health>{health}</health></fabric><processes>"
    assert facts(changed(("<processes>", fabric))).gpus[0].fabric == Fabric(
        state="in progress", health=expected
    )


def test_entities_are_refused() -> None:
    bomb = '<!DOCTYPE nvidia_smi_log [<!ENTITY a "b">]>'
    with pytest.raises(InputError, match="entities"):
        facts(changed(('<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v11.dtd">', bomb)))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damaged_output_is_read_with_gaps_or_refused_in_one_sentence(data: st.DataObject) -> None:
    lines = OLD.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "rename", "value", "swap", "cut"])):
            case "drop":
                del lines[index]
            case "rename":
                lines[index] = re.sub(r"(</?)\w+", r"\1renamed", lines[index])
            case "value":
                odd = data.draw(st.sampled_from(["-1", "9" * 40, "٣", "x", "0", "1e9", "16x16x"]))
                lines[index] = re.sub(r">[^<>]+<", f">{odd}<", lines[index])
            case "swap":
                other = data.draw(st.integers(0, len(lines) - 1))
                lines[index], lines[other] = lines[other], lines[index]
            case "cut":
                lines = lines[: index + 1]
        if not lines:
            return
    try:
        document = scan("\n".join(lines).encode())
    except InputError:
        return
    assert document.nodes[0].id == "host"
