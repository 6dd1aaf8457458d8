"""Joining what both ends of direct links tell."""

from __future__ import annotations

import pytest

from topoprobe.machine.facts import PeerFact
from topoprobe.machine.wiring import peer_links
from topoprobe.records.machine import AnyNode, Contradiction, Gpu, Host, Link, LinkKind, NvSwitch

NODES: tuple[AnyNode, ...] = (
    Host(id="host", name="h"),
    Gpu(id="gpu:0", name="g", model="NVIDIA A100-SXM4-80GB"),
    Gpu(id="gpu:1", name="g", pci_vendor="10de", pci_device="2330"),
    Gpu(id="gpu:2", name="g", compute_capability="10.0"),
    Gpu(id="gpu:3", name="g"),
    NvSwitch(id="nvswitch@fabric", name="f"),
)


def joined(*peers: PeerFact) -> tuple[tuple[Link, ...], tuple[Contradiction, ...]]:
    return peer_links(peers, lambda subject: subject, "nvswitch@fabric", NODES)


def nvlinks(a: str, b: str, count: int = 4, rate: float | None = None) -> PeerFact:
    return PeerFact(
        a=a,
        b=b,
        b_kind="gpu",
        kind=LinkKind.NVLINK,
        count=count,
        bandwidth_bytes_per_s=rate,
    )


def test_both_ends_give_one_link() -> None:
    links, complaints = joined(nvlinks("gpu:0", "gpu:1"), nvlinks("gpu:1", "gpu:0"))
    assert [(link.a, link.b, link.count) for link in links] == [("gpu:0", "gpu:1", 4)]
    assert complaints == ()


def test_ends_that_count_differently_are_reported_and_the_first_stays() -> None:
    (link,), (complaint,) = joined(nvlinks("gpu:0", "gpu:1", 4), nvlinks("gpu:1", "gpu:0", 3))
    assert link.count == 4
    assert complaint.readings == ("gpu:0: 4", "gpu:1: 3")


@pytest.mark.parametrize(
    ("gpu", "per_link"), [("gpu:0", 25e9), ("gpu:1", 25e9), ("gpu:2", 50e9), ("gpu:3", None)]
)
def test_links_that_are_only_counted_have_their_products_rate(
    gpu: str, per_link: float | None
) -> None:
    peer = PeerFact(a=gpu, b_kind="nvswitch", kind=LinkKind.NVLINK, count=12)
    (link,), _ = joined(peer)
    assert link.b == "nvswitch@fabric"
    found = link.nominal.bandwidth_bytes_per_s if link.nominal else None
    assert found == (None if per_link is None else 12 * per_link)


def test_rate_that_is_told_goes_before_the_products() -> None:
    (link,), _ = joined(nvlinks("gpu:0", "gpu:1", 4, 80e9))
    assert link.nominal is not None
    assert link.nominal.bandwidth_bytes_per_s == 80e9


@pytest.mark.parametrize(
    ("b", "words"), [("gpu:0", "no link to itself"), ("0000:99:00.0", "hidden from this process")]
)
def test_links_that_lead_nowhere_are_reported_and_left_out(b: str, words: str) -> None:
    links, (complaint,) = joined(nvlinks("gpu:0", b))
    assert links == ()
    assert words in complaint.meaning
