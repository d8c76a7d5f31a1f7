"""What kind of recording a file is: first by its header, then confirmed by its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.dicom import Header
from echocli.intake.loop import MIN_FRAMES, Region
from echocli.intake.reasons import Reason
from echocli.intake.regions import COLOUR_FLOW, TWO_DIMENSIONAL, is_side_by_side, tissue_regions


class Kind(StrEnum):
    """What a file is."""

    CINE_2D = "2-D cine"
    COLOUR = "colour Doppler"
    PULSED_WAVE = "pulsed-wave Doppler"
    CONTINUOUS_WAVE = "continuous-wave Doppler"
    M_MODE = "M-mode"
    TISSUE_DOPPLER = "tissue Doppler"
    STILL = "still"
    DUAL_SCREEN = "dual screen"
    VOLUME_3D = "3-D volume"
    STRUCTURED_REPORT = "structured report"
    SECONDARY_CAPTURE = "secondary capture"
    VIDEO = "video"
    VOLUME_FILE = "NIfTI or MHD"
    DICOMDIR = "DICOM directory"
    OTHER_DICOM = "other DICOM"
    OTHER = "other"


@dataclass(frozen=True)
class Verdict:
    """The kind of a file, and why it cannot be used, if so."""

    kind: Kind
    reason: Reason | None = None
    detail: str = ""


MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
DOCUMENT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.88.",  # structured reports, key object selections
    "1.2.840.10008.5.1.4.1.1.104.",  # encapsulated PDF, CDA
    "1.2.840.10008.5.1.4.1.1.11.",  # presentation states
    "1.2.840.10008.5.1.4.1.1.9.",  # wave forms
)
SECONDARY_CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"
VOLUME_CLASS = "1.2.840.10008.5.1.4.1.1.6.2"  # Enhanced US Volume Storage
ULTRASOUND_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.3",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.6.1",
)

# Bits of Image Type value 4, PS3.3 C.8.5.6.1.1.
M_MODE_BIT = 0x0002
CONTINUOUS_WAVE_BIT = 0x0004
PULSED_WAVE_BIT = 0x0008
COLOUR_BIT = 0x0010
COLOUR_M_MODE_BIT = 0x0020
VOLUME_BIT = 0x0040
POWER_BIT = 0x0100

# Region Spatial Format and Region Data Type, PS3.3 C.8.5.5.1.1 and .2.
M_MODE_FORMAT = 2
SPECTRAL_FORMAT = 3
CONTINUOUS_WAVE_TYPE = 4


def classify(header: Header) -> Verdict:
    """Return what a DICOM file is by its header alone.

    No single element can be trusted; the regions, which the scanner needs to measure with, are
    believed before the Image Type, which vendors fill as they like.
    """
    verdict = _not_a_scan(header) or _not_two_dimensional(header)
    if verdict:
        return verdict
    if header.frames == 1:
        return Verdict(Kind.STILL, Reason.STILL)
    if _claims_colour(header):
        return Verdict(Kind.COLOUR, Reason.COLOUR_DOPPLER)
    if is_side_by_side(header):
        return Verdict(Kind.DUAL_SCREEN, Reason.DUAL_SCREEN)
    if header.regions and not tissue_regions(header) and _is_other_than_tissue(header):
        return Verdict(Kind.OTHER_DICOM, Reason.NO_REGION)
    if header.frames < MIN_FRAMES:
        return Verdict(Kind.CINE_2D, Reason.TOO_FEW_FRAMES, few(header.frames))
    return Verdict(Kind.CINE_2D)


def _claims_colour(header: Header) -> bool:
    if header.samples == 1 and header.photometric != "PALETTE COLOR":
        return False
    return bool(_mode_bits(header) & (COLOUR_BIT | POWER_BIT)) or any(
        region.spatial_format == TWO_DIMENSIONAL and region.data_type == COLOUR_FLOW
        for region in header.regions
    )


def few(frames: int) -> str:
    """Return the detail of ``too_few_frames``."""
    return f"{frames} frames; a clip needs {MIN_FRAMES}"


def _not_a_scan(header: Header) -> Verdict | None:
    if header.sop_class == MEDIA_DIRECTORY:
        return Verdict(Kind.DICOMDIR, Reason.DICOMDIR)
    if header.sop_class.startswith(DOCUMENT_CLASSES) or header.modality in ("SR", "KO", "PR"):
        return Verdict(Kind.STRUCTURED_REPORT, Reason.STRUCTURED_REPORT)
    is_ultrasound = header.modality == "US" or header.sop_class in ULTRASOUND_CLASSES
    if not is_ultrasound and header.sop_class != VOLUME_CLASS:
        if not header.modality and not header.sop_class and not header.rows:
            return Verdict(Kind.OTHER, Reason.NOT_AN_IMAGE)
        return Verdict(Kind.OTHER_DICOM, Reason.NOT_ULTRASOUND)
    if header.pixel_offset is None:
        cut = Reason.TRUNCATED if header.rows else Reason.NO_IMAGE
        return Verdict(Kind.OTHER_DICOM, cut)
    if header.sop_class.startswith(SECONDARY_CAPTURE_CLASS):
        return Verdict(Kind.SECONDARY_CAPTURE, Reason.SECONDARY_CAPTURE)
    if header.sop_class == VOLUME_CLASS or _mode_bits(header) & VOLUME_BIT:
        return Verdict(Kind.VOLUME_3D, Reason.VOLUME)
    return None


def _not_two_dimensional(header: Header) -> Verdict | None:
    for region in header.regions:
        if region.spatial_format == SPECTRAL_FORMAT:
            continuous = region.data_type == CONTINUOUS_WAVE_TYPE
            kind = Kind.CONTINUOUS_WAVE if continuous else Kind.PULSED_WAVE
            return Verdict(kind, Reason.SPECTRAL_DOPPLER)
        if region.spatial_format == M_MODE_FORMAT:
            return Verdict(Kind.M_MODE, Reason.M_MODE)
    bits = _mode_bits(header)
    if tissue_regions(header):
        # Some vendors write tissue Doppler as two-dimensional, colour and pulsed wave at once.
        if header.frames > 1 and bits & COLOUR_BIT and bits & PULSED_WAVE_BIT:
            return Verdict(Kind.TISSUE_DOPPLER, Reason.TISSUE_DOPPLER)
        return None
    if bits & CONTINUOUS_WAVE_BIT:
        return Verdict(Kind.CONTINUOUS_WAVE, Reason.SPECTRAL_DOPPLER)
    if bits & PULSED_WAVE_BIT:
        return Verdict(Kind.PULSED_WAVE, Reason.SPECTRAL_DOPPLER)
    if bits & (M_MODE_BIT | COLOUR_M_MODE_BIT):
        return Verdict(Kind.M_MODE, Reason.M_MODE)
    return None


def _is_other_than_tissue(header: Header) -> bool:
    """Return whether all regions are of a known kind that is no scan; dirt proves nothing."""
    return all(region.spatial_format not in (0, TWO_DIMENSIONAL) for region in header.regions)


def _mode_bits(header: Header) -> int:
    if len(header.image_type) < 4:
        return 0
    try:
        return int(header.image_type[3], 16)
    except ValueError:  # words such as CARDIOLOGY in value 3 or 4
        return 0


SAMPLES = 12
"""Frames that are looked at for colour and for motion, spread over the loop."""
TINT_TOLERANCE = 40
"""Difference of two colour channels, in grey levels, from what a tint of that grey gives."""
TINT_LEVELS = 11
"""Grey levels, of 32, over which a tint changes slowly."""
COLOUR_SHARE = 0.004
"""Colour Doppler covers more than this share of the region in some frame. Real loops: B-mode at
most 0.0004, tinted or not, with a sweeping green ECG; colour Doppler at least 0.037."""
LINE_SHARE = 45
"""A line is thinner than the height of the region over this."""
LOOK_ROWS = 300
"""Colour is looked for in about this many rows."""
MOTION_LEVELS = 12
MOTION_SHARE = 0.01
"""In a loop that moves, more than this share of the region changes by that many levels."""


def sample_frames(frames: int) -> NDArray[np.int64]:
    """Return the frames to look at: at most ``SAMPLES``, spread evenly."""
    return np.unique(np.linspace(0, frames - 1, min(frames, SAMPLES)).round().astype(np.int64))


def coloured_share(
    grey: NDArray[np.uint8], red_blue: NDArray[np.int16], region: Region | None
) -> float:
    """Return the share of the region that is coloured beyond a tint, in solid patches.

    A tinted grey map gives every grey level one colour; Doppler gives it many. So the median
    colour of each grey level is taken away first. Lines (ECG, box, ruler) are thinner than the
    opening that follows; patches of flow are not.

    Args:
        grey: One frame, ``(height, width)``.
        red_blue: R-G and B-G of that frame, perhaps coarser, ``(2, height, width)``.
        region: Where to look, in pixels of ``grey``; everywhere if ``None``.
    """
    coarse = round(grey.shape[0] / red_blue.shape[1])
    step = coarse * max(1, round(grey.shape[0] / LOOK_ROWS / coarse))
    rows, columns = region.slices if region else (slice(0, None), slice(0, None))
    level = grey[rows, columns][::step, ::step] >> 3
    down, across = (_every(axis, step, coarse) for axis in (rows, columns))
    difference = red_blue[:, down, across]
    height, width = np.minimum(level.shape, difference.shape[1:])
    level, difference = level[:height, :width], difference[:, :height, :width]
    if 2 * np.abs(difference).max(initial=0) <= TINT_TOLERANCE:
        return 0.0  # so grey that no tint could hide anything
    tint = _tint(level, difference)
    coloured = (np.abs(difference - tint[:, level]) > TINT_TOLERANCE).any(axis=0)
    if not coloured.any():
        return 0.0
    side = max(4, round(height / LINE_SHARE))
    solid = ndimage.binary_opening(coloured, np.ones((side, side)))
    return float(solid.mean())


def _tint(level: NDArray[Any], difference: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return R-G and B-G that the grey map gives to each of 32 grey levels.

    A patch of one colour may own a level; it does not own the levels around it, hence the
    running median.
    """
    used = np.unique(level)
    medians = [[np.median(channel[level == value]) for value in used] for channel in difference]
    curves = [np.interp(np.arange(32), used, median) for median in medians]
    smooth = [ndimage.median_filter(curve, TINT_LEVELS, mode="nearest") for curve in curves]
    return np.rint(smooth).astype(np.int16)


def _every(axis: slice, step: int, coarse: int) -> slice:
    """Return the index that reads a coarser plane where ``axis`` is read in steps."""
    stop = None if axis.stop is None else -(-axis.stop // coarse)
    return slice(axis.start // coarse, stop, step // coarse)


def is_colour_doppler(shares: list[float]) -> bool:
    """Return whether the coloured shares of the sampled frames are those of colour Doppler."""
    return max(shares, default=0.0) > COLOUR_SHARE


def is_static(frames: NDArray[np.uint8], region: Region | None) -> bool:
    """Return whether a loop repeats one picture, as a frozen one does."""
    rows, columns = region.slices if region else (slice(None), slice(None))
    sampled = frames[sample_frames(len(frames)), rows, columns]
    span = sampled.max(axis=0) - sampled.min(axis=0)
    return float((span > MOTION_LEVELS).mean()) < MOTION_SHARE
