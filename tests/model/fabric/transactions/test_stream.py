"""Streams that cannot be are refused in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from topoprobe.errors import ModelError
from topoprobe.model.fabric.transactions.stream import Hop, Stream

WRITE = Stream("w", (256.0, 128.0), (Hop("up", per_packet=24.0, per_transaction=10.0),))


def test_first_packet_takes_what_the_transaction_takes() -> None:
    (hop,) = WRITE.hops
    assert hop.units(256.0, first=True) == 290.0
    assert hop.units(128.0, first=False) == 152.0
    assert WRITE.transaction_bytes == 384.0


def test_requests_come_before_what_they_ask_for() -> None:
    read = replace(WRITE, request=(Hop("down", 24.0, 0.0),))
    assert [hop.resource for hop in read.hops] == ["down", "up"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"packets": ()}, "no packet or no way"),
        ({"payload": ()}, "no packet or no way"),
        ({"packets": (0.0,)}, "packet without payload"),
        ({"packets": (float("nan"),)}, "packet without payload"),
        ({"max_open": 0}, "limit below one transaction"),
        ({"num_transactions": 0}, "limit below one transaction"),
        ({"cap_bytes_per_s": 0.0}, "a cap or a start that cannot be"),
        ({"start_s": -1.0}, "a cap or a start that cannot be"),
        ({"start_s": float("inf")}, "a cap or a start that cannot be"),
        ({"payload": (Hop("up", per_byte=0.0),)}, "takes no finite amount of up"),
        ({"payload": (Hop("up", per_packet=-1.0),)}, "takes no finite amount of up"),
        ({"payload": (Hop("up", per_byte=float("inf")),)}, "takes no finite amount of up"),
    ],
)
def test_stream_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        replace(WRITE, **change)
