"""The figures that topology discovery holds itself to, printed side by side in one run.

Run it from the root of the repository: ``python benchmarks/topology.py``. It reads every recording
below ``$TOPOPROBE_RECORDINGS`` (default ``../shared``), compares machines that were recorded in two
ways, sets the time of a replay beside `lstopo`'s on the same input (Debian package hwloc-nox), and
measures a live scan. `many_machines.py` has the figure for a thousand machines.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from topoprobe.errors import TopoprobeError
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.verdicts import judge
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, MachineDocument, Nic, Nvme, NvSwitch, PcieSwitch

NUM_RUNS = 15
SLACK_S = 0.15  # what Python may take on top of lstopo
LIVE_LIMIT_S = 0.35
KINDS = (Gpu, Nic, Nvme, NvSwitch, PcieSwitch)
# Outputs of other tools that lie beside the recordings for comparison, and the list of them all.
NOT_RECORDINGS = (".console", "INDEX.md")

XML = "hwloc-xml/tuo.SPX.xml"
TREES = ("sysfs/40intel64-2g2n4c+pcilocality.tar.bz2", "sysfs/32intel64-2p8co2t+8ve.tar.bz2")
MATRICES = (("nccl-xml/perlmutter-a100x4-nccl_topo.xml", "nvidia-smi-topo/perlmutter-a100x4.txt"),)
DIALECTS = (
    ("hwloc-xml/coral-lassen.xml", "hwloc-xml/coral-lassen-hwloc1.xml"),
    ("hwloc-xml/cxlmem+dax.v2.xml", "hwloc-xml/cxlmem+dax.v3.xml"),
    ("nccl-xml/perlmutter-a100x4-nccl_topo.xml", "nvidia-smi-topo/perlmutter-a100x4.txt"),
)
H100_LSPCI = "lspci/h100x8-pex890xx-lspci-vvv.txt.xz"


class Seconds(NamedTuple):
    """Medians over the runs of a command."""

    cpu: float
    wall: float


def main() -> None:
    """Print all figures; end with 1 if one is missed."""
    folder = Path(os.environ.get("TOPOPROBE_RECORDINGS", "../shared")) / "topologies"
    if not folder.is_dir():
        sys.exit(f"{folder} is no folder; set TOPOPROBE_RECORDINGS to the folder of recordings.")
    held = [
        read_all(folder),
        compare_dialects(folder),
        compare_matrices(folder),
        count_link_faults(folder),
        time_replays(folder),
        time_live(),
    ]
    sys.exit(0 if all(held) else 1)


def scan(folder: Path, *names: str) -> MachineDocument:
    """Scan recordings below the folder as one machine."""
    return scan_files([(name, (folder / name).read_bytes()) for name in names])


def read_all(folder: Path) -> bool:
    """Read every recording by itself."""
    print("Recordings: GPUs, NICs, drives, NVSwitches, PCIe switches; pairs by class")
    failed = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.endswith(NOT_RECORDINGS):
            continue
        name = str(path.relative_to(folder))
        try:
            document = scan(folder, name)
        except TopoprobeError as error:
            failed.append(name)
            print(f"  {name:<58} FAILED: {error}")
            continue
        machine = Machine(document)
        counts = " ".join(f"{len(machine.all(kind)):>2}" for kind in KINDS)
        classes = Counter(pair.path_class or "?" for pair in document.pairs)
        listed = " ".join(f"{name}:{number}" for name, number in sorted(classes.items()))
        print(f"  {name:<58} {counts}  {listed}")
    return verdict("recordings that could not be read", len(failed), 0)


def compare_dialects(folder: Path) -> bool:
    """Compare machines that were recorded in two dialects, as far as both tell."""
    differences = 0
    for one, other in DIALECTS:
        first, second = scan(folder, one), scan(folder, other)
        if other.endswith(".txt"):
            same = gpus_by_order(first) == gpus_by_order(second)
        else:
            same = shape(first) == shape(second)
        differences += not same
        print(f"  {one} and {other}: {'the same' if same else 'DIFFERENT'}")
    return verdict("machines that differ between two dialects", differences, 0)


def shape(document: MachineDocument) -> object:
    """Return devices, links and classes, without the figures that one dialect leaves out."""
    return (
        [node.id for node in document.nodes if "@" in node.id],
        [(link.id, link.kind, link.a, link.b, link.count) for link in document.links],
        [(pair.a, pair.b, pair.path_class, pair.pcie_class) for pair in document.pairs],
    )


def gpus_by_order(document: MachineDocument) -> object:
    """Return what a matrix without addresses can tell: GPUs by number, their NUMA node, classes."""
    gpus = Machine(document).all(Gpu)
    number = {gpu.id: gpu.index for gpu in gpus}
    return (
        [(gpu.index, gpu.numa_index, gpu.cpus) for gpu in gpus],
        [
            (number[pair.a], number[pair.b], pair.path_class)
            for pair in document.pairs
            if pair.b in number
        ],
    )


def compare_matrices(folder: Path) -> bool:
    """Set the classes of the tree against the matrix that the driver printed."""
    differing = 0
    for tree, matrix in MATRICES:
        together, told = scan(folder, tree, matrix), scan(folder, matrix)
        cells = sum(pair.path_class is not None for pair in told.pairs)
        wrong = [c for c in together.contradictions if c.fact == "class"]
        differing += len(wrong)
        print(f"  {matrix} against {tree}: {cells - len(wrong)} of {cells} cells equal")
    return verdict("cells of a matrix that the tree contradicts", differing, 0)


def count_link_faults(folder: Path) -> bool:
    """Judge the links of a healthy server on which lspci says "downgraded" 16 times."""
    machine = Machine(scan(folder, H100_LSPCI))
    faults = [one for one in judge(machine) if one.check.startswith("link") and one.level == "FAIL"]
    for fault in faults:
        print(f"  {fault.subject}: {fault.evidence}")
    return verdict("link faults on the healthy H100 server", len(faults), 0)


def time_replays(folder: Path) -> bool:
    """Replay trees and the largest XML beside lstopo."""
    if shutil.which("lstopo") is None and shutil.which("lstopo-no-graphics") is None:
        print("  lstopo is not installed (Debian package hwloc-nox): replays are not timed")
        return False
    lstopo = shutil.which("lstopo-no-graphics") or "lstopo"
    held = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in TREES:
            root = unpacked(folder / name, Path(temporary) / Path(name).name)
            flags = ["--input", str(root), "--if", "fsroot"]
            held.append(time_pair(name, [lstopo, *flags], str(root)))
        path = str(folder / XML)
        held.append(time_pair(XML, [lstopo, "--input", path], path))
    return all(held)


def unpacked(archive: Path, target: Path) -> Path:
    """Unpack a recorded tree and return its root."""
    with tarfile.open(archive) as opened:
        opened.extractall(target, filter="tar")
    (root,) = target.iterdir()
    return root


def time_pair(name: str, lstopo: Sequence[str], recording: str) -> bool:
    """Print both tools' time on one input, in turns."""
    ours = [sys.executable, "-m", "topoprobe", "scan", recording, "--json"]
    theirs = [*lstopo, "--whole-io", "--of", "console"]
    mine, other = in_turns(ours, theirs)
    limit = other.cpu + SLACK_S
    print(
        f"  {name}: lstopo {other.cpu:.3f} s CPU ({other.wall:.3f} wall), "
        f"topoprobe {mine.cpu:.3f} s CPU ({mine.wall:.3f} wall)"
    )
    return verdict(f"replay of {Path(name).name}, CPU s", mine.cpu, limit)


