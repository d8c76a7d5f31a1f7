"""The table of positions, by its formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from echocli.models.positions import Positions, sincos_3d


def table_by_loops(grid: tuple[int, int, int], dim: int) -> torch.Tensor:
    """One number at a time: n = 2 ceil(dim / 6) channels an axis, sines first, then cut."""
    n = 2 * math.ceil(dim / 6)
    rows = []
    for t in range(grid[0]):
        for i in range(grid[1]):
            for j in range(grid[2]):
                row: list[float] = []
                for place in (t, i, j):
                    omegas = [10_000 ** (-k / (n / 2)) for k in range(n // 2)]
                    row += [math.sin(place * omega) for omega in omegas]
                    row += [math.cos(place * omega) for omega in omegas]
                rows.append(row[:dim])
    return torch.tensor(rows)


@pytest.mark.parametrize("dim", [48, 64, 32, 20])
def test_table_equals_the_formula(dim: int) -> None:
    assert_close(sincos_3d((3, 2, 4), dim), table_by_loops((3, 2, 4), dim))


def test_a_longer_clip_continues_the_positions_of_a_shorter_one() -> None:
    places = 4 * 5
    longer = sincos_3d((6, 4, 5), 48)
    assert torch.equal(longer[: 3 * places], sincos_3d((3, 4, 5), 48))


def test_other_grids_are_computed_and_nothing_is_saved() -> None:
    positions = Positions((2, 4, 4), 48)
    assert torch.equal(positions((2, 4, 4))[0], sincos_3d((2, 4, 4), 48))
    assert torch.equal(positions((3, 5, 6))[0], sincos_3d((3, 5, 6), 48))
    assert positions.state_dict() == {}
