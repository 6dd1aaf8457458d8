"""Which opener runs which executor: the one table that a new kind of executor is added to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager

from topoprobe.errors import UsageError
from topoprobe.measure.devices.cpu.executors import CpuFlows
from topoprobe.measure.devices.cuda.flows import GpuFlows
from topoprobe.measure.devices.flows import FlowOpener, Place
from topoprobe.measure.devices.perftest import AdapterFlows
from topoprobe.measure.devices.storage.flows import DriveFlows
from topoprobe.measure.flows import ExecutorKind, Flow

_MAKERS: dict[ExecutorKind, Callable[[Place], FlowOpener]] = {
    "cpu": CpuFlows,
    "ce": GpuFlows,
    "sm": GpuFlows,
    "nic": AdapterFlows,
    "nvme": DriveFlows,
}

Openers = Mapping[ExecutorKind, FlowOpener]


@contextmanager
def openers_of(flows: Iterable[Flow], place: Place) -> Iterator[Openers]:
    """Make the openers of the executors that flows name, and close them in the end."""
    kinds = dict.fromkeys(flow.executor.kind for flow in flows)
    with ExitStack() as stack:
        yield {
            kind: stack.enter_context(closing(_MAKERS[kind](place)))
            for kind in kinds
            if kind in _MAKERS
        }


def gap(flow: Flow, openers: Openers) -> str | None:
    """Say why a flow cannot run here, or None.

    Raises
    ------
    UsageError
        As `FlowOpener.missing`, or if an end is of one of several machines.
    """
    for end in (flow.source, flow.destination):
        if end.host is not None:
            raise UsageError(
                f"{end} is of host {end.host}, and flows are measured on one machine; leave out "
                f"h{end.host}/."
            )
    opener = openers.get(flow.executor.kind)
    if opener is None:
        return f"nothing here runs flows by the executor {flow.executor.kind}"
    return opener.missing(flow)