def time_live() -> bool:
    """Time a live scan beside an interpreter that does nothing."""
    scanned, nothing = in_turns(
        [sys.executable, "-m", "topoprobe", "scan", "--json"], [sys.executable, "-c", "pass"]
    )
    print(f"  python alone {nothing.cpu:.3f} s CPU, live scan {scanned.cpu / nothing.cpu:.1f} x")
    return verdict("live scan, CPU s", scanned.cpu, LIVE_LIMIT_S)


def in_turns(*commands: Sequence[str]) -> list[Seconds]:
    """Run commands one after the other, many rounds, and return each one's medians."""
    runs: list[list[Seconds]] = [[] for _ in commands]
    for _ in range(NUM_RUNS):
        for seconds, command in zip(runs, commands, strict=True):
            seconds.append(timed(command))
    return [Seconds(*map(statistics.median, zip(*seconds, strict=True))) for seconds in runs]


def timed(command: Sequence[str]) -> Seconds:
    """Run one command and return its CPU and wall time."""
    import time

    # As a user runs it: with the compiled modules of the run before.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with code {process.returncode}")
    return Seconds(usage.ru_utime + usage.ru_stime, wall)


def verdict(what: str, value: float, limit: float) -> bool:
    """Print a figure beside its limit."""
    held = value <= limit
    print(f"{what}: {value:.3g}, limit {limit:.3g}: {'ok' if held else 'MISSED'}\n")
    return held


if __name__ == "__main__":
    main()
