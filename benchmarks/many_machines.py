"""A thousand machines: load their documents and answer the path class of every pair.

Run it from the root of the repository: ``python benchmarks/many_machines.py [COUNT]``. The
documents are made up, varied in kind and size, and written to a temporary folder beforehand. A
fresh process reads each, indexes it, looks up every pair's class and works it out again from the
tree; the limits are the ones that the project holds itself to.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from topoprobe.machine.paths import path_class  # noqa: E402
from topoprobe.machine.sources.scan import make_up  # noqa: E402
from topoprobe.machine.synthetic import NAMES  # noqa: E402
from topoprobe.machine.view import Machine  # noqa: E402
from topoprobe.records.documents import decode_as, encode  # noqa: E402
from topoprobe.records.machine import MachineDocument  # noqa: E402

SECONDS_LIMIT = 10.0
BYTES_LIMIT = 1 << 30
MAX_GPUS = 16  # of one machine, as they are sold


def texts(count: int) -> list[str]:
    """Return that many different machines: the built-in ones and variations of common servers.

    Parameters
    ----------
    count : int
        Number of machines.
    """
    shapes = itertools.product(
        (1, 2),  # sockets
        (1, 2, 4),  # NUMA nodes of each
        (1, 2, 3),  # switches of each
        (1, 2, 4),  # GPUs below each
        ("a100", "h100", "l40s", "rtx4090"),
        ("nic(cx7)", "2 nic(cx6)", "nic(400gb ports=2)"),
        ("nvme(3.84tb)", "2 nvme(1.92tb)", "4 nvme(7.68tb)"),
    )
    varied = (
        f"{sockets} socket: {numas} numa(256gib): {switches} [root: switch: {gpus} gpu({part}), "
        f"{nic}, {nvme}]"
        for sockets, numas, switches, gpus, part, nic, nvme in shapes
        if sockets * numas * switches * gpus <= MAX_GPUS
    )
    return list(itertools.islice(itertools.cycle((*NAMES, *varied)), count))


def write_all(folder: Path, count: int) -> None:
    """Write the documents as files that sort in their order."""
    for number, text in enumerate(texts(count)):
        document = make_up(text)
        if document is None:
            raise SystemExit(f"{text} is no machine")
        (folder / f"{number:04}.json").write_bytes(encode(document))


def answer(folder: Path) -> None:
    """Answer all pairs of all documents in a folder, and print how many there were."""
    machines = []
    num_pairs = 0
    for path in sorted(folder.iterdir()):
        machine = Machine(decode_as(path.read_bytes(), MachineDocument, path.name))
        machines.append(machine)  # all stay in memory, as a scheduler of a fleet keeps them
        for pair in machine.document.pairs:
            found = path_class(machine, pair.a, pair.b)
            if found.name != pair.path_class:
                raise SystemExit(f"{path.name}: {pair.a} {pair.b} {found.name} {pair.path_class}")
        num_pairs += len(machine.document.pairs)
    print(len(machines), num_pairs)


def main() -> None:
    """Print the time and memory of a fresh process beside their limits."""
    if len(sys.argv) > 2:
        answer(Path(sys.argv[2]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        write_all(Path(folder), count)
        num_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
        start = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, __file__, "answer", folder], stdout=subprocess.PIPE, text=True
        )
        printed = child.stdout.read() if child.stdout else ""
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"the reading process ended with code {child.returncode}")
    machines, pairs = map(int, printed.split())
    peak = usage.ru_maxrss * 1024  # Linux counts KiB
    print(f"{machines} machines ({num_bytes / 1e6:.0f} MB of documents), {pairs} pairs, each class")
    print("looked up and worked out again, in a fresh process:")
    slow = "ok" if seconds <= SECONDS_LIMIT else "TOO SLOW"
    big = "ok" if peak <= BYTES_LIMIT else "TOO BIG"
    print(
        f"time    {seconds:6.2f} s    limit {SECONDS_LIMIT:.0f} s     {slow}"
        f"   ({machines / seconds:.0f} machines/s, {pairs / seconds:.0f} pairs/s)"
    )
    print(f"memory  {peak / (1 << 20):6.0f} MiB  limit {BYTES_LIMIT >> 20} MiB  {big}")


if __name__ == "__main__":
    main()
