"""Turns decoded pixels into grey, and remembers where there was colour."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echocli.intake.guard import MAX_LOOP_BYTES, check_size
from echocli.intake.looks import Glance, glance_at
from echocli.intake.loop import Region
from echocli.intake.reasons import Reason, Refused

EXPANDED = np.clip((np.arange(256) - 16) * (255 / 219) + 0.5, 0, 255).astype(np.uint8)
"""Grey of each luma of limited range, 16 to 235 (ITU-R BT.601)."""
LIMITED_CHROMA_GAIN = 255 / 224
"""What widens Cb and Cr of limited range, 16 to 240."""
COLOUR_FRAMES = 24
"""Frames of a loop whose colour is decoded."""
WHOLE_EVERY = 3
"""Each third of them in full size."""
SHARE_EVERY = 2
"""Each second of them is asked whether it shows colour Doppler."""


class Colour(IntEnum):
    """How finely the colour of a frame is wanted; the value is the largest whole factor."""

    NONE = 0
    WHOLE = 1
    HALF = 2


@dataclass(frozen=True)
class Picture:
    """One decoded frame; the colour planes may be coarser by a whole factor."""

    grey: NDArray[np.uint8]
    red_blue: NDArray[np.int16] | None = None
    """R-G and B-G, ``(2, height, width)``; ``None`` if it is grey, or nobody asked."""


class Gatherer:
    """Keeps the grey of each frame and the largest chroma; colour itself is dropped at once.

    A colour loop of 600 x 800 x 90 is 130 MB, as floats a gigabyte; its grey is 43 MB.

    Colour costs more than grey, and is wanted for two things only: to tell colour Doppler, and
    to know where coloured text and an ECG are drawn. So it is looked at in 24 frames spread
    over the loop: in 8 of them in full size, because half the size pales lines of one pixel, in
    the other 16 at half the size at least, which is enough to follow what moves. 12 of the 24
    are asked for Doppler. What is coloured for less than a 24th of the loop may be missed.

    Args:
        frames: How many will come, or a guess.
        region: Where colour Doppler is looked for.
    """

    def __init__(self, frames: int, rows: int, columns: int, region: Region | None) -> None:
        check_size(frames, rows, columns)
        self._store = np.empty((frames, rows, columns), dtype=np.uint8)
        self._chroma: dict[tuple[int, ...], NDArray[np.uint8]] = {}  # by fineness
        self._region = region
        self._coloured = spread(frames, COLOUR_FRAMES)
        self.count = 0
        self.glances: list[Glance] = []
        """What each frame that was looked at shows of colour."""
        self.notes: tuple[str, ...] = ()
        """What is doubtful about the frames, words of ``loop.NOTES``."""

    @property
    def next_grey(self) -> NDArray[np.uint8]:
        """Where the grey of the next frame will lie: a decoder may write it there itself.

        Raises:
            Refused: If the loop grows beyond the memory allowed.
        """
        if self.count == len(self._store):
            self._grow()
        place: NDArray[np.uint8] = self._store[self.count]
        return place

    @property
    def next_colour(self) -> Colour:
        """How finely the colour of the next frame is wanted."""
        rank = self._coloured.get(self.count)
        if rank is None:
            return Colour.NONE
        return Colour.HALF if rank % WHOLE_EVERY else Colour.WHOLE

    def add(self, picture: Picture) -> None:
        """Take the next frame.

        Raises:
            Refused: If its size differs from the first's, or the loop grows beyond the memory
                allowed.
        """
        place = self.next_grey
        if picture.grey.shape != place.shape:
            raise Refused(Reason.UNDECODABLE, "frames of different sizes")
        if not np.may_share_memory(picture.grey, place):
            place[...] = picture.grey
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
        if self._coloured.get(self.count, 1) % SHARE_EVERY == 0:
            grey = self._store[self.count]
            self.glances.append(glance_at(grey, red_blue, self._region))


def spread(frames: int, samples: int) -> dict[int, int]:
    """Return at most so many frames, evenly over a loop, each with its rank among them."""
    chosen = np.unique(np.linspace(0, frames - 1, min(frames, samples)).round().astype(int))
    return {int(frame): rank for rank, frame in enumerate(chosen)}


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


def luma_of_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luma of RGB values ``(height, width, 3)`` by ITU-R BT.601, rounded.

    Pillow's integers are 19595, 38470 and 7471 of 2**16, for 0.299, 0.587 and 0.114.
    """
    grey = Image.fromarray(np.ascontiguousarray(rgb)).convert("L")
    return np.asarray(grey, dtype=np.uint8)


def differences(rgb: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return R-G and B-G of an RGB frame, ``(2, height, width)``."""
    planes = np.empty((2, *rgb.shape[:-1]), dtype=np.int16)
    for plane, channel in zip(planes, (0, 2), strict=True):
        np.subtract(rgb[..., channel], rgb[..., 1], out=plane, dtype=np.int16)
    return planes


def picture_of_rgb(rgb: NDArray[np.uint8], colour: Colour) -> Picture:
    """Return luma and, if wanted, colour differences of an RGB frame ``(height, width, 3)``."""
    return Picture(luma_of_rgb(rgb), differences(rgb) if colour else None)


def picture_of_ybr(
    grey: NDArray[np.uint8],
    blue: NDArray[np.uint8],
    red: NDArray[np.uint8],
    colour: Colour,
    *,
    limited: bool = False,
) -> Picture:
    """Return luma and, if wanted, colour differences of Y, Cb and Cr planes.

    Args:
        grey: Y.
        blue: Cb, perhaps coarser than Y.
        red: Cr, likewise.
        colour: Whether colour is wanted.
        limited: Whether Y goes from 16 to 235, Cb and Cr from 16 to 240.
    """
    if limited:
        grey = EXPANDED[grey]
    if not colour:
        return Picture(grey)
    gain = np.float32(LIMITED_CHROMA_GAIN if limited else 1)
    cb = (blue.astype(np.float32) - 128) * gain
    cr = (red.astype(np.float32) - 128) * gain
    # R = Y + 1.402 Cr, G = Y - 0.344 Cb - 0.714 Cr, B = Y + 1.772 Cb (JFIF)
    less_green = 0.344136 * cb + 0.714136 * cr
    planes = np.stack([1.402 * cr + less_green, 1.772 * cb + less_green])
    # Broken chroma may lie outside of RGB, where channels differ by more than they can.
    return Picture(grey, np.rint(planes).clip(-255, 255).astype(np.int16))
