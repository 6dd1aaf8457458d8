"""How evenly concurrent flows fare: slowdown, Jain's index, max over min."""

from __future__ import annotations

from collections.abc import Sequence

from topoprobe.errors import ModelError

HEADER_BYTES = 24
"""Of one write packet with a 64-bit address: 8 of framing, number and CRC, 16 of header
[pcie-base]."""


def slowdowns(solo_per_s: Sequence[float], shared_per_s: Sequence[float]) -> tuple[float, ...]:
    """Return solo over shared for each flow: 1 is undisturbed, 2 is half as fast.

    Raises
    ------
    ModelError
        If a rate is not positive, or there are not as many solo as shared rates.
    """
    if len(solo_per_s) != len(shared_per_s):
        raise ModelError(
            f"{len(solo_per_s)} solo and {len(shared_per_s)} shared rates do not pair."
        )
    _require_positive([*solo_per_s, *shared_per_s])
    return tuple(solo / shared for solo, shared in zip(solo_per_s, shared_per_s, strict=True))


def jain_ratio(shares: Sequence[float]) -> float:
    """Return Jain's index, ``(sum x)^2 / (n * sum x^2)``: 1 when all are equal, 1/n at worst.

    Raises
    ------
    ModelError
        If there is no share, or one is not positive.

    References
    ----------
    .. [jain] R. Jain, D. Chiu, W. Hawe, A Quantitative Measure of Fairness and Discrimination for
       Resource Allocation in Shared Computer Systems, DEC-TR-301, 1984.
    """
    _require_positive(shares)
    largest = max(shares)  # scaled first, so that squares neither overflow nor vanish
    scaled = [share / largest for share in shares]
    return sum(scaled) ** 2 / (len(scaled) * sum(share * share for share in scaled))


def max_min_ratio(shares: Sequence[float]) -> float:
    """Return the largest share over the smallest.

    Raises
    ------
    ModelError
        As `jain_ratio`.
    """
    _require_positive(shares)
    return max(shares) / min(shares)


def on_the_wire(payload_per_s: Sequence[float], txn_bytes: Sequence[int]) -> tuple[float, ...]:
    """Return the rates with the headers of each flow's transactions: what the link itself carries.

    Parameters
    ----------
    payload_per_s : sequence of float
        Bytes per second of each flow.
    txn_bytes : sequence of int
        Payload of one PCIe packet of each flow.

    Raises
    ------
    ModelError
        If a rate or a size is not positive, or their numbers differ.
    """
    if len(payload_per_s) != len(txn_bytes):
        raise ModelError(f"{len(payload_per_s)} rates and {len(txn_bytes)} sizes do not pair.")
    _require_positive(payload_per_s)
    _require_positive(txn_bytes)
    return tuple(
        rate * (size + HEADER_BYTES) / size
        for rate, size in zip(payload_per_s, txn_bytes, strict=True)
    )


def _require_positive(values: Sequence[float]) -> None:
    if not values:
        raise ModelError("There is no flow; expected at least one rate.")
    if min(values) <= 0.0:
        raise ModelError(f"A rate is {min(values):g}; expected rates above zero.")
