"""Recordings that are not what they should be: one sentence, and never a crash."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topoprobe.errors import InputError, TopoprobeError, UsageError
from topoprobe.machine.sources.detect import read_file
from topoprobe.machine.sources.scan import scan_files

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
        (b"GPU0 X NV4", "unknown format"),
        (b"<system version='1'><cpu numaid='0'>", "truncated"),
        (b"<system version='1'/>", "<cpu>"),
        (b"<topology version='2.0'/>", "Machine"),
        (b"<html></html>", "<html>"),
        (b"<nvidia_smi_log></nvidia_smi_log>", "nvidia-smi -q -x"),
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
