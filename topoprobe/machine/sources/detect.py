"""Telling the format of a recording from its content; names and suffixes do not count.

A new format is one module and one entry here. Text formats offer ``matches(text)`` and
``read(text, name)``, trees of small files ``matches(files)`` and ``read(files, name)``, XML
dialects ``read(data, name)`` for their root element. A text may hold several formats, as a paste
in a bug report does: all are read, XML if it begins near the start.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, cast

from topoprobe.errors import InputError
from topoprobe.machine.facts import Facts
from topoprobe.machine.sources import unread
from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.files.rooted import Below, Inside
from topoprobe.units import format_bytes

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
TREE_FORMATS = ("sysfs", "kfd", "infiniband", "capture.replay")
_MAX_FOLDERS_ABOVE, _MAX_FOLDERS_BESIDE = 8, 64

# What a recording may have unpacked. A text of a large machine has 1 MB, a bug report with several
# 10 MB; an archive of a server with 400 CPUs 100 MB, because each small file takes 1 KiB.
MAX_BYTES = 64 << 20
MAX_TEXT_BYTES = 16 << 20
MAX_ARCHIVE_BYTES = 256 << 20
_READABLE = (
    "hwloc, NCCL or RCCL XML, `nvidia-smi topo -m`, `-q -x` or `nvlink -s`, `lspci -vvv`, a copied "
    "/sys tree, or a document of topoprobe"
)
_ELEMENT = re.compile(rb"<([A-Za-z_][\w.-]*)")
# What may stand before the first element, and how each of it ends.
_PROLOGUE = ((b"<!--", b"-->"), (b"<?", b"?>"))
_DOCTYPE = re.compile(rb"<!DOCTYPE[^>\[]*")
# Where XML begins in a copy of a terminal, and how many bytes may stand above it.
_XML = re.compile(rb"^[ \t]*(?=<(?:\?xml|(?:system|topology|nvidia_smi_log)[\s>]))", re.MULTILINE)
_MAX_BYTES_ABOVE = 4096
# Colours and underlines that a terminal's copy still has.
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def unpack(data: bytes, name: str) -> bytes:
    """Undo gzip, xz or bzip2, up to 64 MiB, or 256 MiB of an archive.

    Raises
    ------
    InputError
        If the compressed data is damaged, or there is more of it.
    """
    import io

    opener = _opener(data)
    try:
        with opener(io.BytesIO(data)) if opener else io.BytesIO(data) as opened:
            plain = opened.read(MAX_BYTES + 1)
            if len(plain) > MAX_BYTES and is_archive(plain):
                plain += opened.read(MAX_ARCHIVE_BYTES + 1 - len(plain))
    except Exception as error:  # each of the three has errors of its own
        raise InputError(f"{name} is compressed and damaged: {error}.") from error
    limit = MAX_ARCHIVE_BYTES if is_archive(plain) else MAX_BYTES
    if len(plain) > limit:
        raise InputError(
            f"{name} has more than {format_bytes(limit)} when unpacked; it is not read."
        )
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
    before, xml = _split(start)
    tag = _root_tag(xml)
    if tag in XML_FORMATS:
        xml, behind = _split_behind(xml, tag)
        return [_reader(XML_FORMATS[tag]).read(xml, name), *_read_text(before + behind, name)]
    found = _read_text(data, name)
    if found:
        return found
    tag = _root_tag(start)
    advice = unread.advice(start, tag)
    if advice is not None:
        raise InputError(f"{name} is {advice}.")
    what = f"is XML with the root <{tag}>" if tag else "is of an unknown format"
    raise InputError(f"{name} {what}; expected {_READABLE}.")


def _split(start: bytes) -> tuple[bytes, bytes]:
    """Part the lines of a terminal from the XML that begins below them."""
    begin = None if start.startswith(b"<") else _XML.search(start[:_MAX_BYTES_ABOVE])
    return (b"", start) if begin is None else (start[: begin.end()], start[begin.end() :])


def _split_behind(xml: bytes, tag: str) -> tuple[bytes, bytes]:
    """Part XML from what follows its end; without an end all of it is XML."""
    closing = f"</{tag}>".encode()
    at = xml.rfind(closing)
    end = len(xml) if at < 0 else at + len(closing)
    return xml[:end], xml[end:]


def _read_text(data: bytes, name: str) -> list[Facts]:
    """Read all formats that a text holds; there may be none."""
    if len(data) > MAX_TEXT_BYTES:
        raise InputError(f"{name} has more than {format_bytes(MAX_TEXT_BYTES)}; it is not read.")
    text = plain_text(data)
    if text is None or not text.strip():
        return []
    return [reader.read(text, name) for reader in _readers(TEXT_FORMATS) if reader.matches(text)]


def read_tree(files: Files, name: str) -> list[Facts]:
    """Read a folder or an archive of small files, wherever in it the machine is.

    Raises
    ------
    InputError
        If nothing in it is known, or it holds several machines.
    """
    root = _root_of_system(files, name) or files
    found = [reader for reader in _readers(TREE_FORMATS) if reader.matches(root)]
    if found:
        return [reader.read(root, name) for reader in found]
    raise InputError(
        f"{name} holds none of the files that are known: sys/bus/pci/devices (a copy of /sys "
        "and /proc), nodes/*/properties (KFD), or */ports/* (class infiniband)."
    )


def _root_of_system(files: Files, name: str) -> Files | None:
    """Find the folder that holds ``sys`` and ``proc``: the other readers find theirs themselves."""
    system = _reader("sysfs")
    for candidates in _possible_roots(files):
        found = {called: root for called, root in candidates.items() if system.matches(root)}
        if len(found) > 1:
            raise InputError(f"{name} holds several machines ({', '.join(found)}); give one.")
        if found:
            return next(iter(found.values()))
    return None


def _possible_roots(files: Files) -> Iterator[dict[str, Files]]:
    """Yield where the copy of a system may start, likeliest first.

    The root is as on the machine, or is `/sys` alone, or is in a folder of it, as tar packs them.
    """
    yield {"": files}
    yield {"": Inside(files, "sys")}
    for _ in range(_MAX_FOLDERS_ABOVE):
        names = [name for name in files.names("") if files.names(name)]
        if not names or len(names) > _MAX_FOLDERS_BESIDE:
            return
        yield {name: Below(files, name) for name in names}
        if len(names) > 1:
            return
        files = Below(files, names[0])


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


def _root_tag(start: bytes) -> str:
    """Return the first element's tag, after comments and declarations; empty if it is no XML."""
    at = 0
    while start.startswith(b"<", at):
        element = _ELEMENT.match(start, at)
        if element:
            return element[1].decode("utf-8", "replace")
        at = _end_of_prologue(start, at)
        while at < len(start) and start[at] in b" \t\r\n":
            at += 1
    return ""


def _end_of_prologue(start: bytes, at: int) -> int:
    """Return where the comment or declaration at a place ends; the end of all if it does not."""
    doctype = _DOCTYPE.match(start, at)
    if doctype:
        is_long = start.startswith(b"[", doctype.end())
        at, closing = doctype.end(), b"]>" if is_long else b">"
    else:
        closing = next((end for begin, end in _PROLOGUE if start.startswith(begin, at)), b"")
    found = start.find(closing, at) if closing else -1
    return len(start) if found < 0 else found + len(closing)


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
