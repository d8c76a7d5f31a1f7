"""The building blocks of a page: each takes plain text, escapes it and returns HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import NewType

from echocli.reports.csvs import csv_of, file_name
from echocli.reports.style import CSS

Html = NewType("Html", str)
"""Text that is HTML already. Everything else is escaped before it reaches the page."""

EMPTY = Html("")
SKIP = Html('<a class="skip" href="#main">Skip to the contents</a>')
HOLD = Html(
    '<p class="hold"><label><input type="checkbox" id="hold"> Hold all loops still</label></p>'
)
"""Pictures that move for longer than five seconds can be stopped (WCAG 2.2, 2.2.2)."""


@dataclass(frozen=True)
class Section:
    """One part of the page, with an anchor for the list of contents."""

    anchor: str
    title: str
    body: Html


def text(content: object) -> Html:
    """Return text as HTML, with nothing in it that a browser would obey."""
    return Html(escape(str(content), quote=True))


def join(parts: Iterable[Html]) -> Html:
    """Return parts one after another."""
    return Html("\n".join(parts))


def paragraph(content: str, kind: str = "") -> Html:
    """Return a paragraph.

    Args:
        content: Its text.
        kind: ``note`` for what a reader should not miss, ``muted`` for the small print.
    """
    chosen = f' class="{escape(kind)}"' if kind else ""
    return Html(f"<p{chosen}>{text(content)}</p>")


def subtitle(content: str) -> Html:
    """Return a heading inside a section."""
    return Html(f"<h3>{text(content)}</h3>")


def missing(what: str, command: str) -> Html:
    """Say that a part is not there, and which command makes it."""
    return Html(
        f'<p class="missing">{text(what)} <span>Make it with <code>{text(command)}</code>.'
        "</span></p>"
    )


def code(lines: Iterable[str]) -> Html:
    """Return lines to be copied."""
    return Html(f'<pre tabindex="0"><code>{text(chr(10).join(lines))}</code></pre>')


def details(summary: str, body: Html) -> Html:
    """Return something to unfold."""
    return Html(f"<details><summary>{text(summary)}</summary>{body}</details>")


def items(lines: Iterable[str]) -> Html:
    """Return a list."""
    return Html(f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str) -> Html:
    """Return a table, with itself as CSV; the first cell of a row says what the row is.

    Args:
        columns: Headings.
        rows: Cells; ``None`` stays empty. What looks like a number is not broken over lines.
        caption: What the table says.
    """
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{text(first)}</th>{"".join(_cell(cell) for cell in others)}</tr>'
        for first, *others in rows
    )
    link = download(f"{file_name(caption)}.csv", csv_of(columns, rows), caption)
    # A table that is wider than the screen is moved by the arrow keys once it has the focus.
    return Html(
        f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption)}"><table>'
        f"<caption><span>{text(caption)}</span></caption><thead><tr>{head}</tr></thead>"
        f'<tbody>{body}</tbody></table></div><p class="csv">{link}</p>'
    )


def download(name: str, content: str, what: str) -> Html:
    """Return a link that saves a table; it stands in the page, and nothing is fetched.

    Args:
        name: Of the file.
        content: Its text.
        what: What the numbers are.
    """
    return Html(
        f'<a download="{text(name)}" href="{data_uri(content.encode(), "text/csv")}" '
        f'aria-label="CSV: {text(what)}">CSV</a>'
    )


def facts(rows: Sequence[tuple[str, object]]) -> Html:
    """Return names with their values, side by side."""
    pairs = (f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in rows)
    return Html(f'<dl class="facts">{"".join(pairs)}</dl>')


def _cell(value: object) -> str:
    if value is None:
        return "<td></td>"
    content = str(value)
    number = content[:1].isdigit() or (content[:1] in "-+." and content[1:2].isdigit())
    return f'<td class="number">{text(content)}</td>' if number else f"<td>{text(content)}</td>"


def cards(figures: Sequence[tuple[str, str, str]]) -> Html:
    """Return the key figures: number, what it is, and what to compare it with."""
    boxes = (
        f'<div class="card"><b>{text(number)}</b><span>{text(what)}</span>'
        f"<small>{text(beside)}</small></div>"
        for number, what, beside in figures
    )
    return Html(f'<div class="cards">{"".join(boxes)}</div>')


def together(parts: Iterable[Html]) -> Html:
    """Return parts that a gallery keeps below each other."""
    return Html(f"<div>{join(parts)}</div>")


def figure(picture: Html, caption: str, numbers: Html = EMPTY) -> Html:
    """Return a picture with what it shows, and its numbers.

    Args:
        picture: What is drawn.
        caption: What it shows.
        numbers: A result of ``download``.
    """
    told = text(f"{caption} ") + numbers
    return Html(f"<figure>{picture}<figcaption>{told.strip()}</figcaption></figure>")


def gallery(figures: Iterable[Html], kind: str = "figures") -> Html:
    """Return figures side by side, below each other on a narrow screen.

    Args:
        figures: Results of ``figure``.
        kind: ``figures``, ``loops`` (small) or ``overlays``.
    """
    return Html(f'<div class="{escape(kind)}">{join(figures)}</div>')


def image(content: bytes, media_type: str, alternative: str, still: bytes = b"") -> Html:
    """Return a picture that is part of the page.

    Args:
        content: The bytes of the file.
        media_type: Such as ``image/webp``.
        alternative: What it shows, for who cannot see it.
        still: The same without motion, for paper and for who wants less of it.
    """
    if not still:
        return _image(content, media_type, alternative, "")
    moving = _image(content, media_type, alternative, "moving")
    return Html(
        f'<span class="loop">{moving}{_image(still, media_type, alternative, "still")}</span>'
    )


def _image(content: bytes, media_type: str, alternative: str, kind: str) -> Html:
    chosen = f'class="{kind}" ' if kind else ""
    source = data_uri(content, media_type)
    return Html(f'<img {chosen}src="{source}" alt="{text(alternative)}" decoding="async">')


def data_uri(content: bytes, media_type: str) -> str:
    """Return a file as an address that holds it."""
    return f"data:{escape(media_type)};base64,{base64.b64encode(content).decode('ascii')}"


def page(
    title: str,
    subtitle_text: str,
    lead: Html,
    sections: Sequence[Section],
    refresh_s: int | None = None,
) -> str:
    """Return the whole page, which needs no other file and no network.

    Args:
        title: Heading and name of the window.
        subtitle_text: Line below the heading.
        lead: What comes before the list of contents.
        sections: The rest.
        refresh_s: Seconds after which a browser shall read it again; never if left out.
    """
    again = "" if refresh_s is None else f'<meta http-equiv="refresh" content="{refresh_s}">'
    contents = "".join(f'<a href="#{escape(s.anchor)}">{text(s.title)}</a>' for s in sections)
    body = "".join(
        f'<section id="{escape(s.anchor)}" aria-labelledby="{escape(s.anchor)}-title">'
        f'<h2 id="{escape(s.anchor)}-title">{text(s.title)}</h2>{s.body}</section>'
        for s in sections
    )
    hold = HOLD if 'class="moving"' in body else EMPTY
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        # Even a page whose text was tampered with may load nothing and run nothing.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"img-src data:; style-src 'unsafe-inline'\">{again}"
        f"<title>{text(title)}</title><style>{CSS}</style></head><body>"
        f'{SKIP}<header><h1>{text(title)}</h1><p class="muted">{text(subtitle_text)}</p>'
        f'</header><main id="main" tabindex="-1">{lead}'
        f'<nav aria-label="Contents">{contents}</nav>{hold}{body}</main></body></html>\n'
    )
