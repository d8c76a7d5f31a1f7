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
from ._layout import (
    BLOCK_NAMES,
    KERNEL,
    Layout,
    architecture_of,
    assemble,
    join,
    prefix_of,
)
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
OURS_ALONE = ("centred", "temperature")
"""Ends of the names of what a file has not: the schedule's place."""
BEGINNINGS = {
    "video.student.": "encoder.",
    "video.teacher.": "video_teacher.",
    "image.student.": "image_student.",
    "image.teacher.": "image_teacher.",
    "video.student_head.": "video_dino_head.",
    "video.teacher_head.": "video_teacher_head.",
    "image.student_head.": "image_dino_head.",
    "image.teacher_head.": "image_teacher_head.",
    "video.centre": "video_center",
    "image.centre": "image_center",
    "decoder.embed.": "encoder_to_decoder.",
    "decoder.mask_token": "mask_token",
    "decoder.proj.": "decoder.head.",
}
"""Beginnings of the names of our method, and of a file's."""
HEAD_NAMES = {
    "inner.": "mlp.0.",
    "mlp.fc1.": "mlp.2.",
    "mlp.fc2.": "mlp.4.",
    "prototypes": "last_layer.weight_v",
}
"""Beginnings of the names inside a head, ours and a file's."""
COMPUTED = (
    rf"(encoder|(video|image)_(student|teacher))\.pos_embed|{HEADS}\.last_layer\.weight_g"
)
"""Tables of positions, and lengths of the heads' prototypes, which stay 1."""


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


def published_state(
    tensors: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the state of our whole method from that of the published one.

    Args:
        tensors: Of the file.
        ours: State of our method, built as published; what a file does not hold stays.

    Raises:
        KeysError: If names or shapes differ.
    """
    before = prefix_of(tensors, f"{BRANCHES[0]}.{KERNEL}") or ""
    state, taken, missing, wrong = dict(ours), set[str](), [], []
    for name, tensor in ours.items():
        parts = published_names(name, before)
        taken.update(parts)
        found = [tensors.get(part) for part in parts]
        missing += [part for part in parts if part and part not in tensors]
        sizes = {part.numel() * len(parts) for part in found if part is not None}
        if sizes == {tensor.numel()}:
            state[name] = join(found, tensor)
        elif sizes:
            wrong.append(f"{name} is {tuple(tensor.shape)} with us")
    known = rf"{re.escape(before)}({COMPUTED})"
    others = [name for name in tensors if name not in taken and not re.fullmatch(known, name)]
    if missing or others or wrong:
        raise KeysError(missing, others, wrong)
    return state


def published_names(ours: str, before: str = "") -> tuple[str, ...]:
    """Return what a published file calls a tensor of our method.

    Args:
        ours: Our name.
        before: What stands before all names of the file.

    Returns:
        Its name, or those of its parts, an empty one for zeros; none if a file has it not.
    """
    if ours.endswith(OURS_ALONE):
        return ()
    theirs = swap_beginning(ours, BEGINNINGS)
    head, dot, inside = theirs.partition("_head.")
    return with_split_bias(before)(head + dot + swap_beginning(inside, HEAD_NAMES))


def swap_beginning(name: str, beginnings: Mapping[str, str]) -> str:
    """Return a name with another beginning, if it has one of these."""
    for one, other in beginnings.items():
        if name.startswith(one):
            return other + name.removeprefix(one)
    return name


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
