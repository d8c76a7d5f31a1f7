"""Contact sheets: many clips on a page, to be looked over by eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from echocli.clips.store import ClipSet
from echocli.files import atomic_path

ACROSS, DOWN = 8, 6
"""Clips on a page."""
SIDE = 168
"""Side of a picture, in pixels."""
LINE = 14
"""Height of a line of text, in pixels."""
PER_PAGE = ACROSS * DOWN
INK = (225, 225, 225)
LONGEST = 26
"""Characters of a caption that fit under a picture."""


def page_name(page: int) -> str:
    """Return the name of a page, counted from 0."""
    return f"sheet-{page + 1:04d}.png"


def write_sheet(path: Path, clips: ClipSet, rows: Sequence[int]) -> None:
    """Write one page: the middle frame of each clip, with its id, length and rate.

    Args:
        path: PNG to write.
        clips: The clips.
        rows: Which of them, ``PER_PAGE`` at most.
    """
    assert len(rows) <= PER_PAGE
    height = -(-len(rows) // ACROSS) * (SIDE + 2 * LINE)
    page = Image.new("RGB", (ACROSS * SIDE, height))
    drawing, font = ImageDraw.Draw(page), ImageFont.load_default(size=11)
    for place, row in enumerate(rows):
        left, top = place % ACROSS * SIDE, place // ACROSS * (SIDE + 2 * LINE)
        frames = clips.frames(row)
        page.paste(_picture(frames[len(frames) // 2]), (left, top))
        for line, text in enumerate(_captions(clips, row)):
            drawing.text((left + 4, top + SIDE + line * LINE), text, fill=INK, font=font)
    with atomic_path(path) as temporary:
        page.save(temporary, format="PNG")


def _picture(frame: NDArray[np.uint8]) -> Image.Image:
    """Return a frame as large as fits into its place, whatever its shape."""
    room = SIDE - 4
    share = room / max(frame.shape)
    size = (max(1, round(frame.shape[1] * share)), max(1, round(frame.shape[0] * share)))
    square = Image.new("L", (SIDE, SIDE))
    large = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
    square.paste(large, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return square


def _captions(clips: ClipSet, row: int) -> tuple[str, str]:
    record = clips.manifest.iloc[row]
    rate = record["frame_rate_hz"]
    known = "no time" if rate is None or np.isnan(rate) else f"{rate:.4g}/s"
    return str(record["clip_id"])[:LONGEST], f"{record['frames']} frames, {known}"
