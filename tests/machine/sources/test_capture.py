"""Capturing a machine: the replay equals the live reading, and nothing in it names the machine."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import msgspec
import pytest

from topoprobe.errors import InputError
from topoprobe.machine.sources.capture.blanking import Blanker, without_serial_number
from topoprobe.machine.sources.capture.capturing import Capture, capture_live
from topoprobe.machine.sources.capture.packing import pack
from topoprobe.machine.sources.capture.recorder import Recorder, Tree
from topoprobe.machine.sources.capture.replay import ABOUT, ANSWERS
from topoprobe.machine.sources.detect import unpack
from topoprobe.machine.sources.files import Folder
from topoprobe.machine.sources.files.archive import Archive
from topoprobe.machine.sources.nvml.fake import FakeGpu, FakeNvml
from topoprobe.machine.sources.nvml.provider import Answer
from topoprobe.machine.sources.scan import read_live, scan_files
from topoprobe.records.documents import encode
from topoprobe.records.machine import Gpu, MachineDocument, Nic

WHEN = "2026-01-02T03:04:05+00:00"
NO_DRIVER = "NVML library not found: there is no NVIDIA driver here."
MAC, GUID, SERIAL = "b8:59:9f:12:34:56", "b859:9f03:0012:3456", "S64DNE0R123456"
UUIDS = ("2b1c3d4e-5f60-7182-93a4-b5c6d7e8f901", "3b1c3d4e-5f60-7182-93a4-b5c6d7e8f902")
HOST, CONTAINER = "lab7-node3.example.com", "d" * 63 + "1"
CLUSTER = list(range(1, 17))
SECRETS = (
    MAC, MAC.replace(":", ""), GUID, SERIAL, *UUIDS, HOST, "lab7-node3", CONTAINER, "vg0/root",
    bytes(CLUSTER).hex(), "1653420180123",
)  # fmt: skip
BRIDGE, GPUS = "0000:00:01.0", ("0000:01:00.0", "0000:02:00.0")
DEVICES = "sys/devices/pci0000:00"


def file(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"{text}\n")


def link(root: Path, path: str, to: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).symlink_to(os.path.relpath(root / to, (root / path).parent))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a root with two GPUs, a NIC, a drive, and every secret that a root may hold."""
    functions = (
        (GPUS[0], "0x030200", "0x10de"), (GPUS[1], "0x030200", "0x10de"),
        ("0000:03:00.0", "0x020000", "0x15b3"), ("0000:04:00.0", "0x010802", "0x144d"),
    )  # fmt: skip
    for i, (address, class_code, vendor) in enumerate(functions):
        bridge = f"{DEVICES}/0000:00:0{i + 1}.0"
        for place, code in ((bridge, "0x060400"), (f"{bridge}/{address}", class_code)):
            file(tmp_path, f"{place}/class", code)
            file(tmp_path, f"{place}/vendor", vendor)
            file(tmp_path, f"{place}/max_link_speed", "16.0 GT/s PCIe")
            file(tmp_path, f"{place}/max_link_width", "16")
            file(tmp_path, f"{place}/numa_node", "0")
            link(tmp_path, f"sys/bus/pci/devices/{place.rpartition('/')[2]}", place)
    nic, drive = f"{DEVICES}/0000:00:03.0/0000:03:00.0", f"{DEVICES}/0000:00:04.0/0000:04:00.0"
    interface = "enx" + MAC.replace(":", "")
    file(tmp_path, f"{nic}/net/{interface}/address", MAC)
    file(tmp_path, f"{nic}/net/{interface}/speed", "100000")
    file(tmp_path, f"{nic}/net/{interface}/operstate", "up")
    file(tmp_path, f"{nic}/infiniband/mlx5_0/node_guid", GUID)
    file(tmp_path, f"{nic}/infiniband/mlx5_0/node_desc", f"{HOST} mlx5_0")
    file(tmp_path, f"{nic}/infiniband/mlx5_0/ports/1/rate", "100 Gb/sec (4X EDR)")
    file(tmp_path, f"{nic}/infiniband/mlx5_0/ports/1/state", "4: ACTIVE")
    file(tmp_path, f"{drive}/nvme/nvme0/serial", f"{SERIAL}      ")
    file(tmp_path, f"{drive}/nvme/nvme0/nvme0n1/size", "2048")
    link(tmp_path, f"sys/class/net/{interface}", f"{nic}/net/{interface}")
    link(tmp_path, "sys/class/infiniband/mlx5_0", f"{nic}/infiniband/mlx5_0")
    link(tmp_path, "sys/class/nvme/nvme0", f"{drive}/nvme/nvme0")
    link(tmp_path, "sys/block/nvme0n1", f"{drive}/nvme/nvme0/nvme0n1")
    file(tmp_path, "sys/devices/system/cpu/online", "0-3")
    file(tmp_path, "sys/devices/system/node/node0/cpulist", "0-3")
    file(tmp_path, "proc/sys/kernel/hostname", HOST)
    file(tmp_path, "proc/sys/kernel/arch", "x86_64")
    file(tmp_path, "proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/mapper/vg0/root iommu=pt quiet")
    file(tmp_path, "proc/123/cgroup", f"0::/docker/{CONTAINER}")
    (tmp_path / "proc/self").symlink_to("123")
    return tmp_path


