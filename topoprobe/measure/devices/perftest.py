"""Flows by the executor ``nic``: an installed perftest [perftest] writes or reads over RDMA.

``host:N -> nic:NAME`` runs ``ib_write_bw`` with its buffers on NUMA node N, ``nic:NAME -> host:N``
runs ``ib_read_bw``. Without ``peer`` both ends are this machine: the bytes go out of host memory
through the adapter and back. perftest tells one rate for the middle of its run, so such a flow has
one chunk, and no jitter.
"""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from topoprobe.errors import MeasurementFailed, UsageError
from topoprobe.machine.view import Machine
from topoprobe.measure.concurrent import Lane
from topoprobe.measure.device import Stream
from topoprobe.measure.devices.cpu.device import CpuDevice, CpuStream
from topoprobe.measure.devices.cpu.placement import memory_nodes
from topoprobe.measure.devices.flows import OpenFlow, Place
from topoprobe.measure.ends import absent, in_pci_order, node_of
from topoprobe.measure.flows import End, Flow, Work
from topoprobe.measure.window import Trace
from topoprobe.records.machine import Nic
from topoprobe.records.results import Factor

# perftest leaves out this much at both ends of its run; less than a second it cannot.
_MARGIN_S = 1
_USUAL_S = 1
_MESSAGE_BYTES = 64 << 10
_PEER_PORT = 18515
_CONNECT_S = 10.0
_RETRY_S = 0.1
_BYTES_PER_GBIT = 1e9 / 8


class AdapterFlows:
    """Opens flows over network adapters; their threads live until closed."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._device = CpuDevice.of(place.machine, place.cpus)
        self._stack = ExitStack()

    def missing(self, flow: Flow) -> str | None:
        """Say what perftest would need, or None.

        Raises
        ------
        UsageError
            If it is not between an adapter and memory of this machine, or a key makes no sense.
        """
        if {flow.source.kind, flow.destination.kind} != {"nic", "host"}:
            raise UsageError(f"{flow}: an adapter moves bytes between nic:NAME and host:N.")
        self._device.check_place(str(_memory_end(flow)))
        if flow.work is not Work.MEMCPY or any((flow.size_bytes, flow.chunk_bytes)):
            raise UsageError(f"{flow}: perftest knows no work, size or chunk; leave them out.")
        if flow.cap_bytes_per_s is not None:
            raise UsageError(f"{flow}: perftest is run without a rate limit; leave out cap.")
        if self._verbs_device(flow) is None:
            return f"{_adapter_end(flow)} is no RDMA device"
        if shutil.which(_tool(flow)) is None:
            return f"perftest is not installed (there is no {_tool(flow)})"
        if len(memory_nodes()) > 1 and shutil.which("numactl") is None:
            return "numactl is not installed, which puts perftest's buffers on a NUMA node"
        return None

    def unit(self, flow: Flow) -> str:
        """Return the unit of its rate."""
        return "bytes_per_s"

    def memory_bytes(self, flow: Flow, size_bytes: int) -> int:
        """Return the memory of perftest's buffers at both ends."""
        return 2 * (flow.txn_bytes or _MESSAGE_BYTES)

    def scratch_folder(self, flow: Flow) -> Path | None:
        """Return None: nothing is written to files."""
        return None

    def open(self, flow: Flow, index: int, size_bytes: int) -> OpenFlow:
        """Prepare to run perftest once in every run of the set."""
        measured_s = math.ceil(flow.duration_s or _USUAL_S)
        run = _Run(tuple(self._command(flow, measured_s)), flow.peer, measured_s)

        def enqueue(stream: Stream) -> None:
            stream.launch(run.move)

        stream = self._stack.enter_context(CpuStream(None))
        lane = Lane(self._device, stream, enqueue, 1.0, num_queued=1, report=run.report)
        factors: dict[str, Factor] = {
            "tool": _tool(flow),
            "peer": flow.peer or "loopback",
            "message_bytes": flow.txn_bytes or _MESSAGE_BYTES,
        }
        return OpenFlow((lane,), factors=factors, least_s=measured_s + 2 * _MARGIN_S)

    def close(self) -> None:
        """End the threads, each after its perftest."""
        self._stack.close()

    def _verbs_device(self, flow: Flow) -> str | None:
        """Return the name by which RDMA knows the adapter, None where it does not.

        Raises
        ------
        UsageError
            If there is no such adapter.
        """
        end, view = _adapter_end(flow), Machine(self._place.machine)
        adapter = node_of(view, end)
        if not isinstance(adapter, Nic):
            known = [f"nic:{one.name}" for one in in_pci_order(view.all(Nic))]
            raise absent(str(end), "network adapter", known)
        named = [
            port
            for port in adapter.ports
            if end.name in (port.name, port.net_interface, port.verbs_device)
        ]
        return next((port.verbs_device for port in named or adapter.ports), None)

    def _command(self, flow: Flow, measured_s: int) -> Sequence[str]:
        command = [
            _tool(flow),
            f"--ib-dev={self._verbs_device(flow)}",
            f"--size={flow.txn_bytes or _MESSAGE_BYTES}",
            f"--duration={measured_s + 2 * _MARGIN_S}",
            f"--margin={_MARGIN_S}",
            "--report_gbits",
            "--CPU-freq",
        ]
        if len(memory_nodes()) > 1:
            node = _memory_end(flow).name
            command = ["numactl", f"--membind={node}", f"--cpunodebind={node}", *command]
        return command


