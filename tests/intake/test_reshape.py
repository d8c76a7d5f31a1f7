"""Crop, square pixels, padding: the scale stays true and the border is not darkened."""

import numpy as np
import pytest
from numpy.typing import NDArray

from echocli.clips.mask_grid import on_frames, spacing_of
from echocli.intake.reshape import Frame


def stored(frame: Frame, masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return masks as whoever asks for them in the frames' pixels gets them."""
    fine, box = frame.masks(masks)
    return on_frames(fine, box, frame.size, frame.size)


def test_a_box_becomes_a_centred_square_with_its_spacing() -> None:
    sector = np.zeros((100, 200), bool)
    sector[10:60, 20:170] = True  # 50 rows of 0.6 mm, 150 columns of 0.4 mm
    frame = Frame.around(sector, 112, (0.6, 0.4))
    assert (frame.height, frame.width) == (56, 112)
    assert frame.spacing_mm == pytest.approx((30 / 56, 60 / 112))
    frames, stored = frame.frames(np.full((2, 100, 200), 77, np.uint8), sector)
    assert frames.shape == (2, 112, 112)
    assert stored[28:84].all()
    assert stored.sum() == 56 * 112
    assert (frames[:, stored] == 77).all()
    assert not frames[:, ~stored].any()


def test_lengths_and_areas_survive_in_millimetres() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        height, width = rng.integers(150, 500, 2)
        spacing = (float(rng.uniform(0.1, 0.6)), float(rng.uniform(0.1, 0.6)))
        y, x = np.mgrid[:height, :width]
        sector = ((y / height - 0.5) ** 2 + (x / width - 0.5) ** 2) < 0.2
        frame = Frame.around(sector, 112, spacing)
        _, stored = frame.frames(np.zeros((1, height, width), np.uint8), sector)
        assert frame.spacing_mm is not None
        before = sector.sum() * spacing[0] * spacing[1]
        after = stored.sum() * frame.spacing_mm[0] * frame.spacing_mm[1]
        assert after == pytest.approx(before, rel=0.02)
        assert frame.spacing_mm[0] == pytest.approx(frame.spacing_mm[1], rel=0.05)


def test_pixels_are_means_of_what_lies_inside() -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (1, 64, 64), dtype=np.uint8)
    whole = np.ones((64, 64), bool)
    small, _ = Frame.around(whole, 16, None).frames(image, whole)
    means = image.reshape(16, 4, 16, 4).mean((1, 3))
    assert np.abs(small[0].astype(float) - means).max() <= 0.51
    half = whole.copy()
    half[:, 30:] = False  # cuts a stored pixel in two
    half[0, 63] = True  # keeps the crop
    small, stored = Frame.around(half, 16, None).frames(
        np.full((1, 64, 64), 200, np.uint8), half
    )
    assert (small[0][stored] == 200).all()
    assert stored[:, 7].all()
    assert not stored[:, 8].any()


def test_nothing_changes_where_the_size_fits() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (3, 112, 112), dtype=np.uint8)
    whole = np.ones((112, 112), bool)
    frame = Frame.around(whole, 112, None)
    assert np.array_equal(frame.frames(image, whole)[0], image)
    masks, box = frame.masks(image)
    assert np.array_equal(masks, image)
    assert on_frames(masks, box, 112, 112) is masks
    assert frame.spacing_mm is None


def test_labels_take_the_value_at_the_centre_and_no_new_one() -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 1, 3], np.uint8), (2, 45, 30))
    frame = Frame.around(np.ones((45, 30), bool), 20, None)
    found = stored(frame, mask)[:, :, 3:16]  # the padding is black
    assert found.shape[1:] == (frame.height, frame.width) == (20, 13)
    for row in range(20):
        for column in range(13):
            centre = int((row + 0.5) * 45 / 20), int((column + 0.5) * 30 / 13)
            assert np.array_equal(found[:, row, column], mask[:, *centre])
    larger = stored(Frame.around(np.ones((45, 30), bool), 64, None), mask)
    assert set(np.unique(larger)) <= {0, 1, 3}


def test_masks_keep_their_own_pixels_unless_they_are_finer_than_anybody_needs() -> None:
    sector = np.zeros((300, 1000), bool)
    sector[10:290, 20:960] = True
    masks = np.random.default_rng(0).integers(0, 4, (2, 300, 1000), dtype=np.uint8)
    frame = Frame.around(sector, 112, (0.3, 0.2))
    fine, box = frame.masks(masks)
    assert np.array_equal(fine, masks[:, 10:290, 21:960:2])  # 940 columns are twice enough
    assert box == (31, 81, 0, 112)
    row_mm, column_mm = spacing_of(fine.shape[1:], box, frame.spacing_mm) or (0.0, 0.0)
    assert (row_mm, column_mm) == pytest.approx((0.3, 0.4))


def test_areas_are_kept_where_structures_meet() -> None:
    """A wall between cavity and background loses nothing to either, however thin it is."""
    y, x = np.mgrid[:600, :600]
    radius = np.hypot(y - 290.3, x - 310.7)
    mask = np.select([radius < 150, radius < 158], [1, 2], 0).astype(np.uint8)
    mask[(y > 400) & (mask == 0)] = 3
    whole = np.ones((600, 600), bool)
    for size in (100, 112, 130):
        frame = Frame.around(whole, size, (0.3, 0.3))
        assert frame.spacing_mm is not None
        seen = stored(frame, mask[None])
        for value in (1, 2, 3):
            before = (mask == value).sum() * 0.3 * 0.3
            assert (seen == value).sum() * np.prod(frame.spacing_mm) == pytest.approx(
                before, rel=0.02
            )


@pytest.mark.parametrize("spacing", [(0.3, 0.3), (0.2, 0.25), (0.5, 0.31)])
def test_a_point_stays_where_it_is_in_millimetres(spacing: tuple[float, float]) -> None:
    """Wherever a spot lies in the picture, its centre of mass keeps its place in the scan."""
    y, x = np.mgrid[:300, :420]
    sector = np.hypot(y + 40, x - 200) < 330
    sector &= np.abs(np.arctan2(x - 200, y + 40)) < 0.6
    frame = Frame.around(sector, 112, spacing)
    assert frame.spacing_mm is not None
    top, left = (112 - frame.height) / 2, (112 - frame.width) / 2
    for row, column in ((120.0, 180.0), (200.5, 250.25), (230.0, 140.7)):
        spot = 255 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 9**2))
        stored, _ = frame.frames(np.rint(spot)[None].astype(np.uint8), sector)
        weights = stored[0] / stored[0].sum(dtype=float)
        place = [
            (weights.sum(1) * np.arange(112)).sum(),
            (weights.sum(0) * np.arange(112)).sum(),
        ]
        found = (
            (place[0] + 0.5 - int(top)) * frame.spacing_mm[0],
            (place[1] + 0.5 - int(left)) * frame.spacing_mm[1],
        )
        true = (
            (row + 0.5 - frame.rows.start) * spacing[0],
            (column + 0.5 - frame.columns.start) * spacing[1],
        )
        assert found == pytest.approx(true, abs=0.1)


def test_a_long_loop_takes_no_memory_beyond_its_clip() -> None:
    import tracemalloc

    frames = np.full((60, 300, 400), 90, np.uint8)
    frame = Frame.around(np.ones((300, 400), bool), 112, (0.3, 0.4))
    tracemalloc.start()
    stored, _ = frame.frames(frames, np.ones((300, 400), bool))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * stored.nbytes + 3 * 300 * 400 * 4
