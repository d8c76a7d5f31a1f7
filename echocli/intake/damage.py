"""Frames that a damaged stream left unlike those around them.

JPEG has no checksum, and five of six flipped bits in it are decoded without a warning. But each
frame is coded by itself, and what follows the damage is shifted, brighter or darker: whole rows
change in one frame and are back in the next. The heart does not do so, and what is drawn beside
it still less. A beam that sweeps over an ECG does, in the same rows in every frame, so each row
is compared with itself at other times.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK, ACROSS = 8, 2
"""Side in pixels of what JPEG codes together: one line of pixels stands for each row of blocks,
and every second pixel of it is enough."""
MOST_SPIKE = 16
"""Grey levels by which a pixel counts at most: a thin bright line is no damaged row."""
STILL = 1
"""Grey levels by which a pixel of the surroundings changes at most."""
LEAST_EXCESS, STILL_AT_ENDS, MOVING_AT_ENDS = 1.0, 3.0, 7.0
"""Grey levels, on the mean of a row, by which one frame exceeds all others: anywhere, and in
the first and the last frame by what stands still and by what moves. Whole real loops reach 0.9;
at the ends, where the heart may go on for good, 2.6 and 3.7."""

Levels = NDArray[np.int16]


class Damage(NamedTuple):
    """The frame that looks damaged."""

    frame: int
    surroundings: bool
    """Whether what else stands still has changed in it, which no patient explains."""


def find_damage(frames: NDArray[np.uint8]) -> Damage | None:
    """Return a frame of which rows are unlike those before and after, if there is one.

    The first and the last frame have nothing on one side to compare with: they are compared
    with the next two, and must differ by more.

    Args:
        frames: ``(frames, height, width)``.
    """
    count = len(frames)
    lines = frames[:, BLOCK // 2 :: BLOCK, ::ACROSS].astype(np.int16)
    if count < 3 or not lines.size:
        return None
    moving, still = np.zeros((2, count, lines.shape[1]), np.float32)
    for index in range(count):
        spike, rests = _spikes(lines, index)
        still[index] = (spike * rests).mean(axis=1)
        moving[index] = spike.mean(axis=1)
    limit = np.full((count, 1), LEAST_EXCESS, np.float32)
    limit[[0, -1]] = STILL_AT_ENDS
    between, at_ends = moving.copy(), _excess(moving)
    between[[0, -1]] = at_ends[1:-1] = 0
    wrong = (
        (_excess(still) > limit, True),
        (_excess(between) > LEAST_EXCESS, False),
        (at_ends > MOVING_AT_ENDS, False),
    )
    for rows, surroundings in wrong:
        damaged = np.flatnonzero(rows.any(axis=1))
        if len(damaged):
            return Damage(int(damaged[0]), surroundings)
    return None


def _spikes(lines: Levels, index: int) -> tuple[Levels, NDArray[np.bool_]]:
    """Return by how much a frame leaves its neighbours, beyond what these differ by.

    Also returns which pixels stand still in the neighbours and half a loop away.
    """
    count = len(lines)
    before, after = index - 1, index + 1
    if before < 0:
        before, after = 1, 2
    elif after == count:
        before, after = count - 2, count - 3
    now, one, other = lines[index], lines[before], lines[after]
    apart = np.abs(one - other)
    spike = np.minimum(np.abs(now - one), np.abs(now - other)) - apart
    far = lines[(index + count // 2) % count]
    rests = (apart <= STILL) & (np.abs(one - far) <= STILL)
    return np.clip(spike, -MOST_SPIKE, MOST_SPIKE), rests


def _excess(spikes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return by how much each row exceeds the same row of all other frames."""
    ordered = np.sort(spikes, axis=0)
    others = np.where(spikes == ordered[-1], ordered[-2], ordered[-1])
    return np.asarray(spikes - np.maximum(others, 0))
