"""A step of V-JEPA, ours beside the published one: processor time and memory.

The published training runs as it is, from github.com/facebookresearch/jepa at 51c59d5: its
``main`` with its models, masks, optimiser, statistics and moving average. Left out, in its
favour, are the reading of videos and the wrapper for several machines. Ours starts from its
weights, sees its clips and masks, and must compute its loss. Frozen blocks are ours alone.

    git clone https://github.com/facebookresearch/jepa && git -C jepa checkout 51c59d5
    python benchmarks/speed_vjepa.py --public jepa
    python benchmarks/speed_vjepa.py --public jepa --quick
    python benchmarks/speed_vjepa.py --public jepa --device cuda --steps 20
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from side_by_side import (
    Enough,
    Figures,
    Rival,
    Row,
    Stream,
    Turn,
    arguments,
    ours,
    run,
    stand_in,
)
from torch import Tensor, nn

from echocli.models.methods.vjepa import Config, build
from echocli.models.vit import ViTConfig

Batch = tuple[Any, list[Tensor], list[Tensor]]
"""Clips, tokens to see and tokens to predict, as the published loader gives them."""
Collator = Callable[[list[Tensor]], Batch]
MASKS_TRIED = 9
"""Masks of which the one of median length is used."""
FROZEN = 16
"""Blocks of 24 (Ellis et al. 2025)."""
SETTINGS: dict[str, Any] = {
    "data_aug": {},
    "loss": {"loss_exp": 1.0, "reg_coeff": 0.0},
    "mask": [
        {
            "aspect_ratio": (0.75, 1.5),
            "num_blocks": blocks,
            "spatial_scale": (scale, scale),
            "temporal_scale": (1.0, 1.0),
            "max_temporal_keep": 1.0,
            "max_keep": None,
        }
        for blocks, scale in ((8, 0.15), (2, 0.7))
    ],
    "meta": {"load_checkpoint": False, "seed": 234, "use_sdpa": True, "dtype": "bfloat16"},
    "optimization": {
        "ipe": 300,
        "ipe_scale": 1.25,
        "clip_grad": 10.0,
        "weight_decay": 0.04,
        "final_weight_decay": 0.4,
        "epochs": 300,
        "warmup": 40,
        "start_lr": 0.0002,
        "lr": 0.000625,
        "final_lr": 1e-6,
        "ema": (0.998, 1.0),
    },
}
"""Of the published ViT-L, but for data and model."""


def reference(folder: Path, turn: Turn) -> Figures:
    """Run the published training; leave its start for ours."""
    shape = turn.shape
    sys.path.insert(0, str(OPTIONS.public))
    streams: list[Stream[Any]] = []

    def init_data(*, collator: Collator, **_: object) -> tuple[Stream[Any], Sampler]:
        batch = typical_batch(collator, shape)
        if not (folder / "batch.pt").exists():
            torch.save(batch, folder / "batch.pt")
        streams.append(Stream(batch, turn))
        return streams[0], Sampler()

    stand_in("src.datasets.data_manager", init_data=init_data)
    stand_in("app.vjepa.transforms", make_transforms=lambda **_: None)
    from app.vjepa import train  # type: ignore[import-not-found]

    build = train.init_video_model

    def init_video_model(**given: object) -> tuple[nn.Module, nn.Module]:
        encoder, predictor = build(**given)
        if not (folder / "weights.pt").exists():
            weights = {"encoder": encoder.state_dict(), "predictor": predictor.state_dict()}
            torch.save(weights, folder / "weights.pt")
        return encoder, predictor

    train.init_video_model = init_video_model
    train.DistributedDataParallel = lambda module, **_: module
    data = {
        "batch_size": shape["batch"],
        "num_clips": 1,
        "num_frames": shape["frames"],
        "tubelet_size": 2,
        "sampling_rate": 4,
        "crop_size": shape["size"],
        "patch_size": 16,
    }
    model = {"model_name": f"vit_{shape['vit']}", "pred_depth": 12, "pred_embed_dim": 384}
    log = {"folder": str(folder), "write_tag": "reference"}
    with suppress(Enough):
        train.main({**SETTINGS, "data": data, "model": model, "logging": log})
    return {**streams[0].figures(), "losses": logged_losses(folder / "reference_r0.csv")}


class Sampler:
    """Stands for a sampler of clips."""

    def set_epoch(self, epoch: int) -> None:
        """Nothing is sampled."""


def typical_batch(collator: Collator, shape: Figures) -> Batch:
    """Return noise, with the masks of median length among some that the collator draws."""
    generator = torch.Generator().manual_seed(1)
    size = shape["size"]
    clip = torch.randn(3, shape["frames"], size, size, generator=generator)
    drawn = [collator([clip] * shape["batch"])[1:] for _ in range(MASKS_TRIED)]
    drawn.sort(key=lambda masks: sum(ids.shape[1] for kind in masks for ids in kind))
    context, targets = drawn[len(drawn) // 2]
    clips = torch.randn(shape["batch"], 3, shape["frames"], size, size, generator=generator)
    return ([clips],), context, targets


def logged_losses(path: Path) -> list[float]:
    """Return the losses of a log, which several turns have added to."""
    with path.open() as lines:
        return [float(row[2]) for row in csv.reader(lines) if row[0].isdigit()]


def echocli(folder: Path, turn: Turn) -> Figures:
    """Run ours from the same start."""
    shape, predictor = turn.shape, turn.options.get("predictor", "reference")
    vit = ViTConfig.named(shape["vit"], frames=shape["frames"], size=shape["size"], channels=3)
    config = Config(jepa_weight=1.0, predictor=predictor)
    method = build(vit, config, torch.Generator().manual_seed(0))
    weights = torch.load(folder / "weights.pt")
    encoder = renamed(weights["encoder"])
    method.context_encoder.load_state_dict(encoder)
    method.target_encoder.load_state_dict(encoder)
    if predictor == "reference":
        method.predictor.load_state_dict(renamed(weights["predictor"]))
    (clips,), context, targets = torch.load(folder / "batch.pt")
    draws = {f"context{kind}": ids for kind, ids in enumerate(context)}
    draws |= {f"targets{kind}": ids for kind, ids in enumerate(targets)}
    del weights, encoder
    return ours(method, clips[0], draws, turn)


def frozen(folder: Path, turn: Turn) -> Figures:
    """Run ours with some of its first blocks frozen, from random weights."""
    shape, generator = turn.shape, torch.Generator().manual_seed(0)
    vit = ViTConfig.named(shape["vit"], frames=shape["frames"], size=shape["size"], channels=3)
    method = build(vit, Config(jepa_weight=1.0, **turn.options["config"]), generator)
    size = shape["size"]
    clips = torch.randn(shape["batch"], 3, shape["frames"], size, size, generator=generator)
    draws = method.draw(len(clips), vit.grid, generator)
    return ours(method, clips, draws, turn)


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the published weights our names; tables of positions are computed."""
    found, tokens = {}, []
    for name, value in weights.items():
        name = name.removeprefix("backbone.").replace("predictor_", "")
        if name.startswith("mask_tokens"):
            tokens.append(value)
        elif not name.endswith("pos_embed"):
            found[name] = value.flatten(1) if value.ndim == 5 else value
    return found | ({"mask_tokens": torch.cat(tokens)} if tokens else {})


