"""Usable series of a results document, and how an estimate is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from topoprobe.errors import InputError
from topoprobe.measure.statistics import estimate, median, steady_samples, steady_values
from topoprobe.records.base import Estimate, Source, Status
from topoprobe.records.results import Conditions, Factor, ResultsDocument, Series

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

NUM_RESAMPLES = 1000
SEED = 20200


class Factors(dict[str, Factor]):
    """What a series was measured under; one that is asked for and absent is bad input."""

    def __init__(self, factors: Mapping[str, Factor], series: str) -> None:
        super().__init__(factors)
        self._series = series

    def __missing__(self, factor: str) -> Factor:
        """Refuse a series that does not tell it.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            f"{self._series} lacks the factor {factor}, without which it says nothing; give "
            "results as `topoprobe bench` wrote them."
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """One series that has steady samples.

    Attributes
    ----------
    name, factors : str, dict
        As in the series.
    values : tuple of float
        Its steady samples, in the unit of the series.
    evidence : str
        The experiment and factors, in words.
    is_unstable : bool
        The series was marked unstable; it is used, and a verdict says so.
    conditions : tuple of Conditions or None
        The state beside each of the values, None where nothing could be read.
    """

    name: str
    factors: dict[str, Factor]
    values: tuple[float, ...]
    evidence: str
    is_unstable: bool
    conditions: tuple[Conditions | None, ...] = ()

    @property
    def median(self) -> float:
        """Median of the steady samples."""
        return median(self.values)

    @property
    def told(self) -> list[Conditions]:
        """The conditions that could be read."""
        return [one for one in self.conditions if one is not None]

    def text(self, factor: str) -> str:
        """Return a factor as text."""
        return str(self.factors[factor])

    def number(self, factor: str) -> int:
        """Return a whole-number factor."""
        return int(self.factors[factor])


class Readings:
    """The readings of a results document, selected by name and factors."""

    def __init__(self, results: ResultsDocument) -> None:
        self._by_name: dict[str, list[Reading]] = {}
        for experiment in results.experiments:
            source = f"{experiment.benchmark} r{experiment.revision}"
            for series in experiment.series:
                reading = _reading(series, source)
                if reading is not None:
                    self._by_name.setdefault(series.name, []).append(reading)

    def select(self, name: str, **factors: Factor) -> list[Reading]:
        """Return the readings of a name whose factors equal the given ones, in order."""
        return [
            reading
            for reading in self._by_name.get(name, ())
            if all(reading.factors.get(key) == value for key, value in factors.items())
        ]

    def devices(self) -> tuple[str, ...]:
        """Return the node ids that were measured, in order of appearance."""
        found = {
            str(reading.factors["device"]): None
            for readings in self._by_name.values()
            for reading in readings
            if "device" in reading.factors
        }
        return tuple(found)


def fastest(readings: Iterable[Reading]) -> Reading | None:
    """Return the reading with the highest median: the best of competing variants."""
    return max(readings, key=lambda reading: reading.median, default=None)


def grouped(readings: Iterable[Reading], *factors: str) -> dict[tuple[Factor, ...], list[Reading]]:
    """Group readings by the values of some factors, in order of appearance."""
    groups: dict[tuple[Factor, ...], list[Reading]] = {}
    for reading in readings:
        groups.setdefault(tuple(reading.factors[name] for name in factors), []).append(reading)
    return groups


def measured(reading: Reading) -> Estimate:
    """Estimate the median of a reading."""
    return estimate(reading.values, reading.evidence)


def combined(
    statistic: Callable[..., Array],
    readings: list[Reading],
    *,
    evidence: str,
    source: Source = Source.MEASURED,
) -> Estimate:
    """Estimate a statistic of several readings, with a percentile bootstrap interval [efron1993].

    Parameters
    ----------
    statistic : callable
        Takes one array per reading, shape (..., num_samples), and returns shape (...,).
    readings : list of Reading
        Resampled independently of each other.
    evidence : str
        What the estimate rests on.
    source : Source
        ``measured``, or ``derived`` where the statistic is a fit.
    """
    import numpy as np

    random = np.random.default_rng(SEED)
    arrays = [np.asarray(reading.values, dtype=np.float64) for reading in readings]
    resampled = [
        array[random.integers(0, len(array), size=(NUM_RESAMPLES, len(array)))] for array in arrays
    ]
    value = float(statistic(*arrays))
    low, high = np.quantile(statistic(*resampled), (0.025, 0.975))
    return Estimate(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        source=source,
        n=min(len(array) for array in arrays),
        evidence=evidence,
    )


def series_name(series: Series) -> str:
    """Return a series' name and what was held fixed, as ``stream.copy device=host threads=2``."""
    factors = " ".join(f"{key}={value}" for key, value in series.factors.items())
    return f"{series.name} {factors}".strip()


def _reading(series: Series, source: str) -> Reading | None:
    if series.status not in (Status.OK, Status.UNSTABLE):
        return None
    values = steady_values(series)
    if not values:
        return None
    evidence = f"{source}: {series_name(series)}"
    return Reading(
        name=series.name,
        factors=Factors(series.factors, evidence),
        values=values,
        evidence=evidence,
        is_unstable=series.status is Status.UNSTABLE,
        conditions=tuple(sample.conditions for sample in steady_samples(series)),
    )
