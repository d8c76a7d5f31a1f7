"""The ECG on a scanner's screen: a strip with a cursor, a sweep behind a bar, or a scroll."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WAVES = (
    *((-0.16, 0.025, 0.12), (-0.028, 0.009, -0.12), (0.0, 0.011, 1.0)),
    *((0.03, 0.01, -0.2), (0.27, 0.045, 0.25)),
)
"""Centre and width in seconds from the R peak, and height, of P, Q, R, S and T."""
CURSOR_YELLOW = (230, 230, 120)
SWEEP_SECONDS = 3.0
"""What fits into the strip of a sweep or a scroll."""
GAP = 0.04
"""Share of the strip that a sweep wipes ahead of its bar."""

EcgStyle = Literal["strip", "sweep", "scroll", "none"]
"""``strip``: the trace of the whole loop stands, a cursor moves over it (HP, GE). ``sweep``:
the trace is drawn behind a bar that starts anew at the left (Toshiba, Philips). ``scroll``: the
newest sample stands at the right, all older ones move left."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle of the screen, inclusive at both ends as DICOM regions are."""

    x0: int
    y0: int
    x1: int
    y1: int


def draw_ecg(
    frames: NDArray[np.uint8],
    times_s: NDArray[np.float64],
    r_peaks_s: NDArray[np.float64],
    box: Box,
    style: EcgStyle = "strip",
    colour: tuple[int, int, int] = (40, 220, 70),
) -> float:
    """Draw the trace into RGB frames ``(frames, height, width, 3)``, in place.

    Args:
        frames: What is drawn on.
        times_s: When each frame was taken.
        r_peaks_s: R waves, from before the loop to after its end.
        box: Where the strip lies.
        style: How it moves.
        colour: Of the trace.

    Returns:
        The seconds that the strip's width stands for; 0 without a strip.
    """
    if style == "none":
        return 0.0
    pen = _Pen(box, _with_history(r_peaks_s), colour)
    if style == "strip":
        seconds = max(2.0, float(times_s[-1]))
        pen.draw(frames, 0.0, seconds, 0.0, seconds)
        for frame, time in zip(frames, times_s, strict=True):
            x = box.x0 + round(float(time) / seconds * (box.x1 - box.x0))
            frame[box.y0 : box.y1 + 1, x : x + 2] = CURSOR_YELLOW
        return seconds
    for frame, time in zip(frames, times_s, strict=True):
        now = float(time)
        if style == "scroll":
            pen.draw(frame[None], now - SWEEP_SECONDS, now, now - SWEEP_SECONDS, SWEEP_SECONDS)
        else:
            start = now - (now + 0.4 * SWEEP_SECONDS) % SWEEP_SECONDS
            pen.draw(frame[None], start, now, start, SWEEP_SECONDS)
            older = start - SWEEP_SECONDS
            ahead = now - SWEEP_SECONDS * (1 - GAP)
            pen.draw(frame[None], ahead, start, older, SWEEP_SECONDS)
            x = box.x0 + round((now - start) / SWEEP_SECONDS * (box.x1 - box.x0))
            frame[box.y0 : box.y1 + 1, x + 1 : x + 4] = colour
    return SWEEP_SECONDS


@dataclass(frozen=True)
class _Pen:
    box: Box
    peaks: NDArray[np.float64]
    colour: tuple[int, int, int]

    def draw(
        self, frames: NDArray[np.uint8], first: float, last: float, left: float, width: float
    ) -> None:
        """Draw the trace between two instants; ``left`` stands at the box's left side."""
        box = self.box
        columns = np.arange(box.x0, box.x1 + 1)
        times = left + (columns - box.x0) / (box.x1 - box.x0) * width
        inside = (times >= first - 1e-9) & (times <= last + 1e-9)
        if inside.sum() < 2:
            return
        since = times[inside, None] - self.peaks[None]
        signal = sum((h * np.exp(-0.5 * ((since - at) / w) ** 2)).sum(1) for at, w, h in WAVES)
        rows = box.y1 - 3 - (0.25 + 0.7 * signal) * (box.y1 - box.y0 - 4)
        rows = np.clip(rows, box.y0, box.y1)
        picture = Image.new("L", frames.shape[2:0:-1])
        points = list(zip(columns[inside].tolist(), rows.tolist(), strict=True))
        ImageDraw.Draw(picture).line(points, 255, 1)
        frames[:, np.array(picture) > 0] = self.colour


def _with_history(peaks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add the beats of two sweeps before the first one, at its own distance."""
    beat = float(peaks[1] - peaks[0])
    earlier = peaks[0] - beat * np.arange(int(2 * SWEEP_SECONDS / beat) + 2, 0, -1)
    return np.concatenate([earlier, peaks])
