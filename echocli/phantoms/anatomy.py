"""A left ventricle whose volume is known, with the wall, the atrium and a right heart.

The cavity is a stack of circular discs along the long axis; a disc's two edges in the imaged
plane may move differently, so a wall segment can stand still. Every point of a frame maps back
to the place of the same tissue at end diastole: masks and speckle both come from that map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
View = Literal["A4C", "A2C"]
LEVELS = 1024
FAR_MM = 110.0


@dataclass(frozen=True, kw_only=True)
class Akinesia:
    """A segment of one wall that moves less than the rest."""

    view: View = "A4C"
    """The plane in which it lies."""
    side: Literal["left", "right"] = "left"
    """The wall: septal or inferior on the left, lateral or anterior on the right."""
    level: float = 0.4
    """Its middle, as a share of the way from apex to annulus."""
    extent: float = 0.2
    """Standard deviation of its reach along the axis, as a share of the length."""
    loss: float = 0.95
    """Share of the motion that is lost in its middle."""


@dataclass(frozen=True, kw_only=True)
class Heart:
    """Lengths at end diastole and how much they shorten."""

    length_mm: float = 85.0
    """Cavity from apex to mitral annulus."""
    radius_mm: float = 24.0
    """Cavity where it is widest."""
    equator: float = 0.68
    """Where it is widest, as a share of the way from apex to annulus."""
    wall_mm: float = 9.0
    apex_wall_mm: float = 7.0
    long_shortening: float = 0.15
    """Share of the length that is lost at end systole."""
    radial_shortening: float = 0.33
    """Share of the radius that is lost at end systole where the wall is healthy."""
    akinesia: Akinesia | None = None
    atrium_length_mm: float = 42.0
    atrium_radius_mm: float = 20.0
    atrium_swing: float = 0.12
    """How much wider the atrium is at end systole."""
    right_mm: float = 30.0
    """Width of the right ventricle near its base; it is seen in A4C only."""
    right_shortening: float = 0.25

    @cached_property
    def _motion(self) -> tuple[Floats, Floats, Floats]:
        """Levels from apex to annulus and the motion kept on the left and right wall."""
        s = np.linspace(0.0, 1.0, 2001)
        return s, self._kept(s, "left"), self._kept(s, "right")

    def _kept(self, s: Floats, side: str) -> Floats:
        if self.akinesia is None or self.akinesia.side != side:
            return np.ones_like(s)
        reach = (s - self.akinesia.level) / self.akinesia.extent
        return np.asarray(1.0 - self.akinesia.loss * np.exp(-0.5 * reach**2))

    @cached_property
    def _moments(self) -> tuple[float, float, float]:
        """Integrals that make the volume a polynomial of the contraction."""
        s, left, right = self._motion
        square, kept = profile(s, self.equator) ** 2, left + right
        zero, one, two = (float(np.trapezoid(square * kept**p, s)) for p in (0, 1, 2))
        return zero, one, two / 4

    def volume_ml(self, contraction: Floats | float) -> Floats:
        """Return the cavity's volume; contraction is 0 at end diastole, 1 at end systole."""
        zero, one, two = self._moments
        c = np.asarray(contraction, dtype=np.float64)
        radial = self.radial_shortening * c
        share = (1.0 - self.long_shortening * c) * (zero - radial * one + radial**2 * two)
        return np.asarray(np.pi * self.radius_mm**2 * self.length_mm * share / 1000.0)

    @property
    def edv_ml(self) -> float:
        """End-diastolic volume."""
        return float(self.volume_ml(0.0))

    @property
    def esv_ml(self) -> float:
        """End-systolic volume."""
        return float(self.volume_ml(1.0))

    @property
    def ef_percent(self) -> float:
        """Ejection fraction of the two volumes."""
        return 100.0 * (1.0 - self.esv_ml / self.edv_ml)

    def contraction(self, fullness: Floats) -> Floats:
        """Return the contraction at which the ventricle is so full (1 is end diastole)."""
        c = np.linspace(0.0, 1.0, 1025)
        volume = self.volume_ml(c)
        wanted = volume[-1] + fullness * (volume[0] - volume[-1])
        return np.asarray(np.interp(-wanted, -volume, c))


def profile(s: Floats, equator: float) -> Floats:
    """Return the half width of a truncated ellipse from apex (0) to base (1), widest = 1."""
    return np.sqrt(np.clip(1.0 - ((s - equator) / equator) ** 2, 0.0, None))


