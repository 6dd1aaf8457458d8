"""Findings: what a person should know about the machine, in sentences with numbers.

A look is a function from the documents to its findings, or none. Adding one is a function and an
entry in `LOOKS`.
"""

from __future__ import annotations

from collections.abc import Callable

from .finding import Finding
from .identity_findings import identities
from .rate_findings import devices, loaded_latency, sharing
from .section import Documents
from .trust_findings import (
    disturbances,
    experiments,
    interruption,
    missing_numbers,
    predictions,
    series_failures,
    step_costs,
    verdicts,
)
from .wiring_findings import contradictions, narrow_links, shared_uplinks, unknown_facts

LOOKS: tuple[Callable[[Documents], list[Finding]], ...] = (
    interruption,
    narrow_links,
    predictions,
    sharing,
    verdicts,
    contradictions,
    disturbances,
    shared_uplinks,
    devices,
    loaded_latency,
    step_costs,
    experiments,
    series_failures,
    missing_numbers,
    unknown_facts,
)
"""In the order of the page; what is wrong comes before what is merely good to know."""

_LEVELS = ("bad", "warn", "good", "note")


def findings(documents: Documents) -> tuple[Finding, ...]:
    """Return all findings: first whether the documents belong together, then the most serious."""
    found = [one for look in LOOKS for one in look(documents)]
    ordered = sorted(found, key=lambda one: _LEVELS.index(one.level))
    return (*identities(documents), *ordered)
