"""`nvidia-smi nvlink` and `nvidia-smi -L`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import InputError
from topoprobe.machine.sources.nvidia_smi import nvlink
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, Link, LinkKind, MachineDocument, NvSwitch


def uuid(index: int) -> str:
    return f"GPU-5269b708-678a-b1a8-60f0-{index:012x}"


def section(index: int, lines: Iterable[str], name: str = "NVIDIA H100 80GB HBM3") -> str:
    """Print what stands below one GPU's heading."""
    heading = f"GPU {index}: {name} (UUID: {uuid(index)})\n"
    return heading + "".join(f"\t Link {place}: {text}\n" for place, text in enumerate(lines))


def scan(text: str) -> MachineDocument:
    return scan_files([("nvlink.txt", text.encode())])


def gpus(document: MachineDocument) -> tuple[Gpu, ...]:
    return Machine(document).all(Gpu)


def links(document: MachineDocument) -> list[Link]:
    return [link for link in document.links if link.kind is LinkKind.NVLINK]


def reasons(document: MachineDocument, fact: str) -> dict[str, str]:
    return {m.subject: m.reason for m in document.unknown if m.fact == fact}


def test_a100_recording_has_eight_gpus_of_twelve_links(recordings: Path) -> None:
    path = recordings / "topologies" / "nvidia-smi-nvlink" / "a100x8-nvlink-status.txt"
    document = scan(path.read_text())
    found = gpus(document)
    assert len(found) == 8
    assert len({gpu.uuid for gpu in found} - {None}) == 8
    assert {(g.model, g.num_nvlinks, g.max_nvlinks) for g in found} == {
        ("NVIDIA A100-SXM4-80GB", 12, 12)
    }
    assert sum(gpu.num_nvlinks or 0 for gpu in found) == 96
    assert document.contradictions == ()
    assert "nvlink -R" in reasons(document, "nvlink peers")["host"]


def test_matrix_of_the_same_machine_tells_where_the_links_lead() -> None:
    status = "".join(section(i, ["25 GB/s"] * 12, "NVIDIA A100-SXM4-80GB") for i in range(3))
    matrix = (
        "\tGPU0\tGPU1\tGPU2\nGPU0\t X \tNV12\tNV12\nGPU1\tNV12\t X \tNV12\nGPU2\tNV12\tNV12\t X \n"
    )
    document = scan_files([("s", status.encode()), ("m", matrix.encode())])
    assert reasons(document, "nvlink peers") == {}
    assert {link.b for link in links(document)} == {"nvswitch@fabric"}
    assert {link.nominal and link.nominal.bandwidth_bytes_per_s for link in links(document)} == {
        300e9
    }


@pytest.mark.parametrize("state", ["<inactive>", "inactive", "0.000 GB/s"])
def test_links_that_are_down_are_named(state: str) -> None:
    document = scan(section(0, ["26.562 GB/s", state, "26.562 GB/s", state]))
    (gpu,) = gpus(document)
    assert (gpu.num_nvlinks, gpu.max_nvlinks) == (2, 4)
    reason = reasons(document, "inactive nvlinks")["gpu:0"]
    assert reason == "The driver says these links are down: 1,3."


@pytest.mark.parametrize(
    ("words", "count", "fact"),
    [
        ("Device does not have or support Nvlink", 0, None),
        (
            "NVML: Unable to retrieve NVLink information as all links are inActive",
            0,
            "inactive nvlinks",
        ),
        ("NVML: Unknown Error", None, "num_nvlinks"),
        ("Unable to determine the device handle for GPU", None, "num_nvlinks"),
    ],
)
@pytest.mark.parametrize("separator", ["\n", " "])
def test_drivers_words_for_no_links_are_kept(
    words: str, count: int | None, fact: str | None, separator: str
) -> None:
    text = section(0, ["26.562 GB/s"]) + section(1, []).rstrip() + separator + words + "\n"
    document = scan(text)
    assert [gpu.num_nvlinks for gpu in gpus(document)] == [1, count]
    told = [m for m in document.unknown if m.subject == "gpu:1" and words.rstrip(".") in m.reason]
    assert [m.fact for m in told] == ([] if fact is None else [fact])


def remote(address: str, port: int) -> str:
    return f"Remote Device {address}: Link {port}"


def test_far_ends_in_a_mesh_are_the_gpus_at_those_addresses() -> None:
    addresses = ["00000000:03:00.0", "00000000:41:00.0", "00000000:82:00.0", "00000000:C1:00.0"]
    text = "".join(
        section(
            i,
            [remote(a, port) for j, a in enumerate(addresses) if j != i for port in range(4)],
            "NVIDIA A100-SXM4-40GB",
        )
        for i in range(4)
    )
    document = scan(text)
    assert document.contradictions == ()
    assert {p.path_class for p in document.pairs} == {"NV4"}
    assert {gpu.num_nvlinks for gpu in gpus(document)} == {12}
    assert {link.nominal and link.nominal.bandwidth_bytes_per_s for link in links(document)} == {
        100e9
    }


