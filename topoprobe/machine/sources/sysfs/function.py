"""One PCI function: its folder in `/sys` as a fact, with reasons for what it does not tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from topoprobe.machine.addresses import (
    device_of,
    normal_address,
    parse_cpu_list,
    parse_cpu_mask,
)
from topoprobe.machine.config_space import ConfigSpace, read_config_space
from topoprobe.machine.facts import PciFact
from topoprobe.machine.pcie import capability, parse_speed, parse_width
from topoprobe.machine.sources.files import Files, whole_number
from topoprobe.records.base import Missing
from topoprobe.records.machine import Capability

# Classes whose extended capabilities matter: network, display, memory, bridge, accelerators. A live
# configuration space is asked of the device four bytes at a time, about 1 us each.
_WITH_EXTENDED = ("02", "03", "05", "06", "0b40", "12")
_WHOLE_BYTES, _PLAIN_BYTES = 4096, 256
_POWER_STATES = {"D0", "D1", "D2", "D3hot", "D3cold"}
_ASLEEP = {"D3hot", "D3cold"}
# A dead device reads all zeros or all ones.
_NO_ID = {"0000", "ffff"}
_WINDOW = re.compile(r"0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16})")
_NUM_BARS, _IS_MEMORY = 6, 0x200  # lines of `resource` that are its own; flag of a memory window


class Function(NamedTuple):
    """What the folder of a function tells, and the configuration space that was read for it."""

    fact: PciFact
    config: ConfigSpace
    unknown: tuple[Missing, ...]


def read(files: Files, path: str, address: str, slots: Mapping[str, str]) -> Function:
    """Read a function.

    Parameters
    ----------
    files : Files
        Where to read.
    path : str
        Its folder.
    address : str
        Its PCI address.
    slots : mapping
        Names of slots by what is in them: a device, or all of a bus.
    """
    folder = _Folder(files, path)
    class_code, config = folder.hexadecimal("class"), folder.config()
    fact = PciFact(
        address=address,
        class_code=class_code,
        vendor=folder.identity("vendor"),
        device=folder.identity("device"),
        role=config.role if (class_code or "").startswith("0604") else None,
        maximum=_better(folder.link("max"), config.maximum),
        current=None if folder.is_asleep else _better(folder.link("current"), config.current),
        numa_index=_index(folder.text("numa_node")),
        cpus=folder.cpus(),
        driver=folder.target("driver"),
        physical_function=normal_address(folder.target("physfn") or ""),
        power_state=folder.power_state or config.power_state,
        slot=slots.get(device_of(address), slots.get(address.rpartition(":")[0])),
        iommu_group=_index(folder.target("iommu_group")),
        access_control=config.access_control.enabled if config.access_control else None,
        max_payload_bytes=config.max_payload_bytes,
        max_read_request_bytes=config.max_read_request_bytes,
        bar_bytes=max(folder.windows(), default=None),
        max_bar_bytes=max(
            (size for bar in config.resizable_bars for size in bar.supported_bytes), default=None
        ),
    )
    return Function(fact, config, tuple(_unknown(folder, fact, config)))


class _Folder:
    """The files of one function, each read once."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path
        self._texts: dict[str, str | None] = {}

    def text(self, name: str) -> str | None:
        if name not in self._texts:
            self._texts[name] = self._files.text(f"{self._path}/{name}")
        return self._texts[name]

    def target(self, name: str) -> str | None:
        """Return the last name of what a link points to."""
        link = self._files.link(f"{self._path}/{name}")
        return link.rstrip("/").rpartition("/")[2] if link else None

    def hexadecimal(self, name: str) -> str | None:
        return (self.text(name) or "").lower().removeprefix("0x") or None

    def identity(self, name: str) -> str | None:
        told = self.hexadecimal(name)
        return None if told in _NO_ID else told

    @property
    def power_state(self) -> str | None:
        state = self.text("power_state")
        return state if state in _POWER_STATES else None

    @property
    def is_asleep(self) -> bool:
        return self.power_state in _ASLEEP

    def config(self) -> ConfigSpace:
        # To read it would wake the device; and what virtual functions show is mostly made up.
        if self.is_asleep or self.target("physfn"):
            return ConfigSpace()
        is_wanted = (self.hexadecimal("class") or "").startswith(_WITH_EXTENDED)
        limit = _WHOLE_BYTES if is_wanted else _PLAIN_BYTES
        data = self._files.data(f"{self._path}/config", limit)
        return read_config_space(data or b"") or ConfigSpace()

    def link(self, which: str) -> Capability | None:
        speed, width = self.text(f"{which}_link_speed"), self.text(f"{which}_link_width")
        return None if speed is None else capability(parse_speed(speed), parse_width(width or ""))

    def cpus(self) -> tuple[int, ...]:
        listed = self.text("local_cpulist")
        return (
            parse_cpu_mask(self.text("local_cpus") or "")
            if listed is None
            else parse_cpu_list(listed)
        )

    def windows(self) -> Iterator[int]:
        """Yield the sizes of its memory windows; those of virtual functions come later."""
        for line in (self.text("resource") or "").splitlines()[:_NUM_BARS]:
            match = _WINDOW.fullmatch(line.strip())
            if match is None:
                return
            start, end, flags = (int(word, 16) for word in match.groups())
            if flags & _IS_MEMORY and end > start:
                yield end - start + 1


