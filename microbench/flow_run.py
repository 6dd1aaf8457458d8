"""One concurrent set that is run again and again: rates, and what its single chunks tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from topoprobe.errors import ModelError
from topoprobe.measure.benchmark import Context, Interrupted
from topoprobe.measure.chunks import convergence_s, jitter_ratio, until
from topoprobe.measure.concurrent import Lane, trace_flows
from topoprobe.measure.series import Quantity, Trial
from topoprobe.measure.window import Trace, Window, common_window, rates_per_s
from topoprobe.records.base import Status
from topoprobe.records.results import Sample, Series

_Traces = Sequence[Sequence[Trace]]
"""Of each flow, of each of its lanes."""

_FEW_CHUNKS = "fewer than two chunks of this flow lie inside the window; use smaller ones"
_NO_CHANGE = "no rate changed by a tenth when the last flow joined, or too few chunks tell"


@dataclass(frozen=True, slots=True)
class _Chunks:
    """What the chunks of one run tell of each flow, and the rates that they belong to."""

    rates: tuple[float, ...]
    jitters: tuple[float | None, ...]
    convergences_s: tuple[float | None, ...]


@dataclass(slots=True)
class FlowRun:
    """Flows ready to run for a time.

    Attributes
    ----------
    quantities : tuple of Quantity
        The rate of each flow.
    lanes : tuple of tuple of Lane
        Of each flow.
    duration_s : float
        From the start to the end of the last flow.
    context : Context
        Its clock, and whether the person asked to stop.
    """

    quantities: tuple[Quantity, ...]
    lanes: tuple[tuple[Lane, ...], ...]
    duration_s: float
    context: Context
    _chunks: list[_Chunks] = field(default_factory=list)

    def trial(self) -> Trial:
        """Return what is repeated: one run, which gives the rate of each flow."""
        return Trial(self.quantities, self._rates)

    def told(self, measured: Sequence[Series]) -> Iterator[Series]:
        """Return the jitter of each flow, and how fast it made room where another joined late.

        Each sample stands beside one of the rates that were `measured`.
        """
        for index, quantity in enumerate(self.quantities):
            rates = next((one for one in measured if _holds(one, quantity)), None)
            if rates is None or not rates.samples:
                continue
            chunks = [self._behind(sample, index) for sample in rates.samples]
            jitters = [one.jitters[index] for one in chunks]
            yield _beside(rates, "contention.jitter", "ratio", jitters, _FEW_CHUNKS)
            if self._makes_room(index):
                times_s = [one.convergences_s[index] for one in chunks]
                yield _beside(rates, "contention.convergence", "s", times_s, _NO_CHANGE)

    def _behind(self, sample: Sample, index: int) -> _Chunks:
        """Return what told the rate of a sample.

        Not every run became a sample: what is read after it, such as conditions, may have failed.
        """
        return next(one for one in self._chunks if one.rates[index] == sample.value)

    def _rates(self) -> tuple[float, ...]:
        traces = trace_flows(
            self.lanes, self.duration_s, clock=self.context.clock, pause=self._pause
        )
        rates = rates_per_s(traces)
        window = common_window([trace for lanes in traces for trace in lanes])
        self._chunks.append(
            _Chunks(
                rates,
                jitters=tuple(_largest(lanes, _jitter_in(window)) for lanes in traces),
                convergences_s=tuple(
                    _largest(lanes, _settling(window)) if self._makes_room(index) else None
                    for index, lanes in enumerate(traces)
                ),
            )
        )
        return rates

    def _pause(self, seconds: float) -> None:
        """Sleep; a long run need not be waited for by one who asked to stop."""
        if self.context.should_stop():
            raise Interrupted
        time.sleep(seconds)

    def _makes_room(self, index: int) -> bool:
        """Tell whether a flow is already running when the last one joins."""
        delays = [lanes[0].delay_s for lanes in self.lanes]
        return delays[index] < max(delays)


def _holds(series: Series, quantity: Quantity) -> bool:
    return series.name == quantity.name and series.factors == quantity.factors


def _jitter_in(window: Window) -> Callable[[Trace], float | None]:
    return lambda trace: jitter_ratio(trace, window)


def _settling(window: Window) -> Callable[[Trace], float | None]:
    """Return what measures the convergence after the window begins: when the last flow joins."""

    def settling_s(trace: Trace) -> float | None:
        try:
            return convergence_s(until(trace, window.end_s), window.start_s)
        except ModelError:  # too few chunks to tell
            return None

    return settling_s


def _largest(lanes: Sequence[Trace], told: Callable[[Trace], float | None]) -> float | None:
    return max((value for lane in lanes if (value := told(lane)) is not None), default=None)


def _beside(
    rates: Series, name: str, unit: str, values: Sequence[float | None], gap: str
) -> Series:
    """Return a series of what came out beside the rates; skipped where it never came out."""
    samples: list[Sample] = [
        msgspec.structs.replace(sample, value=value)
        for sample, value in zip(rates.samples, values, strict=True)
        if value is not None
    ]
    return Series(
        name=name,
        unit=unit,
        factors=rates.factors,
        is_better_higher=False,
        status=rates.status if samples else Status.SKIPPED,
        reason=_reason_beside(rates) if samples else gap,
        samples=tuple(samples),
    )


def _reason_beside(rates: Series) -> str | None:
    """Say whose reason it is: what chunks tell is not judged by itself."""
    return rates.reason and f"beside a rate that did not settle: {rates.reason}"
