"""Verdicts on documents that strangers cut and changed: an answer or one error, no traceback."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import ModelError
from topoprobe.machine.diagnosis import markdown, screen
from topoprobe.machine.sources.scan import make_up
from topoprobe.machine.verdicts import judge
from topoprobe.machine.view import Machine
from topoprobe.records.machine import MachineDocument

# Without these a document is refused at once.
_NEEDED = {
    "kind", "id", "name", "schema", "version", "tool", "tool_version", "origin", "os_index", "a",
    "b", "wire", "count", "class", "subject", "fact", "reason", "role", "level", "type", "address",
    "size_bytes", "num_instances", "readings", "meaning", "source", "state", "nodes", "links",
    "sources", "contradictions", "unknown", "provenance", "pairs", "facts", "ports", "cpus",
    "distances", "caches", "block_devices", "kernel_options", "allowed_cpus", "allowed_numas",
    "instruction_sets",
}  # fmt: skip


def damaged(value: Any, draw: Any) -> Any:
    """Drop items of lists, and set numbers and optional texts to null, here and there."""
    if isinstance(value, dict):
        return {
            key: None if draw(key) and key not in _NEEDED else damaged(item, draw)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [damaged(item, draw) for item in value if not draw("item")]
    return value


@pytest.mark.parametrize("name", ["hgx-h100", "gb200-nvl4-tray", "8x4090"])
@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**32),
    often=st.sampled_from([0.01, 0.1, 0.4]),
    keeps_dangling=st.booleans(),
)
def test_damaged_document_gets_verdicts_or_one_error(
    name: str, seed: int, often: float, keeps_dangling: bool
) -> None:
    document = make_up(name)
    assert document is not None
    chance = random.Random(seed)
    raw = damaged(msgspec.to_builtins(document), lambda _: chance.random() < often)
    if not keeps_dangling:
        ids = {node["id"] for node in raw["nodes"]}
        raw["links"] = [link for link in raw["links"] if {link["a"], link["b"]} <= ids]
    try:
        machine = Machine(msgspec.convert(raw, MachineDocument))
        verdicts = judge(machine, ())
    except (msgspec.ValidationError, ModelError):
        return
    assert screen(machine, verdicts, 80, are_all=True)
    assert markdown(machine, verdicts, [])
