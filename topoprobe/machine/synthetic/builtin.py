"""The machines that are built in: how they are wired, from public sources.

Each says where its shape comes from; sizes and rates are those of `parts`. Where a board is sold
for many hosts, the host is a named one. What no source tells is left out: the memory of some
hosts, the maker of some processors, drives that are not NVMe.
"""

from __future__ import annotations

from typing import NamedTuple

from topoprobe.machine.synthetic.links import Wiring


class BuiltIn(NamedTuple):
    """A machine as a text of the grammar, and NVLinks that join GPUs in no regular way."""

    text: str
    wiring: Wiring = ()


# Two rings of NVLinks over a cube's corners, doubled where six links per GPU allow [dgx1-guide];
# counts as `nvidia-smi topo -m` prints them [msccl-dgx1].
_HYBRID_CUBE_MESH: Wiring = (
    (0, 1, 1), (0, 2, 1), (0, 3, 2), (0, 4, 2), (1, 2, 2), (1, 3, 1), (1, 5, 2), (2, 3, 2),
    (2, 6, 1), (3, 7, 1), (4, 5, 1), (4, 6, 1), (4, 7, 2), (5, 6, 2), (5, 7, 1), (6, 7, 2),
)  # fmt: skip

# A quarter of a DGX A100: one chip acts as a switch above two others [nccl-dgx-a100].
_A100_QUARTER = (
    "root: switch(pex88096): 2 [switch(pex88096): nic(cx6), "
    "switch(pex88096): gpu(a100-80gb nvlink=12)], 2 nvme(3.84tb)"
)

# The host around an HGX board of eight Hopper GPUs [gpud-h100]: per GPU one root complex and one
# switch with a NIC and a drive, the network for storage on the first of each socket.
_HGX_HOST = (
    "socket({cpu}): numa(1024gib): "
    "[root: switch(pex89144): gpu({gpu}), nic(cx7), nvme(3.84tb gen4), {storage_nic}], "
    "3 [root: switch(pex89144): gpu({gpu}), nic(cx7), nvme(3.84tb gen4)]"
)
# Its NVSwitches hang on a small switch of the second socket.
_HGX_NVSWITCHES = "[root: switch(gen4 x4): 4 nvswitch(h100)]"


def _hgx(gpu: str, cpu: str, storage_nic: str, nvswitches: str = "") -> str:
    host = _HGX_HOST.format(gpu=gpu, cpu=cpu, storage_nic=storage_nic)
    return f"[{host}], [{host}{', ' + nvswitches if nvswitches else ''}]"


_HOPPER_LINKS = "nvlink=5+4+4+5"  # of 18, over four NVSwitches [hgx-h100]
_STORAGE = "nic(cx6-dx ports=2 eth)"

MACHINES = {
    # 2 x 20 cores, 512 GB, four switches with two GPUs and one EDR NIC each [dgx1-guide].
    "dgx-v100": BuiltIn(
        "2 socket(xeon-e5-2698v4): numa(256gib): 2 switch(pex8796): 2 gpu(v100), nic(cx4)",
        _HYBRID_CUBE_MESH,
    ),
    # 2 x 64 cores in four NUMA nodes each, 2 TB, eight NICs for computing and two of two ports
    # for storage, eight drives for data and two for the system [dgx-a100-guide]. The NUMA nodes of
    # the GPUs are those that the guide's `topo -m` prints; that the rest sits on node 4 is assumed.
    "dgx-a100": BuiltIn(
        f"[socket(epyc-7742): [numa(256gib index=3): {_A100_QUARTER}], "
        f"[numa(256gib index=1): {_A100_QUARTER}], numa(256gib index=0), numa(256gib index=2)], "
        f"[socket(epyc-7742): [numa(256gib index=7): {_A100_QUARTER}], "
        f"[numa(256gib index=5): {_A100_QUARTER}], "
        "[numa(256gib index=4): root: switch(gen4 x4): 6 nvswitch(a100)], "
        "[numa(256gib index=6): root: nic(cx6 ports=2 eth)]]"
    ),
    # The host is that of a DGX H100: 2 x 56 cores, 2 TB [dgx-h100-guide].
    "hgx-h100": BuiltIn(_hgx(f"h100 {_HOPPER_LINKS}", "xeon-8480c", _STORAGE, _HGX_NVSWITCHES)),
    # The same board and host with more memory on the GPUs [dgx-h200-guide].
    "hgx-h200": BuiltIn(_hgx(f"h200 {_HOPPER_LINKS}", "xeon-8480c", _STORAGE, _HGX_NVSWITCHES)),
    # The host of a DGX B200 [dgx-b200-guide]; its two NVSwitches are managed through NICs of their
    # own and show no PCI address. The tree is taken to be that of the H100's host.
    "hgx-b200": BuiltIn(_hgx("b200 nvlink=18 fabric", "xeon-8570", "nic(bf3 ports=2 eth 400gb)")),
    # One compute tray of an NVL72: two Grace and four Blackwell; the NVSwitches are in trays of
    # their own [gb200-nvl72]. C2C, clique and the GPUs' NUMA nodes as recorded trays show them.
    "gb200-nvl4-tray": BuiltIn(
        ", ".join(
            "[socket(grace): numa(480gb): "
            + ", ".join(
                f"[root: gpu(gb200 nvlink=18 clique=1 c2c=5 numa={numa})]" for numa in numas
            )
            + ", 2 [root: nic(cx7)], [root: nic(bf3 ports=2 eth 200gb)], 2 [root: nvme(3.84tb)]]"
            for numas in ((2, 10), (18, 26))
        )
    ),
    # A GPU stands behind a switch of its own board, below the switch that it shares with its NIC
    # [rccl-mi300x]; the host is one of AMD's own MLPerf machines [mlperf-mi300x].
    "mi300x": BuiltIn(
        "2 socket(epyc-9575f): 4 [root: switch: nic(cx7), switch: switch: gpu(mi300x xgmi=7)]"
    ),
    # Cards in the CPU's own slots, as in many a dual-socket server [gpuallocator-4090].
    "8x4090": BuiltIn(
        "[socket(cores=56 threads=2): 4 gpu(rtx4090)], "
        "[socket(cores=56 threads=2): 4 gpu(rtx4090), nic(cx6-dx ports=2 eth)]"
    ),
    # Two CPUs, four GPUs, three NICs [ovx-l40s].
    "4xl40s": BuiltIn(
        "[socket: 2 gpu(l40s), nic(cx7 200gb ports=2 eth), nic(bf3 200gb ports=2 eth)], "
        "[socket: 2 gpu(l40s), nic(cx7 200gb ports=2 eth)]"
    ),
}
