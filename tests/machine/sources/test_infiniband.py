"""Copies of class infiniband: ports and rates, with a place only where a link tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from topoprobe.errors import InputError
from topoprobe.machine.sources import infiniband
from topoprobe.machine.sources.files import Folder
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Nic

UP = {"rate": "400 Gb/sec (4X NDR)", "state": "4: ACTIVE", "link_layer": "InfiniBand"}


def device(root: Path, name: str, *ports: dict[str, str], **files: str) -> Path:
    folder = root / name
    for number, told in enumerate(ports, 1):
        port = folder / f"ports/{number}"
        port.mkdir(parents=True)
        for file, text in told.items():
            (port / file).write_text(f"{text}\n", encoding="ascii")
    for file, text in files.items():
        (folder / file).write_text(f"{text}\n", encoding="ascii")
    return folder


def nics(root: Path) -> tuple[Nic, ...]:
    return Machine(scan_files([("x", Folder(root))])).all(Nic)


def test_h100_recording_has_eight_ndr_ports_and_a_bond(recordings: Path) -> None:
    path = recordings / "topologies/infiniband-sysfs/sys-class-infiniband-h100.0.tar.xz"
    document = scan_files([(path.name, path.read_bytes())])
    found = {nic.name: nic for nic in Machine(document).all(Nic)}
    assert list(found) == [*(f"mlx5_{i}" for i in (0, 1, 4, 5, 6, 7, 8, 9)), "mlx5_bond_0"]
    for name, nic in found.items():
        is_bond = name == "mlx5_bond_0"
        port = nic.ports[0]
        assert port.state == "active"
        assert port.rate_bits_per_s == (200e9 if is_bond else 400e9)
        assert port.link_layer == ("Ethernet" if is_bond else "InfiniBand")
        assert nic.is_bond is (True if is_bond else None)
        assert nic.model == f"Mellanox {'BlueField-3' if is_bond else 'ConnectX-7'}"
        assert nic.pci_address is None
    reasons = {m.subject: m.reason for m in document.unknown if m.fact == "pci_address"}
    assert reasons.keys() == {nic.id for nic in found.values()}
    assert all("PCI placement is unknown" in reason for reason in reasons.values())


@pytest.mark.parametrize("above", ["", "a/b", "sys/class/infiniband"])
def test_devices_are_found_wherever_the_copy_was_taken(tmp_path: Path, above: str) -> None:
    device(tmp_path / above, "mlx5_0", UP)
    assert [nic.id for nic in nics(tmp_path)] == ["nic:mlx5_0"]


def test_link_to_the_function_gives_the_nic_its_address(tmp_path: Path) -> None:
    folder = device(tmp_path, "mlx5_0", UP, hca_type="MT4129")
    (folder / "device").symlink_to("../../../0000:1a:00.0")
    found = nics(tmp_path)
    assert [(nic.id, nic.name, nic.model) for nic in found] == [
        ("nic@0000:1a:00.0", "mlx5_0", "Mellanox ConnectX-7")
    ]


def test_two_ports_of_one_device_are_one_nic(tmp_path: Path) -> None:
    device(tmp_path, "mlx4_0", UP, {**UP, "rate": "40 Gb/sec (4X QDR)"})
    ports = nics(tmp_path)[0].ports
    assert [(p.name, p.rate_bits_per_s) for p in ports] == [("mlx4_0:1", 400e9), ("mlx4_0:2", 40e9)]


@pytest.mark.parametrize(
    ("told", "rate"),
    [
        ({**UP, "state": "1: DOWN", "rate": "2.5 Gb/sec (1X SDR)"}, None),
        ({**UP, "rate": "0 Gb/sec"}, None),
        ({**UP, "rate": "12.5 Gb/sec (1X EDR)"}, 12.5e9),
        ({"rate": "400 Gb/sec (4X NDR)"}, None),
        ({"rate": "400 Gb/sec (4X NDR)", "phys_state": "5: LinkUp"}, 400e9),
        ({"state": "4: ACTIVE", "rate": "fast"}, None),
        ({"state": "4: ACTIVE"}, None),
    ],
)
def test_rate_counts_only_of_a_port_that_is_up(
    tmp_path: Path, told: dict[str, str], rate: float | None
) -> None:
    device(tmp_path, "mlx5_0", told)
    document = scan_files([("x", Folder(tmp_path))])
    assert Machine(document).all(Nic)[0].ports[0].rate_bits_per_s == rate
    assert ("rate of mlx5_0" in {m.fact for m in document.unknown}) == (rate is None)


@pytest.mark.parametrize("hca_type", ["MT99999999", "hfi1", "MTxx"])
def test_unknown_type_is_kept_as_it_is_written(tmp_path: Path, hca_type: str) -> None:
    device(tmp_path, "x_0", UP, hca_type=hca_type)
    assert nics(tmp_path)[0].model == hca_type


def test_folder_without_ports_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlx5_0/ports/1").mkdir(parents=True)
    assert not infiniband.matches(Folder(tmp_path))
    with pytest.raises(InputError, match="rate"):
        infiniband.read(Folder(tmp_path), "x")


def test_copy_of_sys_is_left_to_its_own_reader(tmp_path: Path) -> None:
    device(tmp_path / "sys/class/infiniband", "mlx5_0", UP)
    (tmp_path / "sys/bus/pci/devices/0000:00:00.0").mkdir(parents=True)
    assert not infiniband.matches(Folder(tmp_path))
