"""The sector on the grid: what is inside is seen, what is left over is near."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from echocli.clips.contract import DataConfig
from echocli.clips.windows import to_sector, to_video
from echocli.models.augment import AugmentConfig, crop, draw_boxes
from echocli.models.masking import every_place
from echocli.models.sector import (
    choose_places,
    columns_inside,
    nearness,
    share_of,
    share_of_most,
    to_grid,
)

GRID = (2, 4, 5)


def fans(count: int, height: int = 40, width: int = 50) -> np.ndarray:
    """Return fans of several openings that hang from the middle of the upper edge."""
    rows, columns = np.mgrid[:height, :width]
    away = np.abs(columns - width / 2 + 0.5) / (rows + 1)
    reach = np.hypot(rows, columns - width / 2)
    opening = np.linspace(0.2, 0.6, count)[:, None, None]
    return (away < opening) & (reach < height * np.linspace(0.7, 1.0, count)[:, None, None])


def test_a_column_is_inside_if_one_pixel_of_it_is() -> None:
    sector = torch.zeros(2, 8, 10)
    sector[1, 3, 9] = 0.01
    inside = columns_inside(sector, GRID)
    assert not inside[0].any()
    assert inside[1].nonzero().flatten().tolist() == [1 * 5 + 4]


@pytest.mark.parametrize("size", [24, 32, 56])
def test_every_pixel_of_a_column_outside_is_black_also_after_a_crop(size: int) -> None:
    data = DataConfig(frames=3, size=size, mean=(0.0,), std=(1.0,))
    sectors = fans(6, 40, 50)
    frames = np.full((6, 3, 40, 50), 255, np.uint8) * sectors[:, None]
    video = to_video(torch.from_numpy(frames), data)
    sector = to_sector(sectors, data)
    boxes = draw_boxes(6, AugmentConfig(scale=(0.4, 0.9)), torch.Generator().manual_seed(0))
    for seen, known in (
        (video, sector),
        (crop(video, boxes), crop(sector[:, None, None], boxes)[:, 0, 0]),
    ):
        inside = columns_inside(known, (1, size // 8, size // 8))
        brightest = seen.amax(dim=(1, 2)).unfold(1, 8, 8).unfold(2, 8, 8).amax(dim=(3, 4))
        assert torch.equal(brightest.flatten(1) > 0, inside)
        assert 0 < inside.float().mean() < 1


def test_nearness_counts_patches_to_the_nearest_inside() -> None:
    inside = torch.rand(20, 20, generator=torch.Generator().manual_seed(1)) < 0.15
    found = nearness(inside, GRID)
    for row, near in zip(inside, found, strict=True):
        places = row.nonzero().flatten().tolist()
        for column in range(20):
            steps = [
                max(abs(column // 5 - p // 5), abs(column % 5 - p % 5)) for p in places
            ] or [6]
            assert near[column] == 6 - min(steps)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.875])
def test_places_are_equally_many_ascending_and_inside_first(share: float) -> None:
    sector = torch.from_numpy(fans(9)).float()
    places = choose_places(sector, GRID, share, torch.Generator().manual_seed(0))
    assert places.shape == (9, math.ceil(share * 20))
    assert (places.diff(dim=1) > 0).all()
    for chosen, inside in zip(places, columns_inside(sector, GRID), strict=True):
        assert inside[chosen].sum() == min(len(chosen), int(inside.sum()))


def test_what_fills_up_lies_beside_the_sector() -> None:
    sector = torch.zeros(1, 4, 5)
    sector[0, 0, 2] = 1
    places = choose_places(sector, GRID, 6 / 20)
    assert places.tolist() == [[1, 2, 3, 6, 7, 8]]


def test_a_sector_too_large_loses_columns_at_random_and_only_if_asked() -> None:
    sector = torch.ones(64, 4, 5)
    places = choose_places(sector, GRID, 0.5, torch.Generator().manual_seed(0))
    seen = torch.zeros(64, 20).scatter(1, places, 1.0).mean(dim=0)
    assert seen.min() > 0.25
    assert seen.max() < 0.75
    with pytest.raises(ValueError, match="more columns"):
        choose_places(sector, GRID, 0.5)


def test_a_clip_without_a_sector_still_has_places() -> None:
    assert choose_places(torch.zeros(2, 4, 5), GRID, 0.25).shape == (2, 5)


def test_the_whole_grid_is_every_place() -> None:
    sector = torch.from_numpy(fans(3)).float()
    places = choose_places(sector, GRID, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(places, every_place(3, GRID))


def test_shares_are_eighths_that_hold_what_they_must() -> None:
    for columns in (16, 20, 49, 196):
        for count in range(columns + 1):
            share = share_of(count, columns)
            assert share * 8 in range(1, 9)
            assert math.ceil(share * columns) >= count
            assert share == 1 / 8 or (share - 1 / 8) * columns < count


def test_the_share_of_a_training_holds_most_clips_but_not_the_odd_one() -> None:
    inside = torch.arange(16) < torch.tensor([[6]] * 9 + [[16]])
    assert share_of_most(inside) == 3 / 8
    assert share_of_most(inside, most=1.0) == 1.0
    assert share_of_most(inside[-1:]) == 1.0


def test_tokens_go_back_to_their_places_and_the_rest_is_nan() -> None:
    ids = torch.tensor([[0, 7, 39], [1, 2, 3]])
    tokens = torch.arange(24.0).reshape(2, 3, 4)
    grid = to_grid(tokens, ids, GRID).flatten(1, 3)
    for row in range(2):
        for token in range(40):
            where = (ids[row] == token).nonzero().flatten().tolist()
            if where:
                assert torch.equal(grid[row, token], tokens[row, where[0]])
            else:
                assert grid[row, token].isnan().all()
