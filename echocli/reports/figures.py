"""The figures of a report, one function each: SVG in the colours of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from echocli.reports.page import Html

Values = NDArray[np.float64]

INK, LINE, BLUE, ORANGE, GREEN, RED = (
    "#010101",
    "#010102",
    "#010103",
    "#010104",
    "#010105",
    "#010106",
)
"""Written into the SVG by matplotlib and then replaced by the colours of the page's style."""
STYLE_OF = {
    INK: "currentColor",
    LINE: "var(--line)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    RED: "var(--red)",
}
COLOUR_OF = {
    "normal": BLUE,
    "abnormal": ORANGE,
    "cavity": ORANGE,
    "muscle": BLUE,
    "atrium": RED,
}
"""The structures have about the colours of their outlines in the pictures."""
WIDTH, HEIGHT = 4.7, 3.1  # inches; narrow, so that letters stay readable on a phone
MOST_POINTS = 1500
"""Beyond this many, points are drawn as pixels: an SVG of 100,000 marks stalls a browser."""
INTER_OBSERVER_POINTS = 7
"""Two readers of the same loop differ by 7 to 14 points of EF; the narrow end is drawn.

Source:
    Reference values in the documentation, ``docs/learning.md``.
"""

SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
}


def histogram(groups: Mapping[str, Values], xlabel: str, name: str) -> Html:
    """Draw how often values occur, one colour a group."""

    def draw(axes: Axes) -> None:
        # Clips of one frame rate differ in its last digits, too little to tell apart in bins.
        filled = {key: values.round(6) for key, values in groups.items() if len(values)}
        everything = np.concatenate(list(filled.values()))
        bins = min(24, max(6, len(everything) // 4))
        edges = np.histogram_bin_edges(everything, bins).tolist()
        colours = [BLUE, ORANGE, GREEN, RED][: len(filled)]
        axes.hist(list(filled.values()), edges, stacked=True, color=colours, label=list(filled))
        axes.set(xlabel=xlabel, ylabel="clips")
        axes.locator_params(axis="y", integer=True)
        axes.grid(axis="x", visible=False)
        if len(filled) > 1:
            axes.legend(ncols=len(filled), loc="lower left", bbox_to_anchor=(0, 1))

    return _drawn(draw, name)


def score_distribution(
    groups: Mapping[str, Values], threshold: float | None, name: str
) -> Html:
    """Draw the anomaly score of every clip, a row for each group, with the threshold."""

    def draw(axes: Axes) -> None:
        generator = np.random.default_rng(0)  # only spreads the points
        for row, (label, scores) in enumerate(groups.items()):
            heights = row + generator.uniform(-0.28, 0.28, len(scores))
            colour, many = COLOUR_OF.get(label, GREEN), len(scores) > MOST_POINTS
            axes.scatter(scores, heights, s=13, color=colour, alpha=0.7, rasterized=many)
            if len(scores):
                axes.plot([np.median(scores)] * 2, [row - 0.38, row + 0.38], color=INK)
            axes.text(0, row + 0.42, label, transform=axes.get_yaxis_transform(), va="bottom")
        if threshold is not None:
            axes.axvline(threshold, color=RED, linestyle="--")
            axes.text(
                threshold, 1.0, " threshold", color=RED, transform=axes.get_xaxis_transform()
            )
        axes.set(xlabel="anomaly score", yticks=[], ylim=(-0.6, len(groups) - 0.2))
        axes.spines["left"].set_visible(False)

    return _drawn(draw, name)


def ef_scatter(measured: Values, predicted: Values, mean: float, name: str) -> Html:
    """Draw predicted against measured ejection fraction, with the line of agreement.

    Args:
        measured: In percent.
        predicted: In percent.
        mean: What a prediction that knows nothing would say.
        name: Unique in the page.
    """

    def draw(axes: Axes) -> None:
        low = min(measured.min(), predicted.min()) - 3
        high = max(measured.max(), predicted.max()) + 3
        ends = np.array([low, high])
        axes.fill_between(
            ends, ends - INTER_OBSERVER_POINTS, ends + INTER_OBSERVER_POINTS,
            color=LINE, alpha=0.45, linewidth=0, label="two readers differ by 7 or more",
        )  # fmt: skip
        axes.plot(ends, ends, color=INK, linewidth=1)
        axes.axhline(mean, color=ORANGE, linestyle="--", label="predicting the mean")
        many = len(measured) > MOST_POINTS
        axes.scatter(measured, predicted, s=18, color=BLUE, alpha=0.75, rasterized=many)
        axes.set(xlim=ends, ylim=ends, xlabel="measured EF (%)", ylabel="predicted EF (%)")
        axes.legend(loc="upper left", fontsize=8.5)

    return _drawn(draw, name)


def bland_altman(
    measured: Values, predicted: Values, bias: float, limits: tuple[float, float], name: str
) -> Html:
    """Draw the difference of two measurements against their mean, with limits of agreement."""

    def draw(axes: Axes) -> None:
        mean, difference = (measured + predicted) / 2, predicted - measured
        many = len(measured) > MOST_POINTS
        axes.scatter(mean, difference, s=18, color=BLUE, alpha=0.75, rasterized=many)
        for value, label, line in (
            (bias, f"bias {bias:+.1f}", "-"),
            (limits[0], f"{limits[0]:+.1f}", "--"),
            (limits[1], f"{limits[1]:+.1f}", "--"),
        ):
            axes.axhline(value, color=ORANGE, linestyle=line, linewidth=1.2)
            axes.text(1.01, value, label, transform=axes.get_yaxis_transform(), va="center")
        axes.set(
            xlabel="mean of measured and predicted EF (%)",
            ylabel="predicted - measured (points)",
        )

    return _drawn(draw, name)


def reliability(said: Values, seen: Values, clips: Values, name: str) -> Html:
    """Draw how often it was so against how likely it was said to be.

    Args:
        said: Mean probability of each group of clips.
        seen: The share of them for which it was so.
        clips: How many each group has; decides the size of its mark.
        name: Of the drawing.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8)
        axes.plot(said, seen, color=BLUE)
        axes.scatter(said, seen, s=12 + 90 * clips / clips.sum(), color=BLUE)
        axes.set(xlabel="probability said", ylabel="share that was so")
        axes.set(xlim=(0, 1), ylim=(0, 1))

    return _drawn(draw, name)


def area_curve(
    times: Values, areas: Mapping[str, Values], xlabel: str, ylabel: str, name: str
) -> Html:
    """Draw how large each structure is over time."""

    def draw(axes: Axes) -> None:
        for label, values in areas.items():
            axes.plot(times, values, color=COLOUR_OF.get(label, GREEN), label=label)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_ylim(bottom=0)
        axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))

    return _drawn(draw, name)


def _drawn(draw: Any, name: str) -> Html:  # noqa: ANN401
    with rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained", dpi=144)
        FigureCanvasSVG(figure)
        draw(figure.subplots())
        return _svg(figure, name)


def _svg(figure: Figure, name: str) -> Html:
    """Return SVG for the inside of a page: its own ids, no date, the page's colours."""
    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # Its style sheet would hold for the whole page, which has its own.
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    # Several drawings share the page, and matplotlib calls the parts of all of them alike.
    svg = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", svg)
    for colour, style in STYLE_OF.items():
        svg = svg.replace(colour, style)
    label = name.replace("-", " ")
    return Html(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip())
