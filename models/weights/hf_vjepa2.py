"""V-JEPA 2 as Hugging Face publishes it: ``VJEPA2Model``, with its ``config.json``."""

from __future__ import annotations

from typing import Any

from ..vit import ViTConfig
from ._layout import BLOCK_NAMES, KERNEL, Layout, architecture_of, assemble, prefix_of
from .base import Converted, Found, KeysError, Wish, pixel_scale

LABEL = "V-JEPA 2 (Hugging Face)"
LICENCE = "MIT or Apache-2.0, as the card of the weights says"
SOURCE = "Assran et al. 2025, arXiv 2506.09985; huggingface.co/facebook"
STEM = "encoder.embeddings.patch_embeddings.proj"
LAYER = BLOCK_NAMES.replace(r"attn\.qkv", r"attention\.(query|key|value)").replace(
    r"attn\.proj", r"attention\.proj"
)
NOT_NEEDED = {
    rf"predictor\.layer\.{LAYER}": "the predictor, used in training only",
    r"predictor\.(layernorm|proj)\.(weight|bias)": "the predictor",
    r"predictor\.embeddings\.predictor_embeddings\.(weight|bias)": "the predictor",
    r"predictor\.embeddings\.mask_tokens": "the predictor",
    r"(pooler|classifier)\..*": "a classifier of everyday actions",
}
USUAL = (16, 256)


def recognises(found: Found) -> bool:
    """Return whether a file is of this format."""
    return prefix_of(found.tensors, f"{STEM}.weight") is not None


def convert(found: Found, wish: Wish) -> Converted:
    """Turn a file's tensors into ours. Positions follow the clip, not ``crop_size``.

    Raises:
        KeysError: If names or shapes differ.
        ValueError: If the settings beside the weights are not those of a known encoder.
    """
    prefix = prefix_of(found.tensors, f"{STEM}.weight")
    if prefix is None:
        raise KeysError([f"{STEM}.weight"], [])

    def names(ours: str) -> tuple[str, ...]:
        return tuple(f"{prefix}{name}" for name in theirs(ours))

    said: dict[str, Any] = found.words.get("config") or {}
    if said.get("hidden_act", "gelu") != "gelu":
        raise ValueError(f"hidden_act is {said['hidden_act']}; this encoder's is gelu.")
    heads = wish.heads or said.get("num_attention_heads")
    shape = architecture_of(found.tensors, names, heads)
    config = ViTConfig(
        frames=wish.frames or USUAL[0],
        size=wish.size or said.get("crop_size") or USUAL[1],
        positions="rotary",
        rope_pairing="tiled",
        norm_eps=said.get("layer_norm_eps", ViTConfig.norm_eps),
        qkv_bias=f"{prefix}encoder.layer.0.attention.query.bias" in found.tensors,
        **shape,
    )
    layout = Layout(names=names, not_needed={f"(.*\\.)?{p}": w for p, w in NOT_NEEDED.items()})
    weights, left_out = assemble(found.tensors, layout, config)
    mean, std = pixel_scale(found)
    return Converted(
        config=config,
        weights=weights,
        left_out=left_out,
        branch="encoder",
        mean=mean,
        std=std,
    )


def theirs(ours: str) -> tuple[str, ...]:
    """Return what Hugging Face calls one of our weights."""
    part, _, kind = ours.rpartition(".")
    if ours.startswith(KERNEL.rpartition(".")[0]):
        return (f"{STEM}.{kind}",)
    if part == "norm":
        return (f"encoder.layernorm.{kind}",)
    part = part.replace("blocks.", "encoder.layer.", 1)
    if part.endswith("attn.qkv"):
        layer = part.removesuffix("attn.qkv")
        return tuple(f"{layer}attention.{name}.{kind}" for name in ("query", "key", "value"))
    return (f"{part.replace('.attn.', '.attention.')}.{kind}",)
