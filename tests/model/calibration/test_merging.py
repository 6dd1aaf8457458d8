"""Several runs as one: pooled samples, contradictions, refusals."""

from __future__ import annotations

import msgspec
import pytest

from tests.model.calibration.samples import JITTER, MACHINE, TOOL, results, series
from topoprobe.errors import InputError
from topoprobe.measure.statistics import steady_values
from topoprobe.model.calibration.build import calibrate_merged
from topoprobe.model.calibration.merging import NamedRun, merge, refuse_unknown_revisions
from topoprobe.records.base import Status
from topoprobe.records.machine import Gpu, Host
from topoprobe.records.results import Series


def run(
    name: str, day: int, *members: Series, revision: int = 3, status: Status = Status.OK
) -> NamedRun:
    """One run of one benchmark on a day."""
    document = results(*members)
    (experiment,) = document.experiments
    experiment = msgspec.structs.replace(experiment, revision=revision, status=status)
    started_at = f"2026-01-{day:02}T00:00:00+00:00"
    return NamedRun(
        name,
        msgspec.structs.replace(document, started_at=started_at, experiments=(experiment,)),
    )


def triad(rate: float, **known: Status | str) -> Series:
    return series("stream.triad", rate, threads=1, variant="none", array_bytes=64, **known)  # type: ignore[arg-type]


def test_equal_quantities_are_pooled_without_their_warmups() -> None:
    first = series("latency.idle", 1e-7, "s", warmup=9e-7, ring_bytes=64)
    second = series("latency.idle", 1.001e-7, "s", warmup=9e-7, ring_bytes=64)
    merged = merge([run("b.json", 2, second), run("a.json", 1, first)])
    (found,) = merged.results.experiments[0].series
    assert len(steady_values(found)) == 2 * len(JITTER)
    assert merged.verdicts == ()
    assert [one.name for one in merged.runs] == ["a.json", "b.json"]


def test_quantities_that_only_one_run_has_are_all_kept() -> None:
    merged = merge([run("a", 1, triad(5e9)), run("b", 2, series("launch.overhead", 1e-6, "s"))])
    names = [one.name for one in merged.results.experiments[0].series]
    assert names == ["stream.triad", "launch.overhead"]


def test_contradicting_runs_give_a_verdict_and_the_newer_is_kept() -> None:
    merged = merge([run("old.json", 1, triad(5e9)), run("new.json", 2, triad(4e9))])
    (found,) = merged.results.experiments[0].series
    (verdict,) = merged.verdicts
    assert steady_values(found) == steady_values(triad(4e9))
    assert (verdict.check, verdict.level) == ("conflict", "WARN")
    assert "old.json" in verdict.evidence
    assert "new.json" in verdict.evidence
    assert "20% apart" in verdict.evidence
    assert verdict.evidence.endswith("kept is the newer")


def test_stable_run_is_kept_against_a_newer_that_was_not() -> None:
    restless = triad(4e9, status=Status.UNSTABLE, reason="noise")
    merged = merge([run("old", 1, triad(5e9)), run("new", 2, restless)])
    (found,) = merged.results.experiments[0].series
    assert steady_values(found) == steady_values(triad(5e9))
    assert "the older, for only there it was stable" in merged.verdicts[0].evidence


def test_small_differences_are_no_contradiction() -> None:
    apart = msgspec.structs.replace(triad(5.2e9), tolerance_ratio=0.05)
    assert merge([run("a", 1, triad(5e9)), run("b", 2, apart)]).verdicts == ()


def test_contradictions_of_a_benchmark_are_told_in_one_verdict() -> None:
    def both(rate: float) -> tuple[Series, ...]:
        return triad(rate), series("stream.copy", 2 * rate, threads=1, variant="none")

    (verdict,) = merge([run("a", 1, *both(5e9)), run("b", 2, *both(3e9))]).verdicts
    assert "and 1 more of its quantities" in verdict.evidence


def test_newest_revision_of_a_benchmark_counts_alone() -> None:
    late = run("late", 2, triad(5e9), revision=3)
    early = run("early", 1, triad(9e9), revision=2)
    (found,) = merge([late, early]).results.experiments[0].series
    assert steady_values(found) == steady_values(triad(5e9))
    assert merge([late, early]).verdicts == ()


def test_benchmark_skipped_later_keeps_what_it_gave_before() -> None:
    merged = merge([run("a", 1, triad(5e9)), run("b", 2, status=Status.SKIPPED)])
    (experiment,) = merged.results.experiments
    assert (experiment.status, len(experiment.series)) == (Status.OK, 1)


def test_pooled_estimate_counts_all_samples_and_names_all_runs() -> None:
    merged = merge([run("a", 1, triad(5e9)), run("b", 2, triad(5e9))])
    document = calibrate_merged(merged, tool=TOOL)
    (rate,) = document.devices[0].stream
    assert rate.rate_bytes_per_s.n == 2 * len(JITTER)
    assert len(document.results) == 2


def renamed(one: NamedRun, name: str, *, is_container: bool = False) -> NamedRun:
    nodes = tuple(
        msgspec.structs.replace(node, name=name, is_container=is_container)
        if isinstance(node, Host)
        else node
        for node in MACHINE.nodes
    )
    machine = msgspec.structs.replace(MACHINE, nodes=nodes)
    return NamedRun(one.name, msgspec.structs.replace(one.results, machine=machine))


def test_runs_of_other_machines_are_refused_with_both_names() -> None:
    first, second = run("a.json", 1, triad(5e9)), run("b.json", 2, triad(5e9))
    with pytest.raises(InputError, match=r"a.json and b.json .* of box, the other of tower"):
        merge([first, renamed(second, "tower")])


def test_run_that_is_given_twice_is_refused_with_both_names() -> None:
    with pytest.raises(InputError, match="a and copy of a hold one and the same run"):
        merge([run("a", 1, triad(5e9)), run("b", 2, triad(5e9)), run("copy of a", 1, triad(5e9))])


def test_runs_with_other_devices_are_refused_with_the_device() -> None:
    first, second = run("a.json", 1, triad(5e9)), run("b.json", 2, triad(5e9))
    nodes = tuple(node for node in MACHINE.nodes if not isinstance(node, Gpu))
    machine = msgspec.structs.replace(MACHINE, nodes=nodes)
    bare = NamedRun("b.json", msgspec.structs.replace(second.results, machine=machine))
    with pytest.raises(InputError, match="only the first has GPU gpu0"):
        merge([first, bare])


def test_names_of_containers_tell_nothing_of_the_machine() -> None:
    first, second = run("a", 1, triad(5e9)), run("b", 2, triad(5e9))
    assert len(merge([first, renamed(second, "3f2a", is_container=True)]).runs) == 2


def test_unknown_revision_is_refused_with_what_is_known() -> None:
    with pytest.raises(InputError, match=r"a.json holds test.bench in revision 3; .* up to 2"):
        refuse_unknown_revisions(run("a.json", 1), {"test.bench": 2})
    refuse_unknown_revisions(run("a.json", 1), {"test.bench": 3})


def test_unknown_benchmark_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match=r"test.bench, which .* knows cpu.stream, disk.file:"):
        refuse_unknown_revisions(run("a.json", 1), {"disk.file": 1, "cpu.stream": 2})
