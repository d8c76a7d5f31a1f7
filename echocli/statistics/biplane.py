r"""Volumes of the left ventricle from two views that stand square to one another.

.. math:: V = \frac{\pi}{4} \sum_{i=1}^{20} a_i b_i \frac{L}{20}

with the diameters of equal discs of two apical views at the same moment of the beat, and the
length of the longer of the two; or, from a short axis and the length of an apical view,

.. math:: V = \frac{5}{6} A L

Source:
    Lang et al. 2015, J Am Soc Echocardiogr 28:1: biplane method of discs. The second, with the
    area at the level of the papillary muscles, is usual in children: Lopez et al. 2010, J Am
    Soc Echocardiogr 23:465.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from echocli.statistics.volumes import (
    DISCS,
    SMOOTHING_S,
    LongAxis,
    Pair,
    disc_diameters_mm,
    main_cavity,
    smooth_curve,
)

NEAR = 4 * SMOOTHING_S
"""Seconds around a moment whose frames have a say in it; those beyond weigh nothing."""


@dataclass(frozen=True)
class Discs:
    """The cavity in one view at one moment: twenty discs from base to apex."""

    diameters: NDArray[np.float64]
    """In millimetres, or in pixels where the scale is unknown."""
    length: float
    """Of the long axis, in the same unit."""


def discs_of(
    labels: NDArray[np.integer],
    axes: list[LongAxis | None],
    frame: int,
    times_s: NDArray[np.float64] | None,
    spacing_mm: Pair = (1.0, 1.0),
) -> Discs:
    """Return the discs of a frame, without the flicker of single masks.

    Diameters and lengths are smoothed over time as volumes are; see ``smooth_curve``.

    Args:
        labels: Structures of every frame, ``(frames, height, width)``.
        axes: Long axis of each frame; ``None`` where there is no cavity.
        frame: Which of them; it has a cavity.
        times_s: Time of each frame; 50 frames a second are assumed without.
        spacing_mm: Height and width of a pixel.
    """
    times = np.arange(len(labels)) / 50 if times_s is None else times_s
    near = np.flatnonzero(np.abs(times - times[frame]) < NEAR)
    rows = np.full((len(near), DISCS + 1), np.nan)
    for place, index in enumerate(near.tolist()):
        axis = axes[index]
        if axis is not None:
            discs = disc_diameters_mm(main_cavity(labels[index]), axis, spacing_mm)
            rows[place] = *_from_base(discs, axis), axis.length_mm
    smooth = np.stack([smooth_curve(column, times[near]) for column in rows.T], axis=1)
    *diameters, length = smooth[int(np.flatnonzero(near == frame)[0])]
    return Discs(np.array(diameters), float(length))


def _from_base(discs: NDArray[np.float64], axis: LongAxis) -> NDArray[np.float64]:
    """Return discs in the order from base to apex: without an atrium the apex is up."""
    down, _ = axis.direction
    return discs if axis.from_atrium or down < 0 else discs[::-1]


def biplane_volume(first: Discs, second: Discs) -> float:
    """Return the volume of oval discs; in cubic millimetres, or pixels.

    Args:
        first: The discs of one view.
        second: Those of the other at the same moment, in the same unit.
    """
    length = max(first.length, second.length)
    return float(np.pi / 4 * (first.diameters * second.diameters).sum() * length / DISCS)


def biplane_volumes(
    first: tuple[Discs, Discs], second: tuple[Discs, Discs], *, one_scale: bool
) -> tuple[float, float]:
    """Return the volumes at end-diastole and at end-systole.

    Where a scale is unknown, both views are taken to show the same long axis at end-diastole,
    which they do if neither is foreshortened: the axis is the ruler.

    Args:
        first: Discs of one view at end-diastole and at end-systole.
        second: Those of the other.
        one_scale: Whether all lengths are in millimetres.
    """
    if not one_scale:
        factor = first[0].length / second[0].length
        second = (_scaled(second[0], factor), _scaled(second[1], factor))
    return biplane_volume(first[0], second[0]), biplane_volume(first[1], second[1])


def area_length_volumes(
    areas: tuple[float, float], ends: tuple[Discs, Discs]
) -> tuple[float, float]:
    """Return the volumes at end-diastole and at end-systole, as of a bullet.

    Their ratio needs no scale: that of either view falls out.

    Args:
        areas: Of the cavity across, at end-diastole and at end-systole.
        ends: Discs of an apical view at the same moments.
    """
    return 5 / 6 * areas[0] * ends[0].length, 5 / 6 * areas[1] * ends[1].length


def _scaled(discs: Discs, factor: float) -> Discs:
    return replace(discs, diameters=factor * discs.diameters, length=factor * discs.length)
