"""Whatever the text is, it stays text."""

from __future__ import annotations

from html import unescape
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from echocli.reports import page

NASTY = st.text(alphabet=st.sampled_from(list("<>&\"'/abc=! -")), max_size=30)
SOME = st.text(alphabet=st.sampled_from(list("<>&\"'/abc=! -")), min_size=1, max_size=30)


class Reader(HTMLParser):
    """Collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@given(NASTY)
def test_text_comes_back_as_it_was(nasty: str) -> None:
    assert unescape(page.text(nasty)) == nasty
    assert "".join(read(page.paragraph(nasty)).texts) == nasty


@given(SOME, SOME)
def test_no_text_can_add_a_tag(one: str, other: str) -> None:
    built = {
        "paragraph": (lambda a, b: page.paragraph(a)),
        "table": (lambda a, b: page.table([a], [[b]], a)),
        "facts": (lambda a, b: page.facts([(a, b)])),
        "cards": (lambda a, b: page.cards([(a, b, a)])),
        "download": (lambda a, b: page.download(a, b, a)),
        "figure": (lambda a, b: page.figure(page.EMPTY, a, page.download(b, a, b))),
        "missing": page.missing,
        "code": (lambda a, b: page.code([a, b])),
        "items": (lambda a, b: page.items([a, b])),
        "image": (lambda a, b: page.image(b"x", "image/png", a)),
        "details": (lambda a, b: page.details(a, page.text(b))),
    }
    for name, build in built.items():
        assert read(build(one, other)).tags == read(build("a", "b")).tags, name


def test_the_page_lists_its_sections_and_allows_nothing_from_outside() -> None:
    sections = [page.Section("one", "First", page.paragraph("a")),
                page.Section("two", "Second", page.paragraph("b"))]  # fmt: skip
    html = page.page("Title", "below", page.EMPTY, sections)
    assert html.startswith("<!doctype html>")
    assert '<a href="#two">Second</a>' in html
    assert '<section id="two" aria-labelledby="two-title">' in html
    assert "default-src 'none'" in html
    assert "script" not in html
