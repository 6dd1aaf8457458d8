"""Whether GPUs reach each other's memory, and the ways of those that do not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from tests.model.fabric.made_up import made_up, rate_alone, way
from topoprobe.errors import ModelError
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.model.fabric.machines.fabric import MachineFabric
from topoprobe.model.fabric.machines.peers import gap, is_direct
from topoprobe.records.machine import Capability, Gpu, LinkKind, Package

NDV4 = Path(__file__).parents[3] / "data" / "machines" / "azure-ndv4.nccl.xml"

MI300A = "AMD Instinct MI300A"


@dataclass(frozen=True)
class Told:
    """A machine whose driver says one thing of all pairs."""

    status: str

    def machine(self, text: str) -> Machine:
        document = made_up(text).document
        pairs = tuple(msgspec.structs.replace(p, peer_status=self.status) for p in document.pairs)
        return Machine(msgspec.structs.replace(document, pairs=pairs))


def facts(fabric: MachineFabric, text: str) -> list[str]:
    return [one.fact for one in way(fabric, text).assumed]


def test_copy_between_geforce_cards_is_staged_through_host_memory() -> None:
    fabric = MachineFabric(made_up("2 socket(xeon-8480c): 2 gpu(rtx4090)"))
    placed = way(fabric, "gpu:0 -> gpu:3 via ce")
    kinds = [fabric.resources[use.resource].kind for use in placed.demand.along]
    assert kinds == [
        "memory", "engine", "pcie", "memory", "inter_socket", "pcie", "engine", "memory",
    ]  # fmt: skip
    stop = placed.demand.along[3]
    assert stop.resource == "memory:numa:0"
    assert stop.per_byte > 2.0  # written and read
    assert placed.is_staged
    assert placed.is_upper_bound
    assert "staged through the memory of host:0" in placed.assumed[0].reason
    legs = [rate_alone(fabric, "gpu:0 -> host:0"), rate_alone(fabric, "host:0 -> gpu:3")]
    assert rate_alone(fabric, "gpu:0 -> gpu:3 via ce") == pytest.approx(min(legs))


def test_kernel_does_not_reach_a_peer_without_peer_access() -> None:
    with pytest.raises(ModelError, match=r"RTX 4090 has no peer access unless .* use via ce"):
        way(MachineFabric(made_up("8x4090")), "gpu:0 -> gpu:1 via sm")


def test_word_of_the_driver_stands_before_the_product() -> None:
    modified = MachineFabric(Told("OK").machine("8x4090"))
    assert not way(modified, "gpu:0 -> gpu:1 via sm").is_staged
    refused = MachineFabric(Told("CNS").machine("4xl40s"))
    assert "driver tells CNS" in way(refused, "gpu:0 -> gpu:1").assumed[0].reason


def test_links_of_their_own_make_peers_of_any_gpus() -> None:
    machine = Told("CNS").machine("hgx-h100")
    one, other = machine.all(Gpu)[:2]
    assert is_direct(machine, one.id, other.id)
    assert not way(MachineFabric(machine), "gpu:0 -> gpu:1 via sm").is_staged


def test_way_across_sockets_says_that_peer_access_is_not_told() -> None:
    fabric = MachineFabric(made_up("dgx-v100"))
    assert facts(fabric, "gpu:0 -> gpu:7") == ["peer_status"]
    assert facts(fabric, "gpu:0 -> gpu:1") == []
    assert facts(MachineFabric(Told("OK").machine("dgx-v100")), "gpu:0 -> gpu:7") == []


def test_way_of_gpus_whose_nvlinks_no_source_shows_says_so() -> None:
    machine = Machine(scan_files([(NDV4.name, NDV4.read_bytes())]))
    placed = way(MachineFabric(machine), "gpu:0 -> gpu:1")
    assert [one.fact for one in placed.assumed] == ["num_nvlinks"]
    assert "no source shows the NVLinks of gpu:0 and gpu:1" in placed.assumed[0].reason
    assert not placed.is_upper_bound  # over NVLinks it is faster


@pytest.mark.parametrize(("cpu", "expected"), [("POWER9, altivec", ["num_nvlinks"]), ("Xeon", [])])
def test_way_from_a_cpu_made_with_nvlinks_says_that_none_is_shown(
    cpu: str, expected: list[str]
) -> None:
    document = made_up("socket: gpu(v100)").document
    names = {Gpu: "Tesla V100-SXM2-16GB", Package: cpu}
    nodes = tuple(
        msgspec.structs.replace(node, name=names[type(node)]) if type(node) in names else node
        for node in document.nodes
    )
    nodes = tuple(
        msgspec.structs.replace(node, model=node.name) if isinstance(node, Gpu) else node
        for node in nodes
    )
    fabric = MachineFabric(Machine(msgspec.structs.replace(document, nodes=nodes)))
    placed = way(fabric, "host:0 -> gpu:0")
    assert [one.fact for one in placed.assumed] == expected
    assert placed.may_be_faster == bool(expected)


def test_copy_to_a_gpu_that_is_one_chip_with_its_cpu_says_that_pcie_is_taken() -> None:
    document = made_up("socket: gpu(mi300x)").document
    nodes = tuple(
        msgspec.structs.replace(node, name=MI300A, model=MI300A) if isinstance(node, Gpu) else node
        for node in document.nodes
    )
    fabric = MachineFabric(Machine(msgspec.structs.replace(document, nodes=nodes)))
    assert facts(fabric, "host:0 -> gpu:0") == ["shared_memory"]


def test_gpus_that_nothing_speaks_against_are_peers() -> None:
    machine = made_up("dgx-v100")
    first, *_, last = machine.all(Gpu)
    assert gap(machine, first, last) is None


@pytest.mark.parametrize(
    ("text", "kind", "nominal"),
    [("mi300x", LinkKind.XGMI, 64e9), ("dgx-v100", LinkKind.NVLINK, 25e9)],
)
def test_direct_link_without_a_rate_has_that_of_its_product(
    text: str, kind: LinkKind, nominal: float
) -> None:
    document = made_up(text).document
    links = tuple(
        msgspec.structs.replace(link, nominal=None, current=None) if link.kind is kind else link
        for link in document.links
    )
    told = MachineFabric(made_up(text))
    silent = MachineFabric(Machine(msgspec.structs.replace(document, links=links)))
    assert rate_alone(silent, "gpu:0 -> gpu:1") == rate_alone(told, "gpu:0 -> gpu:1")
    assert rate_alone(silent, "gpu:0 -> gpu:1") < nominal


def test_link_of_a_gpu_whose_rate_alone_is_told_is_early_where_it_is_slow() -> None:
    rates = []
    for rate in (15.75e9, 63.0e9):
        document = made_up("socket: gpu(v100)").document
        only = Capability(bandwidth_bytes_per_s=rate)
        links = tuple(
            msgspec.structs.replace(link, nominal=only, current=None)
            if link.b.startswith("gpu") else link
            for link in document.links
        )  # fmt: skip
        fabric = MachineFabric(Machine(msgspec.structs.replace(document, links=links)))
        rates.append(way(fabric, "host:0 -> gpu:0").demand.txn_bytes)
    assert rates == [128, 256]
