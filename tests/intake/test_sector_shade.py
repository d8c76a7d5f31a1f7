"""A side in the dark is completed where something says so, and never over what stands still."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_sector import loop_of
from test_sector_shape import Mask, differing, fan, polar, speckle

from echocli.intake.fan import Fan, best_fan
from echocli.intake.loop import Region
from echocli.intake.motion import motion_of, solid_pieces
from echocli.intake.read import read_loop
from echocli.intake.reasons import Reason, Refused
from echocli.intake.sector import find_sector
from echocli.intake.shape import outline
from echocli.phantoms.dicom import DicomOptions, write_loop
from echocli.phantoms.patient import PhantomConfig, draw_patient
from echocli.phantoms.scanner import Shadow
from echocli.phantoms.screen import draw_screen

TRUTH = fan()
ANGLE, RADIUS = polar(12, 160)
LIT = TRUTH & (ANGLE > -0.45)
"""All but a shadow with an edge as hard as that of a scan."""
AROUND = Region(row0=2, row1=230, column0=10, column1=311)


def found(inside: Mask, region: Region | None = None, drawn: Mask | None = None) -> Mask:
    frames = speckle(inside)
    if drawn is not None:
        frames[:, drawn] = 200
    motion = motion_of(frames)
    return outline(motion, solid_pieces(motion.small()), 1.0, region)[0].mask


def test_a_region_as_wide_on_both_sides_completes_a_hard_edge() -> None:
    assert differing(found(LIT), LIT) < 0.02
    assert differing(found(LIT, AROUND), TRUTH) < 0.03


def test_a_region_that_ends_at_the_edge_or_tells_nothing_does_not() -> None:
    columns = np.flatnonzero(LIT.any(0))
    tight = Region(row0=2, row1=230, column0=int(columns[0]), column1=int(columns[-1]) + 1)
    picture = Region(row0=0, row1=240, column0=0, column1=320)
    assert differing(found(LIT, tight), LIT) < 0.02
    assert differing(found(LIT, picture), LIT) < 0.02


def test_noise_in_the_dark_tells_how_far_the_scan_goes() -> None:
    depths = TRUTH & (RADIUS > 150) & (np.random.default_rng(4).random(TRUTH.shape) < 0.4)
    assert differing(found(LIT | depths), TRUTH) < 0.03


@pytest.mark.parametrize(
    ("lit", "region", "notes"),
    [(TRUTH, AROUND, ()), (LIT, None, ()), (LIT, AROUND, ("side_in_dark",))],
)
def test_a_completed_side_is_told(
    lit: Mask, region: Region | None, notes: tuple[str, ...]
) -> None:
    assert find_sector(loop_of(speckle(lit), region=region)).notes == notes


@pytest.mark.parametrize("region", [AROUND, None])
def test_what_stands_still_in_the_dark_is_not_taken_in(region: Region | None) -> None:
    rows, columns = np.indices(TRUTH.shape)
    menu = TRUTH & ~LIT & (ANGLE < -0.55) & (rows % 6 < 4) & (columns % 5 < 3)
    assert not (found(LIT, region, menu) & menu).any()


@pytest.mark.parametrize("half", [0.1, 0.2])
def test_a_shadow_that_splits_a_scan_belongs_to_it(half: float) -> None:
    lit = TRUTH & ((np.abs(ANGLE - 0.1) > half) | (RADIUS < 25)) & (ANGLE > -0.55)
    assert differing(found(lit, AROUND), TRUTH) < 0.03


def test_scans_side_by_side_are_not_one_split_by_a_shadow() -> None:
    pair = np.zeros_like(TRUTH)
    for column in (80, 240):
        angle, radius = polar(12, column)
        shadow = (np.abs(angle - 0.1) < 0.16) & (radius > 25)
        pair |= (np.abs(angle) < 0.4) & (radius < 200) & ~shadow
    with pytest.raises(Refused) as refused:
        find_sector(loop_of(speckle(pair)))
    assert refused.value.reason is Reason.DUAL_SCREEN


def test_equal_sides_stay_equal_about_the_column_that_halves_them() -> None:
    rows, columns = (axis.ravel().astype(np.float32) for axis in np.indices(TRUTH.shape))
    gain = TRUTH.ravel() - np.float32(0.3)
    score, aside = best_fan(gain, rows, columns, Fan(20.0, 150.0, upright=True), step=8.0)
    assert aside.column == 150.0
    assert -aside.angle0 == aside.angle1
    assert score < best_fan(gain, rows, columns, Fan(20.0, 150.0), step=8.0)[0]


def shadow(angle_deg: float, width_deg: float, loss_db: float, from_mm: float) -> Shadow:
    return Shadow(angle_deg=angle_deg, width_deg=width_deg, loss_db=loss_db, from_mm=from_mm)


@pytest.mark.parametrize(
    ("seed", "index", "size", "quality", "rib"),
    [
        # The seen side fades far from the border, and the first fan is far off.
        (11, 78, (360, 480), 70, shadow(35.3, 10.1, 35.1, 19.0)),
        # Hardly half of it is seen, and a narrower fan from farther away leaves much out.
        (25, 36, (430, 600), 70, shadow(-33.5, 9.8, 34.8, 12.8)),
        # What is seen has its apex aside; what it holds of the dark beyond is no loss.
        (27, 5, (240, 320), 90, None),
        # Rows of bright speckle in a valve's plane, and two shadows along beams: no words.
        (11, 42, (360, 480), 60, shadow(-34.1, 10.9, 17.7, 16.9)),
        (22, 63, (300, 400), 60, shadow(-32.9, 8.2, 20.9, 10.0)),
        (21, 15, (240, 320), 70, None),
        # A bright wall beside the apex, with a few pixels that stand still.
        (31, 33, (300, 400), 90, None),
        (63, 26, (430, 600), 90, None),
        # Calm speckle in a dim cavity, black beside bright grains.
        (42, 26, (430, 600), 90, None),
        # A wall that stands upright where a shadow begins: the picture is not cut off there.
        (52, 20, (240, 320), 95, None),
        # Both sides in the dark but next to the transducer.
        (25, 46, (430, 600), 85, shadow(-36.3037, 9.5161, 43.5487, 9.4646)),
        (28, 66, (430, 600), 80, shadow(-33.1854, 7.8127, 27.1931, 13.5044)),
        # One side in the dark from the transducer on.
        (33, 91, (300, 400), 60, None),
        (63, 122, (360, 480), 80, None),
        # Hardly half of it is seen, and a part of that from no apex of the rest.
        (64, 103, (300, 400), 90, shadow(-29.1280, 5.9124, 31.3271, 24.9915)),
        # Split by shadows, so that no part of it is a fan.
        (27, 82, (360, 480), 90, shadow(29.3097, 5.9606, 27.0117, 13.8382)),
        (34, 93, (300, 400), 75, shadow(-34.2766, 9.4144, 37.1533, 18.5364)),
    ],
)
def test_areas_that_once_erred_by_three_hundredths_and_more_are_true_to_two(
    tmp_path: Path,
    seed: int,
    index: int,
    size: tuple[int, int],
    quality: int,
    rib: Shadow | None,
) -> None:
    config = PhantomConfig(seconds=(0.6, 0.7), frame_rates_hz=(25.0, 30.0))
    patient = draw_patient(seed, index, config)
    if rib is not None:
        patient = replace(patient, scanner=replace(patient.scanner, shadows=(rib,)))
    view = ("A4C", "A2C")[index // 2 % 2]
    screen = draw_screen(patient, view=view, height=size[0], width=size[1])
    write_loop(tmp_path / "x.dcm", patient, screen, DicomOptions(quality=quality))
    truth = screen.place(screen.loop.sector[None].astype(np.uint8))[0] > 0
    found = find_sector(read_loop(tmp_path / "x.dcm")).mask
    assert abs(int(found.sum()) - int(truth.sum())) < 0.02 * truth.sum()
