"""DISCOVR as released: ``checkpoint-399.pth`` and its like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..positions import sincos_line
from ..shapes import Grid
from ..vit import ViTConfig
from ._layout import BLOCK_NAMES, KERNEL, Layout, architecture_of, assemble, prefix_of
from ._videomae import DECODER, has_bias, with_split_bias
from .base import Converted, Found, KeysError, Wish

LABEL = "DISCOVR"
LICENCE = "Apache-2.0 (tag of the weights; trained on data under research-use agreements)"
SOURCE = "Mishra et al. 2025, arXiv 2506.11777; github.com/mdivyanshu97/DISCOVR"
BRANCHES = ("video_teacher", "encoder")
"""The video branch: its teacher, which the authors use, and its student."""
USUAL = (64, 112)
"""Frames, and rows and columns, of the published training."""
STRIDE = 3
"""Step from frame to frame of the published training."""
ENCODER = (
    rf"(cls_token|pos_embed|(patch_embed\.proj|norm)\.(weight|bias)|blocks\.{BLOCK_NAMES})"
)
HEADS = r"(image_dino|image_teacher|video_dino|video_teacher)_head"
NOT_NEEDED = {
    rf"(image_student|image_teacher)\.{ENCODER}": "the image branch",
    r"(image|video)_center": "the centre of a teacher's outputs, used in training only",
    "prototypes": "the cluster centres, used in training only",
    rf"{HEADS}\.(mlp\.\d\.(weight|bias)|last_layer\.weight_[gv])": "a projection head",
    **dict.fromkeys(DECODER, "the decoder, used in training only"),
}


def recognises(found: Found) -> bool:
    """Return whether a file is of this format."""
    return prefix_of(found.tensors, f"{BRANCHES[0]}.{KERNEL}") is not None


def convert(found: Found, wish: Wish) -> Converted:
    """Turn a file's tensors into ours, with or without offsets of queries and values.

    Raises:
        KeysError: If names or shapes differ.
        ValueError: If there is no such branch, or its positions are not the published ones.
    """
    branch = wish.branch or BRANCHES[0]
    if branch not in BRANCHES:
        raise ValueError(f"DISCOVR has no {branch}; it has {' and '.join(BRANCHES)}.")
    before = prefix_of(found.tensors, f"{branch}.{KERNEL}")
    if before is None:
        raise KeysError([f"{branch}.{KERNEL}"], [])
    prefix = f"{before}{branch}."
    names = with_split_bias(prefix)
    said: dict[str, Any] = found.words.get("args") or {}
    heads = wish.heads or said.get("encoder_num_heads")
    shape = architecture_of(found.tensors, names, heads)
    sizes = [said.get("img_size"), said.get("input_size"), USUAL[1], wish.size]
    grid = grid_of(found.tensors, f"{prefix}pos_embed", shape["tubelet"], sizes)
    config = ViTConfig(
        frames=wish.frames or grid[0] * shape["tubelet"][0],
        size=wish.size or grid[1] * shape["tubelet"][1],
        positions="line",
        drawn_for=grid,
        cls_token=True,
        qkv_bias=has_bias(found.tensors, names),
        **shape,
    )
    (other,) = set(BRANCHES) - {branch}
    split = r"blocks\.\d+\.attn\.[qv]_bias"
    layout = Layout(
        names=names,
        not_needed={
            re.escape(f"{prefix}pos_embed"): "the table of positions: computed, equal to ours",
            rf"{re.escape(before)}{other}\.({ENCODER}|{split})": f"the {other}, not asked for",
            **{re.escape(before) + pattern: why for pattern, why in NOT_NEEDED.items()},
        },
    )
    weights, left_out = assemble(found.tensors, layout, config)
    return Converted(
        config=config, weights=weights, left_out=left_out, branch=branch, stride=STRIDE
    )


def grid_of(
    tensors: Mapping[str, Tensor], name: str, tubelet: Grid, sizes: Sequence[int | None]
) -> Grid:
    """Return the grid of the training.

    The table has a row a token, and one of zeros for the class token; it does not tell how
    tokens lie in time and space.

    Args:
        tensors: Of the file.
        name: Of the table of positions.
        tubelet: Frames, rows and columns of a token.
        sizes: Rows of a frame that may have been, the likeliest first.

    Raises:
        KeysError: If there is no table.
        ValueError: If it is not the published one, or fits no clip of these sizes.
    """
    if name not in tensors:
        raise KeysError([name], [])
    table = tensors[name]
    tokens, dim = table.shape[1] - 1, table.shape[2]
    if not table.is_meta:
        ours = torch.cat([torch.zeros(1, dim), sincos_line(tokens, dim)])
        if not torch.allclose(table[0].float(), ours, rtol=0, atol=1e-5):
            raise ValueError("The table of positions in pos_embed is not the published one.")
    for side in (size // tubelet[1] for size in sizes if size):
        if tokens % side**2 == 0:
            return tokens // side**2, side, side
    raise ValueError(f"{tokens} tokens fill no clip of the published size; say the size.")
