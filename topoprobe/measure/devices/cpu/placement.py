"""Memory on a chosen NUMA node: asked for before the first touch, and looked up afterwards.

The kernel is asked to *prefer* the node rather than to insist on it: where the node is full, a
process that insists is killed, and one that prefers gets memory elsewhere, which the look-up tells.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from topoprobe.errors import EnvironmentMissing, UsageError
from topoprobe.measure.devices.cpu.buffer import CpuBuffer

# Memory preferred on one node: policy MPOL_PREFERRED of the kernel's uapi/linux/mempolicy.h.
_PREFERRED = 1
# Numbers of mbind and move_pages, from the kernel's tables of system calls.
_CALLS = {"x86_64": (237, 279), "aarch64": (235, 239)}
_WORD_BITS = 8 * ctypes.sizeof(ctypes.c_ulong)
_MAX_NODES = 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Pages looked up with one call: enough to cost nothing, few enough for small lists.
_PAGES_PER_CALL = 1 << 16


class NumaCalls(Protocol):
    """What is asked of the kernel; both raise OSError where it refuses."""

    def prefer(self, address: int, num_bytes: int, node: int) -> None:
        """Prefer a node for pages of a mapping that nobody has touched."""

    def nodes_of(self, addresses: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the node of each page, negative for one that is not there."""


class LinuxCalls:
    """The system calls mbind and move_pages, for which Python and libc have no functions."""

    def prefer(self, address: int, num_bytes: int, node: int) -> None:
        """Prefer a node for the pages of a mapping; the address is that of a page."""
        mask = (ctypes.c_ulong * (_MAX_NODES // _WORD_BITS))()
        mask[node // _WORD_BITS] = 1 << node % _WORD_BITS
        number, _ = _call_numbers()
        _system_call(number, address, num_bytes, _PREFERRED, mask, _MAX_NODES, 0)

    def nodes_of(self, addresses: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the node of each page; without target nodes move_pages moves nothing."""
        _, number = _call_numbers()
        nodes = np.empty(addresses.size, dtype=np.int32)
        for start in range(0, addresses.size, _PAGES_PER_CALL):
            pages = np.ascontiguousarray(addresses[start : start + _PAGES_PER_CALL])
            found = nodes[start : start + _PAGES_PER_CALL]
            _system_call(number, 0, pages.size, pages.ctypes.data, None, found.ctypes.data, 0)
        return nodes


def memory_nodes(root: Path = Path("/")) -> tuple[int, ...]:
    """Return the NUMA nodes that have memory; ``(0,)`` where the kernel knows of no nodes.

    `root` is where ``sys`` is, another folder in tests.
    """
    try:
        text = (root / "sys/devices/system/node/has_memory").read_text(encoding="ascii")
    except OSError:
        return (0,)
    nodes: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        nodes += range(int(first), int(last or first) + 1)
    return tuple(nodes) or (0,)


def buffer_on_node(
    num_bytes: int,
    node: int,
    fill: Callable[[NDArray[np.uint8]], object],
    *,
    nodes: tuple[int, ...] | None = None,
    calls: NumaCalls | None = None,
) -> CpuBuffer:
    """Return memory that lies on a NUMA node.

    Parameters
    ----------
    num_bytes : int
        Size.
    node : int
        Index of the node, as in ``host:N``.
    fill : callable
        Writes every page of the buffer's array, on the calling thread.
    nodes, calls : optional
        The nodes with memory, and the kernel; this machine's by default.

    Raises
    ------
    UsageError
        If the node has no memory.
    EnvironmentMissing
        If the kernel does not place memory or does not tell where it lies, or if the node is full.
    """
    nodes = memory_nodes() if nodes is None else nodes
    if node not in nodes:
        known = ", ".join(map(str, nodes))
        raise UsageError(f"NUMA node {node} has no memory here; nodes with memory: {known}.")
    buffer = CpuBuffer(num_bytes, f"host:{node}")
    if len(nodes) == 1:  # all memory lies there, and the kernel need not be asked
        fill(buffer.array)
        return buffer
    calls = calls or LinuxCalls()
    address = buffer.array.ctypes.data
    try:
        calls.prefer(address, num_bytes, node)
    except OSError as error:
        raise EnvironmentMissing(_refusal(f"place memory on NUMA node {node}", error)) from error
    fill(buffer.array)
    share = node_share(buffer.array, node, calls)
    if share < 1.0:
        raise EnvironmentMissing(
            f"Only {share:.1%} of a buffer of {num_bytes >> 20} MiB came to lie on NUMA node "
            f"{node}; free memory of that node, or choose another."
        )
    return buffer


def node_share(array: NDArray[Any], node: int, calls: NumaCalls | None = None) -> float:
    """Return the share of an array's pages that lie on a NUMA node.

    Raises
    ------
    EnvironmentMissing
        If the kernel does not tell.
    """
    first = array.ctypes.data // _PAGE_BYTES
    end = -(-(array.ctypes.data + array.nbytes) // _PAGE_BYTES)
    addresses = np.arange(first, end, dtype=np.uint64) * np.uint64(_PAGE_BYTES)
    try:
        found = (calls or LinuxCalls()).nodes_of(addresses)
    except OSError as error:
        raise EnvironmentMissing(_refusal("tell where memory lies", error)) from error
    return float(np.mean(found == node))


def _refusal(what: str, error: OSError) -> str:
    if error.errno == errno.ENOSYS:
        return f"The kernel cannot {what}: it was built without NUMA, or its calls are not known."
    hint = ""
    if error.errno in (errno.EPERM, errno.EACCES):
        hint = "; in a container allow it with --cap-add SYS_NICE"
    return f"The kernel refused to {what} ({error.strerror}){hint}."


def _call_numbers() -> tuple[int, int]:
    numbers = _CALLS.get(platform.machine())
    if numbers is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return numbers


def _system_call(number: int, *arguments: Any) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    # Passed as they are, Python's integers would be cut to 32 bits.
    converted = [
        ctypes.c_ulong(argument) if isinstance(argument, int) else argument
        for argument in arguments
    ]
    if library.syscall(ctypes.c_long(number), *converted) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
