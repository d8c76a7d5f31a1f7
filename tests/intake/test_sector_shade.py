"""A side in the dark is completed where something says so, and never over what stands still."""

import numpy as np
import pytest
from test_sector_shape import Mask, differing, fan, polar, speckle

from echocli.intake.loop import Region
from echocli.intake.motion import motion_of, solid_pieces
from echocli.intake.shape import outline

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


@pytest.mark.parametrize("region", [AROUND, None])
def test_what_stands_still_in_the_dark_is_not_taken_in(region: Region | None) -> None:
    rows, columns = np.indices(TRUTH.shape)
    menu = TRUTH & ~LIT & (ANGLE < -0.55) & (rows % 6 < 4) & (columns % 5 < 3)
    assert not (found(LIT, region, menu) & menu).any()
