"""Flows of network adapters, with a script in perftest's place."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.microbench.context import machine
from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure.concurrent import trace_together
from topoprobe.measure.devices import perftest
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.measure.devices.flows import Place
from topoprobe.measure.devices.perftest import AdapterFlows, average_bytes_per_s
from topoprobe.measure.flows import Flow, parse_flow_set
from topoprobe.records.machine import MachineDocument, Nic, NicPort

OUT, BACK = "host:0 -> nic:mlx5_0 via nic", "nic:mlx5_0 -> host:0 via nic"
# As perftest prints it: a table after rows of dashes and addresses.
TABLE = """\
---------------------------------------------------------------------------------------
                    RDMA_Write BW Test
 Number of qps   : 1\t\tTransport type : IB
---------------------------------------------------------------------------------------
 local address: LID 0000 QPN 0x0127 PSN 0x4ff2fd RKey 0x17fdb7 VAddr 0x007f
 #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]
 65536      3517400          0.00               184.40 \t\t     0.351717
---------------------------------------------------------------------------------------
"""
# The server waits for a client, which goes away once it has a rate; both note what they were asked.
SCRIPT = """\
#!/bin/sh
echo "$0 $*" >> {log}
case "$*" in
  *localhost|*other) {client} ;;
  *) exec sleep 60 ;;
esac
"""


def with_adapters() -> MachineDocument:
    ports = (NicPort(name="mlx5_0", net_interface="eth4", verbs_device="mlx5_0"),)
    rdma = Nic(id="nic@0000:02:00.0", name="mlx5_0", parent="host", pci_address="0000:02:00.0",
               ports=ports)  # fmt: skip
    plain = Nic(id="nic@0000:03:00.0", name="eth0", parent="host", pci_address="0000:03:00.0",
                ports=(NicPort(name="eth0", net_interface="eth0"),))  # fmt: skip
    bare = machine()
    return msgspec.structs.replace(bare, nodes=(*bare.nodes, rdma, plain))


def flow(text: str) -> Flow:
    return parse_flow_set(text).flows[0]


class Tool:
    """perftest's place in PATH, and what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls"

    def does(self, client: str) -> None:
        for name in ("ib_write_bw", "ib_read_bw", "numactl"):
            path = self.folder / name
            path.write_text(SCRIPT.format(log=self.log, client=client))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(perftest, "memory_nodes", lambda: (0,))
    (tmp_path / "table").write_text(TABLE)
    found = Tool(tmp_path)
    found.does(f"cat {tmp_path}/table")
    return found


@pytest.fixture
def flows(tmp_path: Path) -> Iterator[AdapterFlows]:
    with closing(AdapterFlows(Place(with_adapters(), available_cpus(), tmp_path))) as opener:
        yield opener


def test_average_is_the_fourth_column_in_gigabits() -> None:
    assert average_bytes_per_s(TABLE) == pytest.approx(184.40e9 / 8)


@pytest.mark.parametrize("text", ["", "65536 100 0.00 0.00 0.0\n", "nothing to see\n"])
def test_average_that_is_not_told_fails(text: str) -> None:
    with pytest.raises(MeasurementFailed, match="told no rate"):
        average_bytes_per_s(text)


def test_adapter_flow_runs_perftest_once_and_believes_it(flows: AdapterFlows, tool: Tool) -> None:
    one = flow(f"{OUT}, txn=1MiB, duration=2s")
    assert flows.missing(one) is None
    opened = flows.open(one, 0, 0)
    assert opened.least_s == 4.0
    for _ in range(2):  # every run of the set is one of perftest
        tool.log.unlink(missing_ok=True)
        (trace,) = trace_together(opened.lanes, 0.3, clock=time.monotonic, pause=time.sleep)
        assert trace.work == pytest.approx(2 * 184.40e9 / 8)
        assert trace.ends_s[0] - trace.start_s == pytest.approx(2.0)
        clients = [call for call in tool.calls() if call.endswith("localhost")]
        assert len(clients) == 1
        assert "ib_write_bw --ib-dev=mlx5_0 --size=1048576 --duration=4 --margin=1" in clients[0]


