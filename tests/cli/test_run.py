"""`topoprobe run`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra topoprobe[torch])")

from topoprobe.cli.main import main
from topoprobe.cli.summary import run_lines
from topoprobe.model.catalogue.shapes import TINY_LLAMA
from topoprobe.model.cost import FEATURES
from topoprobe.records.base import Estimate, Source, Tool
from topoprobe.records.calibration import CalibrationDocument, Coefficient, ModelCost
from topoprobe.records.documents import decode_as, encode
from topoprobe.records.machine import MachineDocument
from topoprobe.records.run import RunDocument
from topoprobe.serving.comparison import compare

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


def test_run_json_with_a_file_prints_the_same_document(run: Command, tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    code, out, err = run(*SMALL, "--json", "-o", str(target))
    assert code == 0
    assert out.encode() == target.read_bytes()
    assert f"wrote {target}; next: " in err


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


def test_run_with_repeats_shows_their_median_above_the_comparison(
    run: Command, calibration: str
) -> None:
    out = run(*SMALL, "--calibration", calibration, "--repeats", "3", "--json")[1]
    document = document_of(out)
    first, slow, slower = (
        msgspec.structs.replace(document.summary, output_throughput_tokens_per_s=rate)
        for rate in (284.0, 207.0, 200.0)
    )
    assert document.predicted is not None
    several = msgspec.structs.replace(
        document,
        summary=first,
        repeats=(first, slow, slower),
        comparisons=compare(document.predicted, (first, slow, slower)),
    )
    served, latencies, bound, throughput, *_ = run_lines(several)
    assert served.endswith("3 of 3 requests: 207 output tokens/s")
    assert latencies.endswith("each the median of 3 repeats")
    assert "bound: 15%, or the run-to-run spread" in bound
    assert "| 207 " in throughput


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


BEFORE_SERVING = 19
"""Questions whether to stop: one per layer, one before warming up and one per step of that."""


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
    monkeypatch.setattr("topoprobe.cli.run.stop_on_interrupt", stop_after(BEFORE_SERVING + 3))
    code, out, err = run(*SMALL, "--json")
    document = document_of(out)
    assert code == 130
    assert "partial" in err
    assert {each.status for each in document.requests} == {"cancelled"}
    assert document.repeats == ()
    assert "0 of 1 whole repeats" in document.missing[0].reason


@pytest.mark.parametrize(("num_questions", "text"), [(2, "layer 3 of 4"), (4, "warming up")])
def test_run_stopped_before_it_serves_ends_at_once(
    num_questions: int, text: str, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topoprobe.cli.run.stop_on_interrupt", stop_after(num_questions))
    code, out, err = run(*SMALL, "--json")
    assert (code, out) == (130, "")
    assert "Stopped before the first request was served" in err
    assert text in err


def test_interrupted_run_says_what_is_kept(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("topoprobe.cli.run.stop_on_interrupt", stop_after(BEFORE_SERVING + 3))
    code, out, err = run(*SMALL)
    assert code == 130
    assert "0 of 3 requests" in out
    assert "nothing was written" in err
    monkeypatch.setattr("topoprobe.cli.run.stop_on_interrupt", stop_after(BEFORE_SERVING + 3))
    target = tmp_path / "run.json"
    assert f"wrote {target}, marked as partial" in run(*SMALL, "-o", str(target))[2]
    assert document_of(target.read_text()).missing


def test_interrupted_repeat_is_left_out(
    run: Command, monkeypatch: pytest.MonkeyPatch, calibration: str
) -> None:
    monkeypatch.setattr("topoprobe.cli.run.stop_on_interrupt", stop_after(BEFORE_SERVING + 20))
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
        ((*SMALL, "--repeats", "0"), "--repeats is 0; give at least 1"),
        ((*SMALL, "--threads", "0"), "--threads is 0; give at least 1"),
        ((*SMALL, "--threads", "9999"), "is more than the CPUs this process may run on"),
        ((*SMALL, "--num-blocks", "0"), "--num-blocks is 0; give at least 1"),
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


def test_run_of_a_model_beyond_memory_is_refused_before_it_is_drawn(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topoprobe.serving.runner.run.available_memory_bytes", lambda: 10 << 30)
    code, _, err = run(*SMALL, "--model", "llama-2-7b")
    assert code == 3
    assert "llama-2-7b needs 12.6 GiB for weights" in err


def test_run_checks_its_counts_before_it_looks_for_torch(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(*SMALL, "--repeats", "0")[0] == 2


def test_run_in_which_no_request_fits_fails_with_the_reason(run: Command, tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    code, out, err = run(*SMALL[:4], "--prompt-tokens", "40", "--output-tokens", "2",
                         "--threads", "1", "--num-blocks", "2", "-o", str(target))  # fmt: skip
    assert code == 4
    assert out.startswith("3 of 3 requests can never run here; request 0: it may have to cache")
    assert "3 of 3 requests can never run here" in err
    assert document_of(target.read_text()).summary.num_finished == 0


def test_run_of_a_request_beyond_the_pool_rejects_it(run: Command) -> None:
    code, out, _ = run(*SMALL, "--num-blocks", "1", "--json")
    assert code == 0
    requests = document_of(out).requests
    assert "rejected" in {each.status for each in requests}
    assert all(each.reason for each in requests if each.status == "rejected")
