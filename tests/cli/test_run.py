"""`topoprobe run`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (extra topoprobe[torch])")

from topoprobe.cli.main import main
from topoprobe.model.catalogue.shapes import TINY_LLAMA
from topoprobe.model.cost import FEATURES
from topoprobe.records.base import Estimate, Source, Tool
from topoprobe.records.calibration import CalibrationDocument, Coefficient, ModelCost
from topoprobe.records.documents import decode_as, encode
from topoprobe.records.machine import MachineDocument
from topoprobe.records.run import RunDocument

Command = Callable[..., tuple[int, str, str]]
SMALL = ("--requests", "3", "--max-concurrency", "2", "--prompt-tokens", "4-30",
         "--output-tokens", "3-6", "--threads", "1")  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process; return exit code, stdout, stderr."""

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["topoprobe", "run", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return command


def calibrate(folder: Path, num_threads: int) -> str:
    """Write a calibration and return its path."""
    tool = Tool(tool_version="0")
    estimate = Estimate(value=1e-4, low=1e-4, high=1e-4, source=Source.MEASURED, n=3, evidence="t")
    cost = ModelCost(
        model=TINY_LLAMA,
        devices=("host",),
        num_threads=num_threads,
        coefficients=tuple(
            Coefficient(feature=feature, unit="s", estimate=estimate) for feature in FEATURES
        ),
        num_fit_shapes=5,
        num_validation_shapes=2,
        mean_error_ratio=0.04,
    )
    machine = MachineDocument(tool=tool, origin="live", sources=(), nodes=())
    path = folder / "calibration.json"
    path.write_bytes(encode(CalibrationDocument(tool=tool, machine=machine, models=(cost,))))
    return str(path)


@pytest.fixture
def calibration(tmp_path: Path) -> str:
    return calibrate(tmp_path, num_threads=1)


def document_of(out: str) -> RunDocument:
    return decode_as(out.encode(), RunDocument)


def test_run_prints_what_was_served_and_what_comes_next(run: Command) -> None:
    code, out, err = run(*SMALL)
    assert code == 0
    assert "3 of 3 requests" in out
    assert "--calibration" in err


def test_run_json_is_a_real_run_with_every_request_at_its_length(run: Command) -> None:
    code, out, _ = run(*SMALL, "--json", "--quiet")
    document = document_of(out)
    assert code == 0
    assert document.kind == "real"
    assert [each.status for each in document.requests] == ["finished"] * 3
    assert all(3 <= each.num_output_tokens <= 6 for each in document.requests)
    assert document.comparisons == ()
    assert document.summary.num_output_tokens == sum(
        each.num_output_tokens for each in document.requests
    )


def test_run_with_a_calibration_compares_each_repeat(run: Command, calibration: str) -> None:
    code, out, err = run(*SMALL, "--calibration", calibration, "--repeats", "2", "--json")
    document = document_of(out)
    assert code == 0
    assert len(document.repeats) == 2
    assert document.predicted is not None
    assert document.predicted.num_output_tokens == document.summary.num_output_tokens
    assert [each.metric for each in document.comparisons] == [
        "output_throughput_tokens_per_s",
        "mean_ttft_s",
        "mean_tpot_s",
    ]
    assert all(len(each.measured) == 2 for each in document.comparisons)
    assert "threads" not in err


def test_run_on_other_threads_than_calibrated_is_warned_of(run: Command, tmp_path: Path) -> None:
    code, _, err = run(*SMALL, "--calibration", calibrate(tmp_path, num_threads=2))
    assert code == 0
    assert "measured on 2 threads and this run uses 1" in err


def test_run_of_a_trace_takes_its_lengths(run: Command, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46,30,4\n2023-11-16 18:15:46.05,5,2\n"
    )
    code, out, _ = run("--trace", str(trace), "--json", "--threads", "1")
    assert code == 0
    lengths = [
        (each.num_prompt_tokens, each.num_output_tokens) for each in document_of(out).requests
    ]
    assert lengths == [(30, 4), (5, 2)]


def test_run_writes_a_file_and_does_not_replace_it(run: Command, tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    assert run(*SMALL, "-o", str(target))[0] == 0
    before = target.read_bytes()
    assert document_of(before.decode()).kind == "real"
    code, _, err = run(*SMALL, "-o", str(target))
    assert code == 2
    assert "--force" in err
    assert target.read_bytes() == before


def stop_after(num_questions: int):
    """Return a stand-in for Ctrl-C that comes at the given question."""

    @contextmanager
    def stopping() -> Iterator[Callable[[], bool]]:
        asked = count()
        yield lambda: next(asked) >= num_questions

    return stopping


def test_interrupted_run_keeps_what_was_served(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topoprobe.cli.run.stop_on_interrupt", stop_after(3))
    code, out, err = run(*SMALL, "--json")
    document = document_of(out)
    assert code == 130
    assert "partial" in err
    assert {each.status for each in document.requests} == {"cancelled"}
    assert document.repeats == ()
    assert "0 of 1 whole repeats" in document.missing[0].reason


def test_interrupted_repeat_is_left_out(
    run: Command, monkeypatch: pytest.MonkeyPatch, calibration: str
) -> None:
    monkeypatch.setattr("topoprobe.cli.run.stop_on_interrupt", stop_after(20))
    code, out, _ = run(*SMALL, "--json", "--repeats", "50", "--calibration", calibration)
    document = document_of(out)
    assert code == 130
    assert 1 <= len(document.repeats) < 50
    assert document.summary == document.repeats[0]
    assert {each.status for each in document.requests} == {"finished"}
    assert len(document.comparisons[0].measured) == len(document.repeats)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Give either --trace FILE or --requests N"),
        (("--requests", "3"), "Nothing says when the requests come"),
        ((*SMALL, "--model", "gpt"), "There is no model 'gpt'"),
        ((*SMALL, "--repeats", "0"), "num_repeats is 0"),
        ((*SMALL, "--threads", "0"), "num_threads is 0"),
        ((*SMALL, "--calibration", "nowhere.json"), "nowhere.json does not exist"),
        ((*SMALL, "--policy", "batching=magic"), "no batching policy 'magic'"),
    ],
)
def test_run_that_makes_no_sense_ends_with_a_sentence(
    run: Command, arguments: tuple[str, ...], complaint: str
) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert complaint in err
    assert "Traceback" not in err


def test_run_without_torch_names_the_extra(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = run(*SMALL)
    assert code == 3
    assert "topoprobe[torch]" in err


def test_run_with_more_blocks_than_memory_is_refused(run: Command) -> None:
    code, _, err = run(*SMALL, "--num-blocks", str(10**9))
    assert code == 3
    assert "give fewer blocks" in err


def test_run_of_a_request_beyond_the_pool_rejects_it(run: Command) -> None:
    code, out, _ = run(*SMALL, "--num-blocks", "1", "--json")
    assert code == 0
    requests = document_of(out).requests
    assert "rejected" in {each.status for each in requests}
    assert all(each.reason for each in requests if each.status == "rejected")
