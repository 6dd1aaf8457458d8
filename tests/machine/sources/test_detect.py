"""Telling formats from the content: what a terminal's copy has around a recording."""

from __future__ import annotations

import pytest

from topoprobe.errors import InputError
from topoprobe.machine.sources.detect import read_file

NCCL = (
    '<system version="1"><cpu numaid="0" affinity="f" arch="x86_64">'
    '<pci busid="0000:01:00.0" class="0x030200" link_speed="8.0 GT/s PCIe" link_width="16">'
    '<gpu dev="0" sm="80"/></pci></cpu></system>'
)
HWLOC = '<topology version="2.0"><object type="Machine" cpuset="0x1"/></topology>'
SMI = "<nvidia_smi_log><attached_gpus>0</attached_gpus></nvidia_smi_log>"
LIST = "GPU 0: NVIDIA A100 (UUID: GPU-11111111-2222-3333-4444-555555555555)\n"


@pytest.mark.parametrize("declaration", ["", '<?xml version="1.0" ?>\n', "  "])
@pytest.mark.parametrize(
    ("xml", "kind"), [(NCCL, "nccl-xml"), (HWLOC, "hwloc-xml"), (SMI, "nvidia-smi-q")]
)
def test_xml_between_prompts_is_read_like_xml_alone(xml: str, kind: str, declaration: str) -> None:
    pasted = f"user@host:~$ show it\n{declaration}{xml}\nuser@host:~$ \n"
    alone = read_file(xml.encode(), "x")
    assert [facts.source for facts in alone] == [f"{kind} x"]
    assert read_file(pasted.encode(), "x") == alone


def test_prompt_behind_xml_is_no_part_of_it() -> None:
    assert read_file(f"{NCCL}\nuser@host:~$ ".encode(), "x") == read_file(NCCL.encode(), "x")


@pytest.mark.parametrize("text", [f"{LIST}{NCCL}\n", f"{NCCL}\n{LIST}"])
def test_text_of_another_format_beside_xml_is_read_too(text: str) -> None:
    found = read_file(text.encode(), "x")
    assert [facts.source for facts in found] == ["nccl-xml x", "nvidia-smi-nvlink x"]


@pytest.mark.parametrize(
    "text",
    [
        f"{'a line of a log' * 400}\n{NCCL}",  # too far down
        f"it has {NCCL} in a line",
        '$ cat x\n<?xml version="1.0"?>\n<plist></plist>',
    ],
)
def test_other_text_with_tags_is_of_an_unknown_format(text: str) -> None:
    with pytest.raises(InputError, match="unknown format"):
        read_file(text.encode(), "x")


def test_pasted_xml_that_ends_early_is_called_truncated() -> None:
    with pytest.raises(InputError, match="truncated"):
        read_file(f"$ cat x\n{NCCL[:-30]}".encode(), "x")
