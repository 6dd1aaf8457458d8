"""The report in a real browser: no console error, no request, tooltips, nothing cut off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reports import sample
from tests.reports.browser import Browser, chromium
from topoprobe.reports.page import render_page

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"

# Text of drawings that reaches out of its drawing, card, frame or cell by more than a pixel.
CUT_OFF = """(() => {
  const cut = [];
  const check = (text, box) => {
    const a = text.getBoundingClientRect(), b = box.getBoundingClientRect();
    const inside = a.left >= b.left - 1 && a.right <= b.right + 1
      && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
    if (!inside) cut.push(text.textContent);
  };
  for (const svg of document.querySelectorAll("svg.chart"))
    if (svg.getBoundingClientRect().width)
      for (const text of svg.querySelectorAll("text")) check(text, svg);
  for (const mark of document.querySelectorAll("g.mark")) {
    const box = mark.querySelector(":scope > .card, :scope > .frame, :scope > .cell");
    if (box) for (const text of mark.querySelectorAll("text")) check(text, box);
  }
  return cut;
})()"""

# Least contrast ratio (WCAG 2) between the numbers of heat maps and their cells.
CONTRAST = """(() => {
  const light = (color) => color.match(/[0-9.]+/g).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  return Math.min(...[0, 1, 2, 3, 4, 5, 6, 7].map((step) => {
    const cell = document.querySelector("rect.cell"), ink = document.querySelector("text.ink");
    cell.setAttribute("class", `cell h${step}`);
    ink.setAttribute("class", `cell h${step} ink`);
    const [a, b] = [light(getComputedStyle(cell).fill), light(getComputedStyle(ink).fill)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()"""

# The middle of an element after scrolling to it; scrolling itself moves tooltips.
CENTER = """(async () => {
  const element = document.querySelector("%s");
  element.scrollIntoView({ block: "center", behavior: "instant" });
  for (const _ of [1, 2]) await new Promise(requestAnimationFrame);
  const box = element.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
})()"""

TIP = """(() => {
  const tip = document.getElementById("tip");
  return tip.hidden ? "" : tip.textContent;
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("chromium is not installed")
    with Browser(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def vm_page(name: str = "build-vm") -> str:
    return render_page(
        machine=sample.vm_machine(name),
        results=sample.vm_results(),
        calibration=sample.vm_calibration(),
        run=sample.vm_run(),
    )


PAGES = {
    "vm": vm_page,
    "server": lambda: render_page(calibration=sample.server_calibration()),
    "16 GPUs": lambda: render_page(machine=sample.server_machine(16)),
    "mesh": lambda: render_page(machine=sample.server_machine(8, fabric="mesh", num_sockets=4)),
    "1 GPU": lambda: render_page(
        machine=sample.server_machine(1, gpus_per_switch=1, num_sockets=1, fabric="none")
    ),
    "empty": lambda: render_page(machine=sample.empty_machine()),
}


def write(folder: Path, page: str) -> Path:
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", PAGES)
def test_page_loads_without_errors_requests_or_cut_off_text(
    browser: Browser, tmp_path: Path, name: str
) -> None:
    path = write(tmp_path, PAGES[name]())
    browser.open(path)
    assert browser.errors == []
    assert browser.requests == [path.as_uri()]
    assert browser.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("width", [700, 1000, 1600])
def test_page_fits_the_window(browser: Browser, tmp_path: Path, width: int) -> None:
    browser.open(write(tmp_path, vm_page()), width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_in_cells_can_be_read(browser: Browser, tmp_path: Path, scheme: str) -> None:
    browser.open(write(tmp_path, vm_page()), scheme=scheme)
    assert browser.evaluate(CONTRAST) >= 4.5


def test_dark_page_is_dark(browser: Browser, tmp_path: Path) -> None:
    path = write(tmp_path, vm_page())
    backgrounds = []
    for scheme in ("light", "dark"):
        browser.open(path, scheme=scheme)
        backgrounds.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert backgrounds == ["rgb(244, 246, 248)", "rgb(14, 19, 24)"]


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("#roofline .dot.c1", "95 % interval"),
        ("#contention rect.cell.h7", "chase beside stream"),
        ("#topology .k-memory", "idle latency 121 ns"),
        ("#ceilings .bar", "n = 12"),
        ("#ceilings td:nth-child(3) .number", "95 % interval"),
        ("#prediction .guess", "predicted 325 tokens/s"),
        ("#serving .lane.decode", "64 prompt tokens"),
    ],
)
def test_pointing_at_a_number_shows_where_it_comes_from(
    browser: Browser, tmp_path: Path, selector: str, words: str
) -> None:
    browser.open(write(tmp_path, vm_page()))
    assert browser.evaluate(TIP) == ""
    x, y = browser.evaluate(CENTER % selector)
    browser.move_mouse(x, y)
    assert words in browser.evaluate(TIP)
    browser.move_mouse(1, 1)
    assert browser.evaluate(TIP) == ""


def test_numbers_are_reached_with_the_keyboard(browser: Browser, tmp_path: Path) -> None:
    browser.open(write(tmp_path, vm_page()))
    browser.evaluate("document.querySelector('#ceilings .number').focus()")
    assert "nominal" in browser.evaluate(TIP)
    browser.press("Escape")
    assert browser.evaluate(TIP) == ""


def test_page_of_a_hostile_machine_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    path = write(tmp_path, vm_page(HOSTILE))
    browser.open(path)
    assert browser.errors == []
    assert browser.requests == [path.as_uri()]
    assert browser.evaluate("window.broken") is None
    assert browser.evaluate("document.querySelector('h1').textContent") == HOSTILE
    machine = "JSON.parse(document.getElementById('document-machine').textContent)"
    assert browser.evaluate(f"{machine}.nodes[0].name") == HOSTILE


@pytest.mark.parametrize(
    ("injected", "words"),
    [
        ("<script>console.error('boom')</script>", "boom"),
        ("<script>throw new Error('boom')</script>", "boom"),
        ("<img src='nowhere.png'>", "ERR_FILE_NOT_FOUND"),
    ],
)
def test_browser_test_sees_a_broken_page(
    browser: Browser, tmp_path: Path, injected: str, words: str
) -> None:
    browser.open(write(tmp_path, f"<!doctype html><title>broken</title>{injected}"))
    assert any(words in error for error in browser.errors)


@pytest.mark.parametrize(
    "injected",
    ["<script>window.broken = 1</script>", "<img src='http://127.0.0.1:9/x.png'>"],
)
def test_page_blocks_what_is_smuggled_in(browser: Browser, tmp_path: Path, injected: str) -> None:
    path = write(tmp_path, vm_page().replace("<main>", f"<main>{injected}"))
    browser.open(path)
    assert any("Content Security Policy" in error for error in browser.errors)
    assert browser.evaluate("window.broken") is None


def test_cut_off_text_is_seen(browser: Browser, tmp_path: Path) -> None:
    drawing = "<svg class=chart width=100 height=20><text x=90 y=10>too long</text></svg>"
    browser.open(write(tmp_path, f"<!doctype html>{drawing}"))
    assert browser.evaluate(CUT_OFF) == ["too long"]
