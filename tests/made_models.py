"""Small models and clips with something in them to learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from echocli.models.methods import base
from echocli.models.vit import ViTConfig

MICRO = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=48, depth=2, heads=2)
SMALLER: dict[str, dict[str, Any]] = {
    "discovr": {
        "head_hidden": 64,
        "head_bottleneck": 32,
        "head_outputs": 64,
        "prototypes": 16,
        "mask_ratio": 0.75,
        "video_views": 2,
        "image_views": 2,
    },
    "vjepa": {"locator_hidden": 32, "pairs": 20},
    "videomae": {"mask_ratio": 0.75},
}


def blobs(count: int, seed: int, config: ViTConfig = MICRO) -> Tensor:
    """Clips of a bright blob each, of its own size, place and velocity, on a dark ground."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(count, 5, generator=generator)[:, :, None, None, None]
    start, speed, width = draw[:, :2], draw[:, 2:4] - 0.5, 0.1 + 0.15 * draw[:, 4]
    time = torch.linspace(0, 1, config.frames)[:, None, None]
    place = torch.linspace(0, 1, config.size)
    row = start[:, 0] + speed[:, 0] * time - place[:, None]
    column = start[:, 1] + speed[:, 1] * time - place
    video = torch.exp(-(row**2 + column**2) / (2 * width**2))
    video = video[:, None].expand(-1, config.channels, -1, -1, -1)
    return (video - 0.2) / 0.3


def micro_method(name: str, seed: int = 0, *, levels: int = 1, **changes: Any) -> base.Method:
    """A method on a micro encoder."""
    module = base.load(name)
    config = module.Config(**{**SMALLER.get(name, {}), **changes})
    shape = replace(MICRO, levels=levels)
    return module.build(shape, config, torch.Generator().manual_seed(seed))


def blob_batches(count: int, start: int, stop: int) -> Iterator[Tensor]:
    """One batch a step, decided by the step."""
    return (blobs(count, seed=1000 + step) for step in range(start, stop))
