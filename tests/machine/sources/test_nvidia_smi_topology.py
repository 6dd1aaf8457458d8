"""`nvidia-smi topo -m`, as it is printed and as it is pasted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import InputError
from topoprobe.machine.facts import Facts
from topoprobe.machine.sources import detect
from topoprobe.machine.sources.nvidia_smi import topology
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, Link, LinkKind, MachineDocument, Nic, Numa, NvSwitch

TITLES = "CPU Affinity\tNUMA Affinity\tGPU NUMA ID"
LEGEND = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  NODE = Connection traversing PCIe as well as the interconnect between PCIe Host Bridges within a NUMA node
  PHB  = Connection traversing PCIe as well as a PCIe Host Bridge (typically the CPU)
  PXB  = Connection traversing multiple PCIe bridges (without traversing the PCIe Host Bridge)
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks
"""  # noqa: E501


class Table(NamedTuple):
    """A made-up machine: names, cells, and what stands right of the GPUs' cells."""

    names: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    rest: tuple[str, ...]

    def text(self, order: Sequence[int] | None = None, titles: str = TITLES) -> str:
        """Print it as the driver does, with rows and columns in some order."""
        order = range(len(self.names)) if order is None else order
        lines = ["\t" + "\t".join(self.names[i] for i in order) + f"\t{titles}"]
        for i in order:
            words = [" X " if j == i else self.cells[i][j] for j in order]
            rest = f"\t{self.rest[i]}" if i < len(self.rest) else ""
            lines.append(f"{self.names[i]}\t" + "\t".join(words) + rest)
        return "\n".join(lines) + "\n"


