"""The cavity's outline in a frame, as a reader traces it: a long axis and chords across it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echocli.phantoms.anatomy import Deformation
from echocli.phantoms.patient import Patient, PhantomLoop
from echocli.phantoms.scanner import SectorGrid

CHORDS = 20


def chords(patient: Patient, loop: PhantomLoop, frame: int) -> NDArray[np.float64]:
    """Return the long axis and the chords of a frame, from apex to base.

    Args:
        patient: Who was scanned.
        loop: The loop, as ``render`` drew it.
        frame: Which frame.

    Returns:
        ``(1 + CHORDS, 4)``: X1, Y1, X2, Y2 in pixels, the long axis first.
    """
    deformation = Deformation(patient.heart, loop.view)
    contraction = float(loop.contraction[frame])
    thickening = deformation.thickening(contraction)
    axis = deformation.axis(contraction, thickening)
    share = np.linspace(0.0, 1.0, CHORDS)
    level = patient.heart.apex_wall_mm + patient.heart.length_mm * share
    level[-1] = deformation.annulus_mm - 1e-6
    left, right = (
        np.interp(level, deformation.levels[ventricle], inside[ventricle])
        for inside in (
            deformation.widths(contraction, thickening, side)[0] for side in ("left", "right")
        )
        for ventricle in (deformation.levels < deformation.annulus_mm,)
    )
    depth = axis[1] + share * (axis[2] - axis[1])
    first = np.array([[0.0, axis[1], 0.0, axis[2]]])
    heart = np.concatenate([first, np.stack([-left, depth, right, depth], axis=1)])
    return _to_pixels(patient, loop, frame, heart)


def _to_pixels(
    patient: Patient, loop: PhantomLoop, frame: int, heart: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Turn heart coordinates ``(rows, 4)`` into pixels of the loop's pictures."""
    x0, y0, tilt = patient.scanner.pose(float(loop.times_s[frame]))
    across, depth = heart[:, 0::2], heart[:, 1::2]
    x = x0 + across * np.cos(tilt) - depth * np.sin(tilt)
    y = y0 + across * np.sin(tilt) + depth * np.cos(tilt)
    grid = SectorGrid(patient.scanner, *loop.frames.shape[1:])
    out = np.empty_like(heart)
    out[:, 0::2] = (x - grid.pixel_x_mm[0]) / grid.spacing_mm
    out[:, 1::2] = (y - grid.pixel_y_mm[0]) / grid.spacing_mm
    return out
