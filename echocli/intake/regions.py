"""Which rectangle of the picture is the two-dimensional scan, and how large its pixels are."""

from __future__ import annotations

from dataclasses import dataclass

from echocli.intake.dicom import Header, UltrasoundRegion
from echocli.intake.loop import Region

TWO_DIMENSIONAL = 1  # Region Spatial Format, PS3.3 C.8.5.5.1.1
TISSUE = 1  # Region Data Type, PS3.3 C.8.5.5.1.2
COLOUR_FLOW = 2
CENTIMETRES = 3  # Physical Units X/Y Direction, PS3.3 C.8.5.5.1.15

MIN_DEPTH_CM = 3.0
MAX_DEPTH_CM = 35.0
"""A region of the heart is at least as deep as a newborn's and at most as an adult's chest."""

SCREENS = (
    (320, 240),
    (480, 360),
    (512, 384),
    (576, 432),
    (600, 430),
    (636, 436),
    (636, 434),
    (640, 480),
    (720, 480),
    (720, 576),
    (768, 576),
    (800, 564),
    (800, 600),
    (960, 720),
    (1016, 708),
    (1024, 768),
    (1152, 864),
    (1280, 720),
    (1280, 960),
    (1280, 1024),
    (1440, 1080),
    (1600, 1200),
    (1920, 1080),
)
"""Columns and rows that scanners draw on; a smaller copy keeps the regions of one of these."""

ASPECT_TOLERANCE = 0.01
FILLS = 0.8
"""Regions reach at least this share of the screen they were drawn on, across or down."""
TOUCHES = 0.97
"""Regions that reach this share of it end with it."""
OVERSHOOT = 0.01
"""A bound beyond the picture by this share of its side is rounding, not another screen."""
SAME_SCALE = 0.01
"""Two scales of one region that differ by more contradict each other."""
MOST_STRETCHED = 3.0
"""Pixels are at most this much wider than high, or higher than wide."""
SAME = 0.7
"""Two regions that overlap by more than this (intersection over union) are one."""
SIDE_BY_SIDE = 0.25
"""A second scan counts if its area is at least this share of the largest."""


@dataclass(frozen=True)
class Scan:
    """The rectangle of the scan and the size of its pixels."""

    region: Region | None
    spacing_mm: tuple[float, float] | None
    """``(row_mm, column_mm)``."""
    spacing_source: str
    notes: tuple[str, ...] = ()
    """What is doubtful, in words of ``loop.NOTES``."""


def tissue_regions(header: Header) -> list[UltrasoundRegion]:
    """Return the two-dimensional regions, largest first, each once.

    The first item of the sequence is often another one: ACUSON starts with a frame of format 0,
    HP and Philips add ECG strips, Toshiba lists the scan twice. GE types the box that holds
    B-mode and colour as colour flow.
    """
    kept: list[UltrasoundRegion] = []
    for region in sorted(_flat_regions(header), key=_rank, reverse=True):
        if all(_overlap(region, other) < SAME for other in kept):
            kept.append(region)
    return kept


def _flat_regions(header: Header) -> list[UltrasoundRegion]:
    return [
        region
        for region in header.regions
        if region.spatial_format == TWO_DIMENSIONAL
        and region.data_type in (TISSUE, COLOUR_FLOW)
        and region.x1 > region.x0 >= 0
        and region.y1 > region.y0 >= 0
    ]


def _rank(region: UltrasoundRegion) -> tuple[int, bool]:
    """Order regions by size; of two alike, the one with a scale comes first."""
    return _area(region), _claims_centimetres(region)


def scans_side_by_side(header: Header) -> int:
    """Return how many scans the picture shows beside each other: dual, biplane, quad.

    A box within another, such as that of colour flow, is no scan of its own.
    """
    regions = tissue_regions(header)
    apart = [
        region
        for region in regions[1:]
        if _intersection(region, regions[0]) < 0.5 * _area(region)
        and _area(region) >= SIDE_BY_SIDE * _area(regions[0])
    ]
    return len(regions[:1]) + len(apart)


def find_scan(header: Header) -> Scan:
    """Return the rectangle of the scan and its scale.

    A region that leaves the picture is stale: the picture was shrunk after the header was
    written. If exactly one screen explains it, box and scale are mended, which is noted;
    otherwise nothing of it is believed, because a wrong scale is worse than none: the loop
    stays usable, for the sector is found in its pixels, but nothing in it can be measured in
    millimetres. The same holds for a scale that makes the heart a mouse's or an elephant's, or
    that is told twice and differently.
    """
    if header.rows < 1 or header.columns < 1:
        return Scan(None, None, "unknown")
    regions = tissue_regions(header)
    if not regions:
        return _by_pixel_spacing(header, None)
    chosen = regions[0]
    if _fits(chosen, header):
        return _scan(chosen, header, 1.0, "region")
    factor = _shrinkage(header)
    if factor is None:
        return Scan(None, None, "unknown", ("region_ignored",))
    return _scan(chosen, header, factor, "region_rescaled")


