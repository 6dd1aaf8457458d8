"""Fuzz the readers of recordings: anything but a document or one sentence is a finding.

Needs atheris (``pip install atheris``) and recordings to start from::

    python benchmarks/fuzz_readers.py xml ~/shared/topologies/hwloc-xml/*.xml -max_total_time=120
    python benchmarks/fuzz_readers.py text ~/shared/topologies/nvidia-smi-topo/*.txt
    python benchmarks/fuzz_readers.py tree ~/shared/topologies/kfd/*.tar.xz

What follows the recordings and begins with ``-`` goes to libFuzzer. A finding is kept as a
``crash-*`` file; turn it into a test of the reader before it is mended.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from topoprobe.errors import TopoprobeError  # noqa: E402
from topoprobe.machine.sources.detect import unpack  # noqa: E402
from topoprobe.machine.sources.files import Files  # noqa: E402
from topoprobe.machine.sources.scan import scan_files  # noqa: E402
from topoprobe.records.documents import decode, encode  # noqa: E402

# Files of a tree are joined by lines with their path; the input is such a text.
_FILE_MARK = b"\n== "


class Joined(Files):
    """A tree of small files in one text, so that a fuzzer can change both names and contents."""

    def __init__(self, data: bytes) -> None:
        parts = (part.partition(b"\n") for part in data.split(_FILE_MARK)[1:])
        self._files = {path.decode("utf-8", "replace"): text for path, _, text in parts}

    def data(self, path: str, max_bytes: int = 4096) -> bytes | None:
        """Return the first bytes of a file, or None if there is none."""
        found = self._files.get(path)
        return None if found is None else found[:max_bytes]

    def names(self, path: str) -> list[str]:
        """Return the names in a folder."""
        start = f"{path}/" if path else ""
        below = (p[len(start) :] for p in self._files if p.startswith(start))
        return sorted({name.split("/")[0] for name in below})

    def link(self, path: str) -> str | None:
        """There are no links."""
        return None


def read_one(data: bytes) -> None:
    """Read a recording that is one file."""
    if not data.startswith((b"\x1f\x8b", b"\xfd7z", b"BZh", b"{")):
        _check([("fuzz", data)])


def read_tree(data: bytes) -> None:
    """Read a tree of files."""
    _check([("fuzz", Joined(data))])


def _check(recordings: Any) -> None:
    try:
        document = scan_files(recordings)
    except TopoprobeError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than one line: {error}") from error
        return
    if decode(encode(document)) != document:
        raise AssertionError("the document does not read back as itself")


def _joined(path: Path) -> bytes:
    """Return the files of an archive as one text."""
    import io
    import tarfile

    text = b""
    with tarfile.open(fileobj=io.BytesIO(unpack(path.read_bytes(), path.name))) as archive:
        for member in archive:
            opened = archive.extractfile(member) if member.isfile() else None
            if opened is not None and member.size < 2000:
                text += _FILE_MARK + member.name.encode() + b"\n" + opened.read()
    return text


KINDS: dict[str, Callable[[bytes], None]] = {"xml": read_one, "text": read_one, "tree": read_tree}


def main() -> None:
    """Fuzz until stopped, or as long as libFuzzer is told."""
    try:
        import atheris
    except ImportError:
        sys.exit("fuzz_readers: atheris is not installed; try `pip install atheris`.")
    kind, *rest = sys.argv[1:] or ["?"]
    if kind not in KINDS:
        sys.exit(f"fuzz_readers: {kind!r} is no kind of recording; expected {', '.join(KINDS)}.")
    recordings = [Path(word) for word in rest if not word.startswith("-")]
    corpus = Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
    for path in recordings:
        if kind == "tree":
            (corpus / path.name).write_bytes(_joined(path))
        else:
            shutil.copy(path, corpus)
    options = [word for word in rest if word.startswith("-")]
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], str(corpus), *options], KINDS[kind])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
