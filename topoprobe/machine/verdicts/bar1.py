"""Whether the window through which others reach a GPU's memory is large enough."""

from __future__ import annotations

import re
from collections.abc import Iterator

from topoprobe.machine.verdicts.check import Check, fail, ok, warn
from topoprobe.machine.view import Machine
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu
from topoprobe.units import format_bytes

NAME = "bar1"
# What firmware without large windows gives every card.
_LEGACY_BYTES = 256 << 20
_ENLARGE = (
    'Enable "Above 4G decoding" and "Resizable BAR" in the BIOS (an older kernel may also need '
    "pci=realloc): "
)
_FOR_PEERS = "peers and NICs then reach all of the GPU's memory directly."
# NVIDIA's drivers refuse peer access to these products, however large the window is.
_WITHOUT_PEERS = {"GEFORCE", "TITAN"}
_FOR_CPU = "the CPU then reaches all of its memory at once; peer access stays refused all the same."


def judge(machine: Machine) -> Iterator[Verdict]:
    """Compare each GPU's window with its memory and with what resizable BAR would give."""
    for gpu in machine.all(Gpu):
        if gpu.bar1_bytes:
            yield _judge(gpu, gpu.bar1_bytes, has_peers=not _is_refused(machine, gpu))


CHECK = Check(NAME, "GPUs have a window as large as they need or can", judge)


def _is_refused(machine: Machine, gpu: Gpu) -> bool:
    """Tell whether the driver gives nobody direct access to a GPU's memory."""
    words = set(re.split(r"[^A-Z]+", (gpu.model or "").upper()))
    pairs = (pair for pair in machine.document.pairs if gpu.id in {pair.a, pair.b})
    told = {pair.peer_status for pair in pairs} - {None, "U"}
    return bool(words & _WITHOUT_PEERS) if not told else "OK" not in told


def _judge(gpu: Gpu, window: int, *, has_peers: bool) -> Verdict:
    fix = _ENLARGE + (_FOR_PEERS if has_peers else _FOR_CPU)
    memory, largest = gpu.memory_bytes, gpu.max_bar1_bytes
    size = f"Has a window of {format_bytes(window)}"
    of = f" on {format_bytes(memory)} of memory" if memory else " on its memory"
    if memory and window >= memory:
        return ok(NAME, gpu.id, f"{size} on its {format_bytes(memory)}: all of it.")
    if largest is not None and window < largest:
        verdict = fail if window <= _LEGACY_BYTES and has_peers else warn
        evidence = f"{size}{of}, and could have one of {format_bytes(largest)}."
        return verdict(NAME, gpu.id, evidence, fix)
    if largest is not None:
        return ok(NAME, gpu.id, f"{size}{of}, the most that it supports.")
    if window <= _LEGACY_BYTES:
        evidence = f"{size}{of}; whether it could be larger is not told."
        return warn(NAME, gpu.id, evidence, f"{fix} Some models (T4) cannot.")
    return ok(NAME, gpu.id, f"{size}{of}; whether it could be larger is not told.")
