"""Small files of a machine, live or recorded, where a missing one is an answer and not an error.

Readers of `/sys` and `/proc` ask a `Files` and never know whether it is the kernel's own tree, a
copied folder, or an archive.
"""

from topoprobe.machine.sources.files.base import Files, whole_number
from topoprobe.machine.sources.files.folder import Copy, Folder

__all__ = ["Copy", "Files", "Folder", "whole_number"]
