"""Writing a captured tree as a compressed tar archive, the same bytes for the same content."""

from __future__ import annotations

import gzip
import io
import tarfile

from topoprobe.machine.sources.capture.recorder import Tree


def pack(tree: Tree, top: str) -> bytes:
    """Return a gzip-compressed archive of everything below one folder.

    Parameters
    ----------
    tree : Tree
        What is packed.
    top : str
        Name of the folder; programs that read such archives take it for the root.
    """
    buffer = io.BytesIO()
    # The time of packing would make every archive another one.
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for path in sorted({"", *_all_folders(tree), *tree.files, *tree.links}):
            member = tarfile.TarInfo(f"{top}/{path}".rstrip("/"))
            content = tree.files.get(path)
            if path in tree.links:
                member.type, member.linkname = tarfile.SYMTYPE, tree.links[path]
                member.mode = 0o777
            elif content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            else:
                member.size = len(content)
            archive.addfile(member, None if content is None else io.BytesIO(content))
    return buffer.getvalue()


def _all_folders(tree: Tree) -> set[str]:
    found = set(tree.folders)
    for path in (*tree.files, *tree.links, *tree.folders):
        while path := path.rpartition("/")[0]:
            found.add(path)
    return found
