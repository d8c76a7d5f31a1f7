"""A picture of a segmented clip: end-diastole and end-systole with their outlines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from echocli.files import atomic_path

COLOURS = {1: (255, 196, 0), 2: (64, 160, 255), 3: (255, 80, 120)}
"""Outline of each structure: amber cavity, blue muscle, pink atrium."""
LEAST_SIDE = 336
"""Small frames are enlarged to at least this many pixels."""


def overlay(frame: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an enlarged colour picture of a frame with the outlines of its structures."""
    return outlined(frame, labels, max(1, -(-LEAST_SIDE // max(frame.shape))))


def outlined(
    frame: NDArray[np.uint8], labels: NDArray[np.uint8], zoom: int
) -> NDArray[np.uint8]:
    """Return a colour picture, ``zoom`` times as large, with the outlines of structures."""
    picture = np.repeat(frame.repeat(zoom, 0).repeat(zoom, 1)[..., None], 3, axis=2)
    large = labels.repeat(zoom, 0).repeat(zoom, 1)
    for value, colour in COLOURS.items():
        inside = large == value
        outline = inside & ~ndimage.binary_erosion(inside, iterations=max(1, zoom // 2))
        picture[outline] = colour
    return picture


def write_overlay(
    path: Path, frames: NDArray[np.uint8], labels: NDArray[np.uint8], chosen: list[int]
) -> None:
    """Write some frames of a clip side by side, with outlines.

    Args:
        path: PNG to write.
        frames: The clip.
        labels: Its structures.
        chosen: Frames to draw, from left to right.
    """
    pictures = [overlay(frames[index], labels[index]) for index in chosen]
    with atomic_path(path) as temporary:
        Image.fromarray(np.concatenate(pictures, axis=1)).save(temporary, format="PNG")
