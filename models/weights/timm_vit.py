"""timm's 2-D vision transformers, inflated: a start for clips from what pictures teach."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from ..vit import ViTConfig
from ._layout import KERNEL, MOST_BLOCKS, Layout, architecture_of, assemble, named, prefix_of
from ._videomae import has_bias, with_split_bias
from .base import IMAGENET_MEAN, IMAGENET_STD, Converted, Found, KeysError, Wish

LABEL = "timm 2-D ViT, inflated"
LICENCE = "that of the model's card on huggingface.co/timm"
SOURCE = "github.com/huggingface/pytorch-image-models"
USUAL = (16, 224)
"""Frames, and rows and columns, that patches of 14, 16 and 32 pixels fill; pictures were larger
for some."""
DURATION = 2
"""Frames of a tubelet: a picture's kernel is spread evenly over them."""
SCALES = (
    ("attn.proj", "ls1.gamma"),
    ("attn.proj", "gamma_1"),
    ("mlp.fc2", "ls2.gamma"),
    ("mlp.fc2", "gamma_2"),
)
"""Layers, and their scales as timm's families name them: they multiply what the layer gives, so
they fold into its weights exactly."""
NOT_NEEDED = {
    "pos_embed": "positions of pictures; ours are computed and know time",
    r"rope\..*": "positions of pictures; ours are computed and know time",
    r"reg_token|register_tokens": "registers, which our encoder lacks",
    r"(head|fc_norm|head_dist|attn_pool)\..*|dist_token|mask_token": "a head for pictures",
}


def recognises(found: Found) -> bool:
    """Return whether a file is of this format: its patches have no time."""
    prefix = prefix_of(found.tensors, KERNEL)
    if prefix is None or f"{prefix}blocks.0.norm1.weight" not in found.tensors:
        return False
    return found.tensors[f"{prefix}{KERNEL}"].ndim == 4


def convert(found: Found, wish: Wish) -> Converted:
    """Turn a picture's encoder into one of clips.

    Patches of a clip that stands still are embedded as the picture's were; their positions are
    ours.

    Raises:
        KeysError: If a block has parts that ours lacks, or lacks some.
        ValueError: If something else does not fit.
    """
    prefix = prefix_of(found.tensors, KERNEL)
    if prefix is None:
        raise KeysError([KERNEL], [])
    tensors = inflated(fold_scales(dict(found.tensors), prefix), f"{prefix}{KERNEL}")
    split = has_bias(tensors, with_split_bias(prefix))
    names = with_split_bias(prefix) if split else named(prefix, {})
    said: dict[str, Any] = dict(found.words)
    config = ViTConfig(
        frames=wish.frames or USUAL[0],
        size=wish.size or USUAL[1],
        cls_token=f"{prefix}cls_token" in tensors,
        qkv_bias=has_bias(tensors, names),
        norm_eps=said.get("norm_eps", ViTConfig.norm_eps),
        **architecture_of(tensors, names, wish.heads or said.get("heads")),
    )
    not_needed = {f"{re.escape(prefix)}({part})": why for part, why in NOT_NEEDED.items()}
    weights, left_out = assemble(tensors, Layout(names=names, not_needed=not_needed), config)
    return Converted(
        config=config,
        weights=weights,
        left_out=left_out,
        branch="encoder",
        mean=tuple(said.get("mean") or IMAGENET_MEAN),
        std=tuple(said.get("std") or IMAGENET_STD),
    )


def inflated(tensors: dict[str, Tensor], kernel: str) -> dict[str, Tensor]:
    """Spread the kernel of a picture's patches evenly over the frames of a tubelet."""
    weight = tensors[kernel]
    if weight.ndim != 4:
        raise KeysError([], [], [f"{kernel} is {tuple(weight.shape)}, not of pictures"])
    spread = weight[:, :, None].expand(-1, -1, DURATION, -1, -1) / DURATION
    return {**tensors, kernel: spread}


def fold_scales(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Multiply layer scales into the layers before them.

    Raises:
        KeysError: If some blocks have one and others have not, or one is of another shape.
    """
    blocks = {f"{prefix}blocks.{i}." for i in range(MOST_BLOCKS)}
    blocks = {block for block in blocks if f"{block}norm1.weight" in tensors}
    for layer, scale in SCALES:
        names = {f"{block}{scale}" for block in blocks}
        if names.isdisjoint(tensors):
            continue
        if missing := sorted(names - tensors.keys()):
            raise KeysError(missing, [])
        for block in blocks:
            gamma = tensors.pop(f"{block}{scale}")
            for kind in ("weight", "bias"):
                target = tensors.get(f"{block}{layer}.{kind}")
                if target is not None:
                    tensors[f"{block}{layer}.{kind}"] = scaled(target, gamma, block + scale)
    return tensors


def scaled(target: Tensor, gamma: Tensor, name: str) -> Tensor:
    """Return a layer's weight or offset with every output multiplied by its scale."""
    if gamma.shape != target.shape[:1]:
        raise KeysError([], [], [f"{name} is {tuple(gamma.shape)}, not ({len(target)},)"])
    return target * gamma.reshape(-1, *[1] * (target.ndim - 1))
