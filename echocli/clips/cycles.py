"""Whole heart beats of a loop, so that it may go round: told by R waves, or found in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echocli.clips.store import ClipSet

FASTEST_S, SLOWEST_S = 0.27, 2.0
"""Beats of 220 and of 30 a minute."""
BEATS = 1.5
"""Beats that a loop must last for one to be found in it: half of one is seen twice."""
UNLIKE = 0.5
"""Frames one beat apart differ by this share, at most, of what others differ by."""
AS_GOOD = 1.2
"""Two beats look as alike as one; the shortest lag that is so nearly the best is the beat."""
ROUGHER = 2.0
"""More beats are taken if their ends differ by no more than so many times those of one."""
SIDE = 32
"""Pixels, roughly, of the side of the pictures that are compared: speckle is averaged away."""


class Cycle(NamedTuple):
    """One or more whole beats of a loop: the frame at the end looks as that at the begin."""

    begin_s: float
    end_s: float


def cycle_of(clips: ClipSet, row: int) -> Cycle | None:
    """Return whole beats of a clip, from its R waves or else from its frames.

    A label that marks one end-diastole does not tell when the next one is, so none is asked.

    Returns:
        ``None`` if the clip has no frame times or no beat can be told.
    """
    times_s = clips.times_s(row)
    if times_s is None:
        return None
    waves = clips.r_waves_s(row)
    if len(waves) > 1:
        return Cycle(float(waves[0]), float(waves[-1]))
    return find_cycle(clips.frames(row), times_s)


def find_cycle(frames: NDArray[np.uint8], times_s: NDArray[np.float64]) -> Cycle | None:
    """Return whole beats that are seen in frames, or ``None`` if none is clearly seen.

    On 120 hard phantoms of 1 to 3 s a beat was found in 78, within a tenth of its length in 77
    (``benchmarks/feeding.py cycles``).

    Args:
        frames: ``(frames, height, width)``.
        times_s: When each was taken, about evenly.
    """
    if len(times_s) < 4:
        return None
    apart = _distances(frames)
    interval_s = float(times_s[-1] - times_s[0]) / (len(times_s) - 1)
    lag = _beat(apart, interval_s)
    if lag is None:
        return None
    joins = []
    for beats in range(1, (len(times_s) - 1) // lag + 1):
        ends = np.diagonal(apart, beats * lag)
        joins.append((float(ends.min()), int(ends.argmin()), beats * lag))
    roughest = ROUGHER * min(joins)[0]
    begin, lasts = next((i, n) for rough, i, n in reversed(joins) if rough <= roughest)
    return Cycle(float(times_s[begin]), float(times_s[begin + lasts]))


def _beat(apart: NDArray[np.float32], interval_s: float) -> int | None:
    """Return after how many frames the heart looks the same, given how frames differ."""
    most = min(SLOWEST_S / interval_s, (len(apart) - 1) / BEATS)
    lags = range(max(2, int(np.ceil(FASTEST_S / interval_s))), int(most) + 1)
    unlike = [float(np.diagonal(apart, lag).mean()) for lag in range(int(most) + 2)]
    dips = [n for n in lags if unlike[n] <= min(unlike[n - 1], unlike[n + 1])]
    if not dips:
        return None
    best = min(unlike[n] for n in dips)
    lag = next(n for n in dips if unlike[n] <= AS_GOOD * best)
    return lag if unlike[lag] < UNLIKE * max(unlike[:lag]) else None


def _distances(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the squared distance of each frame from each other, of small pictures."""
    count, height, width = frames.shape
    side = max(1, min(height, width) // SIDE)
    rows, columns = height // side, width // side
    cut = frames[:, : rows * side, : columns * side].reshape(count, rows, side, columns, side)
    small = cut.mean((2, 4), dtype=np.float32).reshape(count, -1)
    small -= small.mean(axis=0)
    products = small @ small.T
    squares = np.diagonal(products)
    return np.asarray(np.maximum(squares[:, None] + squares - 2 * products, 0))
