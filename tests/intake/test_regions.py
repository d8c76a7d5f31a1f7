from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from echocli.intake.dicom import UltrasoundRegion
from echocli.intake.loop import Region
from echocli.intake.regions import find_scan, scans_side_by_side, tissue_regions

SCAN = UltrasoundRegion(
    spatial_format=1,
    data_type=1,
    x0=84,
    y0=31,
    x1=595,
    y1=414,
    units_x=3,
    units_y=3,
    delta_x=0.05,
    delta_y=0.04,
)
ECG = replace(SCAN, spatial_format=4, data_type=10, y0=420, y1=470)
FRAME = replace(SCAN, spatial_format=0, data_type=0, x0=0, y0=0, x1=639, y1=479)


def header(*regions: UltrasoundRegion, rows: int = 480, columns: int = 640, **told: Any) -> Any:
    return SimpleNamespace(
        regions=regions, rows=rows, columns=columns, **{"pixel_spacing_mm": None, **told}
    )


def test_bounds_are_inclusive_and_rows_come_first() -> None:
    scan = find_scan(header(SCAN))
    assert scan.region == Region(31, 415, 84, 596)
    assert scan.spacing_mm == (pytest.approx(0.4), pytest.approx(0.5))
    assert scan.spacing_source == "region"


@pytest.mark.parametrize("order", [(FRAME, ECG, SCAN), (SCAN, FRAME, ECG), (ECG, SCAN, SCAN)])
def test_the_place_in_the_sequence_does_not_matter(order: Any) -> None:
    assert find_scan(header(*order)) == find_scan(header(SCAN))


def test_a_bound_equal_to_the_side_is_cut() -> None:
    scan = find_scan(header(replace(SCAN, x1=640, y1=480)))
    assert scan.region == Region(31, 480, 84, 640)
    assert scan.spacing_source == "region"


def test_negative_deltas_are_lengths() -> None:
    scan = find_scan(header(replace(SCAN, delta_x=-0.05, delta_y=-0.04)))
    assert scan.spacing_mm == (pytest.approx(0.4), pytest.approx(0.5))


def test_a_shrunk_picture_keeps_true_lengths() -> None:
    whole = find_scan(header(SCAN))
    small = find_scan(header(SCAN, rows=240, columns=320))
    assert small.spacing_source == "region_rescaled"
    assert small.region is not None
    assert whole.region is not None
    assert small.region.source == "region_rescaled"
    assert small.spacing_mm == (pytest.approx(0.8), pytest.approx(1.0))
    for side in ("height", "width"):
        assert getattr(small.region, side) * 2 == pytest.approx(
            getattr(whole.region, side), abs=2
        )


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(350, 500), (100, 90), (120, 160)],  # another aspect; no screen; 160x120 has too many
)
def test_an_unexplained_region_is_not_believed(rows: int, columns: int) -> None:
    stale = replace(SCAN, x1=2500, y1=1900) if columns == 160 else SCAN
    scan = find_scan(header(stale, rows=rows, columns=columns))
    assert (scan.region, scan.spacing_mm, scan.spacing_source) == (None, None, "unknown")


@pytest.mark.parametrize(
    "change",
    [
        {"units_x": 4},
        {"units_y": 0},
        {"delta_x": 0.0},
        {"delta_x": 0.005, "delta_y": 0.005},  # 1.9 cm deep
        {"delta_x": 0.3, "delta_y": 0.3},  # 115 cm deep
    ],
)
def test_an_implausible_scale_leaves_the_box_but_no_millimetres(change: dict[str, Any]) -> None:
    scan = find_scan(header(replace(SCAN, **change)))
    assert scan.region is not None
    assert scan.spacing_mm is None
    assert scan.spacing_source == "unknown"


def test_pixel_spacing_helps_where_no_region_does() -> None:
    scan = find_scan(header(pixel_spacing_mm=(0.3, 0.4)))
    assert (scan.spacing_mm, scan.spacing_source) == ((0.3, 0.4), "pixel_spacing")
    assert find_scan(header(SCAN, pixel_spacing_mm=(0.3, 0.4))).spacing_source == "region"


