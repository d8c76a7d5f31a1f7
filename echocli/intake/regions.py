"""Which rectangle of the picture is the two-dimensional scan, and how large its pixels are."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
"""A region reaches at least this share of the screen it was drawn on, across or down."""
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


def tissue_regions(header: Header) -> list[UltrasoundRegion]:
    """Return the two-dimensional regions, largest first, each once.

    The first item of the sequence is often another one: ACUSON starts with a frame of format 0,
    HP and Philips add ECG strips, Toshiba lists the scan twice.
    """
    flat = [
        region
        for region in header.regions
        if region.spatial_format == TWO_DIMENSIONAL
        and region.data_type in (TISSUE, COLOUR_FLOW)
        and region.x1 > region.x0 >= 0
        and region.y1 > region.y0 >= 0
    ]
    kept: list[UltrasoundRegion] = []
    for region in sorted(flat, key=_area, reverse=True):
        if all(_overlap(region, other) < SAME for other in kept):
            kept.append(region)
    return kept


def is_side_by_side(header: Header) -> bool:
    """Return whether the picture shows several scans beside each other."""
    regions = tissue_regions(header)
    return any(
        _intersection(region, regions[0]) < 0.5 * _area(region)
        and _area(region) >= SIDE_BY_SIDE * _area(regions[0])
        for region in regions[1:]
    )


def find_scan(header: Header) -> Scan:
    """Return the rectangle of the scan and its scale.

    A region that leaves the picture is stale: the picture was shrunk after the header was
    written. If one screen size explains it, box and scale are mended; otherwise nothing of it
    is believed, because a wrong scale is worse than none.
    """
    if header.rows < 1 or header.columns < 1:
        return Scan(None, None, "unknown")
    regions = tissue_regions(header)
    if regions:
        chosen = regions[0]
        if chosen.x1 <= header.columns and chosen.y1 <= header.rows:
            return _scan(chosen, header, 1.0, "region")
        factor = _shrinkage(chosen, header)
        if factor is not None:
            return _scan(chosen, header, factor, "region_rescaled")
        return Scan(None, None, "unknown")
    spacing = header.pixel_spacing_mm
    if spacing and _is_depth(header.rows * abs(spacing[0]) / 10):
        return Scan(None, (abs(spacing[0]), abs(spacing[1])), "pixel_spacing")
    return Scan(None, None, "unknown")


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
    # Deltas are negative where the axis runs towards smaller coordinates (ACUSON).
    row_mm, column_mm = (10 * abs(d) / factor for d in (chosen.delta_y, chosen.delta_x))
    calibrated = (
        (chosen.units_x, chosen.units_y) == (CENTIMETRES, CENTIMETRES)
        and row_mm > 0
        and column_mm > 0
        and _is_depth(region.height * row_mm / 10)
        and region.width * column_mm / 10 <= 2 * MAX_DEPTH_CM
    )
    if not calibrated:
        return Scan(replace(region), None, "unknown")
    return Scan(region, (row_mm, column_mm), source)


def _shrinkage(chosen: UltrasoundRegion, header: Header) -> float | None:
    """Return picture size over original size, if exactly one kind of screen explains it."""
    aspect = header.columns / header.rows
    for columns, rows in sorted(SCREENS):
        if (
            columns > header.columns
            and abs(columns / rows / aspect - 1) < ASPECT_TOLERANCE
            and chosen.x1 <= columns
            and chosen.y1 <= rows
        ):
            # The smallest screen that holds the region; it must also be filled by it.
            reach = max(chosen.x1 / columns, chosen.y1 / rows)
            return header.columns / columns if reach >= FILLS else None
    return None


def _is_depth(centimetres: float) -> bool:
    return MIN_DEPTH_CM <= centimetres <= MAX_DEPTH_CM


def _area(region: UltrasoundRegion) -> int:
    return (region.x1 - region.x0 + 1) * (region.y1 - region.y0 + 1)


def _intersection(one: UltrasoundRegion, other: UltrasoundRegion) -> int:
    width = min(one.x1, other.x1) - max(one.x0, other.x0) + 1
    height = min(one.y1, other.y1) - max(one.y0, other.y0) + 1
    return max(width, 0) * max(height, 0)


def _overlap(one: UltrasoundRegion, other: UltrasoundRegion) -> float:
    shared = _intersection(one, other)
    return shared / (_area(one) + _area(other) - shared)