def driver() -> FakeNvml:
    fabric = {"state": 3, "clusterUuid": CLUSTER, "cliqueId": 7, "status": 0}
    return FakeNvml(
        [
            FakeGpu(
                f"0000{address}",
                uuid=f"GPU-{uuid}",
                changed={
                    "nvmlDeviceGetSerial": "1653420180123",
                    "nvmlDeviceGetGpuFabricInfoV": fabric,
                },
            )
            for address, uuid in zip(GPUS, UUIDS, strict=True)
        ]
    )


def captured(root: Path, *, keeps_identities: bool = False) -> Capture:
    return capture_live(
        WHEN, top="box", keeps_identities=keeps_identities, root=root, driver=driver()
    )


def comparable(document: MachineDocument) -> bytes:
    """Return a document without what a replay has to tell otherwise: its origin and its name."""
    one = msgspec.structs.replace(document, origin="recorded")
    return encode(one).replace(b" box.tar.gz", b"")


def contents(archive: bytes) -> bytes:
    """Return all names, targets and contents in an archive."""
    return gzip.decompress(archive)


def test_replay_equals_the_live_reading_with_identities_kept(root: Path) -> None:
    capture = captured(root, keeps_identities=True)
    replayed = scan_files([("box.tar.gz", capture.archive)])
    assert comparable(replayed) == comparable(capture.document)
    assert replayed.captured_at == WHEN
    assert capture.blanked == {}
    assert {g.num_nvlinks for g in replayed.nodes if isinstance(g, Gpu)} == {18}


def test_replay_differs_only_in_what_was_blanked(root: Path) -> None:
    capture = captured(root)
    replayed = comparable(scan_files([("box.tar.gz", capture.archive)]))
    expected = comparable(capture.document)
    for secret in (UUIDS[0].encode(), HOST.encode()):
        assert secret in expected
        assert secret not in replayed
    lines = zip(expected.splitlines(), replayed.splitlines(), strict=True)
    changed = {a.split(b'"')[1] for a, b in lines if a != b}
    assert changed <= {b"name", b"uuid", b"cluster_uuid", b"net_interface"}


def test_capture_holds_no_secret(root: Path) -> None:
    found = contents(captured(root).archive)
    assert [s for s in SECRETS if s.encode() in found] == []
    kept = contents(captured(root, keeps_identities=True).archive)
    assert UUIDS[0].encode() in kept


