"""`nvidia-smi topo -m`: the matrix of path classes, CPU and NUMA affinity.

It numbers the GPUs and names the NICs; of addresses, rates and the tree it tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from topoprobe.errors import InputError
from topoprobe.machine.addresses import format_cpu_list, parse_cpu_list
from topoprobe.machine.facts import Facts, GpuFact, NicFact, NumaFact, PairFact, PeerFact
from topoprobe.machine.sources.nvidia_smi.matrices import Matrix, Row, Words, find_matrices
from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction, LinkKind, NicPort

_CLASS = r"NV(?:[12]\d|3[0-6]|[1-9])(?![-,])|C2C|PIX|PXB|PHB|PSB|NODE|SYS|SOC"
_WORDS = Words(
    f"X|{_CLASS}",
    {"PI": "PIX", "PX": "PXB", "PH": "PHB", "NO": "NODE", "NOD": "NODE", "SY": "SYS"},
)
# What old drivers said: a switch on the same board, and a link between sockets.
_OLD_WORDS = {"PSB": "PIX", "SOC": "SYS"}
_ROW = re.compile(rf"^[ \t>|]*GPU\d+[ \t|]+(?:X[ \t|]+)?(?:{_CLASS})\b", re.MULTILINE)
_ALONE = re.compile(r"^[ \t>|]*GPU0[ \t|]+X[ \t|]+(?:\d|N/A|$)", re.MULTILINE)
_NIC_LEGEND = re.compile(r"^[ \t>|]*(NIC\d+):[ \t]*(\w*?\d[\w.-]*)[ \t|]*$", re.MULTILINE)
_NO_NIC = re.compile(r"(?:NVME|SSD|CPU|DISK|MIG)\d", re.IGNORECASE)
_CPU_LIST = re.compile(r"\d{1,6}(?:-\d{1,6})?(?:,\d{1,6}(?:-\d{1,6})?)*")
_TORN_LIST = re.compile(r"(\d+)-(\d+),(\d+)-(\d+)")

# The most NVLinks that a GPU has; of the generation after Blackwell, twice as many.
_MOST_NVLINKS, _MOST_NVLINKS_LATER = 18, 36


def matches(text: str) -> bool:
    """Tell whether a text holds such a matrix."""
    return _ROW.search(text) is not None or ("Affinity" in text and _ALONE.search(text) is not None)


def read(text: str, name: str) -> Facts:
    """Read the first whole matrix of a text; what could not be read is named.

    Raises
    ------
    InputError
        If no row of any matrix in it can be read.
    """
    matrices = [m for m in find_matrices(text, _WORDS) if _is_of_classes(m)]
    if not matrices:
        raise InputError(
            f"{name} holds rows of a `nvidia-smi topo -m` matrix, but none of them is whole; copy "
            "the text again, from its header to its legend."
        )
    matrix = next((m for m in matrices if m.is_complete()), max(matrices, key=_num_rows))
    return _Reader(matrix, dict(_NIC_LEGEND.findall(text))).facts(
        f"nvidia-smi-topo {name}", len(matrices)
    )


def _is_of_classes(matrix: Matrix) -> bool:
    """Tell this kind of matrix from that of peer access, which has the same form."""
    words = [word for _, _, word in matrix.words()]
    is_lone = not words and bool(matrix.titles)
    return any(_is_gpu(r.name) for r in matrix.rows) and (
        is_lone or any(_WORDS.is_known(word) for word in words)
    )


class Affinity(NamedTuple):
    """What stands right of a GPU's cells; None where a cell is empty or cannot be read."""

    cpus: str | None = None
    numa: str | None = None
    memory: str | None = None
    is_torn: bool = False