@dataclass(slots=True)
class _Run:
    """perftest, once for every run of the set.

    Attributes
    ----------
    command : tuple of str
        Of both ends, without the address of the other.
    peer : str or None
        Where a server is already waiting; None to start one here.
    measured_s : int
        Time that its rate is told of.
    told : Trace or None
        What it moved when.
    """

    command: tuple[str, ...]
    peer: str | None
    measured_s: int
    told: Trace | None = None

    def move(self) -> None:
        """Run it, unless it has run since the last report."""
        if self.told is not None:
            return
        if self.peer is not None:
            self._run_client(self.peer, _PEER_PORT)
            return
        port = _free_port()
        with subprocess.Popen(
            [*self.command, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:
            try:
                self._run_client("localhost", port)
            finally:
                server.kill()

    def report(self) -> Trace:
        """Return what was moved when, once.

        Raises
        ------
        MeasurementFailed
            If it has not run.
        """
        told, self.told = self.told, None
        if told is None:
            raise MeasurementFailed("perftest was not run; use a longer duration.")
        return told

    def _run_client(self, host: str, port: int) -> None:
        """Connect as soon as the server listens, and keep the rate."""
        command = [*self.command, f"--port={port}", host]
        began_s = time.monotonic()
        while True:
            client = self._client(command)
            ended_s = time.monotonic() - _MARGIN_S
            if client.returncode == 0:
                break
            if time.monotonic() - began_s > _CONNECT_S:
                raise MeasurementFailed(
                    f"`{' '.join(command)}` ended with {client.returncode}: "
                    f"{_last_line(client.stderr or client.stdout)} A peer has to run "
                    f"`{' '.join(command[:-1])}` anew for every run."
                )
            time.sleep(_RETRY_S)
        rate = average_bytes_per_s(client.stdout)
        self.told = Trace(ended_s - self.measured_s, (ended_s,), rate * self.measured_s)

    def _client(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        limit_s = self.measured_s + 2 * _MARGIN_S + _CONNECT_S
        try:
            return subprocess.run(
                command, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise MeasurementFailed(
                f"`{' '.join(command)}` did not end within {limit_s:.0f} s."
            ) from error


def average_bytes_per_s(output: str) -> float:
    """Return the average rate of perftest's table, which is in Gb/s.

    Its columns are bytes, iterations, peak, average, and message rate.

    Raises
    ------
    MeasurementFailed
        If there is no such line, or the rate is zero.
    """
    for line in output.splitlines():
        try:
            _, _, _, average, *_ = map(float, line.split())
        except ValueError:
            continue
        if average > 0.0:
            return average * _BYTES_PER_GBIT
    raise MeasurementFailed(f"perftest told no rate: {_last_line(output)}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing."


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def _tool(flow: Flow) -> str:
    return "ib_write_bw" if flow.source.kind == "host" else "ib_read_bw"


def _adapter_end(flow: Flow) -> End:
    return flow.source if flow.source.kind == "nic" else flow.destination


def _memory_end(flow: Flow) -> End:
    return flow.source if flow.source.kind == "host" else flow.destination
