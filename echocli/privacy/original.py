"""What a de-identified copy takes over from the header of its source, still raw."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword

from echocli.intake.guard import FOREIGN_ERRORS, foreign, quiet
from echocli.intake.reasons import Reason

DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
READ = (
    *DATES, "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "PatientSex", "PatientAge", "Manufacturer", "SeriesNumber", "InstanceNumber", "ImageType",
    "HeartRate", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod", "SamplesPerPixel", "ReferencedImageSequence",
    "SequenceOfUltrasoundRegions",
)  # fmt: skip
"""All that is read of the source's header; the loop holds the rest."""
Original = dict[str, list[Any]]
"""Keyword, and the values of the source."""


def read_original(source: Path) -> Original:
    """Read the values that are allowed to matter.

    Raises:
        Refused: If the header is broken.
    """
    tags = [tag_for_keyword(keyword) for keyword in READ]
    with quiet(), foreign(Reason.UNREADABLE, "the DICOM header is broken"):
        header = pydicom.dcmread(
            source, stop_before_pixels=True, force=True, specific_tags=tags
        )
        syntax = str(getattr(header, "file_meta", {}).get("TransferSyntaxUID") or "")
    with quiet():
        original = {keyword: values_of(header, keyword) for keyword in READ}
    return original | {"TransferSyntaxUID": [syntax]}


def values_of(header: Any, keyword: str) -> list[Any]:  # noqa: ANN401
    """Return the values of an element; dirt that cannot be parsed is as good as absent."""
    with contextlib.suppress(*FOREIGN_ERRORS):
        value = header.get(keyword)
        if value is None or value == "":
            return []
        if isinstance(value, str | bytes | int | float) or not hasattr(value, "__iter__"):
            return [value]
        return list(value)
    return []


def first(original: Original, keyword: str, form: str = ".*") -> str:
    """Return the first value as text if it has the form, else an empty one."""
    values = original.get(keyword) or [""]
    text = str(values[0]).strip(" \0")
    return text if re.fullmatch(form, text, re.ASCII | re.DOTALL) else ""
