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
USUAL_QUANTILE, RARE_QUANTILE, CLEAR_CONTRAST = 0.985, 0.995, 90
"""Where tissue hardly moves, its speckle has such contrasts, too: if the first quantile of the
scan's own contrasts does, a stroke must exceed the second, or 90, and lie among others."""
CROWD, CROWDED = 15, 0.08
"""Window in pixels, and share of it that strokes cover in text (a 13-pixel font covers 0.2)."""
SHORTEST_WORD = 8
"""Pixels: two letters of the smallest readable font (5 x 7) span more."""
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
    darkest: NDArray[np.uint8], brightest: NDArray[np.uint8], scan: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return thin bright strokes that stay while the tissue under them moves.

    Args:
        darkest: Smallest value of each pixel over all frames: moving tissue turns dark in it,
            what is drawn stays bright.
        brightest: Largest value of each pixel over all frames.
        scan: Where to look; not empty.
    """
    steady = (brightest - darkest <= STATIC_RANGE) & (darkest > STATIC_LEVEL) & scan
    contrast = _top_hat(darkest, STROKE)
    usual, rare = np.quantile(contrast[scan], (USUAL_QUANTILE, RARE_QUANTILE))
    if usual <= STATIC_CONTRAST:
        return steady & (contrast > STATIC_CONTRAST)
    strokes = steady & (contrast > min(rare, CLEAR_CONTRAST))
    crowd = ndimage.uniform_filter(strokes.astype(np.float32), CROWD)
    return np.asarray(strokes & (crowd > CROWDED), dtype=bool)


def changing_strokes(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return thin, nearly white strokes of graphics that change: clocks, frame counters."""
    count = min(SAMPLED_FRAMES, len(frames))
    sampled = frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]
    seen = np.zeros(frames.shape[1:], np.uint8)
    for frame in sampled:
        thin = _top_hat(frame, STROKE - 2) > CHANGING_CONTRAST
        seen += thin & (frame > CHANGING_LEVEL)
    return seen >= 2


def blot_out(
    strokes: NDArray[np.bool_], gap: int, specks_allowed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Join strokes into blots, so that the shape of what is cut out cannot be read either.

    Args:
        strokes: Pixels of letters and marks.
        gap: Widest gap in pixels between strokes of one text.
        specks_allowed: Where a blot too small for a word is let be: amid the scan, where it is
            tissue, but not along its border, where rulers have their marks.
    """
    margin = gap + 3
    padded = np.pad(strokes, margin)
    if not strokes.any():
        return strokes
    near = ndimage.distance_transform_edt(~padded) <= gap
    closed = (ndimage.distance_transform_edt(near) > gap) | padded
    closed &= ~_specks(closed, np.pad(specks_allowed, margin))
    if not closed.any():
        return np.zeros_like(strokes)
    blots = ndimage.distance_transform_edt(~closed) <= 3
    return np.asarray(blots[margin:-margin, margin:-margin], dtype=bool)


def _specks(blots: NDArray[np.bool_], allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the blots that lie where specks are allowed and hold no word."""
    pieces, count = ndimage.label(blots, np.ones((3, 3)))
    small = np.zeros(count + 1, dtype=bool)
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        small[number] = max(side.stop - side.start for side in box) < SHORTEST_WORD
    small[np.unique(pieces[~allowed])] = False
    return np.asarray(small[pieces], dtype=bool)


def _top_hat(image: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Return by how much thin structures stand out: the image less its opening by a square."""
    opened = ndimage.maximum_filter(ndimage.minimum_filter(image, width), width)
    return np.asarray(image - np.minimum(opened, image), dtype=np.uint8)