@pytest.mark.parametrize(
    "lines",
    [
        [remote("FFFFFFFF:FF:FF.0", 0)] * 18,
        [remote(f"00000000:0{5 + i % 4}:00.0", 30 + i) for i in range(18)],
        ["FFFFFFFF:FF:FF.0"] * 18,
        [f"00000000:0{5 + i % 4}:00.0" for i in range(18)],
    ],
    ids=["hidden", "told", "hidden, -p", "told, -p"],
)
def test_far_ends_behind_switches_are_switches(lines: list[str]) -> None:
    document = scan("".join(section(i, lines) for i in range(8)))
    assert {p.path_class for p in document.pairs} == {"NV18"}
    assert {gpu.num_nvlinks for gpu in gpus(document)} == {18}
    switches = Machine(document).all(NvSwitch)
    assert len(switches) == (1 if "FFFFFFFF" in lines[0] else 4)
    assert document.contradictions == ()


def test_one_gpu_of_a_switched_board_is_told_by_its_ports() -> None:
    document = scan(section(3, [remote("00000000:07:00.0", 46), remote("00000000:06:00.0", 2)]))
    assert len(Machine(document).all(NvSwitch)) == 2


def test_far_ends_that_nobody_lists_are_reported() -> None:
    document = scan(section(0, [remote("00000000:D5:00.0", 0)], "NVIDIA H100 PCIe"))
    assert links(document) == []
    assert len(document.contradictions) == 1


def test_sections_of_one_text_are_joined() -> None:
    text = (
        section(0, ["26.562 GB/s"] * 2)
        + section(0, [remote("FFFFFFFF:FF:FF.0", 0)] * 2)
        + f"GPU 0: NVIDIA H100 80GB HBM3 (UUID: {uuid(0)})\n"
        "\t Link 0, P2P is supported: true\n\t Link 1, P2P is supported: false\n"
        "\t Link 0: Replay Errors: 0\n\t Link 0: Data Tx: 12 KiB\n"
    )
    document = scan(text)
    (gpu,) = gpus(document)
    assert (gpu.num_nvlinks, gpu.uuid) == (2, uuid(0))
    (link,) = links(document)
    assert (link.count, link.nominal and link.nominal.bandwidth_bytes_per_s) == (2, 50e9)
    assert "1" in reasons(document, "nvlinks without peers")["gpu:0"]


def test_rates_that_are_no_products_are_reported_and_used() -> None:
    lines = ["26.562 GB/s"] * 18 + [remote("FFFFFFFF:FF:FF.0", 0)] * 18
    document = scan(section(0, lines[:18], "NVIDIA B200") + section(0, lines[18:], "NVIDIA B200"))
    (link,) = links(document)
    assert link.nominal is not None
    assert link.nominal.bandwidth_bytes_per_s == 450e9
    assert document.contradictions[0].readings == ("printed: 26.562 GB/s", "NVIDIA B200: 50.0 GB/s")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("GPU 0: NVIDIA L4 (UUID: GPU-xxx)\nGPU 1: NVIDIA L4 (UUID: GPU-xxx)\n", ["NVIDIA L4"] * 2),
        ("GPU models and configuration: GPU 0: Tesla T4\nGPU 1: Tesla T4\n", ["Tesla T4"] * 2),
        (f"> GPU 0: Tesla T4 (UUID: {uuid(0)})\n> GPU 1: Tesla T4 (UUID: {uuid(0)})\n",
         ["Tesla T4"] * 2),
    ],
)  # fmt: skip
def test_list_of_gpus_gives_their_names_and_no_blanked_uuid(text: str, names: list[str]) -> None:
    found = gpus(scan(text))
    assert [gpu.model for gpu in found] == names
    assert {gpu.uuid for gpu in found} == {None}


def test_numbers_follow_the_uuids_of_a_query() -> None:
    query = (
        "<nvidia_smi_log><driver_version>550</driver_version><attached_gpus>2</attached_gpus>"
        + "".join(
            f'<gpu id="00000000:{bus}:00.0"><product_name>NVIDIA H100 80GB HBM3</product_name>'
            f"<uuid>{uuid(i)}</uuid></gpu>"
            for i, bus in ((0, "C1"), (1, "03"))
        )
        + "</nvidia_smi_log>"
    )
    status = section(0, ["26.562 GB/s"] * 18) + section(1, ["26.562 GB/s"] * 17)
    document = scan_files([("q.xml", query.encode()), ("s.txt", status.encode())])
    counts = {gpu.pci_address: gpu.num_nvlinks for gpu in gpus(document)}
    assert counts == {"0000:03:00.0": 17, "0000:c1:00.0": 18}


@pytest.mark.parametrize("text", ["GPU 0: fast\n", "Link 0: 25 GB/s\n", "GPU0\t X \tNV1\n", ""])
def test_other_text_is_not_taken_for_it(text: str) -> None:
    assert not nvlink.matches(text)


WHOLE = "".join(
    section(i, ["26.562 GB/s", "<inactive>"]) + section(i, [remote("00000000:05:00.0", 20)])
    for i in range(3)
)


@given(st.integers(0, len(WHOLE)), st.data())
@settings(max_examples=80, deadline=None)
def test_damage_never_crashes(cut: int, data: st.DataObject) -> None:
    text = list(WHOLE[:cut])
    for _ in range(data.draw(st.integers(0, 10)) if text else 0):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(st.sampled_from(["", "\n", ":", "9", "Link 3: ", "GPU 1: ", "F"]))
    try:
        scan("".join(text))
    except InputError:
        return
