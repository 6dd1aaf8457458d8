"""Whether GPUs have the NVLinks that they should, and a fabric that is up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from topoprobe.machine.nvlink import expected_num_nvlinks
from topoprobe.machine.verdicts.check import Check, fail, ok, warn
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, NvSwitch

NAME = "nvlinks"
_NVIDIA = "10de"
_START_FABRIC = (
    "Start NVIDIA's fabric manager (systemctl restart nvidia-fabricmanager; its version must be "
    "the driver's) and look at its log: without it these GPUs talk over PCIe only."
)


def judge(machine: Machine) -> Iterator[Verdict]:
    """Compare each GPU's NVLinks with its model's and its peers', and look at the fabric."""
    gpus = [gpu for gpu in machine.all(Gpu) if gpu.pci_vendor in {_NVIDIA, None}]
    usual = _usual_counts(gpus)
    for gpu in gpus:
        yield from _links(machine, gpu, usual.get(gpu.model, 0), len(gpus))
        yield from _fabric(gpu)
    yield from _unreached(machine, gpus)


CHECK = Check(NAME, "GPUs have all the NVLinks that they should, or their fabric is up", judge)


def _usual_counts(gpus: list[Gpu]) -> dict[str | None, int]:
    """Return the most NVLinks that a GPU of each model has here."""
    found: dict[str | None, int] = {}
    for gpu in gpus:
        found[gpu.model] = max(found.get(gpu.model, 0), gpu.num_nvlinks or 0)
    return found


def _links(machine: Machine, gpu: Gpu, usual: int, num_gpus: int) -> Iterator[Verdict]:
    reasons = [
        m.reason.rstrip(".")
        for m in machine.document.unknown
        if m.subject == gpu.id and "nvlink" in m.fact.lower()
    ]
    why = f"; {_distinct(reasons)}" if reasons else ""
    expected = max(expected_num_nvlinks(gpu) or 0, usual)
    seen = gpu.num_nvlinks
    if gpu.is_mig_enabled:
        yield ok(NAME, gpu.id, "Is divided (MIG), which switches its NVLinks off.")
    elif seen is None and not reasons:
        return
    elif num_gpus == 1 and not seen:
        # A guest that was given one GPU of a board has nobody to link it to.
        yield ok(NAME, gpu.id, "Is the only GPU here, so it has nobody to link to.")
    elif (seen or 0) < expected:
        yield fail(
            NAME,
            gpu.id,
            f"Has {seen or 0} of {expected} NVLinks{why}.",
            "Look at `nvidia-smi nvlink -s` and the kernel's log (Xid 74), reset the GPU or "
            "restart the machine, and check the fabric manager: NCCL drops such links silently, "
            f"and the GPU has {_share(seen or 0, expected)} of its peer bandwidth.",
        )
    elif reasons and seen:
        yield warn(
            NAME,
            gpu.id,
            f"Has {count(seen, 'NVLink')} that are up{why}.",
            "Compare with the board's bridges: a link that should be up costs 1 of "
            f"{seen + len(reasons)} of its peer bandwidth; `nvidia-smi nvlink -s` lists them.",
        )
    elif seen:
        yield ok(NAME, gpu.id, f"Has {count(seen, 'NVLink')}, all up.")


def _fabric(gpu: Gpu) -> Iterator[Verdict]:
    if gpu.fabric is None:
        return
    state, health = gpu.fabric.state.lower(), (gpu.fabric.health or "").lower()
    if state in {"not started", "in progress"}:
        evidence = f"Has not joined the NVLink fabric: its state is {gpu.fabric.state!r}."
        yield fail(NAME, gpu.id, evidence, _START_FABRIC)
    elif health not in {"", "healthy", "n/a", "unknown", "not supported"}:
        yield fail(
            NAME,
            gpu.id,
            f"Is in the NVLink fabric, which says of its health: {gpu.fabric.health}.",
            "Look at `nvidia-smi -q` (Fabric) and the fabric manager's log, then have the board or "
            "its cables checked: a degraded fabric gives less than its NVLinks promise.",
        )


def _unreached(machine: Machine, gpus: list[Gpu]) -> Iterator[Verdict]:
    """Find GPUs beside NVSwitches that have NVLinks and no way over them."""
    switches = machine.all(NvSwitch)
    told = {gpu.id for gpu in gpus if gpu.num_nvlinks}
    pairs = [p for p in machine.document.pairs if p.a in told and p.b in told and p.path_class]
    apart = [pair for pair in pairs if not (pair.path_class or "").startswith("NV")]
    if switches and apart:
        ways = ", ".join(f"{n} {name}" for name, n in Counter(p.path_class for p in apart).items())
        yield fail(
            NAME,
            "host",
            f"{len(apart)} of {len(pairs)} pairs of GPUs do not meet over NVLink ({ways}) though "
            f"there {'is' if len(switches) == 1 else 'are'} {count(len(switches), 'NVSwitch')}.",
            _START_FABRIC,
        )


def _distinct(reasons: list[str]) -> str:
    found = list(dict.fromkeys(reasons))
    return found[0] if len(found) == 1 else f"{found[0]}; and {count(len(found) - 1, 'more')}"


def _share(seen: int, expected: int) -> str:
    return f"{100 * seen / expected:.0f} %" if seen else "nothing"
