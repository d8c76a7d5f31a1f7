"""The training loop by hand: it is a generator, so that a notebook can stop and look.

Trains a very small V-JEPA on moving discs, without files.

    python examples/training_loop.py
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from echocli.models.health import health
from echocli.models.methods.base import load
from echocli.models.optim import OptimConfig
from echocli.models.pooling import pool
from echocli.models.training import train
from echocli.models.vit import ViTConfig


def discs(batch: int, frames: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield clips of a disc that beats, for ever."""
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    time = torch.arange(frames) / frames
    while True:
        draw = torch.rand(batch, 4, generator=generator)
        centre = size * (0.3 + 0.4 * draw[:, :2])[:, :, None, None, None]
        beat = 1 + 0.3 * torch.sin(2 * torch.pi * (time + draw[:, 2:3]))
        radius = (size * (0.1 + 0.1 * draw[:, 3:]) * beat)[:, :, None, None]
        inside = (row - centre[:, 0]) ** 2 + (column - centre[:, 1]) ** 2 < radius**2
        yield (inside.float() - 0.1)[:, None]


def main(steps: int = 40) -> list[float]:
    """Train, and return the losses."""
    generator = torch.Generator().manual_seed(0)
    module = load("vjepa")
    shape = ViTConfig(frames=8, size=32, tubelet=(2, 8, 8), dim=48, depth=2, heads=3)
    method = module.build(shape, module.Config(), generator)
    losses = []
    config = OptimConfig(steps=steps, batch=8, warmup_steps=5)
    for record in train(method, discs(8, 8, 32, generator), config, generator):
        losses.append(record.loss)
        if record.step % 10 == 0:
            print(f"step {record.step}: loss {record.loss:.3f}")

    encoder = method.export_encoder().eval()
    with torch.no_grad():
        clips = next(discs(32, 8, 32, generator))
        embeddings = pool(encoder(clips), encoder.grid(clips.shape), "mean_std")
    print(health(embeddings))
    return losses


if __name__ == "__main__":
    main()
