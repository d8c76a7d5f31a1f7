"""A step of DISCOVR, ours beside the published one: processor time and memory.

The published training runs as it is, from github.com/mdivyanshu97/DISCOVR at 81587c9: its
``train_one_epoch`` with its model, loss, optimiser, statistics and moving average. The reading
of videos is left out, in its favour, and what only a GPU has (its clock, the scale of its
losses) is answered for. Ours starts from its weights and sees its clips and masks;
``release`` must compute its loss, ``paper`` computes another one of the same size.

    git clone https://github.com/mdivyanshu97/DISCOVR && git -C DISCOVR checkout 81587c9
    pip install einops scikit-learn timm
    python benchmarks/speed_discovr.py --public DISCOVR
    python benchmarks/speed_discovr.py --public DISCOVR --quick
    python benchmarks/speed_discovr.py --public DISCOVR --device cuda --steps 20
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
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

from echocli.models.timm_guard import load_timm

VIEWS, HIDDEN, SEED = 4, 0.9, 11
SIZES: dict[str, Figures] = {
    "base": {"dim": 768, "depth": 12, "heads": 12},
    "toy": {"dim": 96, "depth": 2, "heads": 4},
}
HEADS: Figures = {"head_hidden": 2048, "head_bottleneck": 256, "head_outputs": 16384}
PROTOTYPES = 3000
UNUSED = (
    "decord",
    "discovr.utils.visualize_masks",
    "lightning",
    "lightning.pytorch",
    "tensorboardX",
    "torchmetrics",
    "torchmetrics.functional",
    "wandb",
    *(
        f"timm.optim.{name}"
        for name in ("adafactor", "adahessian", "adamp", "lookahead", "nadam", "nvnovograd")
    ),
    *(f"timm.optim.{name}" for name in ("radam", "rmsprop_tf", "sgdp")),
)
"""What the published code imports and this training does not use."""


def reference(folder: Path, turn: Turn) -> Figures:
    """Run the published training; leave its start for ours."""
    home = folder / "home"
    if not home.exists():
        home.mkdir()
        (home / "discovr").symlink_to(OPTIONS.public.resolve())
    sys.path.insert(0, str(home))
    load_timm()
    stand_in(*UNUSED)
    from discovr.engine.engine_for_pretraining import (  # type: ignore[import-not-found]
        train_one_epoch,
    )
    from discovr.utils.optim_factory import (  # type: ignore[import-not-found]
        create_optimizer,
    )

    torch.manual_seed(0)
    model = published_model(turn.shape).to(turn.device)
    if not (folder / "weights.pt").exists():
        torch.save(model.state_dict(), folder / "weights.pt")
    batch, image = typical_batch(turn)
    torch.save((batch, image), folder / "batch.pt")
    # It draws the masks of frames itself; so they are the same in every step, and ours.
    model.register_forward_pre_hook(lambda *_: torch.manual_seed(SEED) and None)
    model.__dict__["module"] = model  # it expects a wrapper for several machines
    given = SimpleNamespace(
        opt="adamw", weight_decay=0.05, lr=1e-4, opt_eps=1e-8, opt_betas=(0.9, 0.95)
    )
    optimizer = create_optimizer(given, model)
    stream, scaler = Stream(batch, turn), scaler_of(turn.device)
    with suppress(Enough):
        train_one_epoch(
            model,
            None,
            stream,
            optimizer,
            torch.device(turn.device),
            0,
            scaler,
            max_norm=None,
            mask_type="multi_local",
            target_type="mlp",
            loss_func="SWAV",
            use_video_dino=True,
        )
    return {**stream.figures(), "losses": scaler.losses}


def published_model(shape: Figures) -> nn.Module:
    """Return the published model with the published settings."""
    from discovr.models.modeling_pretrain import (  # type: ignore[import-not-found]
        PretrainVisionTransformer,
    )

    size = SIZES[shape["vit"]]
    model: nn.Module = PretrainVisionTransformer(
        img_size=shape["size"],
        patch_size=16,
        num_frames=shape["frames"],
        encoder_num_classes=0,
        encoder_embed_dim=size["dim"],
        encoder_depth=size["depth"],
        encoder_num_heads=size["heads"],
        decoder_num_classes=size["dim"],
        decoder_embed_dim=size["dim"] // 2,
        decoder_depth=max(1, size["depth"] // 3),
        decoder_num_heads=size["heads"] // 2,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        mask_ratio=HIDDEN,
        mask_type="multi_local",
        target_type="mlp",
        loss_func="SWAV",
        num_prototypes=PROTOTYPES,
        world_size=1,
        dino_out_dim=HEADS["head_outputs"],
        use_combined_dino_swav=True,
        use_video_dino=True,
        num_local_views=VIEWS,
    )
    return model


def scaler_of(device: str) -> Any:  # noqa: ANN401
    """Return the published scaler of losses, which notes them, on a CPU too."""
    from discovr.utils.utils import (  # type: ignore[import-not-found]
        NativeScalerWithGradNormCount,
    )

    if device == "cpu":
        torch.cuda.synchronize = lambda *_: None
        torch.cuda.max_memory_allocated = lambda *_: 1

    class Noting(NativeScalerWithGradNormCount):  # type: ignore[misc]
        losses: list[float] = []  # noqa: RUF012

        def __call__(self, loss: Tensor, *args: Any, **more: Any) -> Any:  # noqa: ANN401
            self.losses.append(float(loss.detach()))
            return super().__call__(loss, *args, **more)

        def state_dict(self) -> dict[str, float]:
            return {"scale": 1.0}

    return Noting()


def typical_batch(turn: Turn) -> tuple[Any, Tensor]:
    """Return noise with masks of clips, and the ids that the model will draw for frames."""
    batch, frames, size = (turn.shape[name] for name in ("batch", "frames", "size"))
    generator = torch.Generator().manual_seed(1)
    places, times = (size // 16) ** 2, frames // 2
    hidden = int(HIDDEN * places)
    masks = []
    for _ in range(VIEWS + 1):
        order = torch.rand(batch, places, generator=generator).argsort(dim=1)
        masks.append((order < hidden).repeat(1, times))
    video = torch.randn(batch, 3, frames, size, size, generator=generator)
    torch.manual_seed(SEED)
    drawn = torch.rand(batch * frames, VIEWS, places, device=turn.device)
    seen = torch.ones_like(drawn, dtype=torch.bool)
    seen.scatter_(-1, drawn.topk(k=hidden, dim=-1).indices, False)
    return (video, (masks[0], masks[1:])), ids_of(seen.flatten(0, 1)).cpu()


def ids_of(seen: Tensor) -> Tensor:
    """Return the ids that are true; equally many in every row."""
    return seen.nonzero()[:, 1].reshape(len(seen), -1)


def echocli(folder: Path, turn: Turn) -> Figures:
    """Run ours from the same start."""
    from echocli.models.methods.discovr import Config, build
    from echocli.models.vit import ViTConfig

    shape, fidelity = turn.shape, turn.options["fidelity"]
    vit = ViTConfig(
        frames=shape["frames"],
        size=shape["size"],
        channels=3,
        positions="line",
        **SIZES[shape["vit"]],
    )
    as_published: Figures = {"pairing": "released", "targets": "hard", "centre_momentum": 0.8}
    config = Config(
        fidelity=fidelity,
        prototypes=PROTOTYPES,
        **HEADS,
        **(as_published if fidelity == "release" else {}),
    )
    method = build(vit, config, torch.Generator().manual_seed(0))
    if fidelity == "release":
        method.load_published(torch.load(folder / "weights.pt"))
    (video, (first, others)), image = torch.load(folder / "batch.pt")
    views = torch.stack([ids_of(~mask) for mask in (first, *others)], dim=1)
    draws = {"video": views.flatten(0, 1), "image": image}
    return ours(method, video, draws, turn)


def rows(quick: bool, device: str) -> list[Row]:
    """Return what is measured."""
    release = {"fidelity": "release"}
    paper = {"fidelity": "paper", "same_loss": False}
    first = Rival(name="reference", measure=reference)
    exact = Rival(
        name="ours, release, fp32", measure=echocli, options={**release, "precision": "fp32"}
    )
    same = Rival(name="ours, release", measure=echocli, options=release)
    other = Rival(name="ours, paper", measure=echocli, options=paper)
    shape = {"vit": "base", "frames": 64, "size": 112, "batch": 1}
    if quick:
        toy = {"vit": "toy", "frames": 4, "size": 64, "batch": 2}
        return [Row(name="toy", shape=toy, rivals=[first, exact, same, other])]
    if device == "cuda":
        large = {**shape, "batch": 16}
        return [Row(name="ViT-B 64 f 112 px, batch 16", shape=large, rivals=[first, other])]
    return [
        Row(
            name="ViT-B 16 f 224 px, batch 1",
            shape={**shape, "frames": 16, "size": 224},
            rivals=[first, exact, same],
            targets={"ours, release, fp32": "1.9x", "ours, release": "5x, 0.75 of the memory"},
        ),
        Row(
            name="ViT-B 64 f 112 px, batch 1",
            shape=shape,
            rivals=[first, same, other],
            targets={"ours, paper": "5x"},
        ),
    ]


if __name__ == "__main__":
    OPTIONS = arguments(__doc__ or "").parse_args()
    run(rows(OPTIONS.quick, OPTIONS.device), OPTIONS)
