"""A simulated run from beginning to end: a deployment and a load in, a run document out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from topoprobe.model.deployment import Deployment
from topoprobe.records.base import Tool
from topoprobe.records.run import PolicyChoice, RunDocument
from topoprobe.serving.policies.registry import build_policies
from topoprobe.serving.scheduler import Scheduler
from topoprobe.serving.simulator.cost import StepLawCost
from topoprobe.serving.simulator.simulator import Simulator
from topoprobe.serving.summary import summarise
from topoprobe.serving.workload.load import Load

DEFAULT_BLOCK_SIZE = 16
_EVENTS_PER_REPORT = 2000


def simulate(
    deployment: Deployment,
    load: Load,
    *,
    num_blocks: int,
    tool: Tool,
    block_size: int = DEFAULT_BLOCK_SIZE,
    choices: Iterable[PolicyChoice] = (),
    calibration: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> RunDocument:
    """Run a load on a model's deployment, virtually.

    Parameters
    ----------
    deployment : Deployment
        The model, where it runs and what its steps cost.
    load : Load
        The requests.
    num_blocks, block_size : int
        KV blocks of the worker, and tokens in each.
    tool : Tool
        Who writes the document.
    choices : iterable of PolicyChoice
        Policies other than the defaults.
    calibration : str or None
        What the document calls the source of the step costs.
    progress : callable or None
        Told the share of requests that are over, now and then.

    Raises
    ------
    UsageError
        If a policy is unknown, or policies or settings do not go together.
    """
    policies = build_policies(choices)
    scheduler = Scheduler(num_blocks=num_blocks, block_size=block_size, policies=policies)
    clients = load.clients()
    simulator = Simulator(scheduler, StepLawCost(deployment.law), clients)
    while simulator.step():
        if progress is not None and simulator.num_events % _EVENTS_PER_REPORT == 0:
            progress(clients.num_closed / clients.num_requests)
    requests, steps = simulator.request_times(), simulator.step_times()
    return RunDocument(
        tool=tool,
        kind="simulated",
        calibration=calibration,
        model=deployment.shape,
        devices=deployment.devices,
        workload=load.workload,
        policies=policies.choices,
        num_blocks=num_blocks,
        block_size=block_size,
        summary=summarise(requests, steps, peak_kv_blocks=scheduler.batch.pool.peak_used),
        requests=requests,
        steps=steps,
    )
