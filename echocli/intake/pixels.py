"""Turns decoded pixels into grey, and remembers where there was colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocli.intake.guard import MAX_LOOP_BYTES, check_size
from echocli.intake.looks import coloured_share, sample_frames
from echocli.intake.loop import Region
from echocli.intake.reasons import Reason, Refused

LUMA = (19595, 38470, 7471)  # ITU-R BT.601: 0.299, 0.587, 0.114 of 2**16


@dataclass(frozen=True)
class Picture:
    """One decoded frame; the colour planes may be coarser by a whole factor."""

    grey: NDArray[np.uint8]
    red_blue: NDArray[np.int16] | None
    """R-G and B-G, ``(2, height, width)``; ``None`` if the frame is grey."""


class Gatherer:
    """Keeps the grey of each frame and the largest chroma; colour itself is dropped at once.

    A colour loop of 600 x 800 x 90 is 130 MB, as floats a gigabyte; its grey is 43 MB.

    Args:
        frames: How many will come, or a guess if ``exact`` is off.
        region: Where colour Doppler is looked for.
    """

    def __init__(self, frames: int, rows: int, columns: int, region: Region | None) -> None:
        check_size(frames, rows, columns)
        self._store = np.empty((frames, rows, columns), dtype=np.uint8)
        self._chroma: dict[tuple[int, ...], NDArray[np.uint8]] = {}  # by fineness
        self._region = region
        self._looked_at = frozenset(sample_frames(frames).tolist())
        self.count = 0
        self.shares: list[float] = []
        """Coloured share of each frame that was looked at."""

    def add(self, picture: Picture) -> None:
        """Take the next frame.

        Raises:
            Refused: If its size differs from the first's, or the loop grows beyond the memory
                allowed.
        """
        _, rows, columns = self._store.shape
        if picture.grey.shape != (rows, columns):
            raise Refused(Reason.UNDECODABLE, "frames of different sizes")
        if self.count == len(self._store):
            self._grow()
        self._store[self.count] = picture.grey
        if picture.red_blue is not None:
            self._note_colour(picture.red_blue)
        self.count += 1

    @property
    def frames(self) -> NDArray[np.uint8]:
        """All frames so far."""
        return self._store[: self.count]

    @property
    def chroma(self) -> NDArray[np.uint8]:
        """Largest difference of two colour channels, ``(height, width)``."""
        _, rows, columns = self._store.shape
        whole = np.zeros((rows, columns), dtype=np.uint8)
        for chroma in self._chroma.values():
            np.maximum(whole, stretch(chroma, rows, columns), out=whole)
        return whole

    def _grow(self) -> None:
        frames, rows, columns = self._store.shape
        if 2 * frames * rows * columns > MAX_LOOP_BYTES:
            raise Refused(Reason.OUT_OF_MEMORY)
        self._store = np.concatenate([self._store, np.empty_like(self._store)])

    def _note_colour(self, red_blue: NDArray[np.int16]) -> None:
        chroma = chroma_of(red_blue)
        seen = self._chroma.setdefault(chroma.shape, chroma)
        np.maximum(seen, chroma, out=seen)
        if self.count in self._looked_at:
            grey = self._store[self.count]
            self.shares.append(coloured_share(grey, red_blue, self._region))


def chroma_of(red_blue: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Return the largest of |R-G|, |B-G| and |R-B|."""
    red, blue = red_blue
    largest = np.maximum(np.maximum(np.abs(red), np.abs(blue)), np.abs(red - blue))
    chroma: NDArray[np.uint8] = np.minimum(largest, 255).astype(np.uint8)
    return chroma


def stretch(plane: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """Repeat a coarser plane to the size of the picture."""
    if plane.shape == (rows, columns):
        return plane
    down, across = -(-rows // plane.shape[0]), -(-columns // plane.shape[1])
    return plane.repeat(down, axis=0).repeat(across, axis=1)[:rows, :columns]


def picture_of_rgb(rgb: NDArray[np.uint8]) -> Picture:
    """Return luma and colour differences of an RGB frame ``(height, width, 3)``."""
    return Picture(luma_of_rgb(rgb), differences(rgb))


def luma_of_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luma of RGB values ``(..., 3)``, rounded."""
    total = np.full(rgb.shape[:-1], 1 << 15, dtype=np.uint32)
    for channel, weight in enumerate(LUMA):
        total += rgb[..., channel] * np.uint32(weight)
    grey: NDArray[np.uint8] = (total >> 16).astype(np.uint8)
    return grey


def differences(rgb: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return R-G and B-G of an RGB frame, ``(2, height, width)``."""
    green = rgb[..., 1].astype(np.int16)
    return np.stack([rgb[..., 0] - green, rgb[..., 2] - green])


def picture_of_ybr(
    grey: NDArray[np.uint8], blue: NDArray[np.uint8], red: NDArray[np.uint8], gain: float = 1.0
) -> Picture:
    """Return luma and colour differences of Y, Cb and Cr planes (Cb and Cr may be coarser).

    Args:
        grey: Y in full range.
        blue: Cb.
        red: Cr.
        gain: 255/224 if Cb and Cr are in limited range.
    """
    cb = (blue.astype(np.float32) - 128) * gain
    cr = (red.astype(np.float32) - 128) * gain
    # R = Y + 1.402 Cr, G = Y - 0.344 Cb - 0.714 Cr, B = Y + 1.772 Cb (JFIF)
    less_green = 0.344136 * cb + 0.714136 * cr
    planes = np.stack([1.402 * cr + less_green, 1.772 * cb + less_green])
    return Picture(grey, np.rint(planes).astype(np.int16))
