from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from echocli.intake.dicom import UltrasoundRegion
from echocli.intake.kind import Kind, classify
from echocli.intake.loop import MIN_FRAMES
from echocli.intake.reasons import Reason

TISSUE = UltrasoundRegion(
    spatial_format=1,
    data_type=1,
    x0=0,
    y0=0,
    x1=99,
    y1=99,
    units_x=3,
    units_y=3,
    delta_x=0.1,
    delta_y=0.1,
)
SPECTRUM = replace(TISSUE, spatial_format=3, data_type=3)
MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"


M_MODE = replace(TISSUE, spatial_format=2)
COLOUR_BOX = replace(TISSUE, data_type=2, x0=30, y0=30, x1=60, y1=60)


def without_pixels(group: int) -> dict[str, Any]:
    return {"pixel_offset": None, "rows": 0, "private_groups": frozenset({group})}


def header(**told: Any) -> Any:
    loop = {
        "sop_class": MULTI_FRAME,
        "modality": "US",
        "image_type": ("ORIGINAL", "PRIMARY"),
        "frames": 30,
        "rows": 100,
        "columns": 200,
        "samples": 3,
        "photometric": "YBR_FULL_422",
        "regions": (TISSUE,),
        "pixel_offset": 1000,
        "private_groups": frozenset({0x7FE0}),
    }
    return SimpleNamespace(**{**loop, **told})


def image_type(bits: str) -> tuple[str, ...]:
    return ("ORIGINAL", "PRIMARY", "", bits)


