"""The shape that ultrasound scanners draw: a part of a ring, seen from an apex.

A fan is fitted to what moves by the principle of the largest sum: each pixel inside counts for
the fan if it moves and against it if it stands still, so a border lies where, along its whole
length, less than a certain share moves. Dark depths, shadows and cavities then belong to it
although nothing moves there, and a word beside the scan does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STILLNESS = 0.25
"""Share of a strip along the border that must move for it to lie inside."""
BINS = 400
"""Steps of angle and of radius in which borders are looked for."""
ACROSS = (-0.2, 0.0, 0.2)
ABOVE = (-0.02, 0.05, 0.12, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Where apices are looked for first: beside the middle of what moves, as shares of its width,
and above it, as shares of its height. The farthest make a linear array's rectangle."""
FINEST = 0.25
"""Pixels to which the apex is found."""


@dataclass(frozen=True)
class Fan:
    """Part of a ring around an apex, in pixels of some picture.

    Angles are in radians from straight down (or up, if the fan stands on its head), positive to
    the right.
    """

    row: float
    column: float
    angle0: float = -np.pi / 2
    angle1: float = np.pi / 2
    radius0: float = 0.0
    radius1: float = np.inf
    down: bool = True
    """Whether the beams run down the picture from the apex."""
    aspect: float = 1.0
    """Width of a pixel over its height."""
    upright: bool = False
    """Whether both sides are kept equally far from straight down while it is fitted."""

    def scaled(self, factor: float) -> Fan:
        """Return the fan in a picture ``factor`` times as large."""
        return replace(
            self,
            row=(self.row + 0.5) * factor - 0.5,
            column=(self.column + 0.5) * factor - 0.5,
            radius0=self.radius0 * factor,
            radius1=self.radius1 * factor,
        )

    def polar(self, rows: Floats, columns: Floats) -> tuple[Floats, Floats]:
        """Return angle and radius of pixels."""
        along = (rows - np.float32(self.row)) * np.float32(1 if self.down else -1)
        across = (columns - np.float32(self.column)) * np.float32(self.aspect)
        return np.arctan2(across, along), np.hypot(across, along)

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return the pixels inside, ``(height, width)``."""
        rows = np.arange(height, dtype=np.float32)[:, None]
        columns = np.arange(width, dtype=np.float32)[None]
        along = (rows - np.float32(self.row)) * np.float32(1 if self.down else -1)
        across = (columns - np.float32(self.column)) * np.float32(self.aspect)
        squared = along * along + across * across
        inside = (squared <= self.radius1**2) & (squared >= self.radius0**2)
        for angle, side in ((self.angle0, 1), (self.angle1, -1)):
            sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
            inside &= side * (across * cosine - along * sine) >= 0
        return inside


def best_fan(
    gain: Floats, rows: Floats, columns: Floats, start: Fan, step: float
) -> tuple[float, Fan]:
    """Improve a fan by moving its apex; all else follows from the apex.

    Args:
        gain: What each pixel counts for the fan.
        rows: Where it is.
        columns: Where it is.
        start: Fan to begin with.
        step: First step in pixels; it is halved until it is finer than ``FINEST``.

    Returns:
        The sum of gains inside, and the fan.
    """
    best = around(gain, rows, columns, start)
    while step >= FINEST:
        tried = [around(gain, rows, columns, fan) for fan in _neighbours(best[1], step)]
        better = max(tried, key=lambda each: each[0])
        if better[0] > best[0]:
            best = better
        else:
            step /= 2
    return best


def _neighbours(fan: Fan, step: float) -> Iterator[Fan]:
    """Give fans with an apex nearby; one with equal sides keeps the column that halves it."""
    across_too = () if fan.upright else ((0, -1), (0, 1))
    for down, across in ((-1, 0), (1, 0), *across_too):
        yield replace(fan, row=fan.row + down * step, column=fan.column + across * step)


def around(gain: Floats, rows: Floats, columns: Floats, apex: Fan) -> tuple[float, Fan]:
    """Return the fan around an apex that collects the largest sum of gains."""
    angles, radii = apex.polar(rows, columns)
    inside = (angles >= apex.angle0) & (angles <= apex.angle1)
    if apex.upright:
        angles = np.abs(angles)
    score, limits = 0.0, (0.0, 0.0, 0.0, 0.0)
    for _ in range(2):
        _, radius0, radius1 = _largest_run(radii[inside], gain[inside])
        ring = (radii >= radius0) & (radii <= radius1)
        score, angle0, angle1 = _largest_run(angles[ring], gain[ring])
        inside = (angles >= angle0) & (angles <= angle1)
        limits = (-angle1 if apex.upright else angle0, angle1, radius0, radius1)
    angle0, angle1, radius0, radius1 = limits
    fan = replace(apex, angle0=angle0, angle1=angle1, radius0=radius0, radius1=radius1)
    return score, fan


def _largest_run(places: Floats, gain: Floats) -> tuple[float, float, float]:
    """Return the interval with the largest sum of gains: sum, start, stop."""
    if len(places) == 0:
        return 0.0, 0.0, 0.0
    first, last = float(places.min()), float(places.max())
    width = max(last - first, 1e-6) / BINS
    steps = (places - np.float32(first)) / np.float32(width)
    bins = np.minimum(steps, BINS - 1, out=steps).astype(np.intp)
    sums = np.zeros(BINS + 1)
    np.cumsum(np.bincount(bins, gain, BINS), out=sums[1:])
    lowest = np.minimum.accumulate(sums)
    stop = int(np.argmax(sums - lowest))
    start = stop - int(np.argmax(sums[stop::-1] == lowest[stop]))
    return float(sums[stop] - sums[start]), first + start * width, first + stop * width
