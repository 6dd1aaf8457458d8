"""A prediction for people, as lines of text, and for scripts, as a dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from topoprobe.machine.wording import count, listed
from topoprobe.measure.flows import FlowSet
from topoprobe.model.fabric.machines.peers import HIDDEN
from topoprobe.units import format_flops, format_rate, format_seconds

if TYPE_CHECKING:
    from topoprobe.model.prediction import FlowPrediction, Prediction
    from topoprobe.records.base import Missing
    from topoprobe.records.calibration import CalibrationDocument

_SLOWED_RATIO = 1.02
# More flows than these are told in groups of equal ones.
_MOST_IN_FULL = 16

SCHEMA, VERSION = "topoprobe.prediction", 1


def prediction_document(
    prediction: Prediction, flow_set: FlowSet, *, machine: str, model: str, trust: Sequence[str]
) -> dict[str, Any]:
    """Return what scripts read; fields are only ever added."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "machine": machine,
        "model": model,
        "text": str(flow_set),
        "flows": [
            _flow_record(number, one) for number, one in enumerate(prediction.flows, start=1)
        ],
        "jain_ratio": prediction.jain_ratio,
        "wire_jain_ratio": prediction.wire_jain_ratio,
        "aggregate_bytes_per_s": prediction.aggregate_bytes_per_s,
        "bottlenecks": [
            {
                "id": one.id,
                "kind": str(one.kind),
                "capacity_per_s": one.capacity_per_s,
                "source": str(one.source),
                "evidence": one.evidence,
            }
            for one in prediction.bottlenecks
        ],
        "unknown": [
            {"subject": one.subject, "fact": one.fact, "reason": one.reason}
            for one in prediction.assumptions
        ],
        "trust": list(trust),
    }


def _flow_record(number: int, one: FlowPrediction) -> dict[str, Any]:
    flow = one.flow
    record: dict[str, Any] = {
        "number": number,
        "text": str(flow),
        "src": str(flow.source),
        "dst": str(flow.destination),
        "executor": str(flow.executor),
        "work": str(flow.work),
        "size_bytes": flow.size_bytes,
        "txn_bytes": flow.txn_bytes,
        "cap_bytes_per_s": flow.cap_bytes_per_s,
        "duration_s": flow.duration_s,
        "start_s": one.start_s,
        "rate_bytes_per_s": one.rate_bytes_per_s,
        "solo_bytes_per_s": one.solo_bytes_per_s,
        "rate_per_s": one.rate_per_s,
        "solo_per_s": one.solo_per_s,
        "unit": one.unit,
        "rate_over": str(one.over),
        "is_upper_bound": one.is_upper_bound,
        "may_be_faster": one.may_be_faster,
        "slowdown": one.slowdown_ratio,
        "bottleneck": one.bottleneck,
        "why": one.why,
    }
    if one.route:
        record["route"] = one.route
    if one.completion_s is not None:
        record["completion_s"] = one.completion_s
    return record


def prediction_lines(prediction: Prediction) -> list[str]:
    """Return what people read: who is slowed first, what is taken for granted last."""
    lines = [_headline(prediction)]
    groups = _groups(prediction.flows)
    for numbers in groups[:_MOST_IN_FULL]:
        lines += _flow_lines(prediction.flows, numbers)
    rest = sum(len(numbers) for numbers in groups[_MOST_IN_FULL:])
    if rest:
        lines.append(f"{count(rest, 'flow')} more, slowed less: --json has them")
    lines += _timing(prediction)
    lines += _sums(prediction)
    evidence = dict.fromkeys(
        (one.source, one.evidence) for one in prediction.bottlenecks if one.kind != "core"
    )
    lines += [f"{source} capacity: {text}" for source, text in evidence]
    lines += _assumed(prediction)
    return lines


def trust_lines(calibration: CalibrationDocument) -> Iterator[str]:
    """Say how far off the laws of CPUs were where the sets they foretold had been left out."""
    from topoprobe.measure.statistics import median
    from topoprobe.model.calibration.foresight import foresights

    found = [one for each in calibration.contention for one in foresights(each)]
    if not found:
        yield "trust: no set of this calibration tells how far off its laws are"
        return
    error = median([abs(one.error_ratio) for one in found])
    blind = median([abs(1 / one.measured.value - 1) for one in found])
    yield (
        f"trust: {len(found)} measured slowdowns, foretold without their kind of set, were off by "
        f"{error:.1%} in the median ({blind:.1%} if none were expected)"
    )


def _groups(flows: Sequence[FlowPrediction]) -> list[list[int]]:
    """Return flows by number from 0: each for itself, or many in groups, the slowest first."""
    if len(flows) <= _MOST_IN_FULL:
        return [[number] for number in range(len(flows))]
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, one in enumerate(flows):
        groups.setdefault((_rates(one), str(one.flow.executor)), []).append(number)
    return sorted(groups.values(), key=lambda each: -flows[each[0]].slowdown_ratio)


