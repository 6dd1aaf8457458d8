"""Telling the format of a recording from its content; names and suffixes do not count.

A new format is one module and one entry here. Text formats offer ``matches(text)`` and
``read(text, name)``, trees of small files ``matches(files)`` and ``read(files, name)``, XML
dialects ``read(data, name)`` for their root element. A text may hold several formats, as a paste
in a bug report does: all are read.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, cast

from topoprobe.errors import InputError
from topoprobe.machine.facts import Facts
from topoprobe.machine.sources.files import Files

XML_FORMATS = {
    "system": "nccl_xml",
    "topology": "hwloc_xml",
    "nvidia_smi_log": "nvidia_smi.query",
}
TEXT_FORMATS = (
    "nvidia_smi.topology",
    "nvidia_smi.peers",
    "nvidia_smi.nvlink",
    "lspci.verbose",
    "lspci.listing",
    "lspci.tree",
)
TREE_FORMATS = ("sysfs", "kfd", "infiniband")

MAX_BYTES = 64 << 20
_READABLE = (
    "hwloc, NCCL or RCCL XML, `nvidia-smi topo -m`, `-q -x` or `nvlink -s`, `lspci -vvv`, a copied "
    "/sys tree, or a document of topoprobe"
)
# The first element after declarations, comments and blank lines.
_ROOT_TAG = re.compile(rb"<([A-Za-z_][\w.-]*)")
_NOT_AN_ELEMENT = re.compile(rb"<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>", re.DOTALL)
# Colours and underlines that a terminal's copy still has.
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def unpack(data: bytes, name: str) -> bytes:
    """Undo gzip, xz or bzip2, up to 64 MiB.

    Raises
    ------
    InputError
        If the compressed data is damaged, or bigger than that.
    """
    import io

    opener = _opener(data)
    if opener is None:
        return data
    try:
        with opener(io.BytesIO(data)) as opened:
            plain = opened.read(MAX_BYTES + 1)
    except Exception as error:  # each of the three has errors of its own
        raise InputError(f"{name} is compressed and damaged: {error}.") from error
    if len(plain) > MAX_BYTES:
        raise InputError(f"{name} unpacks to more than {MAX_BYTES} bytes; it is not read.")
    return plain


def is_document(data: bytes) -> bool:
    """Tell whether this is JSON, which only topoprobe's own documents are."""
    return _start(data).startswith(b"{")


def is_archive(data: bytes) -> bool:
    """Tell whether this is a tar archive."""
    return data[257:262] == b"ustar"


def read_file(data: bytes, name: str) -> list[Facts]:
    """Read a recording that is one file: XML, or text in one or several formats.

    Parameters
    ----------
    data : bytes
        Unpacked.
    name : str
        How error messages and facts call it.

    Raises
    ------
    InputError
        If it is empty, damaged, or of no format that can be read.
    """
    start = _start(data)
    if not start:
        raise InputError(f"{name} is empty; expected {_READABLE}.")
    if start.startswith(b"<"):
        match = _ROOT_TAG.search(_NOT_AN_ELEMENT.sub(b"", start))
        tag = match[1].decode() if match else ""
        if tag in XML_FORMATS:
            return [_reader(XML_FORMATS[tag]).read(data, name)]
        raise InputError(f"{name} is XML with the root <{tag}>; expected {_READABLE}.")
    text = plain_text(data)
    found = [] if text is None else [r for r in _readers(TEXT_FORMATS) if r.matches(text)]
    if not found:
        raise InputError(f"{name} is of an unknown format; expected {_READABLE}.")
    return [reader.read(text, name) for reader in found]


def read_tree(files: Files, name: str) -> list[Facts]:
    """Read a folder or an archive of small files.

    Raises
    ------
    InputError
        If nothing in it is known.
    """
    found = [reader for reader in _readers(TREE_FORMATS) if reader.matches(files)]
    if not found:
        raise InputError(
            f"{name} holds none of the files that are known: sys/bus/pci/devices (a copy of /sys "
            "and /proc), nodes/*/properties (KFD), or */ports/* (class infiniband)."
        )
    return [reader.read(files, name) for reader in found]


def plain_text(data: bytes) -> str | None:
    """Return data as text without terminal escapes and carriage returns; None if it is binary."""
    if b"\0" in data[:4096]:
        return None
    text = data.decode("utf-8-sig", "replace")
    return _ESCAPE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def _readers(names: tuple[str, ...]) -> Iterator[Any]:
    return map(_reader, names)


def _reader(name: str) -> Any:
    return importlib.import_module(f"topoprobe.machine.sources.{name}")


def _start(data: bytes) -> bytes:
    return data.lstrip(b"\xef\xbb\xbf \t\r\n")


def _opener(data: bytes) -> Callable[[BinaryIO], IO[bytes]] | None:
    """Return what opens the compression that the first bytes tell, or None if there is none."""
    if data.startswith(b"\x1f\x8b"):
        import gzip

        return lambda file: cast("IO[bytes]", gzip.open(file))
    if data.startswith(b"\xfd7zXZ\x00"):
        import lzma

        return lambda file: cast("IO[bytes]", lzma.open(file))
    if data.startswith(b"BZh"):
        import bz2

        return lambda file: cast("IO[bytes]", bz2.open(file))
    return None
