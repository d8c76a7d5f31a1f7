"""Reads the header of a DICOM file into typed values, and checks that its pixels are there."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

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

PIXEL_DATA = (0x7FE0, 0x0010)

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
    "FrameIncrementPointer",
    "FrameTime",
    "FrameTimeVector",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "SequenceOfUltrasoundRegions",
    "PixelSpacing",
)
TAGS = [tag_for_keyword(keyword) for keyword in (*IMAGE_KEYWORDS, *OTHER_KEYWORDS)]
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
    cine_rate_hz: float | None
    recommended_rate_hz: float | None
    pixel_spacing_mm: tuple[float, float] | None
    pixel_offset: int | None
    """Where the pixel data element starts in the file; ``None`` if there is none."""
    patient_key: str = field(repr=False)
    """Raw identifier of the patient, empty if the header has none."""
    study_key: str = field(repr=False)
    """Raw identifier of the examination, empty if the header has none."""
    dataset: Any = field(repr=False, compare=False)
    """The parsed elements, for the decoders."""

    @property
    def is_compressed(self) -> bool:
        """Whether the pixels are encapsulated."""
        return self.transfer_syntax not in NATIVE


def read_header(path: Path) -> Header:
    """Read a DICOM header up to the pixel data.

    Raises:
        Refused: If the file is broken.
    """
    broken = "the DICOM header is broken"
    with quiet(), foreign(Reason.UNREADABLE, broken), path.open("rb") as file:
        try:
            # force: some files lack the preamble; the caller has looked at the first bytes.
            dataset = pydicom.dcmread(
                file, stop_before_pixels=True, force=True, specific_tags=TAGS
            )
        except EOFError:
            raise Refused(Reason.TRUNCATED) from None
        position = file.tell()
        syntax = _transfer_syntax(dataset)
        if position > path.stat().st_size:  # an element was skipped that is not all there
            raise Refused(Reason.TRUNCATED)
        found = file.read(4)
        return _typed(dataset, syntax, _pixel_offset(found, position, syntax))


def _transfer_syntax(dataset: Any) -> str:  # noqa: ANN401
    declared = _meta(dataset, "TransferSyntaxUID")
    if declared:
        return declared
    implicit, little = dataset.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)


def _meta(dataset: Any, keyword: str) -> str:  # noqa: ANN401
    meta = getattr(dataset, "file_meta", None)
    return "" if meta is None else str(meta.get(keyword) or "")


def _pixel_offset(found: bytes, position: int, syntax: str) -> int | None:
    if syntax == DeflatedExplicitVRLittleEndian:
        return -1  # inside the compressed stream: the decoder inflates it
    if len(found) < 4:
        return None
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    return position if struct.unpack(f"{order}HH", found) == PIXEL_DATA else None


def _typed(dataset: Any, syntax: str, pixel_offset: int | None) -> Header:  # noqa: ANN401
    spacing = [_number(value) for value in _values(dataset.get("PixelSpacing"))]
    patient = str(dataset.get("PatientID") or "").strip()
    issuer = str(dataset.get("IssuerOfPatientID") or "").strip()
    study = str(dataset.get("StudyInstanceUID") or "").strip()
    vector = [_number(value) for value in _values(dataset.get("FrameTimeVector"))]
    bits = _integer(dataset.get("BitsAllocated")) or 8
    pointer = [int(tag) for tag in _values(dataset.get("FrameIncrementPointer"))]
    row_mm, column_mm = spacing if len(spacing) == 2 else (None, None)
    return Header(
        sop_class=str(dataset.get("SOPClassUID") or _meta(dataset, "MediaStorageSOPClassUID")),
        modality=str(dataset.get("Modality") or "").strip().upper(),
        image_type=tuple(str(value) for value in _values(dataset.get("ImageType"))),
        manufacturer=str(dataset.get("Manufacturer") or "").strip(),
        transfer_syntax=syntax,
        frames=_integer(dataset.get("NumberOfFrames", 1) or 1),
        rows=_integer(dataset.get("Rows")),
        columns=_integer(dataset.get("Columns")),
        samples=_integer(dataset.get("SamplesPerPixel")) or 1,
        photometric=str(dataset.get("PhotometricInterpretation") or "").strip().upper(),
        planar_configuration=_integer(dataset.get("PlanarConfiguration")),
        bits_allocated=bits,
        bits_stored=_integer(dataset.get("BitsStored")) or bits,
        signed=_integer(dataset.get("PixelRepresentation")) == 1,
        regions=tuple(
            _region(item) for item in dataset.get("SequenceOfUltrasoundRegions") or ()
        ),
        frame_time_ms=_number(dataset.get("FrameTime")),
        frame_time_vector_ms=()
        if None in vector
        else tuple(v for v in vector if v is not None),
        vector_is_named=tag_for_keyword("FrameTimeVector") in pointer,
        cine_rate_hz=_number(dataset.get("CineRate")),
        recommended_rate_hz=_number(dataset.get("RecommendedDisplayFrameRate")),
        pixel_spacing_mm=(row_mm, column_mm) if row_mm and column_mm else None,
        pixel_offset=pixel_offset,
        # The same number given by two hospitals is two patients.
        patient_key=(f"{patient}\n{issuer}" if issuer else patient) if patient else study,
        study_key=study,
        dataset=dataset,
    )


def _region(item: Any) -> UltrasoundRegion:  # noqa: ANN401
    def integer(keyword: str) -> int:
        return _integer(item.get(keyword))

    return UltrasoundRegion(
        spatial_format=integer("RegionSpatialFormat"),
        data_type=integer("RegionDataType"),
        x0=integer("RegionLocationMinX0"),
        y0=integer("RegionLocationMinY0"),
        x1=integer("RegionLocationMaxX1"),
        y1=integer("RegionLocationMaxY1"),
        units_x=integer("PhysicalUnitsXDirection"),
        units_y=integer("PhysicalUnitsYDirection"),
        delta_x=_number(item.get("PhysicalDeltaX")) or 0.0,
        delta_y=_number(item.get("PhysicalDeltaY")) or 0.0,
    )


def _values(value: Any) -> list[Any]:  # noqa: ANN401
    """Return the values of an element that may be absent, single or several."""
    if value is None or value == "":
        return []
    if isinstance(value, str | bytes | int | float) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


def _integer(value: Any) -> int:  # noqa: ANN401
    """Return the first value as an integer, 0 if there is none."""
    values = _values(value)
    return int(values[0]) if values and values[0] is not None else 0


def _number(value: Any) -> float | None:  # noqa: ANN401
    """Return the first value as a finite number, or ``None``."""
    values = _values(value)
    if not values or values[0] is None:
        return None
    try:
        number = float(values[0])
    except ValueError:  # dirt such as "--" in one hint must not cost the file
        return None
    return number if math.isfinite(number) else None


def syntax_name(transfer_syntax: str) -> str:
    """Return the name of a transfer syntax; one that the standard does not know has none."""
    uid = UID(transfer_syntax)
    return str(uid.name) if uid.name != transfer_syntax else "unknown"