def test_colour_regions_count_and_doppler_ones_do_not() -> None:
    assert tissue_regions(header(replace(SCAN, data_type=2)))
    assert not tissue_regions(header(replace(SCAN, spatial_format=3, data_type=3), ECG))
    assert not tissue_regions(header(replace(SCAN, x1=10)))


def test_two_scans_beside_each_other_are_noticed() -> None:
    left, right = replace(SCAN, x0=0, x1=300), replace(SCAN, x0=310, x1=620)
    assert scans_side_by_side(header(left, right)) == 2
    assert scans_side_by_side(header(SCAN, SCAN)) == 1
    inset = replace(SCAN, x0=90, x1=200, y0=40, y1=120)
    assert scans_side_by_side(header(SCAN, inset)) == 1
    assert find_scan(header(inset, SCAN)) == find_scan(header(SCAN))


def test_a_bound_a_pixel_outside_is_rounding() -> None:
    assert find_scan(header(replace(SCAN, x1=642))).spacing_source == "region"
    outside = find_scan(header(replace(SCAN, x0=700, x1=900), rows=470, columns=640))
    assert (outside.region, outside.notes) == (None, ("region_ignored",))


def test_two_screens_that_explain_a_region_are_none() -> None:
    # 640 x 480 and 768 x 576 hold it, and it reaches the end of neither.
    stale = replace(SCAN, x1=619, y1=459)
    scan = find_scan(header(stale, rows=240, columns=320))
    assert (scan.spacing_mm, scan.notes) == (None, ("region_ignored",))
    # The strip below the scan tells the screen by its end.
    strip = replace(ECG, x1=639, y1=478)
    told = find_scan(header(stale, strip, rows=240, columns=320))
    assert told.spacing_mm == (pytest.approx(0.8), pytest.approx(1.0))
    assert told.notes == ("region_rescaled",)


def test_a_scale_told_twice_must_be_the_same() -> None:
    again = replace(SCAN, x1=594)
    assert find_scan(header(SCAN, again)).spacing_source == "region"
    other = replace(again, delta_x=0.06)
    scan = find_scan(header(SCAN, other))
    assert scan.region is not None
    assert (scan.spacing_mm, scan.notes) == (None, ("scales_disagree",))


def test_another_box_may_have_another_scale() -> None:
    inset = replace(SCAN, x0=600, x1=639, y0=0, y1=30, delta_x=0.1, delta_y=0.1)
    assert find_scan(header(SCAN, inset)) == find_scan(header(SCAN))


def test_of_two_alike_the_one_with_a_scale_counts() -> None:
    bare = replace(SCAN, units_x=0, units_y=0)
    assert find_scan(header(bare, SCAN)).spacing_mm == find_scan(header(SCAN)).spacing_mm


def test_each_file_has_its_own_scale() -> None:
    near, far = header(SCAN), header(replace(SCAN, delta_x=0.025, delta_y=0.02))
    assert find_scan(far).spacing_mm == (pytest.approx(0.2), pytest.approx(0.25))
    assert find_scan(near).spacing_mm == (pytest.approx(0.4), pytest.approx(0.5))


@pytest.mark.parametrize(
    ("change", "notes"),
    [
        ({"delta_x": 0.005, "delta_y": 0.005}, ("scale_implausible",)),
        ({"delta_x": 0.2, "delta_y": 0.04}, ("scale_implausible",)),  # five times as wide
        ({"units_x": 4}, ()),  # no scale is claimed
    ],
)
def test_doubts_about_the_scale_are_noted(
    change: dict[str, Any], notes: tuple[str, ...]
) -> None:
    assert find_scan(header(replace(SCAN, **change))).notes == notes


def test_pixel_spacing_helps_a_region_without_scale() -> None:
    bare = replace(SCAN, units_x=0, units_y=0)
    scan = find_scan(header(bare, pixel_spacing_mm=(0.3, -0.4)))
    assert scan.spacing_mm == (0.3, 0.4)
    assert scan.region == find_scan(header(SCAN)).region
    assert find_scan(header(pixel_spacing_mm=(0.0, 0.4))).spacing_mm is None


def test_colour_inside_the_scan_is_no_second_scan() -> None:
    box = replace(SCAN, data_type=2, x0=200, y0=100, x1=450, y1=350)
    assert scans_side_by_side(header(SCAN, box)) == 1
    assert scans_side_by_side(header()) == 0
