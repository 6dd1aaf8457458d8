"""Recordings that cannot be of one machine, and those that only show parts of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from topoprobe.errors import UsageError
from topoprobe.machine.facts import Facts, GpuFact, PciFact
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.strangers import why_strangers

H100, A100, RTX4090, RTX3090 = "2330", "20b2", "2684", "2204"


def placed(*devices: str | None, source: str = "tree", first: int = 0, unit: int = 0) -> Facts:
    """Show GPUs of these device ids by address; `unit` tells machines apart by their UUIDs."""
    addresses = [f"0000:{bus:02x}:00.0" for bus in range(first, first + len(devices))]
    return Facts(
        source=source,
        functions=tuple(
            PciFact(address=address, class_code="030200", vendor="10de", device=device)
            for address, device in zip(addresses, devices, strict=True)
        ),
        gpus=tuple(
            GpuFact(subject=address, uuid=uuid(unit, place))
            for place, address in enumerate(addresses, first)
            if unit
        ),
    )


def numbered(count: int, source: str = "matrix", name: str | None = None, unit: int = 0) -> Facts:
    return Facts(
        source=source,
        gpus=tuple(
            GpuFact(subject=f"gpu:{i}", name=name, uuid=uuid(unit, i) if unit else None)
            for i in range(count)
        ),
    )


def uuid(unit: int, place: int) -> str:
    return f"GPU-{unit:08x}-0000-4000-8000-{place:012x}"


STRANGERS = {
    "other places": ((placed(H100), placed(H100, first=8)), "no GPU in common"),
    "other cards in the same places": (
        (placed(H100, unit=1), placed(H100, unit=2)), "no UUID of a GPU in common",
    ),
    "other models in the same places": (
        (placed(H100), placed(A100)), "no model of GPU in common",
    ),
    "as many, by number, of another model": (
        (placed(H100, H100), numbered(2, name="NVIDIA A100-SXM4-80GB")),
        "no generation of GPU in common",
    ),
    "more numbers than addresses": (
        (placed(H100, H100), numbered(3)),
        "tree has 2 GPUs and matrix 3, with nothing but numbers",
    ),
    "fewer numbers than addresses": (
        (numbered(1), placed(H100, H100)), "tree has 2 GPUs and matrix 1",
    ),
    "numbers of two machines": (
        (numbered(2, "one"), numbered(8, "other")), "one has 2 GPUs and other 8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STRANGERS)
def test_strangers_are_told_apart(case: str) -> None:
    sources, words = STRANGERS[case]
    for order in (sources, sources[::-1]):
        reason = why_strangers(order)
        assert reason is not None
        assert words in reason or order is not sources


PARTS = {
    "nothing": (),
    "one": (numbered(2),),
    "a container's GPUs": (placed(H100, H100, H100), placed(H100, first=1)),
    "a container's GPUs by UUID": (placed(H100, H100, H100, unit=1), numbered(2, unit=1)),
    "UUIDs from a third": (placed(H100, H100), placed(None, None, unit=1), numbered(1, unit=1)),
    "as many numbers": (placed(H100, H100), numbered(2), numbered(2, "links")),
    "no GPU at all in one": (placed(H100), Facts(source="nics")),
    # The table of products knows one of the two: that is no word about the other.
    "a model that is not known": (
        placed(RTX4090, RTX3090),
        Facts(
            source="nccl",
            functions=(PciFact(address="0000:00:00.0", class_code="030000", vendor="10de"),),
            gpus=(GpuFact(subject="0000:00:00.0", compute_capability="8.9"),),
        ),
    ),
    "blanked identities": (
        Facts(source="a", gpus=(GpuFact(subject="gpu:0", uuid="blanked-1"),)),
        Facts(source="b", gpus=(GpuFact(subject="gpu:0", uuid=uuid(1, 0)),)),
    ),
}


@pytest.mark.parametrize("case", PARTS)
def test_parts_of_one_machine_are_joined(case: str) -> None:
    assert why_strangers(PARTS[case]) is None
    assert why_strangers(PARTS[case][::-1]) is None


@pytest.mark.parametrize(
    "names",
    [
        ("hwloc-xml/nvidiaDGX2.xml", "nvidia-smi-nvlink/a100x8-nvlink-status.txt"),
        ("nvidia-smi-topo/rtx5090x2-phb.txt", "nvidia-smi-topo/dgx1-v100x8-4nic.txt"),
    ],
)
def test_recordings_of_two_machines_are_refused(names: tuple[str, ...], recordings: Path) -> None:
    paths = [recordings / "topologies" / name for name in names]
    with pytest.raises(UsageError, match="scan them one by one"):
        scan_files([(path.name, path.read_bytes()) for path in paths])


def test_two_matrices_of_one_machine_are_joined(recordings: Path) -> None:
    folder = recordings / "topologies" / "nvidia-smi-topo"
    paths = [folder / f"rtx5090x2-{what}.txt" for what in ("phb", "p2p-rw")]
    document = scan_files([(path.name, path.read_bytes()) for path in paths])
    assert sum(node.id.startswith("gpu") for node in document.nodes) == 2
