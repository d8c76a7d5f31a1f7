"""Thin strokes that are drawn over a scan: letters, digits, rulers, traces, icons.

In the mean of many frames tissue grows smooth, for it moves; what is drawn does not, be it
white, dark or half transparent, and digits that change still leave their mean. What is drawn
also calms the pixels it covers: they flicker less than those around them. Dark ink stays dark
in the brightest projection, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from echocli.intake.motion import running

Grey = NDArray[np.uint8]
Pixel = TypeVar("Pixel", bound=np.generic)

COARSE = 4
"""Side in pixels of the squares in which surroundings are averaged."""
PARTS, FRAMES = 8, 6
"""Parts of a loop of which means are taken, and frames of each that are looked at."""
STROKE = 7
"""Widest stroke of a letter in pixels that counts as thin: fonts up to 60 pixels high."""
WINDOW = 15
"""Side in pixels of the surroundings that a pixel's flicker is compared with."""
CALM, FLICKER = 0.55, 1.0
"""A pixel is calm if it flickers by less than this share of its surroundings' flicker; those
must change by a grey level from frame to frame for this to tell anything."""
CALM_CONTRAST, CALM_TEXTURE = 15.0, 1.5
"""Grey levels by which a calm stroke stands out, and how many more for each by which the
tissue around it does."""
CALM_DARK = 30.0
"""The same for a dark stroke to be sure: the corner of a cavity is calm and dark, too."""
WEAK_CONTRAST = 8
"""Grey levels by which calm parts of a word stand out where the rest of it does clearly."""
STILL_CONTRAST, STILL = 60, 0.06
"""Grey levels by which a stroke stands out that hardly flickers, whatever is around it, and
how much it flickers at most as a share of them."""
BLACK_CONTRAST, BLACK_TEXTURE, BLACK_RATIO = 6.0, 2.0, 4.0
"""The same for a calm dark stroke whose contrast is at least so many times its own level: over
dim tissue ink is hardly darker, but black."""
CONTRAST, TEXTURE, TEXTURE_MOST = 30.0, 3.0, 40
"""Grey levels by which any stroke in the mean of the loop stands out, how many more for each
grey level by which the tissue around it does, and the most that a pixel counts for in that."""
TEXTURE_WINDOW = 41
"""Side in pixels of that surrounding."""
BRIEF_CONTRAST, BRIEF_TEXTURE = 60.0, 4.0
"""The same for a part of the loop, whose mean is less smooth."""
UNLIT_CONTRAST, UNLIT_RATIO = 45, 1.2
"""Grey levels by which a dark stroke stands out in the brightest projection, and the least that
this is as a multiple of its own: tissue lights each pixel at some time, ink does not."""
UNLIT_WEAK_CONTRAST, UNLIT_WEAK_RATIO = 14, 0.4
"""The same for parts of a word where the rest of it stands out clearly."""


@dataclass(frozen=True)
class Strokes:
    """Pixels of thin structures that tissue does not explain."""

    bright: NDArray[np.bool_]
    """Brighter than what is around them."""
    dark: NDArray[np.bool_]
    """Darker, the gaps between bright letters among them."""
    weak: NDArray[np.bool_]
    """Calm and a little brighter or darker: a part of a word, where there is a word."""
    sure: NDArray[np.bool_]
    """Those that also stand stiller than what is around them; where tissue hardly moves, some
    of the others may be tissue."""


@dataclass(frozen=True)
class _Mean:
    grey: Grey
    flicker: NDArray[np.uint16]
    frames: int


