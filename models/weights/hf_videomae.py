"""VideoMAE as Hugging Face publishes it: ``VideoMAEForPreTraining`` or ``VideoMAEModel``."""

from __future__ import annotations

from typing import Any

from ..vit import ViTConfig
from ._layout import Layout, architecture_of, assemble, prefix_of
from .base import Converted, Found, KeysError, Wish, pixel_scale

LABEL = "VideoMAE (Hugging Face)"
LICENCE = "CC BY-NC 4.0 (not for commercial use)"
SOURCE = "Tong et al. 2022, arXiv 2203.12602; huggingface.co/MCG-NJU"
STEM = "embeddings.patch_embeddings.projection"
PARTS = {
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
}
LAYER = (
    r"\d+\.(attention\.attention\.((query|key|value)\.weight|q_bias|v_bias)|"
    r"(attention\.output\.dense|intermediate\.dense|output\.dense|layernorm_before|"
    r"layernorm_after)\.(weight|bias))"
)
NOT_NEEDED = dict.fromkeys(
    (
        rf"decoder\.decoder_layers\.{LAYER}",
        r"decoder\.(norm|head)\.(weight|bias)",
        r"encoder_to_decoder\.weight",
        "mask_token",
    ),
    "the decoder, used in training only",
)
USUAL = (16, 224)


def recognises(found: Found) -> bool:
    """Return whether a file is of this format."""
    return prefix_of(found.tensors, f"{STEM}.weight") is not None


def convert(found: Found, wish: Wish) -> Converted:
    """Turn a file's tensors into ours.

    Raises:
        KeysError: If names or shapes differ.
        ValueError: If the settings beside the weights are not those of a known encoder.
    """
    prefix = prefix_of(found.tensors, f"{STEM}.weight")
    if prefix is None:
        raise KeysError([f"{STEM}.weight"], [])

    def names(ours: str) -> tuple[str, ...]:
        return tuple(name and f"{prefix}{name}" for name in theirs(ours))

    said: dict[str, Any] = found.words.get("config") or {}
    if said.get("hidden_act", "gelu") != "gelu":
        raise ValueError(f"hidden_act is {said['hidden_act']}; this encoder's is gelu.")
    heads = wish.heads or said.get("num_attention_heads")
    shape = architecture_of(found.tensors, names, heads)
    t, rows, columns = shape["tubelet"]
    frames, size = said.get("num_frames") or USUAL[0], said.get("image_size") or USUAL[1]
    config = ViTConfig(
        frames=wish.frames or frames,
        size=wish.size or size,
        positions="line",
        drawn_for=(frames // t, size // rows, size // columns),
        norm_eps=said.get("layer_norm_eps", ViTConfig.norm_eps),
        qkv_bias=names("blocks.0.attn.qkv.bias")[0] in found.tensors,
        **shape,
    )
    layout = Layout(names=names, not_needed=NOT_NEEDED)
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
    """Return what Hugging Face calls one of our weights; keys have no offset."""
    part, _, kind = ours.rpartition(".")
    if part == "patch_embed.proj":
        return (f"{STEM}.{kind}",)
    if part == "norm":
        return (f"layernorm.{kind}",)
    _, layer, inside = part.split(".", 2)
    before = f"encoder.layer.{layer}."
    if inside == "attn.qkv" and kind == "bias":
        attention = f"{before}attention.attention."
        return f"{attention}q_bias", "", f"{attention}v_bias"
    if inside == "attn.qkv":
        return tuple(
            f"{before}attention.attention.{name}.{kind}" for name in ("query", "key", "value")
        )
    return (f"{before}{PARTS[inside]}.{kind}",)
