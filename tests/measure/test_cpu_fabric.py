"""The compiled event loop against the one that Python runs."""

from __future__ import annotations

import pytest

from topoprobe.measure.devices.cpu.fabric import event_loop
from topoprobe.model.fabric.resource import BYTE_FAIR, OLDEST_FIRST, Resource
from topoprobe.model.fabric.transactions.loop import run
from topoprobe.model.fabric.transactions.simulation import simulate
from topoprobe.model.fabric.transactions.stream import Hop, Stream


def test_compiled_loop_gives_the_same_to_the_last_packet() -> None:
    pytest.importorskip("numba")
    assert event_loop() is not run
    resources = [
        Resource("up", "pcie", 55e9, latency_s=80e-9),
        Resource("down", "pcie", 55e9, BYTE_FAIR, latency_s=300e-9),
        Resource("memory", "memory", 80e9, OLDEST_FIRST, latency_s=50e-9),
    ]
    request = (Hop("up", 24.0, 0.0),)
    streams = [
        Stream("w", (256.0, 256.0, 100.0), (Hop("up", 24.0), Hop("memory")), max_open=40),
        Stream("r", (256.0, 256.0), (Hop("memory"), Hop("down", 20.0)), request, max_open=64),
        Stream("n", (64.0,), (Hop("up", 24.0), Hop("memory", per_byte=2.0)), cap_bytes_per_s=2e9),
        Stream("e", (128.0,), (Hop("down", 24.0),), start_s=3e-6, num_transactions=50),
    ]
    compiled, plain = (
        simulate(resources, streams, duration_s=30e-6, seed=3, loop=loop)
        for loop in (event_loop(), run)
    )
    assert compiled == plain
    assert plain.outcomes["e"].num_finished == 50
