"""Clips as small looping pictures that stand inside the page."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from echocli.reports.page import Html, data_uri, image

Frames = NDArray[np.uint8]

COLOURS = {1: (255, 196, 0), 2: (64, 160, 255), 3: (255, 80, 120)}
"""Outline of each structure: amber cavity, blue muscle, pink atrium."""
MOST_FRAMES = 40
SECONDS = 2.0
"""Longer loops are cut: two beats show how a heart moves."""
ASSUMED_FRAME_MS = 40
QUALITY = 55
ZOOM = 2
TILE = 96
"""Side of a small still, in pixels."""


def loop(frames: Frames, times_s: NDArray[np.float64] | None, alternative: str) -> Html:
    """Return a clip as a loop at its own speed.

    Args:
        frames: ``(frames, height, width)``, or with three colours in a fourth axis.
        times_s: Time of each frame, if known.
        alternative: What it shows.
    """
    chosen, durations = timing(len(frames), times_s)
    pictures = [Image.fromarray(frames[index]) for index in chosen]
    moving, still = io.BytesIO(), io.BytesIO()
    pictures[0].save(
        moving,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        quality=QUALITY,
        method=4,
    )
    pictures[0].save(still, "WEBP", quality=QUALITY)
    return image(moving.getvalue(), "image/webp", alternative, still.getvalue())


def timing(count: int, times_s: NDArray[np.float64] | None) -> tuple[list[int], list[int]]:
    """Return which frames to show and for how many milliseconds each.

    Frames are left out evenly where there are many, and the rest stay longer, so that the
    heart keeps its rate.
    """
    assumed = np.arange(count, dtype=np.float64) * np.float64(ASSUMED_FRAME_MS / 1000)
    times = assumed if times_s is None else times_s
    shown = min(count, max(2, int(np.searchsorted(times, times[0] + SECONDS))))
    chosen = list(range(0, shown, -(-shown // MOST_FRAMES)))
    gaps = np.diff(times[chosen]) * 1000
    last = float(np.median(gaps)) if len(gaps) else float(ASSUMED_FRAME_MS)
    return chosen, [max(1, round(float(gap))) for gap in [*gaps, last]]


def outlined(frames: Frames, labels: Frames) -> Frames:
    """Return a clip in colour with the outlines of its structures, twice as large.

    Args:
        frames: ``(frames, height, width)``.
        labels: Structures, of the same shape.
    """
    large = frames.repeat(ZOOM, 1).repeat(ZOOM, 2)
    inside = labels.repeat(ZOOM, 1).repeat(ZOOM, 2)
    picture = np.repeat(large[..., None], 3, axis=3)
    flat = np.zeros((1, 3, 3), np.bool_)
    flat[0] = ndimage.generate_binary_structure(2, 1)  # frames do not touch each other
    for value, colour in COLOURS.items():
        one = inside == value
        picture[one & ~ndimage.binary_erosion(one, flat)] = colour
    return picture


def contact_sheet(stills: Sequence[Frames]) -> tuple[str, int]:
    """Return pictures side by side as a data URI, and how many stand in a row.

    Args:
        stills: ``(height, width)`` each; made as large as each other.
    """
    columns = math.ceil(math.sqrt(len(stills)))
    size = (columns * TILE, -(-len(stills) // columns) * TILE)
    sheet = Image.new("L", size)
    for place, still in enumerate(stills):
        down, across = divmod(place, columns)
        small = Image.fromarray(still).resize((TILE, TILE), Image.Resampling.BILINEAR)
        sheet.paste(small, (across * TILE, down * TILE))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=QUALITY, method=4)
    return data_uri(buffer.getvalue(), "image/webp"), columns


def strip(stills: Sequence[Frames], alternative: str) -> Html:
    """Return pictures in a row.

    Args:
        stills: ``(height, width)`` each.
        alternative: What they show.
    """
    row = Image.new("L", (len(stills) * TILE, TILE))
    for place, still in enumerate(stills):
        small = Image.fromarray(still).resize((TILE, TILE), Image.Resampling.BILINEAR)
        row.paste(small, (place * TILE, 0))
    buffer = io.BytesIO()
    row.save(buffer, "WEBP", quality=QUALITY, method=4)
    return image(buffer.getvalue(), "image/webp", alternative)


def overlay(path: Path, alternative: str) -> Html:
    """Return a picture file, made smaller."""
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(buffer, "WEBP", quality=80)
    return image(buffer.getvalue(), "image/webp", alternative)
