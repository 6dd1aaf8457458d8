"""`nvidia-smi topo -m` as people paste it: blanks, wrapped lines, cut and damaged text."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.machine.sources.topology_prints import (
    EXPECTED,
    PLAIN,
    PRINTED,
    blanked,
    classes,
    scan,
    wrapped,
)
from topoprobe.errors import InputError
from topoprobe.machine.facts import Facts
from topoprobe.machine.sources import detect
from topoprobe.machine.sources.nvidia_smi import topology
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, Nic, Numa, NvSwitch


def named(expected: dict[tuple[str, str], str | None]) -> dict[tuple[str, str], str | None]:
    return {(a, b.replace("NIC", "mlx5_")): name for (a, b), name in expected.items()}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(PRINTED, id="as printed"),
        pytest.param(blanked(PRINTED), id="blanks for tabs"),
        pytest.param(PRINTED.replace("\t", " "), id="one blank per tab"),
        pytest.param(PRINTED.replace("\n", "\r\n"), id="windows line ends"),
        pytest.param("$ nvidia-smi topo -m\n" + PRINTED, id="prompt"),
        pytest.param("```\n" + PRINTED + "```\n", id="code fence"),
        pytest.param("".join(f"> {x}\n" for x in PRINTED.split("\n")), id="quoted"),
        pytest.param("".join(f">> {x}\n" for x in blanked(PRINTED).split("\n")), id="quoted twice"),
        pytest.param("".join(f"    {x}\n" for x in blanked(PRINTED).split("\n")), id="indented"),
        pytest.param("\t\x1b[4m" + PRINTED[1:].replace("ID\n", "ID\x1b[0m\n", 1), id="underlined"),
        pytest.param(PRINTED.replace("\n", "\n\n"), id="double spaced"),
        pytest.param("GPU Topology:\n" + PRINTED.lstrip(), id="first tab lost"),
        pytest.param(wrapped(PRINTED, 80, strips=False), id="wrapped"),
        pytest.param(wrapped(PRINTED, 80, strips=True), id="wrapped and stripped"),
        pytest.param(wrapped(PRINTED, 100, strips=True), id="wrapped at 100"),
        pytest.param(wrapped(PRINTED, 121, strips=False), id="wrapped inside cells"),
        pytest.param(wrapped(PRINTED, 133, strips=True), id="wrapped inside titles"),
        pytest.param(blanked(PRINTED).replace("NIC10   NIC11", "NIC10NIC11"), id="fused header"),
        pytest.param(
            blanked(PRINTED).replace("NODE    NODE", "NODENODE").replace("SYS     SYS", "SYSSYS"),
            id="fused cells",
        ),
        pytest.param(
            "\n".join(PRINTED.split("\n")[1:]), id="header cut off"
        ),
        pytest.param(
            PRINTED.replace("C8\tNIC9", "C8NIC9").replace("NODE\tNODE\tNODE\n", "NODENODE\tNODE\n"),
            id="fused between tabs",
        ),
        pytest.param(PRINTED.replace("NUMA Affinity\tGPU NUMA ID", "NUMA"), id="short title"),
        pytest.param(
            "| " + PRINTED.replace("\t", " | ").replace("\n", " |\n| "), id="made a table"
        ),
    ],
)  # fmt: skip
def test_paste_gives_the_pairs_of_the_print(text: str) -> None:
    document = scan(text)
    assert classes(document) == named(EXPECTED)
    assert document.contradictions == ()
    machine = Machine(document)
    assert {g.num_nvlinks for g in machine.all(Gpu)} == {18}
    assert [n.id for n in machine.all(NvSwitch)] == ["nvswitch@fabric"]
    nic = machine.all(Nic)[0]
    assert (nic.name, nic.ports[0].verbs_device) == ("mlx5_0", "mlx5_0")


@pytest.mark.parametrize(
    "text",
    [
        PRINTED,
        blanked(PRINTED),
        PRINTED.replace("\t", " "),
        wrapped(PRINTED, 80, strips=False),
        blanked(PRINTED).replace("0               N/A", "0N/A"),
        blanked(PRINTED).replace("168-223  1", "168-2231"),
        "\n".join(PRINTED.split("\n")[1:]),
    ],
    ids=["printed", "blanks", "one blank", "wrapped", "fused N/A", "fused node", "no header"],
)
def test_affinity_of_a_paste_is_that_of_the_print(text: str) -> None:
    machine = Machine(scan(text))
    first, last = machine.all(Gpu)[0], machine.all(Gpu)[7]
    assert (first.numa_index, last.numa_index) == (0, 1)
    assert first.cpus == (*range(56), *range(112, 168))
    assert last.cpus == (*range(56, 112), *range(168, 224))
    assert {n.os_index: len(n.cpus) for n in machine.all(Numa)} == {0: 112, 1: 112}


def test_cell_that_lost_its_last_letter_to_the_margin_is_told() -> None:
    text = (
        "        GPU0    GPU1    NIC0    NIC1    CPU Affinity\n"
        "GPU0     X      PHB     PIX     PH0-115\n"
        "GPU1    PHB      X      PHB     PI0-115\n"
        "NIC0    PIX     PHB      X      PHB\n"
        "NIC1    PHB     PIX     PHB      X\n"
    )
    document = scan(text)
    assert list(classes(document).values()) == ["PHB", "PIX", "PHB", "PHB", "PIX"]
    assert {len(gpu.cpus) for gpu in Machine(document).all(Gpu)} == {116}


def test_fused_count_is_read_from_the_other_row() -> None:
    text = (
        "        GPU0    GPU1    GPU2    NIC0\n"
        "GPU0     X      NV4     NV1NODE\n"
        "GPU1    NV4      X      NV2     NODE\n"
        "GPU2    NV12    NV2      X      SYS\n"
        "NIC0    NODE    NODE    SYS      X\n"
    )
    assert classes(scan(text))["gpu:0", "gpu:2"] == "NV12"


def pairs_in(facts: Facts) -> dict[frozenset[str], str | None]:
    return {frozenset((p.a, p.b)): p.path_class for p in facts.pairs}


def whole(text: str) -> dict[frozenset[str], str | None]:
    return pairs_in(topology.read(text, "whole"))


@given(st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_of_rows_and_columns_does_not_matter(chance: random.Random) -> None:
    order = list(range(20))
    chance.shuffle(order)
    assert whole(PLAIN.text(order)) == whole(PLAIN.text())


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_blanks_anywhere_between_cells_do_not_matter(data: st.DataObject) -> None:
    text = PLAIN.text().replace("\t", "\0")
    gaps = iter(data.draw(st.lists(st.integers(1, 9), min_size=60, max_size=60)))
    padded = "".join(" " * next(gaps, 3) if c == "\0" else c for c in text)
    assert whole(padded) == whole(PLAIN.text())


@given(st.sets(st.integers(1, 20), max_size=18))
@settings(max_examples=60, deadline=None)
def test_rows_left_out_take_only_what_no_other_row_tells(lost: set[int]) -> None:
    lines = PLAIN.text().split("\n")
    text = "\n".join(line for place, line in enumerate(lines) if place not in lost)
    if not topology.matches(text):
        return
    full, found = whole(PLAIN.text()), pairs_in(topology.read(text, "part"))
    assert found.items() <= full.items()
    gone = {f"gpu:{p - 1}" if p <= 8 else f"nic:NIC{p - 9}" for p in lost}
    assert full.keys() - found.keys() == {ends for ends in full if ends <= gone}


@pytest.mark.parametrize(
    "text", [PLAIN.text(), blanked(PRINTED), wrapped(PRINTED, 80, strips=True)]
)
@given(cut=st.integers(0, 3000))
@settings(max_examples=80, deadline=None)
def test_text_cut_anywhere_tells_nothing_wrong(text: str, cut: int) -> None:
    part = text[:cut]
    if not topology.matches(part):
        return
    try:
        facts = topology.read(part, "cut")
    except InputError:
        return
    full = whole(text)
    plain = {frozenset(e.replace("mlx5_", "NIC") for e in k): v for k, v in full.items()}
    for ends, name in pairs_in(facts).items():
        assert plain[frozenset(e.replace("mlx5_", "NIC") for e in ends)] == name
    for gpu in facts.gpus:
        assert gpu.numa_index in {None, int(gpu.subject[-1]) // 4}
        assert len(gpu.cpus) in {0, 112}


@given(st.text(alphabet="GPUNIC0123456789 XVSYSPHBODE\t\n,-/|>", max_size=400))
@settings(max_examples=150, deadline=None)
def test_noise_in_the_same_letters_never_crashes(noise: str) -> None:
    text = f"\tGPU0\tGPU1\n{noise}\nGPU0\t X \tPHB\n{noise}\nGPU1\tPHB\t X \n"
    try:
        facts = detect.read_file(text.encode(), "noise")
    except InputError:
        return
    assert facts


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_damaged_characters_never_crash(data: st.DataObject) -> None:
    text = list(blanked(PRINTED))
    for _ in range(data.draw(st.integers(1, 30))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(
            st.sampled_from(["", " ", "\n", "X", "9", "GPU1", "\t", "N/A", "-"])
        )
    try:
        scan("".join(text))
    except InputError:
        return


@given(st.integers(60, 260), st.booleans())
@settings(max_examples=60, deadline=None)
def test_terminal_of_any_width_tells_the_same(width: int, strips: bool) -> None:
    facts = topology.read(wrapped(PRINTED, width, strips=strips), "wrapped")
    assert pairs_in(facts) == whole(PRINTED)
    assert {(len(gpu.cpus), gpu.numa_index) for gpu in facts.gpus} <= {
        (0, None), (112, 0), (112, 1),
    }  # fmt: skip
