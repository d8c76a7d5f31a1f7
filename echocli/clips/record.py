"""A clip: what is kept of one cine loop once nothing in it names a person."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echocli.clips.mask_grid import Box

Label = str | float | int | bool | None
"""A value of a label column."""

STRUCTURES = {1: "lv_cavity", 2: "lv_myocardium", 3: "left_atrium"}
"""Mask values, as CAMUS numbers them; 0 is background."""


RATE_DIGITS = 6
"""Behind the point of a frame rate: times of 50 Hz add up to 49.99999999999999 Hz, which is no
other rate."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """De-identified frames of one cine loop, with their time, scale and labels."""

    clip_id: str
    """Keyed hash of the source."""
    patient_id: str
    """Keyed hash of the patient."""
    study_id: str
    """Keyed hash of the examination."""
    source_sha256: str
    """Keyed hash of the source's SHA-256, so that a guessed file cannot be confirmed."""
    frames: NDArray[np.uint8]
    """Grey, ``(frames, height, width)``, black outside the sector."""
    sector: NDArray[np.bool_]
    """Where the scan is, ``(height, width)``."""
    times_s: NDArray[np.float64] | None
    """Time of each frame in seconds from the first; ``None`` if nothing told it."""
    time_source: str
    """What told the times: ``frame_time``, ``container``, ``assumed``, ``unknown`` ..."""
    spacing_mm: tuple[float, float] | None
    """Height and width of a stored pixel, after crop and resize."""
    spacing_source: str
    """What told the spacing: ``region``, ``header``, ``assumed``, ``unknown`` ..."""
    labels: dict[str, Label] = field(default_factory=dict)
    """Further columns of the manifest, such as ``ef_percent`` or ``split``."""
    masks: NDArray[np.uint8] | None = None
    """Structures (see ``STRUCTURES``), ``(labelled frames, height, width)`` in pixels of their
    own, which may be finer than those of the frames."""
    mask_frames: tuple[int, ...] = ()
    """Which frame each mask belongs to."""
    mask_box: Box | None = None
    """Where in a frame the masks lie; ``None`` if they cover all of it."""
    r_waves_s: tuple[float, ...] = ()
    """Times of the ECG's R waves, in seconds from the first frame."""
    r_wave_source: str = "unknown"
    """What told them: ``header``, ``trace`` or ``unknown``."""
    study_date: str | None = None
    """Shifted day of the examination, ``YYYY-MM-DD``; ``None`` if dates are dropped."""
    notes: tuple[str, ...] = ()
    """Doubts and repairs, in the program's own words, such as ``region_rescaled``."""


def word_of(value: object) -> str:
    """Return a label as a word: truth values and whole numbers always the same way."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def mean_rate_hz(times_s: NDArray[np.float64] | None) -> float | None:
    """Return the mean number of frames a second; ``None`` where no two times are known."""
    if times_s is None or len(times_s) < 2 or times_s[-1] <= times_s[0]:
        return None
    return round(float((len(times_s) - 1) / (times_s[-1] - times_s[0])), RATE_DIGITS)
