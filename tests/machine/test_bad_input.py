"""Recordings that are not what they should be: one sentence, and never a crash."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topoprobe.errors import InputError, TopoprobeError, UsageError
from topoprobe.machine.explaining import explain
from topoprobe.machine.sources import detect
from topoprobe.machine.sources.capture.packing import pack
from topoprobe.machine.sources.capture.recorder import Recorder, Tree
from topoprobe.machine.sources.detect import read_file, unpack
from topoprobe.machine.sources.files.archive import Archive
from topoprobe.machine.sources.scan import scan_files
from topoprobe.records.machine import Package

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE system [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;">]><system version="1"><cpu numaid="0">&c;</cpu></system>'
)
DEEP = "<system><cpu>" + "<pci>" * 5000 + "</pci>" * 5000 + "</cpu></system>"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"\x00\x01\x02 noise", "unknown format"),
        (b"some words", "unknown format"),
        (b"<system version='1'><cpu numaid='0'>", "truncated"),
        (b"<system version='1'/>", "<cpu>"),
        (b"<topology version='2.0'/>", "Machine"),
        (b"<machine></machine>", "<machine>"),
        (b"<html></html>", "a web page"),
        (LAUGHS.encode(), "entities"),
        (DEEP.encode(), "deep"),
        (b'<?xml version="1.0" encoding="nonsense"?><system/>', "XML"),
        (b"{", "not valid JSON"),
        (b"{}", "schema"),
        (b'{"schema": "topoprobe.results"}', "version"),
        (gzip.compress(b"<system>")[:-9], "damaged"),
        (b"\x1f\x8b nonsense", "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_content_is_one_sentence(content: bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        scan_files([("bad.xml", content)])
    message = str(caught.value)
    assert "bad.xml" in message
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "what", "instead"),
    [
        (b"Machine (16GB total)\n  Package L#0\n", "lstopo", "lstopo machine.xml"),
        (b"Machine L#0 (16GB)\n  Package L#0\n", "lstopo", "lstopo machine.xml"),
        (b"\n==============NVSMI LOG==============\n\nTimestamp  : x\n", "nvidia-smi -q`", "-q -x"),
        (b"| NVIDIA-SMI 550.54  Driver Version: 550.54 |\n", "table of `nvidia-smi`", "-q -x"),
        (b"available: 2 nodes (0-1)\nnode 0 cpus: 0 1\n", "numactl -H", "--capture"),
        (b"Architecture:   x86_64\n  CPU op-mode(s): 32-bit\n", "lscpu", "--capture"),
        (b"== ROCm System Management Interface ==\n", "AMD's", "kfd/topology"),
        (b"# dmidecode 3.3\n", "dmidecode", "--capture"),
        (b"CA 'mlx5_0'\n\tCA type: MT4123\n", "ibstat", "class/infiniband"),
        (b"n1:1:1 [0] NCCL INFO Bootstrap\n", "NCCL", "NCCL_TOPO_DUMP_FILE"),
        (b"<svg xmlns='x'></svg>", "a picture", "lstopo machine.xml"),
        (b"\x89PNG\r\n\x1a\n", "a picture", "lstopo machine.xml"),
        (b"<list><node id='x'/></list>", "lshw", "--capture"),
        (b"PK\x03\x04....", "zip", "unpack"),
        (b"\x28\xb5\x2f\xfd....", "zstd", "zstd -d"),
        (b"BZh nonsense", "damaged", ""),
    ],
)
def test_format_for_people_is_refused_with_what_to_record(
    content: bytes, what: str, instead: str
) -> None:
    with pytest.raises(InputError) as caught:
        scan_files([("x.txt", content)])
    assert what in str(caught.value)
    assert instead in str(caught.value)


@pytest.mark.parametrize("name", ["16intel64-manyVFs", "nvidiagpunumanodes", "2pa-pcidomain32bits"])
def test_recorded_console_text_of_lstopo_is_refused_by_name(name: str, recordings: Path) -> None:
    (path,) = (recordings / "topologies").glob(f"*/{name}.console")
    with pytest.raises(InputError, match="lstopo's text"):
        scan_files([(path.name, path.read_bytes())])


TEN_MB = 10_000_000
NOISE = {
    "random": random.Random(1).randbytes(TEN_MB),
    "text": bytes(random.Random(2).choices(b"abc GPU0XNVPIS01.:\n\t", k=TEN_MB)),
    "less-than": b"<" * TEN_MB,
    "comments": b"<!--" * (TEN_MB // 4),
    "doctypes": b"<!DOCTYPE [" * (TEN_MB // 11),
    "elements": b'<system version="1">' + b"<cpu>" * (TEN_MB // 5),
    "siblings": b"<topology><object>" + b"<object/>" * (TEN_MB // 9) + b"</object></topology>",
    "one word": b"GPU0 " * (TEN_MB // 5),
    "escapes": b"\x1b[" * (TEN_MB // 2),
    "braces": b'{"a":' * (TEN_MB // 5),
    "zeros": bytes(TEN_MB),
    "spaces": b" " * TEN_MB,
    "tar of noise": b"x" * 257 + b"ustar" + b"\xff" * TEN_MB,
    "gzip bomb": gzip.compress(bytes(200 << 20), 1),
    "bzip2 bomb": bz2.compress(b"GPU0 " * (20 << 20), 1),
    "xz bomb": lzma.compress(b"<" * (70 << 20), preset=0),
}


@pytest.mark.parametrize("name", NOISE)
def test_ten_megabytes_of_noise_are_one_sentence(name: str) -> None:
    with pytest.raises(InputError) as caught:
        scan_files([("noise", NOISE[name])])
    assert "noise" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_text_may_be_large_but_not_without_end() -> None:
    with pytest.raises(InputError, match="more than"):
        scan_files([("x", b"0000:00:00.0 Host bridge\n" * (1 << 20))])


def tree_of(**contents: bytes) -> bytes:
    return pack(Tree({f"sys/{k}": v for k, v in contents.items()}, set(), {}), "top")


def test_archive_of_something_else_is_one_sentence() -> None:
    with pytest.raises(InputError, match="holds none of the files"):
        scan_files([("x.tar.gz", tree_of(a=b"1"))])


def test_archive_of_two_machines_is_refused() -> None:
    cpus = {"devices/system/cpu/online": b"0"}
    files = {f"{top}/sys/{path}": data for top in "ab" for path, data in cpus.items()}
    with pytest.raises(InputError, match=r"several machines \(a, b\)"):
        scan_files([("x.tar.gz", pack(Tree(files, set(), {}), "top"))])


@pytest.mark.parametrize("top", ["", "top/", "home/me/copy/top/"])
def test_tree_is_found_below_the_folders_that_it_was_packed_with(top: str) -> None:
    files = {f"{top}sys/devices/system/cpu/online": b"0-1", f"{top}proc/sys/kernel/arch": b"x"}
    document = scan_files([("x.tar.gz", pack(Tree(files, set(), {}), "."))])
    assert [node.num_threads for node in document.nodes if isinstance(node, Package)] == [2]


def test_copy_of_sys_alone_is_read() -> None:
    files = {"devices/system/cpu/online": b"0-1", "bus/pci/devices/x": b""}
    document = scan_files([("sys.tar.gz", pack(Tree(files, set(), {}), "sys"))])
    assert any(isinstance(node, Package) for node in document.nodes)


@pytest.fixture(scope="module")
def servers(recordings: Path) -> dict[str, Tree]:
    """What is read of two recorded servers."""
    found = {}
    for name in ("32intel64-2p8co2t+8ve", "nvidiagpunumanodes"):
        data = (recordings / f"topologies/sysfs/{name}.tar.bz2").read_bytes()
        recorder = Recorder(Archive.read(unpack(data, name), name))
        detect.read_tree(recorder, name)
        found[name] = Tree(*recorder.tree)
    return found


JUNK = (
    b"", b"-1\n", b"0\n", b"x", b"0x", b"\xff" * 64, bytes(256), b"99999999999999999999999\n",
    b"0-99999999\n", b"ffffffff," * 99, b"Unknown\n", "é\n".encode(), b"a: b: c\n" * 9,
)  # fmt: skip
TARGETS = (".", "..", "../../..", "nowhere", "../../../devices", "0000:00:00.0", "x" * 200)


@pytest.mark.parametrize("name", ["32intel64-2p8co2t+8ve", "nvidiagpunumanodes"])
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_tree_never_crashes(
    name: str, data: st.DataObject, servers: dict[str, Tree]
) -> None:
    files, links = dict(servers[name].files), dict(servers[name].links)
    kept, places = sorted(files), sorted(links)
    for _ in range(data.draw(st.integers(1, 60))):
        path = data.draw(st.sampled_from(kept))
        if data.draw(st.booleans()):
            files[path] = data.draw(st.sampled_from(JUNK))
        else:
            files.pop(path, None)
        if places and data.draw(st.booleans()):
            links[data.draw(st.sampled_from(places))] = data.draw(st.sampled_from(TARGETS))
    try:
        document = scan_files([("x.tar.gz", pack(Tree(files, set(), links), "a/b/c/d"))])
    except TopoprobeError:
        return
    assert document.nodes[0].id == "host"
    assert explain(document, 80)


def test_machine_document_goes_alone() -> None:
    with pytest.raises(UsageError, match="alone"):
        scan_files([("a.json", b"{}"), ("b.xml", b"<system/>")])


@pytest.mark.parametrize(
    "prologue",
    [
        "\n\n",
        '<?xml version="1.0"?>\n',
        "<!-- <topology> is not meant -->\n",
        "<!DOCTYPE system SYSTEM 'x.dtd'>",
        "\ufeff",
    ],
)
def test_format_is_told_from_the_first_element(prologue: str) -> None:
    with pytest.raises(InputError, match="truncated"):  # by the reader of NCCL's XML
        read_file(f"{prologue}<system version='1'>".encode(), "x")


@pytest.mark.parametrize("name", ["nccl-xml/p4d-24xl-topo.xml", "hwloc-xml/g4dnmetal.xml"])
def test_every_truncation_is_an_input_error(name: str, recordings: Path) -> None:
    data = (recordings / "topologies" / name).read_bytes()
    for length in range(0, len(data.rstrip()) - 1, max(1, len(data) // 40)):
        with pytest.raises(InputError):
            scan_files([("cut.xml", data[:length])])


@pytest.mark.parametrize("name", ["nccl-xml/oci-H100-topology.xml", "hwloc-xml/coral-lassen.xml"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_attributes_never_crash(name: str, data: st.DataObject, recordings: Path) -> None:
    text = (recordings / "topologies" / name).read_text(encoding="utf-8")
    parts = text.split('"')
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(parts) // 2 - 1)) * 2 + 1
        parts[place] = data.draw(
            st.sampled_from(["", "-1", "0", "x", "0x", "99999999999999999999", "ffff:ff:ff.f", "é"])
        )
    try:
        document = scan_files([("damaged.xml", '"'.join(parts).encode())])
    except TopoprobeError:
        return
    assert document.nodes[0].id == "host"
