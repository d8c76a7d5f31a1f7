"""Curves: every point stands where its step and value say, in the colours of the page."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from echocli.reports import lines
from echocli.reports.curves import Curve
from echocli.reports.page import Html

X = np.arange(0.0, 100.0, 10.0)
Y = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0])
LONG = np.cos(np.arange(300.0) / 20)
DRAWN = {
    "few points": lines.line(X, Y, "probe", "probe", {"<guess>": 8.0}),
    "many points": lines.line(np.arange(300.0), LONG, "loss", "loss"),
    "one point": lines.line(X[:1], Y[:1], "loss", "loss"),
    "level": lines.line(X, np.zeros(10), "loss", "loss"),
    "panels": lines.panels({"rank": (X, Y), "cosine": (np.arange(300.0), LONG)}, "health"),
    "nothing but zero": lines.panels({"std": (X, np.zeros(10))}, "health"),
}


def parts(svg: Html, tag: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(svg)
    return [part for part in root if part.tag.endswith(tag)]


def points(stroke: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = [pair.split(",") for pair in stroke.attrib["points"].split()]
    return [(float(x), float(y)) for x, y in pairs]


@pytest.mark.parametrize("svg", DRAWN.values(), ids=DRAWN.keys())
def test_a_drawing_is_well_formed_inside_its_frame_and_follows_the_page(svg: Html) -> None:
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label")
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for stroke in parts(svg, "polyline"):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points(stroke))
    colours = set(re.findall(r'(?:stroke|fill)="([^"]*)"', svg))
    assert colours <= {
        "none",
        "currentColor",
        *(f"var(--{c})" for c in ("line", "blue", "orange")),
    }
    assert not re.search(r"nan|inf", svg)


def test_points_stand_where_the_scales_say() -> None:
    """Undo the drawing by the ticks that a reader would use."""
    svg = DRAWN["few points"]
    strokes = [s for s in parts(svg, "polyline") if s.attrib["stroke"] == "var(--blue)"]
    levels = [s for s in parts(svg, "polyline") if s.attrib["stroke"] == "var(--line)"]
    labels = [t for t in parts(svg, "text") if t.get("text-anchor") == "end"]
    values = [float(t.text or "nan") for t in labels if t.get("fill") == "currentColor"]
    rows = [points(level)[0][1] for level in levels]
    slope, offset = np.polyfit(rows, values, 1)
    found = np.array(points(strokes[0]))
    np.testing.assert_allclose(found[:, 1] * slope + offset, Y, atol=0.02)
    assert slope < 0  # more is higher up
    steps = [t for t in parts(svg, "text") if t.get("text-anchor") == "middle"][:-1]
    places = [float(t.attrib["x"]) for t in steps]
    slope, offset = np.polyfit(places, [float(t.text or "nan") for t in steps], 1)
    np.testing.assert_allclose(found[:, 0] * slope + offset, X, atol=0.05)
    assert slope > 0  # later is further right
    assert len(parts(svg, "circle")) == len(X)
    (guess,) = [s for s in parts(svg, "polyline") if "stroke-dasharray" in s.attrib]
    assert points(guess)[0][1] == points(guess)[1][1]


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e6), st.integers(1, 8))
def test_ticks_are_round_within_the_ends_and_few(low: float, width: float, most: int) -> None:
    high = low + width
    found = lines.ticks(low, high, most) if high > low else []
    assert len(found) <= most + 1
    margin = 1e-6 * width + 2 * np.spacing(max(abs(low), abs(high)))
    assert all(low - margin <= tick <= high + margin for tick in found)
    gaps = np.diff(found)
    if len(gaps) and width > 1e-6 * abs(low):
        power = 10 ** math.floor(math.log10(gaps[0]) + 1e-9)
        assert min(abs(gaps[0] / power - n) for n in (1, 2, 5, 10)) < 1e-3
        np.testing.assert_allclose(gaps, gaps[0], rtol=1e-3)


@given(arrays(np.float64, st.integers(1, 120), elements=st.floats(-1e3, 1e3)))
def test_the_running_mean_is_the_mean_of_its_neighbours(values: lines.Values) -> None:
    half = max(1, len(values) // 40)
    slow = [values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))]
    np.testing.assert_allclose(lines.running_mean(values), slow, atol=1e-8)


@given(st.integers(1, 3000))
def test_thinning_keeps_the_mean_of_a_curve_and_bounds_its_length(count: int) -> None:
    x, y = np.arange(count, dtype=np.float64), np.cos(np.arange(count) / 9)
    few_x, few_y = lines.thinned(x, y)
    assert len(few_x) == len(few_y) == min(count, lines.CURVE_POINTS)
    assert np.all(np.diff(few_x) > 0)
    weights = [len(part) for part in np.array_split(x, len(few_x))]
    assert np.average(few_y, weights=weights) == pytest.approx(y.mean())


@given(st.integers(1, 200), st.sampled_from([2, 4, 16]))
def test_a_growing_curve_stays_small_and_keeps_the_means_of_stretches(
    count: int, most: int
) -> None:
    values = np.cos(np.arange(count) / 9)
    curve = Curve(most)
    for place, value in enumerate(values):
        curve.add(place, value)
    x, y = curve.points
    width = 1
    while math.ceil(count / width) > most:
        width *= 2
    stretches = [
        np.arange(first, min(first + width, count)) for first in range(0, count, width)
    ]
    assert len(curve) == len(x) == len(stretches) <= most
    np.testing.assert_allclose(x, [stretch.mean() for stretch in stretches])
    np.testing.assert_allclose(y, [values[stretch].mean() for stretch in stretches], atol=1e-12)
    assert curve.last == pytest.approx(y[-1])
