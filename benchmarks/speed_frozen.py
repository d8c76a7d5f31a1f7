"""What frozen blocks save: our step of V-JEPA with 16 of 24 blocks frozen, beside all trained.

python benchmarks/speed_frozen.py
python benchmarks/speed_frozen.py --quick
python benchmarks/speed_frozen.py --device cuda --steps 20
"""

from __future__ import annotations

from pathlib import Path

import torch
from side_by_side import Figures, Rival, Row, Turn, arguments, ours, run


def measure(folder: Path, turn: Turn) -> Figures:
    """Train a few steps on noise, always with the same masks."""
    from echocli.models.methods.vjepa import Config, build
    from echocli.models.vit import ViTConfig

    shape = turn.shape
    vit = ViTConfig.named(shape["vit"], frames=shape["frames"], size=shape["size"])
    config = Config(frozen_blocks=turn.options["frozen"])
    method = build(vit, config, torch.Generator().manual_seed(0))
    draws = method.draw(shape["batch"], vit.grid, torch.Generator().manual_seed(1))
    size = (shape["batch"], 1, shape["frames"], shape["size"], shape["size"])
    clips = torch.randn(size, generator=torch.Generator().manual_seed(2))
    return ours(method, clips, draws, turn)


def rows(quick: bool, device: str) -> list[Row]:
    """Return what is measured."""
    vit, frames, size, blocks = ("tiny", 4, 64, 8) if quick else ("large", 16, 224, 16)
    batch = 24 if device == "cuda" else 1
    frozen = f"{blocks} blocks frozen"
    return [
        Row(
            name=f"ViT-{vit} {frames} f {size} px, batch {batch}",
            shape={"vit": vit, "frames": frames, "size": size, "batch": batch},
            rivals=[
                Rival(name="all trained", measure=measure, options={"frozen": 0}),
                Rival(name=frozen, measure=measure, options={"frozen": blocks}),
            ],
            targets={frozen: "1.18x"},
        )
    ]


if __name__ == "__main__":
    OPTIONS = arguments(__doc__ or "", public=False).parse_args()
    run(rows(OPTIONS.quick, OPTIONS.device), OPTIONS)
