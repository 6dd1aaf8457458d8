"""`nvidia-smi topo -p2p`: whether the driver allows peer access between GPUs.

Each kind of access has a matrix of its own: reading, writing, over NVLink, over PCIe, atomics. A
pair of GPUs are peers if reading and writing are both allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from topoprobe.machine.facts import Facts, GpuFact, PairFact
from topoprobe.machine.sources.nvidia_smi.matrices import Matrix, Words, find_matrices
from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction

_STATUS = "OK|CNS|GNS|TNS|NS|DR|U"
_WORDS = Words(f"X|{_STATUS}", {}, devices=r"GPU\d{1,4}")
_ROW = re.compile(rf"^[ \t>|]*GPU\d+[ \t|]+(?:X[ \t|]+)?(?:{_STATUS})(?![^\s|])", re.MULTILINE)
_GPU = re.compile(r"GPU(\d{1,4})")
_OPTION = re.compile(r"-p2p[ =]+([rwnap]+)\b")
_IN_WORDS = re.compile(r"p2p\W+(read|write|nvlink|atomic|pcie|prop)", re.IGNORECASE)


class _Reading(NamedTuple):
    """One word for one pair, and where it stands."""

    place: str
    word: str


def matches(text: str) -> bool:
    """Tell whether a text holds such a matrix."""
    return _ROW.search(text) is not None


def read(text: str, name: str) -> Facts:
    """Read all such matrices of a text; of several words for one pair the first refusal counts."""
    matrices = [(_kind(m.before), m) for m in find_matrices(text, _WORDS) if _is_of_peers(m)]
    # Atomics, or one of the two ways, may be refused where peer access works.
    decisive = [(kind, m) for kind, m in matrices if not kind or set(kind) & set("rw")] or matrices
    told: dict[frozenset[int], list[_Reading]] = {}
    for kind, matrix in decisive:
        for row, column, word in matrix.words():
            pair = frozenset((_number(row), _number(column)))
            place = f"-p2p {kind}, row of {row}" if kind else f"row of {row}"
            told.setdefault(pair, []).append(_Reading(place, word))
    gpus = {_number(device) for _, matrix in matrices for device in matrix.devices()}
    return Facts(
        source=f"nvidia-smi-p2p {name}",
        gpus=tuple(GpuFact(subject=f"gpu:{gpu}") for gpu in sorted(gpus)),
        pairs=tuple(
            PairFact(
                a=f"gpu:{min(pair)}", b=f"gpu:{max(pair)}", peer_status=_decided(readings).word
            )
            for pair, readings in told.items()
        ),
        unknown=_unread([matrix for _, matrix in matrices]),
        contradictions=_disagreements(told),
    )


def _is_of_peers(matrix: Matrix) -> bool:
    """Tell this kind of matrix from that of path classes, which has the same form."""
    return all(_GPU.fullmatch(device) for device in matrix.devices()) and any(
        _WORDS.is_known(word) for _, _, word in matrix.words()
    )


def _number(gpu: str) -> int:
    return int(gpu.removeprefix("GPU"))


def _kind(before: str) -> str:
    """Return the letters of the kinds of access that a matrix is of, by the text above it."""
    options = _OPTION.findall(before)
    if options:
        return str(options[-1])
    words = _IN_WORDS.findall(before)
    return str(words[-1])[0].lower() if words else ""


def _decided(readings: Sequence[_Reading]) -> _Reading:
    return next((reading for reading in readings if reading.word != "OK"), readings[0])


def _disagreements(told: Mapping[frozenset[int], Sequence[_Reading]]) -> tuple[Contradiction, ...]:
    found = []
    for pair, readings in told.items():
        decided = _decided(readings)
        other = next((reading for reading in readings if reading.word != decided.word), None)
        if other is not None:
            found.append(
                Contradiction(
                    subject=f"gpu:{min(pair)}",
                    fact=f"peer access to GPU{max(pair)}",
                    readings=(
                        f"{decided.place}: {decided.word}",
                        f"{other.place}: {other.word}",
                    ),
                    meaning="Peer access needs both kinds and both directions; the refusal counts.",
                )
            )
    return tuple(found)


def _unread(matrices: Sequence[Matrix]) -> tuple[Missing, ...]:
    found = []
    for matrix in matrices:
        gaps = (
            *matrix.damaged,
            *((m, "The text does not have it.") for m in matrix.missing_rows()),
        )
        for device, reason in gaps:
            subject = f"gpu:{_number(device)}"
            found.append(Missing(subject=subject, fact="row of peer access", reason=reason))
    return tuple(found)