class _Reader:
    """Turns one matrix into facts."""

    def __init__(self, matrix: Matrix, legend: Mapping[str, str]) -> None:
        self._matrix = matrix
        devices = matrix.devices()
        self._gpus = sorted(filter(_is_gpu, devices), key=_number)
        self._nics = [d for d in devices if not _is_gpu(d) and not _NO_NIC.match(d)]
        # In old layouts, a NIC's column has the name that the legend gives in new ones.
        self._ports = {
            nic: legend.get(nic, nic if not re.fullmatch(r"NIC\d+", nic) else None)
            for nic in self._nics
        }
        self._unknown: list[Missing] = []
        self._contradictions: list[Contradiction] = []

    def facts(self, source: str, num_matrices: int) -> Facts:
        self._note_gaps(num_matrices)
        affinities = self._affinities()
        classes = self._classes()
        return Facts(
            source=source,
            numas=self._numas(affinities),
            nics=tuple(
                NicFact(
                    key=port or nic,
                    ports=(NicPort(name=port, verbs_device=port),) if port else (),
                )
                for nic, port in self._ports.items()
            ),
            gpus=tuple(self._gpu(gpu, affinities.get(gpu, Affinity())) for gpu in self._gpus),
            peers=tuple(self._peers(classes)),
            are_peers_inferred=True,
            pairs=tuple(
                PairFact(a=self._subject(a), b=self._subject(b), path_class=word)
                for (a, b), word in classes.items()
            ),
            unknown=tuple(self._unknown),
            contradictions=tuple(self._contradictions),
        )

    def _subject(self, device: str) -> str:
        if _is_gpu(device):
            return f"gpu:{_number(device)}"
        return f"nic:{self._ports[device] or device}"

    def _miss(self, subject: str, fact: str, reason: str) -> None:
        self._unknown.append(Missing(subject=subject, fact=fact, reason=reason))

    def _note_gaps(self, num_matrices: int) -> None:
        if num_matrices > 1:
            reason = f"The text holds {num_matrices} matrices; the first whole one is read."
            self._miss("host", "other matrices", reason)
        for device, reason in self._matrix.damaged:
            if device in self._nics or _is_gpu(device):
                self._miss(self._subject(device), "row of the matrix", reason)
        for device in self._matrix.missing_rows():
            if device in self._nics or _is_gpu(device):
                self._miss(self._subject(device), "row of the matrix", "The text does not have it.")
        if None in self._matrix.columns:
            reason = "Neither a header nor a row tells whose they are."
            self._miss("host", "some columns of the matrix", reason)
        for nic, port in self._ports.items():
            if port is None:
                reason = "The text has no legend of the NICs."
                self._miss(f"nic:{nic}", "network interface", reason)

    def _affinities(self) -> dict[str, Affinity]:
        rows = [row for row in self._matrix.rows if _is_gpu(row.name)]
        found = {row.name: _affinity(row, self._matrix.titles) for row in rows}
        if any(a.numa for a in found.values()):
            found = {gpu: _with_split_numa(a) for gpu, a in found.items()}
        memory = [own for a in found.values() if (own := _integer(a.memory)) is not None]
        if memory:
            found = {gpu: _beside_memory(a, min(memory)) for gpu, a in found.items()}
        return found

    def _gpu(self, gpu: str, affinity: Affinity) -> GpuFact:
        subject = self._subject(gpu)
        if affinity.is_torn:
            reason = "The columns right of the matrix run into each other."
            self._miss(subject, "cpus", reason)
            self._miss(subject, "numa_index", reason)
        elif affinity.cpus is None and affinity.numa is None:
            self._miss(subject, "cpus", "The text has no CPU affinity of it.")
            self._miss(subject, "numa_index", "The text has no NUMA affinity of it.")
        elif affinity.numa is None:
            self._miss(subject, "numa_index", "The text has no NUMA affinity of it.")
        elif not affinity.numa.isdecimal():
            reason = f"The driver names several NUMA nodes, {affinity.numa}."
            self._miss(subject, "numa_index", reason)
        return GpuFact(
            subject=subject,
            numa_index=_integer(affinity.numa),
            cpus=parse_cpu_list(affinity.cpus or ""),
            memory_numa_index=_integer(affinity.memory),
        )

    def _numas(self, affinities: Mapping[str, Affinity]) -> tuple[NumaFact, ...]:
        """List the nodes that GPUs are near to, with their CPUs where one list is told of one."""
        lists: dict[int, set[str]] = {}
        for affinity in affinities.values():
            nodes = parse_cpu_list(affinity.numa or "")
            for node in nodes:
                lists.setdefault(node, set())
            if len(nodes) == 1 and affinity.cpus is not None:
                lists[nodes[0]].add(affinity.cpus)
        memory_of = {
            own: self._subject(gpu)
            for gpu, affinity in affinities.items()
            if (own := _integer(affinity.memory)) is not None
        }
        for node, told in lists.items():
            if len(told) > 1:
                reason = (
                    f"GPUs near to it are near to different CPUs: {' and '.join(sorted(told))}."
                )
                self._miss(f"numa:{node}", "cpus", reason)
        near = (
            NumaFact(
                os_index=node,
                cpus=parse_cpu_list(next(iter(told))) if len(told) == 1 else (),
                memory_of=memory_of.get(node),
            )
            for node, told in sorted(lists.items())
        )
        alone = (
            NumaFact(os_index=number, memory_of=subject)
            for number, subject in sorted(memory_of.items())
            if number not in lists
        )
        return (*near, *alone)

    def _classes(self) -> dict[tuple[str, str], str]:
        """Return the class of each GPU-GPU and GPU-NIC pair, told alike in both directions."""
        told: dict[tuple[str, str], str] = {}
        for row, column, word in self._matrix.words():
            if column in self._nics or row in self._nics or (_is_gpu(row) and _is_gpu(column)):
                told[row, column] = word
        found = {}
        for gpu in self._gpus:
            for other in (*self._gpus[self._gpus.index(gpu) + 1 :], *self._nics):
                there, back = told.get((gpu, other)), told.get((other, gpu))
                either = there or back
                if there and back and there != back:
                    self._contradict(gpu, other, there, back)
                elif either is not None and not _WORDS.is_known(either):
                    reason = f"The matrix says {either}, which is no class that is known."
                    self._miss(self._subject(gpu), f"path to {other}", reason)
                elif either is not None:
                    found[gpu, other] = _OLD_WORDS.get(either, either)
        return found

    def _contradict(self, gpu: str, other: str, there: str, back: str) -> None:
        self._contradictions.append(
            Contradiction(
                subject=self._subject(gpu),
                fact=f"path to {other}",
                readings=(f"row of {gpu}: {there}", f"row of {other}: {back}"),
                meaning="A path has one class in both directions; neither is used.",
            )
        )

    def _peers(self, classes: Mapping[tuple[str, str], str]) -> Iterator[PeerFact]:
        """Conclude how the NVLinks run.

        More links to all peers together than a GPU can have go through NVSwitches, each counted
        once for every peer.
        """
        counts: dict[str, dict[str, int]] = {}
        for (a, b), path_class in classes.items():
            if path_class.startswith("NV"):
                counts.setdefault(a, {})[b] = counts.setdefault(b, {})[a] = int(path_class[2:])
        if not counts:
            return
        highest = max(max(to.values()) for to in counts.values())
        most = _MOST_NVLINKS if highest <= _MOST_NVLINKS else _MOST_NVLINKS_LATER
        is_switched = any(sum(to.values()) > most for to in counts.values())
        if len(counts) == 2:
            reason = "Between two GPUs, the matrix looks the same with NVSwitches and without."
            self._miss("host", "NVSwitches", reason)
        for gpu, to in counts.items():
            subject = self._subject(gpu)
            if is_switched:
                yield PeerFact(
                    a=subject, b_kind="nvswitch", kind=LinkKind.NVLINK, count=max(to.values())
                )
                continue
            for other, count in to.items():
                yield PeerFact(
                    a=subject,
                    b=self._subject(other),
                    b_kind="gpu",
                    kind=LinkKind.NVLINK,
                    count=count,
                )


