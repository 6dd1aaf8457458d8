"""Energy of bytes and flop from the power beside known work."""

from __future__ import annotations

import pytest

from tests.model.calibration.gpu_server import GPU, beside, calibrated
from topoprobe.records.calibration import PowerLaw
from topoprobe.records.results import Conditions, Series

IDLE_W, PER_FLOP_J, PER_BYTE_J = 90.0, 0.6e-12, 80e-12


def work(name: str, rate: float, unit: str, power_w: float, **factors: str | int) -> Series:
    return beside(name, rate, unit, Conditions(power_w=power_w), **factors)


def law_of(*members: Series) -> PowerLaw | None:
    (device,) = calibrated(*members).devices
    assert device.device == GPU
    return device.power


STREAMS = [
    work(f"stream.{name}", rate, "bytes_per_s", IDLE_W + PER_BYTE_J * rate, variant="v")
    for name, rate in (("copy", 2.9e12), ("read", 3.1e12))
]
PRODUCT = work(
    "compute.gemm", 6e14, "flop_per_s", IDLE_W + PER_FLOP_J * 6e14, dtype="bf16", variant="v"
)
REST = work("latency.idle", 6e-7, "s", IDLE_W, ring_bytes=1 << 28)


def test_coefficients_are_recovered() -> None:
    law = law_of(*STREAMS, PRODUCT, REST)
    assert law is not None
    for estimate, known in (
        (law.idle_w, IDLE_W),
        (law.energy_per_flop_j, PER_FLOP_J),
        (law.energy_per_byte_j, PER_BYTE_J),
    ):
        assert estimate is not None
        assert estimate.value == pytest.approx(known, rel=0.02)
        assert estimate.low <= estimate.value <= estimate.high


def test_products_of_slower_types_do_not_count() -> None:
    slow = work("compute.gemm", 6e13, "flop_per_s", 400.0, dtype="fp32", variant="v")
    law = law_of(*STREAMS, PRODUCT, REST, slow)
    assert law is not None
    assert law.energy_per_flop_j is not None
    assert law.energy_per_flop_j.value == pytest.approx(PER_FLOP_J, rel=0.02)


def test_work_that_was_not_measured_has_no_coefficient() -> None:
    law = law_of(*STREAMS, REST)
    assert law is not None
    assert law.energy_per_flop_j is None


def test_power_that_was_not_read_is_missing_with_the_reason() -> None:
    document = calibrated(beside("stream.copy", 3e12, variant="v"))
    assert document.devices[0].power is None
    (missing,) = [one for one in document.missing if one.fact == "power"]
    assert (missing.subject, "no power was read" in missing.reason) == (GPU, True)