def test_capture_counts_what_it_blanked(root: Path) -> None:
    blanked = captured(root).blanked
    assert blanked["host name"] in {1, 2}
    assert blanked["UUID"] == 3


def test_capture_of_one_reading_is_always_the_same_bytes(root: Path) -> None:
    assert captured(root).archive == captured(root).archive


def test_capture_is_a_tree_as_programs_for_sysfs_expect_it(root: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(captured(root).archive)) as archive:
        members = {member.name: member for member in archive}
    assert {name.split("/")[0] for name in members} == {"box"}
    assert {"box/sys", "box/proc", f"box/{ABOUT}", f"box/{ANSWERS}"} <= members.keys()
    device = members[f"box/sys/bus/pci/devices/{GPUS[0]}"]
    assert device.issym()
    assert device.linkname == f"../../../devices/pci0000:00/{BRIDGE}/{GPUS[0]}"
    assert f"box/{DEVICES}/{BRIDGE}/{GPUS[0]}/class" in members
    assert {member.mtime for member in members.values()} == {0}


def test_machine_without_a_driver_says_so_in_the_replay(root: Path) -> None:
    capture = capture_live(WHEN, top="box", keeps_identities=True, root=root, driver=NO_DRIVER)
    replayed = scan_files([("box.tar.gz", capture.archive)])
    assert comparable(replayed) == comparable(capture.document)
    assert [m.reason for m in replayed.unknown if m.fact == "nvml"] == [NO_DRIVER]


def test_this_machine_replays_as_it_was_read() -> None:
    capture = capture_live(WHEN, top="box", keeps_identities=True)
    replayed = scan_files([("box.tar.gz", capture.archive)])
    assert comparable(replayed) == comparable(capture.document)


@pytest.mark.parametrize(
    "name",
    [
        "32intel64-2p8co2t+8ve.tar.bz2",
        "40intel64-2g2n4c+pcilocality.tar.bz2",
        "2pa-pcidomain32bits.tar.bz2",
        "nvidiagpunumanodes.tar.bz2",
    ],
)
@pytest.mark.parametrize("keeps_identities", [True, False])
def test_recorded_server_survives_being_captured(
    name: str, keeps_identities: bool, recordings: Path, tmp_path: Path
) -> None:
    with tarfile.open(recordings / "topologies/sysfs" / name) as archive:
        archive.extractall(tmp_path, filter="fully_trusted")
    (root,) = tmp_path.iterdir()
    capture = capture_live(
        WHEN, top="box", keeps_identities=keeps_identities, root=root, driver=NO_DRIVER
    )
    replayed = scan_files([("box.tar.gz", capture.archive)])
    assert comparable(replayed) == comparable(capture.document)


def test_file_read_in_parts_is_kept_whole(tmp_path: Path) -> None:
    file(tmp_path, "sys/a", "0123456789")
    files = Recorder(Folder(tmp_path))
    assert files.data("sys/a", 4) == b"0123"
    assert files.data("sys/a", 9) == b"012345678"
    assert files.data("sys/a", 4) == b"0123"
    assert files.data("sys/none") is None
    assert files.tree.files == {"sys/a": b"012345678"}


def test_listed_folders_and_links_are_kept_and_unread_files_are_not(tmp_path: Path) -> None:
    file(tmp_path, "sys/class/x/deep/file", "1")
    file(tmp_path, "sys/class/unread", "1")
    link(tmp_path, "sys/class/y", "sys/class/x")
    files = Recorder(Folder(tmp_path))
    assert files.names("sys/class") == ["unread", "x", "y"]
    replayed = Archive.read(unpack(pack(files.tree, "top"), "x"), "x")
    assert replayed.names("top/sys/class") == ["x", "y"]
    assert replayed.link("top/sys/class/y") == "x"


