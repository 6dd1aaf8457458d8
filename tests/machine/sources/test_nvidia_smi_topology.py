"""`nvidia-smi topo -m` word by word: cells, affinities, legends, links."""

from __future__ import annotations

import pytest

from tests.machine.sources.topology_prints import (
    EXPECTED,
    LEGEND,
    PLAIN,
    PRINTED,
    TITLES,
    Table,
    blanked,
    classes,
    hgx,
    links,
    scan,
)
from topoprobe.errors import InputError
from topoprobe.machine.sources.nvidia_smi import topology
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, Nic, Numa, NvSwitch


def test_coherent_machine_tells_the_nodes_that_are_gpu_memory() -> None:
    text = (
        "\tGPU0\tGPU1\tGPU2\tGPU3\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"
        "GPU0\t X \tNV18\tNV18\tNV18\tNODE\t0-71\t0,2-17\t\t2\n"
        "GPU1\tNV18\t X \tNV18\tNV18\tNODE\t0-71\t0,2-17\t\t10\n"
        "GPU2\tNV18\tNV18\t X \tNV18\tSYS\t72-143\t1,18-33\t\t18\n"
        "GPU3\tNV18\tNV18\tNV18\t X \tSYS\t72-143\t1,18-33\t\t26\n"
        "NIC0\tNODE\tNODE\tSYS\tSYS\t X \t\t\t\t\n"
    )
    document = scan(text + LEGEND)
    machine = Machine(document)
    assert [g.memory_numa_index for g in machine.all(Gpu)] == [2, 10, 18, 26]
    assert {n.os_index: n.memory_of for n in machine.all(Numa) if n.memory_of} == {
        2: "gpu:0", 10: "gpu:1", 18: "gpu:2", 26: "gpu:3",
    }  # fmt: skip
    assert [g.numa_index for g in machine.all(Gpu)] == [0, 0, 1, 1]
    processors = [n for n in machine.all(Numa) if n.memory_of is None]
    assert [(n.os_index, len(n.cpus)) for n in processors] == [(0, 72), (1, 72)]
    assert {p.path_class for p in document.pairs if p.b.startswith("gpu")} == {"NV18"}


def test_mig_devices_in_a_list_above_are_slices_of_their_gpus() -> None:
    text = (
        "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5269b708-678a-b1a8-60f0-c90406537486)\n"
        "  MIG 3g.20gb     Device  0: (UUID: MIG-b1f3d1c0-aaaa-5c1b-9d5b-000000000001)\n"
        "  MIG 3g.20gb     Device  1: (UUID: MIG-b1f3d1c0-aaaa-5c1b-9d5b-000000000002)\n"
        "GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-a7605225-d684-1f65-4ad4-ee2ab39338b4)\n"
        "\n\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\n"
        "GPU0\t X \tSYS\t0-15\t0\nGPU1\tSYS\t X \t16-31\t1\n"
    )
    document = scan(text)
    assert [p.path_class for p in document.pairs] == ["SYS"]
    parts = [n for n in document.nodes if n.id.startswith("partition@gpu:0/")]
    assert [p.name for p in parts] == ["MIG 3g.20gb", "MIG 3g.20gb"]
    first, second = Machine(document).all(Gpu)
    assert (first.is_mig_enabled, second.is_mig_enabled) == (True, None)
    assert first.model == "NVIDIA A100-SXM4-40GB"


def test_names_above_the_matrix_give_the_links_their_rate() -> None:
    names = "".join(f"GPU {i}: NVIDIA H100 80GB HBM3\n" for i in range(8))
    document = scan(names + PRINTED)
    assert {link.nominal and link.nominal.bandwidth_bytes_per_s for link in links(document)} == {
        450e9
    }
    assert {link.nominal for link in links(scan(PRINTED))} == {None}


def test_legend_that_is_cut_leaves_nics_without_a_port() -> None:
    document = scan(PLAIN.text() + "\nNIC Legend:\n\n  NIC0: mlx5_0\n  NIC1:")
    first, second = Machine(document).all(Nic)[:2]
    assert (first.name, second.name) == ("mlx5_0", "NIC1")
    assert second.ports == ()
    (reason,) = {m.reason for m in document.unknown if m.fact == "network interface"}
    assert "legend" in reason


