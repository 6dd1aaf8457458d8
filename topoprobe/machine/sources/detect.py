"""Telling the format of a recording from its content; names and suffixes do not count."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import IO, BinaryIO, Literal, cast

from topoprobe.errors import InputError

Format = Literal["nccl-xml", "hwloc-xml", "document"]

_MAX_UNPACKED = 64 << 20
# The first element after declarations, comments and blank lines.
_ROOT_TAG = re.compile(rb"<([A-Za-z_][\w.-]*)")
_NOT_AN_ELEMENT = re.compile(rb"<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>", re.DOTALL)
_READABLE = "NCCL topology XML, hwloc XML, or a machine document of topoprobe"


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
            plain = opened.read(_MAX_UNPACKED + 1)
    except Exception as error:  # each of the three has errors of its own
        raise InputError(f"{name} is compressed and damaged: {error}.") from error
    if len(plain) > _MAX_UNPACKED:
        raise InputError(f"{name} unpacks to more than {_MAX_UNPACKED} bytes; it is not read.")
    return plain


def detect(data: bytes, name: str) -> Format:
    """Tell the format of a recording.

    Raises
    ------
    InputError
        If it is empty, or of no format that can be read; a known one is named.
    """
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        raise InputError(f"{name} is empty; expected {_READABLE}.")
    if start.startswith(b"{"):
        return "document"
    if start.startswith(b"<"):
        match = _ROOT_TAG.search(_NOT_AN_ELEMENT.sub(b"", start))
        tag = match[1].decode() if match else ""
        if tag == "system":
            return "nccl-xml"
        if tag == "topology":
            return "hwloc-xml"
        if tag == "nvidia_smi_log":
            raise InputError(
                f"{name} is the output of `nvidia-smi -q -x`, which is not read; record the "
                "machine with `lstopo machine.xml` or NCCL_TOPO_DUMP_FILE."
            )
        raise InputError(f"{name} is XML with the root <{tag}>; expected {_READABLE}.")
    if data[257:262] == b"ustar":
        raise InputError(f"{name} is a tar archive, which is not read; expected {_READABLE}.")
    raise InputError(f"{name} is of an unknown format; expected {_READABLE}.")


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