def test_folder_that_was_found_empty_is_kept(tmp_path: Path) -> None:
    (tmp_path / "sys/kernel/iommu_groups").mkdir(parents=True)
    files = Recorder(Folder(tmp_path))
    assert files.names("sys/kernel") == ["iommu_groups"]
    assert files.names("sys/kernel/iommu_groups") == files.names("sys/kernel/absent") == []
    replayed = Archive.read(unpack(pack(files.tree, "top"), "x"), "x")
    assert replayed.names("top/sys/kernel") == ["iommu_groups"]


def test_own_process_is_kept_under_its_usual_name(tmp_path: Path) -> None:
    file(tmp_path, "proc/77/status", "Cpus_allowed_list:\t0-1")
    (tmp_path / "proc/self").symlink_to("77")
    files = Recorder(Folder(tmp_path))
    files.text("proc/self/status")
    assert set(files.tree.files) == {"proc/self/status"}


def blank(path: str, text: str, blanker: Blanker | None = None) -> str:
    tree = Tree({path: text.encode()}, set(), {})
    return next(iter((blanker or Blanker()).tree(tree).files.values())).decode()


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("proc/sys/kernel/hostname", "gpu17.lab\n", "host-1\n"),
        ("sys/class/net/eth0/address", "b8:59:9f:12:34:56\n", "00:00:00:00:00:01\n"),
        ("sys/class/net/lo/address", "00:00:00:00:00:00\n", "00:00:00:00:00:00\n"),
        ("sys/x/node_guid", "b859:9f03:0012:3456\n", "0000:0000:0000:0001\n"),
        (
            "sys/x/gids/0",
            "fe80:0000:0000:0000:b859:9f03:0012:3456\n",
            "fe80:0000:0000:0000:0000:0000:0000:0001\n",
        ),
        ("sys/x/gids/1", f"{'0000:' * 7}0000\n", f"{'0000:' * 7}0000\n"),
        ("sys/x/serial", "ABC  \n", "blanked-1  \n"),
        ("sys/class/dmi/id/product_serial", "0\n", "0\n"),
        (
            "proc/driver/nvidia/gpus/0000:01:00.0/information",
            "GPU UUID: \t GPU-2b1c3d4e-5f60-7182-93a4-b5c6d7e8f901\nBus Location: 0000:01:00.0\n",
            "GPU UUID: \t GPU-00000000-0000-0000-0000-000000000001\nBus Location: 0000:01:00.0\n",
        ),
        (
            "proc/cmdline",
            'root=UUID=1-2 iommu=pt ip=10.0.0.1 dyndbg="file a +p" quiet pci=realloc,noacs\n',
            "root=blanked iommu=pt ip=blanked dyndbg=blanked quiet pci=realloc,noacs\n",
        ),
        ("proc/cmdline", "quiet -- --token secret\n", "quiet\n"),
        (
            "proc/self/mountinfo",
            "1 0 254:0 / / rw,relatime - ext4 /dev/mapper/lab7-root rw\n"
            "2 1 0:40 / /home/alice rw - nfs4 files.lab7:/alice rw,addr=10.0.0.1\n",
            "1 0 254:0 / / rw,relatime - ext4 /dev/blanked rw\n",
        ),
        (
            "proc/self/mountinfo",
            "1 0 0:50 / / rw - overlay overlay rw,lowerdir=/home/alice/x,upperdir=/y\n",
            "1 0 0:50 / / rw - overlay blanked rw\n",
        ),
        ("sys/nodes/1/properties", "simd_count 4\nunique_id 123456789\n",
         "simd_count 4\nunique_id 1\n"),
        ("proc/self/cgroup", f"0::/docker/{'ab' * 32}\n", f"0::/docker/{1:064x}\n"),
        ("sys/x/local_cpus", "ffffffff,ffffffff,00000000\n", "ffffffff,ffffffff,00000000\n"),
        ("sys/x/resource", "0x00000000a0000000 0x00000000a0ffffff 0x0000000000040200\n",
         "0x00000000a0000000 0x00000000a0ffffff 0x0000000000040200\n"),
        ("sys/x/uevent", "PCI_SLOT_NAME=0000:1b:00.0\nPCI_ID=10DE:2330\n",
         "PCI_SLOT_NAME=0000:1b:00.0\nPCI_ID=10DE:2330\n"),
    ],
)  # fmt: skip
def test_identity_is_blanked_and_the_rest_is_left(path: str, text: str, expected: str) -> None:
    assert blank(path, text) == expected


