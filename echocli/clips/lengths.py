"""Which window is short enough for the clips that there are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.clips.windows import SLACK_S

ENOUGH = 0.95
"""Share of the clips that a window should be short enough for."""
FINE, COARSE = 0.01, 0.05
"""Seconds to which windows are rounded: those below a second finely."""


@dataclass(frozen=True)
class Shorter:
    """A shorter window, and how many clips can fill it."""

    setting: str
    """As ``--set`` takes it."""
    clips: int


def shorter_windows(
    clips: ClipSet, data: DataConfig, tubelet: int = 1, share: float = ENOUGH
) -> list[Shorter]:
    """Return the longest windows that a share of the clips can fill, by each way to shorten.

    Clips without times count only where time does not matter.

    Args:
        clips: The clips.
        data: The window that is too long.
        tubelet: Frames of a tubelet: what windows are made of.
        share: Of the clips.
    """
    lengths = spans(clips, data)
    if not len(lengths):
        return []
    reached = float(np.sort(lengths)[math.floor((1 - share) * len(lengths))])
    ways = by_stride(data, reached, tubelet) if data.stride else by_seconds(data, reached)
    return [
        Shorter(setting, int(np.sum(lengths >= changed.span - SLACK_S)))
        for setting, changed in ways
        if changed.span < data.span
    ]


def spans(clips: ClipSet, data: DataConfig) -> NDArray[np.float64]:
    """Return how long clips last, in frames where a window goes by stride, else in seconds."""
    if data.stride:
        return np.asarray(clips.manifest["frames"], dtype=np.float64) - 1
    times = (clips.times_s(row) for row in range(len(clips)))
    return np.array([found[-1] - found[0] for found in times if found is not None])


def by_stride(data: DataConfig, span: float, tubelet: int) -> list[tuple[str, DataConfig]]:
    """Return windows of less stride or of fewer frames that last so many frames at most."""
    assert data.stride is not None
    ways = []
    if data.frames > 1 and (stride := int(span // (data.frames - 1))):
        ways.append((f"data.stride={stride}", replace(data, stride=stride)))
    frames = (int(span // data.stride) + 1) // tubelet * tubelet
    if frames:
        ways.append((f"data.frames={frames}", replace(data, frames=frames)))
    return ways


def by_seconds(data: DataConfig, span: float) -> list[tuple[str, DataConfig]]:
    """Return a window of fewer seconds that lasts so long at most."""
    longest = (span + SLACK_S) * data.frames / max(1, data.frames - 1)
    step = FINE if longest < 1 else COARSE
    seconds = round(math.floor(longest / step + 1e-9) * step, 2)
    if not seconds:
        return []
    return [(f"data.seconds={seconds:g}", replace(data, seconds=seconds))]


def says(data: DataConfig) -> str:
    """Say how long a window is."""
    if data.stride:
        needed = round(data.span) + 1
        return f"{data.frames} frames at stride {data.stride} (a loop of {needed} or more)"
    return f"{data.seconds:g} s"
