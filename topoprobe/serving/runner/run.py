"""A real run from beginning to end: a model and a load in, a run document with repeats out."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch

from topoprobe.errors import EnvironmentMissing, Interrupted, UsageError
from topoprobe.measure.devices.environment import available_memory_bytes
from topoprobe.model.cost import kv_bytes_per_token, num_parameters
from topoprobe.model.deployment import Deployment
from topoprobe.records.base import Missing, Tool
from topoprobe.records.calibration import ModelShape
from topoprobe.records.run import PolicyChoice, RequestTimes, RunDocument, StepTimes, Summary
from topoprobe.serving.comparison import compare
from topoprobe.serving.policies.registry import build_policies
from topoprobe.serving.runner.clock import WallClock
from topoprobe.serving.runner.driver import Driver
from topoprobe.serving.runner.executor import Executor, Generation
from topoprobe.serving.runner.worker import BLOCK_SIZE, open_worker, threads
from topoprobe.serving.scheduler import Scheduler
from topoprobe.serving.simulator.run import simulate
from topoprobe.serving.summary import summarise
from topoprobe.serving.workload.load import Load, synthetic_load
from topoprobe.serving.workload.request import Request
from topoprobe.serving.workload.synthetic import TokenRange
from topoprobe.units import format_bytes

DEFAULT_NUM_BLOCKS = 1024
"""KV blocks where nobody says: 256 MiB of the bundled model."""

_PROMPT_SEED = 0
_WARM_UP = (TokenRange(96, 96), TokenRange(12, 12))


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a load is run.

    Attributes
    ----------
    num_threads : int
        Threads that torch computes on.
    num_blocks, block_size : int
        KV blocks of the worker, and tokens in each.
    num_repeats : int
        How often the whole load is run.
    choices : tuple of PolicyChoice
        Policies other than the defaults.
    """

    num_threads: int
    num_blocks: int = DEFAULT_NUM_BLOCKS
    block_size: int = BLOCK_SIZE
    num_repeats: int = 1
    choices: tuple[PolicyChoice, ...] = ()

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        for name in ("num_threads", "num_blocks", "block_size", "num_repeats"):
            value = getattr(self, name)
            if value < 1:
                raise UsageError(f"{name} is {value}; give at least 1.")


def real_run(
    shape: ModelShape,
    load: Load,
    settings: RunSettings,
    *,
    tool: Tool,
    devices: tuple[str, ...] = ("host",),
    deployment: Deployment | None = None,
    calibration: str | None = None,
    started_at: str | None = None,
    progress: Callable[[float, str], None] = lambda done_ratio, text: None,
    should_stop: Callable[[], bool] = lambda: False,
    torch_device: torch.device | str = "cpu",
) -> RunDocument:
    """Serve a load for real, and set the prediction of the same load beside it.

    Output lengths are forced to those of the load, so that every repeat, and the prediction, does
    the same work.

    Parameters
    ----------
    shape : ModelShape
        The model; its weights are drawn from a fixed seed.
    load : Load
        The requests.
    settings : RunSettings
        How it is run.
    tool, started_at : Tool, str
        Who writes the document, and when the run began (ISO 8601).
    devices : tuple of str
        Node ids of what computes.
    deployment : Deployment or None
        What the steps are believed to cost; with it the run is predicted and compared.
    calibration : str or None
        What the document calls the source of that belief.
    progress : callable
        Told the share of work done, and what is done now.
    should_stop : callable
        True once the run is to end early; what was measured so far is returned.
    torch_device : torch device
        Where torch computes.

    Returns
    -------
    RunDocument
        A run that was stopped says so in `missing`; the repeat under way counts only if it is
        the first one.

    Raises
    ------
    UsageError
        If a policy is unknown, or policies or settings do not go together.
    EnvironmentMissing
        If the model and its cache do not fit in memory.
    Interrupted
        If it was to end before the first repeat began.
    """
    predicted = _predict(deployment, load, settings, tool)

    def starting(text: str) -> None:
        if should_stop():
            raise Interrupted(f"Stopped before the first request was served ({text}).")
        progress(0.0, text)

    repeats: list[_Repeat] = []
    is_stopped = False
    with threads(settings.num_threads):
        executor = _open(shape, load, settings, torch_device, starting)
        starting("warming up")
        if _warm_up(executor, settings, should_stop).is_stopped:
            starting("warming up")
        for index in range(settings.num_repeats):
            text = f"repeat {index + 1} of {settings.num_repeats}"

            def report(done_ratio: float, index: int = index, text: str = text) -> None:
                progress((index + done_ratio) / settings.num_repeats, text)

            repeat = _run_once(executor, load, settings, report, should_stop)
            is_stopped = repeat.is_stopped
            if not is_stopped or not repeats:
                repeats.append(repeat)
            if is_stopped:
                break
    first = repeats[0]
    whole = tuple(repeat.summary for repeat in repeats if not repeat.is_stopped)
    return RunDocument(
        tool=tool,
        kind="real",
        started_at=started_at,
        calibration=calibration if deployment is not None else None,
        model=shape,
        devices=devices,
        workload=load.workload,
        policies=first.policies,
        num_blocks=settings.num_blocks,
        block_size=settings.block_size,
        summary=first.summary,
        repeats=whole,
        predicted=predicted,
        comparisons=compare(predicted, whole) if predicted is not None else (),
        requests=first.requests,
        steps=first.steps,
        missing=_missing(settings, len(whole)) if is_stopped else (),
    )


