"""Round trips and refusals of the document reader and writer."""

from __future__ import annotations

import json
import math

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.errors import InputError, UsageError
from topoprobe.records.base import Estimate, Source, Status, Tool
from topoprobe.records.calibration import CalibrationDocument, DeviceCalibration
from topoprobe.records.documents import KINDS, decode, decode_as, encode
from topoprobe.records.machine import Gpu, Host, MachineDocument, Pair
from topoprobe.records.results import (
    Conditions,
    Environment,
    Experiment,
    ResultsDocument,
    Sample,
    Series,
)
from topoprobe.records.schemas import schema
from topoprobe.records.upgrades import upgrade

TOOL = Tool(tool_version="1.2.3")
MACHINE = MachineDocument(
    tool=TOOL,
    origin="synthetic",
    sources=("test",),
    nodes=(Host(id="host", name="<b>&"), Gpu(id="gpu0", name="H100", parent="host")),
    pairs=(Pair(a="gpu0", b="gpu0", path_class="X"),),
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def calibration(value: float) -> CalibrationDocument:
    estimate = Estimate(
        value=value, low=value, high=value, source=Source.MEASURED, n=1, evidence="test"
    )
    device = DeviceCalibration(device="host", kind="cpu", name="x", memory_latency_s=estimate)
    return CalibrationDocument(tool=TOOL, machine=MACHINE, devices=(device,))


def results(values: list[float]) -> ResultsDocument:
    samples = tuple(
        Sample(
            value=value,
            started_s=0.5,
            duration_s=0.1,
            conditions=Conditions(other_cpu_ratio=0.25, throttle_reasons=("power",)),
        )
        for value in values
    )
    series = Series(
        name="stream.copy",
        unit="bytes_per_s",
        factors={"threads": 2, "variant": "numba", "share": 0.5},
        is_better_higher=True,
        status=Status.OK,
        samples=samples,
    )
    experiment = Experiment(
        benchmark="cpu.stream", revision=1, summary="Measure.", status=Status.OK, series=(series,)
    )
    return ResultsDocument(
        tool=TOOL,
        machine=MACHINE,
        environment=Environment(python="3.11"),
        suite="quick",
        started_at="2026-01-01T00:00:00Z",
        experiments=(experiment,),
    )


def test_machine_written_and_read_is_equal() -> None:
    assert decode(encode(MACHINE)) == MACHINE


@given(st.lists(FINITE, max_size=5))
def test_results_written_and_read_are_equal(values: list[float]) -> None:
    assert decode(encode(results(values))) == results(values)


@given(FINITE)
def test_calibration_written_and_read_is_equal(value: float) -> None:
    assert decode_as(encode(calibration(value)), CalibrationDocument) == calibration(value)


def test_pair_is_written_with_the_word_class() -> None:
    assert json.loads(encode(MACHINE))["pairs"] == [{"a": "gpu0", "b": "gpu0", "class": "X"}]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_number_is_refused_by_the_writer(value: float) -> None:
    with pytest.raises(ValueError, match="memory_latency_s"):
        encode(calibration(value))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"schema": "topoprobe.mach', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[1, 2]", 'no known "schema"'),
        (b'{"schema": "topoprobe.nothing"}', 'no known "schema"'),
        (b'{"schema": "topoprobe.machine"}', "no valid version"),
        (b'{"schema": "topoprobe.machine", "version": 99}', "newer topoprobe"),
        (b'{"schema": "topoprobe.machine", "version": 1}', "not a valid machine document"),
    ],
)
def test_bad_bytes_are_refused_in_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        decode(data, "some.json")
    assert "some.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_field_is_refused_and_named() -> None:
    raw = json.loads(encode(MACHINE)) | {"surprise": 1}
    with pytest.raises(InputError, match="surprise"):
        decode(json.dumps(raw).encode())


def test_document_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="is a machine document; expected a calibration"):
        decode_as(encode(MACHINE), CalibrationDocument, "m.json")


@pytest.mark.parametrize("kind", KINDS)
def test_schema_is_valid_and_accepts_what_is_written(kind: str) -> None:
    documents = {"machine": MACHINE, "results": results([1.0]), "calibration": calibration(1.0)}
    published = schema(kind)
    jsonschema.Draft202012Validator.check_schema(published)
    if kind in documents:
        jsonschema.validate(json.loads(encode(documents[kind])), published)


def test_schema_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="machine, results, calibration, run"):
        schema("nonsense")


def test_upgrade_applies_the_steps_in_order() -> None:
    steps = {
        1: lambda raw: raw | {"names": [raw["name"]]},
        2: lambda raw: {key: raw[key] for key in raw if key != "name"},
    }
    old = {"version": 1, "name": "a"}
    assert upgrade("machine", old, steps=steps, current=3) == {"version": 3, "names": ["a"]}
    assert old == {"version": 1, "name": "a"}


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        TOOL.name = "other"  # type: ignore[misc]


def test_records_refuse_unknown_fields_at_every_depth() -> None:
    raw = json.loads(encode(MACHINE))
    raw["nodes"][1]["surprise"] = 1
    with pytest.raises(msgspec.ValidationError, match="surprise"):
        msgspec.convert(raw, MachineDocument)
