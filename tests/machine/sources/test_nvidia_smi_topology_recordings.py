"""`nvidia-smi topo -m` as real machines printed it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.machine.sources.topology_prints import (
    classes,
    links,
    scan,
)
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, MachineDocument, Nic, Numa


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
