"""Equal GPUs, and equal ways between them: which gives less than its peers, and what differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from topoprobe.measure.evidence import differing_conditions
from topoprobe.measure.flows import parse_flow_set
from topoprobe.measure.statistics import estimate, median, steady_samples, steady_values
from topoprobe.records.base import Estimate, Status, Verdict
from topoprobe.records.machine import Gpu
from topoprobe.records.results import Conditions, Factor, ResultsDocument, Series
from topoprobe.units import format_flops, format_rate, format_seconds

LINK_RATIO = 0.03
"""Equal links differ by less than this; the rest is width, generation or the host's side."""

DEVICE_RATIO = 0.05
"""Memory and arithmetic of equal GPUs differ by up to this from one chip to the next."""

_LINK_SERIES = ("copy.", "host_memory.", "contention.solo")
# Factors in which rivals of one quantity differ: the best of them stands for the device.
_RIVAL_FACTORS = ("device", "variant")
_FLOW_FACTORS = ("device", "set", "flow", "index", "num_cpus")
_FORMATS = {"bytes_per_s": format_rate, "flop_per_s": format_flops, "s": format_seconds}

_Key = tuple[str, str, tuple[tuple[str, Factor], ...]]


@dataclass(frozen=True, slots=True)
class _Shortfall:
    """A quantity of which a device or a way gives less than its peers."""

    name: str
    value: str
    lost_ratio: float
    num_peers: int
    differences: tuple[str, ...]


def peer_verdicts(results: ResultsDocument) -> tuple[Verdict, ...]:
    """Name every GPU or way that gives less than the median of its peers, by its worst quantity.

    A quantity counts when it is off by more than 3 % (links) or 5 % (memory, arithmetic) and the
    95 % interval of its own median does not reach that of its peers. Of two only the slower one is
    named; nobody can tell which of them is as it should be.
    """
    found: dict[tuple[str, bool], list[_Shortfall]] = {}
    for (name, *_), by_subject in _quantities(results).items():
        is_link = name.startswith(_LINK_SERIES)
        for subject in by_subject:
            shortfall = _shortfall(subject, by_subject, LINK_RATIO if is_link else DEVICE_RATIO)
            if shortfall is not None:
                found.setdefault((subject, is_link), []).append(shortfall)
    return tuple(
        _verdict(subject, max(ones, key=lambda one: one.lost_ratio), len(ones))
        for (subject, _), ones in found.items()
    )


def _quantities(results: ResultsDocument) -> dict[_Key, dict[str, Series]]:
    """Group the best series of each subject by what was measured on what."""
    gpus = {node.id: node for node in results.machine.nodes if isinstance(node, Gpu)}
    classes = {frozenset((pair.a, pair.b)): pair.path_class for pair in results.machine.pairs}
    groups: dict[_Key, dict[str, Series]] = {}
    for series in _usable(results):
        is_flow = series.name == "contention.solo"
        subject = str(series.factors.get("flow" if is_flow else "device"))
        if is_flow:
            kind = _way(subject, gpus, classes)
        else:
            kind = gpus[subject].name if subject in gpus else None
        if kind is None or series.unit not in _FORMATS:
            continue
        left_out: tuple[str, ...] = _FLOW_FACTORS if is_flow else _RIVAL_FACTORS
        held = tuple(
            (name, value) for name, value in sorted(series.factors.items()) if name not in left_out
        )
        group = groups.setdefault((series.name, kind, held), {})
        if subject not in group or _is_better(series, group[subject]):
            group[subject] = series
    return groups


def _way(text: str, gpus: dict[str, Gpu], classes: dict[frozenset[str], str | None]) -> str | None:
    """Describe a flow by what equal flows share: GPU models, and how far apart the ends are.

    None where it ends at no known GPU, or how far they are apart is not known.
    """
    (flow,) = parse_flow_set(text).flows
    ends = [flow.source, flow.destination]
    ended = [gpus[str(end)] for end in ends if str(end) in gpus]
    far: str | None = None
    if len(ended) == 2:
        far = classes.get(frozenset(gpu.id for gpu in ended))
    elif len(ended) == 1 and all(end.kind in ("gpu", "host") for end in ends):
        (index,) = (end.index for end in ends if end.kind == "host")
        node = ended[0].numa_index
        far = None if node is None else "near" if node == index else "far"
    if far is None:
        return None
    for end in ends:
        text = text.replace(str(end), gpus[str(end)].name if str(end) in gpus else end.kind)
    return f"{text} ({far})"


def _usable(results: ResultsDocument) -> Iterator[Series]:
    for experiment in results.experiments:
        for series in experiment.series:
            if series.status in (Status.OK, Status.UNSTABLE) and steady_values(series):
                yield series


def _is_better(one: Series, other: Series) -> bool:
    is_higher = median(steady_values(one)) > median(steady_values(other))
    return is_higher == one.is_better_higher


def _shortfall(
    subject: str, by_subject: dict[str, Series], limit_ratio: float
) -> _Shortfall | None:
    own = by_subject[subject]
    peers = [series for peer, series in by_subject.items() if peer != subject]
    if not peers:
        return None
    theirs = median([median(steady_values(series)) for series in peers])
    mine = estimate(steady_values(own), "")
    lost_ratio = _lost_ratio(mine, theirs, own.is_better_higher)
    if lost_ratio <= limit_ratio:
        return None
    others = [one for series in peers for one in _conditions(series)]
    return _Shortfall(
        name=own.name,
        value=_FORMATS[own.unit](mine.value),
        lost_ratio=lost_ratio,
        num_peers=len(peers),
        differences=differing_conditions(_conditions(own), others),
    )


def _lost_ratio(mine: Estimate, theirs: float, is_better_higher: bool) -> float:
    """Return the share that is missing; none where the interval reaches the peers' median.

    A single sample has no interval and may be as far off as it likes.
    """
    if not mine.has_interval:
        return 0.0
    if is_better_higher:
        return 1 - mine.value / theirs if mine.high < theirs else 0.0
    return 1 - theirs / mine.value if mine.low > theirs else 0.0


def _conditions(series: Series) -> list[Conditions]:
    return [sample.conditions for sample in steady_samples(series) if sample.conditions is not None]


def _verdict(subject: str, worst: _Shortfall, num_found: int) -> Verdict:
    is_link = any("link" in difference for difference in worst.differences)
    is_throttled = any("throttled" in difference for difference in worst.differences)
    peers = "its peer" if worst.num_peers == 1 else f"the median of {worst.num_peers} peers"
    more = f", and {num_found - 1} more quantities" if num_found > 1 else ""
    why = "; ".join(worst.differences) or "its link, clocks and throttling are like theirs"
    fix = (
        "Reseat the card and its riser, and see `topoprobe doctor`."
        if is_link
        else "See to its cooling and its power limit, and measure again."
        if is_throttled
        else "Swap it with a peer and measure again: a fault of the card moves with it."
    )
    return Verdict(
        level="FAIL" if is_link else "WARN",
        check="peers",
        subject=subject,
        evidence=f"{worst.name} is {worst.value}, {worst.lost_ratio:.0%} worse than {peers}{more}; "
        f"{why}",
        fix=fix,
    )
