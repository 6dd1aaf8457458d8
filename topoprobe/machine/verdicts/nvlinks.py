"""Whether GPUs have the NVLinks that they should, and a fabric that is up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from topoprobe.machine.nvlink import expected_num_nvlinks
from topoprobe.machine.verdicts.check import Check, fail, ok, warn
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, LinkKind, NvSwitch

NAME = "nvlinks"
_NVIDIA = "10de"
# What readers call links that would not answer, are down, or serve no peers.
_FACTS_OF_LINKS = {"nvlinks", "inactive nvlinks", "nvlinks without peers"}
_WELL = {"", "success", "healthy", "n/a", "unknown", "not supported"}
_START_FABRIC = (
    "Start NVIDIA's fabric manager (systemctl restart nvidia-fabricmanager; its version must be "
    "the driver's) and look at its log: on boards with NVSwitches CUDA does not start before the "
    "fabric is up (error 802, system not yet initialized)."
)
_TELL_MORE = "Give `nvidia-smi -q -x` or `nvidia-smi nvlink -s` of the same machine too."


def judge(machine: Machine) -> Iterator[Verdict]:
    """Compare each GPU's NVLinks with its model's and its peers', and look at the fabric."""
    gpus = [gpu for gpu in machine.all(Gpu) if gpu.pci_vendor in {_NVIDIA, None}]
    usual = _usual_counts(gpus)
    is_bridged = _is_bridged(machine, gpus)
    for gpu in gpus:
        most = usual.get(gpu.model, 0)
        yield from _links(machine, gpu, most, len(gpus), is_bridged=is_bridged and most > 0)
        yield from _fabric(gpu)
    yield from _unreached(machine, gpus)
    yield from _untold(machine, gpus)


CHECK = Check(NAME, "GPUs have all the NVLinks that they should, or their fabric is up", judge)


def _usual_counts(gpus: list[Gpu]) -> dict[str | None, int]:
    """Return the most NVLinks that a GPU of each model has here."""
    found: dict[str | None, int] = {}
    for gpu in gpus:
        found[gpu.model] = max(found.get(gpu.model, 0), gpu.num_nvlinks or 0)
    return found


def _links(
    machine: Machine, gpu: Gpu, usual: int, num_gpus: int, *, is_bridged: bool
) -> Iterator[Verdict]:
    reasons = [
        m.reason.rstrip(".")
        for m in machine.document.unknown
        if m.subject == gpu.id and m.fact in _FACTS_OF_LINKS
    ]
    why = f". {_distinct(reasons)}" if reasons else ""
    expected = max(expected_num_nvlinks(gpu) or 0, usual)
    seen = gpu.num_nvlinks
    if gpu.is_mig_enabled:
        yield ok(NAME, gpu.id, "Is divided (MIG), which switches its NVLinks off.")
    elif seen is None and not reasons:
        return
    elif num_gpus == 1 and not seen:
        # A guest that was given one GPU of a board has nobody to link it to.
        yield ok(NAME, gpu.id, "Is the only GPU here, so it has nobody to link to.")
    elif not seen and not reasons and is_bridged:
        yield warn(
            NAME,
            gpu.id,
            "Has no NVLink, while others of its model are bridged in pairs.",
            "Fit a bridge between it and another card without one, or give the two of a pair the "
            "work that talks most.",
        )
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
            "Compare `nvidia-smi nvlink -s` with how the cards are bridged: each link that should "
            "be up is missing from the bandwidth to its peers.",
        )
    elif seen and gpu.max_nvlinks is None and expected_num_nvlinks(gpu) is None:
        # A matrix shows the links that are up and no others.
        yield warn(
            NAME,
            gpu.id,
            f"Has {count(seen, 'NVLink')} up; whether these are all that it should have cannot be "
            "told.",
            _TELL_MORE,
        )
    elif seen:
        yield ok(NAME, gpu.id, f"Has {count(seen, 'NVLink')}, all up.")


def _is_bridged(machine: Machine, gpus: list[Gpu]) -> bool:
    """Tell cards that bridges join in pairs, where one without a bridge is no fault."""
    neighbours: dict[str, set[str]] = {}
    for link in machine.document.links:
        if link.kind is LinkKind.NVLINK:
            neighbours.setdefault(link.a, set()).add(link.b)
            neighbours.setdefault(link.b, set()).add(link.a)
    ids = {gpu.id for gpu in gpus}
    return bool(neighbours) and all(
        end in ids and len(others) == 1 and others <= ids for end, others in neighbours.items()
    )


def _fabric(gpu: Gpu) -> Iterator[Verdict]:
    if gpu.fabric is None:
        return
    state, health = gpu.fabric.state.lower(), (gpu.fabric.health or "").lower()
    status = (gpu.fabric.status or "").lower()
    if state in {"not started", "in progress"}:
        evidence = f"Has not joined the NVLink fabric: its state is {gpu.fabric.state!r}."
        yield fail(NAME, gpu.id, evidence, _START_FABRIC)
    elif status not in _WELL:
        evidence = f"Failed to join the NVLink fabric: {gpu.fabric.status}."
        yield fail(NAME, gpu.id, evidence, _START_FABRIC)
    elif health not in _WELL:
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
            "their NVLinks lead to NVSwitches.",
            _START_FABRIC,
        )


def _untold(machine: Machine, gpus: list[Gpu]) -> Iterator[Verdict]:
    """Find GPUs without an NVLink of which a matrix does not say whether they should have some."""
    ids = {gpu.id for gpu in gpus}
    nameless = [gpu for gpu in gpus if gpu.model is None and gpu.pci_address is None]
    placed = [p for p in machine.document.pairs if {p.a, p.b} <= ids and p.path_class]
    if placed and len(nameless) == len(gpus) and not any(gpu.num_nvlinks for gpu in gpus):
        yield warn(
            NAME,
            "host",
            f"No NVLink is up between {count(len(gpus), 'GPU')}; what models they are is not told, "
            "so whether there should be some cannot be either.",
            _TELL_MORE,
        )


def _distinct(reasons: list[str]) -> str:
    found = list(dict.fromkeys(reasons))
    return found[0] if len(found) == 1 else f"{found[0]} (and {len(found) - 1} more)"


def _share(seen: int, expected: int) -> str:
    return f"{100 * seen / expected:.0f} %" if seen else "nothing"