def _fits(region: UltrasoundRegion, header: Header) -> bool:
    """Return whether a region lies in the picture; its last bound may equal the side."""
    return (
        region.x1 <= header.columns * (1 + OVERSHOOT)
        and region.y1 <= header.rows * (1 + OVERSHOOT)
        and region.x0 < header.columns - 1
        and region.y0 < header.rows - 1
    )


def _by_pixel_spacing(header: Header, region: Region | None) -> Scan:
    if header.pixel_spacing_mm is not None:
        row_mm, column_mm = (abs(side) for side in header.pixel_spacing_mm)
        if _is_plausible(header.rows * row_mm, header.columns * column_mm, row_mm, column_mm):
            return Scan(region, (row_mm, column_mm), "pixel_spacing")
    return Scan(region, None, "unknown")


def _scan(chosen: UltrasoundRegion, header: Header, factor: float, source: str) -> Scan:
    """Return the region in pixels of the picture, ``factor`` times those of the header."""
    # Inclusive bounds; some scanners write Columns or Rows themselves, hence the minimum.
    region = Region(
        row0=int(chosen.y0 * factor),
        row1=min(round((chosen.y1 + 1) * factor), header.rows),
        column0=int(chosen.x0 * factor),
        column1=min(round((chosen.x1 + 1) * factor), header.columns),
        source=source,
    )
    notes = () if source == "region" else (source,)
    if not _claims_centimetres(chosen):
        return (
            Scan(region, None, "unknown", notes) if notes else _by_pixel_spacing(header, region)
        )
    # Deltas are negative where the axis runs towards smaller coordinates (ACUSON).
    row_mm, column_mm = (10 * abs(d) / factor for d in (chosen.delta_y, chosen.delta_x))
    if not _is_plausible(region.height * row_mm, region.width * column_mm, row_mm, column_mm):
        return Scan(region, None, "unknown", (*notes, "scale_implausible"))
    if _is_contradicted(chosen, header):
        return Scan(region, None, "unknown", (*notes, "scales_disagree"))
    return Scan(region, (row_mm, column_mm), source, notes)


def _claims_centimetres(region: UltrasoundRegion) -> bool:
    units = (region.units_x, region.units_y)
    return units == (CENTIMETRES, CENTIMETRES) and region.delta_x != 0 and region.delta_y != 0


def _is_contradicted(chosen: UltrasoundRegion, header: Header) -> bool:
    """Return whether the same box stands there again with another scale."""
    return any(
        abs(abs(ours) / abs(theirs) - 1) > SAME_SCALE
        for other in _flat_regions(header)
        if _overlap(chosen, other) >= SAME and _claims_centimetres(other)
        for ours, theirs in (
            (chosen.delta_x, other.delta_x),
            (chosen.delta_y, other.delta_y),
        )
    )


def _shrinkage(header: Header) -> float | None:
    """Return picture size over original size, if exactly one screen explains all regions."""
    right = max(region.x1 for region in header.regions)
    bottom = max(region.y1 for region in header.regions)
    aspect = header.columns / header.rows
    reaches = {
        columns: max(right / columns, bottom / rows)
        for columns, rows in SCREENS
        if columns > header.columns
        and abs(columns / rows / aspect - 1) < ASPECT_TOLERANCE
        and right <= columns
        and bottom <= rows
        and max(right / columns, bottom / rows) >= FILLS
    }
    if not reaches:
        return None
    nearest = max(reaches, key=lambda columns: reaches[columns])
    if len(reaches) > 1 and reaches[nearest] < TOUCHES:
        return None
    return header.columns / nearest


def _is_plausible(tall_mm: float, wide_mm: float, row_mm: float, column_mm: float) -> bool:
    """Return whether a scan of this size may be one of a heart."""
    return tall_mm / 10 >= MIN_DEPTH_CM and is_scale(tall_mm, wide_mm, row_mm, column_mm)


def is_scale(tall_mm: float, wide_mm: float, row_mm: float, column_mm: float) -> bool:
    """Return whether a picture of this size, whole or cut out, may be one of a heart."""
    return (
        row_mm > 0
        and column_mm > 0
        and 1 / MOST_STRETCHED <= row_mm / column_mm <= MOST_STRETCHED
        and tall_mm / 10 <= MAX_DEPTH_CM
        and wide_mm / 10 <= 2 * MAX_DEPTH_CM
    )


def _area(region: UltrasoundRegion) -> int:
    return (region.x1 - region.x0 + 1) * (region.y1 - region.y0 + 1)


def _intersection(one: UltrasoundRegion, other: UltrasoundRegion) -> int:
    width = min(one.x1, other.x1) - max(one.x0, other.x0) + 1
    height = min(one.y1, other.y1) - max(one.y0, other.y0) + 1
    return max(width, 0) * max(height, 0)


def _overlap(one: UltrasoundRegion, other: UltrasoundRegion) -> float:
    shared = _intersection(one, other)
    return shared / (_area(one) + _area(other) - shared)
