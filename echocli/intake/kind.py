"""What kind of recording a file is, by its header; ``looks`` confirms it by the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from echocli.intake.decode_palette import colour_table
from echocli.intake.dicom import Header
from echocli.intake.loop import MIN_FRAMES
from echocli.intake.reasons import Reason, Refused
from echocli.intake.regions import (
    COLOUR_FLOW,
    TWO_DIMENSIONAL,
    scans_side_by_side,
    tissue_regions,
)


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
    RAW_DATA = "raw data"
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
RAW_DATA_CLASS = "1.2.840.10008.5.1.4.1.1.66"
VOLUME_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.6.2",  # Enhanced US Volume Storage
    "1.2.840.113543.6.6.1.3.10001",  # Philips Live 3D, also what QLAB exports as Cartesian
    "1.2.840.113543.6.6.1.3.10002",
)
ULTRASOUND_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.3",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.6.1",
)

# Groups in which makers keep data of their own.
GE_MOVIES = 0x7FE1
PHILIPS_NATIVE = 0x200D
PHILIPS_VOLUMES = 0x3001
RAW_DATA_REMEDY = {
    GE_MOVIES: "GE's raw data only; export it again as DICOM images, with or without raw data",
    PHILIPS_NATIVE: "Philips' native data only; export it again as standard DICOM images",
}

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
    believed before the Image Type, which vendors fill as they like. Ultrasound Color Data
    Present proves nothing: it is 1 on B-mode with a green ECG (HP, Toshiba).
    """
    verdict = _not_a_scan(header) or _not_two_dimensional(header)
    if verdict:
        return verdict
    if header.frames < 1:
        return Verdict(Kind.OTHER_DICOM, Reason.NO_IMAGE, "the number of frames is broken")
    if header.frames == 1:
        return Verdict(Kind.STILL, Reason.STILL)
    if _claims_colour(header):
        return Verdict(Kind.COLOUR, Reason.COLOUR_DOPPLER)
    scans = scans_side_by_side(header)
    if scans > 1:
        return Verdict(Kind.DUAL_SCREEN, Reason.DUAL_SCREEN, f"{scans} scans side by side")
    if header.regions and not tissue_regions(header) and _is_other_than_tissue(header):
        return Verdict(Kind.OTHER_DICOM, Reason.NO_REGION)
    if header.frames < MIN_FRAMES:
        return Verdict(Kind.CINE_2D, Reason.TOO_FEW_FRAMES, few(header.frames))
    return Verdict(Kind.CINE_2D)


def _claims_colour(header: Header) -> bool:
    flow = (
        region.spatial_format == TWO_DIMENSIONAL and region.data_type == COLOUR_FLOW
        for region in header.regions
    )
    claimed = bool(_mode_bits(header) & (COLOUR_BIT | POWER_BIT)) or any(flow)
    return claimed and not _is_grey(header)


def _is_grey(header: Header) -> bool:
    return header.samples == 1 and header.photometric != "PALETTE COLOR"


def mode_is_untold(header: Header) -> bool:
    """Return whether only the pixels tell a scan in colours from colour Doppler.

    Tinted scans and coloured marks have colours, too: Image Type value 4 tells the mode. Who
    leaves it out (HP, converters) leaves it out of both alike.
    """
    if _is_grey(header) or _mode_bits(header):
        return False
    if header.photometric != "PALETTE COLOR":
        return True
    try:
        table = colour_table(header)
    except Refused:  # a JPEG picture may bring colours of its own
        return True
    return bool((table != table[:, :1]).any())


def few(frames: int) -> str:
    """Return the detail of ``too_few_frames``."""
    return f"{frames} frames; a clip needs {MIN_FRAMES}"


def _not_a_scan(header: Header) -> Verdict | None:
    if header.sop_class == MEDIA_DIRECTORY:
        return Verdict(Kind.DICOMDIR, Reason.DICOMDIR)
    if header.sop_class.startswith(DOCUMENT_CLASSES) or header.modality in ("SR", "KO", "PR"):
        return Verdict(Kind.STRUCTURED_REPORT, Reason.STRUCTURED_REPORT)
    if header.sop_class in VOLUME_CLASSES:
        return Verdict(Kind.VOLUME_3D, Reason.VOLUME)
    if header.modality == "IVUS":
        intravascular = "ultrasound from within a vessel"
        return Verdict(Kind.OTHER_DICOM, Reason.NOT_ULTRASOUND, intravascular)
    if header.modality != "US" and header.sop_class not in ULTRASOUND_CLASSES:
        if not header.modality and not header.sop_class and not header.rows:
            return Verdict(Kind.OTHER, Reason.NOT_AN_IMAGE)
        return Verdict(Kind.OTHER_DICOM, Reason.NOT_ULTRASOUND)
    if header.pixel_offset is None:
        return _without_pixels(header)
    if header.sop_class.startswith(SECONDARY_CAPTURE_CLASS):
        return Verdict(Kind.SECONDARY_CAPTURE, Reason.SECONDARY_CAPTURE)
    if PHILIPS_VOLUMES in header.private_groups or _mode_bits(header) & VOLUME_BIT:
        return Verdict(Kind.VOLUME_3D, Reason.VOLUME)
    return None


def _without_pixels(header: Header) -> Verdict:
    for group, remedy in RAW_DATA_REMEDY.items():
        if group in header.private_groups:
            return Verdict(Kind.RAW_DATA, Reason.RAW_DATA, remedy)
    if header.sop_class == RAW_DATA_CLASS:
        return Verdict(Kind.RAW_DATA, Reason.RAW_DATA)
    return Verdict(Kind.OTHER_DICOM, Reason.TRUNCATED if header.rows else Reason.NO_IMAGE)


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
        if header.frames > 1 and not _is_grey(header) and _is_tissue_doppler(bits):
            return Verdict(Kind.TISSUE_DOPPLER, Reason.TISSUE_DOPPLER)
        return None
    if bits & CONTINUOUS_WAVE_BIT:
        return Verdict(Kind.CONTINUOUS_WAVE, Reason.SPECTRAL_DOPPLER)
    if bits & PULSED_WAVE_BIT:
        return Verdict(Kind.PULSED_WAVE, Reason.SPECTRAL_DOPPLER)
    if bits & (M_MODE_BIT | COLOUR_M_MODE_BIT):
        return Verdict(Kind.M_MODE, Reason.M_MODE)
    return None


def _is_tissue_doppler(bits: int) -> bool:
    """Return whether a loop of one scan has bits that vendors use for tissue Doppler.

    It has no bit of its own. Some write it as two-dimensional, colour and pulsed wave at once
    (0019), others as two-dimensional and M-mode (0003), without a region of either kind.
    """
    return (bits & COLOUR_BIT != 0 and bits & PULSED_WAVE_BIT != 0) or bits == 0x0003


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
