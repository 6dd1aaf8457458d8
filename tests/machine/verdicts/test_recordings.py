"""What is wrong with each recorded machine; worked out by hand from the recordings' notes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from topoprobe.cli.machines import read_machine
from topoprobe.machine.verdicts import judge
from topoprobe.machine.view import Machine
from topoprobe.records.base import Verdict

# Number of subjects by check; nothing fails on any of these machines.
TABLE: dict[str, dict[str, int]] = {
    "hwloc-xml/16intel64-manyVFs.xml": {},
    # Neither hwloc nor sysfs without root tells ACS of the switches that GPUs meet in.
    "hwloc-xml/coral-lassen-hwloc1.xml": {"peer-access": 1},
    "hwloc-xml/coral-lassen.xml": {"peer-access": 1},
    "hwloc-xml/cxlmem+dax.v2.xml": {},
    "hwloc-xml/cxlmem+dax.v3.xml": {},
    # The NICs are on package 1. Figures of hwloc: 8 GPUs at a rounded 31, 7 links in Gen2's slip.
    "hwloc-xml/epyc-corona-p2.xml": {"nic-distance": 4, "contradictions": 15},
    "hwloc-xml/g4dnmetal.xml": {"nic-distance": 4},
    "hwloc-xml/nvidiaDGX2.xml": {"peer-access": 1},
    "hwloc-xml/tuo.SPX.xml": {},
    # It cannot show GPUs.
    "infiniband-sysfs/sys-class-infiniband-h100.0.tar.xz": {"driver": 1},
    "kfd/topo-mi210-xgmi-pcie.tar.xz": {},
    "lspci/azure-nd-a100-v4-lspci-nn.txt": {"guest": 1},
    # 16 links that lspci calls downgraded, and none is a fault.
    "lspci/h100x8-pex890xx-lspci-vvv.txt.xz": {},
    "nccl-xml/ncv4-topo.xml": {"contradictions": 4},
    "nccl-xml/ndv4-topo.xml": {},
    "nccl-xml/oci-H100-topology.xml": {"contradictions": 8},
    "nccl-xml/oci-topo-flattened.xml": {},
    "nccl-xml/p4d-24xl-topo.xml": {},
    "nccl-xml/perlmutter-a100x4-nccl_topo.xml": {},
    "nccl-xml/rccl-topo_16p1h.xml": {},
    "nccl-xml/rccl-topo_4p_940.xml": {"contradictions": 4},
    "nccl-xml/rccl-topo_8p1h.xml": {},
    "nccl-xml/rccl-topo_8p_940.xml": {},
    "nccl-xml/rccl-topo_8p_pcie.xml": {},
    # The only NIC has a NUMA node of its own.
    "nccl-xml/rccl-topo_8p_rome_n4.xml": {"nic-distance": 8},
    "nvidia-smi-nvlink/a100x8-nvlink-status.txt": {},
    "nvidia-smi-q/qx-a100.xml": {},
    "nvidia-smi-q/qx-gb200.xml": {},
    "nvidia-smi-q/qx-h100.xml": {},
    "nvidia-smi-q/qx-l40s.xml": {"link-width": 1},
    # A matrix shows the NVLinks that are up, and names no model.
    "nvidia-smi-topo/a100x2-8nic-no-affinity.txt": {"nvlinks": 2},
    "nvidia-smi-topo/dgx1-v100x8-4nic.txt": {"nvlinks": 8},
    "nvidia-smi-topo/h100x4-nv6-4nic.txt": {"nvlinks": 4},
    "nvidia-smi-topo/mixed-geforce-x5-2numa.txt": {"nvlinks": 1},
    "nvidia-smi-topo/perlmutter-a100x4.txt": {"nvlinks": 4},
    # Told SYS to both NICs, all but GPU 6, and between GPUs of one NUMA node.
    "nvidia-smi-topo/rtx4090x8-2nic.txt": {"nvlinks": 1, "nic-distance": 7, "numa-place": 1},
    "nvidia-smi-topo/rtx5090x2-p2p-rw.txt": {"peer-access": 1},
    "nvidia-smi-topo/rtx5090x2-phb.txt": {"nvlinks": 1},
    "sysfs/2pa-pcidomain32bits.tar.bz2": {},
    "sysfs/32intel64-2p8co2t+8ve.tar.bz2": {"peer-access": 1},
    # One NIC is told to be near node 2 and near all CPUs; the other 5 devices near none.
    "sysfs/40intel64-2g2n4c+pcilocality.tar.bz2": {"numa-place": 5, "contradictions": 1},
    "sysfs/40intel64-2g2n4c+pcilocality.xml": {"numa-place": 6},
    "sysfs/nvidiagpunumanodes.tar.bz2": {},
}


def verdicts_on(recordings: Path, name: str) -> tuple[Verdict, ...]:
    return judge(Machine(read_machine([str(recordings / "topologies" / name)])))


@pytest.mark.parametrize("name", TABLE)
def test_recorded_machine_has_the_faults_that_it_has(name: str, recordings: Path) -> None:
    found = verdicts_on(recordings, name)
    assert not [verdict for verdict in found if verdict.level == "FAIL"]
    assert Counter(v.check for v in found if v.level == "WARN") == TABLE[name]


def test_h100_capture_has_no_link_fault_and_no_redirection(recordings: Path) -> None:
    found = verdicts_on(recordings, "lspci/h100x8-pex890xx-lspci-vvv.txt.xz")
    counts = Counter((v.check, v.level) for v in found)
    assert counts["link-speed", "OK"] == counts["link-width", "OK"] > 40
    # Each GPU shares its switch with one NIC; ACS redirects at the NVSwitches' ports only.
    assert counts["peer-access", "OK"] == 8
    assert counts["bar1", "OK"] == 8


def test_replays_of_a_healthy_machine_are_told_and_no_fault(recordings: Path) -> None:
    found = [v for v in verdicts_on(recordings, "nvidia-smi-q/qx-h100.xml") if v.check == "replays"]
    numbers = sorted(int(verdict.evidence.split()[1]) for verdict in found)
    assert (numbers[0], numbers[-1], len(numbers)) == (106, 174, 8)


def test_narrow_gpu_of_a_cloud_is_worth_a_look(recordings: Path) -> None:
    first = verdicts_on(recordings, "nvidia-smi-q/qx-l40s.xml")[0]
    assert "Runs x8 of its own x16, which costs 50 %" in first.evidence


def test_gpu_memory_nodes_are_told_apart(recordings: Path) -> None:
    found = verdicts_on(recordings, "sysfs/nvidiagpunumanodes.tar.bz2")
    assert any(
        v.check == "numa-place" and v.evidence.startswith("6 NUMA nodes (250") for v in found
    )


def test_refused_peer_access_is_told_with_its_meaning(recordings: Path) -> None:
    first = verdicts_on(recordings, "nvidia-smi-topo/rtx5090x2-p2p-rw.txt")[0]
    assert "GNS, the GPU does not support it" in first.evidence
