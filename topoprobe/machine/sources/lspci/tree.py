r"""`lspci -t`, `-tv` and `-tvnn`: the bus tree as a drawing.

::

    -+-[0000:80]-+-00.0  Intel Corporation Device 0998
     |           \-01.0-[81-82]--+-00.0  Mellanox Technologies MT2910 Family [ConnectX-7]
     |                           \-00.1  Mellanox Technologies MT2910 Family [ConnectX-7]
     \-[0000:00]---00.0  Intel Corporation Device 0998

The column where a line begins tells which bus it continues. Bridges are told by what hangs below
them, GPUs, NICs and drives by their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from topoprobe.machine.addresses import normal_address
from topoprobe.machine.facts import Facts, PciFact, RootFact
from topoprobe.machine.sources.lspci.functions import once_each
from topoprobe.machine.sources.lspci.guests import host_of
from topoprobe.machine.sources.lspci.names import guess
from topoprobe.machine.sources.lspci.words import product_of
from topoprobe.machine.virtual_functions import with_owners
from topoprobe.records.base import Missing

_BRIDGE = "0604"
_ASCII = str.maketrans("├└┬─━│┃╰╴╶", "+\\+--||\\--")
_ROOT = re.compile(
    r"(?:\A|\n)[ \t|>]*(?:-\+-|[-+\\`]-?)\[(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}\]-[-+]", re.IGNORECASE
)
_LINE = re.compile(r"[ \t|>]*(?=[-+\\`])")
_TOKEN = re.compile(
    r"(?P<branch>[+\\`])|-+|"
    r"\[(?:(?P<domain>[0-9a-f]{4,8}):)?(?P<bus>[0-9a-f]{2})(?:-[0-9a-f]{2})?\]|"
    r"(?P<function>[01][0-9a-f]\.[0-7])(?P<name>\s+\S.*)?",
    re.IGNORECASE,
)


class _Bus(NamedTuple):
    """A bus, and the bridge and the host bridge above it."""

    domain: str
    number: str
    root: str
    parent: str | None


class _Drawing:
    """What a drawing shows, read line by line from the top."""

    def __init__(self) -> None:
        self.functions: list[PciFact] = []
        self.bridges: set[str] = set()
        self.num_unplaced = 0
        self._buses: dict[int, _Bus] = {}

    def read(self, line: str) -> None:
        """Read a line: functions, each on the bus that stands before it or in its column above."""
        margin = _LINE.match(line)
        if margin is None:
            return
        column = margin.end()
        bus = self._buses.get(column)
        self._buses = {c: above for c, above in self._buses.items() if c <= column}
        last: str | None = None
        for token in _tokens(line, column):
            if token["branch"] and bus is not None:
                self._buses[token.start()] = bus
            elif token["domain"]:
                bus = _root_bus(token["domain"], token["bus"])
            elif token["bus"] and not self.functions and not self.num_unplaced:
                # Before domains were drawn, the only root stood first.
                bus = _root_bus("0", token["bus"])
            elif token["bus"]:
                bus = self._bus_below(last, bus, token["bus"])
            elif token["function"] and bus is not None:
                last = self._function(bus, token["function"], token["name"] or "")
            elif token["function"]:
                self.num_unplaced += 1

    def end(self) -> None:
        """Forget the columns: the next line begins another drawing."""
        self._buses = {}

    def _bus_below(self, bridge: str | None, above: _Bus | None, number: str) -> _Bus | None:
        if bridge is None or above is None:
            return None
        self.bridges.add(bridge)
        return _Bus(above.domain, number.lower(), above.root, bridge)

    def _function(self, bus: _Bus, function: str, name: str) -> str | None:
        address = normal_address(f"{bus.domain}:{bus.number}:{function}")
        if address is None:
            return None
        product = product_of(name)
        guessed = guess(product, is_first_function=function.endswith(".0"))
        self.functions.append(
            PciFact(
                address=address,
                root=bus.root,
                parent=bus.parent,
                class_code=guessed.class_code,
                kind=guessed.kind,
                vendor=product.vendor,
                device=product.device,
                name=product.name,
            )
        )
        return address


def matches(text: str) -> bool:
    """Tell whether a text holds such a drawing."""
    is_likely = "]-" in text or "]─" in text
    return is_likely and _ROOT.search(_plain(text)) is not None


def read(text: str, name: str) -> Facts:
    """Read it."""
    drawing = _Drawing()
    for line in _plain(text).split("\n"):
        if line.strip(" \t>"):
            drawing.read(line)
        else:
            drawing.end()
    functions = once_each(
        msgspec.structs.replace(function, class_code=_BRIDGE, kind=None)
        if function.address in drawing.bridges
        else function
        for function in drawing.functions
    )
    return Facts(
        source=f"lspci {name}",
        tree="none" if drawing.num_unplaced else "full",
        host=host_of(functions),
        roots=tuple(RootFact(key=key) for key in sorted({f.root for f in functions if f.root})),
        functions=with_owners(functions, {}),
        unknown=(
            *_unplaced(drawing.num_unplaced),
            *_nameless(functions),
            *(missing for function in functions for missing in _untold(function.address)),
        ),
    )


def _root_bus(domain: str, number: str) -> _Bus:
    domain, number = f"{int(domain, 16):04x}", number.lower()
    return _Bus(domain, number, f"{domain}:{number}", None)


def _plain(text: str) -> str:
    return text if text.isascii() else text.translate(_ASCII)


def _tokens(line: str, column: int) -> Iterator[re.Match[str]]:
    while token := _TOKEN.match(line, column):
        yield token
        column = token.end()


def _unplaced(number: int) -> Iterator[Missing]:
    if number:
        reason = f"Functions drawn below nothing, as lines or blanks were lost: {number}."
        yield Missing(subject="host", fact="functions", reason=reason)


def _nameless(functions: Sequence[PciFact]) -> Iterator[Missing]:
    if not any(function.name or function.device for function in functions):
        reason = "The drawing has no names, so nobody knows what is what; give `lspci -nn` too."
        yield Missing(subject="host", fact="kinds", reason=reason)


def _untold(address: str) -> Iterator[Missing]:
    yield Missing(subject=address, fact="numa_index", reason="lspci -t tells no NUMA nodes.")
    yield Missing(subject=address, fact="maximum", reason="lspci -t tells no links.")
