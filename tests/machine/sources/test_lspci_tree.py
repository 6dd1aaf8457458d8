"""Reading the tree as `lspci -t`, `-tv` and `-tvnn` draw it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import InputError
from topoprobe.machine.facts import Facts
from topoprobe.machine.sources.detect import read_file
from topoprobe.machine.sources.lspci import listing, tree, verbose
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, Nic, Nvme, NvSwitch

NAMED = r"""-+-[0000:80]-+-00.0  Intel Corporation Device 09a2
 |           +-01.0-[81-86]--+-00.0-[82-86]--+-00.0-[83]----00.0  NVIDIA Corporation Device 22a3
 |           |               |               \-01.0-[84]----00.0  NVIDIA Corporation GH100 [H100 NVSwitch]
 |           |               \-00.1  PMC-Sierra Inc. Device 4128
 |           \-02.0-[87]--
 +-[0000:15]-+-00.0  Intel Corporation Device 09a2
 |           \-01.0-[16-1b]----00.0-[17-1b]--+-00.0-[18]----00.0  Micron Technology Inc 7450 PRO NVMe SSD
 |                                           +-01.0-[19]--+-00.0  NVIDIA Corporation GH100[H100 SXM5 80GB]
 |                                           |            \-00.1  NVIDIA Corporation AD102 High Definition Audio Controller
 |                                           +-02.0-[1a]----00.0  Mellanox Technologies MT2910 Family [ConnectX-7]
 |                                           \-1f.0-[1b]----00.0  Broadcom / LSI PCIe Switch management endpoint
 \-[0000:00]-+-00.0  Intel Corporation Device 09a2
             +-02.0-[03]----00.0  Matrox Electronics Systems Ltd. Integrated Matrox G200eW3 Graphics Controller
             \-1f.0  Intel Corporation Device 1b81