def contracting(heart: Heart, ef_percent: float) -> Heart:
    """Return the heart with the radial shortening that gives exactly this ejection fraction.

    Raises:
        ValueError: If no shortening below two thirds gives it.
    """
    zero, one, two = heart._moments
    left = (1.0 - ef_percent / 100.0) * zero / (1.0 - heart.long_shortening)
    inside = one**2 - 4.0 * two * (zero - left)
    shortening = (one - np.sqrt(inside)) / (2.0 * two) if inside >= 0 else np.inf
    if not 0.0 <= shortening < 2 / 3:
        raise ValueError(f"An EF of {ef_percent} % is out of this heart's reach.")
    return replace(heart, radial_shortening=float(shortening))


class Deformation:
    """Where tissue seen in a frame was at end diastole.

    Coordinates are those of the heart: ``depth`` along the axis from the outer apex towards the
    atrium, ``across`` from the axis to the image's right, both in millimetres.
    """

    def __init__(self, heart: Heart, view: View) -> None:
        self.heart, self.view = heart, view
        self.annulus_mm = heart.apex_wall_mm + heart.length_mm
        self.bottom_mm = self.annulus_mm + heart.atrium_length_mm
        self.levels = np.linspace(0.0, self.bottom_mm, LEVELS)
        self._contractions = np.linspace(0.0, 1.0, 9)
        self._thickenings = np.array([self._thickening(c) for c in self._contractions])
        self.rest = self.knots(0.0)

    def _kept(self, side: str) -> Floats:
        """Motion kept at each level by the wall on this side of the imaged plane."""
        heart = self.heart
        s = np.clip((self.levels - heart.apex_wall_mm) / heart.length_mm, 0.0, 1.0)
        if heart.akinesia is None or heart.akinesia.view == self.view:
            return heart._kept(s, side)
        return (heart._kept(s, "left") + heart._kept(s, "right")) / 2

    def widths(self, contraction: float, thickening: float, side: str) -> tuple[Floats, Floats]:
        """Return the distances of endocardium and epicardium from the axis at each level."""
        heart = self.heart
        s = (self.levels - heart.apex_wall_mm) / heart.length_mm
        kept = self._kept(side)
        radius = heart.radius_mm * (1.0 - heart.radial_shortening * contraction * kept)
        inside = radius * np.where(s > 0, profile(np.clip(s, 0, 1), heart.equator), 0.0)
        wall = heart.wall_mm * (1.0 + thickening * kept)
        outside = (radius + wall) * profile(
            np.clip(self.levels / self.annulus_mm, 0, 1), heart.equator
        )
        below = np.clip((self.levels - self.annulus_mm) / heart.atrium_length_mm, 0.0, 1.0)
        swell = 1.0 + heart.atrium_swing * (contraction - 0.5)
        atrium = heart.atrium_radius_mm * swell * _bulb(below)
        is_atrium = self.levels > self.annulus_mm
        inside = np.where(is_atrium, atrium, inside)
        return inside, np.where(is_atrium, atrium + 2.5, np.maximum(outside, inside + 1.0))

    def axis(self, contraction: float, thickening: float) -> Floats:
        """Return outer apex, inner apex, annulus and atrial roof along the axis."""
        heart = self.heart
        apex = heart.apex_wall_mm * (1.0 + thickening)
        annulus = apex + heart.length_mm * (1.0 - heart.long_shortening * contraction)
        return np.array([0.0, apex, annulus, self.bottom_mm])

    def wall_ml(self, contraction: float, thickening: float) -> float:
        """Return the volume of the wall from outer apex to annulus."""
        depth = np.interp(self.levels, self.axis(0, 0), self.axis(contraction, thickening))
        sides = [self.widths(contraction, thickening, side) for side in ("left", "right")]
        areas = [np.pi / 4 * (sides[0][k] + sides[1][k]) ** 2 for k in (0, 1)]
        ventricle = self.levels <= self.annulus_mm
        wall = (areas[1] - areas[0])[ventricle]
        return float(np.trapezoid(wall, depth[ventricle]) / 1000.0)

    def _thickening(self, contraction: float) -> float:
        """Find how much thicker the wall is when it has kept its volume."""
        rest = self.wall_ml(0.0, 0.0)
        before, now = 0.0, 0.5 * contraction
        excess = self.wall_ml(contraction, before) - rest
        for _ in range(6):  # secant: the volume is a smooth, rising function
            value = self.wall_ml(contraction, now) - rest
            if abs(value - excess) < 1e-9:
                break
            before, now, excess = now, now - value * (now - before) / (value - excess), value
        return now

    def thickening(self, contraction: float) -> float:
        """Return how much thicker the wall is than at end diastole, as a share."""
        return float(np.interp(contraction, self._contractions, self._thickenings))

    def knots(self, contraction: float) -> Floats:
        """Return endocardium, epicardium, outer wall, far border in mm: (side, level, 4)."""
        heart, thickening = self.heart, self.thickening(contraction)
        sides = []
        for side in ("left", "right"):
            inside, outside = self.widths(contraction, thickening, side)
            rest = self.widths(0.0, 0.0, side)[1]
            if side == "left" and self.view == "A4C":
                width = heart.right_mm * (1.0 - heart.right_shortening * contraction)
                outer = rest + width * right_profile(self.levels / self.annulus_mm)
            else:
                outer = rest + 30.0
            outer = np.maximum(outer, outside + 3.0)
            sides.append(np.stack([inside, outside, outer, np.full_like(inside, FAR_MM)], -1))
        return np.stack(sides)

    def to_rest(
        self, across: NDArray[np.float32], depth: NDArray[np.float32], contraction: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map points of a frame to where their tissue was at end diastole."""
        axis = self.axis(contraction, self.thickening(contraction))
        level = np.interp(depth, axis, self.axis(0, 0)).astype(np.float32)
        level += depth - np.clip(depth, axis[0], axis[-1]).astype(np.float32)
        now, then = (_pad(k) for k in (self.knots(contraction), self.rest))
        slope = np.ones_like(now)
        gaps = np.maximum(np.diff(now, axis=-1), 1e-3)
        slope[..., :-1] = np.clip(np.diff(then, axis=-1) / gaps, 0.0, 20.0)
        index = np.clip(level * (LEVELS / self.bottom_mm), 0, LEVELS - 1).astype(np.intp)
        index += np.where(across > 0, LEVELS, 0)
        flat = now.reshape(2 * LEVELS, 5)
        distance = np.abs(across)
        index5 = index * 5
        for knot in range(1, 5):
            index5 += distance > flat[:, knot].take(index)
        rest = then.ravel().take(index5) + slope.ravel().take(index5) * (
            distance - now.ravel().take(index5)
        )
        return np.copysign(rest, across), level

    def labels(
        self, across: NDArray[np.floating], depth: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """Return the structure at points of the end-diastolic heart: 0, 1, 2 or 3.

        Source:
            Numbered as in CAMUS: 1 cavity, 2 myocardium, 3 left atrium.
        """
        index = np.clip(depth * (LEVELS / self.bottom_mm), 0, LEVELS - 1).astype(np.intp)
        knots = self.rest[(across > 0).astype(np.intp), index]
        distance = np.abs(across)
        inside, wall = distance < knots[..., 0], distance < knots[..., 1]
        ventricle = (depth >= 0) & (depth < self.annulus_mm)
        atrium = (depth >= self.annulus_mm) & (depth < self.bottom_mm)
        label = np.zeros(np.broadcast(across, depth).shape, np.uint8)
        label[ventricle & wall] = 2
        label[ventricle & inside & (depth >= self.heart.apex_wall_mm)] = 1
        label[atrium & inside] = 3
        return label


def right_profile(s: Floats) -> Floats:
    """Return the right ventricle's width from the outer apex (0) to the annulus (1)."""
    rise = np.clip((s - 0.22) / 0.55, 0.0, 1.0)
    return np.asarray(np.sin(np.pi / 2 * rise) * np.clip((1.75 - s) / 0.6, 0.0, 1.0))


def _bulb(s: Floats) -> Floats:
    """Half width of the atrium from the annulus (0) to its roof (1), widest = 1."""
    return np.asarray((1.0 - np.abs(2.0 * (0.16 + 0.84 * s) - 1.0) ** 2.6) ** (1 / 2.2))


def _pad(knots: Floats) -> NDArray[np.float32]:
    """Put the axis itself before the knots."""
    return np.concatenate([np.zeros_like(knots[..., :1]), knots], -1).astype(np.float32)
