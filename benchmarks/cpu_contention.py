"""How well the laws of CPU flows foretell sets that they were not fitted to.

Measures every pair of {memcpy, stream, chase, gemm, gemv, disk} on two CPUs, and sets of three,
four and five of them, which share CPUs where there are fewer. The laws
(`topoprobe.model.fabric.cpus`) are fitted to all sets but those of one kind of pair, or but those
of one number of flows, and predict those. Printed is the error of the slowdowns, beside that of two
predictors that know no law: no slowdown at all, and as many turns as there are flows per CPU.

Samples during which other processes took more than a tenth of the CPUs say nothing of the flows;
they are left out, and how many were is printed. About a minute on an idle machine::

    python benchmarks/cpu_contention.py [--save FILE] [--samples N]
    python benchmarks/cpu_contention.py --results FILE...
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from topoprobe.errors import ModelError  # noqa: E402
from topoprobe.machine.sources.scan import scan_live  # noqa: E402
from topoprobe.machine.view import Machine  # noqa: E402
from topoprobe.measure.benchmark import Budget, Context, Outcome, PlannedSet  # noqa: E402
from topoprobe.measure.devices.session import budget_here, run_suite  # noqa: E402
from topoprobe.measure.flows import FlowSet, parse_flow_set  # noqa: E402
from topoprobe.measure.statistics import median  # noqa: E402
from topoprobe.model.calibration.build import calibrate  # noqa: E402
from topoprobe.model.calibration.cpus import (  # noqa: E402
    MeasuredSet,
    fit_cpu_laws,
    measured_set,
)
from topoprobe.model.fabric.cpus.laws import slowdowns  # noqa: E402
from topoprobe.records.base import Tool  # noqa: E402
from topoprobe.records.calibration import Contention  # noqa: E402
from topoprobe.records.documents import decode_as, encode  # noqa: E402
from topoprobe.records.machine import MachineDocument  # noqa: E402
from topoprobe.records.results import ResultsDocument, Sample, Series  # noqa: E402

MOST_OTHER_RATIO = 0.1
BOUND_RATIO = 0.15
NUM_SETS = {3: 8, 4: 6, 5: 4}
FLOWS = {
    "memcpy": "host:0 -> core:{0} via cpu",
    "stream": "host:0 -> core:{0} via cpu, work=stream",
    "chase": "host:0 -> core:{0} via cpu, work=chase",
    "gemm": "core:{0} -> core:{0} via cpu, work=gemm",
    "gemv": "host:0 -> core:{0} via cpu, work=gemv",
    "disk": "core:{0} -> host:0 via cpu, work=disk",
}


@dataclass(frozen=True)
class Sets:
    """The benchmark that measures all sets."""

    name: str = "cpu.contention"
    summary: str = "Run pairs and sets of three to five flows together and alone."
    revision: int = 2
    seconds: float = 60.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here."""
        return None

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure all sets, and each of their flows alone."""
        measure = importlib.import_module("topoprobe.microbench.flow_sets").measure_sets
        return Outcome(measure(machine, context, sets_on(context.cpus)))

    def plan(self, machine: MachineDocument, budget: Budget) -> tuple[PlannedSet, ...]:
        """Plan nothing: this script is not asked."""
        return ()


def sets_on(cpus: Sequence[int]) -> list[FlowSet]:
    """Return all pairs, and larger sets in a fixed random choice."""
    dice = random.Random(0)
    kinds = list(itertools.combinations_with_replacement(FLOWS, 2))
    for num_flows, num_sets in NUM_SETS.items():
        larger: dict[tuple[str, ...], None] = {}
        while len(larger) < num_sets:
            larger[tuple(dice.sample(list(FLOWS), num_flows))] = None
        kinds += larger
    return [
        parse_flow_set(
            " | ".join(
                FLOWS[kind].format(cpus[place % len(cpus)]) for place, kind in enumerate(one)
            )
        )
        for one in kinds
    ]


def measured(num_samples: int) -> ResultsDocument:
    """Run all sets on this machine."""
    budget = replace(budget_here("standard"), num_samples=num_samples)
    return run_suite(scan_live(captured_at="now"), (Sets(),), budget)


def undisturbed(document: ResultsDocument) -> ResultsDocument:
    """Leave out the samples beside which others took much of the CPUs."""
    num_all = num_kept = 0
    experiments = []
    for experiment in document.experiments:
        kept: list[Series] = []
        for series in experiment.series:
            samples = tuple(sample for sample in series.samples if is_undisturbed(sample))
            num_all, num_kept = num_all + len(series.samples), num_kept + len(samples)
            kept.append(msgspec.structs.replace(series, samples=samples))
        experiments.append(msgspec.structs.replace(experiment, series=tuple(kept)))
    print(f"{num_kept} of {num_all} samples were undisturbed, and are used")
    return msgspec.structs.replace(document, experiments=tuple(experiments))


def is_undisturbed(sample: Sample) -> bool:
    """Tell whether other processes took no more than a tenth of the CPUs, as far as is known."""
    conditions = sample.conditions
    other = conditions.other_cpu_ratio if conditions is not None else None
    return other is None or other <= MOST_OTHER_RATIO


def print_laws(contention: Contention) -> None:
    """Print the coefficients of all sets."""
    traffic = contention.traffic_bytes_per_s
    if traffic is not None:
        print(f"memory carries {traffic.value / 1e9:.1f} GB/s of traffic")
    for work in contention.cpu_works:
        told = {
            "stalled": work.stall_ratio,
            "of a CPU": work.core_ratio,
            "waits": work.wait_ratio,
        }
        parts = [
            f"{name} {one.value:.2f} ({one.low:.2f}-{one.high:.2f})"
            for name, one in told.items()
            if one is not None
        ]
        print(f"  {work.work:<7} {work.solo_per_s.value:>9.3g} per s alone; {', '.join(parts)}")


def print_sets(sets: Iterable[tuple[MeasuredSet, Sequence[float] | None]]) -> None:
    """Print measured and predicted slowdowns of every flow; each set's kind was held out."""
    print(f"\n{'set, on which CPUs':<58} measured / predicted without its kind")
    for one, predicted in sets:
        names = " ".join(f"{seat.flow.work}@{seat.cpus[0]}" for seat in one.seats)
        guesses = ["-"] * len(one.seats) if predicted is None else [f"{x:.2f}" for x in predicted]
        cells = "  ".join(
            f"{real:.2f}/{guess}" for real, guess in zip(one.slowdowns, guesses, strict=True)
        )
        print(f"{names:<58} {cells}")


