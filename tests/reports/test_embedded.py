"""Documents inside a page, written and read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reports import sample
from topoprobe.errors import InputError
from topoprobe.records.documents import encode
from topoprobe.records.machine import Host, MachineDocument
from topoprobe.reports.embedded import documents_of, embed
from topoprobe.reports.page import render_page


def machine_called(name: str) -> MachineDocument:
    return MachineDocument(
        tool=sample.TOOL, origin="live", sources=("test",), nodes=(Host(id="host", name=name),)
    )


@given(st.text(max_size=80))
def test_embedded_document_is_safe_and_reads_back_equal(name: str) -> None:
    machine = machine_called(name)
    text = embed(machine)
    assert not set("<>&\u2028\u2029\x7f\x85") & set(text)
    assert documents_of(text.encode()) == (machine,)


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "<!--", "\x7f\x85", "ä\u202e"]
)
def test_page_reads_back_equal(name: str) -> None:
    machine = sample.vm_machine(name)
    documents = (
        machine,
        sample.vm_results(machine),
        sample.vm_calibration(machine),
        sample.vm_run(),
    )
    page = render_page(
        machine=documents[0],
        results=documents[1],
        calibration=documents[2],
        run=documents[3],
    )
    assert documents_of(page.encode()) == documents


def test_page_of_a_calibration_embeds_its_machine_only_once() -> None:
    calibration = sample.vm_calibration()
    page = render_page(calibration=calibration)
    assert documents_of(page.encode()) == (calibration,)


def test_json_document_is_read_as_it_is() -> None:
    machine = sample.vm_machine()
    assert documents_of(encode(machine)) == (machine,)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html><body>hello</body></html>", "without topoprobe documents"),
        (b"", "is empty"),
        (b"{", "not valid JSON"),
        (b'<script type="application/json">{"schema": "other"}</script>', "no known"),
    ],
)
def test_anything_else_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        documents_of(data, "file.html")
    assert str(caught.value).startswith("file.html")