@pytest.mark.parametrize(
    ("told", "kind", "reason"),
    [
        ({}, Kind.CINE_2D, None),
        ({"regions": ()}, Kind.CINE_2D, None),
        ({"image_type": image_type("0001")}, Kind.CINE_2D, None),
        ({"image_type": image_type("CARDIOLOGY")}, Kind.CINE_2D, None),
        ({"frames": 1}, Kind.STILL, Reason.STILL),
        ({"frames": MIN_FRAMES - 1}, Kind.CINE_2D, Reason.TOO_FEW_FRAMES),
        ({"frames": MIN_FRAMES}, Kind.CINE_2D, None),
        ({"image_type": image_type("0011")}, Kind.COLOUR, Reason.COLOUR_DOPPLER),
        ({"image_type": image_type("0100")}, Kind.COLOUR, Reason.COLOUR_DOPPLER),
        (
            {"image_type": image_type("0011"), "samples": 1, "photometric": "MONOCHROME2"},
            Kind.CINE_2D,
            None,
        ),
        ({"regions": (replace(TISSUE, data_type=2),)}, Kind.COLOUR, Reason.COLOUR_DOPPLER),
        ({"image_type": image_type("0019")}, Kind.TISSUE_DOPPLER, Reason.TISSUE_DOPPLER),
        ({"image_type": image_type("0003")}, Kind.TISSUE_DOPPLER, Reason.TISSUE_DOPPLER),
        (
            {"image_type": image_type("0003"), "samples": 1, "photometric": "MONOCHROME2"},
            Kind.CINE_2D,
            None,
        ),
        (
            {"image_type": image_type("0003"), "regions": (TISSUE, M_MODE)},
            Kind.M_MODE,
            Reason.M_MODE,
        ),
        ({"image_type": image_type("0015")}, Kind.COLOUR, Reason.COLOUR_DOPPLER),
        ({"image_type": image_type("0111")}, Kind.COLOUR, Reason.COLOUR_DOPPLER),
        (
            {"regions": (COLOUR_BOX,), "samples": 1, "photometric": "MONOCHROME2"},
            Kind.CINE_2D,
            None,
        ),
        (
            {"regions": (COLOUR_BOX,), "samples": 1, "photometric": "PALETTE COLOR"},
            Kind.COLOUR,
            Reason.COLOUR_DOPPLER,
        ),
        ({"regions": (TISSUE, COLOUR_BOX)}, Kind.COLOUR, Reason.COLOUR_DOPPLER),
        ({"frames": 0}, Kind.OTHER_DICOM, Reason.NO_IMAGE),
        ({"frames": -5}, Kind.OTHER_DICOM, Reason.NO_IMAGE),
        ({"modality": "IVUS"}, Kind.OTHER_DICOM, Reason.NOT_ULTRASOUND),
        (without_pixels(0x7FE1), Kind.RAW_DATA, Reason.RAW_DATA),
        (without_pixels(0x200D), Kind.RAW_DATA, Reason.RAW_DATA),
        (
            {**without_pixels(0), "sop_class": "1.2.840.10008.5.1.4.1.1.66"},
            Kind.RAW_DATA,
            Reason.RAW_DATA,
        ),
        ({"private_groups": frozenset({0x200D, 0x7FE0})}, Kind.CINE_2D, None),
        ({"private_groups": frozenset({0x3001})}, Kind.VOLUME_3D, Reason.VOLUME),
        (
            {"sop_class": "1.2.840.113543.6.6.1.3.10002", "modality": ""},
            Kind.VOLUME_3D,
            Reason.VOLUME,
        ),
        ({"regions": (TISSUE, SPECTRUM)}, Kind.PULSED_WAVE, Reason.SPECTRAL_DOPPLER),
        (
            {"regions": (replace(SPECTRUM, data_type=4),)},
            Kind.CONTINUOUS_WAVE,
            Reason.SPECTRAL_DOPPLER,
        ),
        (
            {"regions": (), "image_type": image_type("0008")},
            Kind.PULSED_WAVE,
            Reason.SPECTRAL_DOPPLER,
        ),
        (
            {"regions": (), "image_type": image_type("0004")},
            Kind.CONTINUOUS_WAVE,
            Reason.SPECTRAL_DOPPLER,
        ),
        ({"regions": (), "image_type": image_type("0002")}, Kind.M_MODE, Reason.M_MODE),
        (
            {"regions": (TISSUE, replace(TISSUE, spatial_format=2)), "frames": 1},
            Kind.M_MODE,
            Reason.M_MODE,
        ),
        (
            {"regions": (TISSUE, replace(TISSUE, x0=100, x1=199))},
            Kind.DUAL_SCREEN,
            Reason.DUAL_SCREEN,
        ),
        ({"regions": (replace(TISSUE, spatial_format=4),)}, Kind.OTHER_DICOM, Reason.NO_REGION),
        ({"regions": (replace(TISSUE, spatial_format=0),)}, Kind.CINE_2D, None),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.6.2"}, Kind.VOLUME_3D, Reason.VOLUME),
        ({"image_type": image_type("0041")}, Kind.VOLUME_3D, Reason.VOLUME),
        (
            {"sop_class": "1.2.840.10008.5.1.4.1.1.7.4"},
            Kind.SECONDARY_CAPTURE,
            Reason.SECONDARY_CAPTURE,
        ),
        (
            {"sop_class": "1.2.840.10008.5.1.4.1.1.88.33", "modality": "SR"},
            Kind.STRUCTURED_REPORT,
            Reason.STRUCTURED_REPORT,
        ),
        ({"sop_class": "1.2.840.10008.1.3.10", "modality": ""}, Kind.DICOMDIR, Reason.DICOMDIR),
        (
            {"sop_class": "1.2.840.10008.5.1.4.1.1.4", "modality": "MR"},
            Kind.OTHER_DICOM,
            Reason.NOT_ULTRASOUND,
        ),
        ({"pixel_offset": None}, Kind.OTHER_DICOM, Reason.TRUNCATED),
        ({"pixel_offset": None, "rows": 0}, Kind.OTHER_DICOM, Reason.NO_IMAGE),
        ({"modality": "", "sop_class": "", "rows": 0}, Kind.OTHER, Reason.NOT_AN_IMAGE),
    ],
)
def test_the_header_tells_the_kind(
    told: dict[str, Any], kind: Kind, reason: Reason | None
) -> None:
    verdict = classify(header(**told))
    assert (verdict.kind, verdict.reason) == (kind, reason)


def test_a_quad_screen_says_how_many_scans_it_shows() -> None:
    quarter = replace(TISSUE, x1=49, y1=49)
    corners = [
        replace(quarter, x0=x, x1=x + 49, y0=y, y1=y + 49) for x in (0, 50) for y in (0, 50)
    ]
    verdict = classify(header(regions=tuple(corners)))
    assert (verdict.kind, verdict.reason) == (Kind.DUAL_SCREEN, Reason.DUAL_SCREEN)
    assert verdict.detail == "4 scans side by side"


@pytest.mark.parametrize("group", [0x7FE1, 0x200D])
def test_raw_data_say_what_to_export(group: int) -> None:
    assert "export" in classify(header(**without_pixels(group))).detail
