"""The sharing exponent, recovered from chunk traces of flows that divide a link by a known law."""

from __future__ import annotations

import random

import pytest

from topoprobe.errors import ModelError
from topoprobe.measure.fairness import jain_ratio
from topoprobe.measure.sharing import SizePair, sharing_exponent
from topoprobe.measure.window import Trace, rates_per_s

SIZES = [(256, 128), (256, 64), (512, 64), (128, 64), (512, 256)]
LINK_BYTES_PER_S = 50e9
CHUNK_BYTES = 16 << 20


def trace(rate_per_s: float, start_s: float, duration_s: float, source: random.Random) -> Trace:
    """Chunks at a rate, each with the jitter and now and then the hiccup of a real copy."""
    ends, now_s = [], start_s
    while now_s < start_s + duration_s:
        slow = source.lognormvariate(0.0, 0.08) * (1.5 if source.random() < 0.01 else 1.0)
        now_s += CHUNK_BYTES / rate_per_s * slow
        ends.append(now_s)
    return Trace(start_s, tuple(ends), float(CHUNK_BYTES))


def measured_share(first: int, second: int, alpha: float, source: random.Random) -> float:
    """One window of two flows, started and stopped at different times."""
    weights = [first**alpha, second**alpha]
    rates = [LINK_BYTES_PER_S * weight / sum(weights) for weight in weights]
    lanes = [[trace(rate, source.uniform(0, 0.02), 0.5, source)] for rate in rates]
    one, other = rates_per_s(lanes)
    return one / other


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_exponent_is_recovered_within_a_twentieth(alpha: float) -> None:
    source = random.Random(round(1000 * alpha))
    pairs = [
        SizePair(a, b, tuple(measured_share(a, b, alpha, source) for _ in range(10)))
        for a, b in SIZES
    ]
    found = sharing_exponent(pairs)
    assert found.value == pytest.approx(alpha, abs=0.05)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    assert found.high - found.low < 0.1


@pytest.mark.parametrize(("sizes", "jain"), [((256, 128), 0.90), ((256, 64), 0.735)])
def test_jain_of_shares_by_packet_is_the_published_one(sizes: tuple[int, int], jain: float) -> None:
    source = random.Random(7)
    windows = [measured_share(*sizes, 1.0, source) for _ in range(10)]
    indexes = sorted(jain_ratio((share, 1.0)) for share in windows)
    assert indexes[len(indexes) // 2] == pytest.approx(jain, abs=0.01)


def test_exponent_interval_is_the_same_for_the_same_windows() -> None:
    pairs = [SizePair(a, b, (1.5, 1.6, 1.4)) for a, b in SIZES]
    assert sharing_exponent(pairs, seed=3) == sharing_exponent(pairs, seed=3)


@pytest.mark.parametrize(
    "pairs",
    [
        [SizePair(a, b, (1.0,)) for a, b in SIZES[:3]],
        [SizePair(256, 256, (1.0,))] * 5,
        [SizePair(a, b, ()) for a, b in SIZES],
        [SizePair(a, b, (1.0, 0.0)) for a, b in SIZES],
    ],
)
def test_exponent_of_too_little_is_refused(pairs: list[SizePair]) -> None:
    with pytest.raises(ModelError):
        sharing_exponent(pairs)