def rows(quick: bool, device: str) -> list[Row]:
    """Return what is measured."""
    reference_first = [
        Rival(name="reference", measure=reference),
        Rival(name="ours, fp32", measure=echocli, options={"precision": "fp32"}),
        Rival(name="ours", measure=echocli),
        Rival(
            name="ours, our predictor",
            measure=echocli,
            options={"predictor": "scaled", "same_loss": False},
        ),
    ]
    whole_first = [
        Rival(name="ours, all trained", measure=frozen, options={"config": {}}),
        Rival(
            name=f"ours, {FROZEN} blocks frozen",
            measure=frozen,
            options={"config": {"frozen_blocks": FROZEN if not quick else 8}},
        ),
    ]
    both = {"ours": "2.5x", "ours, our predictor": "4x"}
    half = {f"ours, {FROZEN} blocks frozen": "0.85 of the time, 0.65 of the memory"}
    if quick:
        return [
            row("ViT-T 4 f 64 px, batch 2", ("tiny", 4, 64, 2), reference_first, {}),
            row("frozen: ViT-T 4 f 64 px, batch 2", ("tiny", 4, 64, 2), whole_first, {}),
        ]
    if device == "cuda":
        large = ("large", 16, 224, 24)
        return [row("ViT-L 16 f 224 px, batch 24", large, reference_first, {"ours": "4x"})]
    return [
        row("ViT-S 16 f 112 px, batch 4", ("small", 16, 112, 4), reference_first, both),
        row(
            "ViT-B 16 f 224 px, batch 1", ("base", 16, 224, 1), reference_first, {"ours": "3x"}
        ),
        row("frozen: ViT-L 16 f 224 px, batch 1", ("large", 16, 224, 1), whole_first, half),
    ]


def row(
    name: str, shape: tuple[str, int, int, int], rivals: list[Rival], targets: dict[str, str]
) -> Row:
    """Return a line of the table; its shape is encoder, frames, pixels and clips."""
    named = dict(zip(("vit", "frames", "size", "batch"), shape, strict=True))
    return Row(name=name, shape=named, rivals=rivals, targets=targets)


if __name__ == "__main__":
    OPTIONS = arguments(__doc__ or "").parse_args()
    run(rows(OPTIONS.quick, OPTIONS.device), OPTIONS)