def strokes(frames: NDArray[np.uint8], scan: NDArray[np.bool_]) -> tuple[Strokes, Strokes]:
    """Return what is drawn in all frames or in a part of them.

    Args:
        frames: ``(frames, height, width)``.
        scan: Where the scan is, ``(height, width)``; what lies beyond does not count.

    Returns:
        The strokes, and those that are calm and black over dim tissue, none of them sure.
    """
    total = np.zeros(frames.shape[1:], np.uint32)
    flicker = np.zeros(frames.shape[1:], np.uint16)
    bright, weak, sure = np.zeros((3, *frames.shape[1:]), bool)
    beyond = Beyond(scan)
    count = parts = 0
    for part in _parts(frames):
        total += part.grey
        flicker += part.flicker
        count += part.frames
        parts += 1
        contrast = top_hat(beyond.filled(part.grey))
        bright |= beyond.stands_out(contrast, BRIEF_CONTRAST, BRIEF_TEXTURE)
    mean = (total // parts).astype(np.uint8)
    flickers = flicker.astype(np.float32) / np.float32(max(count - parts, 1))
    calm = beyond.calmer(flickers)
    contrasts = top_hat(beyond.filled(mean)), bottom_hat(mean)
    marks = [beyond.stands_out(each, CONTRAST, TEXTURE) for each in contrasts]
    for contrast, found, least in zip(contrasts, marks, (0.0, CALM_DARK), strict=True):
        found |= calm & beyond.stands_out(contrast, CALM_CONTRAST, CALM_TEXTURE)
        still = (contrast > STILL_CONTRAST) & (flickers <= STILL * contrast)
        found |= still
        sure |= (found & calm & (contrast > least)) | still
        weak |= (calm & (contrast > WEAK_CONTRAST)) | (contrast > CONTRAST)
    black = calm & (contrasts[1] > BLACK_RATIO * mean)
    black &= scan & beyond.stands_out(contrasts[1], BLACK_CONTRAST, BLACK_TEXTURE)
    weak &= scan
    nowhere = np.zeros_like(scan)
    drawn = Strokes((bright | marks[0]) & scan, marks[1] & scan, weak, sure & scan)
    return drawn, Strokes(nowhere, black, weak, nowhere)


def unlit_strokes(brightest: Grey, scan: NDArray[np.bool_]) -> Strokes:
    """Return the thin dark structures that no frame lights, none of them sure.

    Args:
        brightest: Largest value of each pixel over all frames.
        scan: Where the scan is; what lies beyond does not count.
    """
    contrast = bottom_hat(brightest)
    ratio = contrast / np.maximum(brightest, 1).astype(np.float32)
    dark = (contrast > UNLIT_CONTRAST) & (ratio > UNLIT_RATIO) & scan
    weak = (contrast > UNLIT_WEAK_CONTRAST) & (ratio > UNLIT_WEAK_RATIO) & scan
    nowhere = np.zeros_like(scan)
    return Strokes(nowhere, dark, weak, nowhere)


def top_hat(image: Grey) -> Grey:
    """Return by how much thin bright structures stand out from their surroundings."""
    opened = running(np.maximum, running(np.minimum, image, STROKE), STROKE)
    return np.asarray(image - np.minimum(opened, image), dtype=np.uint8)


def bottom_hat(image: Grey) -> Grey:
    """Return by how much thin dark structures stand out from their surroundings."""
    closed = running(np.minimum, running(np.maximum, image, STROKE), STROKE)
    return np.asarray(np.maximum(closed, image) - image, dtype=np.uint8)


def _parts(frames: NDArray[np.uint8]) -> Iterator[_Mean]:
    """Give the mean picture and the flicker of each part of a loop."""
    parts = min(PARTS, max(1, len(frames) // 4))
    limits = np.linspace(0, len(frames), parts + 1).astype(int)
    for start, stop in pairwise(limits):
        chosen = np.unique(np.linspace(start, stop - 1, min(FRAMES, stop - start)).astype(int))
        total = frames[chosen[0]].astype(np.uint16)
        flicker = np.zeros_like(total)
        for before, after in pairwise(chosen):
            total += frames[after]
            low = np.minimum(frames[before], frames[after])
            flicker += np.maximum(frames[before], frames[after]) - low
        grey = (total // np.uint16(len(chosen))).astype(np.uint8)
        yield _Mean(grey, flicker, len(chosen))


class Beyond:
    """Takes what lies beyond the scan out of the reckoning."""

    def __init__(self, scan: NDArray[np.bool_]) -> None:
        self._scan = scan
        share = scan.view(np.uint8) * np.uint8(255)
        self._share = _around(share, TEXTURE_WINDOW) / 255 + np.float32(1e-3)
        self._near = _around(share, WINDOW) / 255 + np.float32(1e-3)

    def part(self, window: tuple[slice, slice]) -> Beyond:
        """Return the same for a rectangle that begins at multiples of ``COARSE``."""
        coarse = tuple(
            slice(side.start // COARSE, -(-min(side.stop, size) // COARSE))
            for side, size in zip(window, self._scan.shape, strict=True)
        )
        found = copy(self)
        found._scan, found._share, found._near = (
            self._scan[window], self._share[coarse], self._near[coarse],
        )  # fmt: skip
        return found

    def filled(self, image: Grey) -> Grey:
        """Return the image with the mean of the scan nearby in place of what lies beyond.

        Else each bright spot at the border would stand out against the black beside it.
        """
        mean = _around(image * self._scan, WINDOW) / self._near
        return np.where(self._scan, image, self._spread(mean.astype(np.uint8)))

    def stands_out(self, contrast: Grey, least: float, weight: float) -> NDArray[np.bool_]:
        """Return where a contrast exceeds what the texture around it explains."""
        return np.asarray(contrast > self.limit(contrast, least, weight))

    def limit(self, contrast: Grey, least: float, weight: float) -> Grey:
        """Return what contrast the texture around each pixel explains.

        Args:
            contrast: Of thin structures, tissue and strokes alike.
            least: Grey levels that are explained anywhere.
            weight: And how many more for each of the mean contrast nearby.
        """
        texture = np.minimum(contrast, TEXTURE_MOST) * self._scan
        limit = least + weight * _around(texture, TEXTURE_WINDOW) / self._share
        return self._spread(np.minimum(limit, 255).astype(np.uint8))

    def calmer(self, flicker: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return the pixels that flicker less than those around them."""
        levels = np.minimum(flicker * 8, 255).astype(np.uint8)
        around = _around(levels, WINDOW) / 8
        limit = np.where(around > FLICKER, CALM * around, 0.0).astype(np.float32)
        return np.asarray(flicker < self._spread(limit))

    def _spread(self, coarse: NDArray[Pixel]) -> NDArray[Pixel]:
        height, width = self._scan.shape
        return coarse.repeat(COARSE, 0).repeat(COARSE, 1)[:height, :width]


def _around(image: Grey, width: int) -> NDArray[np.float32]:
    """Return the mean of surroundings of a width, at every ``COARSE`` pixels."""
    small = np.asarray(Image.fromarray(image).reduce(COARSE), dtype=np.float32)
    return np.asarray(ndimage.uniform_filter(small, round(width / COARSE) | 1, mode="nearest"))
