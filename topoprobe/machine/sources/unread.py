"""Formats that are known and not read, each with what to record instead.

They are drawn or printed for people: what a reader needs is left out of them.
"""

from __future__ import annotations

import re

# Only so much of a file is looked at.
_BEGINNING = 1 << 16

_AS_XML = "record it as XML (`lstopo machine.xml`) and give that"
_ON_THE_MACHINE = "run `topoprobe scan --capture machine.tar.gz` there and give that"
_QUERY = "record `nvidia-smi -q -x` (and `nvidia-smi topo -m`) and give those"
_UNPACK = "unpack it and give the folder or the files in it"

_BINARIES = (
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"7z\xbc\xaf", "a 7-Zip archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "decompress it (`zstd -d`)"),
    (b"\x89PNG", "a picture", _AS_XML),
    (b"%PDF", "a PDF", _AS_XML),
)
_ELEMENTS = {
    "svg": ("a picture", _AS_XML),
    "html": ("a web page", "save the recording itself"),
    "graphs": ("NCCL's graph file", "set NCCL_TOPO_DUMP_FILE=topo.xml and give the file it writes"),
    "topologydiff": ("hwloc's difference of two machines", _AS_XML),
    "capabilities": ("what libvirt knows of a host", _ON_THE_MACHINE),
    "list": ("the output of lshw", _ON_THE_MACHINE),
    "node": ("the output of lshw", _ON_THE_MACHINE),
}
_TEXTS = (
    (r"^.*\b(?:Machine|Package|NUMANode|Group0|PU) L#\d|^Machine \(\d", "lstopo's text", _AS_XML),
    (r"^=+NVSMI LOG=+$", "the text of `nvidia-smi -q`", _QUERY),
    (r"^\| NVIDIA-SMI ", "the table of `nvidia-smi`", _QUERY),
    (r"^available: \d+ nodes", "the output of `numactl -H`", _ON_THE_MACHINE),
    (r"^ *CPU op-mode\(s\):", "the output of lscpu", _ON_THE_MACHINE),
    (r"ROCm System Management Interface|^AMD-SMI ", "the text of AMD's management tools",
     "copy /sys/class/kfd/kfd/topology/nodes (`cp -rL`) and give that folder"),
    (r"^# dmidecode |^Handle 0x[0-9A-F]+, DMI type", "the output of dmidecode", _ON_THE_MACHINE),
    (r"^CA '\w+'$", "the output of ibstat", "copy /sys/class/infiniband (`cp -rL`) and give that"),
    (r"\bNCCL (?:INFO|WARN|TRACE) ", "a log of NCCL",
     "set NCCL_TOPO_DUMP_FILE=topo.xml and give the file it writes"),
)  # fmt: skip


def advice(start: bytes, tag: str) -> str | None:
    """Name a format that is not read and say what to do instead; None if it is unknown.

    Parameters
    ----------
    start : bytes
        The file from its first character on.
    tag : str
        Its first element, if it is XML.
    """
    for begin, what, instead in _BINARIES:
        if start.startswith(begin):
            return f"{what}, which is not read; {instead}"
    if tag in _ELEMENTS:
        what, instead = _ELEMENTS[tag]
        return f"{what}, which is not read; {instead}"
    text = start[:_BEGINNING].decode("utf-8", "replace").replace("\r", "")
    for pattern, what, instead in _TEXTS:
        if re.search(pattern, text, re.MULTILINE):
            return f"{what}, which is not read; {instead}"
    return None
