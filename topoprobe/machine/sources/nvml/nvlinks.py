"""The links of a GPU that are no PCIe: NVLinks one by one, and chip-to-chip links to its CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from topoprobe.machine.addresses import format_cpu_list, normal_address
from topoprobe.machine.facts import PeerFact
from topoprobe.machine.nvlink import nvlink_bytes_per_s
from topoprobe.machine.sources.nvml.codes import (
    MAX_NVLINKS,
    NVLINK_PEER_ACCESS,
    Code,
    FarEnd,
    Field,
)
from topoprobe.machine.sources.nvml.device import Device, field_values, member, number, text
from topoprobe.records.machine import LinkKind

# Bytes per second of one link, one direction, by NVML_NVLINK_VERSION_…, which is no version number
# [nvlink-rates]. 5 (version 3.1) is left out: boards with it run at different rates.
_PER_LINK_BY_VERSION = {1: 20e9, 2: 25e9, 3: 25e9, 4: 25e9, 6: 25e9, 7: 50e9}


class NvLinks(NamedTuple):
    """What a GPU tells of its NVLinks.

    Attributes
    ----------
    num_up : int or None
        Links that are up; None where not one of them answered.
    num_present : int or None
        Links that the GPU has.
    peers : tuple of PeerFact
        The links that are up, one entry per far end.
    """

    num_up: int | None
    num_present: int | None
    peers: tuple[PeerFact, ...]


def read_nvlinks(device: Device, compute_capability: str | None) -> NvLinks:
    """Ask for every NVLink; those that do not answer, are down or serve no peer are noted."""
    (num_present,) = _fields(device, "max_nvlinks", [Field.NVLINK_LINK_COUNT])
    states = _states(device, num_present)
    if states is None:
        return NvLinks(None, num_present, ())
    up = [link for link, is_up in states.items() if is_up]
    _note(device, "inactive nvlinks", "down", [k for k, is_up in states.items() if not is_up])
    _note(device, "nvlinks without peers", "not for peers", _without_peers(device, up))
    per_link = _rate(device, compute_capability, up)
    counts: dict[PeerFact, int] = {}
    for link in up:
        end = _far_end(device, link)
        counts[end] = counts.get(end, 0) + 1
    peers = tuple(
        msgspec.structs.replace(
            end, count=count, bandwidth_bytes_per_s=per_link and per_link * count
        )
        for end, count in counts.items()
    )
    return NvLinks(len(up), num_present, peers)


def read_c2c(device: Device) -> tuple[PeerFact, ...]:
    """Read the coherent links to the CPU, which only coherent boards have."""
    count, megabytes = _fields(device, "c2c", [Field.C2C_LINK_COUNT, Field.C2C_LINK_GET_MAX_BW])
    if not count or count > MAX_NVLINKS:
        return ()
    statuses = _fields(
        device, "c2c status", [[Field.C2C_LINK_GET_STATUS, link] for link in range(count)]
    )
    down = [link for link, status in enumerate(statuses) if status == 0]
    _note(device, "inactive c2c links", "down", down)
    if len(down) == count:
        return ()
    return (
        PeerFact(
            a=device.subject,
            b_kind="cpu",
            kind=LinkKind.C2C,
            count=count - len(down),
            bandwidth_bytes_per_s=(count - len(down)) * megabytes * 1e6 if megabytes else None,
        ),
    )


def _states(device: Device, num_present: int | None) -> dict[int, bool] | None:
    """Ask which links are up; None where the driver would tell of none.

    Links that a board lacks are not supported, which is an answer; they may stand between others.
    """
    states: dict[int, bool] = {}
    failed: dict[str, list[int]] = {}
    is_answered = num_present == 0
    for link in range(MAX_NVLINKS):
        if len(states) + sum(map(len, failed.values())) == num_present:
            break
        answer = device.ask("nvmlDeviceGetNvLinkState", link)
        if device.is_lost:
            device.miss("nvlinks", answer.reason or "")
            return None
        if answer.code == Code.INVALID_ARGUMENT:
            break
        if answer.code == Code.NOT_SUPPORTED:
            is_answered = True
        elif answer.reason is not None:
            failed.setdefault(answer.reason, []).append(link)
        else:
            is_answered = True
            states[link] = bool(number(answer.value))
    for reason, links in failed.items():
        device.miss("nvlinks", f"{reason.rstrip('.')}, for links {_listed(links)}.")
    return states if is_answered else None


def _without_peers(device: Device, up: Sequence[int]) -> list[int]:
    """List the links that do not serve peer access; NCCL leaves them out."""
    asked = {
        link: device.ask("nvmlDeviceGetNvLinkCapability", link, NVLINK_PEER_ACCESS) for link in up
    }
    return [link for link, answer in asked.items() if answer.reason is None and not answer.value]


def _rate(device: Device, compute_capability: str | None, up: Sequence[int]) -> float | None:
    rate = nvlink_bytes_per_s(compute_capability)
    if rate is not None or not up:
        return rate
    version = number(device.ask("nvmlDeviceGetNvLinkVersion", up[0]).value)
    return None if version is None else _PER_LINK_BY_VERSION.get(version)


def _far_end(device: Device, link: int) -> PeerFact:
    """Ask what is at the other end: first its type, because hidden switches have no address."""
    kind = device.ask("nvmlDeviceGetNvLinkRemoteDeviceType", link).value
    pci = device.ask("nvmlDeviceGetNvLinkRemotePciInfo", link).value
    address = normal_address(text(member(pci, "busId")) or "")
    if kind == FarEnd.IBM_NPU:
        return PeerFact(a=device.subject, b_kind="cpu", kind=LinkKind.NVLINK)
    is_switch = kind == FarEnd.SWITCH or (kind != FarEnd.GPU and address is None)
    if kind == FarEnd.GPU and address is None:
        device.miss(f"nvlink {link} peer", "The driver says it is a GPU but not which.")
    return PeerFact(
        a=device.subject,
        b=address,
        b_kind="nvswitch" if is_switch or address is None else "gpu",
        kind=LinkKind.NVLINK,
    )


def _fields(device: Device, fact: str, asked: Sequence[Any]) -> list[int | None]:
    """Ask for several field values in one call; None for each that the board does not have."""
    values = device.offered(fact, field_values, "nvmlDeviceGetFieldValues", list(asked)) or []
    return [*values, *[None] * len(asked)][: len(asked)]


def _note(device: Device, fact: str, state: str, links: Sequence[int]) -> None:
    if links:
        device.miss(fact, f"The driver says these links are {state}: {_listed(links)}.")


def _listed(links: Sequence[int]) -> str:
    return format_cpu_list(tuple(links))
