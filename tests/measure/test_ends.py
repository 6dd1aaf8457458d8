"""What the ends of flows mean on a machine whose devices are known."""

from __future__ import annotations

import msgspec
import pytest

from topoprobe.machine.sources.scan import make_up
from topoprobe.machine.view import Machine
from topoprobe.measure.ends import addressed, node_of
from topoprobe.measure.flows import End, parse_flow_set
from topoprobe.records.machine import Gpu, Nic, Nvme


@pytest.fixture(scope="module")
def dgx() -> Machine:
    document = make_up("dgx-v100")
    assert document is not None
    return Machine(document)


def test_node_of_an_end_is_found_by_every_name(dgx: Machine) -> None:
    gpu = node_of(dgx, End("gpu", "1"))
    assert gpu is not None
    assert node_of(dgx, End("gpu", gpu.id.removeprefix("gpu@"))) == gpu
    nic = dgx.all(Nic)[0]
    assert node_of(dgx, End("nic", nic.ports[0].name)) == nic
    assert node_of(dgx, End("host", "1")) == node_of(dgx, End("core", "20"))
    assert all(node_of(dgx, End("nvme", drive.name)) == drive for drive in dgx.all(Nvme))


def test_node_of_a_numbered_adapter_counts_by_pci_address(dgx: Machine) -> None:
    nics = sorted(dgx.all(Nic), key=lambda nic: nic.pci_address or "")
    assert [node_of(dgx, End("nic", str(index))) for index in range(len(nics))] == nics
    assert node_of(dgx, End("nic", str(len(nics)))) is None
    assert node_of(dgx, End("nvme", "0")) is None


def test_node_of_a_name_that_is_a_number_is_what_has_it() -> None:
    document = make_up("socket: 2 nic(cx7)")
    assert document is not None
    first, second = Machine(document).all(Nic)
    nodes = tuple(
        msgspec.structs.replace(node, name="0") if node == second else node
        for node in document.nodes
    )
    found = node_of(Machine(msgspec.structs.replace(document, nodes=nodes)), End("nic", "0"))
    assert found is not None
    assert found.id == second.id != first.id


def test_node_of_an_absent_end_is_none(dgx: Machine) -> None:
    ends = [End("gpu", "8"), End("host", "2"), End("nic", "ib9"), End("nvme", "nvme9")]
    assert [node_of(dgx, end) for end in ends] == [None] * 4


def test_addressed_set_names_gpus_by_their_address(dgx: Machine) -> None:
    gpus = sorted(gpu.id for gpu in dgx.all(Gpu))
    found = addressed(dgx, parse_flow_set("host:0 -> gpu:1 via ce | gpu:7 -> gpu:99 via sm"))
    assert str(found) == f"host:0 -> {gpus[1]} via ce | {gpus[7]} -> gpu:99 via sm"