"""  # noqa: E501
BARE = re.sub(r"(?m)(\.[0-7])  .*$", r"\1", NAMED)
LINES = NAMED.translate(str.maketrans({"+": "├", "\\": "└", "|": "│", "-": "─"}))
LINES = re.sub(r"\[([0-9a-f:]+)─([0-9a-f]{2})\]", r"[\1-\2]", LINES)
PLACES = {
    "0000:80:00.0": ("0000:80", None),
    "0000:80:01.0": ("0000:80", None),
    "0000:81:00.0": ("0000:80", "0000:80:01.0"),
    "0000:82:00.0": ("0000:80", "0000:81:00.0"),
    "0000:83:00.0": ("0000:80", "0000:82:00.0"),
    "0000:82:01.0": ("0000:80", "0000:81:00.0"),
    "0000:84:00.0": ("0000:80", "0000:82:01.0"),
    "0000:81:00.1": ("0000:80", "0000:80:01.0"),
    "0000:80:02.0": ("0000:80", None),
    "0000:15:00.0": ("0000:15", None),
    "0000:15:01.0": ("0000:15", None),
    "0000:16:00.0": ("0000:15", "0000:15:01.0"),
    "0000:17:00.0": ("0000:15", "0000:16:00.0"),
    "0000:18:00.0": ("0000:15", "0000:17:00.0"),
    "0000:17:01.0": ("0000:15", "0000:16:00.0"),
    "0000:19:00.0": ("0000:15", "0000:17:01.0"),
    "0000:19:00.1": ("0000:15", "0000:17:01.0"),
    "0000:17:02.0": ("0000:15", "0000:16:00.0"),
    "0000:1a:00.0": ("0000:15", "0000:17:02.0"),
    "0000:17:1f.0": ("0000:15", "0000:16:00.0"),
    "0000:1b:00.0": ("0000:15", "0000:17:1f.0"),
    "0000:00:00.0": ("0000:00", None),
    "0000:00:02.0": ("0000:00", None),
    "0000:03:00.0": ("0000:00", "0000:00:02.0"),
    "0000:00:1f.0": ("0000:00", None),
}


def places(facts: Facts) -> dict[str, tuple[str | None, str | None]]:
    return {f.address: (f.root, f.parent) for f in facts.functions}


@pytest.mark.parametrize(
    "text",
    [NAMED, BARE, LINES, "".join(f"    {line}\n" for line in NAMED.splitlines()),
     "".join(f"> {line}\n" for line in NAMED.splitlines()), NAMED.replace("\\-", "`-")],
    ids=["-tv", "-t", "lines", "indented", "quoted", "old corners"],
)  # fmt: skip
def test_drawing_places_every_function(text: str) -> None:
    assert tree.matches(text)
    assert not verbose.matches(text)
    assert not listing.matches(text)
    facts = tree.read(text, "x")
    assert facts.tree == "full"
    assert places(facts) == PLACES
    assert [root.key for root in facts.roots] == ["0000:00", "0000:15", "0000:80"]
    bridges = {f.address for f in facts.functions if f.class_code == "0604"}
    assert bridges == {parent for _, parent in PLACES.values() if parent} | {"0000:80:02.0"}


def test_names_tell_gpus_nics_drives_and_switches() -> None:
    document = scan_files([("tree", NAMED.encode())])
    machine = Machine(document)
    assert [node.pci_address for node in machine.all(Gpu)] == ["0000:19:00.0"]
    assert [node.pci_address for node in machine.all(Nic)] == ["0000:1a:00.0"]
    assert [node.pci_address for node in machine.all(Nvme)] == ["0000:18:00.0"]
    assert [node.pci_address for node in machine.all(NvSwitch)] == ["0000:83:00.0", "0000:84:00.0"]
    assert {pair.path_class for pair in document.pairs} == {"PIX"}


def test_drawing_without_names_says_that_kinds_are_unknown() -> None:
    facts = tree.read(BARE, "x")
    assert "lspci -nn" in next(m.reason for m in facts.unknown if m.fact == "kinds")
    assert not [m for m in tree.read(NAMED, "x").unknown if m.fact == "kinds"]


def test_drawing_with_numbers_tells_vendor_and_device() -> None:
    text = (
        "-[0000:00]-+-00.0  Intel Corporation Device [8086:09a2]\n"
        "           \\-01.0-[3b]----00.0  NVIDIA Corporation GH100[H100 SXM5 80GB] [10de:2330]\n"
    )
    gpu = tree.read(text, "x").functions[-1]
    assert (gpu.address, gpu.vendor, gpu.device) == ("0000:3b:00.0", "10de", "2330")
    assert gpu.name == "GH100[H100 SXM5 80GB]"


def test_domains_come_from_the_roots() -> None:
    text = (
        "-+-[10000:e0]---01.0-[e1]----00.0  Samsung Electronics Co Ltd NVMe SSD Controller\n"
        " +-[0009:00]---00.0-[01]----00.0  NVIDIA Corporation Device 2342\n"
        " \\-[0000:00]---00.0\n"
    )
    facts = tree.read(text, "x")
    assert places(facts)["10000:e1:00.0"] == ("10000:e0", "10000:e0:01.0")
    assert places(facts)["0009:01:00.0"] == ("0009:00", "0009:00:00.0")


def test_drawing_older_than_domains_has_one_root() -> None:
    text = "-[00]-+-00.0\n      \\-01.0-[01]----00.0\n"
    assert tree.matches(text)
    assert places(tree.read(text, "x"))["0000:01:00.0"] == ("0000:00", "0000:00:01.0")


def test_corners_lost_in_a_forum_do_no_harm() -> None:
    text = NAMED.replace("\\-", " -")
    assert places(tree.read(text, "x")).items() <= PLACES.items()
    plain = re.sub(r"(?m)\\-", "--", NAMED)
    assert places(tree.read(plain, "x")) == PLACES


def test_lines_without_a_beginning_are_counted_and_not_guessed() -> None:
    headless = "\n".join(NAMED.splitlines()[1:])
    facts = tree.read(headless, "x")
    assert facts.tree == "none"
    assert places(facts).items() <= PLACES.items()
    assert "0000:81:00.0" not in places(facts)
    assert "below nothing" in next(m.reason for m in facts.unknown if m.fact == "functions")


def test_blanks_lost_in_a_paste_leave_the_functions_out() -> None:
    facts = tree.read(re.sub(" {2,}", " ", NAMED), "x")
    assert places(facts).items() <= PLACES.items()


@pytest.mark.parametrize(
    "text",
    [
        "+-----------------------------------------+\n| NVIDIA-SMI 535.104   Driver |\n",
        "-[ ] buy 00.0 milk\n",
        "2024-01-01 -[0000:00]- nothing drawn\n",
        "usage: tool [00]-+\n",
    ],
)
def test_other_drawings_are_not_taken_for_a_tree(text: str) -> None:
    assert not tree.matches(text)


def test_table_beside_a_drawing_in_one_paste_is_passed_over() -> None:
    table = "+------+------+\n| GPU  00.0 | x |\n|  0  NVIDIA H100 | 19:00.0 |\n+------+\n"
    facts = tree.read(f"{table}\n{NAMED}\n{table}", "x")
    assert places(facts) == PLACES
    assert facts.tree == "full"


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_damaged_drawing_never_puts_a_function_elsewhere(data: st.DataObject) -> None:
    lines = NAMED.splitlines()
    cut = data.draw(st.integers(0, len(lines)))
    width = data.draw(st.integers(0, 140))
    text = "\n".join(line[:width] for line in lines[:cut])
    try:
        found = read_file(text.encode(), "damaged")
    except InputError:
        return
    for facts in found:
        assert places(facts).items() <= PLACES.items()
    scan_files([("damaged", text.encode())])


@settings(deadline=None, max_examples=80)
@given(st.text(alphabet="-+\\|`[] :0123456789abcdef.\n", max_size=400))
def test_noise_never_ends_in_a_traceback(noise: str) -> None:
    tree.read(f"-[0000:00]-+-00.0\n{noise}", "x")