def _flow_lines(flows: Sequence[FlowPrediction], numbers: Sequence[int]) -> Iterator[str]:
    first, one = numbers[0] + 1, flows[numbers[0]]
    if len(numbers) == 1:
        yield f"flow {first}  {one.flow}"
    else:
        yield f"{len(numbers)} flows  {one.flow} and more: flows {_ranges(numbers)}"
    yield f"        {_rates(one)}"
    example = "" if len(numbers) == 1 else f"flow {first}: "
    if one.route:
        yield f"        {example}goes by {one.route}"
    yield f"        {example}{one.why}"


def _rates(one: FlowPrediction) -> str:
    change = f", x{one.slowdown_ratio:.2f} slower" if _is_slowed(one) else ""
    ends = "" if one.completion_s is None else f", done after {format_seconds(one.completion_s)}"
    most = "at most " if one.is_upper_bound else ""
    given = ", if its links are as shown" if one.may_be_faster else ""
    rates = f"{most}{_rate(one, one.rate_per_s)} of {_rate(one, one.solo_per_s)} alone"
    return f"{rates}{given}{change}{ends}"


def _rate(one: FlowPrediction, per_s: float) -> str:
    if one.unit == "flop_per_s":
        return format_flops(per_s)
    return f"{format_seconds(1 / per_s)} a load" if one.unit == "per_s" else format_rate(per_s)


def _ranges(numbers: Sequence[int]) -> str:
    """Write numbers from 0 as people count, as ``1-4, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a + 1}" if a == b else f"{a + 1}-{b + 1}" for a, b in runs)


def _timing(prediction: Prediction) -> Iterator[str]:
    """Say what time rates are of, where flows come and go."""
    if not prediction.is_timed:
        return
    yield (
        "rates are means over the time that each flow takes, of those without an end over the time "
        "beside others; times are of bytes alone, without start-up or latency"
    )


def _sums(prediction: Prediction) -> Iterator[str]:
    if len(prediction.flows) == 1:
        return
    sums = [f"fairness of what each keeps: Jain {prediction.jain_ratio:.3f}"]
    is_bound = prediction.is_timed or any(one.is_upper_bound for one in prediction.flows)
    may_be_more = any(one.may_be_faster for one in prediction.flows)
    most = "at most " if is_bound and not may_be_more else ""
    when = " at any time" if prediction.is_timed else ""
    if prediction.aggregate_bytes_per_s is not None:
        sums.insert(0, f"together {most}{format_rate(prediction.aggregate_bytes_per_s)}{when}")
    if prediction.wire_jain_ratio is not None:
        sums.append(f"of bytes on the wire: Jain {prediction.wire_jain_ratio:.3f}")
    yield "; ".join(sums)


def _assumed(prediction: Prediction) -> Iterator[str]:
    """Write one line for each reason, with all that it is true of."""
    by_reason: dict[str, list[Missing]] = {}
    for one in prediction.assumptions:
        by_reason.setdefault(one.reason, []).append(one)
    for reason, several in by_reason.items():
        if several[0].fact != "capacity":
            yield f"taken for granted: {reason}"
            continue
        names = [prediction.words.get(one.subject, one.subject) for one in several]
        yield f"taken not to limit: {listed(names)}, {reason}"


def _headline(prediction: Prediction) -> str:
    slowed = [one for one in prediction.flows if _is_slowed(one)]
    if not slowed:
        return _unslowed(prediction)
    worst = max(slowed, key=lambda one: one.slowdown_ratio)
    by = f"x{worst.slowdown_ratio:.2f}"
    if len(slowed) > 1 and all(f"x{one.slowdown_ratio:.2f}" == by for one in slowed):
        most = f"all by {by}"
    else:
        most = f"flow {prediction.flows.index(worst) + 1} most, by {by}"
    kinds = {one.id: one.kind for one in prediction.bottlenecks}
    if worst.bottleneck is None:
        advice = "run what draws the same memory, or has the same CPU, at another time or place"
    elif kinds[worst.bottleneck] == "core":
        advice = "give each a CPU of its own"
    else:
        others = "some" if most.startswith("all") else "the others"
        advice = f"cap or delay {others}, or find a way around {worst.bottleneck_words}"
    verb = "is" if len(slowed) == 1 else "are"
    return (
        f"{len(slowed)} of {count(len(prediction.flows), 'flow')} {verb} slowed; {most}: {advice}."
    )


def _unslowed(prediction: Prediction) -> str:
    if any(one.is_upper_bound for one in prediction.flows):
        return (
            "No flow is known to slow another one, but not all that they cross is known: see what "
            "is told as 'at most'."
        )
    if any(one.fact == HIDDEN for one in prediction.assumptions):
        return "No flow slows another one, as far as sources show: NVLinks may be missing."
    if any(one.may_be_faster for one in prediction.flows):
        return "No flow slows another one, as far as sources show: links may have rested when read."
    return "No flow slows another one: each goes as fast as it would alone."


def _is_slowed(one: FlowPrediction) -> bool:
    return one.slowdown_ratio > _SLOWED_RATIO
