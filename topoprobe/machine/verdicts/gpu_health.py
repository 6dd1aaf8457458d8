"""Whether the driver itself says that a GPU is ill: memory, spare rows, clocks, recovery."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.verdicts.check import Check, fail, ok, warn
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count, listed
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, Health

NAME = "gpu-health"
_ERROR = "uncorrectable memory error"
# Slowdowns that have one cause. The hardware's in general is also shown for the moment in which
# clocks change, and the driver's own means no more than warm [nvml].
_CERTAIN = {
    "hw thermal slowdown": "Look at fans, air flow and room temperature: the GPU halves its clocks "
    "or worse until it has cooled down.",
    "hw power brake slowdown": "Look at the power supplies and the board's power management "
    "(`ipmitool sel list`): they ask the GPU to halve its clocks or worse.",
}
_UNCERTAIN = (
    "Read it again under load: for a moment it is shown whenever clocks change. If it stays, look "
    "at cooling and power supplies."
)
_REPLACE = "Take the GPU out of use and have it replaced: it has no spare rows left for bad memory."


def judge(machine: Machine) -> Iterator[Verdict]:
    """Pass on what the driver says of each GPU's health."""
    for gpu in machine.all(Gpu):
        if gpu.health is not None:
            faults = list(_faults(gpu, gpu.health))
            yield from faults or [ok(NAME, gpu.id, _well(gpu.health))]


CHECK = Check(NAME, "GPUs have no fault that their driver tells of", judge)


def _faults(gpu: Gpu, health: Health) -> Iterator[Verdict]:
    if health.recovery_action not in {None, "none"}:
        yield fail(
            NAME,
            gpu.id,
            f"Is to be recovered, says its driver: {health.recovery_action}.",
            "Move its work elsewhere and do that (`nvidia-smi -r -i N` for a reset); the cause is "
            "in the kernel's log (Xid).",
        )
    if health.has_remapping_failed:
        yield fail(NAME, gpu.id, "Could not replace a row of bad memory by a spare one.", _REPLACE)
    if health.num_uncorrectable_errors:
        yield fail(
            NAME,
            gpu.id,
            f"Met {count(health.num_uncorrectable_errors, _ERROR)} since its driver was loaded.",
            "Reset it (`nvidia-smi -r -i N`), which puts spare rows in place, and look for Xid 48, "
            "63, 64, 94 and 95 in the kernel's log: jobs that met them died or are wrong. If they "
            "come again, have it replaced.",
        )
    if health.is_remapping_pending:
        yield warn(
            NAME,
            gpu.id,
            "Has rows of bad memory that are replaced by spare ones at the next reset.",
            "Reset it when its work allows (`nvidia-smi -r -i N`).",
        )
    yield from _slowdowns(gpu, health.slowdowns or ())


def _slowdowns(gpu: Gpu, slowdowns: tuple[str, ...]) -> Iterator[Verdict]:
    certain = [name for name in slowdowns if name in _CERTAIN]
    for name in certain:
        yield fail(NAME, gpu.id, f"Is slowed down ({name}).", _CERTAIN[name])
    if slowdowns and not certain:
        yield warn(NAME, gpu.id, f"Is slowed down ({listed(slowdowns)}).", _UNCERTAIN)


def _well(health: Health) -> str:
    met, ever = health.num_uncorrectable_errors, health.num_lifetime_uncorrectable_errors
    said = []
    if met is not None:
        before = f" ({ever} before that)" if ever else ""
        said.append(f"met no {_ERROR} since its driver was loaded{before}")
    if health.has_remapping_failed is not None:
        said.append("has spare memory where it needed any")
    if health.slowdowns is not None:
        said.append("is not slowed down")
    if health.recovery_action is not None:
        said.append("needs no recovery")
    text = listed(said) if len(said) < 4 else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"{text[:1].upper()}{text[1:]}." if said else "Has no fault that its driver tells of."
