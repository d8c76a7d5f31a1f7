"""What the files of VideoMAE and of its descendants have in common."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ._layout import Names

DECODER_NAMES = r"\d+\.(norm1|norm2|mlp\.fc1|mlp\.fc2|attn\.proj)\.(weight|bias)"
DECODER = (
    rf"decoder\.blocks\.{DECODER_NAMES}",
    r"decoder\.blocks\.\d+\.attn\.(qkv\.weight|q_bias|v_bias)",
    r"decoder\.(norm|head)\.(weight|bias)",
    r"encoder_to_decoder\.weight",
    r"mask_token",
)
"""Patterns of the names of what rebuilds hidden tokens."""


def with_split_bias(prefix: str) -> Names:
    """Return how files name our weights that keep the offsets of queries and values alone.

    Keys have none. It would change nothing: it adds the same to all scores of a query.
    """

    def names(ours: str) -> tuple[str, ...]:
        if ours.endswith("attn.qkv.bias"):
            attention = f"{prefix}{ours.removesuffix('qkv.bias')}"
            return f"{attention}q_bias", "", f"{attention}v_bias"
        return (f"{prefix}{ours}",)

    return names


def has_bias(tensors: Mapping[str, Tensor], names: Names) -> bool:
    """Return whether queries and values have offsets."""
    return names("blocks.0.attn.qkv.bias")[0] in tensors