def _unknown(folder: _Folder, fact: PciFact, config: ConfigSpace) -> Iterator[Missing]:
    """Say why something is unknown."""
    if fact.numa_index is None:
        numa = folder.text("numa_node")
        reason = (
            "sysfs has no numa_node for it."
            if numa is None
            else f"sysfs says numa_node {numa}: firmware or hypervisor does not tell it."
        )
        yield Missing(subject=fact.address, fact="numa_index", reason=reason)
    if config.is_gone:
        reason = "It answers with all ones: it fell off the bus, or sleeps without power (D3cold)."
        yield Missing(subject=fact.address, fact="config", reason=reason)
    elif config.is_blank:
        reason = "Its configuration space reads as zeros: it was not let be read."
        yield Missing(subject=fact.address, fact="config", reason=reason)
    elif folder.hexadecimal("vendor") in _NO_ID:
        reason = "Its ids read all zeros or all ones: it did not answer."
        yield Missing(subject=fact.address, fact="pci_vendor", reason=reason)
    if folder.is_asleep:
        reason = f"It sleeps ({fact.power_state}), where a link tells nothing."
        yield Missing(subject=fact.address, fact="current", reason=reason)
    if fact.maximum is None or fact.maximum.bandwidth_bytes_per_s is None:
        reason = _why_no_maximum(folder, fact)
        yield Missing(subject=fact.address, fact="maximum", reason=reason)


def _why_no_maximum(folder: _Folder, fact: PciFact) -> str:
    if fact.physical_function is not None:
        return "A virtual function has no link of its own."
    speed, width = folder.text("max_link_speed"), folder.text("max_link_width")
    if speed is not None:
        return f"sysfs says max_link_speed {speed!r}, max_link_width {width!r}."
    if folder.text("current_link_speed") is not None:
        return (
            "sysfs has no max_link_speed for it, and of its configuration space less was readable "
            "than the PCI Express capability."
        )
    return (
        "It has no PCI Express capability, or the kernel is older than 4.13 (sysfs has no "
        "max_link_speed)."
    )


def _better(told: Capability | None, config: Capability | None) -> Capability | None:
    """Return what the kernel tells, or the configuration space where it does not tell all."""
    is_whole = told is not None and told.bandwidth_bytes_per_s is not None
    return told if is_whole or config is None else config


def _index(text: str | None) -> int | None:
    """Return a number that counts from 0; -1 means unknown."""
    number = whole_number(text)
    return None if number is None or number < 0 else number
