"""Graphics drawn over the scan: text, rulers, ECG traces, icons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SAMPLED_FRAMES = 8
"""Frames searched for graphics that change, spread over the loop."""
STROKE = 7
"""Widest stroke of a letter in pixels that counts as thin."""
STATIC_CONTRAST, STATIC_LEVEL, STATIC_RANGE = 50, 80, 60
"""Grey levels of a stroke that stays: above its surroundings, at least, and between frames
(JPEG ringing over moving tissue alone spans 40)."""
CHANGING_CONTRAST, CHANGING_LEVEL = 110, 190
"""Grey levels of a stroke that comes and goes. Speckle of eleven real loops crosses both in at
most 93 of 10^5 pixels, in two of eight frames; digits drawn into them always do."""
COLOUR_DIFFERENCE, COLOUR_SATURATION = 60, 0.4
"""Difference between two primaries, in grey levels and as a share of the brightness, above
which a pixel is coloured by design and not by a tinted grey map."""


def coloured_pixels(
    chroma: NDArray[np.uint8], brightest: NDArray[np.uint8], scan: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the pixels that were coloured in some frame: ECG, coloured text, cursors.

    A tinted grey map (sepia, ice) colours the whole scan, so a pixel must be clearly more
    saturated than the scan is.

    Args:
        chroma: Largest difference between two primaries over all frames.
        brightest: Largest luma over all frames.
        scan: Pixels that surely belong to the scan.
    """
    saturation = chroma / np.maximum(brightest, 1).astype(np.float32)
    bright_scan = scan & (brightest > 60)
    tint = float(np.median(saturation[bright_scan])) if bright_scan.any() else 0.0
    return (chroma > COLOUR_DIFFERENCE) & (saturation > max(COLOUR_SATURATION, 1.5 * tint))


def static_strokes(
    darkest: NDArray[np.uint8], brightest: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Return thin bright strokes that stay while the tissue under them moves.

    Args:
        darkest: Smallest value of each pixel over all frames: moving tissue turns dark in it,
            what is drawn stays bright.
        brightest: Largest value of each pixel over all frames.
    """
    steady = brightest - darkest <= STATIC_RANGE
    return _thin(darkest, STROKE, STATIC_CONTRAST) & (darkest > STATIC_LEVEL) & steady


def changing_strokes(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return thin, nearly white strokes of graphics that change: clocks, frame counters."""
    count = min(SAMPLED_FRAMES, len(frames))
    sampled = frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]
    seen = np.zeros(frames.shape[1:], np.uint8)
    for frame in sampled:
        seen += _thin(frame, STROKE - 2, CHANGING_CONTRAST) & (frame > CHANGING_LEVEL)
    return seen >= 2


def blot_out(strokes: NDArray[np.bool_], gap: int) -> NDArray[np.bool_]:
    """Join strokes into blots, so that the shape of what is cut out cannot be read either.

    Args:
        strokes: Pixels of letters.
        gap: Widest gap in pixels between strokes of one text.
    """
    if not strokes.any():
        return strokes
    padded = np.pad(strokes, gap)
    near = ndimage.distance_transform_edt(~padded) <= gap
    closed = ndimage.distance_transform_edt(near) > gap
    blots = ndimage.distance_transform_edt(~(closed | padded)) <= 3
    return np.asarray(blots[gap:-gap, gap:-gap], dtype=bool)


def _thin(image: NDArray[np.uint8], width: int, contrast: int) -> NDArray[np.bool_]:
    """Return what stands out from the image opened by a square (the white top hat)."""
    opened = ndimage.maximum_filter(ndimage.minimum_filter(image, width), width)
    return np.asarray(image - np.minimum(opened, image) > contrast, dtype=bool)
