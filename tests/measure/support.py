"""A context whose clock only moves when a measurement says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from topoprobe.measure.benchmark import Budget, Context
from topoprobe.records.results import Conditions, Series


@dataclass
class FakeClock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class Bench:
    """A context and what it was told."""

    clock: FakeClock = field(default_factory=FakeClock)
    kept: list[Series] = field(default_factory=list)

    def context(
        self,
        *,
        num_samples: int = 5,
        max_series_s: float = 100.0,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Context:
        return Context(
            budget=Budget("quick", num_samples, max_series_s, 1 << 30),
            clock=self.clock,
            conditions=lambda: Conditions(other_cpu_ratio=0.25),
            cpus=(0,),
            scratch="/nonexistent",
            should_stop=should_stop,
            keep=self.kept.append,
        )
