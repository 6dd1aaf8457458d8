"""Whether GPUs and NICs can reach each other directly: ACS, IOMMU, and the driver's word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from topoprobe.machine.verdicts.check import Check, fail, ok, warn
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count, listed, name_of
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, Nic, PcieSwitch, Port

NAME = "peer-access"
# The ACS controls that send a peer's packets up to the root complex [pcie-base].
_REDIRECTS = {"ReqRedir", "CmpltRedir"}
_MEANINGS = {
    "CNS": "the chip set does not support it",
    "GNS": "the GPU does not support it",
    "TNS": "the way between them does not support it",
    "NS": "it is not supported",
    "DR": "it is switched off in the driver's settings",
}


class _Meeting(NamedTuple):
    """A switch and, by its downstream port, the GPUs and NICs behind it."""

    switch: PcieSwitch
    behind: dict[str | None, list[Gpu | Nic]]


def judge(machine: Machine) -> Iterator[Verdict]:
    """Look at all that may keep GPUs from reaching each other and NICs from reaching GPUs."""
    yield from _redirection(machine)
    yield from _translation(machine)
    yield from _driver(machine)


CHECK = Check(NAME, "PCIe switches let GPUs and NICs reach each other", judge)


def _redirection(machine: Machine) -> Iterator[Verdict]:
    silent = []
    for meeting in _meetings(machine):
        ports = {port.address: port for port in meeting.switch.ports}
        crossed = [ports[address] for address in meeting.behind if address in ports]
        redirecting = [p for p in crossed if _REDIRECTS & set(p.access_control or ())]
        devices = [device for behind in meeting.behind.values() for device in behind]
        names = listed([name_of(device) for device in devices])
        subject = meeting.switch.id
        if redirecting:
            yield _redirected(machine, subject, names, redirecting)
        elif any(port.access_control is not None for port in crossed):
            yield ok(NAME, subject, f"Lets {names} reach each other: no ACS redirection.")
        else:
            silent.append(meeting)
    if silent and machine.document.origin != "synthetic":
        yield warn(
            NAME,
            "host",
            f"ACS of the ports that join GPUs and NICs is not told for "
            f"{count(len(silent), 'PCIe switch')}, so whether peer traffic takes the way through "
            "the CPU cannot be.",
            "Read it as root: run this command with sudo, or give it the output of "
            "`sudo lspci -vvv` too.",
        )


def _redirected(machine: Machine, subject: str, names: str, ports: list[Port]) -> Verdict:
    addresses = [port.address for port in ports]
    evidence = (
        f"Redirects peer traffic at {count(len(ports), 'port')} ({listed(addresses)}): what "
        f"{names} send each other goes up to the CPU and back down the same uplink."
    )
    if machine.host is not None and machine.host.is_virtual:
        fix = (
            "On the host, enable ATS for the devices or turn ACS redirection off for these ports: "
            "it halves what the uplink gives, or keeps GPUDirect from working."
        )
        return warn(NAME, subject, evidence, fix)
    fix = (
        "Turn ACS off in the BIOS, boot with pci=disable_acs_redir=<these ports>, or until the "
        f"next boot: setpci -s {addresses[0]} ECAP_ACS+6.w=0 for each. Peers then use the switch "
        "alone and leave its uplink free."
    )
    return fail(NAME, subject, evidence, fix)


def _meetings(machine: Machine) -> Iterator[_Meeting]:
    """Yield the switches where a GPU meets a GPU or NIC that is behind another port."""
    behind: dict[str, dict[str | None, list[Gpu | Nic]]] = {}
    devices: list[Gpu | Nic] = [*machine.all(Gpu), *machine.all(Nic)]
    for device in devices:
        for node in (device, *machine.ancestors(device.id)):
            link = machine.link_above(node.id)
            if link is not None:
                behind.setdefault(link.a, {}).setdefault(link.a_port, []).append(device)
    for switch in machine.all(PcieSwitch):
        ports = behind.get(switch.id, {})
        has_gpu = any(isinstance(d, Gpu) for devices in ports.values() for d in devices)
        if len(ports) > 1 and has_gpu:
            yield _Meeting(switch, ports)


def _translation(machine: Machine) -> Iterator[Verdict]:
    host = machine.host
    if host is None or host.iommu is None or len((*machine.all(Gpu), *machine.all(Nic))) < 2:
        return
    if not machine.all(Gpu):
        return
    if host.iommu != "translated" or host.is_virtual:
        yield ok(NAME, "host", f"The IOMMU is in the mode {host.iommu!r}.")
        return
    options = f" (booted with {' '.join(host.kernel_options)})" if host.kernel_options else ""
    yield warn(
        NAME,
        "host",
        f"The IOMMU translates the addresses of all devices{options}, so peer traffic goes up to "
        "the CPU.",
        "Boot with iommu=pt, which leaves devices of this host untranslated: direct peer traffic "
        "and host copies without look-ups.",
    )


def _driver(machine: Machine) -> Iterator[Verdict]:
    pairs = [p for p in machine.document.pairs if p.peer_status not in {None, "U"}]
    for status in dict.fromkeys(pair.peer_status or "" for pair in pairs):
        same = [pair for pair in pairs if pair.peer_status == status]
        share = f"{len(same)} of {len(pairs)} pairs of GPUs"
        if status == "OK":
            yield ok(NAME, "host", f"The driver allows peer access in {share}.")
            continue
        meaning = _MEANINGS.get(status, "for a reason that is not known here")
        evidence = f"The driver refuses peer access in {share}: {status}, {meaning}."
        has_nvlink = any((pair.path_class or "").startswith("NV") for pair in same)
        verdict = fail if status == "DR" or has_nvlink else warn
        yield verdict(NAME, "host", evidence, _fix_of(status, has_nvlink))


def _fix_of(status: str, has_nvlink: bool) -> str:
    if status == "DR":
        return (
            "Remove the setting that disables peer access from /etc/modprobe.d (NVreg_… or "
            "RMDisableP2P) and reload the driver: copies then skip the host's memory."
        )
    if has_nvlink:
        return (
            "These pairs have NVLinks: check the fabric manager, MIG, and `nvidia-smi topo -p2p "
            "rw`; until then all their traffic goes through the host's memory."
        )
    return (
        "Plan for copies between these GPUs through the host's memory (NCCL does so by itself), "
        "and prefer pipeline to tensor parallelism; only another GPU or driver changes it."
    )
