"""The tool, the model and the estimates that all sample documents share."""

from __future__ import annotations

from topoprobe.records.base import Estimate, Source, Tool
from topoprobe.records.calibration import (
    ModelShape,
)

TOOL = Tool(tool_version="0.1.0", revision="abc1234")
MODEL = ModelShape(
    name="tiny-llama",
    num_layers=4,
    hidden_size=256,
    intermediate_size=688,
    num_heads=8,
    num_kv_heads=4,
    head_dim=32,
    vocab_size=4096,
    dtype="fp32",
    dtype_bytes=4,
)


def measured(value: float, spread_ratio: float = 0.015, evidence: str = "sample") -> Estimate:
    """Return a measured estimate whose interval is symmetric."""
    half = value * spread_ratio
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        source=Source.MEASURED,
        n=12,
        evidence=evidence,
    )


def nominal(value: float, evidence: str = "data sheet") -> Estimate:
    """Return a nominal estimate."""
    return Estimate(
        value=value, low=value, high=value, source=Source.NOMINAL, n=0, evidence=evidence
    )
