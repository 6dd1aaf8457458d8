"""Published contention that the defaults predict, with no constant of the machines' own."""

from __future__ import annotations

import pytest

from tests.model.fabric.made_up import made_up
from topoprobe.measure.flows import parse_flow_set
from topoprobe.model.fabric.machines.fabric import MachineFabric
from topoprobe.model.prediction import predict

H800 = "2 socket(xeon-8480c): numa: 4 [root: switch(pex89144): gpu(h100)]"
TURIN = "2 socket(epyc-9575f): numa: 4 gpu(gen5)"
BOTH = "host:0 > gpu:0 | gpu:0 > host:0"
FROM_HOST = " | ".join(f"host:{index // 4} > gpu:{index}" for index in range(8))


# benchmarks/published_contention.py has all rows and their sources.
@pytest.mark.parametrize(
    ("machine", "flows", "flow", "gigabytes_per_s"),
    [
        (H800, FROM_HOST, 0, 55.16),
        (H800, BOTH, 0, 52.79),
        (TURIN, " | ".join(f"host:0 > gpu:{index}" for index in range(4, 8)), 0, 37.15),
        (TURIN, FROM_HOST, 5, 55.69),
        (TURIN, BOTH, 1, 50.29),
        ("socket: gpu(gen4 x8)", BOTH, 0, 12.66),
        ("socket: gpu(gen4 x8)", BOTH, 1, 11.06),
        ("hgx-h100", "gpu:0 > gpu:1 | gpu:1 > gpu:0", 0, 378.8),
    ],
)
def test_published_rate_is_predicted_within_a_tenth(
    machine: str, flows: str, flow: int, gigabytes_per_s: float
) -> None:
    predicted = predict(MachineFabric(made_up(machine)), parse_flow_set(flows)).flows[flow]
    assert predicted.rate_bytes_per_s == pytest.approx(gigabytes_per_s * 1e9, rel=0.10)
