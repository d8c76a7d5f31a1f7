"""Reads the header of a DICOM file into typed values, and checks that its pixels are there."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from echocli.intake.decode_deflated import is_deflated, open_dicom
from echocli.intake.elements import Elements
from echocli.intake.guard import foreign, quiet
from echocli.intake.reasons import Reason, Refused

NATIVE = frozenset(
    {
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    }
)
"""Transfer syntaxes whose pixels are not compressed."""

NEWER_SYNTAXES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}
"""Names, PS3.6 table A-1, of syntaxes that pydicom does not know yet."""

PIXEL_DATA = 0x7FE00010
FIRST_OF_PIXELS = 0x7FE00008
"""Pixels of any kind (floats, doubles, integers), or whatever stands in their place."""

IMAGE_KEYWORDS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
OTHER_KEYWORDS = (
    "SOPClassUID",
    "ImageType",
    "Modality",
    "Manufacturer",
    "PatientID",
    "IssuerOfPatientID",
    "StudyInstanceUID",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "ContentDate",
    "FrameIncrementPointer",
    "FrameTime",
    "FrameTimeVector",
    "ActualFrameDuration",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "StartTrim",
    "StopTrim",
    "HeartRate",
    "RWaveTimeVector",
    "ContrastBolusAgent",
    "InConcatenationTotalNumber",
    "SequenceOfUltrasoundRegions",
    "PixelSpacing",
)
PRIVATE_CREATORS = [group << 16 | 0x10 for group in (0x200D, 0x3001)]
"""First creator of the groups in which Philips keeps raw data and volumes."""
TAGS = [
    *(Tag(keyword) for keyword in (*IMAGE_KEYWORDS, *OTHER_KEYWORDS)),
    *(Tag(creator) for creator in PRIVATE_CREATORS),
]
"""Only these elements are parsed; the rest of the header, names included, is skipped over."""


@dataclass(frozen=True, kw_only=True)
class UltrasoundRegion:
    """One item of the Sequence of Ultrasound Regions, PS3.3 C.8.5.5."""

    spatial_format: int
    """0 none, 1 two-dimensional, 2 M-mode, 3 spectral, 4 wave form, 5 graphics."""
    data_type: int
    """1 tissue, 2 colour flow, 3 pulsed wave, 4 continuous wave, 10 ECG ..."""
    x0: int
    y0: int
    x1: int
    """Inclusive, as all four bounds are."""
    y1: int
    units_x: int
    units_y: int
    delta_x: float
    delta_y: float


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the header of one DICOM file says that intake needs."""

    sop_class: str
    modality: str
    image_type: tuple[str, ...]
    manufacturer: str
    transfer_syntax: str
    frames: int
    rows: int
    columns: int
    samples: int
    photometric: str
    planar_configuration: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    regions: tuple[UltrasoundRegion, ...]
    frame_time_ms: float | None
    frame_time_vector_ms: tuple[float, ...]
    vector_is_named: bool
    """Whether the Frame Increment Pointer names the Frame Time Vector."""
    frame_duration_ms: float | None
    """How long one frame took to acquire."""
    cine_rate_hz: float | None
    recommended_rate_hz: float | None
    trim: tuple[int, int] | None
    """First and last frame to be played, from 1."""
    r_wave_times_ms: tuple[float, ...]
    contrast: bool
    """Whether a contrast agent is named."""
    parts: int
    """Into how many instances the loop was split (a concatenation); 1 if it was not."""
    private_groups: frozenset[int]
    """Groups in which the maker keeps data of his own, of those that matter."""
    pixel_spacing_mm: tuple[float, float] | None
    pixel_offset: int | None
    """Where the pixel data element starts, for ``open_dicom``; ``None`` if there is none."""
    patient_key: str = field(repr=False)
    """Raw identifier of the patient, empty if the header has none."""
    study_key: str = field(repr=False)
    """Raw identifier of the examination, empty if the header has none."""
    study_date: str = field(repr=False)
    """Raw date ``YYYYMMDD``, empty if the header has no true one."""
    dataset: Any = field(repr=False, compare=False)
    """The parsed elements, for the decoders."""

    @property
    def is_compressed(self) -> bool:
        """Whether the pixels are encapsulated."""
        return self.transfer_syntax not in NATIVE

    @property
    def is_deflated(self) -> bool:
        """Whether the whole dataset is compressed; offsets count in what it inflates to."""
        return bool(self.transfer_syntax == DeflatedExplicitVRLittleEndian)


