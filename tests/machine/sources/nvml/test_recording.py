"""A driver's answers as JSON, and the same machine read from them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import InputError
from topoprobe.machine.sources import nvml
from topoprobe.machine.sources.nvml.codes import Code
from topoprobe.machine.sources.nvml.fake import FakeGpu, FakeNvml
from topoprobe.machine.sources.nvml.recording import RecordingProvider, ReplayProvider

GPUS = (
    FakeGpu("00000000:53:00.0", c2c=(5, 44712)),
    FakeGpu("00000000:64:00.0", partitions=("MIG 1g.10gb",), links_down=(3,)),
    FakeGpu("00000000:75:00.0"),
)


def recorded() -> bytes:
    failures = {2: Code.GPU_IS_LOST, ("nvmlDeviceGetName", 1): Code.TIMEOUT}
    recorder = RecordingProvider(FakeNvml(GPUS, failures))
    nvml.read(recorder)
    return recorder.to_json()


def test_replay_gives_the_same_facts_and_the_same_gaps() -> None:
    failures = {2: Code.GPU_IS_LOST, ("nvmlDeviceGetName", 1): Code.TIMEOUT}
    live = nvml.read(FakeNvml(GPUS, failures))
    assert nvml.read(ReplayProvider(recorded(), "nvml.json")) == live


def test_call_that_nobody_made_was_not_recorded() -> None:
    answer = ReplayProvider(recorded(), "nvml.json").ask("nvmlDeviceGetTemperature", "gpu:0", 0)
    assert (answer.value, answer.code) == (None, None)
    assert answer.reason == "nvmlDeviceGetTemperature was not recorded."


def test_repeated_call_keeps_the_latest_answer() -> None:
    temperatures = iter((40, 50))
    gpu = FakeGpu("00000000:53:00.0", changed={"nvmlX": lambda: next(temperatures)})
    recorder = RecordingProvider(FakeNvml([gpu]))
    assert [recorder.ask("nvmlX", "gpu:0").value for _ in range(2)] == [40, 50]
    assert ReplayProvider(recorder.to_json(), "nvml.json").ask("nvmlX", "gpu:0").value == 50


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"calls": 3}', b'{"calls": [{"function": 1}]}', b"\xff\xfe", b"[" * 10**5],
)
def test_damaged_recording_is_one_sentence(data: bytes) -> None:
    with pytest.raises(InputError, match=r"nvml\.json is no recording"):
        ReplayProvider(data, "nvml.json")


def test_newer_recording_is_refused() -> None:
    with pytest.raises(InputError, match="is of version 99"):
        ReplayProvider(b'{"version": 99, "calls": []}', "nvml.json")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_changed_recordings_are_read_with_gaps(data: st.DataObject) -> None:
    recording = json.loads(recorded())
    odd = st.sampled_from(
        [None, -1, 2**63, 0.5, True, "x", "00000000:53:00.0", [], [[]], {}, {"a": 1}]
    )
    for _ in range(data.draw(st.integers(1, 5))):
        calls = recording["calls"]
        index = data.draw(st.integers(0, len(calls) - 1))
        match data.draw(st.sampled_from(["drop", "value", "arguments", "code"])):
            case "drop":
                del calls[index]
            case "value":
                calls[index]["value"] = data.draw(odd)
            case "arguments":
                calls[index]["arguments"] = [data.draw(odd)]
            case "code":
                calls[index]["code"] = data.draw(st.integers(-5, 1000))
    facts = nvml.read(ReplayProvider(json.dumps(recording).encode(), "nvml.json"))
    assert facts.source == "nvml"
