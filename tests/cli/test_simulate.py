from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from topoprobe.cli.main import main
from topoprobe.model.calibration.builtin import BUILTIN_NAMES
from topoprobe.model.catalogue.devices import NOMINAL_DEVICES
from topoprobe.model.catalogue.shapes import TINY_LLAMA
from topoprobe.model.cost import FEATURES
from topoprobe.records.base import Estimate, Source, Tool
from topoprobe.records.calibration import CalibrationDocument, Coefficient, ModelCost
from topoprobe.records.documents import decode_as, encode
from topoprobe.records.machine import Host, MachineDocument
from topoprobe.records.run import RunDocument

Command = Callable[..., tuple[int, str, str]]
SMALL = ("a100-80gb-sxm", "--model", "tiny-llama", "--requests", "20", "--rate", "50")
TRACE = b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,30,4\n"


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process; return exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["topoprobe", "simulate", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def calibration() -> CalibrationDocument:
    tool = Tool(tool_version="0")
    estimate = Estimate(value=1e-4, low=1e-4, high=1e-4, source=Source.MEASURED, n=3, evidence="t")
    cost = ModelCost(
        model=TINY_LLAMA,
        devices=("host",),
        coefficients=tuple(
            Coefficient(feature=feature, unit="s", estimate=estimate) for feature in FEATURES
        ),
        num_fit_shapes=5,
        num_validation_shapes=2,
        mean_error_ratio=0.04,
    )
    machine = MachineDocument(
        tool=tool, origin="synthetic", sources=(), nodes=(Host(id="host", name="host"),)
    )
    return CalibrationDocument(tool=tool, machine=machine, models=(cost,))


def test_simulate_first_says_what_to_do_and_last_what_comes_next(simulate: Command) -> None:
    code, out, err = simulate(*SMALL)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("The worker sustains this load")
    assert "tiny-llama (fp32) on a100-80gb-sxm" in out
    assert "nominal: NVIDIA A100 data sheet" in out
    assert "20 of 20 requests finished" in out
    assert lines[-1].startswith("Nominal: rates are at most these and times at least these; ")
    assert err.splitlines()[-1].endswith("topoprobe report run.json")


def test_simulate_json_with_a_file_prints_the_same_document(
    simulate: Command, tmp_path: Path
) -> None:
    target = tmp_path / "run.json"
    code, out, err = simulate(*SMALL, "--json", "-o", str(target))
    assert code == 0
    assert out.encode() == target.read_bytes()
    assert err.startswith(f"wrote {target}; next: ")


def test_simulate_json_prints_one_document_and_nothing_else(simulate: Command) -> None:
    code, out, err = simulate(*SMALL, "--json")
    document = decode_as(out.encode(), RunDocument)
    assert (code, err) == (0, "")
    assert document.kind == "simulated"
    assert document.workload.rate_per_s == 50
    assert document.calibration == "a100-80gb-sxm"


def test_simulate_repeats_with_its_seed(simulate: Command) -> None:
    first, second, other = (simulate(*SMALL, "--json", "--seed", seed)[1] for seed in "113")
    assert first == second != other


def test_simulate_calibration_takes_its_step_law(simulate: Command, tmp_path: Path) -> None:
    source, target = tmp_path / "calibration.json", tmp_path / "run.json"
    source.write_bytes(encode(calibration()))
    load = ("--requests", "5", "--max-concurrency", "2", "--num-blocks", "100")
    code, out, err = simulate(str(source), *load, "-o", str(target))
    assert code == 0
    assert "measured: step law fitted on 5 shapes, mean error 4.0% on 2 other shapes" in out
    assert f"wrote {target}; next: topoprobe report {target}" in err
    document = decode_as(target.read_bytes(), RunDocument)
    assert document.workload.max_concurrency == 2
    assert simulate(str(source), *load, "-o", str(target))[0] == 2
    assert simulate(str(source), *load, "-o", str(target), "--force")[0] == 0


def test_simulate_trace_with_limit_and_policy(
    simulate: Command, tmp_path: Path, recordings: Path
) -> None:
    trace = recordings / "traces/mooncake_conversation.jsonl.gz"
    arguments = ("h200-141gb-sxm", "--model", "llama-3-8b", "--trace", str(trace), "--limit", "30")
    code, out, _ = simulate(*arguments, "--policy", "batching=chunked:budget=2048", "--json")
    document = decode_as(out.encode(), RunDocument)
    assert code == 0
    assert document.summary.num_finished == 30
    assert document.policies[0].settings["budget"] == "2048"


def test_simulate_scarce_memory_advises_more(simulate: Command) -> None:
    arguments = (*SMALL[:3], "--requests", "40", "--max-concurrency", "30", "--num-blocks", "60")
    _, out, _ = simulate(*arguments)
    assert out.startswith("KV blocks ran out")


def test_simulate_overload_advises_a_lower_rate(simulate: Command) -> None:
    arguments = ("a100-80gb-sxm", "--model", "llama-2-7b", "--requests", "300", "--rate", "500")
    _, out, _ = simulate(*arguments, "--policy", "batching=chunked:seats=8")
    assert "more than the worker sustains" in out.splitlines()[0]


def test_simulate_without_a_request_that_can_run_fails_and_keeps_the_document(
    simulate: Command, tmp_path: Path
) -> None:
    target = tmp_path / "run.json"
    code, out, err = simulate(*SMALL, "--num-blocks", "3", "-o", str(target))
    reason = "20 of 20 requests can never run here; request 0: it may have to cache"
    assert code == 4
    assert out.startswith(reason)
    assert "TTFT        no request had one" in out
    assert err.splitlines()[-1].startswith(f"topoprobe: {reason}")
    assert decode_as(target.read_bytes(), RunDocument).summary.num_finished == 0


def test_simulate_rejection_does_not_hide_the_overload(simulate: Command, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = "2023-11-16 18:15:46,400,100\n" * 300 + "2023-11-16 18:15:47,9000,100\n"
    trace.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}")
    load = ("--model", "llama-2-7b", "--trace", str(trace))
    limits = ("--num-blocks", "400", "--policy", "batching=chunked:seats=8")
    code, out, _ = simulate("a100-80gb-sxm", *load, *limits)
    first, context, second = out.splitlines()[:3]
    assert code == 0
    assert first.startswith("1 of 301 requests can never run here; request 300")
    assert context.startswith("1 of 301 requests exceed llama-2-7b's context of 4096 tokens")
    assert "more than the worker sustains; give a --rate below 300.00" in second


def test_simulate_rejections_leave_no_praise(simulate: Command) -> None:
    _, out, _ = simulate(*SMALL[:3], "--requests", "100", "--rate", "4", "--num-blocks", "20")
    assert "requests can never run here" in out
    assert "sustains" not in out


def test_simulate_more_memory_than_the_device_has_is_told(simulate: Command) -> None:
    _, out, _ = simulate(*SMALL, "--memory", "500GiB")
    assert "Weights and KV cache take 500 GiB, and a100-80gb-sxm has 74.5 GiB" in out
    assert "larger memory" not in simulate(*SMALL)[1]


def test_simulate_run_that_mostly_ends_does_not_claim_to_sustain(simulate: Command) -> None:
    arguments = ("hgx-h100", "--model", "llama-3-8b", "--requests", "100", "--rate")
    short, steady = (simulate(*arguments, rate)[1] for rate in ("40", "2"))
    assert "too short to tell whether it sustains the load" in short.splitlines()[0]
    assert steady.startswith("The worker sustains this load")


def test_simulate_wraps_on_a_terminal(simulate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = simulate(*SMALL)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("pace", "advice"),
    [
        (("--rate", "50"), "raise --rate to find out where it ends"),
        (("--max-concurrency", "2"), "raise --max-concurrency to find out how far"),
    ],
)
def test_simulate_advice_names_the_option_that_sets_the_pace(
    pace: tuple[str, str], advice: str, simulate: Command
) -> None:
    _, out, _ = simulate(*SMALL[:5], *pace)
    assert advice in out.splitlines()[0]
    assert ("requests/s; they came at " in out) == (pace[0] == "--rate")


def test_simulate_trace_at_its_own_times_shows_the_rate_it_offers(
    simulate: Command, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_bytes(TRACE + b"2023-11-16 18:15:50,30,4\n")
    _, out, _ = simulate(*SMALL[:3], "--trace", str(trace))
    assert "sustains this trace at its own times: give a higher --rate" in out
    assert "requests/s; they came at 0.25 requests/s" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (SMALL[:3], "Give either --trace FILE or --requests N"),
        ((*SMALL, "--trace", "x"), "Give either --trace FILE or --requests N"),
        (SMALL[:5], "Nothing says when the requests come; give --rate, or --max-concurrency"),
        ((*SMALL, "--limit", "3"), "--limit shortens a trace"),
        (("a100-80gb-sxm", "--trace", "x", "--limit", "0"), "--limit 0 leaves no request"),
        (("a100-80gb-sxm", "--trace", "/nowhere/x.csv"), "/nowhere/x.csv does not exist"),
        (("a100-80gb-sxm", *SMALL[3:]), "name a model with --model"),
        (("abacus", *SMALL[1:]), "is not a file and not built in"),
        (("a100-80gb-sxm", "--model", "abacus", *SMALL[3:]), "There is no model 'abacus'"),
        (("a100-80gb-sxm", "--model", "tiny-llama:int4", *SMALL[3:]), "one of fp32, fp16, bf16"),
        ((*SMALL, "--policy", "order=lifo"), "There is no order policy 'lifo'"),
        ((*SMALL, "--prompt-tokens", "9-3"), "9-3 is no range of tokens"),
        ((*SMALL, "--num-blocks", "0"), "--num-blocks 0 holds nothing"),
        ((*SMALL, "--block-size", "0"), "--block-size 0 holds nothing"),
        ((*SMALL, "--num-blocks", "9", "--memory", "1GiB"), "give one of them"),
        ((*SMALL, "--memory", "1MiB"), "give more memory or a smaller model"),
        ((*SMALL, "--max-concurrency", "0"), "A concurrency of 0 submits nothing"),
        ((*SMALL[:5], "--rate", "-1"), "is no rate"),
        ((*SMALL[:5], "--rate", "1e-300"), "is no rate; give one from 1e-06 to 1e+09"),
        ((*SMALL[:3], "--requests", "0", "--rate", "1"), "give at least 1"),
    ],
)
def test_simulate_bad_usage_is_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...], message: str, simulate: Command
) -> None:
    code, out, err = simulate(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("topoprobe: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"weather\n", "begins with 'weather'"),
        (TRACE + b"2023-11-16 18:15:47,-1,4\n", "line 3: found -1 prompt tokens"),
        (TRACE + b"2023-11-16 18:15:47,99999999,4\n", "line 3: found 99999999 prompt tokens"),
        (TRACE + b"2023-11-16 18:15", "line 3: expected 3 fields and found 1"),
    ],
)
def test_simulate_bad_trace_is_one_sentence_and_exit_code_2(
    data: bytes, message: str, simulate: Command, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_bytes(data)
    code, out, err = simulate(*SMALL[:3], "--trace", str(trace))
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_simulate_calls_a_piped_trace_stdin(
    simulate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TRACE)))
    code, out, _ = simulate(*SMALL[:3], "--trace", "-", "--json")
    assert code == 0
    assert decode_as(out.encode(), RunDocument).workload.trace == "stdin"


