"""Findings about whether the documents of a page belong to one machine."""

from __future__ import annotations

from topoprobe.records.machine import Host, MachineDocument

from .finding import Finding, capital, count
from .section import Documents


def identities(documents: Documents) -> list[Finding]:
    """Say that documents describe different machines, or that a run does not tell its own."""
    return [*_different(documents), *_untold_run(documents)]


def _different(documents: Documents) -> list[Finding]:
    """Compare machines by the name of the host and the nodes in them."""
    results, calibration = documents.results, documents.calibration
    given = (
        ("machine document", documents.machine),
        ("results", results.machine if results is not None else None),
        ("calibration", calibration.machine if calibration is not None else None),
    )
    holders: dict[tuple[str, frozenset[str]], list[str]] = {}
    for holder, machine in given:
        if machine is not None:
            identity = _host_name(machine), frozenset(node.id for node in machine.nodes)
            holders.setdefault(identity, []).append(holder)
    if len(holders) < 2:
        return []
    told = [
        f"{' and '.join(names)}: {host} with {count(len(nodes), 'node')}"
        for (host, nodes), names in holders.items()
    ]
    is_predicted = documents.run is not None and documents.calibration is not None
    run = " The run belongs to the machine of its calibration." if is_predicted else ""
    rest = f"{capital('; '.join(told))}."
    return [Finding("warn", "The documents come from different machines.", f"{rest}{run}")]


def _untold_run(documents: Documents) -> list[Finding]:
    """Say that a run alone names no machine: only its calibration does."""
    if documents.run is None or documents.calibration is not None:
        return []
    rest = "Give the calibration that it was predicted from."
    if documents.machine is not None:
        shown = _host_name(documents.machine)
        rest = f"It need not be the machine that is shown here ({shown}). {rest}"
    return [Finding("warn", "Run document: its machine is not told.", rest)]


def _host_name(machine: MachineDocument) -> str:
    host = next((node for node in machine.nodes if isinstance(node, Host)), None)
    return host.name if host is not None else "an unnamed host"
