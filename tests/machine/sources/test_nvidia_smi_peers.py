"""`nvidia-smi topo -p2p`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.machine.sources.nvidia_smi import peers
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, MachineDocument

LEGEND = "\nLegend:\n\n  X    = Self\n  OK   = Status Ok\n  CNS  = Chipset not supported\n"


def table(rows: list[list[str]]) -> str:
    """Print such a matrix as the driver does."""
    head = " \t" + "".join(f"GPU{i}\t" for i in range(len(rows)))
    lines = [f" GPU{i}\t" + "".join(f"{word}\t" for word in row) for i, row in enumerate(rows)]
    return "\n".join((head, *lines)) + "\n"


OK = table([["X", "OK"], ["OK", "X"]])
NS = table([["X", "NS"], ["NS", "X"]])


def scan(text: str) -> MachineDocument:
    return scan_files([("p2p.txt", text.encode())])


def statuses(document: MachineDocument) -> list[str | None]:
    return [pair.peer_status for pair in document.pairs]


def test_rtx5090_pair_is_close_and_no_peers(recordings: Path) -> None:
    folder = recordings / "topologies" / "nvidia-smi-topo"
    names = ("rtx5090x2-phb.txt", "rtx5090x2-p2p-rw.txt")
    (pair,) = scan_files([(name, (folder / name).read_bytes()) for name in names]).pairs
    assert (pair.path_class, pair.peer_status) == ("PHB", "GNS")
    (alone,) = scan_files([(names[1], (folder / names[1]).read_bytes())]).pairs
    assert (alone.path_class, alone.peer_status) == (None, "GNS")


@pytest.mark.parametrize("word", ["OK", "CNS", "GNS", "TNS", "NS", "DR", "U", "NEW"])
def test_every_word_is_kept(word: str) -> None:
    rows = [["X", word, "OK"], [word, "X", "OK"], ["OK", "OK", "X"]]
    document = scan(table(rows) + LEGEND)
    assert statuses(document) == [word, "OK", "OK"]
    assert document.contradictions == ()
    assert len(Machine(document).all(Gpu)) == 3


@pytest.mark.parametrize(
    ("text", "status", "num_contradictions"),
    [
        (f"$ nvidia-smi topo -p2p r\n{OK}\n$ nvidia-smi topo -p2p w\n{OK}", "OK", 0),
        (f"$ nvidia-smi topo -p2p r\n{OK}\n$ nvidia-smi topo -p2p w\n{NS}", "NS", 1),
        (f"$ nvidia-smi topo -p2p r\n{OK}\n$ nvidia-smi topo -p2p a\n{NS}", "OK", 0),
        (f"$ nvidia-smi topo -p2p r\n{OK}\n$ nvidia-smi topo -p2p n\n{NS}", "OK", 0),
        (f"(topo -p2p rw)\n{NS}\n(topo -p2p p)\n{OK}", "NS", 0),
        (f"$ nvidia-smi topo -p2p n\n{NS}", "NS", 0),
        (f"P2P Read\n{OK}\nP2P Write\n{NS}\n", "NS", 1),
        (f"{OK}\n{NS}", "NS", 1),
    ],
)
def test_reading_and_writing_must_both_be_allowed(
    text: str, status: str, num_contradictions: int
) -> None:
    document = scan(text)
    assert statuses(document) == [status]
    assert len(document.contradictions) == num_contradictions


def test_refusal_that_counts_is_told_with_its_place() -> None:
    text = f"$ nvidia-smi topo -p2p r\n{OK}\n$ nvidia-smi topo -p2p w\n{NS}"
    (found,) = scan(text).contradictions
    assert found.readings == ("-p2p w, row of GPU0: NS", "-p2p r, row of GPU0: OK")


def test_one_direction_that_is_refused_counts() -> None:
    document = scan(table([["X", "OK"], ["CNS", "X"]]))
    assert statuses(document) == ["CNS"]
    assert document.contradictions[0].readings == ("row of GPU1: CNS", "row of GPU0: OK")


def test_matrix_of_classes_in_the_same_text_is_no_peer_access() -> None:
    classes = "\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \tNV12\t0-3\nGPU1\tNV12\t X \t0-3\n"
    for text in (f"{classes}\n{OK}", f"{OK}\n{classes}"):
        (pair,) = scan(text).pairs
        assert (pair.path_class, pair.peer_status) == ("NV12", "OK")
        assert scan(text).contradictions == ()
    assert not peers.matches(classes)


def test_row_that_is_cut_is_named() -> None:
    lines = table([["X", "OK", "NS"], ["OK", "X", "OK"], ["NS", "OK", "X"]]).split("\n")
    document = scan("\n".join(lines[:3]) + "\n")
    assert statuses(document) == ["OK", "NS", "OK"]
    assert [m.subject for m in document.unknown if m.fact == "row of peer access"] == ["gpu:2"]


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"> {line}\n" for line in NS.split("\n")),
        NS.expandtabs(),
        f"```\n{NS}```\n",
        f"\x1b[4m{NS}\x1b[0m",
        NS.replace("\n", "\r\n"),
    ],
    ids=["quoted", "blanks", "fenced", "coloured", "windows"],
)
def test_paste_gives_the_words_of_the_print(text: str) -> None:
    assert statuses(scan(text)) == ["NS"]


@given(st.text(alphabet="GPU012X OKNSCTDR\t\n|>", max_size=300))
@settings(max_examples=100, deadline=None)
def test_noise_in_the_same_letters_never_crashes(noise: str) -> None:
    assert scan(f"{OK}\n{noise}\n{NS}\n{noise}").pairs