def _affinity(row: Row, titles: Sequence[str]) -> Affinity:
    cells = [part for cell in row.rest for part in _pieces(cell)]
    if len(cells) == 4 and cells[2] == "":
        del cells[2]  # the heading of NUMA affinity is two tabs wide
    if len(titles) == len(cells):
        told = dict(zip(titles, cells, strict=True))
        return Affinity(
            _list_in(told.get("CPU")),
            _list_in(told.get("NUMA")),
            _list_in(told.get("GPU")),
        )
    given = [cell for cell in cells if _list_in(cell)]
    if not given:
        return Affinity()
    if not titles and len(cells) == 3:
        cpus, numa, memory = map(_list_in, cells)  # the header is cut off
        return Affinity(cpus, numa, memory)
    # Blanks do not tell which cells were empty; a lone list of several CPUs can only be the first.
    is_clear = len(given) == 1 and not row.is_wrapped and re.search("[,-]", given[0])
    return Affinity(cpus=given[0]) if is_clear else Affinity(is_torn=True)


def _pieces(cell: str) -> list[str]:
    """Take a NUMA node and the N/A behind it apart, which pasting fuses."""
    match = re.fullmatch(r"(\d[\d,-]*)(N/A)", cell)
    return [match[1], match[2]] if match else [cell]


def _with_split_numa(affinity: Affinity) -> Affinity:
    """Take a CPU list and the NUMA node behind it apart, as in ``56-111,168-2231``.

    With simultaneous multithreading both ranges are of one length, which tells where to split.
    """
    if affinity.cpus is None or affinity.numa is not None:
        return affinity
    match = _TORN_LIST.fullmatch(affinity.cpus)
    if match is None:
        return affinity
    low, high, start, end = (int(part) for part in match.groups())
    if end - start == high - low:
        return affinity
    last = str(start + high - low)
    if not match[4].startswith(last):
        return Affinity(is_torn=True)
    return affinity._replace(
        cpus=f"{match[1]}-{match[2]},{match[3]}-{last}", numa=match[4].removeprefix(last)
    )


def _beside_memory(affinity: Affinity, first: int) -> Affinity:
    """Leave only the processor's own nodes in a list as ``0,2-17``.

    The nodes of the GPUs' memory are numbered after those of all processors.
    """
    nodes = parse_cpu_list(affinity.numa or "")
    processors = tuple(node for node in nodes if node < first)
    return affinity._replace(numa=format_cpu_list(processors)) if processors else affinity


def _list_in(cell: str | None) -> str | None:
    return cell if cell and _CPU_LIST.fullmatch(cell) else None


def _integer(cell: str | None) -> int | None:
    return int(cell) if cell is not None and cell.isdecimal() else None


def _is_gpu(device: str) -> bool:
    return re.fullmatch(r"GPU\d{1,4}", device) is not None


def _number(gpu: str) -> int:
    return int(gpu.removeprefix("GPU"))


def _num_rows(matrix: Matrix) -> int:
    return len(matrix.rows)