def test_twenty_six_nics_are_all_read() -> None:
    document = scan(hgx(26).text())
    assert len(Machine(document).all(Nic)) == 26
    assert len(document.pairs) == 28 + 8 * 26


def test_row_that_lost_a_cell_is_named_and_read_from_the_others() -> None:
    lines = PLAIN.text().split("\n")
    lines[4] = lines[4].replace("\tPIX", "", 1)
    document = scan("\n".join(lines))
    assert classes(document) == EXPECTED
    (gap,) = [m for m in document.unknown if m.fact == "row of the matrix"]
    assert (gap.subject, gap.reason) == ("gpu:3", "It has 19 cells below 20 columns.")


def test_only_some_rows_give_their_pairs_and_all_devices() -> None:
    document = scan("\n".join(PLAIN.text().split("\n")[:4]) + "\n")
    assert len(Machine(document).all(Gpu)) == 8
    found = classes(document)
    assert found["gpu:2", "gpu:7"] == "NV18"
    assert found["gpu:0", "nic:NIC0"] == "PIX"
    gaps = [m.subject for m in document.unknown if m.fact == "row of the matrix"]
    assert gaps == [*(f"gpu:{i}" for i in range(3, 8)), *(f"nic:NIC{i}" for i in range(12))]


def test_columns_cut_at_the_right_are_left_out() -> None:
    text = "\n".join(line[:80] for line in blanked(PLAIN.text()).split("\n"))
    found = classes(scan(text))
    assert found["gpu:0", "gpu:7"] == "NV18"
    assert found["gpu:0", "nic:NIC0"] == "PIX"


def test_directions_that_differ_are_reported_and_not_used() -> None:
    text = "\tGPU0\tGPU1\nGPU0\t X \tPIX\nGPU1\tSYS\t X \n"
    document = scan(text)
    assert classes(document) == {("gpu:0", "gpu:1"): None}
    (found,) = document.contradictions
    assert found.readings == ("row of GPU0: PIX", "row of GPU1: SYS")


def test_first_whole_matrix_of_several_counts() -> None:
    other = "\tGPU0\tGPU1\nGPU0\t X \tPIX\nGPU1\tPIX\t X \n"
    broken = "\tGPU0\tGPU1\nGPU0\t X \tPXB\n"
    document = scan(f"host a\n{broken}\nhost b\n{other}\nhost c\n{PLAIN.text()}")
    assert classes(document) == {("gpu:0", "gpu:1"): "PIX"}
    (told,) = [m for m in document.unknown if m.fact == "other matrices"]
    assert "3 matrices" in told.reason


def test_words_of_old_and_future_drivers() -> None:
    text = (
        "\tGPU0\tGPU1\tGPU2\tGPU3\tCPU Affinity\n"
        "GPU0\t X \tPSB\tSOC\tQQQ\t0-3\nGPU1\tPSB\t X \tSOC\tPHB\t0-3\n"
        "GPU2\tSOC\tSOC\t X \tPHB\t0-3\nGPU3\tQQQ\tPHB\tPHB\t X \t0-3\n"
    )
    document = scan(text)
    assert list(classes(document).values()) == ["PIX", "SYS", None, "SYS", "PHB", "PHB"]
    assert "QQQ" in next(m.reason for m in document.unknown if m.fact == "path to GPU3")


@pytest.mark.parametrize(
    ("count", "num_gpus", "is_switched"),
    [(12, 2, False), (12, 3, True), (6, 4, False), (18, 4, True), (6, 16, True), (36, 4, True)],
)
def test_more_links_than_a_gpu_has_go_through_switches(
    count: int, num_gpus: int, is_switched: bool
) -> None:
    names = tuple(f"GPU{i}" for i in range(num_gpus))
    cells = tuple(tuple(f"NV{count}" for _ in names) for _ in names)
    document = scan(Table(names, cells, ()).text(titles="CPU Affinity"))
    gpus = Machine(document).all(Gpu)
    assert {g.num_nvlinks for g in gpus} == {count if is_switched else count * (num_gpus - 1)}
    assert bool(Machine(document).all(NvSwitch)) is is_switched
    assert {p.path_class for p in document.pairs} == {f"NV{count}"}


