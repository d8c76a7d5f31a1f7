"""V-JEPA as first published: ``vitl16.pth.tar`` and its like."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from ..positions import sincos_3d
from ..shapes import Grid
from ._vjepa import TABLE, branch_prefix, convert_family, generation, square_grids
from .base import Converted, Found, KeysError, Wish

LABEL = "V-JEPA"
LICENCE = "CC BY-NC 4.0 (not for commercial use)"
SOURCE = "Bardes et al. 2024, arXiv 2404.08471; github.com/facebookresearch/jepa"


def recognises(found: Found) -> bool:
    """Return whether a file is of this format."""
    return generation(found) == "vjepa"


def convert(found: Found, wish: Wish) -> Converted:
    """Turn a file's tensors into ours; other sizes interpolate the published table."""
    branch, prefix = branch_prefix(found.tensors, wish.branch)
    name = f"{f'{branch}.' if prefix is None else prefix}{TABLE}"
    if name not in found.tensors:
        raise KeysError([name], [])
    grid, uniform = drawn_as(found.tensors[name])
    kernel = found.tensors[f"{prefix}patch_embed.proj.weight"].shape
    return convert_family(
        found,
        wish,
        renamed={},
        not_needed={TABLE: "the table of positions: computed, and equal to ours"},
        usual=(grid[0] * kernel[2], grid[1] * kernel[3]),
        drawn_for=grid,
        uniform_power=uniform,
    )


def drawn_as(table: Tensor) -> tuple[Grid, bool]:
    """Return the grid that a table was drawn for, and whether its axes have equal shares.

    Raises:
        ValueError: If it is a table of neither kind for any grid.
    """
    grids = square_grids(table.shape[1])
    if table.is_meta:
        return grids[0], True
    for grid, uniform in product(grids, (True, False)):
        ours = sincos_3d(grid, table.shape[2], uniform=uniform)
        if ours.shape == table.shape[1:] and torch.allclose(
            ours, table[0].float(), rtol=0, atol=1e-5
        ):
            return grid, uniform
    raise ValueError(
        "The table of positions in pos_embed is not the published one, so this encoder would "
        "not compute what it was trained to."
    )
