"""Trees of small files: archives, copied folders, links inside them, and what is refused."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import InputError
from topoprobe.machine.sources.detect import unpack
from topoprobe.machine.sources.files import Copy, Files
from topoprobe.machine.sources.files.archive import Archive
from topoprobe.machine.sources.files.links import Links
from topoprobe.machine.sources.files.rooted import Below, Inside

LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE


def pack(*entries: tuple[str, bytes | None] | tuple[str, bytes, str], form: int) -> bytes:
    """Make an archive of files (name, content), folders (name, None) and (name, type, target)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content, *target in entries:
            member = tarfile.TarInfo(name)
            if target:
                member.type, member.linkname = content or LINK, target[0]
                archive.addfile(member)
            elif content is None:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def archive_of(
    *entries: tuple[str, bytes | None] | tuple[str, bytes, str], form: int = tarfile.GNU_FORMAT
) -> Archive:
    return Archive.read(pack(*entries, form=form), "x.tar")


TREE = (
    ("top/sys/devices/pci0000:00/0000:00:01.0/class", b"0x060400\n"),
    ("top/sys/bus/pci/devices/0000:00:01.0", LINK, "../../../devices/pci0000:00/0000:00:01.0"),
    ("top/sys/devices/pci0000:00/0000:00:01.0/driver", LINK, "../../../bus/pci/drivers/gone"),
    ("top/proc/empty", b""),
)


