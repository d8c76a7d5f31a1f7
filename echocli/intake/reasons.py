"""Why a file cannot become a clip."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A word for each way in which one file is unusable; it goes into the quarantine list."""

    STILL = "still"
    TOO_FEW_FRAMES = "too_few_frames"
    STATIC = "static"
    COLOUR_DOPPLER = "colour_doppler"
    SPECTRAL_DOPPLER = "spectral_doppler"
    TISSUE_DOPPLER = "tissue_doppler"
    M_MODE = "m_mode"
    VOLUME = "volume"
    RAW_DATA = "raw_data"
    DUAL_SCREEN = "dual_screen"
    STRUCTURED_REPORT = "structured_report"
    SECONDARY_CAPTURE = "secondary_capture"
    DICOMDIR = "dicomdir"
    NOT_ULTRASOUND = "not_ultrasound"
    NO_IMAGE = "no_image"
    NOT_AN_IMAGE = "not_an_image"
    EMPTY = "empty"
    ARCHIVE = "archive"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"
    NO_DECODER = "no_decoder"
    NO_REGION = "no_region"
    STALE_REGION = "stale_region"
    NO_SECTOR = "no_sector"
    BURNED_IN_TEXT = "burned_in_text"
    DUPLICATE = "duplicate"
    NO_TIME = "no_time"
    OUT_OF_MEMORY = "out_of_memory"
    TOO_SLOW = "too_slow"
    BUG = "bug"


MEANINGS: dict[Reason, str] = {
    Reason.STILL: "a single image, not a loop",
    Reason.TOO_FEW_FRAMES: "too few frames for a clip",
    Reason.STATIC: "the same picture in every frame",
    Reason.COLOUR_DOPPLER: "colour Doppler",
    Reason.SPECTRAL_DOPPLER: "a pulsed- or continuous-wave Doppler spectrum",
    Reason.TISSUE_DOPPLER: "tissue Doppler",
    Reason.M_MODE: "M-mode",
    Reason.VOLUME: "a three-dimensional volume",
    Reason.RAW_DATA: "only the maker's raw data, without a picture; export it again as images",
    Reason.DUAL_SCREEN: "several scans side by side",
    Reason.STRUCTURED_REPORT: "a structured report or another document without pixels",
    Reason.SECONDARY_CAPTURE: "a screen capture",
    Reason.DICOMDIR: "a DICOM directory file, which holds no picture",
    Reason.NOT_ULTRASOUND: "another modality than ultrasound",
    Reason.NO_IMAGE: "DICOM without pixel data",
    Reason.NOT_AN_IMAGE: "neither DICOM nor a video nor a volume",
    Reason.EMPTY: "the file is empty",
    Reason.ARCHIVE: "an archive; unpack it first",
    Reason.UNREADABLE: "the file cannot be opened or its header is broken",
    Reason.TRUNCATED: "the file ends too early",
    Reason.UNDECODABLE: "the pixel data are broken",
    Reason.NO_DECODER: "this machine has no decoder for the compression",
    Reason.NO_REGION: "no region holds tissue",
    Reason.STALE_REGION: "the region does not fit the picture",
    Reason.NO_SECTOR: "no scan sector was found, so text could not be ruled out",
    Reason.BURNED_IN_TEXT: "text may be burned into the scan",
    Reason.DUPLICATE: "the same bytes as another file",
    Reason.NO_TIME: "nothing tells the time between frames",
    Reason.OUT_OF_MEMORY: "the declared picture is larger than the memory allowed for one file",
    Reason.TOO_SLOW: "reading took longer than the time allowed for one file",
    Reason.BUG: "echocli itself failed on this file",
}
"""A few words for people, for each reason."""


class Refused(Exception):  # noqa: N818 (a verdict, not a fault)
    """One file cannot be used; the rest of the batch goes on.

    Args:
        reason: The word for the quarantine list.
        detail: More for people. It must hold no identifier, date, path or file name; if empty,
            the reason's own meaning stands.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail or MEANINGS[reason]

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