def test_adapter_flow_to_memory_reads_from_the_peer(flows: AdapterFlows, tool: Tool) -> None:
    opened = flows.open(flow(f"{BACK}, peer=other"), 0, 0)
    trace_together(opened.lanes, 0.05, clock=time.monotonic, pause=time.sleep)
    (call,) = tool.calls()
    assert "ib_read_bw" in call
    assert call.endswith("--port=18515 other")


def test_adapter_flow_between_nodes_places_its_memory(
    flows: AdapterFlows, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perftest, "memory_nodes", lambda: (0, 1))
    opened = flows.open(flow(f"{OUT}, peer=other"), 0, 0)
    trace_together(opened.lanes, 0.05, clock=time.monotonic, pause=time.sleep)
    assert "numactl --membind=0 --cpunodebind=0 ib_write_bw" in tool.calls()[0]


def test_adapter_flow_whose_perftest_dies_fails_with_its_words(
    flows: AdapterFlows, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perftest, "_CONNECT_S", 0.1)
    tool.does("echo Unable to init the socket connection >&2; exit 1")
    opened = flows.open(flow(f"{OUT}, peer=other"), 0, 0)
    with pytest.raises(MeasurementFailed, match="ended with 1: Unable to init the socket"):
        trace_together(opened.lanes, 0.05, clock=time.monotonic, pause=time.sleep)


def test_adapter_flow_whose_perftest_is_killed_fails(
    flows: AdapterFlows, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perftest, "_CONNECT_S", 0.1)
    tool.does("kill -9 $$")
    opened = flows.open(flow(OUT), 0, 0)
    with pytest.raises(MeasurementFailed, match="ended with -9"):
        trace_together(opened.lanes, 0.05, clock=time.monotonic, pause=time.sleep)


def test_adapter_flow_whose_perftest_hangs_is_ended(
    flows: AdapterFlows, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perftest, "_CONNECT_S", -2.9)
    tool.does("exec sleep 60")
    opened = flows.open(flow(OUT), 0, 0)
    with pytest.raises(MeasurementFailed, match="did not end within"):
        trace_together(opened.lanes, 0.05, clock=time.monotonic, pause=time.sleep)


def test_perftest_that_is_not_installed_is_missing(
    flows: AdapterFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert flows.missing(flow(OUT)) == "perftest is not installed (there is no ib_write_bw)"
    assert flows.missing(flow(BACK)) == "perftest is not installed (there is no ib_read_bw)"


def test_adapter_may_be_named_by_its_number(flows: AdapterFlows, tool: Tool) -> None:
    assert flows.missing(flow("host:0 -> nic:0 via nic")) is None
    assert flows.missing(flow("host:0 -> nic:1 via nic")) == "nic:1 is no RDMA device"


def test_adapter_without_rdma_is_missing(flows: AdapterFlows, tool: Tool) -> None:
    assert flows.missing(flow("host:0 -> nic:eth0 via nic")) == "nic:eth0 is no RDMA device"


def test_machine_without_adapters_says_so(tmp_path: Path) -> None:
    place = Place(machine(), available_cpus(), tmp_path)
    told = "is no network adapter of this machine; it has none"
    with closing(AdapterFlows(place)) as opener, pytest.raises(EnvironmentMissing, match=told):
        opener.missing(flow(OUT))


def test_adapter_flow_between_nodes_needs_numactl(
    flows: AdapterFlows, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perftest, "memory_nodes", lambda: (0, 1))
    (tool.folder / "numactl").unlink()
    monkeypatch.setenv("PATH", str(tool.folder))
    assert "numactl is not installed" in (flows.missing(flow(OUT)) or "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("host:0 -> nic:ib9 via nic", "nic:ib9 is no network adapter of this machine"),
        ("host:0 -> host:0 via nic", "between nic:NAME and host:N"),
        ("host:9 -> nic:mlx5_0 via nic", "host:9 is no NUMA node"),
        (f"{OUT}, size=1MiB", "no work, size or chunk"),
        (f"{OUT}, work=gemm", "no work, size or chunk"),
        (f"{OUT}, cap=1GB/s", "leave out cap"),
    ],
)
def test_adapter_flow_that_makes_no_sense_is_refused(
    flows: AdapterFlows, tool: Tool, text: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        flows.missing(flow(text))