def errors(
    sets: Iterable[MeasuredSet], predict: Callable[[MeasuredSet], Sequence[float]]
) -> list[float]:
    """Return the relative errors of all slowdowns."""
    return [
        abs(guess / real - 1.0)
        for one in sets
        for guess, real in zip(predict(one), one.slowdowns, strict=True)
    ]


def no_slowdown(one: MeasuredSet) -> list[float]:
    """Predict that nobody is slowed."""
    return [1.0] * len(one.seats)


def turns(one: MeasuredSet) -> list[float]:
    """Predict that the flows take turns on the CPUs."""
    num_cpus = len({cpu for seat in one.seats for cpu in seat.cpus})
    return [max(len(one.seats) / num_cpus, 1.0)] * len(one.seats)


def print_errors(
    name: str, sets: list[MeasuredSet], predict: Callable[[MeasuredSet], Sequence[float]]
) -> bool:
    """Print the median error of the laws and of what knows none; return whether it is small."""
    found = errors(sets, predict)
    is_good = median(found) <= BOUND_RATIO
    print(
        f"{name:<34} {median(found):>6.1%} median, {sorted(found)[int(0.9 * len(found))]:>6.1%} at "
        f"90 % of {len(found):>3} flows; no slowdown {median(errors(sets, no_slowdown)):>6.1%}, "
        f"turns {median(errors(sets, turns)):>6.1%} {'ok' if is_good else 'MISSED'}"
    )
    return is_good


def judge(document: ResultsDocument) -> bool:
    """Print everything about one results document; return whether the bounds are kept."""
    try:
        calibration = calibrate(undisturbed(document), tool=Tool(tool_version="benchmark"))
    except ModelError as error:
        print(error)
        return False
    contention = next((one for one in calibration.contention if one.cpu_works), None)
    if contention is None:
        print("too few of them to fit a law; stop other work and measure again")
        return False
    machine = Machine(document.machine)
    sets, predictions = [], []
    for one in contention.sets:
        flows = parse_flow_set(" | ".join(share.flow for share in one.flows))
        sets.append(
            measured_set(
                machine,
                flows,
                [share.solo_per_s.value for share in one.flows],
                [share.shared_per_s.value for share in one.flows],
            )
        )
        foretold = [share.predicted_slowdown_ratio for share in one.flows]
        predictions.append([value for value in foretold if value is not None] or None)
    print_laws(contention)
    print_sets(zip(sets, predictions, strict=True))
    by_set = {id(one): predicted for one, predicted in zip(sets, predictions, strict=True)}
    pairs = [one for one in sets if len(one.seats) == 2 and by_set[id(one)] is not None]
    print("\nrelative error of the slowdown")
    outcomes = [
        print_errors("kinds of pairs, each held out", pairs, lambda one: by_set[id(one)] or ())
    ]
    larger = [one for one in sets if len(one.seats) > 2]
    for num_flows in sorted({len(one.seats) for one in larger}):
        laws = fit_cpu_laws([one for one in sets if len(one.seats) != num_flows])
        those = [one for one in larger if len(one.seats) == num_flows]
        outcomes.append(
            print_errors(
                f"sets of {num_flows}, all of them held out",
                those,
                lambda one, laws=laws: slowdowns(laws, one.seats),  # type: ignore[misc]
            )
        )
    if larger:
        laws = fit_cpu_laws([one for one in sets if len(one.seats) == 2])
        outcomes.append(
            print_errors("larger sets, from pairs alone", larger,
                         lambda one: slowdowns(laws, one.seats))
        )  # fmt: skip
    return all(outcomes)


def main() -> None:
    """Print the tables; exit with 1 if a bound was missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", nargs="*", type=Path, default=[])
    parser.add_argument("--samples", type=int, default=6)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    documents = [
        decode_as(path.read_bytes(), ResultsDocument, str(path)) for path in options.results
    ] or [measured(options.samples)]
    if options.save:
        options.save.write_bytes(encode(documents[0]))
    sys.exit(0 if all(judge(document) for document in documents) else 1)


if __name__ == "__main__":
    main()
