"""Replacing what identifies a machine: names, serial numbers, UUIDs, network addresses.

Equal values get equal substitutes, so that what belonged together still does. What a value is gets
told by the file it is in, or by its form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from topoprobe.machine.sources.capture.recorder import Tree

HOST_NAME, SERIAL, UUID, MAC, GUID, IDENTIFIER, OPTION, MOUNT = (
    "host name", "serial number", "UUID", "MAC address", "GUID", "identifier", "boot option",
    "mount",
)  # fmt: skip

_HOST_NAME_FILES = ("hostname", "nodename")
# Files that hold one identity and nothing else, by their names.
_IDENTITIES = {
    "product_serial", "board_serial", "chassis_serial", "product_uuid", "board_asset_tag",
    "chassis_asset_tag", "serial", "serial_number", "wwid", "nguid", "eui", "unique_id", "uuid",
}  # fmt: skip
_SERIAL_CALLS = {"nvmlDeviceGetSerial"}
_CLUSTER = "clusterUuid"

_HEX = "[0-9a-fA-F]"
_FORMS = (
    (
        UUID,
        re.compile(rf"\b{_HEX}{{8}}(?:([-_]){_HEX}{{4}})(?:\1{_HEX}{{4}}){{2}}\1{_HEX}{{12}}\b"),
    ),
    (MAC, re.compile(rf"(?<![\w:])(?:{_HEX}{{2}}:){{5,}}{_HEX}{{2}}(?![\w:])")),
    (MAC, re.compile(rf"(?<=enx){_HEX}{{12}}\b")),  # systemd's names of interfaces
    (GUID, re.compile(rf"(?<!\w){_HEX}{{4}}(?::{_HEX}{{4}}){{3}}(?!\w)")),
    (IDENTIFIER, re.compile(rf"\b{_HEX}{{32,}}\b")),
    (IDENTIFIER, re.compile(r"(?<=^unique_id )\d+|(?<=^hive_id )\d+", re.MULTILINE)),
    (SERIAL, re.compile(r"(?<=^Serial\t\t: )\S+", re.MULTILINE)),  # of small Arm boards
)
_EVERYONES = {"fe80:0000:0000:0000"}  # the front half of each local InfiniBand address
_OPTIONS, _MOUNTS = "proc/cmdline", "proc/self/mountinfo"
# Boot options whose values say how devices, memory and CPUs are set up, and nothing of the owner.
_KEPT_OPTIONS = re.compile(
    r"iommu|pci|acs|numa|memory|^mem|huge|cpu|nohz|rcu|idle|pstate|cstate|mitigations|nvidia|"
    r"amdgpu|nouveau|vfio|kvm|smt|swiotlb|^efi$|thp"
)
_OPTION = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_MIN_SERIAL = 6  # shorter ones occur in too many other places by chance
# Where a PCI Express function keeps its serial number, which NICs make of their MAC [pcie-base].
_EXTENDED, _SERIAL_CAPABILITY = 0x100, 0x0003


class Blanker:
    """Gives each identity its substitute, the same one every time.

    Attributes
    ----------
    counts : mapping
        How many different values of each kind were replaced.
    """

    def __init__(self) -> None:
        self._substitutes: dict[tuple[str, str], str] = {}
        self._told: dict[str, str] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """How many different values of each kind were replaced."""
        kinds = [kind for kind, _ in self._substitutes]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}

    def tree(self, tree: Tree) -> Tree:
        """Replace what identifies the machine in contents, paths and link targets."""
        self._note_whole_values(tree)
        return Tree(
            files={
                self.text(path): self._content(path, tree.files[path])
                for path in sorted(tree.files)
            },
            folders={self.text(path) for path in sorted(tree.folders)},
            links={self.text(path): self.text(tree.links[path]) for path in sorted(tree.links)},
        )

    def calls(self, data: bytes) -> bytes:
        """Replace the same in recorded answers of NVML."""
        recording = msgspec.json.decode(data)
        for call in recording["calls"]:
            if call["function"] in _SERIAL_CALLS and isinstance(call.get("value"), str):
                self._note_serial(call["value"])
        return msgspec.json.encode(self._plain(recording))

    def text(self, text: str) -> str:
        """Replace every identity in a text that is known, or known by its form."""
        for kind, form in _FORMS:
            text = form.sub(self._by_form(kind), text)
        for value, substitute in self._told.items():
            if value in text:
                text = re.sub(rf"(?<![\w-]){re.escape(value)}(?![\w-])", substitute, text)
        return text

    def _by_form(self, kind: str) -> Callable[[re.Match[str]], str]:
        return lambda match: self._substitute(kind, match[0])

    def _note_whole_values(self, tree: Tree) -> None:
        """Learn the values of files that hold one identity, to find them elsewhere too."""
        words = set(_words(tree))
        for path in sorted(tree.files):
            name = path.rpartition("/")[2]
            text = tree.files[path].decode("utf-8", "replace").strip("\0 \n")
            if name in _HOST_NAME_FILES:
                for part in dict.fromkeys((text, text.partition(".")[0])):
                    # A host called nvidia must not rename the driver.
                    if part not in words and (len(part) > 3 or not part.isalpha()):
                        self._told[part] = self._substitute(HOST_NAME, part)
            elif name in _IDENTITIES and not any(form.search(text) for _, form in _FORMS):
                self._note_serial(text)

    def _note_serial(self, value: str) -> None:
        if len(value) >= _MIN_SERIAL:
            self._told[value] = self._substitute(SERIAL, value)

    def _content(self, path: str, data: bytes) -> bytes:
        name = path.rpartition("/")[2]
        if name == "config":
            return without_serial_number(data)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return data
        end = text[len(text.rstrip("\0 \n")) :]
        if path == _OPTIONS:
            text = self._options(text.strip()) + end
        elif path == _MOUNTS:
            text = self._mounts(text)
        elif name in _HOST_NAME_FILES:
            text = self._substitute(HOST_NAME, text.strip()) + end
        elif name in _IDENTITIES and text.strip() and self.text(text) == text:
            text = self._substitute(SERIAL, text.strip("\0 \n")) + end
        return self.text(text).encode()

    def _options(self, text: str) -> str:
        """Keep the names of boot options, and the values of those that say nothing of the owner."""
        kept = []
        own, _, _ = f"{text} ".partition(" -- ")  # what follows is for the first process
        for option in _OPTION.findall(own):
            name, has_value, value = option.partition("=")
            if has_value and value and not _KEPT_OPTIONS.search(name):
                self._substitute(OPTION, option)
                option = f"{name}=blanked"
            kept.append(option)
        return " ".join(kept)

    def _mounts(self, text: str) -> str:
        """Keep what is mounted at the root; other mounts name people, servers and projects."""
        kept = []
        for line in text.splitlines():
            words, _, rest = line.partition(" - ")
            mount, system = words.split(), rest.split()
            if len(mount) < 5 or len(system) < 2 or mount[4] != "/":
                self._substitute(MOUNT, line)
                continue
            mount[3] = "/" if mount[3] == "/" else "/blanked"
            device = "/dev/blanked" if system[1].startswith("/dev/") else "blanked"
            kept.append(f"{' '.join(mount[:6])} - {system[0]} {device} rw\n")
        return "".join(kept)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._plain(one) for one in value]
        if isinstance(value, dict):
            return {
                key: self._cluster(one) if key == _CLUSTER else self._plain(one)
                for key, one in value.items()
            }
        return value

    def _cluster(self, value: Any) -> Any:
        """Replace a UUID that is given as numbers; all zeros mean that there is none."""
        if not isinstance(value, list) or not any(value):
            return value
        return list(bytes.fromhex(self._substitute(UUID, bytes(value).hex())))

    def _substitute(self, kind: str, value: str) -> str:
        if value in _EVERYONES or not value.strip("0fF:-_. \n"):
            return value  # all zeros or all ones identify nothing
        key = kind, value.lower()
        if key not in self._substitutes:
            number = 1 + sum(1 for other, _ in self._substitutes if other == kind)
            self._substitutes[key] = _made_up(kind, value, number)
        return self._substitutes[key]


def without_serial_number(config: bytes) -> bytes:
    """Return a PCI configuration space with zeros for the device's serial number."""
    at, blank = _EXTENDED, bytearray(config)
    for _ in range(len(config) // 8):  # a broken list may be a circle
        if at < _EXTENDED or at + 12 > len(config):
            break
        header = int.from_bytes(config[at : at + 4], "little")
        if header & 0xFFFF == _SERIAL_CAPABILITY:
            blank[at + 4 : at + 12] = bytes(8)
        at = header >> 20 & 0xFFC
    return bytes(blank)


def _made_up(kind: str, value: str, number: int) -> str:
    """Write a number in the form of the value it stands for."""
    if kind is HOST_NAME:
        return f"host-{number}"
    if kind is SERIAL:
        return f"blanked-{number}"
    if kind is IDENTIFIER and value.isdecimal():
        return str(number)
    digits = iter(f"{number:0{sum(c.isalnum() for c in value)}{'d' if kind is UUID else 'x'}}")
    return "".join(next(digits) if c.isalnum() else c for c in value)


def _words(tree: Tree) -> Iterator[str]:
    """Yield the names that the kernel gave: of drivers, classes, devices."""
    for path in (*tree.files, *tree.links.values()):
        if not path.startswith(("proc/", "sys/fs/")):
            yield from path.split("/")
