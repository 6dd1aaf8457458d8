"""Predictions as people and scripts read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from topoprobe.machine.sources.scan import make_up
from topoprobe.records.documents import encode
from topoprobe.records.machine import Capability

Command = Callable[..., tuple[int, str, str]]
THREE = "host:0 > gpu:0 via ce | host:0 > gpu:1 via ce | nic:0 > gpu:0, txn=128"


def test_predict_first_says_who_is_slowed_and_last_what_comes_next(predict: Command) -> None:
    code, out, err = predict("hgx-h100", "--flows", THREE)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("2 of 3 flows are slowed; flow 3 most, by x2.68: cap or delay")
    assert "one packet of each port in turn: 128 bytes of this one, 256 of the others" in out
    assert lines[-1] == "nominal capacity: 63.0 GB/s after line encoding x 0.95 [pcie-bench]"
    # bench has no flow between a NIC and a GPU.
    assert err.startswith("next: topoprobe predict hgx-h100 --flows 'host:0 -> gpu:0 via ce |")
    assert err.endswith("--model transactions\n")


def test_predict_json_has_the_shape_that_scripts_rely_on(predict: Command) -> None:
    code, out, _ = predict("hgx-h100", "--flow", THREE, "--json", "--quiet")
    document = json.loads(out)
    assert code == 0
    assert set(document["flows"][0]) == {
        "number", "text", "src", "dst", "executor", "work", "size_bytes", "txn_bytes",
        "cap_bytes_per_s", "duration_s", "start_s", "rate_bytes_per_s", "solo_bytes_per_s",
        "rate_per_s", "solo_per_s", "unit", "rate_over", "is_upper_bound", "may_be_faster",
        "slowdown", "bottleneck", "why",
    }  # fmt: skip
    assert [one["executor"] for one in document["flows"]] == ["ce", "ce", "nic"]
    assert [one["number"] for one in document["flows"]] == [1, 2, 3]
    assert document["text"] == " | ".join(one["text"] for one in document["flows"])
    assert document["flows"][2]["txn_bytes"] == 128
    assert (document["schema"], document["version"]) == ("topoprobe.prediction", 1)
    assert (document["machine"], document["model"]) == ("hgx-h100", "fluid")
    rates = [one["rate_bytes_per_s"] / 1e9 for one in document["flows"]]
    # Equal packets per second on the wire of gpu:0, whose headers are 20 and 24 bytes.
    assert rates[0] == pytest.approx(2 * rates[2])
    assert rates[0] * 276 / 256 + rates[2] * 152 / 128 == pytest.approx(59.86, rel=1e-3)
    assert document["aggregate_bytes_per_s"] == pytest.approx(sum(rates) * 1e9)
    assert 0 < document["wire_jain_ratio"] < document["jain_ratio"] < 1
    assert document["bottlenecks"][0]["source"] == "nominal"


def test_predict_without_contention_says_so(predict: Command) -> None:
    _, out, _ = predict("hgx-h100", "--flow", "host:0 > gpu:0", "--flow", "host:1 > gpu:4")
    assert out.startswith("No flow slows another one")
    assert "slower" not in out


def test_predict_tells_what_it_assumes(predict: Command) -> None:
    _, out, _ = predict("8x4090", "--flows", "host:0 > gpu:0")
    assert out.startswith("No flow is known to slow another one, but not all that they cross is")
    assert "at most 25.9 GB/s of 25.9 GB/s alone" in out
    assert "taken not to limit: the memory of NUMA node 0, the catalogue has no memory" in out


def test_predict_says_all_by_where_flows_lose_alike(predict: Command) -> None:
    _, out, _ = predict("hgx-h100", "--flows", "host:0 > gpu:0 | host:0 > gpu:0")
    assert out.startswith("2 of 2 flows are slowed; all by x2.00: cap or delay some, or find")


def test_predict_of_flows_that_never_meet_finds_no_slowdown(predict: Command) -> None:
    flows = "host:0 > gpu:0, size=1GiB | host:0 > gpu:0, size=1GiB, delay=10s"
    for model in ("fluid", "transactions"):
        _, out, _ = predict("hgx-h100", "--flows", flows, "--model", model)
        assert out.startswith("No flow slows another one")
        assert "with flow" not in out
        assert "rates are means over the time that each flow takes" in out


def test_predict_tells_many_flows_in_groups_slowest_first(predict: Command) -> None:
    flows = " | ".join(
        [f"h{host}/gpu:{gpu} > h{host + 8}/gpu:{gpu}" for host in range(4) for gpu in range(8)]
        + ["h4/gpu:0 > h8/gpu:0"]
    )
    _, out, err = predict("16 x hgx-h100 : rail 400gb", "--flows", flows)
    lines = out.splitlines()
    assert lines[1] == "2 flows  h0/gpu:0 -> h8/gpu:0 via nic and more: flows 1, 33"
    assert "31 flows  h0/gpu:1 -> h8/gpu:1 via nic and more: flows 2-32" in out
    assert "flow 1: goes by nic:mlx5_0 of h0, rail 0, nic:mlx5_0 of h8" in out
    assert len(lines) < 15
    assert len(err) < 200


def test_predict_of_many_unlike_flows_tells_the_slowest_and_counts_the_rest(
    predict: Command,
) -> None:
    flows = " | ".join(f"host:0 > gpu:{n % 8}, size={n + 1}MiB, delay={n + 1}ms" for n in range(40))
    _, out, _ = predict("hgx-h100", "--flows", flows)
    assert "more, slowed less: --json has them" in out
    assert len(out.splitlines()) < 60


def test_predict_headline_speaks_of_one_slowed_flow_as_one(predict: Command) -> None:
    flows = "host:0 > gpu:0, size=1GiB | host:0 > gpu:0, size=1MiB"
    assert predict("hgx-h100", "--flows", flows)[1].startswith("1 of 2 flows is slowed; flow 2")


def test_predict_over_links_read_at_rest_is_no_bound(predict: Command, tmp_path: Path) -> None:
    document = make_up("socket: gpu(v100)")
    assert document is not None
    links = tuple(
        msgspec.structs.replace(link, nominal=None, current=Capability(bandwidth_bytes_per_s=4e9))
        for link in document.links
    )
    path = tmp_path / "machine.json"
    path.write_bytes(encode(msgspec.structs.replace(document, links=links)))
    _, out, _ = predict(str(path), "--flows", "host:0 > gpu:0 | gpu:0 > host:0")
    assert "at most" not in out
    assert "alone, if its links are as shown" in out
    assert "the link of gpu:0 was read while it may have rested" in out


def test_predict_of_gpus_with_hidden_nvlinks_says_so_first(predict: Command) -> None:
    name = str(Path(__file__).parents[1] / "data" / "machines" / "azure-ndv4.nccl.xml")
    _, out, _ = predict(name, "--flows", "gpu:0 > gpu:1, cap=1GB/s")
    assert "no source shows the NVLinks of gpu:0 and gpu:1" in out
    _, bare, _ = predict(name, "--flows", "gpu:0 > gpu:1")
    assert bare.startswith("No flow slows another one, as far as sources show: NVLinks may be")
    assert "at most" not in bare
    assert "25.2 GB/s alone, if its links are as shown" in bare
