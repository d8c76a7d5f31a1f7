"""The picture, the times and the scale of a de-identified copy, as DICOM says them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from echocli.intake.loop import CineLoop
from echocli.intake.reasons import Reason, Refused
from echocli.privacy import profile
from echocli.privacy.original import Original, first, values_of

STEADY = 1e-6
"""Steps between frames that differ by less than this share are one step."""
HINTS = ("cine_rate", "recommended_rate")
"""Sources of time that are no facts about the frames (see ``intake.timing``)."""
MOST_TIMES = 8000
"""Times that fit into one element: 64 KiB with 8 bytes each."""


def describe_image(
    copy: Dataset, original: Original, source: Path, loop: CineLoop, clip_id: str
) -> None:
    """Say what the pixels are and how they came about."""
    route = next((w for w in original["ImageType"][2:3] if w in profile.SCAN_ROUTES), "")
    copy.ImageType = ["DERIVED", "PRIMARY", route, "0001"]
    copy.ImageComments = f"clip {clip_id}"
    copy.DerivationDescription = profile.DERIVATION
    copy.SamplesPerPixel = 1
    copy.PhotometricInterpretation = "MONOCHROME2"
    copy.NumberOfFrames, copy.Rows, copy.Columns = loop.frames.shape
    copy.BitsAllocated = copy.BitsStored = 8
    copy.HighBit = 7
    copy.PixelRepresentation = 0
    copy.add_new(tag_for_keyword("PixelPaddingValue"), "US", 0)
    if loop.spacing_mm:
        copy.PixelSpacing = [format_number_as_ds(mm) for mm in loop.spacing_mm]
    _describe_loss(copy, original, source.stat().st_size)


def describe_times(copy: Dataset, original: Original, loop: CineLoop) -> None:
    """Say when each frame was taken, as exactly as the source did and no more.

    Raises:
        Refused: If there are more times than one element holds.
    """
    times = loop.times_s
    if times is not None and loop.time_source not in HINTS:
        steps = np.diff(times) * 1000
        step = steps.mean()
        if np.ptp(steps) <= STEADY * step:
            copy.FrameIncrementPointer = tag_for_keyword("FrameTime")
            copy.FrameTime = format_number_as_ds(float(step))
        else:
            _check_length(len(times))
            copy.FrameIncrementPointer = tag_for_keyword("FrameTimeVector")
            copy.FrameTimeVector = ["0", *(f"{step:.4f}" for step in steps)]
        copy.RecommendedDisplayFrameRate = max(1, round(1000 / step))
    else:  # no time that a reader might take for measured
        _check_length(len(loop.frames))
        copy.FrameIncrementPointer = tag_for_keyword("PageNumberVector")
        copy.PageNumberVector = list(range(1, len(loop.frames) + 1))
        if times is not None:
            copy.CineRate = max(1, round((len(times) - 1) / float(times[-1])))
    if rate := first(original, "HeartRate", profile.FORMS["HeartRate"]):
        copy.HeartRate = rate
    if loop.r_waves_s:
        copy.RWaveTimeVector = [1000 * wave for wave in loop.r_waves_s]


def _check_length(frames: int) -> None:
    if frames > MOST_TIMES:
        raise Refused(Reason.OUT_OF_MEMORY, "too many unevenly timed frames for a DICOM copy")


def describe_region(copy: Dataset, original: Original, loop: CineLoop) -> None:
    """Write the rectangle of the scan; of other regions nothing is left in the picture."""
    region = loop.region
    if region is None:
        return
    item = Dataset()
    item.RegionSpatialFormat = 1
    item.RegionDataType = 1
    item.RegionFlags = 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = region.column0, region.row0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = region.column1 - 1, region.row1 - 1
    # Centimetres, or no unit at all: PS3.3 C.8.5.5.1.15.
    units, (row_cm, column_cm) = 0, (1.0, 1.0)
    if loop.spacing_mm:
        units, (row_cm, column_cm) = 3, (loop.spacing_mm[0] / 10, loop.spacing_mm[1] / 10)
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = column_cm, row_cm
    for before in original["SequenceOfUltrasoundRegions"]:
        corner = [values_of(before, f"RegionLocationMin{axis}0") for axis in ("X", "Y")]
        if corner == [[region.column0], [region.row0]]:
            for keyword in ("ReferencePixelX0", "ReferencePixelY0", "TransducerFrequency"):
                told = first(
                    {keyword: values_of(before, keyword)}, keyword, profile.FORMS[keyword]
                )
                if told:
                    setattr(item, keyword, int(told))
            break
    copy.SequenceOfUltrasoundRegions = [item]


def _describe_loss(copy: Dataset, original: Original, size: int) -> None:
    """Say whether the source had been compressed with loss; the copy loses nothing more."""
    method = profile.LOSSY_METHODS.get(first(original, "TransferSyntaxUID"))
    declared = first(original, "LossyImageCompression", "00|01")
    if not method and declared != "01":
        if declared:
            copy.LossyImageCompression = "00"
        return
    copy.LossyImageCompression = "01"
    ratio = first(original, "LossyImageCompressionRatio", profile.NUMBER)
    colours = int(first(original, "SamplesPerPixel", "[13]") or 1)
    pixels = copy.NumberOfFrames * copy.Rows * copy.Columns * colours
    copy.LossyImageCompressionRatio = ratio or f"{pixels / size:.2f}"
    form = profile.FORMS["LossyImageCompressionMethod"]
    told = first(original, "LossyImageCompressionMethod", form)
    if method or told:
        copy.LossyImageCompressionMethod = method or told
