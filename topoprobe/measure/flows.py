"""The flow grammar: one text for a concurrent set, read by measuring, modelling and the user.

::

    set   = flow ("|" flow)*
    flow  = end "->" end ["via" executor] ("," key "=" value)*
    end   = ["h" number "/"] place

Places are ``host:N`` (memory of NUMA node N), ``gpu:I`` or ``gpu@0000:1b:00.0``, ``nic:NAME``,
``nvme:NAME`` (or their number, in the order of PCI addresses, where nothing has it for a name) and
``core:N`` (which also binds the thread of a CPU flow to that CPU). ``h3/`` names a host of several
machines that a network joins. Executors are ``cpu`` or ``cpu:N`` (N threads), ``ce`` (the GPU's
copy engine), ``sm`` or ``sm:BLOCKS`` (a kernel), ``nic`` and ``nvme``; where none is told, the ends
choose: a NIC or drive moves what begins or ends at it, a copy engine the rest of what has to do
with a GPU, ``nic`` what goes to another host, and the CPU what is left. ``>`` is accepted for
``->``. Keys: ``work`` (what it does: memcpy, stream, gemv, gemm, chase or disk), ``size``,
``duration``, ``txn``, ``chunk``, ``cap``, ``delay``, and ``peer`` (the host that a ``nic`` flow
goes to, without which it comes back).

`str` of a flow or set is its canonical text; parsing that gives the same record again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Literal

from topoprobe.errors import InputError
from topoprobe.units import parse_rate, parse_seconds, parse_size

EndKind = Literal["host", "gpu", "nic", "nvme", "core"]
ExecutorKind = Literal["cpu", "ce", "sm", "nic", "nvme"]
_INDEXED: tuple[EndKind, ...] = ("host", "gpu", "core")
_NAMED: tuple[EndKind, ...] = ("nic", "nvme")
_ADDRESS = re.compile(r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]")
_NAME = re.compile(r"[A-Za-z0-9_.@:-]+")
_ARROW = re.compile(r"->|>")
_VIA = re.compile(r"\svia(?=\s|$)")
_HOST = re.compile(r"h([0-9]{1,6})/")
_COUNTED = ("cpu", "sm")
_EXECUTORS: tuple[ExecutorKind, ...] = ("cpu", "ce", "sm", "nic", "nvme")
_END_HELP = "host:N, gpu:I, gpu@0000:1b:00.0, nic:NAME, nvme:NAME or core:N"
_EXECUTOR_HELP = "cpu, cpu:N, ce, sm, sm:BLOCKS, nic or nvme"

KERNEL_ACCESS_BYTES = (32, 64, 128, 256, 512)
"""What a copying kernel accesses at once: 2 to 32 lanes of a warp, 16 bytes each."""


class Work(StrEnum):
    """What a flow does over and over.

    ``memcpy`` copies, ``stream`` is the STREAM triad (bytes count as there), ``gemv`` multiplies a
    vector with a matrix as decoding does (bytes of weights count), ``gemm`` multiplies matrices:
    on a CPU small ones that stay in the cache, on a GPU large ones. ``chase`` follows a random
    ring one load after the other and ``disk`` reads a scratch file into the destination's memory,
    past the page cache; a GPU does neither.
    """

    MEMCPY = "memcpy"
    STREAM = "stream"
    CHASE = "chase"
    GEMM = "gemm"
    GEMV = "gemv"
    DISK = "disk"


CHUNKED_WORKS = (Work.MEMCPY, Work.STREAM, Work.GEMV)
"""Works of a CPU that take as many bytes at a time as they are told."""
LEAST_CHUNK_BYTES = 1 << 20
"""Less is done before a CPU is told to do more: the least size and chunk of such a flow."""


@dataclass(frozen=True, slots=True)
class End:
    """Where bytes come from or go to.

    `name` is an index (``host``, ``gpu``, ``core``), a PCI address (``gpu``), or a device's name.
    `host` is a number among machines that a network joins, None where there is one machine.
    """

    kind: EndKind
    name: str
    host: int | None = None

    @property
    def is_address(self) -> bool:
        """Whether it names a GPU by its PCI address."""
        return self.kind == "gpu" and _ADDRESS.fullmatch(self.name) is not None

    @property
    def index(self) -> int | None:
        """The number of a ``host``, ``gpu`` or ``core``; None for an address or a name."""
        return int(self.name) if self.kind in _INDEXED and self.name.isdecimal() else None

    def __str__(self) -> str:
        host = "" if self.host is None else f"h{self.host}/"
        return f"{host}{self.kind}{'@' if self.is_address else ':'}{self.name}"


@dataclass(frozen=True, slots=True)
class Executor:
    """Who moves the bytes; `count` is threads of ``cpu`` or blocks of ``sm``, None if not said."""

    kind: ExecutorKind
    count: int | None = None

    def __str__(self) -> str:
        return self.kind if self.count is None else f"{self.kind}:{self.count}"


def usual_executor(source: End, destination: End) -> Executor:
    """Return who moves between two ends where nobody is told."""
    kinds = {source.kind, destination.kind}
    if "nic" in kinds or source.host != destination.host:
        return Executor("nic")
    if "nvme" in kinds:
        return Executor("nvme")
    return Executor("ce" if "gpu" in kinds else "cpu")


@dataclass(frozen=True, slots=True)
class Flow:
    """One transfer or load of a concurrent set; None where the text does not say.

    Attributes
    ----------
    source, destination : End
        The ends.
    executor : Executor
        Who moves.
    work : Work
        What it does: on a CPU, or within one GPU by a kernel.
    size_bytes, duration_s : int, float or None
        Bytes of the buffers, and how long it runs.
    txn_bytes, chunk_bytes : int or None
        Bytes of one transaction, and between two time stamps.
    cap_bytes_per_s : float or None
        Upper limit of the rate.
    delay_s : float or None
        Start after the others.
    peer : str or None
        Host at the other end of a network.
    """

    source: End
    destination: End
    executor: Executor
    work: Work = Work.MEMCPY
    size_bytes: int | None = None
    duration_s: float | None = None
    txn_bytes: int | None = None
    chunk_bytes: int | None = None
    cap_bytes_per_s: float | None = None
    delay_s: float | None = None
    peer: str | None = None

    def __str__(self) -> str:
        text = f"{self.source} -> {self.destination} via {self.executor}"
        for key, option in _OPTIONS.items():
            value = getattr(self, option.field)
            if value != _DEFAULTS[option.field]:
                text += f", {key}={option.write(value)}"
        return text


@dataclass(frozen=True, slots=True)
class FlowSet:
    """Flows that run at the same time."""

    flows: tuple[Flow, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.flows))


def parse_flow_set(text: str) -> FlowSet:
    """Read a concurrent set.

    Raises
    ------
    InputError
        If the text does not follow the grammar; the message names the column, counted from 1.
    """
    flows, column = [], 1
    for part in text.split("|"):
        flows.append(_Parser(part, column).flow())
        column += len(part) + 1
    return FlowSet(tuple(flows))


@dataclass(frozen=True, slots=True)
class _Option:
    """A key of the grammar: the field that it sets, how its value is read and written.

    `expected` says which values there are.
    """

    field: str
    expected: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]


def _positive(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def checked(text: str) -> Any:
        value = read(text)
        if not 0 < value < float("inf"):
            raise InputError(f"{text!r} is not a finite number above zero.")
        return value

    return checked


def _read_work(text: str) -> Work:
    try:
        return Work(text)
    except ValueError as error:
        raise InputError(f"{text!r} is not one of {', '.join(Work)}.") from error


def _read_host(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise InputError(f"{text!r} is no name or address of a host.")
    return text


def _write_size(num_bytes: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if num_bytes % factor == 0:
            return f"{num_bytes // factor}{unit}"
    return str(num_bytes)


def _write_rate(bytes_per_s: float) -> str:
    prefixes = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0))
    return _written(bytes_per_s, prefixes, "B/s", parse_rate)


def _write_seconds(seconds: float) -> str:
    return _written(seconds, (("", 1.0), ("m", 1e-3), ("u", 1e-6), ("n", 1e-9)), "s", parse_seconds)


def _written(
    value: float, prefixes: tuple[tuple[str, float], ...], unit: str, read: Callable[[str], float]
) -> str:
    """Write a value with the largest prefix that leaves no zero before the point, exactly."""
    prefix, factor = next((one for one in prefixes if value >= one[1]), prefixes[-1])
    short = f"{value / factor:g}{prefix}{unit}"
    return short if read(short) == value else f"{value!r}{unit}"


_WORKS = f"one of {', '.join(Work)}"
_A_SIZE = "a size above zero such as 64MiB"
_A_DURATION = "a duration above zero such as 250ms"
_A_RATE = "a rate above zero such as 5GB/s"
_OPTIONS = {
    "work": _Option("work", _WORKS, _read_work, str),
    "size": _Option("size_bytes", _A_SIZE, _positive(parse_size), _write_size),
    "duration": _Option("duration_s", _A_DURATION, _positive(parse_seconds), _write_seconds),
    "txn": _Option("txn_bytes", _A_SIZE, _positive(parse_size), _write_size),
    "chunk": _Option("chunk_bytes", _A_SIZE, _positive(parse_size), _write_size),
    "cap": _Option("cap_bytes_per_s", _A_RATE, _positive(parse_rate), _write_rate),
    "delay": _Option("delay_s", _A_DURATION, _positive(parse_seconds), _write_seconds),
    "peer": _Option("peer", "a host's name or address", _read_host, str),
}
_DEFAULTS = {field.name: field.default for field in fields(Flow)}


def grammar_lines() -> tuple[str, ...]:
    """Return the grammar in short, for people."""
    by_expected: dict[str, list[str]] = {}
    for key, option in _OPTIONS.items():
        by_expected.setdefault(option.expected, []).append(key)
    keys = "; ".join(f"{', '.join(names)} ({what})" for what, names in by_expected.items())
    return (
        "A flow is END -> END via EXECUTOR, KEY=VALUE, ...; a set is flows with | between them.",
        f"ends: {_END_HELP}",
        f"executors: {_EXECUTOR_HELP}; where none is told, the ends choose",
        f"keys: {keys}",
    )


class _Parser:
    """Reads one flow; `column` is where its text begins in the whole set."""

    def __init__(self, text: str, column: int) -> None:
        self.text = text
        self.column = column

    def flow(self) -> Flow:
        head, *options = self._pieces()
        text, offset = head
        arrow = _ARROW.search(text)
        if arrow is None:
            raise self._error(offset, text, 'a flow such as "host:0 -> gpu:0 via ce"')
        via = _VIA.search(text, arrow.end())
        end = len(text) if via is None else via.start()
        source = self._end(text[: arrow.start()], offset)
        destination = self._end(text[arrow.end() : end], offset + arrow.end())
        executor = (
            usual_executor(source, destination)
            if via is None
            else self._executor(text[via.end() :], offset + via.end())
        )
        values: dict[str, Any] = {}
        for option_text, option_offset in options:
            field, value = self._option(option_text, option_offset)
            if field in values:
                raise self._error(option_offset, option_text, "each key only once")
            values[field] = value
        return Flow(source, destination, executor, **values)

    def _pieces(self) -> list[tuple[str, int]]:
        pieces, offset = [], 0
        for piece in self.text.split(","):
            pieces.append((piece, offset))
            offset += len(piece) + 1
        return pieces

    def _end(self, text: str, offset: int) -> End:
        stripped = text.strip()
        prefix = _HOST.match(stripped)
        host = None if prefix is None else int(prefix[1])
        place = stripped if prefix is None else stripped[prefix.end() :]
        if place.startswith("gpu@") and _ADDRESS.fullmatch(place[4:]):
            return End("gpu", place[4:].lower(), host)
        kind, _, name = place.partition(":")
        for known in _INDEXED:
            if kind == known and name.isascii() and name.isdecimal():
                return End(known, str(int(name)), host)
        for known in _NAMED:
            if kind == known and _NAME.fullmatch(name):
                return End(known, name, host)
        raise self._error(offset, text, _END_HELP)

    def _executor(self, text: str, offset: int) -> Executor:
        kind, colon, count = text.strip().partition(":")
        for known in _EXECUTORS:
            if kind == known and not colon:
                return Executor(known)
            is_count = count.isascii() and count.isdecimal() and int(count) > 0
            if kind == known and known in _COUNTED and is_count:
                return Executor(known, int(count))
        raise self._error(offset, text, _EXECUTOR_HELP)

    def _option(self, text: str, offset: int) -> tuple[str, Any]:
        key, equals, value = text.partition("=")
        option = _OPTIONS.get(key.strip())
        if option is None or not equals:
            raise self._error(offset, text, f"one of {', '.join(f'{name}=' for name in _OPTIONS)}")
        try:
            return option.field, option.read(value.strip())
        except InputError as error:
            raise self._error(offset + len(key) + 1, value, option.expected) from error

    def _error(self, offset: int, found: str, expected: str) -> InputError:
        indent = len(found) - len(found.lstrip())
        shown = repr(found.strip()) if found.strip() else "nothing"
        return InputError(
            f"Flow set, column {self.column + offset + indent}: found {shown}; expected {expected}."
        )
