"""What the words in parentheses say of an item: ``gpu(h100 nvlink=18)``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from topoprobe.errors import InputError
from topoprobe.machine.synthetic.grammar import Attribute, Item, mistake
from topoprobe.machine.synthetic.parts import (
    CPUS,
    GPUS,
    NICS,
    NVSWITCHES,
    SWITCHES,
    Chip,
    Cpu,
    GpuPart,
    NicPart,
)
from topoprobe.units import parse_size

_PARTS: dict[str, Mapping[str, Cpu | GpuPart | NicPart | Chip]] = {
    "socket": CPUS,
    "gpu": GPUS,
    "switch": SWITCHES,
    "nic": NICS,
    "nvswitch": NVSWITCHES,
}
_LINK = ("gen", "x")
# By kind: flags and keys as they are written; `size` and `rate` stand for a bare figure.
_ALLOWED: dict[str, tuple[str, ...]] = {
    "socket": ("cores", "threads", "gen"),
    "numa": ("size", "index"),
    "root": (),
    "switch": _LINK,
    "gpu": ("size", "bar", *_LINK, "nvlink", "fabric", "clique", "xgmi", "c2c", "numa"),
    "nic": ("rate", "ports", "eth", *_LINK),
    "nvme": ("size", *_LINK),
    "nvswitch": _LINK,
}
_SPELLED = {
    "size": "a size as 80gb", "rate": "a rate as 400gb", "gen": "genN", "x": "xN",
    "fabric": "fabric", "eth": "eth", "bar": "bar=SIZE",
}  # fmt: skip
_LIMITS = {
    "gen": range(1, 8), "x": (1, 2, 4, 8, 12, 16, 32), "cores": range(1, 1025),
    "threads": range(1, 9), "index": range(1024), "numa": range(1024), "ports": range(1, 9),
    "xgmi": range(1, 1001), "c2c": range(1, 101), "clique": range(1 << 16),
}  # fmt: skip
_SIZE = re.compile(r"[0-9]+(\.[0-9]+)?[kmgt]i?b")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)gb")
_MAX_BYTES = 1 << 60
_MAX_LINKS = 1000


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of an item; None where its text says nothing.

    `nvlink` has one number, or one per NVSwitch.
    """

    cpu: Cpu | None = None
    gpu: GpuPart | None = None
    nic: NicPart | None = None
    chip: Chip | None = None
    size: int | None = None
    rate: float | None = None
    bar: int | None = None
    gen: int | None = None
    x: int | None = None
    cores: int | None = None
    threads: int | None = None
    index: int | None = None
    numa: int | None = None
    ports: int | None = None
    nvlink: tuple[int, ...] = ()
    xgmi: int | None = None
    c2c: int | None = None
    clique: int | None = None
    fabric: bool = False
    eth: bool = False

    @property
    def part(self) -> GpuPart | NicPart | Chip | None:
        """The part that says what stands on the PCI bus."""
        return self.gpu or self.nic or self.chip


def traits_of(item: Item) -> Traits:
    """Read an item's attributes.

    Raises
    ------
    InputError
        If one is unknown for this kind, is out of range, or is told twice.
    """
    told: dict[str, Any] = {}
    for attribute in item.attributes:
        name, value = _read(item.kind, attribute)
        if name in told:
            raise mistake(attribute.position, f"a second {name} ({attribute.text!r})", "one")
        told[name] = value
    return Traits(**told)


def _read(kind: str, attribute: Attribute) -> tuple[str, Any]:
    word, allowed = attribute.text, _ALLOWED[kind]
    part = _PARTS.get(kind, {}).get(word)
    if part is not None:
        return {Cpu: "cpu", GpuPart: "gpu", NicPart: "nic", Chip: "chip"}[type(part)], part
    if word in {"fabric", "eth"} and word in allowed:
        return word, True
    if "size" in allowed and _SIZE.fullmatch(word):
        return "size", _size(attribute, word)
    rate = _RATE.fullmatch(word)
    if "rate" in allowed and rate is not None and 0 < float(rate[1]) <= 3200:
        return "rate", float(rate[1]) * 1e9
    match = re.fullmatch(r"(?:(gen|x)([0-9]{1,2})|([a-z0-9]+)=(\S+))", word)
    key, value = (match[1] or match[3], match[2] or match[4]) if match else ("", "")
    is_known = key in allowed and (key in _LIMITS or key in {"bar", "nvlink"})
    if match is None or not is_known or (key in _LINK) is (match[1] is None):
        raise mistake(attribute.position, repr(word), _expected(kind))
    if key == "bar":
        return key, _size(attribute, value)
    if key == "nvlink":
        return key, _counts(attribute, value)
    return key, _number(attribute, key, value)


def _size(attribute: Attribute, text: str) -> int:
    try:
        size = parse_size(text)
    except InputError:
        size = 0
    if not 0 < size <= _MAX_BYTES:
        raise mistake(attribute.position, repr(attribute.text), "a size such as 80gb or 256gib")
    return size


def _counts(attribute: Attribute, text: str) -> tuple[int, ...]:
    parts = text.split("+")
    if not all(re.fullmatch("[0-9]{1,4}", part) and 0 < int(part) <= _MAX_LINKS for part in parts):
        expected = f"a number of links from 1 to {_MAX_LINKS}, or several with + between"
        raise mistake(attribute.position, repr(attribute.text), expected)
    return tuple(int(part) for part in parts)


def _number(attribute: Attribute, key: str, text: str) -> int:
    limits = _LIMITS[key]
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) not in limits:
        expected = (
            f"a number from {limits[0]} to {limits[-1]}"
            if isinstance(limits, range)
            else f"one of {', '.join(map(str, limits))}"
        )
        raise mistake(attribute.position, repr(attribute.text), expected)
    return int(text)


def _expected(kind: str) -> str:
    words = [*_PARTS.get(kind, ()), *(_SPELLED.get(name, f"{name}=N") for name in _ALLOWED[kind])]
    return f"{', '.join(words)} (the attributes of a {kind})" if words else f"none at a {kind}"
