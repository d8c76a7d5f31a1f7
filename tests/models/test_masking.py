"""Masks: what the papers say of them, and that they are fair to every frame."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from echocli.models.masking import draw_ids, tube_ids

GRID = (4, 7, 7)


def test_a_tube_hides_the_same_places_in_every_frame(generator: torch.Generator) -> None:
    ids = tube_ids(16, GRID, 0.9, generator).reshape(16, 4, 5)  # 49 - 44, as published
    assert (ids // 49 == torch.arange(4)[:, None]).all()
    assert (ids % 49 == ids[:, :1] % 49).all()
    assert (ids.diff(dim=2) > 0).all()
    assert len({tuple(row.tolist()) for row in ids[:, 0]}) > 10


def test_something_is_always_visible_and_something_hidden(generator: torch.Generator) -> None:
    assert tube_ids(4, (2, 2, 2), 0.99, generator).shape == (4, 2)
    assert tube_ids(4, (2, 2, 2), 0.01, generator).shape == (4, 2 * 3)
    assert tube_ids(4, (2, 1, 1), 0.5, generator).shape == (4, 2)


def test_every_place_is_visible_equally_often(generator: torch.Generator) -> None:
    ids = tube_ids(4000, (1, 4, 4), 0.75, generator)
    share = torch.bincount(ids.flatten(), minlength=16) / 4000
    assert_close(share, torch.full((16,), 0.25), atol=0.04, rtol=0)


def test_tubes_stay_inside_the_sector_of_their_clip(generator: torch.Generator) -> None:
    places = torch.tensor([[0, 5, 9, 12], [3, 4, 30, 48]])
    ids = tube_ids(40, GRID, 0.5, generator, places).reshape(2, 20, 4, 2)
    for clip, allowed in enumerate(places.tolist()):
        assert set((ids[clip] % 49).flatten().tolist()) == set(allowed)
    assert (ids // 49 == torch.arange(4)[:, None]).all()


def test_draw_takes_each_candidate_equally_often(generator: torch.Generator) -> None:
    candidates = torch.tensor([True, False, True, True, False, True]).expand(6000, -1)
    drawn = draw_ids(candidates, 2, generator)
    share = torch.bincount(drawn.flatten(), minlength=6) / 6000
    assert_close(share, torch.tensor([0.5, 0, 0.5, 0.5, 0, 0.5]), atol=0.04, rtol=0)


def test_same_generator_same_masks() -> None:
    def masks(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return tube_ids(4, GRID, 0.5, generator)

    assert torch.equal(masks(5), masks(5))
    assert not torch.equal(masks(5), masks(6))