def test_gpu_that_lost_its_links_stays_outside_the_fabric() -> None:
    cells = [list(row) for row in PLAIN.cells]
    for other in range(8):
        cells[1][other] = cells[other][1] = "SYS"
    document = scan(Table(PLAIN.names, tuple(map(tuple, cells)), PLAIN.rest).text())
    counts = [g.num_nvlinks for g in Machine(document).all(Gpu)]
    assert counts == [18, None, *[18] * 6]
    assert classes(document)["gpu:0", "gpu:1"] == "SYS"


def test_single_gpu_has_its_place() -> None:
    document = scan("\tGPU0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\nGPU0\t X \t0-7\t0\t\tN/A\n")
    (gpu,) = Machine(document).all(Gpu)
    assert (gpu.numa_index, gpu.cpus) == (0, tuple(range(8)))


@pytest.mark.parametrize(
    ("row", "cpus", "numa"),
    [
        ("0-63\t0\t\tN/A", 64, 0),
        ("0-63\t\t\tN/A", 64, None),
        ("\t0\t\tN/A", 0, 0),
        ("\t\t\t\tN/A", 0, None),
        ("N/A\tN/A\t\tN/A", 0, None),
        ("0-63\t0-1\t\tN/A", 64, None),
        ("0,3-9,11-17\t0\t\tN/A", 15, 0),
        ("0-63    0    N/A", 64, 0),
        ("0-63    N/A", 64, None),
        ("5    N/A", 0, None),
        ("", 0, None),
    ],
)
def test_empty_and_listed_affinities(row: str, cpus: int, numa: int | None) -> None:
    separator = " " if "  " in row else "\t"
    text = (
        f"\tGPU0\tGPU1\t{TITLES}\nGPU0\t X \tPHB{separator}{row}\nGPU1\tPHB\t X {separator}{row}\n"
    )
    machine = Machine(scan(text.replace("\t", "        ") if separator == " " else text))
    for gpu in machine.all(Gpu):
        assert (len(gpu.cpus), gpu.numa_index) == (cpus, numa)


def test_several_nodes_are_named_and_none_is_chosen() -> None:
    text = f"\tGPU0\tGPU1\t{TITLES}\nGPU0\t X \tPHB\t0-7\t0-1\t\tN/A\nGPU1\tPHB\t X \t0-7\t0-1\n"
    document = scan(text)
    assert [gpu.numa_index for gpu in Machine(document).all(Gpu)] == [None, None]
    reasons = {m.subject: m.reason for m in document.unknown if m.fact == "numa_index"}
    assert reasons["gpu:0"] == "The driver names several NUMA nodes, 0-1."


def test_nodes_with_two_cpu_lists_keep_none() -> None:
    text = f"\tGPU0\tGPU1\t{TITLES}\nGPU0\t X \tPHB\t0-3\t0\t\tN/A\nGPU1\tPHB\t X \t4-7\t0\t\tN/A\n"
    document = scan(text)
    assert Machine(document).all(Numa)[0].cpus == ()
    assert any(m.subject == "numa:0" and "0-3 and 4-7" in m.reason for m in document.unknown)


@pytest.mark.parametrize(
    "text",
    ["GPU0 is fast", "GPU 0: NVIDIA A100", "\tGPU0\tGPU1\n", "X = Self\nNV# = many", "GPU0 X OK"],
)
def test_text_without_a_matrix_is_not_taken_for_one(text: str) -> None:
    assert not topology.matches(text)


def test_rows_that_are_all_torn_are_one_error() -> None:
    with pytest.raises(InputError, match="none of them is whole"):
        topology.read("\tGPU0\tGPU1\nGPU0\tPHB\tPHB\nGPU1\t X \t X \n", "paste")
