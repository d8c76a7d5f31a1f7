"""A segmented clip as a film: outlines at the clip's own pace, and the curve of its cavity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from echocli.api._export.video import write_pictures
from echocli.api._segment.measures import Labels
from echocli.api._segment.overlay import COLOURS, overlay

STRIP = 72
"""Rows below the picture, for the curve."""
EDGE, HEAD = 12, 18
"""Room beside the curve, and above it for the names of the marks."""
GROUND, INK, FAINT = (18, 20, 24), (235, 235, 235), (96, 100, 108)
FRAME = 3
"""Thickness of the frame around a marked picture."""

Pictures = Iterator[NDArray[np.uint8]]
Numbers = NDArray[np.float64]


def film_pictures(
    frames: NDArray[np.uint8],
    labels: Labels,
    times_s: Numbers,
    curve: Numbers,
    marks: dict[int, str],
) -> Pictures:
    """Yield a colour picture of every frame: outlines, below them the curve and where it is.

    Args:
        frames: The clip.
        labels: Its structures, a map a frame.
        times_s: Time of each frame.
        curve: Volume of the cavity in each frame, in any unit; NaN where there is none.
        marks: Names of frames, such as ``{3: "ED"}``: a line in the curve, and a frame around
            the picture while it is shown.
    """
    font = ImageFont.load_default(size=13)
    strip: Image.Image | None = None
    for index, (frame, mask) in enumerate(zip(frames, labels, strict=True)):
        picture = Image.fromarray(overlay(frame, mask))
        if strip is None:
            columns = _columns(times_s, picture.width)
            strip = _strip(columns, curve, marks, picture.width, font)
        whole = Image.new("RGB", (picture.width, picture.height + STRIP))
        drawing = ImageDraw.Draw(whole)
        whole.paste(picture, (0, 0))
        whole.paste(strip, (0, picture.height))
        if name := marks.get(index):
            box = (0, 0, picture.width - 1, picture.height - 1)
            drawing.rectangle(box, outline=INK, width=FRAME)
            drawing.text((2 * FRAME, 2 * FRAME), name, fill=INK, font=font)
        here, top = columns[index], picture.height + HEAD
        drawing.line((here, top, here, whole.height - 2), fill=INK, width=2)
        yield np.asarray(whole)


def write_film(
    path: Path,
    frames: NDArray[np.uint8],
    labels: Labels,
    times_s: Numbers,
    curve: Numbers,
    marks: dict[int, str],
) -> None:
    """Write a segmented clip as an MP4, each frame at its own time; see ``film_pictures``.

    Args:
        path: The file.
        frames: The clip.
        labels: Its structures, a map a frame.
        times_s: Time of each frame.
        curve: Volume of the cavity in each frame.
        marks: Names of frames.
    """
    write_pictures(path, film_pictures(frames, labels, times_s, curve, marks), times_s, "mp4")


def _columns(times_s: Numbers, width: int) -> list[int]:
    """Return where along the strip each frame stands."""
    share = (times_s - times_s[0]) / max(float(np.ptp(times_s)), 1e-9)
    return [round(EDGE + float(one) * (width - 2 * EDGE)) for one in share]


def _strip(
    columns: list[int],
    curve: Numbers,
    marks: dict[int, str],
    width: int,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> Image.Image:
    """Return the curve from zero to its largest, with the marks."""
    strip = Image.new("RGB", (width, STRIP), GROUND)
    drawing = ImageDraw.Draw(strip)
    known = np.flatnonzero(np.isfinite(curve))
    if not len(known):
        return strip
    low, high = STRIP - 4, HEAD + 2
    heights = low - curve / max(float(np.nanmax(curve)), 1e-9) * (low - high)
    drawing.line((EDGE, low, width - EDGE, low), fill=FAINT)
    for frame, name in marks.items():
        drawing.line((columns[frame], HEAD, columns[frame], low), fill=FAINT)
        drawing.text((columns[frame], 2), name, fill=INK, font=font, anchor="mt")
    points = [(columns[frame], float(heights[frame])) for frame in known]
    drawing.line(points, fill=COLOURS[1], width=2)
    return strip
