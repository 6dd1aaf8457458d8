"""Which GPUs are run together, on machines whose wiring is known."""

from __future__ import annotations

import pytest

from topoprobe.errors import ModelError
from topoprobe.machine.sources.scan import make_up
from topoprobe.machine.view import Machine
from topoprobe.measure.subsets import subsets
from topoprobe.records.machine import Gpu


def machine(name: str) -> tuple[Machine, list[str]]:
    document = make_up(name)
    assert document is not None
    view = Machine(document)
    return view, [gpu.id for gpu in view.all(Gpu)]


def test_subsets_begin_with_gpus_of_one_switch() -> None:
    view, gpus = machine("dgx-v100")  # four switches with two GPUs each, two sockets
    found = subsets(view, gpus, 16)
    pairs = [(gpus[n], gpus[n + 1]) for n in range(0, 8, 2)]
    assert list(found[:4]) == pairs
    assert tuple(gpus[:4]) in found[4:8]
    assert tuple(gpus[4:]) in found[4:8]
    assert tuple(gpus) in found


def test_subsets_of_nested_switches_take_the_smaller_group_first() -> None:
    view, gpus = machine("dgx-a100")  # two GPUs below a switch of their own, in each quarter
    found = subsets(view, gpus, 4)
    assert sorted(len(one) for one in found) == [2, 2, 2, 2]


@pytest.mark.parametrize("name", ["dgx-v100", "hgx-h100", "dgx-a100"])
def test_subsets_are_few_different_and_in_order(name: str) -> None:
    view, gpus = machine(name)
    found = subsets(view, gpus, 24)
    assert len(found) == len(set(found)) == 24  # of 247
    assert all(list(one) == sorted(one, key=gpus.index) and len(one) > 1 for one in found)


def test_subsets_without_a_shared_switch_begin_with_sockets() -> None:
    view, gpus = machine("hgx-h100")  # every GPU below a switch of its own
    found = subsets(view, gpus, 4)
    assert found[0] == tuple(gpus[:4])
    assert tuple(gpus[4:]) in found


def test_subsets_are_the_same_for_the_same_seed_only() -> None:
    view, gpus = machine("hgx-h100")
    assert subsets(view, gpus, 30, seed=1) == subsets(view, gpus, 30, seed=1)
    assert subsets(view, gpus, 30, seed=1) != subsets(view, gpus, 30, seed=2)


def test_subsets_of_few_devices_are_all_of_them() -> None:
    view, gpus = machine("hgx-h100")
    assert len(subsets(view, gpus[:4], 100)) == 2**4 - 4 - 1
    assert subsets(view, gpus[:2], 100) == (tuple(gpus[:2]),)


def test_subsets_of_one_device_are_none() -> None:
    view, gpus = machine("hgx-h100")
    assert subsets(view, gpus[:1], 100) == ()
    assert subsets(view, [], 100) == ()


def test_subsets_of_an_absent_device_are_refused() -> None:
    view, gpus = machine("hgx-h100")
    with pytest.raises(ModelError, match="no node 'gpu:99'"):
        subsets(view, [*gpus, "gpu:99"], 10)