def hgx(num_nics: int = 12) -> Table:
    """Eight GPUs behind NVSwitches; the first eight NICs are each below one GPU's switch."""
    names = (*(f"GPU{i}" for i in range(8)), *(f"NIC{i}" for i in range(num_nics)))

    def side(place: int) -> int:
        return (place if place < 8 else (place - 8) % 8) // 4

    def word(i: int, j: int) -> str:
        if i < 8 and j < 8:
            return "NV18"
        if min(i, j) < 8 and max(i, j) - 8 == min(i, j):
            return "PIX"
        return "NODE" if side(i) == side(j) else "SYS"

    cells = tuple(tuple(word(i, j) for j in range(len(names))) for i in range(len(names)))
    halves = ("0-55,112-167\t0\t\tN/A", "56-111,168-223\t1\t\tN/A")
    return Table(names, cells, tuple(halves[i // 4] for i in range(8)))


def nic_legend(count: int) -> str:
    return "\nNIC Legend:\n\n" + "".join(f"  NIC{i}: mlx5_{i}\n" for i in range(count))


def blanked(text: str) -> str:
    return "\n".join(line.expandtabs(8) for line in text.split("\n"))


def wrapped(text: str, width: int, *, strips: bool) -> str:
    """Cut lines where a terminal wraps them; copying often drops the blanks at the end."""
    pieces = []
    for line in blanked(text).split("\n"):
        cut = [line[i : i + width] for i in range(0, len(line), width)] or [""]
        pieces += [piece.rstrip() for piece in cut] if strips else cut
    return "\n".join(pieces)


def scan(*texts: str) -> MachineDocument:
    return scan_files([(f"{i}.txt", text.encode()) for i, text in enumerate(texts)])


def classes(document: MachineDocument) -> dict[tuple[str, str], str | None]:
    return {(p.a, p.b): p.path_class for p in document.pairs}


def links(document: MachineDocument) -> list[Link]:
    return [link for link in document.links if link.kind is LinkKind.NVLINK]


class Row(NamedTuple):
    """What a recording must show."""

    name: str
    num_gpus: int
    gpu_pairs: dict[str, int]
    nic_pairs: dict[str, int]
    numas: tuple[int | None, ...]
    num_nvlinks: int | None


ROWS = [
    Row("dgx1-v100x8-4nic", 8, {"NV1": 8, "NV2": 8, "SYS": 12},
        {"PIX": 8, "PHB": 8, "SYS": 16}, (None,) * 8, 6),
    Row("perlmutter-a100x4", 4, {"NV4": 6}, {}, (3, 2, 1, 0), 12),
    Row("h100x4-nv6-4nic", 4, {"NV6": 6}, {"PIX": 4, "SYS": 12}, (3, 1, 7, 5), 18),
    Row("rtx4090x8-2nic", 8, {"SYS": 28}, {"PHB": 2, "SYS": 14}, (0,) * 4 + (1,) * 4, None),
    Row("a100x2-8nic-no-affinity", 2, {"NV12": 1}, {"PXB": 4, "SYS": 12}, (None, None), 12),
    Row("mixed-geforce-x5-2numa", 5, {"PHB": 2, "NODE": 4, "SYS": 4}, {}, (1, 0, 0, 0, 0), None),
    Row("rtx5090x2-phb", 2, {"PHB": 1}, {}, (0, 0), None),
]  # fmt: skip


@pytest.fixture
def folder(recordings: Path) -> Path:
    return recordings / "topologies" / "nvidia-smi-topo"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_recording_gives_the_pairs_and_places_of_its_machine(row: Row, folder: Path) -> None:
    document = scan((folder / f"{row.name}.txt").read_text())
    machine = Machine(document)
    gpus = machine.all(Gpu)
    nics = {nic.id for nic in machine.all(Nic)}
    assert [gpu.id for gpu in gpus] == [f"gpu:{i}" for i in range(row.num_gpus)]
    assert Counter(p.path_class for p in document.pairs if p.b not in nics) == row.gpu_pairs
    assert Counter(p.path_class for p in document.pairs if p.b in nics) == row.nic_pairs
    assert tuple(gpu.numa_index for gpu in gpus) == row.numas
    assert {gpu.num_nvlinks for gpu in gpus} == {row.num_nvlinks}
    assert document.contradictions == ()


def test_dgx1_columns_that_are_not_sorted_keep_their_names(folder: Path) -> None:
    document = scan((folder / "dgx1-v100x8-4nic.txt").read_text())
    nearest = {b: [] for _, b in classes(document) if b.startswith("nic:")}
    for (a, b), path_class in classes(document).items():
        if path_class == "PIX":
            nearest[b].append(a)
    assert nearest == {
        "nic:mlx5_0": ["gpu:0", "gpu:1"],
        "nic:mlx5_1": ["gpu:2", "gpu:3"],
        "nic:mlx5_2": ["gpu:4", "gpu:5"],
        "nic:mlx5_3": ["gpu:6", "gpu:7"],
    }
    assert {link.b.partition(":")[0] for link in links(document)} == {"gpu"}


def test_rtx4090_only_one_gpu_is_near_the_nics(folder: Path) -> None:
    found = classes(scan((folder / "rtx4090x8-2nic.txt").read_text()))
    assert {a for (a, _), name in found.items() if name == "PHB"} == {"gpu:6"}


def test_a100_pair_has_empty_cells_and_is_near_two_nics(folder: Path) -> None:
    document = scan((folder / "a100x2-8nic-no-affinity.txt").read_text())
    near = {b for (_, b), name in classes(document).items() if name == "PXB"}
    assert near == {"nic:NIC6", "nic:NIC7"}
    missing = {(m.subject, m.fact) for m in document.unknown}
    assert {("gpu:0", "cpus"), ("gpu:1", "numa_index"), ("host", "NVSwitches")} <= missing
    assert Machine(document).all(Numa) == ()


def test_h100_strided_cpu_lists_are_the_nodes_cpus(folder: Path) -> None:
    machine = Machine(scan((folder / "h100x4-nv6-4nic.txt").read_text()))
    assert {n.os_index: n.cpus for n in machine.all(Numa)} == {
        1: (4, 12, 20, 28),
        3: (6, 14, 22, 30),
        5: (5, 13, 21, 29),
        7: (7, 15, 23, 31),
    }


def read(folder: Path, *names: str) -> MachineDocument:
    topologies = folder.parent
    return scan_files([(name, (topologies / name).read_bytes()) for name in names])


PERLMUTTER = (
    "nccl-xml/perlmutter-a100x4-nccl_topo.xml",
    "nvidia-smi-topo/perlmutter-a100x4.txt",
)


@pytest.mark.parametrize("names", [PERLMUTTER, PERLMUTTER[::-1]], ids=["xml first", "text first"])
def test_perlmutter_matrix_agrees_with_the_tree_in_every_cell(
    names: tuple[str, str], folder: Path
) -> None:
    both, tree = read(folder, *names), read(folder, PERLMUTTER[0])
    assert both.contradictions == ()
    assert classes(both) == classes(tree)
    assert [n.id for n in both.nodes] == [n.id for n in tree.nodes]
    assert both.links == tree.links


def test_perlmutter_is_one_machine_in_both_dialects(folder: Path) -> None:
    tree, text = (Machine(read(folder, name)) for name in PERLMUTTER)
    assert [(g.index, g.numa_index, g.cpus, g.num_nvlinks) for g in text.all(Gpu)] == [
        (g.index, g.numa_index, g.cpus, g.num_nvlinks) for g in tree.all(Gpu)
    ]
    assert {n.os_index: n.cpus for n in text.all(Numa)} == {
        n.os_index: n.cpus for n in tree.all(Numa)
    }

    def between(machine: Machine) -> set[tuple[int | None, int | None, int]]:
        index = {g.id: g.index for g in machine.all(Gpu)}
        return {
            (min(ends), max(ends), link.count)
            for link in links(machine.document)
            if (ends := (index[link.a] or 0, index[link.b] or 0))
        }

    assert between(text) == between(tree)
    gpu_pairs = {k: v for k, v in classes(tree.document).items() if k[1].startswith("gpu")}
    assert list(gpu_pairs.values()) == list(classes(text.document).values())


PLAIN = hgx()
EXPECTED = classes(scan(PLAIN.text()))
PRINTED = PLAIN.text() + nic_legend(12) + LEGEND


def named(expected: dict[tuple[str, str], str | None]) -> dict[tuple[str, str], str | None]:
    return {(a, b.replace("NIC", "mlx5_")): name for (a, b), name in expected.items()}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(PRINTED, id="as printed"),
        pytest.param(blanked(PRINTED), id="blanks for tabs"),
        pytest.param(PRINTED.replace("\t", " "), id="one blank per tab"),
        pytest.param(PRINTED.replace("\n", "\r\n"), id="windows line ends"),
        pytest.param("$ nvidia-smi topo -m\n" + PRINTED, id="prompt"),
        pytest.param("```\n" + PRINTED + "```\n", id="code fence"),
        pytest.param("".join(f"> {x}\n" for x in PRINTED.split("\n")), id="quoted"),
        pytest.param("".join(f">> {x}\n" for x in blanked(PRINTED).split("\n")), id="quoted twice"),
        pytest.param("".join(f"    {x}\n" for x in blanked(PRINTED).split("\n")), id="indented"),
        pytest.param("\t\x1b[4m" + PRINTED[1:].replace("ID\n", "ID\x1b[0m\n", 1), id="underlined"),
        pytest.param(PRINTED.replace("\n", "\n\n"), id="double spaced"),
        pytest.param("GPU Topology:\n" + PRINTED.lstrip(), id="first tab lost"),
        pytest.param(wrapped(PRINTED, 80, strips=False), id="wrapped"),
        pytest.param(wrapped(PRINTED, 80, strips=True), id="wrapped and stripped"),
        pytest.param(wrapped(PRINTED, 100, strips=True), id="wrapped at 100"),
        pytest.param(wrapped(PRINTED, 121, strips=False), id="wrapped inside cells"),
        pytest.param(wrapped(PRINTED, 133, strips=True), id="wrapped inside titles"),
        pytest.param(blanked(PRINTED).replace("NIC10   NIC11", "NIC10NIC11"), id="fused header"),
        pytest.param(
            blanked(PRINTED).replace("NODE    NODE", "NODENODE").replace("SYS     SYS", "SYSSYS"),
            id="fused cells",
        ),
        pytest.param(
            "\n".join(PRINTED.split("\n")[1:]), id="header cut off"
        ),
        pytest.param(
            PRINTED.replace("C8\tNIC9", "C8NIC9").replace("NODE\tNODE\tNODE\n", "NODENODE\tNODE\n"),
            id="fused between tabs",
        ),
        pytest.param(PRINTED.replace("NUMA Affinity\tGPU NUMA ID", "NUMA"), id="short title"),
        pytest.param(
            "| " + PRINTED.replace("\t", " | ").replace("\n", " |\n| "), id="made a table"
        ),
    ],
)  # fmt: skip
def test_paste_gives_the_pairs_of_the_print(text: str) -> None:
    document = scan(text)
    assert classes(document) == named(EXPECTED)
    assert document.contradictions == ()
    machine = Machine(document)
    assert {g.num_nvlinks for g in machine.all(Gpu)} == {18}
    assert [n.id for n in machine.all(NvSwitch)] == ["nvswitch@fabric"]
    nic = machine.all(Nic)[0]
    assert (nic.name, nic.ports[0].verbs_device) == ("mlx5_0", "mlx5_0")


@pytest.mark.parametrize(
    "text",
    [
        PRINTED,
        blanked(PRINTED),
        PRINTED.replace("\t", " "),
        wrapped(PRINTED, 80, strips=False),
        blanked(PRINTED).replace("0               N/A", "0N/A"),
        blanked(PRINTED).replace("168-223  1", "168-2231"),
        "\n".join(PRINTED.split("\n")[1:]),
    ],
    ids=["printed", "blanks", "one blank", "wrapped", "fused N/A", "fused node", "no header"],
)
def test_affinity_of_a_paste_is_that_of_the_print(text: str) -> None:
    machine = Machine(scan(text))
    first, last = machine.all(Gpu)[0], machine.all(Gpu)[7]
    assert (first.numa_index, last.numa_index) == (0, 1)
    assert first.cpus == (*range(56), *range(112, 168))
    assert last.cpus == (*range(56, 112), *range(168, 224))
    assert {n.os_index: len(n.cpus) for n in machine.all(Numa)} == {0: 112, 1: 112}


def test_cell_that_lost_its_last_letter_to_the_margin_is_told() -> None:
    text = (
        "        GPU0    GPU1    NIC0    NIC1    CPU Affinity\n"
        "GPU0     X      PHB     PIX     PH0-115\n"
        "GPU1    PHB      X      PHB     PI0-115\n"
        "NIC0    PIX     PHB      X      PHB\n"
        "NIC1    PHB     PIX     PHB      X\n"
    )
    document = scan(text)
    assert list(classes(document).values()) == ["PHB", "PIX", "PHB", "PHB", "PIX"]
    assert {len(gpu.cpus) for gpu in Machine(document).all(Gpu)} == {116}


def test_fused_count_is_read_from_the_other_row() -> None:
    text = (
        "        GPU0    GPU1    GPU2    NIC0\n"
        "GPU0     X      NV4     NV1NODE\n"
        "GPU1    NV4      X      NV2     NODE\n"
        "GPU2    NV12    NV2      X      SYS\n"
        "NIC0    NODE    NODE    SYS      X\n"
    )
    assert classes(scan(text))["gpu:0", "gpu:2"] == "NV12"


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


def pairs_in(facts: Facts) -> dict[frozenset[str], str | None]:
    return {frozenset((p.a, p.b)): p.path_class for p in facts.pairs}


def whole(text: str) -> dict[frozenset[str], str | None]:
    return pairs_in(topology.read(text, "whole"))


@given(st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_of_rows_and_columns_does_not_matter(chance: random.Random) -> None:
    order = list(range(20))
    chance.shuffle(order)
    assert whole(PLAIN.text(order)) == whole(PLAIN.text())


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_blanks_anywhere_between_cells_do_not_matter(data: st.DataObject) -> None:
    text = PLAIN.text().replace("\t", "\0")
    gaps = iter(data.draw(st.lists(st.integers(1, 9), min_size=60, max_size=60)))
    padded = "".join(" " * next(gaps, 3) if c == "\0" else c for c in text)
    assert whole(padded) == whole(PLAIN.text())


@given(st.sets(st.integers(1, 20), max_size=18))
@settings(max_examples=60, deadline=None)
def test_rows_left_out_take_only_what_no_other_row_tells(lost: set[int]) -> None:
    lines = PLAIN.text().split("\n")
    text = "\n".join(line for place, line in enumerate(lines) if place not in lost)
    if not topology.matches(text):
        return
    full, found = whole(PLAIN.text()), pairs_in(topology.read(text, "part"))
    assert found.items() <= full.items()
    gone = {f"gpu:{p - 1}" if p <= 8 else f"nic:NIC{p - 9}" for p in lost}
    assert full.keys() - found.keys() == {ends for ends in full if ends <= gone}


@pytest.mark.parametrize(
    "text", [PLAIN.text(), blanked(PRINTED), wrapped(PRINTED, 80, strips=True)]
)
@given(cut=st.integers(0, 3000))
@settings(max_examples=80, deadline=None)
def test_text_cut_anywhere_tells_nothing_wrong(text: str, cut: int) -> None:
    part = text[:cut]
    if not topology.matches(part):
        return
    try:
        facts = topology.read(part, "cut")
    except InputError:
        return
    full = whole(text)
    plain = {frozenset(e.replace("mlx5_", "NIC") for e in k): v for k, v in full.items()}
    for ends, name in pairs_in(facts).items():
        assert plain[frozenset(e.replace("mlx5_", "NIC") for e in ends)] == name
    for gpu in facts.gpus:
        assert gpu.numa_index in {None, int(gpu.subject[-1]) // 4}
        assert len(gpu.cpus) in {0, 112}


@given(st.text(alphabet="GPUNIC0123456789 XVSYSPHBODE\t\n,-/|>", max_size=400))
@settings(max_examples=150, deadline=None)
def test_noise_in_the_same_letters_never_crashes(noise: str) -> None:
    text = f"\tGPU0\tGPU1\n{noise}\nGPU0\t X \tPHB\n{noise}\nGPU1\tPHB\t X \n"
    try:
        facts = detect.read_file(text.encode(), "noise")
    except InputError:
        return
    assert facts


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_damaged_characters_never_crash(data: st.DataObject) -> None:
    text = list(blanked(PRINTED))
    for _ in range(data.draw(st.integers(1, 30))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(
            st.sampled_from(["", " ", "\n", "X", "9", "GPU1", "\t", "N/A", "-"])
        )
    try:
        scan("".join(text))
    except InputError:
        return


@given(st.integers(60, 260), st.booleans())
@settings(max_examples=60, deadline=None)
def test_terminal_of_any_width_tells_the_same(width: int, strips: bool) -> None:
    facts = topology.read(wrapped(PRINTED, width, strips=strips), "wrapped")
    assert pairs_in(facts) == whole(PRINTED)
    assert {(len(gpu.cpus), gpu.numa_index) for gpu in facts.gpus} <= {
        (0, None), (112, 0), (112, 1),
    }  # fmt: skip
