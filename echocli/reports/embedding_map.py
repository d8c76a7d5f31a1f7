"""The map of an embedding: a point a clip, whose picture shows when one looks at the point.

Plain HTML and style, no script: the points are one group of radio buttons, so that the mouse,
a finger and the arrow keys all reach them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echocli.reports.page import EMPTY, Html, join, text

Values = NDArray[np.float64]

PALETTE = (
    "#2f82b8",
    "#c8681f",
    "#3b9a5c",
    "#c44a55",
    "#8a63c8",
    "#93801f",
    "#b0509a",
    "#4f8f95",
)
"""Told apart on a light and on a dark page, 3 to 1 against both."""
UNKNOWN = "var(--edge)"
LOW, MIDDLE, HIGH = (209, 73, 91), (196, 140, 60), (61, 143, 179)
MARGIN = 0.05
FIRST = ("normal", "train")
"""Words that get the first colour, so that it means the same in every figure."""


@dataclass(frozen=True)
class Colouring:
    """One way to colour the points."""

    name: str
    of: Sequence[str]
    """The colour of each point."""
    key: Html
    """What the colours mean."""


def by_group(name: str, values: Sequence[str]) -> Colouring:
    """Return a colour for each word; ``unknown`` is grey.

    Args:
        name: What the words say.
        values: One a point.
    """
    found = sorted(set(values) - {"unknown"}, key=lambda word: (word not in FIRST, word))
    colours = {word: PALETTE[place % len(PALETTE)] for place, word in enumerate(found)}
    if "unknown" in values:
        colours["unknown"] = UNKNOWN
    marks = (
        f'<span><i class="key" style="background:{colour}"></i> {text(word)}</span>'
        for word, colour in colours.items()
    )
    return Colouring(name, [colours[word] for word in values], Html(" ".join(marks)))


def by_value(name: str, values: Values) -> Colouring:
    """Return colours from red over amber to blue; what is not finite is grey.

    Args:
        name: What the numbers say.
        values: One a point.
    """
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    place = (values - low) / ((high - low) or 1.0)
    colours = [_blend(float(p)) if np.isfinite(p) else UNKNOWN for p in place]
    ends = ",".join(_blend(p) for p in (0.0, 0.5, 1.0))
    key = (
        f'<span>{low:.0f} <i class="ramp" style="background:linear-gradient(90deg,{ends})">'
        f"</i> {high:.0f}</span>"
    )
    return Colouring(name, colours, Html(key))


def drawn_map(
    points: Values,
    axes: tuple[str, str],
    words: Sequence[str],
    colourings: Sequence[Colouring],
    pictures: Mapping[int, int],
    sheet: str,
    columns: int,
) -> Html:
    """Draw points that show their picture and words when looked at.

    Args:
        points: ``(clips, 2)``.
        axes: What is across and what is up.
        words: What is known of each clip.
        colourings: Ways to colour; the first is shown, the others can be chosen.
        pictures: Place of a point's picture in the sheet, where it has one.
        sheet: The pictures side by side, as a data URI; empty without any.
        columns: Pictures in a row of the sheet.
    """
    places = _places(points)
    order = np.lexsort((places[:, 1], places[:, 0]))  # arrow keys go from left to right
    rows = -(-len(pictures) // columns) if pictures else 1
    dots = []
    for row in order:
        x, y = places[row]
        colours = ";".join(f"--c{n}:{one.of[row]}" for n, one in enumerate(colourings))
        tile = EMPTY
        if int(row) in pictures:
            down, across = divmod(pictures[int(row)], columns)
            tile = Html(f'<b style="--u:{across};--v:{down}"></b>')
        dots.append(
            f'<label style="--x:{100 * x:.2f}%;--y:{100 * y:.2f}%;{colours}">'
            f'<input type="radio" name="map-clip" aria-label="{text(words[row])}"><i></i>'
            f'<span class="tip">{tile}{text(words[row])}</span></label>'
        )
    url = f"--sheet:url({sheet});" if sheet else ""
    return Html(
        f'<div class="map" style="{url}--columns:{columns};--rows:{rows}">'
        f"{_chooser(colourings)}"
        f'<fieldset class="plot"><legend class="hidden">Map of the clips, {text(axes[0])} '
        f"across and {text(axes[1])} up; arrow keys go from clip to clip</legend>"
        f'{"".join(dots)}<span class="tip none">Point at a clip, touch it, or go to the map '
        "with Tab and on with the arrow keys: its picture appears here.</span></fieldset>"
        f'<p class="across muted">{text(axes[0])} &rarr;<br>{text(axes[1])} &uarr;</p></div>'
    )


def _chooser(colourings: Sequence[Colouring]) -> Html:
    keys = (f'<p class="keys keys-{n}">{one.key}</p>' for n, one in enumerate(colourings))
    choices = (
        f'<label><input type="radio" name="map-by" class="by-{n}"'
        f"{' checked' if n == 0 else ''}> {text(one.name)}</label>"
        for n, one in enumerate(colourings)
    )
    told = Html(f'<fieldset class="by"><legend>Colour by</legend>{"".join(choices)}</fieldset>')
    return join([told, *map(Html, keys)])


def _places(points: Values) -> Values:
    """Return points as shares of the plot, from its top left corner."""
    low, high = points.min(axis=0), points.max(axis=0)
    wide = np.where(high > low, high - low, 1.0)
    shares = MARGIN + (1 - 2 * MARGIN) * (points - low) / wide
    return np.column_stack([shares[:, 0], 1 - shares[:, 1]])


def _blend(place: float) -> str:
    first, second, share = (
        (LOW, MIDDLE, 2 * place) if place < 0.5 else (MIDDLE, HIGH, 2 * place - 1)
    )
    mixed = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)
