"""When the heart was at its R wave: from the header, or read off the ECG on the screen.

Never a guess: a trace counts only if the way it moves tells the time of each of its columns,
and if narrow peaks of one height, at the distances of heart beats, stand out of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echocli.intake.dicom import Header
from echocli.intake.ecg import find_strips, read_trace
from echocli.intake.ecg_motion import Track, track_of
from echocli.intake.loop import Region

RWaves = tuple[tuple[float, ...], str]
"""Seconds from the first frame, and ``header``, ``trace`` or ``unknown``."""

UNKNOWN: RWaves = ((), "unknown")
SHORTEST_BEAT_S, LONGEST_BEAT_S = 60 / 250, 60 / 25
MOST_UNEVEN = 1.7
"""The longest beat may be this many times the shortest; a beat missed makes it twice."""
WIDEST_S = 0.12
"""A QRS complex is narrower than this at half its height, a T wave is wider."""
LEAST_PIXELS = 4.0
"""Height of an R wave on the screen, at least."""
ALIKE, CLEARLY_LESS = 0.55, 0.4
"""An R wave has at least the first share of the height of the largest, all other narrow waves
at most the second; anything between is not told apart."""
NOISE = 5.0
"""An R wave is at least this many times as high as the trace usually strays."""


def find_r_waves(
    header: Header,
    frames: NDArray[np.uint8],
    chroma: NDArray[np.uint8],
    times_s: NDArray[np.float64] | None,
    scan: Region | None,
) -> RWaves:
    """Return when R waves were, within the loop.

    Args:
        header: What the file says.
        frames: The whole pictures, ``(frames, height, width)``.
        chroma: Largest difference of two primaries over all frames, ``(height, width)``.
        times_s: When each frame was taken; without it nothing can be said.
        scan: The two-dimensional scan.
    """
    if times_s is None or len(times_s) < 2:
        return UNKNOWN
    told = r_waves_of_header(header.r_wave_times_ms, float(times_s[-1]))
    if told:
        return told, "header"
    for strip in find_strips(header.regions, scan, frames, chroma):
        trace = read_trace(frames, strip)
        track = None if trace is None else track_of(trace, times_s, strip.seconds_per_column)
        if track is None:
            continue
        found = r_waves_of_track(track, float(times_s[-1]))
        if found:
            return found, "trace"
    return UNKNOWN


def r_waves_of_header(times_ms: tuple[float, ...], end_s: float) -> tuple[float, ...]:
    """Return the R waves that the header lists, if the list is one.

    Source:
        PS3.3 C.8.5.6, R Wave Time Vector: milliseconds from the start of the loop.
    """
    seconds = np.array(times_ms) / 1000
    if len(seconds) == 0 or not _are_beats(np.diff(seconds)):
        return ()
    return tuple(float(time) for time in seconds if 0 <= time <= end_s)


def r_waves_of_track(track: Track, end_s: float) -> tuple[float, ...]:
    """Return the R waves that a trace shows within the loop, empty if that is in doubt.

    Args:
        track: The trace against time; it may begin before the loop.
        end_s: Time of the last frame.
    """
    higher = track.up if track.up.max() >= track.down.max() else track.down
    waves = _waves(higher, track)
    if len(waves) < 2 or not _are_beats(np.diff(waves)):
        return ()
    return tuple(float(time) for time in waves if 0 <= time <= end_s)


def _are_beats(distances_s: NDArray[np.float64]) -> bool:
    if len(distances_s) == 0:
        return True
    shortest, longest = float(distances_s.min()), float(distances_s.max())
    return (
        shortest >= SHORTEST_BEAT_S
        and longest <= LONGEST_BEAT_S
        and longest <= MOST_UNEVEN * shortest
    )


def _waves(height: NDArray[np.float64], track: Track) -> NDArray[np.float64]:
    """Return the times of the highest narrow peaks; none if it is unclear which they are.

    Source:
        Prominence as scipy.signal.find_peaks defines it.
    """
    from scipy import signal  # half a second and 48 MB, for the loops that show an ECG only

    widest = WIDEST_S / track.step_s
    # Level ground before and after: many loops begin and end with an R wave.
    ground = round(widest)
    peaks, found = signal.find_peaks(
        np.pad(height, ground), prominence=LEAST_PIXELS / 2, width=(0, widest)
    )
    peaks -= ground
    inside = (peaks > 0) & (peaks < len(height) - 1)
    peaks, prominences = peaks[inside], found["prominences"][inside]
    if len(peaks) == 0:
        return np.array([])
    highest = float(prominences.max())
    strays = float(np.median(np.abs(height - np.median(height))))
    shares = prominences / highest
    unclear = (shares > CLEARLY_LESS) & (shares < ALIKE)
    if highest < max(LEAST_PIXELS, NOISE * strays) or unclear.any():
        return np.array([])
    return np.asarray(track.start_s + peaks[shares >= ALIKE] * track.step_s)
