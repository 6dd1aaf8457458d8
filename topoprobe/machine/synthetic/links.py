"""The links of made-up GPUs to each other, to NVSwitches and to their CPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

from topoprobe.machine.facts import PeerFact
from topoprobe.machine.synthetic.attributes import Traits
from topoprobe.machine.synthetic.grammar import mistake
from topoprobe.records.machine import LinkKind

# Pairs of GPUs by number, and the NVLinks between them.
Wiring = tuple[tuple[int, int, int], ...]


class PlacedGpu(NamedTuple):
    """A GPU with its address, and where its text stands."""

    address: str
    traits: Traits
    position: int
    numa: int


def links_of(
    gpus: Sequence[PlacedGpu], nvswitches: Sequence[str], wiring: Wiring
) -> Iterator[PeerFact]:
    """Yield the links that the GPUs' texts ask for, and those of the wiring.

    Raises
    ------
    InputError
        If links cannot be shared out as a text asks.
    """
    for one, other, count in wiring:
        yield _peer(gpus[one], LinkKind.NVLINK, count, "gpu", gpus[other].address)
    yield from _nvlinks([gpu for gpu in gpus if gpu.traits.nvlink], nvswitches)
    xgmi = {gpu: gpu.traits.xgmi for gpu in gpus if gpu.traits.xgmi}
    yield from _all_to_all(xgmi, LinkKind.XGMI)
    for gpu in gpus:
        if gpu.traits.c2c is not None:
            yield _peer(gpu, LinkKind.C2C, gpu.traits.c2c, "cpu")


def _nvlinks(gpus: Sequence[PlacedGpu], nvswitches: Sequence[str]) -> Iterator[PeerFact]:
    """Join each GPU to NVSwitches, or to each other one where there are none."""
    direct = {}
    for gpu in gpus:
        total = sum(gpu.traits.nvlink)
        if gpu.traits.fabric or gpu.traits.clique is not None:
            yield _peer(gpu, LinkKind.NVLINK, total, "nvswitch")
        elif nvswitches:
            for switch, count in zip(nvswitches, _split(gpu, len(nvswitches)), strict=True):
                if count:
                    yield _peer(gpu, LinkKind.NVLINK, count, "nvswitch", switch)
        else:
            direct[gpu] = total
    yield from _all_to_all(direct, LinkKind.NVLINK)


def _split(gpu: PlacedGpu, num_switches: int) -> tuple[int, ...]:
    told = gpu.traits.nvlink
    if len(told) == 1:
        each, rest = divmod(told[0], num_switches)
        return tuple(each + (position < rest) for position in range(num_switches))
    if len(told) != num_switches:
        raise mistake(
            gpu.position,
            f"NVLinks split over {len(told)} NVSwitches",
            f"{num_switches} numbers, one per NVSwitch",
        )
    return told


def _all_to_all(counts: dict[PlacedGpu, int], kind: LinkKind) -> Iterator[PeerFact]:
    """Join each GPU with each other one, its links shared out evenly."""
    others = len(counts) - 1
    common = next(iter(counts.values()), 0)
    for gpu, count in counts.items():
        if others == 0 or count % others or count != common:
            raise mistake(
                gpu.position,
                f"a GPU with {count} {kind} links and {others} GPUs to join",
                "the same number at every GPU, and as many for each of the others",
            )
    for one, other in combinations(counts, 2):
        yield _peer(one, kind, common // others, "gpu", other.address)


def _peer(
    gpu: PlacedGpu,
    kind: LinkKind,
    count: int,
    b_kind: Literal["gpu", "nvswitch", "cpu"],
    b: str | None = None,
) -> PeerFact:
    part = gpu.traits.gpu
    rate = None
    if part is not None:
        rate = part.c2c_bytes_per_s if kind is LinkKind.C2C else part.link_bytes_per_s
    return PeerFact(
        a=gpu.address,
        b=b,
        b_kind=b_kind,
        b_numa_index=gpu.numa if b_kind == "cpu" else None,
        kind=kind,
        count=count,
        bandwidth_bytes_per_s=None if rate is None else rate * count,
    )
