from __future__ import annotations

from topoprobe.model.catalogue.devices import find_nominal_device
from topoprobe.model.deployment import deploy_nominal
from topoprobe.records.base import Tool
from topoprobe.records.documents import decode, encode
from topoprobe.serving.simulator.run import simulate
from topoprobe.serving.workload.load import synthetic_load


def test_simulated_run_is_a_valid_document_that_repeats() -> None:
    device = find_nominal_device("a100-80gb-sxm")
    assert device is not None
    told: list[float] = []
    documents = [
        simulate(
            deploy_nominal(device, "tiny-llama"),
            synthetic_load(1500, rate_per_s=200, seed=3),
            num_blocks=2000,
            tool=Tool(tool_version="0"),
            calibration=device.name,
            progress=told.append,
        )
        for _ in range(2)
    ]
    document = documents[0]
    assert documents[0] == documents[1]
    assert decode(encode(document)) == document
    assert document.summary.num_finished == len(document.requests) == 1500
    assert document.summary.num_output_tokens == sum(
        each.num_output_tokens for each in document.requests
    )
    assert 0 < (document.summary.peak_kv_blocks or 0) <= 2000
    assert [choice.name for choice in document.policies] == [
        "chunked", "fcfs", "newest", "recompute",
    ]  # fmt: skip
    assert document.policies[0].settings["budget"] == "512"
    assert told[: len(told) // 2] == sorted(told[len(told) // 2 :])
    assert 0 < told[0] < 1
