"""When each frame was taken, and what told it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from echocli.clips.record import mean_rate_hz
from echocli.intake.dicom import Header

Times = tuple[NDArray[np.float64] | None, str]
"""Seconds from the first frame, and the word for what told them."""

MIN_STEP_MS = 1.0
MAX_STEP_MS = 1000.0
"""One to a thousand frames a second; anything else is dirt."""

HINTS = frozenset({"actual_frame_duration", "cine_rate", "recommended_rate"})
"""Sources that do not say when frames were taken: how long one took to acquire, and how fast to
play them, rounded."""
DISAGREEMENT = 0.2
"""Frame time and Cine Rate may differ by this share before a note is made of it."""
LOW_RATE_HZ = 15.0
"""Fewer frames a second show too little of a heartbeat to find end systole within 30 ms."""
RISING = 8
"""A list that rises this often in a row holds times of frames, not steps between them."""


def frame_times(header: Header, frames: int) -> Times:
    """Return the time of each frame as the header tells it.

    Start Trim and Stop Trim are no times: they say which frames a player should show, and all
    are kept.

    Source:
        PS3.3 C.7.6.5 Cine Module: the Frame Increment Pointer names the element that holds;
        Frame Time Vector holds increments, its first entry belongs to no pair of frames.
    """
    steady = _steady(header.frame_time_ms, frames, "frame_time")
    uneven = _uneven(header.frame_time_vector_ms, frames)
    measured = (uneven, steady) if header.vector_is_named else (steady, uneven)
    hints = (
        _steady(header.frame_duration_ms, frames, "actual_frame_duration"),
        _steady(_period_ms(header.cine_rate_hz), frames, "cine_rate"),
        _steady(_period_ms(header.recommended_rate_hz), frames, "recommended_rate"),
    )
    for times in (*measured, *hints):
        if times is not None:
            return times
    return None, "unknown"


def timing_notes(header: Header, times_s: NDArray[np.float64] | None, source: str) -> list[str]:
    """Return what is doubtful about the times of a loop, in words of ``loop.NOTES``.

    Args:
        header: What the file says.
        times_s: The times that were believed.
        source: What told them.
    """
    notes = []
    if source in HINTS:
        notes.append("rate_is_a_hint")
    if header.frame_time_vector_ms and source != "frame_time_vector":
        frames = header.frames if times_s is None else len(times_s)
        if _uneven(header.frame_time_vector_ms, frames) is None:
            notes.append("vector_ignored")
    rate = mean_rate_hz(times_s)
    if rate is not None:
        if source not in HINTS and _disagree(rate, header.cine_rate_hz):
            notes.append("rates_disagree")
        if rate < LOW_RATE_HZ:
            notes.append("low_rate")
    if header.trim and (header.trim[0] > 1 or header.trim[1] < header.frames):
        notes.append("trimmed")
    return notes


def _disagree(rate: float, cine_rate: float | None) -> bool:
    period = _period_ms(cine_rate)
    if period is None or not is_step(period):
        return False
    return abs(rate * period / 1000 - 1) > DISAGREEMENT


def _period_ms(rate: float | None) -> float | None:
    return 1000.0 / rate if rate else None


def is_step(step_ms: float) -> bool:
    """Return whether frames of an echocardiogram may be so many milliseconds apart."""
    return math.isfinite(step_ms) and MIN_STEP_MS <= step_ms <= MAX_STEP_MS


def _steady(step_ms: float | None, frames: int, source: str) -> Times | None:
    if step_ms is None or not is_step(step_ms):
        return None
    return np.arange(frames, dtype=np.float64) * (step_ms / 1000), source


def _uneven(vector_ms: tuple[float, ...], frames: int) -> Times | None:
    if len(vector_ms) == frames:
        steps = vector_ms[1:]  # the first should be 0; ACUSON writes an ordinary step there
    elif len(vector_ms) == frames - 1:
        steps = vector_ms
    else:
        return None
    if not steps or not all(is_step(step) for step in steps) or _only_rises(steps):
        return None
    times = np.concatenate(([0.0], np.cumsum(steps) / 1000))
    return times.astype(np.float64), "frame_time_vector"


def _only_rises(steps: tuple[float, ...]) -> bool:
    return len(steps) >= RISING and bool(np.all(np.diff(steps) > 0))
