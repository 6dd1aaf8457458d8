"""The page as a whole: parts, escaping, no network."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import re

import msgspec
import pytest

from tests.reports import sample
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.machine import Host, MachineDocument
from topoprobe.records.results import ResultsDocument
from topoprobe.records.run import RunDocument
from topoprobe.reports.page import SECTIONS, commands, render_page

VOID = {"meta", "br", "path", "circle", "rect", "line", "polygon", "polyline"}
HOSTILE = (
    "</script><script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "<!--<script>",
    "a & b &lt; c",
    "\u202egnp.exe",
    "{{ 7 * 7 }} {% raw %}",
    "]]> --> </svg></style></title>",
    "x" * 20_000,
    "nul \x00 escape \x1b delete \x7f",
)


class Outline(html.parser.HTMLParser):
    """Checks nesting and collects tags, attributes and the text outside scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text.append(data)

    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]


def full_page() -> str:
    return render_page(
        machine=sample.vm_machine(),
        results=sample.vm_results(),
        calibration=sample.vm_calibration(),
        run=sample.vm_run(),
    )


def named(
    name: str,
) -> dict[str, MachineDocument | ResultsDocument | CalibrationDocument | RunDocument]:
    """Return all four documents with a name put wherever a document can hold one."""
    machine = sample.vm_machine(name)
    nodes = tuple(
        msgspec.structs.replace(node, name=name) if not isinstance(node, Host) else node
        for node in machine.nodes
    )
    machine = msgspec.structs.replace(machine, nodes=nodes, sources=(name,))
    calibration = sample.vm_calibration(machine)
    device = msgspec.structs.replace(calibration.devices[0], name=name)
    (item,) = calibration.contention
    assert item.slowdown is not None
    matrix = msgspec.structs.replace(item.slowdown, flows=(name, *item.slowdown.flows[1:]))
    item = msgspec.structs.replace(item, resource=name, slowdown=matrix)
    calibration = msgspec.structs.replace(calibration, devices=(device,), contention=(item,))
    results = sample.vm_results(machine)
    experiment = msgspec.structs.replace(
        results.experiments[1], benchmark=name, reason=name, summary=name
    )
    results = msgspec.structs.replace(results, experiments=(experiment,), suite=name)
    run = sample.vm_run()
    run = msgspec.structs.replace(
        run, model=msgspec.structs.replace(run.model, name=name), devices=(name,)
    )
    return {"machine": machine, "results": results, "calibration": calibration, "run": run}


def test_page_of_all_documents_has_every_section() -> None:
    page = full_page()
    ids = Outline(page).ids()
    assert set(ids) >= {section.name for section in SECTIONS} | {"findings"}
    assert "not-shown" not in ids
    assert len(ids) == len(set(ids))


def test_page_navigation_leads_to_what_is_there() -> None:
    outline = Outline(full_page())
    links = [str(one["href"]) for tag, one in outline.tags if tag == "a"]
    assert len(links) == len(SECTIONS) + 1
    assert {link.removeprefix("#") for link in links} <= set(outline.ids())


@pytest.mark.parametrize("given", ["machine", "results", "calibration", "run"])
def test_page_of_one_document_names_what_is_not_shown_and_why(given: str) -> None:
    document = named("m")[given]
    page = render_page(**{given: document})  # type: ignore[arg-type]
    ids = Outline(page).ids()
    assert "not-shown" in ids
    assert f"document-{given}" in ids
    missing = {"machine", "results", "calibration", "run"} - {given}
    if given in ("results", "calibration"):
        missing -= {"machine"}
    for kind in missing:
        assert f"No {kind} document was given" in page
    assert not {f"document-{kind}" for kind in missing} & set(ids)


def test_page_of_nothing_is_still_a_page() -> None:
    page = render_page()
    assert "None: these documents hold nothing measured" in page
    assert Outline(page).ids().count("not-shown") == 1


def test_page_of_an_empty_machine_says_that_there_is_no_drawing() -> None:
    assert "nothing but the host" in render_page(machine=sample.empty_machine())


def test_page_refers_to_nothing_outside_itself() -> None:
    page = full_page()
    assert re.findall(r"https?://", page) == []
    assert re.findall(r"@import|url\(", page) == []
    for tag, attributes in Outline(page).tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        for name in ("src", "srcset", "href", "xlink:href", "action"):
            assert str(attributes.get(name, "#")).startswith("#")


def test_page_policy_allows_only_its_own_script() -> None:
    page = full_page()
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(
        str(one["content"])
        for tag, one in Outline(page).tags
        if tag == "meta" and one.get("http-equiv") == "Content-Security-Policy"
    )
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name[:12]))
def test_page_hostile_name_stays_text(name: str) -> None:
    harmless, page = render_page(**named("harmless")), render_page(**named(name))  # type: ignore[arg-type]
    outline = Outline(page)

    def tags(found: Outline) -> set[str]:
        return {tag for tag, _ in found.tags}

    assert tags(outline) == tags(Outline(harmless))
    assert len([one for one in outline.tags if one[0] == "script"]) == 5
    assert not any(key.startswith("on") for _, one in outline.tags for key in one)
    shown = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "\ufffd", name)
    assert shown in outline.text
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", page)


def test_page_narrow_sections_stand_in_pairs_and_a_single_one_is_wide() -> None:
    def classes(page: str) -> dict[str, str]:
        return {
            str(one["id"]): str(one["class"]) for tag, one in Outline(page).tags if tag == "section"
        }

    full = classes(full_page())
    assert full["roofline"] == full["loaded-latency"] == "panel half"
    assert full["contention"] == "panel wide"
    server = classes(render_page(calibration=sample.server_calibration()))
    assert "loaded-latency" not in server
    assert server["roofline"] == "panel wide"


def test_page_stays_small() -> None:
    page = full_page()
    assert len(page) < 300_000
    server = render_page(calibration=sample.server_calibration(16))
    assert len(server) < 500_000


def test_page_every_image_has_a_label() -> None:
    images = [one for tag, one in Outline(full_page()).tags if tag == "svg"]
    assert images
    for one in images:
        assert one.get("aria-hidden") == "true" or (one["role"] == "img" and one["aria-label"])


def test_templates_never_switch_escaping_off() -> None:
    import importlib.resources

    def texts(folder: importlib.resources.abc.Traversable) -> list[str]:
        found = []
        for one in folder.iterdir():
            found += texts(one) if one.is_dir() else [one.read_text("utf-8")]
        return found

    for text in texts(importlib.resources.files("topoprobe.reports") / "templates"):
        assert not re.search(r"\|\s*safe|autoescape\s+false|Markup", text)


def test_commands_in_a_text_are_shown_as_code_and_the_rest_stays_text() -> None:
    assert commands("run `topoprobe bench` & see <b>") == (
        "run <code>topoprobe bench</code> &amp; see &lt;b&gt;"
    )
