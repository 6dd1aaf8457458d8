"""The grammar of made-up machines: what it reads, and where it says that a mistake is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import InputError
from topoprobe.machine.synthetic import NAMES, machine_facts
from topoprobe.machine.synthetic.builtin import MACHINES
from topoprobe.machine.synthetic.grammar import KINDS, Item, parse


def shape(items: tuple[Item, ...]) -> list[tuple[str, int, list]]:
    return [(item.kind, item.number, shape(item.children)) for item in items]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("gpu", [("gpu", 1, [])]),
        ("8gpu", [("gpu", 8, [])]),
        (" 2 Sockets : 3 SWITCHES:gpu ", [("socket", 2, [("switch", 3, [("gpu", 1, [])])])]),
        ("socket: gpu, 2 nic", [("socket", 1, [("gpu", 1, []), ("nic", 2, [])])]),
        ("[socket: gpu], socket", [("socket", 1, [("gpu", 1, [])]), ("socket", 1, [])]),
        (
            "2 [switch: gpu], nic",
            [("switch", 1, [("gpu", 1, [])]), ("switch", 1, [("gpu", 1, [])]), ("nic", 1, [])],
        ),
        ("gpu(a b, c)", [("gpu", 1, [])]),
    ],
)
def test_text_is_read_into_items(text: str, wanted: list) -> None:
    assert shape(parse(text)) == wanted


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("2 sockte: gpu", 3, "one of socket, numa"),
        ("2 socket: 4 switch: 2 gpu nic", 27, '"," or the end'),
        ("2 socket: ", 11, "its end"),
        ("gpu: nic", 4, "nothing below a gpu"),
        ("numa: gpu, numa", 12, "what can stand in a numa"),
        ("root: socket", 7, "what can stand in a root"),
        ("gpu(h100", 9, '")"'),
        ("[gpu", 5, '"]"'),
        ("0 gpu", 1, "a number from 1 to 1000"),
        ("99999 gpu", 1, "a number from 1 to 1000"),
        ("gpu, [" * 20, 103, "at most 16 levels"),
        ("1000 [1000 [gpu]]", 18, "at most 1000 parts"),
        ("gpu(h101)", 5, "rtx4090"),
        ("root(gen5): gpu", 6, "none at a root"),
        ("gpu(gen9)", 5, "a number from 1 to 7"),
        ("gpu(x3)", 5, "one of 1, 2, 4, 8"),
        ("gpu(size=4)", 5, "a size as 80gb"),
        ("nic(gen=5)", 5, "genN"),
        ("gpu(0gb)", 5, "a size such as"),
        ("gpu(bar=lots)", 5, "a size such as"),
        ("2 gpu(nvlink=0)", 7, "a number of links"),
        ("2 gpu(nvlink=3+)", 7, "a number of links"),
        ("nvme(3tb 4tb)", 10, "a second size"),
        ("gpu(fabric fabric)", 12, "a second fabric"),
        ("socket: gpu, numa", 9, "in a numa"),
        ("socket, gpu", 9, "in a socket"),
        ("socket: numa(index=2), numa(index=2)", 24, "another index"),
        ("gpu(numa=0)", 1, "another number"),
        ("3 gpu(nvlink=5)", 3, "as many for each"),
        ("gpu(nvlink=4), gpu(nvlink=2)", 16, "as many for each"),
        ("gpu(nvlink=4)", 1, "as many for each"),
        ("2 gpu(nvlink=4+4), 3 nvswitch", 3, "one per NVSwitch"),
        ("40 gpu", 4, "at most 31"),
        ("switch: 33 gpu", 12, "at most 32"),
        ("200 switch", 1, "at most 256"),
    ],
)
def test_mistake_is_told_with_its_position(text: str, position: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        machine_facts(text)
    message = str(caught.value)
    assert f"at position {position};" in message
    assert words in message
    assert message.endswith(".")
    assert "\n" not in message


def test_too_many_parts_are_refused_before_they_are_made() -> None:
    with pytest.raises(InputError, match=r"999000999 parts; expected at most 1000"):
        machine_facts("999 socket: 1000 switch: 999 gpu")
    with pytest.raises(InputError, match="4097 characters"):
        machine_facts("gpu".ljust(4097))


@pytest.mark.parametrize(
    "text",
    ["", "dgx-a10", "machine.json", "switch/gpu", "./gpu", "topo-gpu.xml", "my_gpu", "gpux", "2"],
)
def test_text_that_names_no_part_is_left_to_others(text: str) -> None:
    assert machine_facts(text) is None


def test_name_is_found_in_any_case() -> None:
    facts = machine_facts(" DGX-A100 ")
    assert facts is not None
    assert facts.source == "synthetic dgx-a100"


TOKENS = (
    *KINDS, "2", "3", " ", ",", ":", "[", "]", "(", ")", "h100", "gen5", "x8", "nvlink=4", "80gb",
    "c2c=2", "numa=7", "index=1", "ports=2", "fabric", "=",
)  # fmt: skip


def complaint_about(text: str) -> str | None:
    try:
        machine_facts(text)
    except InputError as error:
        return str(error)
    return None


@settings(deadline=None, max_examples=150)
@given(st.one_of(st.lists(st.sampled_from(TOKENS), max_size=14).map("".join), st.text()))
def test_any_text_gives_facts_or_nothing_or_one_sentence(text: str) -> None:
    assert (complaint_about(text) or ".").endswith(".")


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(NAMES), st.integers(0, 200), st.text(alphabet="[](),:2gxnu =+", max_size=3))
def test_damaged_text_of_a_machine_is_no_crash(name: str, at: int, put: str) -> None:
    text = MACHINES[name].text
    assert (complaint_about(text[:at] + put + text[at + 2 :]) or ".").endswith(".")
