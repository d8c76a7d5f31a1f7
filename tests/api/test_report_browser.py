"""The report in a real browser: nothing fetched, no complaint, usable by keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, browser, browser_path
from made_study import write_study

from echocli.api.report import report

BROWSER = browser_path()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")

TAB, RIGHT, SPACE = 9, 39, 32
LOW_CONTRAST = """
(() => {
  const rgb = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = rgb(c).map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (rgb(c)[3] !== 0) return c; }
    return 'rgb(255,255,255)'; };
  const bad = new Set();
  for (const e of document.querySelectorAll('main *, header *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility({visibilityProperty: true})) continue;
    const ink = e instanceof SVGElement ? getComputedStyle(e).fill : getComputedStyle(e).color;
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.add(e.tagName + ' ' + e.textContent.slice(0, 40));
  }
  return [...bad];
})()
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = write_study(tmp_path_factory.mktemp("study"))
    return report(study).out


@pytest.fixture(scope="module")
def page(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert BROWSER is not None
    with browser(BROWSER, tmp_path_factory.mktemp("profile")) as opened:
        opened.open(written)
        yield opened


def test_nothing_is_fetched_and_the_console_stays_empty(page: Page, written: Path) -> None:
    page.screen(1280, 900)
    page.open(written)
    asked = {address for address in page.requests if not address.startswith("data:")}
    assert asked == {written.resolve().as_uri()}
    assert page.said == []
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).length"
    assert page.value(broken) == 0
    assert page.value("document.images.length") > 20


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_screen_and_can_be_read(page: Page, width: int, scheme: str) -> None:
    page.screen(width, 844, scheme)
    assert page.value("document.scrollingElement.scrollWidth") <= width
    assert page.value(LOW_CONTRAST) == []


def test_keys_alone_reach_the_contents_and_walk_the_map(page: Page, written: Path) -> None:
    page.screen(1280, 900)
    page.open(written)
    page.key("Tab", TAB)
    assert page.value("document.activeElement.className") == "skip"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.value(outline) != "none"
    page.value("document.querySelector('.plot input').focus()")
    page.key("ArrowRight", RIGHT)
    shown = "[...document.querySelectorAll('.plot .tip:not(.none)')].filter("
    shown += "t => getComputedStyle(t).visibility === 'visible').map(t => t.textContent)"
    told = page.value("document.activeElement.getAttribute('aria-label')")
    assert page.value(shown) == [told]
    page.key("Tab", TAB)  # one stop for the whole map
    assert page.value("!!document.activeElement.closest('.plot')") is False


def test_colours_of_the_map_can_be_chosen(page: Page) -> None:
    colour = "getComputedStyle(document.querySelector('.plot i')).backgroundColor"
    first = page.value(colour)
    page.value("document.querySelector('.by-1').click()")
    assert page.value(colour) != first
    keys = "[...document.querySelectorAll('.keys')].map(k => getComputedStyle(k).display)"
    assert page.value(keys)[:2] == ["none", "flex"]


def test_loops_can_be_held_and_stand_for_who_wants_no_motion(page: Page) -> None:
    moving = "[...document.querySelectorAll('.moving')].filter(e => e.checkVisibility()).length"
    page.screen(1280, 900)
    assert page.value(moving) > 5
    page.value("document.querySelector('#hold').click()")
    assert page.value(moving) == 0
    page.value("document.querySelector('#hold').click()")
    page.screen(1280, 900, motion="reduce")
    assert page.value(moving) == 0
    still = "[...document.querySelectorAll('.still')].filter(e => e.checkVisibility()).length"
    assert page.value(still) > 5


def test_it_is_printed_light_and_whole(page: Page) -> None:
    page.screen(1280, 900, "dark")
    page.call("Emulation.setEmulatedMedia", media="print")
    closed = (
        "document.querySelector('details:not([open]) table').getBoundingClientRect().height"
    )
    assert page.value(closed) > 100
    paper = "getComputedStyle(document.documentElement).getPropertyValue('--paper')"
    assert page.value(paper).strip() == "#fdfdfc"
    assert page.pdf().startswith(b"%PDF")
