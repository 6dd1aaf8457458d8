"""NVIDIA's words for the states of a GPU; its library gives them as numbers, `nvidia-smi` as text.

Both sources end here, so that they agree when they are joined. Words are those that `nvidia-smi`
prints, in lower case.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from topoprobe.records.machine import Contradiction, Fabric, Health

# By the number in the C interface [nvml].
VIRTUALIZATION_MODES = ("none", "pass-through", "vgpu", "host vgpu", "host vsga")
ADDRESSING_MODES = ("none", "hmm", "ats")
FABRIC_STATES = ("not supported", "not started", "in progress", "completed")
HEALTH_SUMMARIES = ("not supported", "healthy", "unhealthy", "limited capacity")
PEER_STATUSES = ("OK", "CNS", "GNS", "TNS", "DR", "NS", "U")
# What a driver asks for to make a GPU usable again.
RECOVERY_ACTIONS = (
    "none", "gpu reset", "node reboot", "drain p2p", "drain and reset", "recover imex domain",
    "bus reset", "system reboot",
)  # fmt: skip
# What lowers a GPU's clocks although it should not, by the bit among the reasons. The power cap,
# clocks that somebody set and sync boost are as they should be.
SLOWDOWNS = {
    0x08: "hw slowdown",
    0x20: "sw thermal slowdown",
    0x40: "hw thermal slowdown",
    0x80: "hw power brake slowdown",
}
# The class of the way over PCIe, by the level of the nearest common ancestor.
CLASS_OF_LEVEL = {0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}

# A GPU in one of these is in a virtual machine.
GUEST_MODES = {"pass-through", "vgpu"}


def identity(uuid: str | None) -> str | None:
    """Return a UUID, or None for one that was blanked out: all zero, or crosses."""
    digits = (uuid or "").lower().removeprefix("gpu-").replace("-", "")
    return uuid if digits.strip("0x*") else None


def fabric(
    state: str, status: str | None, cluster: str | None, clique: int | None, health: str | None
) -> Fabric | None:
    """Return a GPU's place in an NVLink fabric, or None where it can be in none.

    Parameters
    ----------
    state : str
        One of `FABRIC_STATES`.
    status : str or None
        How joining the fabric ended, ``success`` or an error's words.
    cluster : str or None
        Its UUID; all zero for a fabric that does not leave the box.
    clique : int or None
        Which part of the cluster; without a cluster it means nothing.
    health : str or None
        See `fabric_health`.
    """
    if state == "not supported":
        return None
    cluster = identity(cluster)
    return Fabric(
        state=state,
        status=status,
        cluster_uuid=cluster,
        clique_id=None if cluster is None else clique,
        health=health,
    )


def fabric_health(summary: str | None, troubles: Iterable[str]) -> str | None:
    """Write the health of a GPU's fabric links for people: the summary, and what is wrong."""
    named = ", ".join(troubles)
    if summary in {None, "healthy"} and named:
        summary = "unhealthy"
    return f"{summary}: {named}" if named else summary


def impossible_generations(
    subject: str, current: int | None, limits: Iterable[tuple[str, int | None]]
) -> tuple[Contradiction, ...]:
    """Report a PCIe link that runs faster than one of its ends is said to be able to.

    Parameters
    ----------
    subject : str
        Subject of the GPU.
    current : int or None
        Generation at which the link runs.
    limits : iterable of (str, int or None)
        What each end can do, with a name for people.
    """
    if current is None:
        return ()
    return tuple(
        Contradiction(
            subject=subject,
            fact="PCIe generation",
            readings=(f"current: Gen{current}", f"{name}: Gen{limit}"),
            meaning="A link cannot be faster than either end; the driver's limit is not believed.",
        )
        for name, limit in limits
        if limit is not None and limit < current
    )


def told_health(health: Health) -> Health | None:
    """Return a GPU's health, or None where its driver told nothing of it."""
    return None if set(msgspec.structs.astuple(health)) == {None} else health
