"""What every tree of small files can be asked."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator

# With more digits it is damage: nothing that Linux counts has as many.
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")


class Files(ABC):
    """The files below one root; paths are relative to it, as ``sys/bus/pci/devices``."""

    @abstractmethod
    def data(self, path: str, max_bytes: int = 4096) -> bytes | None:
        """Return the first bytes of a file, or None if it cannot be read."""

    @abstractmethod
    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder; none if there is no such folder."""

    @abstractmethod
    def link(self, path: str) -> str | None:
        """Return where a symbolic link points, as written in it, or None if it is no link."""

    def text(self, path: str, max_bytes: int = 4096) -> str | None:
        """Return the first bytes of a file as stripped text, or None if it cannot be read."""
        data = self.data(path, max_bytes)
        # tar pads what shrinks while it is packed, as every file of /sys does, with zeros.
        return None if data is None else data.rstrip(b"\0").decode("utf-8", "replace").strip()

    def number(self, path: str) -> int | None:
        """Return a decimal integer, or None."""
        return whole_number(self.text(path))

    def numbered(self, path: str, prefix: str) -> Iterator[tuple[int, str]]:
        """Yield the number and path of each entry such as ``node0``, in order of the number."""
        found = []
        for name in self.names(path):
            number = name.removeprefix(prefix)
            if name.startswith(prefix) and number.isdecimal():
                found.append((int(number), f"{path}/{name}"))
        yield from sorted(found)


def whole_number(text: str | None) -> int | None:
    """Read a decimal integer as Linux writes it; anything else is None."""
    return int(text) if text is not None and _WHOLE.fullmatch(text) else None
