"""Memory on a chosen NUMA node: this kernel's calls on node 0, and kernels that refuse."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from topoprobe.errors import EnvironmentMissing, UsageError
from topoprobe.measure.devices.cpu import placement
from topoprobe.measure.devices.cpu.buffer import CpuBuffer
from topoprobe.measure.devices.cpu.placement import (
    LinuxCalls,
    buffer_on_node,
    memory_nodes,
    node_share,
)

MIB = 1 << 20


@dataclass
class FakeCalls:
    """A kernel that puts every `num_far`-th page elsewhere, or refuses with an error number."""

    refuses_prefer: int | None = None
    refuses_nodes_of: int | None = None
    num_far: int | None = None
    preferred: list[tuple[int, int]] = field(default_factory=list)

    def prefer(self, address: int, num_bytes: int, node: int) -> None:
        if self.refuses_prefer is not None:
            raise OSError(self.refuses_prefer, os.strerror(self.refuses_prefer))
        self.preferred.append((num_bytes, node))

    def nodes_of(self, addresses: NDArray[np.uint64]) -> NDArray[np.int32]:
        if self.refuses_nodes_of is not None:
            raise OSError(self.refuses_nodes_of, os.strerror(self.refuses_nodes_of))
        nodes = np.full(addresses.size, self.preferred[-1][1], dtype=np.int32)
        if self.num_far is not None:
            nodes[:: self.num_far] = 0
        return nodes


def fill(array: NDArray[np.uint8]) -> None:
    array[:] = 7


def linux() -> LinuxCalls:
    """Return the calls of this machine, or skip where a container forbids them."""
    calls, buffer = LinuxCalls(), CpuBuffer(4096, "host:0")
    try:
        calls.prefer(buffer.array.ctypes.data, 4096, 0)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS):
            raise
        pytest.skip(str(error))
    return calls


@pytest.mark.parametrize("num_bytes", [4096, MIB, 9 * MIB])
def test_linux_places_a_buffer_on_node_0_and_finds_it_there(num_bytes: int) -> None:
    buffer = buffer_on_node(num_bytes, 0, fill, nodes=(0, 1), calls=linux())
    assert buffer.place == "host:0"
    assert (buffer.array == 7).all()
    assert node_share(buffer.array, 0) == 1.0


def test_linux_untouched_pages_lie_nowhere() -> None:
    linux()
    buffer = CpuBuffer(64 * 4096, "host:0")
    buffer.array[: 16 * 4096] = 1
    assert node_share(buffer.array, 0) == 0.25


def test_linux_node_that_does_not_exist_is_refused() -> None:
    linux()
    with pytest.raises(EnvironmentMissing, match="refused to place memory on NUMA node 900"):
        buffer_on_node(4096, 900, fill, nodes=(0, 900))


def test_one_node_asks_the_kernel_nothing() -> None:
    calls = FakeCalls(refuses_prefer=errno.EPERM, refuses_nodes_of=errno.EPERM)
    assert (buffer_on_node(4096, 0, fill, nodes=(0,), calls=calls).array == 7).all()


def test_node_without_memory_is_refused() -> None:
    with pytest.raises(UsageError, match=r"node 2 has no memory here; .* 0, 1\."):
        buffer_on_node(4096, 2, fill, nodes=(0, 1), calls=FakeCalls())


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        (FakeCalls(refuses_prefer=errno.EPERM), "refused to place .*--cap-add SYS_NICE"),
        (FakeCalls(refuses_prefer=errno.ENOSYS), "cannot place .* without NUMA"),
        (FakeCalls(refuses_prefer=errno.EINVAL), r"place .* node 1 \(Invalid argument\)\."),
        (FakeCalls(refuses_nodes_of=errno.EPERM), "refused to tell .*--cap-add SYS_NICE"),
        (FakeCalls(num_far=4), "Only 75.0% of a buffer of 4 MiB .* node 1"),
    ],
)
def test_memory_that_is_not_there_for_certain_is_no_claim(calls: FakeCalls, message: str) -> None:
    with pytest.raises(EnvironmentMissing, match=message):
        buffer_on_node(4 * MIB, 1, fill, nodes=(0, 1), calls=calls)


def test_unknown_processor_has_no_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement.platform, "machine", lambda: "vax")
    with pytest.raises(EnvironmentMissing, match="its calls are not known"):
        buffer_on_node(4096, 1, fill, nodes=(0, 1))


@pytest.mark.parametrize(
    ("text", "nodes"), [("0\n", (0,)), ("0-1,4\n", (0, 1, 4)), ("\n", (0,)), (None, (0,))]
)
def test_memory_nodes_are_those_the_kernel_lists(
    tmp_path: Path, text: str | None, nodes: tuple[int, ...]
) -> None:
    if text is not None:
        folder = tmp_path / "sys/devices/system/node"
        folder.mkdir(parents=True)
        (folder / "has_memory").write_text(text)
    assert memory_nodes(tmp_path) == nodes
