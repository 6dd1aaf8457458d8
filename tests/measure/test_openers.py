"""Which flows are measured at all."""

from __future__ import annotations

import pytest

from topoprobe.errors import UsageError
from topoprobe.measure.devices.openers import gap
from topoprobe.measure.flows import parse_flow_set


def test_gap_of_a_flow_between_machines_is_a_usage_error() -> None:
    (flow,) = parse_flow_set("host:0 -> h2/gpu:0").flows
    with pytest.raises(UsageError, match="h2/gpu:0 is of host 2"):
        gap(flow, {})
