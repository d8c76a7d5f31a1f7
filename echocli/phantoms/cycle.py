"""When the heart beats: beats in seconds, and how full the ventricle is at each instant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RAPID_FILLING_S = 0.20
RELAXATION_S = 0.07
ATRIAL_KICK_S = 0.12


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """Heart rate, how regular it is, and where in the beat the clip starts."""

    rate_bpm: float = 70.0
    """Mean heart rate."""
    start: float = 0.0
    """Share of the first beat that has passed when the clip starts."""
    irregularity: float = 0.02
    """Standard deviation of the beats' length, as a share of it."""
    early_share: float = 0.7
    """Share of the stroke volume that comes in the rapid filling; the atrium adds the rest."""
    seed: tuple[int, ...] = (0,)
    """Key of the beats' lengths."""


def r_peaks_s(rhythm: Rhythm, seconds: float) -> NDArray[np.float64]:
    """Return the times at which beats begin, from before the clip to after its end."""
    period = 60.0 / rhythm.rate_bpm
    count = int(np.ceil(seconds / period * 1.5)) + 3
    jitter = np.random.default_rng(rhythm.seed).standard_normal(count)
    lengths = period * np.clip(1.0 + rhythm.irregularity * jitter, 0.7, 1.3)
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    return np.asarray(starts - rhythm.start * lengths[0])


def fullness(rhythm: Rhythm, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how full the ventricle is: 1 at end diastole, 0 at end systole.

    Ejection, isovolumic relaxation, rapid filling, diastasis and atrial kick follow each
    other; at high rates the diastasis vanishes and the two filling waves merge.

    Source:
        Ejection time from the heart rate: Weissler et al., Circulation 37 (1968) 149-159,
        413 ms - 1.7 ms a beat a minute.
    """
    peaks = r_peaks_s(rhythm, float(times_s[-1]) if len(times_s) else 0.0)
    beat = np.clip(np.searchsorted(peaks, times_s, side="right") - 1, 0, len(peaks) - 2)
    since = times_s - peaks[beat]
    period = np.diff(peaks)[beat]
    ejection = 0.413 - 0.0017 * np.minimum(60.0 / period, 140.0)
    ends = ejection + RELAXATION_S
    squeeze = np.minimum(1.0, (period - ends) / (RAPID_FILLING_S + ATRIAL_KICK_S))
    early = _rise((since - ends) / (RAPID_FILLING_S * squeeze))
    kick = ATRIAL_KICK_S * squeeze
    late = _rise((since - (period - kick)) / kick)
    left = 1.0 - _rise(since / ejection)
    filled = rhythm.early_share * early + (1.0 - rhythm.early_share) * late
    return np.asarray(np.where(since < ejection, left, filled))


def opening(rhythm: Rhythm, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the mitral valve is open, 0 to 1: it follows the inflow."""
    step = 0.01
    inflow = fullness(rhythm, times_s + step) - fullness(rhythm, np.maximum(times_s - step, 0))
    widest = 1.875 * 2 * step / RAPID_FILLING_S * rhythm.early_share
    return np.asarray(np.sqrt(np.clip(inflow / widest, 0.0, 1.0)))


def _rise(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Go from 0 to 1 with a slope and a curvature of zero at both ends."""
    x = np.clip(share, 0.0, 1.0)
    return np.asarray(x**3 * (x * (6.0 * x - 15.0) + 10.0))
