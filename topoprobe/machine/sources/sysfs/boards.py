"""GPU boards with a switch of their own: the link that counts is that of the slot.

AMD's cards and Intel's Arc have one. Their GPU's own registers tell of the way inside the board,
which on Arc even reads Gen1 x1; the upstream port of the board's switch tells of the slot.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from topoprobe.machine.facts import PciFact

_MAKERS = {"1002", "8086"}
_GPU_CLASSES = ("03", "12")


def with_slot_links(functions: Sequence[PciFact]) -> list[PciFact]:
    """Give the links inside of a board the rate and width of its slot.

    Bridges of the GPU's own maker are on its board, except root ports, which have no parent.
    """
    known = {f.address: f for f in functions}
    changed: dict[str, PciFact] = {}
    for gpu in functions:
        if gpu.vendor not in _MAKERS or not (gpu.class_code or "").startswith(_GPU_CLASSES):
            continue
        board = _bridges_of_board(gpu, known)
        if not board or board[-1].maximum is None:
            continue
        slot = board[-1]
        for inner in (gpu, *board[:-1]):
            changed[inner.address] = msgspec.structs.replace(
                inner, maximum=slot.maximum, current=slot.current
            )
    return [changed.get(f.address, f) for f in functions]


def _bridges_of_board(gpu: PciFact, known: dict[str, PciFact]) -> list[PciFact]:
    """Return the bridges between a GPU and its slot, the one at the slot last."""
    board: list[PciFact] = []
    at = known.get(gpu.parent or "")
    while at is not None and at.vendor == gpu.vendor and at.parent and at not in board:
        board.append(at)
        at = known.get(at.parent)
    return board
