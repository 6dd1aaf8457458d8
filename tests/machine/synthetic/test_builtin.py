"""The built-in machines, against what is public of the real ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from topoprobe.machine.addresses import format_cpu_list
from topoprobe.machine.building import build
from topoprobe.machine.synthetic import NAMES, machine_facts
from topoprobe.machine.view import Machine
from topoprobe.records.base import Tool
from topoprobe.records.documents import decode, encode
from topoprobe.records.machine import (
    CxlMemory,
    Gpu,
    LinkKind,
    Nic,
    Numa,
    Nvme,
    NvSwitch,
    Package,
    PcieSwitch,
)


@cache
def made(name: str) -> Machine:
    facts = machine_facts(name)
    assert facts is not None
    return Machine(build([facts], origin="synthetic", tool=Tool(tool_version="0")))


def matrix(machine: Machine) -> dict[tuple[int, str], str | None]:
    """Classes of each GPU by its number, to GPUs (``GPU3``) and NICs (``mlx5_0``)."""
    index = {gpu.id: gpu.index for gpu in machine.all(Gpu)}
    found: dict[tuple[int, str], str | None] = {}
    for pair in machine.document.pairs:
        one, other = index[pair.a], index.get(pair.b)
        assert one is not None
        if other is not None:
            found[one, f"GPU{other}"] = found[other, f"GPU{one}"] = pair.path_class
        else:
            found[one, machine.node(pair.b).name] = pair.path_class
    return found


class Known(NamedTuple):
    """What the makers and recordings tell of a machine."""

    packages: int
    cores: int
    numas: int
    gpus: int
    nics: int
    drives: int
    nvswitches: int
    switches: int
    gpu_memory_gib: float
    bar1_gib: int
    gpu_link: tuple[float, int]
    capability: str | None
    num_links: int
    gigabytes_per_link: float


KNOWN = {
    "dgx-v100": Known(2, 20, 2, 8, 4, 0, 0, 4, 32, 32, (8e9, 16), "7.0", 6, 25),
    "dgx-a100": Known(2, 64, 8, 8, 10, 8, 6, 21, 80, 128, (16e9, 16), "8.0", 12, 25),
    "hgx-h100": Known(2, 56, 2, 8, 12, 8, 4, 9, 79.65, 128, (32e9, 16), "9.0", 18, 25),
    "hgx-h200": Known(2, 56, 2, 8, 12, 8, 4, 9, 140.4, 256, (32e9, 16), "9.0", 18, 25),
    "hgx-b200": Known(2, 56, 2, 8, 12, 8, 1, 8, 179.06, 256, (32e9, 16), "10.0", 18, 50),
    "gb200-nvl4-tray": Known(2, 72, 6, 4, 8, 4, 1, 0, 185.03, 256, (32e9, 16), "10.0", 18, 50),
    "mi300x": Known(2, 64, 2, 8, 8, 0, 0, 24, 192, 256, (32e9, 16), None, 7, 64),
    "8x4090": Known(2, 56, 2, 8, 2, 0, 0, 0, 23.99, 32, (16e9, 16), "8.9", 0, 0),
    "4xl40s": Known(2, 32, 2, 4, 6, 0, 0, 0, 44.99, 64, (16e9, 16), "8.9", 0, 0),
}


def test_every_name_is_known_here() -> None:
    assert tuple(KNOWN) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_machine_is_whole_and_marked_as_made_up(name: str) -> None:
    document = made(name).document
    assert document.origin == "synthetic"
    assert document.sources == (f"synthetic {name}",)
    assert not document.contradictions
    assert all(pair.path_class is not None for pair in document.pairs)
    assert decode(encode(document)) == document
    assert not made(name).all(CxlMemory)


@pytest.mark.parametrize("name", NAMES)
def test_machine_has_the_parts_that_are_public(name: str) -> None:
    machine, known = made(name), KNOWN[name]
    kinds = (Package, Numa, Gpu, Nic, Nvme, NvSwitch, PcieSwitch)
    assert [len(machine.all(kind)) for kind in kinds] == [
        known.packages, known.numas, known.gpus, known.nics, known.drives, known.nvswitches,
        known.switches,
    ]  # fmt: skip
    assert {package.num_cores for package in machine.all(Package)} == {known.cores}
    for gpu in machine.all(Gpu):
        assert gpu.memory_bytes is not None
        assert gpu.memory_bytes / (1 << 30) == pytest.approx(known.gpu_memory_gib, abs=0.01)
        assert gpu.bar1_bytes == known.bar1_gib << 30
        assert gpu.compute_capability == known.capability
        link = machine.link_above(gpu.id)
        assert link is not None
        assert link.nominal is not None
        assert (link.nominal.transfers_per_s, link.nominal.num_lanes) == known.gpu_link
        assert link.a_capability is not None
        assert link.b_capability is not None


@pytest.mark.parametrize("name", NAMES)
def test_gpus_have_their_links_and_rates(name: str) -> None:
    machine, known = made(name), KNOWN[name]
    for gpu in machine.all(Gpu):
        links = [
            link for link in machine.document.links
            if gpu.id in (link.a, link.b) and link.kind in (LinkKind.NVLINK, LinkKind.XGMI)
        ]  # fmt: skip
        assert sum(link.count for link in links) == known.num_links
        for link in links:
            assert link.nominal is not None
            assert link.nominal.bandwidth_bytes_per_s == known.gigabytes_per_link * 1e9 * link.count


def test_dgx_v100_matches_the_recorded_matrix(recordings: Path) -> None:
    path = recordings / "topologies/nvidia-smi-topo/dgx1-v100x8-4nic.txt"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    names = header.split("\t")[1:-1]
    found = matrix(made("dgx-v100"))
    for gpu, row in enumerate(rows[:8]):
        cells = [cell.strip() for cell in row.split("\t")[1:]]
        for name, cell in zip(names, cells, strict=False):
            assert cell == ("X" if name == f"GPU{gpu}" else found[gpu, name])
        (node,) = [node for node in made("dgx-v100").all(Gpu) if node.index == gpu]
        assert cells[-1] == format_cpu_list(node.cpus)


def test_dgx_a100_matches_what_its_guide_prints() -> None:
    # `nvidia-smi topo -m`: two NICs beside each pair of GPUs, everything else across NUMA nodes.
    machine = made("dgx-a100")
    found = matrix(machine)
    near = {gpu: {f"mlx5_{2 * (gpu // 2)}", f"mlx5_{2 * (gpu // 2) + 1}"} for gpu in range(8)}
    for (gpu, name), path_class in found.items():
        if name.startswith("GPU"):
            assert path_class == "NV12"
        elif name.startswith("mlx5"):
            assert path_class == ("PXB" if name in near[gpu] else "SYS")
    gpus = machine.all(Gpu)
    assert [gpu.numa_index for gpu in gpus] == [3, 3, 1, 1, 7, 7, 5, 5]
    assert [format_cpu_list(gpu.cpus) for gpu in gpus[::2]] == [
        "48-63,176-191", "16-31,144-159", "112-127,240-255", "80-95,208-223",
    ]  # fmt: skip
    over_pcie = {(p.a, p.b): p.pcie_class for p in machine.document.pairs}
    assert over_pcie[gpus[0].id, gpus[1].id] == "PXB"
    nvlinks = [link for link in machine.document.links if link.kind is LinkKind.NVLINK]
    assert {link.count for link in nvlinks} == {2}


@pytest.mark.parametrize("name", ["hgx-h100", "hgx-h200", "hgx-b200"])
def test_hgx_has_a_switch_with_a_nic_for_each_gpu(name: str) -> None:
    machine = made(name)
    nics = [n for n in machine.all(Nic) if n.pci_device == "1021"]
    pairs = {(p.a, p.b): p for p in machine.document.pairs}
    for gpu in machine.all(Gpu):
        assert gpu.index is not None
        for number, nic in enumerate(nics):
            same_socket = gpu.index // 4 == number // 4
            wanted = "PIX" if number == gpu.index else "NODE" if same_socket else "SYS"
            assert pairs[gpu.id, nic.id].path_class == wanted
    over_pcie = [p.pcie_class for p in machine.document.pairs if p.b.startswith("gpu@")]
    assert (over_pcie.count("NODE"), over_pcie.count("SYS")) == (12, 16)


@pytest.mark.parametrize("name", ["hgx-h100", "hgx-h200"])
def test_hopper_splits_its_nvlinks_over_four_switches(name: str) -> None:
    machine = made(name)
    for gpu in machine.all(Gpu):
        assert [link.count for link in machine.fabric_links(gpu.id)] == [5, 4, 4, 5]


def test_hgx_h100_has_the_shape_of_the_recorded_one(recordings: Path) -> None:
    from topoprobe.machine.sources.scan import scan_files

    path = recordings / "topologies/lspci/h100x8-pex890xx-lspci-vvv.txt.xz"
    recorded = Machine(scan_files([(path.name, path.read_bytes())]))

    def shape(machine: Machine) -> dict[str, list[str]]:
        compute = {n.id for n in machine.all(Nic) if "ConnectX-7" in (n.model or "")}
        found: dict[str, list[str]] = {}
        for pair in machine.document.pairs:
            if pair.b in compute or pair.b.startswith("gpu@"):
                kind = pair.b.partition("@")[0]
                found.setdefault(kind, []).append(str(pair.pcie_class))
        return {kind: sorted(classes) for kind, classes in found.items()}

    assert shape(made("hgx-h100")) == shape(recorded)


def test_gb200_tray_is_coherent_and_a_member_of_a_clique() -> None:
    machine = made("gb200-nvl4-tray")
    gpus = machine.all(Gpu)
    assert [gpu.memory_numa_index for gpu in gpus] == [2, 10, 18, 26]
    assert {gpu.fabric.clique_id for gpu in gpus if gpu.fabric} == {1}
    c2c = [link for link in machine.document.links if link.kind is LinkKind.C2C]
    assert [(link.count, link.b) for link in c2c] == [
        (5, "numa:0"), (5, "numa:0"), (5, "numa:1"), (5, "numa:1"),
    ]  # fmt: skip
    assert {p.path_class for p in machine.document.pairs if p.b.startswith("gpu@")} == {"NV18"}


def test_mi300x_is_a_full_mesh_behind_the_switches_of_its_nics() -> None:
    machine = made("mi300x")
    xgmi = [link for link in machine.document.links if link.kind is LinkKind.XGMI]
    assert len(xgmi) == 28
    found = matrix(machine)
    assert [found[gpu, f"mlx5_{gpu}"] for gpu in range(8)] == ["PXB"] * 8
    assert {found[0, f"mlx5_{nic}"] for nic in (1, 2, 3)} == {"NODE"}
    assert {found[0, f"mlx5_{nic}"] for nic in (4, 5, 6, 7)} == {"SYS"}


@pytest.mark.parametrize("name", ["8x4090", "4xl40s"])
def test_cards_in_slots_meet_at_a_host_bridge_or_not_at_all(name: str) -> None:
    machine = made(name)
    half = len(machine.all(Gpu)) // 2
    found = matrix(machine)
    for one in range(2 * half):
        for other in range(2 * half):
            if one != other:
                same = one // half == other // half
                assert found[one, f"GPU{other}"] == ("PHB" if same else "SYS")