def test_simulate_trace_without_times_asks_for_options(simulate: Command, tmp_path: Path) -> None:
    trace = tmp_path / "lengths.csv"
    trace.write_text("num_prefill_tokens,num_decode_tokens\n30,4\n")
    code, _, err = simulate(*SMALL[:3], "--trace", str(trace))
    assert code == 2
    assert "has no times; give --rate, or --max-concurrency" in err


def test_simulate_refuses_another_kind_of_document(simulate: Command, tmp_path: Path) -> None:
    source = tmp_path / "machine.json"
    source.write_bytes(encode(calibration().machine))
    code, _, err = simulate(str(source), *SMALL[3:])
    assert code == 2
    assert "is a machine document; expected a calibration document" in err


def test_simulate_help_names_every_device_and_machine(simulate: Command) -> None:
    _, out, _ = simulate("--help")
    shown = "".join(out.replace("│", "").split())  # long names are broken at their hyphens
    for name in (*(device.name for device in NOMINAL_DEVICES), *BUILTIN_NAMES):
        assert name in shown


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_simulate_takes_every_machine_that_its_help_names(simulate: Command, name: str) -> None:
    code, out, _ = simulate(name, "--model", "llama-2-7b", *SMALL[3:])
    assert code == 0
    assert "20 of 20 requests finished" in out


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_simulate_takes_a_model_with_a_data_type(simulate: Command, dtype: str) -> None:
    code, out, _ = simulate("hgx-h200", "--model", f"llama-2-7b:{dtype}", *SMALL[3:])
    assert code == 0
    assert f"llama-2-7b ({dtype}) on" in out


def test_simulate_takes_a_built_in_machine(simulate: Command) -> None:
    code, out, _ = simulate("hgx-h200", "--model", "llama-3-8b", *SMALL[3:], "--json")
    assert code == 0
    document = decode_as(out.encode(), RunDocument)
    assert document.calibration == "hgx-h200"


def test_simulate_says_how_many_devices_it_leaves_out(simulate: Command) -> None:
    _, out, _ = simulate("hgx-h200", "--model", "llama-3-8b", *SMALL[3:])
    assert "on gpu@0000:03:00.0, one of 8 alike" in out


def test_simulate_on_a_built_in_machine_asks_for_a_model(simulate: Command) -> None:
    code, _, err = simulate("hgx-h200", "--requests", "3", "--rate", "1")
    assert code == 2
    assert "name a model of the catalogue with --model" in err