@pytest.fixture(params=["archive", "folder"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """Give the same tree as an archive and as a folder."""
    if request.param == "archive":
        return archive_of(*TREE)
    for name, content, *target in TREE:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if target:
            path.symlink_to(target[0])
        else:
            path.write_bytes(content)
    return Copy(tmp_path)


def test_file_is_read_through_links_of_folders(tree: Files) -> None:
    path = "top/sys/bus/pci/devices/0000:00:01.0"
    assert tree.text(f"{path}/class") == "0x060400"
    assert tree.data(f"{path}/class", 4) == b"0x06"
    assert tree.names(path) == ["class", "driver"]
    assert tree.link(path) == "../../../devices/pci0000:00/0000:00:01.0"
    assert tree.link(f"{path}/driver") == "../../../bus/pci/drivers/gone"


def test_what_is_not_there_is_an_answer(tree: Files) -> None:
    assert tree.names("top") == ["proc", "sys"]
    assert tree.data("top/proc/empty") == b""
    assert tree.data("top/proc/none") is None
    assert tree.data("top/proc") is None
    assert tree.names("top/proc/empty") == []
    assert tree.link("top/proc/empty") is None
    assert tree.data("top/sys/devices/pci0000:00/0000:00:01.0/driver") is None


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_targets_are_whole(form: int) -> None:
    folder = "sys/" + "/".join(f"{i:040}" for i in range(3 if form == tarfile.USTAR_FORMAT else 9))
    target = "x" * (90 if form == tarfile.USTAR_FORMAT else 300)
    files = archive_of(
        (f"{folder}/name", b"1"), (f"{folder}/link", LINK, target), ("after", b"2"), form=form
    )
    assert files.data(f"{folder}/name") == b"1"
    assert files.link(f"{folder}/link") == target
    assert files.data("after") == b"2"


def test_names_may_be_of_any_script() -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert archive_of(("sys/größe", b"1"), form=form).data("sys/größe") == b"1"


def test_last_member_of_a_name_counts() -> None:
    files = archive_of(("a", b"old"), ("b", LINK, "a"), ("a", b"new"), ("b", b"file"))
    assert (files.data("a"), files.data("b"), files.link("b")) == (b"new", b"file", None)


def test_hard_link_has_the_content_of_its_target() -> None:
    assert archive_of(("sys/a", b"1"), ("sys/b", HARD, "sys/a")).data("sys/b") == b"1"


def test_leading_dots_are_dropped() -> None:
    files = archive_of(("./", None), ("./sys/a", b"1"))
    assert files.names("") == ["sys"]
    assert files.data("sys/a") == b"1"


def test_zeros_that_tar_pads_with_are_no_text() -> None:
    assert archive_of(("sys/a", b"0x10de\n" + bytes(4089))).text("sys/a") == "0x10de"


def special(kind: bytes) -> bytes:
    member = tarfile.TarInfo("top/sys/device")
    member.type = kind
    return member.tobuf() + bytes(1024)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pack(("/etc/passwd", b""), form=1), "leads out"),
        (pack(("top/../../etc/passwd", b""), form=1), "leads out"),
        (pack(("..", b""), form=1), "leads out"),
        (pack(("top/a", LINK, "/etc/passwd"), form=1), "out of the tree"),
        (pack(("top/a", LINK, "../../etc/passwd"), form=1), "out of the tree"),
        (pack(("top/a", LINK, "../etc/passwd"), form=1), "out of the tree"),
        (pack(("top/a", LINK, "x/../../y"), form=1), "out of the tree"),
        (pack(("sys/a", LINK, "../../y"), ("proc/b", b""), form=1), "out of the tree"),
        (pack(("top/a", HARD, "/etc/passwd"), form=1), "leads out"),
        (pack(("top/a", HARD, "../etc/passwd"), form=1), "leads out"),
        (special(tarfile.CHRTYPE), "character device"),
        (special(tarfile.BLKTYPE), "block device"),
        (special(tarfile.FIFOTYPE), "pipe"),
        (special(tarfile.GNUTYPE_SPARSE), "'S'"),
        (pack(("/".join("a" * 70), b""), form=1), "too long"),
        (pack(("a" * 2000, b""), form=1), "too long"),
        (pack(("sys/a", b"x" * 600), form=1)[:1024], "truncated"),
        (b"\xff" * 124 + b"\x80" * 12 + b"\xff" * 512, "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_archive_with_anything_else_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        Archive.read(data, "x.tar")
    assert words in str(caught.value)
    assert "x.tar" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_links_between_top_folders_stay_in_a_tree_without_a_top_folder() -> None:
    files = archive_of(("sys/a", LINK, "../proc/b"), ("proc/b", b"1"))
    assert files.data("sys/a") == b"1"


def test_number_of_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topoprobe.machine.sources.files.archive.MAX_ENTRIES", 9)
    archive_of(*((f"sys/{i}", b"") for i in range(6)))
    with pytest.raises(InputError, match="more than 9 files"):
        archive_of(*((f"sys/{i}", b"") for i in range(9)))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5 * 512), st.integers(0, 255)), max_size=6), st.integers(0)
)
def test_damaged_archive_is_read_or_refused(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(pack(*TREE, form=tarfile.PAX_FORMAT))
    for place, value in changes:
        data[place] = value
    try:
        files = Archive.read(bytes(data[: cut % len(data)] if cut else data), "x.tar")
    except InputError:
        return
    for name in walk(files, ""):
        files.data(name)
        files.link(name)


def walk(files: Files, folder: str, depth: int = 0) -> Iterator[str]:
    for name in files.names(folder) if depth < 9 else ():
        path = f"{folder}/{name}".lstrip("/")
        yield path
        yield from walk(files, path, depth + 1)


def test_circle_of_links_leads_nowhere() -> None:
    files = archive_of(("a", LINK, "b"), ("b", LINK, "a"), ("c", LINK, "c/d"))
    assert [files.data(name) for name in "abc"] == [None] * 3
    assert files.link("a") == "b"


def test_way_through_links_never_climbs_out() -> None:
    targets = {"deep": "a/b/c", "out": "deep/../../../../etc"}
    links = Links(targets.get)
    assert links.real("deep/x") == "a/b/c/x"
    assert links.real("out/passwd") is None


def test_link_out_of_a_copied_folder_is_told_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1")
    (tmp_path / "copy" / "inside").mkdir(parents=True)
    for name, target in (
        ("up", "../secret"),
        ("absolute", str(tmp_path / "secret")),
        ("all", ".."),
    ):
        (tmp_path / "copy" / name).symlink_to(target)
    files = Copy(tmp_path / "copy")
    assert files.data("up") is None
    assert files.data("absolute") is None
    assert files.data("all/secret") is None
    assert files.names("all") == []
    assert files.link("up") == "../secret"


def test_pipe_in_a_copied_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert Copy(tmp_path).data("pipe") == b""


def test_tree_below_a_folder_and_tree_of_one_folder_alone() -> None:
    files = archive_of(*TREE)
    below = Below(files, "top")
    assert below.names("") == ["proc", "sys"]
    assert below.text("sys/bus/pci/devices/0000:00:01.0/class") == "0x060400"
    alone = Inside(Below(files, "top/sys"), "sys")
    assert alone.names("") == ["sys"]
    assert alone.names("sys") == ["bus", "devices"]
    assert alone.text("sys/bus/pci/devices/0000:00:01.0/class") == "0x060400"
    assert alone.link("sys/bus/pci/devices/0000:00:01.0") is not None
    assert (alone.data("proc/empty"), alone.names("proc"), alone.link("sys")) == (None, [], None)


@pytest.mark.parametrize(
    "name",
    [
        "sysfs/2pa-pcidomain32bits.tar.bz2",
        "sysfs/32intel64-2p8co2t+8ve.tar.bz2",
        "sysfs/40intel64-2g2n4c+pcilocality.tar.bz2",
        "sysfs/nvidiagpunumanodes.tar.bz2",
        "kfd/topo-mi210-xgmi-pcie.tar.xz",
        "infiniband-sysfs/sys-class-infiniband-h100.0.tar.xz",
    ],
)
def test_recorded_archive_reads_as_tarfile_reads_it(name: str, recordings: Path) -> None:
    data = unpack((recordings / "topologies" / name).read_bytes(), name)
    files = Archive.read(data, name)
    with tarfile.open(fileobj=io.BytesIO(data)) as expected:
        for member in expected:
            if member.isfile():
                content = expected.extractfile(member)
                assert content is not None
                assert files.data(member.name, 1 << 20) == content.read()
            elif member.issym():
                assert files.link(member.name) == member.linkname
