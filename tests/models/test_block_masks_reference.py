"""Multi-block masks against those that V-JEPA's published code draws."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from echocli.models.block_masks import BlockConfig, block_size, context_and_targets, union

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "vjepa_misc"
pytestmark = pytest.mark.skipif(
    not FIXTURE.exists(), reason="The parity fixtures are not here."
)
KINDS = BlockConfig(blocks=8, scale=0.15), BlockConfig(blocks=2, scale=0.7)


@pytest.fixture(scope="module")
def misc() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FIXTURE / "misc.json").read_text(encoding="utf-8"))
    return loaded


def parsed(name: str) -> tuple[tuple[int, int, int], BlockConfig]:
    """Return the grid and the kind of mask that a name such as ``224px_16f_mask0`` means."""
    size, frames, kind = map(int, re.findall(r"\d+", name))
    return (frames // 2, size // 16, size // 16), KINDS[kind]


def size_of_step(name: str, step: int) -> tuple[int, int, int]:
    grid, config = parsed(name)
    generator = torch.Generator().manual_seed(step)
    return block_size(grid, grid[1] * grid[2], config, generator)


def test_block_sizes_of_every_step_agree(misc: dict[str, Any]) -> None:
    assert len(misc["block_sizes"]) == 12
    for name, sizes in misc["block_sizes"].items():
        for step, size in enumerate(sizes):
            assert size_of_step(name, step) == tuple(size), (name, step)


def drawn_as_published(name: str, step: int, batch: int, places: torch.Generator) -> Tensor:
    """Return masks whose corners are drawn in the published order: row, column, time."""
    grid, config = parsed(name)
    size = size_of_step(name, step)
    rows: list[Tensor] = []
    while len(rows) < batch:
        corners = []
        for _ in range(config.blocks):
            top, left, start = (
                torch.randint(0, grid[axis] - size[axis] + 1, (1,), generator=places).item()
                for axis in (1, 2, 0)
            )
            corners.append([start, top, left])
        mask = union(torch.tensor([corners]), size, grid)
        if not mask.all():
            rows.append(mask)
    return torch.cat(rows)


def test_masks_drawn_in_the_published_order_agree(misc: dict[str, Any]) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    masks = safetensors.load_file(FIXTURE / "masks.safetensors")
    compared = 0
    for name, sampled in misc["sampled"].items():
        if sampled["total"] > 2000:
            continue  # large grids: the same code, slowly
        places = torch.Generator().manual_seed(sampled["torch_manual_seed"])
        for step, counts in enumerate(sampled["counts"]):
            mask = drawn_as_published(name, step, sampled["batch"], places)
            found = context_and_targets(mask, places, truncate="tail")
            assert [ids.shape[1] for ids in found] == counts, (name, step)
            for ids, part in zip(found, ("enc", "pred"), strict=True):
                if f"{name}.it{step}.{part}" in masks:
                    assert torch.equal(ids, masks[f"{name}.it{step}.{part}"].long())
                    compared += 1
    assert compared == 24
