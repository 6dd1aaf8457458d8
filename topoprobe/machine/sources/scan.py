"""Scanning: the live machine or recordings in, a machine document out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from topoprobe import __version__
from topoprobe.errors import UsageError
from topoprobe.machine.building import build
from topoprobe.machine.facts import Facts
from topoprobe.machine.sources import detect
from topoprobe.machine.sources.files import Files, Folder
from topoprobe.machine.sources.files.archive import Archive
from topoprobe.machine.strangers import why_strangers
from topoprobe.records.base import Tool
from topoprobe.records.documents import decode_as
from topoprobe.records.machine import MachineDocument

if TYPE_CHECKING:
    from topoprobe.machine.sources.nvml.provider import Provider


def scan_live(captured_at: str | None = None, root: Path = Path("/")) -> MachineDocument:
    """Read the machine this runs on.

    Parameters
    ----------
    captured_at : str, optional
        ISO 8601 time to note in the document; the caller has the clock.
    root : Path
        Folder that holds ``sys`` and ``proc``.
    """
    from topoprobe.machine.sources import nvml

    return read_live(Folder(root), nvml.load(), captured_at)


def read_live(
    files: Files, driver: Provider | str, captured_at: str | None = None
) -> MachineDocument:
    """Read a running machine through what answers for it.

    Parameters
    ----------
    files : Files
        The root that holds ``sys`` and ``proc``.
    driver : Provider or str
        NVML, or why there is none.
    captured_at : str, optional
        As for `scan_live`.
    """
    from topoprobe.machine.sources import infiniband, kfd, nvml, sysfs

    sources = [sysfs.read(files)]
    sources += [reader.read(files) for reader in (kfd, infiniband) if reader.matches(files)]
    sources.append(nvml.unavailable(driver) if isinstance(driver, str) else nvml.read(driver))
    return build(sources, origin="live", tool=_tool(), captured_at=captured_at)


def scan_files(recordings: Sequence[tuple[str, bytes | Files]]) -> MachineDocument:
    """Read recordings of one machine; several are joined by PCI address.

    Parameters
    ----------
    recordings : sequence of (str, bytes or Files)
        Name and content of each; the format is told from the content.

    Raises
    ------
    UsageError
        If a machine document of topoprobe is given together with others, or the recordings cannot
        be of one machine.
    InputError
        If a recording is not what it seems to be.
    """
    sources: list[Facts] = []
    for name, content in recordings:
        base = Path(name).name
        if isinstance(content, Files):
            sources += detect.read_tree(content, base)
            continue
        data = detect.unpack(content, name)
        if detect.is_archive(data):
            sources += detect.read_tree(Archive.read(data, name), base)
            continue
        if detect.is_document(data):
            if len(recordings) > 1:
                raise UsageError(f"{name} is a machine document, which is complete; give it alone.")
            return decode_as(data, MachineDocument, name)
        sources += detect.read_file(data, base)
    _refuse_strangers(sources)
    captured_at = next((s.captured_at for s in sources if s.captured_at), None)
    return build(sources, origin="recorded", tool=_tool(), captured_at=captured_at)


def make_up(text: str) -> MachineDocument | None:
    """Build a made-up machine; None if the text is neither a name nor a short text of one.

    Raises
    ------
    InputError
        If it is a short text with a mistake.
    """
    from topoprobe.machine import synthetic

    facts = synthetic.machine_facts(text)
    return None if facts is None else build([facts], origin="synthetic", tool=_tool())


def _refuse_strangers(sources: Sequence[Facts]) -> None:
    reason = why_strangers(sources)
    if reason is not None:
        raise UsageError(f"{reason}, so they are not joined as one machine; scan them one by one.")


def _tool() -> Tool:
    return Tool(tool_version=__version__)