def num_blocks_for(load: Load, block_size: int = BLOCK_SIZE) -> int:
    """Return how many KV blocks a run gets where nobody says: enough for its longest request."""
    longest = max(request.num_prompt_tokens + request.max_tokens for request in load.requests)
    return max(DEFAULT_NUM_BLOCKS, -(-longest // block_size))


def forced_generation(shape: ModelShape) -> Callable[[Request], Generation]:
    """Return what makes requests of a load run: random prompts, and answers of the true length."""

    def generation_of(request: Request) -> Generation:
        source = random.Random(f"{_PROMPT_SEED}/{request.request_id}")
        return Generation(
            tokens=source.choices(range(shape.vocab_size), k=request.num_prompt_tokens),
            num_prompt_tokens=request.num_prompt_tokens,
            max_tokens=request.max_tokens,
            num_forced=request.num_output_tokens,
        )

    return generation_of


@dataclass(frozen=True, slots=True)
class _Repeat:
    policies: tuple[PolicyChoice, ...]
    requests: tuple[RequestTimes, ...]
    steps: tuple[StepTimes, ...]
    summary: Summary
    is_stopped: bool


def _run_once(
    executor: Executor,
    load: Load,
    settings: RunSettings,
    report: Callable[[float], None],
    should_stop: Callable[[], bool],
) -> _Repeat:
    policies = build_policies(settings.choices)
    scheduler = Scheduler(
        num_blocks=settings.num_blocks, block_size=settings.block_size, policies=policies
    )
    clients = load.clients()
    driver = Driver(
        scheduler,
        executor,
        clients,
        WallClock(),
        generation_of=forced_generation(executor.model.shape),
        should_stop=should_stop,
    )
    num_closed = -1
    while driver.advance():
        if clients.num_closed > num_closed:
            num_closed = clients.num_closed
            report(num_closed / clients.num_requests)
    requests, steps = driver.request_times(), driver.step_times()
    return _Repeat(
        policies=policies.choices,
        requests=requests,
        steps=steps,
        summary=summarise(requests, steps, peak_kv_blocks=scheduler.batch.pool.peak_used),
        is_stopped=driver.is_stopped,
    )


def _predict(
    deployment: Deployment | None, load: Load, settings: RunSettings, tool: Tool
) -> Summary | None:
    if deployment is None:
        return None
    return simulate(
        deployment,
        load,
        num_blocks=settings.num_blocks,
        block_size=settings.block_size,
        choices=settings.choices,
        tool=tool,
    ).summary


def _open(
    shape: ModelShape,
    load: Load,
    settings: RunSettings,
    device: torch.device | str,
    starting: Callable[[str], None],
) -> Executor:
    _refuse_too_large(shape, settings, torch.device(device))
    longest = max(request.num_prompt_tokens + request.max_tokens for request in load.requests)
    pool_tokens = settings.num_blocks * settings.block_size
    return open_worker(
        shape,
        num_blocks=settings.num_blocks,
        block_size=settings.block_size,
        # A request that the pool cannot hold is rejected and needs no positions.
        max_positions=max(_WARM_UP[0].high + _WARM_UP[1].high, min(longest, pool_tokens + 1)),
        device=device,
        on_layer=lambda index: starting(
            f"drawing weights, layer {index + 1} of {shape.num_layers}"
        ),
    )


def _refuse_too_large(shape: ModelShape, settings: RunSettings, device: torch.device) -> None:
    """Check the memory before taking it: the kernel would end the process, and not ask."""
    weights_bytes = num_parameters(shape) * shape.dtype_bytes
    cache_bytes = settings.num_blocks * settings.block_size * kv_bytes_per_token(shape)
    available = (
        torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory_bytes()
    )
    if available is not None and weights_bytes + cache_bytes > available:
        raise EnvironmentMissing(
            f"{shape.name} needs {format_bytes(weights_bytes)} for weights and "
            f"{format_bytes(cache_bytes)} for {settings.num_blocks} KV blocks, and "
            f"{format_bytes(available)} are available; give fewer blocks or a smaller model."
        )


def _warm_up(executor: Executor, settings: RunSettings, should_stop: Callable[[], bool]) -> _Repeat:
    """Let torch load and choose its kernels, which the first steps would pay for."""
    prompt, output = _WARM_UP
    load = synthetic_load(2, max_concurrency=2, prompt=prompt, output=output)
    return _run_once(executor, load, settings, lambda done_ratio: None, should_stop)


def _missing(settings: RunSettings, num_whole: int) -> tuple[Missing, ...]:
    return (
        Missing(
            subject="run",
            fact="repeats",
            reason=f"stopped by hand after {num_whole} of {settings.num_repeats} whole repeats",
        ),
    )
