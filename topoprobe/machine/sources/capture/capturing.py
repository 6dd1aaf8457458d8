"""Reading this machine while keeping all that was read, as an archive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from topoprobe import __version__
from topoprobe.machine.sources import nvml
from topoprobe.machine.sources.capture.blanking import Blanker
from topoprobe.machine.sources.capture.packing import pack
from topoprobe.machine.sources.capture.recorder import Recorder, Tree
from topoprobe.machine.sources.capture.replay import ABOUT, ANSWERS, About
from topoprobe.machine.sources.files import Folder
from topoprobe.machine.sources.nvml.provider import Provider
from topoprobe.machine.sources.nvml.recording import RecordingProvider
from topoprobe.machine.sources.scan import read_live
from topoprobe.records.machine import MachineDocument


class Capture(NamedTuple):
    """A machine as it was read, and what is needed to read it so elsewhere.

    Attributes
    ----------
    document : MachineDocument
        Of the machine, with nothing replaced.
    archive : bytes
        A compressed tar archive.
    num_files : int
        How many files of `/sys` and `/proc` it holds.
    blanked : mapping
        How many different values of each kind were replaced.
    """

    document: MachineDocument
    archive: bytes
    num_files: int
    blanked: Mapping[str, int]


def capture_live(
    captured_at: str | None,
    *,
    top: str,
    keeps_identities: bool,
    root: Path = Path("/"),
    driver: Provider | str | None = None,
) -> Capture:
    """Read the machine this runs on and keep all that was read.

    Parameters
    ----------
    captured_at : str or None
        ISO 8601 time to note; the caller has the clock.
    top : str
        Name of the folder in the archive.
    keeps_identities : bool
        Whether names, serial numbers, UUIDs and network addresses stay as they are.
    root : Path
        Folder that holds ``sys`` and ``proc``.
    driver : Provider or str, optional
        NVML, or why there is none; by default what this machine has.
    """
    files = Recorder(Folder(root))
    driver = nvml.load() if driver is None else driver
    if isinstance(driver, str):
        document = read_live(files, driver, captured_at)
        tree, answers, reason = files.tree, None, driver
    else:
        recorder = RecordingProvider(driver)
        document = read_live(files, recorder, captured_at)
        tree, answers, reason = files.tree, recorder.to_json(), None
    blanker = Blanker()
    if not keeps_identities:
        tree = blanker.tree(tree)
        answers = blanker.calls(answers) if answers is not None else None
    about = About(tool_version=__version__, captured_at=captured_at, without_nvml=reason)
    own = {ABOUT: msgspec.json.encode(about)} | ({ANSWERS: answers} if answers else {})
    packed = pack(Tree(tree.files | own, tree.folders, tree.links), top)
    return Capture(document, packed, len(tree.files), blanker.counts)
