from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from echocli.intake.dicom import UltrasoundRegion
from echocli.intake.kind import (
    COLOUR_SHARE,
    Kind,
    classify,
    coloured_share,
    is_static,
    sample_frames,
)
from echocli.intake.loop import MIN_FRAMES, Region
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


def speckle(rows: int = 240, columns: int = 320) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 200, (rows, columns), dtype=np.uint8)


def tinted(grey: NDArray[np.uint8]) -> NDArray[np.int16]:
    """R-G and B-G of a strong sepia map."""
    red = np.minimum(grey * 1.4, 255)
    blue = grey * 0.5
    return np.stack([red - grey, blue - grey]).astype(np.int16)


def test_a_tint_is_no_doppler_however_strong() -> None:
    grey = speckle()
    difference = tinted(grey)
    assert np.abs(difference).max() > 90
    assert coloured_share(grey, difference, None) == 0


def test_flow_is_seen_on_a_tint_and_at_half_the_size() -> None:
    grey = speckle()
    difference = tinted(grey)
    difference[:, 100:140, 100:140] = [[[150]], [[-20]]]
    found = coloured_share(grey, difference, None)
    assert found == pytest.approx(1600 / grey.size, rel=0.25)
    assert found > COLOUR_SHARE
    half = coloured_share(grey, difference[:, ::2, ::2], None)
    assert half == pytest.approx(found, rel=0.25)


def test_lines_and_colour_outside_the_region_do_not_count() -> None:
    grey = speckle()
    difference = np.zeros((2, *grey.shape), dtype=np.int16)
    difference[:, 200:203, :] = 120  # an ECG trace
    difference[:, :, 150:152] = 120  # the edge of a box
    difference[:, :60, :40] = 120  # a colour bar
    region = Region(61, 240, 41, 320)
    assert coloured_share(grey, difference, region) < COLOUR_SHARE
    assert coloured_share(grey, difference, None) > COLOUR_SHARE


def test_a_frozen_loop_is_static_even_with_compression_noise() -> None:
    noise = np.random.default_rng(3).integers(-4, 5, (20, 240, 320))
    frozen = np.clip(speckle()[None] // 2 + 30 + noise, 0, 255).astype(np.uint8)
    assert is_static(frozen, None)
    moving = frozen.copy()
    moving[10:, 100:160, 100:160] += 40
    assert not is_static(moving, None)
    assert is_static(moving, Region(0, 90, 0, 320))


def test_samples_span_the_loop() -> None:
    for frames in (1, 2, 12, 13, 500):
        chosen = sample_frames(frames)
        assert chosen[0] == 0
        assert chosen[-1] == frames - 1
        assert len(set(chosen.tolist())) == len(chosen) == min(frames, 12)
