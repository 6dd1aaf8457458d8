"""Recorded tables of operator latencies, as `TOPOPROBE_RECORDINGS` holds them.

They are an extract of the performance database of ai-dynamo/aiconfigurator [aiconfigurator]:
kernels timed on real GPUs. Upstream writes milliseconds, and messages in elements of two bytes.
"""

from __future__ import annotations

import csv
import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from topoprobe.model.calibration.operators import OperatorTable
from topoprobe.model.catalogue.devices import find_nominal_device
from topoprobe.model.operators.work import (
    COLLECTIVES,
    DECODE_ATTENTION,
    GEMM,
    PREFILL_ATTENTION,
    Operator,
    Processor,
)

ROOT = Path(__file__).resolve().parent.parent
SYSTEMS = {
    "a100_sxm": "a100-80gb-sxm",
    "h100_sxm": "h100-80gb-sxm",
    "h200_sxm": "h200-141gb-sxm",
    "l40s": "l40s-48gb",
}
"""Systems of the database, and how the catalogue calls their GPU."""

_ELEMENT_BYTES = 2
_GEMM = {"m": "m", "n": "n", "k": "k"}
_ATTENTION = {
    "num_sequences": "batch_size", "num_heads": "num_heads", "num_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim", "window": "window_size",
}  # fmt: skip


def folder() -> Path:
    """Return the folder of the tables."""
    return Path(os.environ.get("TOPOPROBE_RECORDINGS", ROOT.parent / "shared")) / "opdb"


def processor_of(system: str) -> Processor:
    """Return units and cache of a system's GPU."""
    device = find_nominal_device(SYSTEMS[system])
    assert device is not None
    assert device.num_units is not None
    return Processor(num_units=int(device.num_units.value), cache_bytes=device.l2_bytes.value)


def tables_of(system: str) -> dict[str, OperatorTable]:
    """Read all tables of a system, by a name for people."""
    tables = {
        "gemm": _table(system, "gemm", GEMM, _GEMM),
        **_attention(system, "context_attention", PREFILL_ATTENTION, {"num_tokens": "isl"}),
        **_attention(system, "generation_attention", DECODE_ATTENTION, {"context": "step"}),
    }
    for kind in COLLECTIVES:
        wanted = {"op_name": "alltoall" if kind.name == "all_to_all" else kind.name}
        tables[f"nccl {kind.name}"] = _collective(system, "nccl", kind, wanted)
    for mode in ("graph", "eager"):
        wanted = {"backend": f"vllm_{mode}"}
        table = _collective(system, "custom_allreduce", COLLECTIVES[0], wanted)
        tables[f"custom all_reduce, {mode}"] = table
    return tables


def versions_of(system: str, name: str) -> str:
    """Return the software that a table was timed with."""
    rows = _rows(system, name)
    library = "NCCL" if name == "nccl" else "vLLM"
    return f"{library} {', '.join(sorted({row['version'] for row in rows}))}"


def _attention(
    system: str, name: str, operator: Operator, own: dict[str, str]
) -> dict[str, OperatorTable]:
    whole = _table(system, name, operator, {**_ATTENTION, **own})
    if "context" in whole.shapes:  # upstream's step counts what was cached before
        whole = replace(whole, shapes={**whole.shapes, "context": whole.shapes["context"] + 1})
    is_full = whole.shapes["window"] == 0
    found = {operator.name: whole.only(np.flatnonzero(is_full))}
    if not is_full.all():
        found[f"{operator.name}, window"] = whole.only(np.flatnonzero(~is_full))
    return found


def _collective(
    system: str, name: str, operator: Operator, wanted: dict[str, str]
) -> OperatorTable:
    rows = [
        row
        for row in _rows(system, name)
        if all(row[column] == value for column, value in wanted.items())
    ]
    table = _of_rows(
        system, rows, operator, {"num_gpus": "num_gpus", "message_bytes": "message_size"}
    )
    message = table.shapes["message_bytes"] * _ELEMENT_BYTES
    return replace(table, shapes={**table.shapes, "message_bytes": message})


def _table(system: str, name: str, operator: Operator, columns: dict[str, str]) -> OperatorTable:
    return _of_rows(system, _rows(system, name), operator, columns)


def _of_rows(
    system: str, rows: list[dict[str, str]], operator: Operator, columns: dict[str, str]
) -> OperatorTable:
    """Build a table; a shape that was timed more than once gets its mean."""
    keys = np.array([[float(row.get(theirs, 0)) for theirs in columns.values()] for row in rows])
    seconds = np.array([float(row["latency"]) for row in rows]) * 1e-3
    shapes, which = np.unique(keys, axis=0, return_inverse=True)
    return OperatorTable(
        operator=operator,
        processor=processor_of(system),
        shapes=dict(zip(columns, shapes.T, strict=True)),
        seconds=np.bincount(which, weights=seconds) / np.bincount(which),
    )


def _rows(system: str, name: str) -> list[dict[str, str]]:
    path = folder() / f"{system}__{name}_perf.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
