"""The flow grammar."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.errors import InputError
from topoprobe.measure.flows import (
    End,
    Executor,
    Flow,
    FlowSet,
    Work,
    grammar_lines,
    parse_flow_set,
)

INDEX = st.integers(0, 9999).map(str)
NAME = st.from_regex(r"[A-Za-z0-9_.][A-Za-z0-9_.@:-]{0,9}", fullmatch=True)
ADDRESS = st.from_regex(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", fullmatch=True)
HOST = st.none() | st.integers(0, 999_999)
ENDS = st.one_of(
    st.builds(End, st.sampled_from(["host", "gpu", "core"]), INDEX, HOST),
    st.builds(End, st.just("gpu"), ADDRESS, HOST),
    st.builds(End, st.sampled_from(["nic", "nvme"]), NAME, HOST),
)
EXECUTORS = st.one_of(
    st.builds(Executor, st.sampled_from(["cpu", "ce", "sm", "nic", "nvme"])),
    st.builds(Executor, st.sampled_from(["cpu", "sm"]), st.integers(1, 10_000)),
)
SIZES = st.none() | st.integers(1, 1 << 45)
SECONDS = st.none() | st.floats(1e-9, 1e6)
FLOWS = st.builds(
    Flow,
    ENDS,
    ENDS,
    EXECUTORS,
    work=st.sampled_from(Work),
    size_bytes=SIZES,
    duration_s=SECONDS,
    txn_bytes=SIZES,
    chunk_bytes=SIZES,
    cap_bytes_per_s=st.none() | st.floats(1.0, 1e14),
    delay_s=SECONDS,
    peer=st.none() | st.from_regex(r"[A-Za-z0-9.-]{1,20}", fullmatch=True),
)


@given(st.lists(FLOWS, min_size=1, max_size=4).map(lambda flows: FlowSet(tuple(flows))))
def test_flow_set_canonical_text_parses_to_the_same_set(flows: FlowSet) -> None:
    assert parse_flow_set(str(flows)) == flows


def test_flow_set_of_the_design_is_read() -> None:
    first, second = parse_flow_set("host:0 -> gpu:0 via ce, txn=256 | host:0 -> gpu:1 via ce").flows
    assert first == Flow(End("host", "0"), End("gpu", "0"), Executor("ce"), txn_bytes=256)
    assert (second.destination.index, second.txn_bytes) == (1, None)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("host:0>core:1 via cpu,work=chase", "host:0 -> core:1 via cpu, work=chase"),
        ("host:00 -> host:0 via cpu:2 , size = 64M", "host:0 -> host:0 via cpu:2, size=64MiB"),
        ("gpu@0000:1B:00.0 -> host:0 via sm:8", "gpu@0000:1b:00.0 -> host:0 via sm:8"),
        ("host:0 -> host:0 via cpu, work=memcpy", "host:0 -> host:0 via cpu"),
        ("host:0 -> gpu:0, cap=5", "host:0 -> gpu:0 via ce, cap=5B/s"),
        ("host:0 -> gpu:0, cap=1TB/s", "host:0 -> gpu:0 via ce, cap=1TB/s"),
        ("host:0 -> gpu:0, delay=10s", "host:0 -> gpu:0 via ce, delay=10s"),
        (
            "host:0 -> host:0 via cpu, cap=1000",
            "host:0 -> host:0 via cpu, cap=1kB/s",
        ),
        (
            "host:0 -> nvme:nvme0n1 via nvme, cap=5G, delay=0.25, duration=2s",
            "host:0 -> nvme:nvme0n1 via nvme, duration=2s, cap=5GB/s, delay=250ms",
        ),
    ],
)
def test_flow_set_written_freely_has_one_canonical_text(text: str, canonical: str) -> None:
    assert str(parse_flow_set(text)) == canonical


@pytest.mark.parametrize(
    ("text", "executor"),
    [
        ("nic:0 > gpu:0, txn=128", "nic"),
        ("nvme:0 > host:0", "nvme"),
        ("nvme:0 > nic:0", "nic"),
        ("host:0 > gpu:0", "ce"),
        ("gpu:0 > gpu:1", "ce"),
        ("host:0 > core:1", "cpu"),
        ("h0/gpu:0 > h1/gpu:0", "nic"),
        ("h1/gpu:0 > h1/gpu:1", "ce"),
    ],
)
def test_flow_without_an_executor_has_the_one_of_its_ends(text: str, executor: str) -> None:
    (flow,) = parse_flow_set(text).flows
    assert flow.executor == Executor(executor)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("", 1, "a flow such as"),
        ("host:0", 1, "a flow such as"),
        ("host:0 -> gpu:0 by ce", 11, "host:N"),
        ("host:0 -> gpu:0 via", 20, "cpu, cpu:N"),
        ("h/host:0 -> gpu:0", 1, "host:N"),
        ("h1/host:0 -> h1/gpu:x", 14, "host:N"),
        ("disk:0 -> gpu:0 via ce", 1, "host:N"),
        ("host:0 -> gpu:x via ce", 11, "host:N"),
        ("host:0 -> gpu:0 via dma", 21, "cpu, cpu:N"),
        ("host:0 -> gpu:0 via ce:2", 21, "cpu, cpu:N"),
        ("host:0 -> gpu:0 via cpu:0", 21, "cpu, cpu:N"),
        ("host:0 -> gpu:0 via ce, speed=3", 25, "one of work="),
        ("host:0 -> gpu:0 via ce, txn=0", 29, "a size above zero such as 64MiB"),
        ("host:0 -> gpu:0 via ce, size=-4KiB", 30, "a size above zero such as 64MiB"),
        ("host:0 -> gpu:0 via ce, cap=0GB/s", 29, "a rate above zero such as 5GB/s"),
        ("host:0 -> gpu:0 via ce, duration=-1s", 34, "a duration above zero such as 250ms"),
        ("host:0 -> gpu:0 via ce, delay=0ms", 31, "a duration above zero such as 250ms"),
        ("host:0 -> nic:ib0 via nic, peer=a b", 33, "a host's name or address"),
        ("host:0 -> gpu:0 via ce, txn=1, txn=2", 32, "only once"),
        ("host:0 -> gpu:0 via ce | host:0 ->  via ce", 36, "host:N"),
        ("host:0 -> core:0 via cpu, work=nap", 32, "one of memcpy, stream, chase, gemm"),
        ("host:0 -> gpu:0 via ce |", 25, "a flow such as"),
    ],
)
def test_flow_set_bad_text_names_the_column(text: str, column: int, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_flow_set(text)
    assert f"column {column}:" in str(caught.value)
    assert expected in str(caught.value)


def test_grammar_lines_name_every_end_executor_and_key() -> None:
    text = "\n".join(grammar_lines())
    ends = ("host:N", "core:N", "gpu:I", "gpu@", "nic:NAME", "nvme:NAME")
    assert all(name in text for name in (*ends, "cpu:N", "ce", "sm:BLOCKS"))
    keys = ("work", "size", "duration", "txn", "chunk", "cap", "delay", "peer", *Work)
    assert all(re.search(rf"\b{key}\b", text) for key in keys)
