"""VideoMAE as its authors publish it, before any fine-tuning."""

from __future__ import annotations

import re
from typing import Any

from ..vit import ViTConfig
from ._layout import KERNEL, Layout, architecture_of, assemble, prefix_of
from ._videomae import DECODER, has_bias, with_split_bias
from .base import Converted, Found, KeysError, Wish

LABEL = "VideoMAE"
LICENCE = "CC BY-NC 4.0 (not for commercial use)"
SOURCE = "Tong et al. 2022, arXiv 2203.12602; github.com/MCG-NJU/VideoMAE"
USUAL = (16, 224)
"""Frames, and rows and columns, of the published training."""


def recognises(found: Found) -> bool:
    """Return whether a file is of this format. DISCOVR grew from it and has more networks."""
    here = prefix_of(found.tensors, f"encoder.{KERNEL}") is not None
    decoder = prefix_of(found.tensors, "encoder_to_decoder.weight") is not None
    return here and decoder and prefix_of(found.tensors, f"video_teacher.{KERNEL}") is None


def convert(found: Found, wish: Wish) -> Converted:
    """Turn a file's tensors into ours.

    Raises:
        KeysError: If names or shapes differ.
    """
    before = prefix_of(found.tensors, f"encoder.{KERNEL}")
    if before is None:
        raise KeysError([f"encoder.{KERNEL}"], [])
    names = with_split_bias(f"{before}encoder.")
    said: dict[str, Any] = found.words.get("args") or {}
    shape = architecture_of(found.tensors, names, wish.heads)
    (t, rows, columns), size = shape["tubelet"], int(said.get("input_size") or USUAL[1])
    frames = int(said.get("num_frames") or USUAL[0])
    config = ViTConfig(
        frames=wish.frames or frames,
        size=wish.size or size,
        positions="line",
        drawn_for=(frames // t, size // rows, size // columns),
        qkv_bias=has_bias(found.tensors, names),
        **shape,
    )
    why = "the decoder, used in training only"
    not_needed = {re.escape(before) + pattern: why for pattern in DECODER}
    weights, left_out = assemble(
        found.tensors, Layout(names=names, not_needed=not_needed), config
    )
    return Converted(config=config, weights=weights, left_out=left_out, branch="encoder")
