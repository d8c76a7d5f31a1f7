"""A decoded cine loop, before de-identification. It never leaves the process."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echocli.clips.record import Label

MIN_FRAMES = 8
"""Fewer frames are no loop: at 30-60 Hz less than a quarter of a heartbeat. The shortest real
test cines (dcm4che, dicomParser) have 8."""

NOTES: dict[str, str] = {
    "region_rescaled": "the picture was shrunk after its scale was written; both were mended",
    "region_ignored": "the header's scan region does not fit the picture and was not believed",
    "scale_implausible": "the header's scale would make the scan too shallow or too deep",
    "scales_disagree": "the header tells two scales for the same scan; neither was believed",
    "rate_is_a_hint": "only a playback hint tells the frame rate",
    "rates_disagree": "frame time and playback rate differ by more than a fifth",
    "vector_ignored": "the list of frame times does not fit the frames and was not believed",
    "low_rate": "fewer than 15 frames a second",
    "trimmed": "the header asks players to skip frames at an end; all are kept",
    "offset_table_wrong": "the header tells other places of the frames than there are; they "
    "were taken in the order of the file",
    "damaged_frame": "rows of one frame are unlike those of the frames before and after, as "
    "where a bit was lost",
    "side_in_dark": "a side of the scan lies in the dark and was taken to reach as far as the "
    "other; it may reach farther or less far",
    "much_drawn_over": "more than 2 % of the scan was blacked out as text or graphics; some of "
    "it may be tissue",
    "contrast": "the header names a contrast agent",
    "concatenated": "one of several files into which a loop was split",
}
"""Words for what is doubtful about a loop, its scale, times or sector, and their meanings."""


@dataclass(frozen=True)
class Region:
    """A rectangle of the picture, half-open as Python slices are."""

    row0: int
    row1: int
    column0: int
    column1: int
    source: str = "region"
    """``region`` as the header says, ``region_rescaled`` after mending, ``dataset`` ..."""

    @property
    def height(self) -> int:
        """Rows inside."""
        return self.row1 - self.row0

    @property
    def width(self) -> int:
        """Columns inside."""
        return self.column1 - self.column0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in ``(height, width)``."""
        return slice(self.row0, self.row1), slice(self.column0, self.column1)


@dataclass(frozen=True, kw_only=True)
class CineLoop:
    """Grey frames of one file with all that its header tells; NOT de-identified."""

    frames: NDArray[np.uint8]
    """Luma of ITU-R BT.601 in full range, ``(frames, height, width)``."""
    chroma: NDArray[np.uint8]
    """Largest difference between two of R, G and B over all frames, ``(height, width)``: where
    an ECG trace, coloured text or Doppler was."""
    times_s: NDArray[np.float64] | None
    """Time of each frame in seconds from the first; ``None`` if nothing tells it."""
    time_source: str
    """``frame_time``, ``frame_time_vector``, ``container``, ``cine_rate`` ..., ``unknown``."""
    spacing_mm: tuple[float, float] | None
    """Height and width of a pixel, ``(row_mm, column_mm)``; ``None`` if uncalibrated."""
    spacing_source: str
    """``region``, ``region_rescaled``, ``pixel_spacing``, ``dataset``, ``unknown`` ..."""
    region: Region | None
    """The rectangle of the two-dimensional scan, if anything tells it."""
    patient_key: str = field(repr=False)
    """Raw identifier of the patient, only to be hashed."""
    study_key: str = field(repr=False)
    """Raw identifier of the examination, only to be hashed."""
    sha256: str = field(repr=False)
    """SHA-256 of the file's bytes."""
    study_date: str = field(default="", repr=False)
    """Raw date of the examination, ``YYYYMMDD`` or empty, only to be shifted."""
    r_waves_s: tuple[float, ...] = ()
    """Times of the R waves in seconds from the first frame, rising, only within the loop."""
    r_wave_source: str = "unknown"
    """``header``, ``trace`` (read from the ECG in the picture) or ``unknown``."""
    notes: tuple[str, ...] = ()
    """Doubts about scale, time and frames, words of ``NOTES``; they go into the manifest."""
    labels: dict[str, Label] = field(default_factory=dict)
    """Columns known about this loop, such as ``ef_percent`` or ``split``."""
    masks: NDArray[np.uint8] | None = None
    """Structures, ``(labelled frames, height, width)``, 0 background, 1 LV cavity ..."""
    mask_frames: tuple[int, ...] = ()
    """Which frame each mask belongs to."""
    sector_known: NDArray[np.bool_] | None = None
    """The sector, ``(height, width)``, of data sets that come masked already."""
