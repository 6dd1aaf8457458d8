"""A copied `/sys/class/infiniband`: verbs devices and their ports.

Such a copy rarely has the links that tell which PCI function a device is: those NICs then have no
place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from topoprobe.errors import InputError
from topoprobe.machine.addresses import last_address
from topoprobe.machine.devices import model_of
from topoprobe.machine.facts import Facts, NicFact, PciFact
from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.searching import below, find_folder
from topoprobe.machine.sources.verbs import VerbsPort, read_ports
from topoprobe.records.base import Missing
from topoprobe.records.machine import NicPort

_PLACE = "sys/class/infiniband"
# NVIDIA's `MT4129` is its PCI device id in decimal.
_NVIDIA_TYPE = re.compile(r"MT([0-9]{4,5})")
_NVIDIA_NETWORKS = "15b3"


def matches(files: Files) -> bool:
    """Tell whether a tree has verbs devices that the reader of `/sys` does not see."""
    return _find(files) is not None


def read(files: Files, name: str = "") -> Facts:
    """Read what class infiniband tells.

    Parameters
    ----------
    files : Files
        The copied folder, or one around it.
    name : str
        Of a recording.

    Raises
    ------
    InputError
        If there is no device with ports in it.
    """
    place = _find(files)
    if place is None:
        raise InputError(f"{name} has no */ports/*/rate; expected a copy of class infiniband.")
    folders = [below(place, device) for device in _devices(files, place)]
    nics = [_nic(files, folder) for folder in folders]
    return Facts(
        source=f"infiniband {name}".strip(),
        functions=tuple(
            PciFact(address=nic.address, name=nic.model, has_interface=True)
            for nic in nics
            if nic.address is not None
        ),
        nics=tuple(nics),
        unknown=tuple(m for nic in nics for m in _unknown(nic)),
    )


def _find(files: Files) -> str | None:
    if files.names("sys"):
        is_read = files.names("sys/bus/pci/devices") or files.names("sys/devices/system")
        return _PLACE if not is_read and _devices(files, _PLACE) else None
    return find_folder(files, lambda folder: bool(_devices(files, folder)))


def _devices(files: Files, place: str) -> list[str]:
    return [
        device
        for device in files.names(place)
        if any(
            files.data(f"{port}/{file}") is not None
            for _, port in files.numbered(f"{below(place, device)}/ports", "")
            for file in ("rate", "state", "link_layer")
        )
    ]


def _nic(files: Files, folder: str) -> NicFact:
    device = folder.rpartition("/")[2]
    address = last_address(files.link(folder)) or last_address(files.link(f"{folder}/device"))
    return NicFact(
        key=device,
        address=address,
        model=_model(files.text(f"{folder}/hca_type")),
        is_bond="bond" in device or None,
        ports=tuple(_named(read_ports(files, folder))),
    )


def _named(ports: Sequence[VerbsPort]) -> Iterator[NicPort]:
    for port in ports:
        yield NicPort(
            name=port.device if len(ports) == 1 else f"{port.device}:{port.number}",
            verbs_device=port.device,
            link_layer=port.link_layer,
            state=port.state,
            rate_bits_per_s=port.rate_bits_per_s,
        )


def _model(hca_type: str | None) -> str | None:
    match = _NVIDIA_TYPE.fullmatch(hca_type or "")
    if match is None:
        return hca_type or None
    function = PciFact(address="", vendor=_NVIDIA_NETWORKS, device=f"{int(match[1]):04x}")
    return model_of(function) or hca_type


def _unknown(nic: NicFact) -> Iterator[Missing]:
    subject = nic.address or f"nic:{nic.key}"
    if nic.address is None:
        reason = "The copy has no link to the PCI device, so its PCI placement is unknown."
        yield Missing(subject=subject, fact="pci_address", reason=reason)
    for port in nic.ports:
        if port.rate_bits_per_s is None:
            reason = f"The port is {port.state or 'in an unknown state'}, so its rate is not told."
            yield Missing(subject=subject, fact=f"rate of {port.name}", reason=reason)
