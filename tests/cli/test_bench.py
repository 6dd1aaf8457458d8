"""`topoprobe bench`: what it prints, writes and returns."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from topoprobe.cli import registry
from topoprobe.cli.main import main
from topoprobe.errors import MeasurementFailed
from topoprobe.machine.sources.scan import make_up
from topoprobe.measure.benchmark import Context, GpuChoice, Outcome
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.measure.devices.cpu.exclusive import LinuxScheduler
from topoprobe.measure.devices.session import scratch_parent
from topoprobe.measure.series import Quantity, Trial, collect
from topoprobe.measure.statistics import steady_values
from topoprobe.records.base import Status
from topoprobe.records.documents import decode_as
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import ResultsDocument

CPU = available_cpus()[0]
HERE = f"host:0 -> core:{CPU} via cpu"


@dataclass(frozen=True)
class Small:
    """A benchmark of a constant; `before_sample` happens before each of its samples."""

    name: str = "small.triad"
    before_sample: Callable[[], None] = lambda: None
    reason: str | None = None
    summary: str = "Pretend to measure."
    revision: int = 4
    seconds: float = 2.0

    def missing(self, machine: MachineDocument) -> str | None:
        return self.reason

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        factors = {"device": "host", "threads": 1, "variant": "none", "array_bytes": 64}

        def sample() -> float:
            self.before_sample()
            return 5e9

        return Outcome(
            collect(context, [Trial.of(Quantity("stream.triad", "bytes_per_s", factors), sample)])
        )


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def fail() -> None:
    raise MeasurementFailed("the wire is cut")


Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Bench:
    """Run the command in this process; return exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["topoprobe", "bench", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        assert isinstance(code, int)
        return code, out, err

    return run


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the benchmarks that there are."""

    def offer(*benchmarks: Small) -> None:
        monkeypatch.setattr(registry, "benchmarks", lambda: benchmarks)

    return offer


def test_bench_list_json_has_the_published_shape(bench: Bench) -> None:
    code, out, _ = bench("--list", "--json")
    entries = json.loads(out)["benchmarks"]
    assert code == 0
    assert all(set(entry) == {"name", "summary", "revision", "missing"} for entry in entries)
    names = [entry["name"] for entry in entries]
    assert {"cpu.stream", "cpu.latency", "cpu.compute", "cpu.roofline"} < set(names)
    assert len(set(names)) == len(names)


def test_bench_list_says_why_something_cannot_run(
    bench: Bench, offered: Callable[..., None]
) -> None:
    offered(Small("a", reason="no wire"), Small("b"), Small("c", reason="no wire"))
    _, out, _ = bench("--list")
    assert [line.split(" ")[0] for line in out.splitlines()] == ["b", "", "Not", "a", "c"]
    assert "\n\nNot here, no wire:\n" in out


def test_bench_dry_run_measures_nothing(bench: Bench, offered: Callable[..., None]) -> None:
    offered(Small(before_sample=fail), Small(name="other", reason="no GPU"))
    code, out, _ = bench("--dry-run")
    assert code == 0
    assert "Would run 1 of 2 benchmarks" in out
    assert out.endswith("\n\nNot here, no GPU:\n  other\n")


def test_bench_dry_run_tells_each_reason_once(bench: Bench, offered: Callable[..., None]) -> None:
    offered(
        Small("a", reason="no wire."), Small("b"), Small("c", reason="no wire."),
        Small("d", reason="no disk"),
    )  # fmt: skip
    _, out, _ = bench("--dry-run")
    first, ran, *rest = out.splitlines()
    assert first.startswith("Would run 1 of 4 benchmarks")
    assert ran.startswith("  b: about")
    assert rest == ["", "Not here, no wire:", "  a, c", "", "Not here, no disk:", "  d"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "2 of 2 benchmarks for about 4 s (quick suite)"),
        (["--only", "small.*"], "1 of 2 benchmarks for about 2 s (quick suite)"),
        (["--suite", "standard"], "2 of 2 benchmarks for at most about 16 s (standard suite)"),
        (["--suite", "full"], "2 of 2 benchmarks for at most about 80 s (full suite)"),
        (["--suite", "full", "--max-time", "10s"], "for at most about 10 s (full suite)"),
        (["--flows", "host:0 -> host:0 via cpu"], "run the given flows for about 2 s"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bench_dry_run_says_how_long_what_was_asked_takes(
    bench: Bench, offered: Callable[..., None], arguments: list[str], said: str
) -> None:
    offered(Small(before_sample=fail), Small(name="other", before_sample=fail))
    code, out, _ = bench("--dry-run", *arguments)
    assert code == 0
    assert said in out.splitlines()[0]


def test_bench_dry_run_json_says_the_same(bench: Bench, offered: Callable[..., None]) -> None:
    offered(Small(before_sample=fail), Small(name="other", reason="no GPU"))
    _, out, _ = bench("--dry-run", "--json", "--suite", "full", "--max-time", "30s")
    plan = json.loads(out)
    assert (plan["suite"], plan["seconds"], plan["max_time_seconds"]) == ("full", 30.0, 30.0)
    assert plan["memory_bytes"] is None  # these benchmarks do not tell what they need
    assert plan["memory_limit_bytes"] > 0
    common = {"memory_bytes": None, "sets": []}
    assert plan["benchmarks"] == [
        {"name": "small.triad", "seconds": pytest.approx(40.0), "missing": None, **common},
        {"name": "other", "seconds": 0.0, "missing": "no GPU", **common},
    ]


@pytest.mark.parametrize("option", [(), ("--dry-run",), ("--dry-run", "--json")], ids=" ".join)
def test_bench_dry_run_ends_as_the_run_would_where_nothing_can_run(
    bench: Bench, offered: Callable[..., None], option: tuple[str, ...]
) -> None:
    offered(Small(reason="this machine has no wire"))
    code, out, err = bench(*option)
    assert code == 3
    assert err.endswith("topoprobe: Nothing could be measured: this machine has no wire\n")
    assert out


def test_bench_dry_run_tells_the_memory_that_all_flows_hold_at_once(bench: Bench) -> None:
    flow = f"host:0 -> core:{CPU} via cpu, size=16MiB"
    _, out, _ = bench("--dry-run", "--flow", flow, "--flow", f"{flow}, work=chase")
    assert "with 48.0 MiB of memory" in out.splitlines()[0]
    _, out, _ = bench("--dry-run", "--flow", f"core:{CPU} -> core:{CPU} via cpu, work=gemm")
    assert "with 3.00 MiB of memory" in out.splitlines()[0]


def test_bench_dry_run_tells_where_scratch_files_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topoprobe.measure.devices.cpu.executors.scratch_gap", lambda *told: None)
    _, out, _ = bench("--dry-run", "--flow", f"core:{CPU} -> host:0 via cpu, work=disk")
    last = out.splitlines()[-1]
    assert last.endswith(f", scratch files in {scratch_parent()} (removed afterwards)")


def test_bench_dry_run_of_one_flow_counts_its_delay(bench: Bench) -> None:
    flow = f"host:0 -> core:{CPU} via cpu, size=16MiB, duration=1s, delay=3s"
    _, out, _ = bench("--dry-run", "--flow", flow)
    assert out.splitlines()[-1] == f"    {flow}: 32.0 MiB, 24 s"
    assert "for about 30 s" in out.splitlines()[0]  # alone, and as a set


def test_bench_time_that_does_not_suffice_is_told_beforehand(
    bench: Bench, offered: Callable[..., None]
) -> None:
    offered(Small(), Small(name="other"), Small(name="last", reason="no wire"))
    code, _, err = bench("--max-time", "3s")
    assert code == 0
    assert err.splitlines()[0] == (
        "--max-time allows 3 s and all of it takes about 4 s: other may be cut short or left out; "
        "what is measured until then is kept"
    )
    _, _, err = bench("--max-time", "30s")
    assert "--max-time" not in err
    _, out, _ = bench("--max-time", "3s", "--dry-run")
    assert "other: about 2 s, cut short or left out by --max-time" in out


@pytest.mark.parametrize("option", ["--list", "--dry-run", "--quiet"])
def test_bench_gpu_that_there_is_not_is_refused(
    bench: Bench, offered: Callable[..., None], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    offered(Small(before_sample=fail))
    monkeypatch.setattr("topoprobe.cli.bench._scan", lambda: make_up("socket: 2 nic(cx7)"))
    code, _, err = bench("--gpu", "0", option)
    assert code == 3
    assert err == "topoprobe: gpu:0 is no NVIDIA GPU of this machine; it has none.\n"
    monkeypatch.setattr("topoprobe.cli.bench._scan", lambda: make_up("dgx-v100"))
    code, _, err = bench("--gpu", "1,8", option)
    assert code == 2
    assert "gpu:8 is no NVIDIA GPU of this machine; there is gpu@" in err


def test_bench_dry_run_of_flows_lists_sets_bytes_and_seconds(bench: Bench) -> None:
    first, second = f"host:0 -> core:{CPU} via cpu, size=16MiB", "host:0 -> host:0 via cpu:2"
    arguments = ("--dry-run", "--suite", "full", "--flow", first, "--flow", second)
    _, out, _ = bench(*arguments)
    assert f"    {first} | {second}: " in out
    assert out.splitlines()[-1].endswith("MiB, 21 s")
    _, out, _ = bench(*arguments, "--json")
    (plan,) = json.loads(out)["benchmarks"]
    assert [one["flows"] for one in plan["sets"]] == [first, second, f"{first} | {second}"]
    assert plan["sets"][0]["memory_bytes"] == 32 << 20
    assert plan["seconds"] == pytest.approx(3 * 21.0)


def test_bench_flows_can_be_stopped_in_the_middle_of_a_long_run(
    bench: Bench, tmp_path: Path
) -> None:
    target = tmp_path / "results.json"
    alarm = threading.Timer(1.0, interrupt)
    began_s = time.monotonic()
    alarm.start()
    flow = f"host:0 -> core:{CPU} via cpu, size=16MiB, duration=60s"
    code, _, _ = bench("--flows", flow, "-o", str(target))
    alarm.join()
    assert code == 130
    assert time.monotonic() - began_s < 20.0
    assert decode_as(target.read_bytes(), ResultsDocument).is_partial
    assert not [one for one in threading.enumerate() if one.name.startswith("stream-")]


def test_bench_flows_keep_to_the_max_time(bench: Bench) -> None:
    began_s = time.monotonic()
    flow = f"host:0 -> core:{CPU} via cpu, size=16MiB, duration=60s"
    code, _, err = bench("--flows", flow, "--max-time", "500ms")
    assert time.monotonic() - began_s < 20.0
    assert code == 4
    assert "within the --max-time of 500ms" in err


def test_bench_passes_on_which_gpus_may_be_used(
    bench: Bench, offered: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[GpuChoice] = []
    monkeypatch.setattr("topoprobe.cli.bench._scan", lambda: make_up("dgx-v100"))

    class Watching(Small):
        def run(self, machine: MachineDocument, context: Context) -> Outcome:
            seen.append(context.gpus)
            return super().run(machine, context)

    offered(Watching())
    bench()
    bench("--gpu", "2,0", "--gpu", "2", "--allow-busy")
    assert seen == [GpuChoice(), GpuChoice((2, 0), allows_busy=True)]


def test_bench_without_file_prints_a_summary_and_what_to_do(
    bench: Bench, offered: Callable[..., None]
) -> None:
    offered(Small())
    code, out, err = bench()
    assert code == 0
    assert "triad 5.0 GB/s" in out
    assert "small.triad: 1 ok" in out
    assert "add -o results.json" in err


def test_bench_json_prints_one_document_and_nothing_else(
    bench: Bench, offered: Callable[..., None]
) -> None:
    offered(Small())
    code, out, err = bench("--json", "--quiet")
    document = decode_as(out.encode(), ResultsDocument)
    assert (code, err) == (0, "")
    assert (document.suite, document.experiments[0].revision) == ("quick", 4)
    assert steady_values(document.experiments[0].series[0]) == (5e9,) * 5


def test_bench_json_with_a_file_prints_the_same_document(
    bench: Bench, offered: Callable[..., None], tmp_path: Path
) -> None:
    offered(Small())
    target = tmp_path / "results.json"
    code, out, err = bench("--json", "-o", str(target))
    assert code == 0
    assert out.encode() == target.read_bytes()
    assert len(decode_as(out.encode(), ResultsDocument).experiments) == 1
    assert err.startswith(f"wrote {target}; next: ")


def test_bench_file_is_written_and_names_the_next_command(
    bench: Bench, offered: Callable[..., None], tmp_path: Path
) -> None:
    offered(Small())
    target = tmp_path / "results.json"
    code, _, err = bench("-o", str(target))
    assert code == 0
    assert not decode_as(target.read_bytes(), ResultsDocument).is_partial
    assert f"next: topoprobe calibrate {target}" in err


def test_bench_interrupted_saves_partial_results_and_exits_130(
    bench: Bench, offered: Callable[..., None], tmp_path: Path
) -> None:
    offered(Small(before_sample=interrupt), Small(name="second"))
    target = tmp_path / "results.json"
    before = signal.getsignal(signal.SIGINT)
    code, out, _ = bench("-o", str(target))
    document = decode_as(target.read_bytes(), ResultsDocument)
    assert code == 130
    assert document.is_partial
    assert [len(one.samples) for one in document.experiments[0].series] == [1]
    assert document.experiments[1].status is Status.SKIPPED
    assert "partial" in out.splitlines()[0]
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert signal.getsignal(signal.SIGINT) is before


def test_bench_max_time_ends_with_partial_results(
    bench: Bench, offered: Callable[..., None]
) -> None:
    offered(Small(before_sample=lambda: time.sleep(0.3)))
    code, out, _ = bench("--max-time", "100ms", "--json")
    document = decode_as(out.encode(), ResultsDocument)
    assert code == 0
    assert document.is_partial
    assert [len(one.samples) for one in document.experiments[0].series] == [1]


def test_bench_max_time_without_a_sample_exits_4_and_recommends_nothing(
    bench: Bench, offered: Callable[..., None], tmp_path: Path
) -> None:
    offered(Small())
    target = tmp_path / "results.json"
    code, _, err = bench("--max-time", "0", "-o", str(target))
    assert code == 4
    assert err.splitlines()[1:] == [
        f"wrote {target}",
        "topoprobe: Nothing was measured within the --max-time of 0; allow more time.",
    ]
    assert decode_as(target.read_bytes(), ResultsDocument).is_partial


def test_bench_of_skipped_only_exits_3_with_the_reason(
    bench: Bench, offered: Callable[..., None], tmp_path: Path
) -> None:
    offered(Small(reason="this machine has no wire"))
    target = tmp_path / "results.json"
    code, _, err = bench("-o", str(target))
    document = decode_as(target.read_bytes(), ResultsDocument)
    assert code == 3
    assert err.endswith("topoprobe: Nothing could be measured: this machine has no wire\n")
    assert "next:" not in err
    assert document.experiments[0].status is Status.SKIPPED


def test_bench_interrupted_before_a_sample_exits_130(
    bench: Bench, offered: Callable[..., None]
) -> None:
    class Stopped(Small):
        def missing(self, machine: MachineDocument) -> str | None:
            interrupt()
            return None

    offered(Stopped())
    code, _, err = bench()
    assert code == 130
    assert "next:" not in err


def test_bench_of_failures_only_exits_4_with_the_reason(
    bench: Bench, offered: Callable[..., None]
) -> None:
    offered(Small(before_sample=fail))
    code, _, err = bench()
    assert code == 4
    assert "Nothing could be measured: the wire is cut" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--only", "gpu.*"], 2, "'gpu.*' matches no benchmark"),
        (["--suite", "slow"], 2, "'slow' is not a suite"),
        (["--max-time", "soon"], 2, "'soon' is not a duration such as 60s or 5min"),
        (["-o", "/proc/results.json"], 2, "/proc/results.json cannot be written"),
        (["--gpu", "0,x"], 2, "--gpu 0,x is no list of GPUs"),
        (["--gpu", "-1"], 2, "expected numbers as in 0,2"),
        (["--flows", "host:0 -> host:0 via cpu, size=1000TiB"], 2, "give smaller sizes"),
        (["--flows", "host:0 -> host:0 via cpu, size=0"], 2, "a size above zero"),
        (["--flows", "host:0 -> host:0 via cpu, duration=-1s"], 2, "a duration above zero"),
        (["-o", "results.csv"], 2, "end it in .json"),
        (["-o", "/nonexistent/results.json"], 2, "/nonexistent is not a folder"),
        (["--flows", "host:0 to gpu:0"], 2, "Flow set, column 1"),
        (["--flows", "host:0 -> host:0 via cpu", "--only", "cpu.*"], 2, "give one of them"),
        (["--flows", "host:0 -> core:99999 via cpu"], 2, "core:99999 is no usable CPU"),
        (["--flows", "host:77 -> core:0 via cpu"], 2, "there is host:0"),
        (["--flows", "host:77 -> core:0 via cpu", "--dry-run"], 2, "no NUMA node"),
        (["--flows", "host:0 -> core:0 via cpu, work=banana"], 2, "memcpy, stream, chase, gemm"),
        (["--flows", "host:0 -> gpu:0 via sm, txn=96"], 2, "32, 64, 128, 256, 512"),
        (["--flows", "host:0 -> host:0 via cpu:4096"], 2, "asks for 4096 threads"),
        (["--flows", f"{HERE}, duration=100ms | {HERE}, delay=0.2s"], 2, "never run at the same"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bench_bad_request_is_one_sentence(
    bench: Bench,
    offered: Callable[..., None],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    offered(Small())
    found, _, err = bench(*arguments)
    last = err.splitlines()[-1]
    assert found == code
    assert message in last
    assert last.startswith("topoprobe: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("machine", "code", "said"),
    [("socket: 8 gpu(h100), 2 nic(cx7), 2 nvme", 2, "there is"), ("socket", 3, "it has none.")],
)
@pytest.mark.parametrize("flow", ["gpu:99 via ce", "nic:none via nic", "nvme:none via nvme"])
def test_bench_device_is_bad_input_only_where_there_are_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, machine: str, code: int, said: str, flow: str
) -> None:
    monkeypatch.setattr("topoprobe.cli.bench._scan", lambda: make_up(machine))
    found, _, err = bench("--flows", f"host:0 -> {flow}")
    assert found == code
    assert said in err
    assert len(err.splitlines()) == 1


def test_bench_existing_file_is_kept_without_force(
    bench: Bench, offered: Callable[..., None], tmp_path: Path
) -> None:
    offered(Small(before_sample=fail))
    target = tmp_path / "results.json"
    target.write_text("mine")
    code, _, err = bench("-o", str(target))
    assert code == 2
    assert "--force" in err
    assert target.read_text() == "mine"


def test_bench_flows_prints_each_alone_and_together(bench: Bench) -> None:
    flow = f"host:0 -> core:{CPU} via cpu, size=16MiB, duration=20ms"
    code, out, _ = bench("--flow", flow, "--flow", flow.replace("cpu,", "cpu, work=stream,"))
    assert code == 0
    assert out.count(" alone, ") == 2
    assert "Jain" in out


def test_bench_flows_of_unlike_sizes_are_printed_as_others(bench: Bench) -> None:
    flow = f"{HERE}, duration=20ms"
    _, out, _ = bench("--flows", f"{flow}, size=16MiB | {flow}, size=32MiB")
    assert out.count(" alone, ") == 2
    assert "Jain" in out


def test_bench_of_one_flow_says_nothing_of_others(bench: Bench) -> None:
    code, out, _ = bench("--flow", f"host:0 -> core:{CPU} via cpu, size=16MiB, duration=20ms")
    assert code == 0
    assert "B/s alone\n" in out
    assert not any(word in out for word in ("together", "slower", "Jain"))


def test_bench_exclusive_is_told_in_the_document(
    bench: Bench, offered: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LinuxScheduler, "set", lambda *arguments: None)
    offered(Small())
    code, out, _ = bench("--exclusive", "--json")
    assert code == 0
    assert decode_as(out.encode(), ResultsDocument).environment.is_exclusive


def test_bench_exclusive_not_permitted_exits_3_in_one_sentence(
    bench: Bench, offered: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(LinuxScheduler, "set", refuse)
    offered(Small())
    code, out, err = bench("--exclusive", "--quiet")
    assert (code, out) == (3, "")
    assert err.count("\n") == 1
    assert "Real-time priority was refused" in err
