"""The report: one HTML page of whatever documents there are, without a reference to the network."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import re
from collections.abc import Sequence
from dataclasses import dataclass

from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import ResultsDocument
from topoprobe.records.run import RunDocument

from .ceilings import ceilings
from .contention import loaded_latency, sharing
from .drawing.svg import Svg
from .embedded import embed
from .experiments import experiments
from .findings import findings
from .movement import storage, swap
from .prediction import prediction
from .roofline import roofline
from .section import Absent, Documents, Section
from .serving import serving
from .stepcost import step_costs
from .summary import head
from .topology import topology

SECTIONS = (
    Section("topology", "Topology", topology, is_wide=True),
    Section("prediction", "Predicted beside measured", prediction, is_wide=True),
    Section("ceilings", "Ceilings: what each device gives alone", ceilings, is_wide=True),
    Section("roofline", "Roofline", roofline),
    Section("loaded-latency", "Latency under load", loaded_latency),
    Section(
        "contention", "Contention: what concurrent flows do to each other", sharing, is_wide=True
    ),
    Section("swap", "Moving KV blocks", swap, is_wide=True),
    Section("storage", "Disk tier", storage),
    Section("step-cost", "Cost of a model step", step_costs),
    Section("serving", "Serving run", serving, is_wide=True),
    Section("experiments", "Experiments", experiments, is_wide=True),
)
"""The sections in the order of the page. Adding one is a module, a template and an entry here."""

# Characters that HTML forbids in text. The embedded JSON has none: JSON writes them as escapes.
_COMMAND = re.compile(r"`([^`]+)`")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Shown:
    """A section that has something to show, as wide as the sections around it ask for."""

    section: Section
    payload: object
    is_wide: bool


def render_page(
    *,
    machine: MachineDocument | None = None,
    results: ResultsDocument | None = None,
    calibration: CalibrationDocument | None = None,
    run: RunDocument | None = None,
) -> str:
    """Return the report as HTML.

    Sections whose documents are absent are left out and named at the end, with the reason. The
    documents themselves are embedded (`embedded.documents_of` reads them back).
    """
    import jinja2

    documents = Documents(machine, results, calibration, run).with_embedded_machine()
    payloads = [(section, section.payload(documents)) for section in SECTIONS]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("topoprobe.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["commands"] = commands
    script = _asset("page.js")
    page = environment.get_template("page.html").render(
        head=head(documents),
        findings=findings(documents),
        shown=_shown(payloads),
        absent=_absent(payloads),
        embedded=_embedded(documents, has_own_machine=machine is not None),
        style=Svg(_asset("page.css")),
        script=Svg(script),
        script_hash=_hash(script),
    )
    return _FORBIDDEN.sub("\ufffd", page)


def commands(text: str) -> Svg:
    """Escape a text and show what stands in it between backticks as code."""
    return Svg(_COMMAND.sub(r"<code>\1</code>", html.escape(text)))


def _shown(payloads: Sequence[tuple[Section, object]]) -> list[Shown]:
    """Return the sections with something to show; a narrow one without a partner gets wide."""
    present = [pair for pair in payloads if not isinstance(pair[1], Absent)]
    shown: list[Shown] = []
    is_second = False
    for index, (section, payload) in enumerate(present):
        has_partner = index + 1 < len(present) and not present[index + 1][0].is_wide
        is_wide = section.is_wide or not (is_second or has_partner)
        shown.append(Shown(section, payload, is_wide))
        is_second = not is_wide and not is_second
    return shown


def _absent(payloads: Sequence[tuple[Section, object]]) -> dict[str, list[str]]:
    """Return the short titles of the sections that are not shown, by reason."""
    titles: dict[str, list[str]] = {}
    for section, payload in payloads:
        if isinstance(payload, Absent):
            titles.setdefault(payload.reason, []).append(section.title.partition(":")[0])
    return titles


def _embedded(documents: Documents, *, has_own_machine: bool) -> list[tuple[str, Svg]]:
    """Return name and safe JSON of every document that was given."""
    given = (
        ("machine", documents.machine if has_own_machine else None),
        ("results", documents.results),
        ("calibration", documents.calibration),
        ("run", documents.run),
    )
    return [(kind, Svg(embed(document))) for kind, document in given if document is not None]


def _asset(name: str) -> str:
    return (importlib.resources.files("topoprobe.reports") / "templates" / name).read_text("utf-8")


def _hash(script: str) -> str:
    """Return the hash by which the page's own policy knows its only script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