def read_header(path: Path) -> Header:
    """Read a DICOM header up to the pixel data.

    Raises:
        Refused: If the file is broken.
    """
    broken = "the DICOM header is broken"
    with quiet(), foreign(Reason.UNREADABLE, broken), open_dicom(path) as file:
        try:
            # force: some files lack the preamble; the caller has looked at the first bytes.
            dataset = read_partial(file, _after_header, force=True, specific_tags=TAGS)
        except EOFError:
            raise Refused(Reason.TRUNCATED) from None
        except RecursionError:
            raise Refused(Reason.UNREADABLE, "sequences are nested too deep") from None
        position = file.tell()
        if is_deflated(file):
            syntax = str(DeflatedExplicitVRLittleEndian)
        else:
            syntax = _transfer_syntax(dataset)
            if position > path.stat().st_size:  # an element was skipped that is not all there
                raise Refused(Reason.TRUNCATED)
        next_tag = _tag(file.read(4), syntax)
    return _typed(dataset, syntax, position if next_tag == PIXEL_DATA else None, next_tag)


def _after_header(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    """Stop at the pixels, or at what makers put where they belong (GE: group 7FE1)."""
    return int(tag) >= FIRST_OF_PIXELS


def _transfer_syntax(dataset: Any) -> str:  # noqa: ANN401
    declared = Elements(dataset.file_meta).text("TransferSyntaxUID")
    if declared:
        return declared
    implicit, little = dataset.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)


def _tag(found: bytes, syntax: str) -> int | None:
    if len(found) < 4:
        return None
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    group, element = struct.unpack(f"{order}HH", found)
    return int(group << 16 | element)


def _typed(
    dataset: Any,  # noqa: ANN401
    syntax: str,
    pixel_offset: int | None,
    next_tag: int | None,
) -> Header:
    told = Elements(dataset)
    told.drop_broken()
    patient, study = told.text("PatientID"), told.text("StudyInstanceUID")
    issuer = told.text("IssuerOfPatientID")
    sop_class = told.text("SOPClassUID")
    bits = told.integer("BitsAllocated") or 8
    spacing = told.numbers("PixelSpacing")
    groups = {creator >> 16 for creator in PRIVATE_CREATORS if creator in dataset}
    return Header(
        sop_class=sop_class or Elements(dataset.file_meta).text("MediaStorageSOPClassUID"),
        modality=told.text("Modality").upper(),
        image_type=told.texts("ImageType"),
        manufacturer=told.text("Manufacturer"),
        transfer_syntax=syntax,
        frames=told.integer("NumberOfFrames", absent=1),
        rows=told.integer("Rows"),
        columns=told.integer("Columns"),
        samples=told.integer("SamplesPerPixel") or 1,
        photometric=told.text("PhotometricInterpretation").upper(),
        planar_configuration=told.integer("PlanarConfiguration"),
        bits_allocated=bits,
        bits_stored=told.integer("BitsStored") or bits,
        signed=told.integer("PixelRepresentation") == 1,
        regions=tuple(_region(item) for item in told.items("SequenceOfUltrasoundRegions")),
        frame_time_ms=told.number("FrameTime"),
        frame_time_vector_ms=told.numbers("FrameTimeVector"),
        vector_is_named=tag_for_keyword("FrameTimeVector")
        in told.numbers("FrameIncrementPointer"),
        frame_duration_ms=told.number("ActualFrameDuration"),
        cine_rate_hz=told.number("CineRate"),
        recommended_rate_hz=told.number("RecommendedDisplayFrameRate"),
        trim=_trim(told),
        r_wave_times_ms=told.numbers("RWaveTimeVector"),
        contrast=bool(told.text("ContrastBolusAgent")),
        parts=max(told.integer("InConcatenationTotalNumber"), 1),
        private_groups=frozenset(groups | ({next_tag >> 16} if next_tag else set())),
        pixel_spacing_mm=(spacing[0], spacing[1]) if len(spacing) == 2 else None,
        pixel_offset=pixel_offset,
        # The same number given by two hospitals is two patients.
        patient_key=(f"{patient}\n{issuer}" if issuer else patient) if patient else study,
        study_key=study,
        study_date=told.date("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"),
        dataset=dataset,
    )


def _trim(told: Elements) -> tuple[int, int] | None:
    first, last = told.integer("StartTrim"), told.integer("StopTrim")
    return (first, last) if first > 0 and last > 0 else None


def _region(item: Elements) -> UltrasoundRegion:
    return UltrasoundRegion(
        spatial_format=item.integer("RegionSpatialFormat"),
        data_type=item.integer("RegionDataType"),
        x0=item.integer("RegionLocationMinX0", absent=-1),
        y0=item.integer("RegionLocationMinY0", absent=-1),
        x1=item.integer("RegionLocationMaxX1", absent=-1),
        y1=item.integer("RegionLocationMaxY1", absent=-1),
        units_x=item.integer("PhysicalUnitsXDirection"),
        units_y=item.integer("PhysicalUnitsYDirection"),
        delta_x=item.number("PhysicalDeltaX") or 0.0,
        delta_y=item.number("PhysicalDeltaY") or 0.0,
    )


def syntax_name(transfer_syntax: str) -> str:
    """Return the name of a transfer syntax; one that the standard does not know has none."""
    uid = UID(transfer_syntax)
    if uid.name != transfer_syntax:
        return str(uid.name)
    return NEWER_SYNTAXES.get(transfer_syntax, "unknown")
