"""Curves over steps as SVG, drawn without a library: a training draws them again and again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echocli.reports.page import Html, text

Values = NDArray[np.float64]

WIDTH = 470
"""Units of a drawing; one is about a pixel where there is room."""
HEIGHT = 300
PANEL = 116
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 30, 40
CURVE_POINTS = 400
FEW_POINTS = 60
"""Below this, each point of a curve is drawn; beyond, their running mean."""


def legend(points: int) -> str:
    """Return what the colours of a curve of so many points say; nothing if it has one."""
    return "" if points < FEW_POINTS else "Grey: each step; blue: the running mean."


class Frame(NamedTuple):
    """Where a plot stands in a drawing, and what it spans."""

    top: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, x: float) -> float:
        """Return where a step lies from the left."""
        low, high = self.x
        return LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def down(self, y: float) -> float:
        """Return where a value lies from the top."""
        low, high = self.y
        return self.bottom - (y - low) / (high - low) * (self.bottom - self.top)


def line(
    x: Values,
    y: Values,
    ylabel: str,
    name: str,
    beside: Mapping[str, float] | None = None,
    *,
    smooth: bool = True,
) -> Html:
    """Draw a curve over steps, with its running mean if it has many points.

    Args:
        x: Steps.
        y: Values.
        ylabel: What they are.
        name: What the drawing shows, for who cannot see it.
        beside: Values to compare it with, by name; drawn as level lines.
        smooth: Whether there is a running mean.
    """
    levels = dict(beside or {})
    ends = _room([*y.tolist(), *levels.values()])
    frame = Frame(TOP, HEIGHT - BOTTOM, _span(x), ends)
    parts = [*_grid(frame, ticks(*ends, 6)), *_steps(frame), *_curve(frame, x, y, smooth)]
    for label, value in levels.items():
        at = frame.down(value)
        parts.append(_stroke([(LEFT, at), (WIDTH - RIGHT, at)], "orange", 1.6, dashed=True))
        parts.append(_text(WIDTH - RIGHT, at - 5, label, "end", "orange"))
    parts.append(_text(LEFT, TOP - 9, ylabel, "start"))
    return _svg(parts, HEIGHT, name)


def panels(curves: Mapping[str, tuple[Values, Values]], name: str) -> Html:
    """Draw curves over steps below each other, each with its own scale from 0.

    Args:
        curves: Steps and values by what they are.
        name: What the drawing shows, for who cannot see it.
    """
    span = _span(np.concatenate([x for x, _ in curves.values()]))
    parts: list[str] = []
    for row, (label, (x, y)) in enumerate(curves.items()):
        most = float(y.max())
        ends = (min(0.0, float(y.min())), 1.0 if 0.5 < most <= 1 else 1.1 * most or 1.0)
        frame = Frame(row * PANEL + TOP, (row + 1) * PANEL, span, ends)
        parts += [*_grid(frame, ticks(*ends, 3)), *_curve(frame, x, y, True)]
        parts.append(_text(LEFT, frame.top - 7, label, "start"))
    parts += _steps(frame)
    return _svg(parts, len(curves) * PANEL + BOTTOM, name)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers from ``low`` to ``high``, so many at most: steps of 1, 2 or 5."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = 12 - math.floor(math.log10(step))
    return [round(number * step, digits) for number in range(first, last + 1)]


def thinned(x: Values, y: Values) -> tuple[Values, Values]:
    """Return a long curve as the means of equal stretches."""
    if len(x) <= CURVE_POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), CURVE_POINTS)
    return (
        np.array([x[part].mean() for part in parts]),
        np.array([y[part].mean() for part in parts]),
    )


def running_mean(values: Values) -> Values:
    """Return the mean over a twentieth of the curve around each point."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low), dtype=np.float64)


def _span(x: Values) -> tuple[float, float]:
    low, high = float(x.min()), float(x.max())
    return (low, high) if low < high else (low - 1, high + 1)


def _room(values: Sequence[float]) -> tuple[float, float]:
    """Return ends with some room around values."""
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _grid(frame: Frame, values: Sequence[float]) -> list[str]:
    parts = []
    for value in values:
        at = frame.down(value)
        parts.append(_stroke([(LEFT, at), (WIDTH - RIGHT, at)], "line", 0.7))
        parts.append(_text(LEFT - 7, at + 4, f"{value:.6g}", "end"))
    return parts


def _steps(frame: Frame) -> list[str]:
    parts = [
        _text(frame.across(value), frame.bottom + 17, f"{value:,.0f}", "middle")
        for value in ticks(*frame.x, 6)
        if value == round(value)
    ]
    return [*parts, _text((LEFT + WIDTH - RIGHT) / 2, frame.bottom + 34, "step", "middle")]


def _curve(frame: Frame, x: Values, y: Values, smooth: bool) -> list[str]:
    x, y = thinned(x, y)
    across, down = [frame.across(v) for v in x.tolist()], [frame.down(v) for v in y.tolist()]
    each = list(zip(across, down, strict=True))
    if len(x) < FEW_POINTS:
        dots = [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.6" fill="var(--blue)"/>' for a, b in each
        ]
        return [_stroke(each, "blue", 1.8), *dots]
    if not smooth:
        return [_stroke(each, "blue", 1.8)]
    mean = [frame.down(value) for value in running_mean(y).tolist()]
    through = list(zip(across, mean, strict=True))
    return [_stroke(each, "line", 1.1), _stroke(through, "blue", 1.8)]


def _stroke(
    points: Sequence[tuple[float, float]], colour: str, width: float, *, dashed: bool = False
) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="6 4"' if dashed else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="var(--{colour})" '
        f'stroke-width="{width}"{dashes}/>'
    )


def _text(x: float, y: float, content: str, anchor: str, colour: str = "") -> str:
    fill = f"var(--{colour})" if colour else "currentColor"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" '
        f'font-size="12">{text(content)}</text>'
    )


def _svg(parts: Sequence[str], height: float, name: str) -> Html:
    return Html(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{text(name)}" '
        f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">{"".join(parts)}</svg>'
    )
