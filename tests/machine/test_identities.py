"""Finding the addresses of what a source only numbers or names."""

from __future__ import annotations

import pytest

from topoprobe.machine.facts import (
    Facts,
    GpuFact,
    NicFact,
    NumaFact,
    PairFact,
    PartitionFact,
    PciFact,
    PeerFact,
)
from topoprobe.machine.identities import with_addresses
from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction, LinkKind, NicPort

FIRST, SECOND, NIC = "0000:03:00.0", "0000:c1:00.0", "0000:42:00.0"


def gpu_function(
    address: str, *, vendor: str | None = "10de", code: str = "030200", driver: str | None = None
) -> PciFact:
    return PciFact(address=address, class_code=code, vendor=vendor, driver=driver)


def addressed(*addresses: str) -> Facts:
    return Facts(source="tree", functions=tuple(map(gpu_function, addresses)))


def numbered(count: int, source: str = "matrix") -> Facts:
    return Facts(source=source, gpus=tuple(GpuFact(subject=f"gpu:{i}") for i in range(count)))


def subjects(facts: Facts) -> list[str]:
    return [gpu.subject for gpu in facts.gpus]


@pytest.mark.parametrize("tree", [addressed(FIRST, SECOND), addressed(SECOND, FIRST)])
def test_numbers_follow_the_order_of_addresses(tree: Facts) -> None:
    _, matrix = with_addresses([tree, numbered(2)])
    assert subjects(matrix) == [FIRST, SECOND]


def test_numbers_beyond_nine_are_numbers() -> None:
    addresses = [f"0000:{bus:02x}:00.0" for bus in range(12)]
    shuffled = numbered(12)
    shuffled = Facts(source="matrix", gpus=tuple(sorted(shuffled.gpus, key=lambda g: g.subject)))
    _, matrix = with_addresses([addressed(*addresses), shuffled])
    assert dict(zip((g.subject for g in shuffled.gpus), subjects(matrix), strict=True)) == {
        f"gpu:{i}": address for i, address in enumerate(addresses)
    }


def test_everything_that_is_said_of_a_number_moves_with_it() -> None:
    matrix = Facts(
        source="matrix",
        gpus=(GpuFact(subject="gpu:0"), GpuFact(subject="gpu:1")),
        numas=(NumaFact(os_index=2, memory_of="gpu:1"),),
        partitions=(PartitionFact(key="m", subject="gpu:0", name="m", partition_kind="mig"),),
        peers=(PeerFact(a="gpu:0", b="gpu:1", b_kind="gpu", kind=LinkKind.NVLINK),),
        pairs=(PairFact(a="gpu:0", b="gpu:1", path_class="NV1"),),
        unknown=(Missing(subject="gpu:1", fact="cpus", reason="r"),),
        contradictions=(Contradiction(subject="gpu:1", fact="f", readings=(), meaning="m"),),
    )
    _, found = with_addresses([addressed(FIRST, SECOND), matrix])
    assert found.numas[0].memory_of == SECOND
    assert found.partitions[0].subject == FIRST
    assert (found.peers[0].a, found.peers[0].b) == (FIRST, SECOND)
    assert (found.pairs[0].a, found.pairs[0].b) == (FIRST, SECOND)
    assert found.unknown[0].subject == SECOND
    assert found.contradictions[0].subject == SECOND


def test_uuids_go_before_numbers_and_tell_other_sources_too() -> None:
    query = Facts(
        source="query",
        functions=(gpu_function(FIRST), gpu_function(SECOND), gpu_function("0000:d0:00.0")),
        gpus=(GpuFact(subject=FIRST, uuid="one"), GpuFact(subject=SECOND, uuid="two")),
    )
    links = Facts(
        source="links",
        gpus=(GpuFact(subject="gpu:0", uuid="two"), GpuFact(subject="gpu:1", uuid="one")),
    )
    _, first, second = with_addresses([query, links, numbered(2)])
    assert subjects(first) == [SECOND, FIRST]
    assert subjects(second) == [SECOND, FIRST]
    assert second.contradictions == ()


def test_gpus_without_a_known_uuid_take_the_addresses_that_are_left() -> None:
    query = Facts(
        source="query",
        functions=(gpu_function(FIRST), gpu_function(SECOND)),
        gpus=(GpuFact(subject=SECOND, uuid="two"),),
    )
    links = Facts(
        source="links", gpus=(GpuFact(subject="gpu:0"), GpuFact(subject="gpu:1", uuid="two"))
    )
    assert subjects(with_addresses([query, links])[1]) == [FIRST, SECOND]


def test_counts_that_differ_leave_numbers() -> None:
    _, matrix = with_addresses([addressed(FIRST, SECOND), numbered(3)])
    assert subjects(matrix) == ["gpu:0", "gpu:1", "gpu:2"]


@pytest.mark.parametrize(
    "stranger",
    [
        gpu_function("0000:01:00.0", vendor="1a03", code="030000"),
        gpu_function("0000:01:00.0", vendor="1002", code="038000"),
        gpu_function("0000:01:00.0", driver="vfio-pci"),
    ],
    ids=["screen", "amd", "given away"],
)
def test_gpus_that_the_driver_does_not_number_are_passed_over(stranger: PciFact) -> None:
    mine = (gpu_function(FIRST, driver="nvidia"), gpu_function(SECOND, driver="nvidia"))
    _, matrix = with_addresses([Facts(source="tree", functions=(stranger, *mine)), numbered(2)])
    assert subjects(matrix) == [FIRST, SECOND]


def test_sources_without_any_address_stay_as_they_are() -> None:
    sources = [numbered(2), numbered(2, "links")]
    assert with_addresses(sources) == sources


def nics(*names: str, ports: bool = True) -> Facts:
    return Facts(
        source="matrix",
        nics=tuple(NicFact(key=n, ports=(NicPort(name=n),) if ports else ()) for n in names),
        pairs=tuple(PairFact(a="gpu:0", b=f"nic:{n}", path_class="PIX") for n in names),
    )


def test_nics_are_found_by_the_names_of_their_ports() -> None:
    port = NicPort(name="ibp66s0", verbs_device="mlx5_0")
    tree = Facts(source="tree", nics=(NicFact(key=NIC, address=NIC, ports=(port,)),))
    _, matrix = with_addresses([tree, nics("mlx5_0", "mlx5_1")])
    assert [nic.address for nic in matrix.nics] == [NIC, None]
    assert [pair.b for pair in matrix.pairs] == [NIC, "nic:mlx5_1"]


@pytest.mark.parametrize(
    ("tree_names", "ports", "kept"),
    [((), True, 0), ((), False, 0), (("mlx5_9",), True, 1), (("mlx5_9",), False, 0)],
)
def test_nics_that_may_be_another_sources_are_not_counted_twice(
    tree_names: tuple[str, ...], ports: bool, kept: int
) -> None:
    tree = Facts(
        source="tree",
        functions=(PciFact(address=NIC, class_code="020700", vendor="15b3"),),
        nics=tuple(
            NicFact(key=NIC, address=NIC, ports=(NicPort(name=name),)) for name in tree_names
        ),
    )
    _, matrix = with_addresses([tree, nics("mlx5_0", ports=ports)])
    assert len(matrix.nics) == len(matrix.pairs) == kept
    assert [m.fact for m in matrix.unknown] == ([] if kept else ["which NIC is mlx5_0"])