def test_equal_identities_get_equal_substitutes() -> None:
    files = {
        "sys/a/address": b"b8:59:9f:12:34:56", "sys/b/address": b"B8:59:9F:12:34:56",
        "sys/c/address": b"b8:59:9f:12:34:57",
    }  # fmt: skip
    found = Blanker().tree(Tree(files, set(), {})).files
    assert [found[f"sys/{name}/address"][-2:] for name in "abc"] == [b"01", b"01", b"02"]


def test_host_called_like_a_driver_renames_no_driver() -> None:
    tree = Tree(
        {"proc/sys/kernel/hostname": b"nvidia", "sys/module/nvidia/version": b"nvidia 580"},
        set(),
        {"sys/x/driver": "../drivers/nvidia"},
    )
    found = Blanker().tree(tree)
    assert found.links == tree.links
    assert found.files["sys/module/nvidia/version"] == b"nvidia 580"
    assert found.files["proc/sys/kernel/hostname"] == b"host-1"


def test_serial_number_in_config_space_is_blanked_and_nothing_else() -> None:
    config = bytearray(range(256)) * 16
    config[0x100:0x104] = (0x14010001).to_bytes(4, "little")
    config[0x140:0x144] = (0x00010003).to_bytes(4, "little")
    blank = without_serial_number(bytes(config))
    assert blank[0x144:0x14C] == bytes(8)
    assert blank[:0x144] + blank[0x14C:] == bytes(config[:0x144] + config[0x14C:])
    assert without_serial_number(bytes(config[:256])) == bytes(config[:256])
    circle = bytes(0x100) + (0x10010001).to_bytes(4, "little") + bytes(60)
    assert without_serial_number(circle) == circle


def test_damaged_capture_is_one_sentence() -> None:
    def archive(**files: bytes) -> bytes:
        names = {"about": ABOUT, "answers": ANSWERS, "cpus": "sys/devices/system/cpu/online"}
        return pack(Tree({names[k]: v for k, v in files.items()}, set(), {}), "x")

    good = b'{"tool_version": "1"}'
    for files, words in (
        ({"about": b"{"}, "damaged"),
        ({"about": b'{"tool_version": "1", "version": 99}'}, "newer"),
        ({"about": good, "answers": b"[]"}, "no recording"),
        ({"about": good, "answers": b'{"calls": [], "version": 99}'}, "version 99"),
    ):
        with pytest.raises(InputError, match=words):
            scan_files([("x.tar.gz", archive(cpus=b"0", **files))])


def test_answers_of_a_driver_that_lost_a_gpu_replay_as_they_were(root: Path) -> None:
    class Failing(FakeNvml):
        def ask(self, function: str, *arguments: object) -> Answer:
            if arguments and str(arguments[0]) == "gpu:1":
                return Answer(None, f"{function} failed: GPU is lost.", 15)
            return super().ask(function, *arguments)

    lost = Failing([FakeGpu(f"0000{address}") for address in GPUS])
    capture = capture_live(WHEN, top="box", keeps_identities=True, root=root, driver=lost)
    replayed = scan_files([("box.tar.gz", capture.archive)])
    assert comparable(replayed) == comparable(capture.document)
    assert any("lost" in m.reason for m in replayed.unknown)


def test_reading_through_the_recorder_changes_nothing(root: Path) -> None:
    plain = read_live(Folder(root), driver(), WHEN)
    assert captured(root).document == plain
    assert any(isinstance(node, Nic) for node in plain.nodes)
