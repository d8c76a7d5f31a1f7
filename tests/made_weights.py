"""Small files of random weights in the layouts of the public ones, spelled out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from echocli.models.positions import sincos_3d, sincos_line
from echocli.models.weights.base import Found

DIM, DEPTH, HEADS, SIZE, FRAMES = 48, 4, 3, 32, 4
Tensors = dict[str, Tensor]


def draw(shapes: dict[str, tuple[int, ...]], seed: int) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {n: 0.1 * torch.randn(shape, generator=generator) for n, shape in shapes.items()}


def block_shapes(prefix: str, depth: int, dim: int, bias: str | None) -> dict[str, Any]:
    """Names as in timm; offsets of ``qkv`` are ``whole``, ``split`` or absent."""
    shapes: dict[str, Any] = {}
    for i in range(depth):
        block = f"{prefix}blocks.{i}."
        shapes |= {
            f"{block}{n}.{kind}": (dim,) for n in ("norm1", "norm2") for kind in WEIGHT_BIAS
        }
        shapes |= {
            f"{block}attn.qkv.weight": (3 * dim, dim),
            f"{block}attn.proj.weight": (dim, dim),
            f"{block}attn.proj.bias": (dim,),
            f"{block}mlp.fc1.weight": (4 * dim, dim),
            f"{block}mlp.fc1.bias": (4 * dim,),
            f"{block}mlp.fc2.weight": (dim, 4 * dim),
            f"{block}mlp.fc2.bias": (dim,),
        }
        if bias == "whole":
            shapes[f"{block}attn.qkv.bias"] = (3 * dim,)
        if bias == "split":
            shapes |= {f"{block}attn.{n}_bias": (dim,) for n in "qv"}
    return shapes


WEIGHT_BIAS = ("weight", "bias")


def encoder_shapes(prefix: str, bias: str | None, frames: int = 2) -> dict[str, Any]:
    return {
        f"{prefix}patch_embed.proj.weight": (DIM, 3, frames, 8, 8),
        f"{prefix}patch_embed.proj.bias": (DIM,),
        **block_shapes(prefix, DEPTH, DIM, bias),
        f"{prefix}norm.weight": (DIM,),
        f"{prefix}norm.bias": (DIM,),
    }


def jepa(masks: int, *, table: bool) -> Tensors:
    shapes: dict[str, Any] = {}
    for branch in ("encoder", "target_encoder"):
        shapes |= encoder_shapes(f"{branch}.module.backbone.", "whole")
    inner = "predictor.module.backbone."
    blocks = block_shapes(inner, 1, 12, "whole")
    shapes |= {name.replace("blocks", "predictor_blocks"): s for name, s in blocks.items()}
    for name, shape in (("embed", (12, DIM)), ("proj", (DIM, 12)), ("norm", (12,))):
        shapes[f"{inner}predictor_{name}.weight"] = shape
        shapes[f"{inner}predictor_{name}.bias"] = shape[:1]
    shapes |= {f"{inner}mask_tokens.{i}": (1, 1, 12) for i in range(masks)}
    tensors = draw(shapes, seed=1)
    if table:
        for branch in ("encoder", "target_encoder"):
            tensors[f"{branch}.module.backbone.pos_embed"] = sincos_3d((2, 4, 4), DIM)[None]
    return tensors


def jepa21() -> Tensors:
    tensors = {n.replace("target_", "ema_"): t for n, t in jepa(8, table=False).items()}
    for branch in ("encoder", "ema_encoder"):
        inner = f"{branch}.module.backbone."
        for kind in WEIGHT_BIAS:
            tensors.pop(f"{inner}norm.{kind}")
        levels = {f"{inner}norms_block.{i}.{k}": (DIM,) for i in range(4) for k in WEIGHT_BIAS}
        image = {
            f"{inner}patch_embed_img.proj.weight": (DIM, 3, 1, 8, 8),
            f"{inner}patch_embed_img.proj.bias": (DIM,),
            f"{inner}img_mod_embed": (1, 1, DIM),
            f"{inner}video_mod_embed": (1, 1, DIM),
        }
        tensors |= draw({**levels, **image}, seed=2)
    return tensors


def hf_jepa2() -> Tensors:
    """The same weights as those of ``jepa``, by Hugging Face's names."""
    inner = "target_encoder.module.backbone."
    source = {n.removeprefix(inner): t for n, t in jepa(10, table=False).items() if inner in n}
    tensors = {}
    for name, tensor in source.items():
        if "attn.qkv" in name:
            for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                tensors[name.replace("attn.qkv", f"attention.{part}")] = third.clone()
        else:
            tensors[name.replace("attn.", "attention.")] = tensor
    renamed = {
        "patch_embed.": "embeddings.patch_embeddings.",
        "blocks.": "layer.",
        "norm.": "layernorm.",
    }
    named = {}
    for name, tensor in tensors.items():
        start = next(old for old in renamed if name.startswith(old))
        named[f"encoder.{renamed[start]}{name.removeprefix(start)}"] = tensor
    return {**named, **draw({"predictor.embeddings.mask_tokens": (10, 1, 1, 12)}, 3)}


def discovr() -> Tensors:
    shapes: dict[str, Any] = {"model.prototypes": (5, DIM), "model.mask_token": (1, 1, 24)}
    for branch in ("encoder", "video_teacher"):
        shapes |= encoder_shapes(f"model.{branch}.", "split")
    for branch in ("image_student", "image_teacher"):
        shapes |= encoder_shapes(f"model.{branch}.", None, frames=1)
    shapes |= block_shapes("model.decoder.", 1, 24, "split")
    shapes |= {f"model.{head}_head.mlp.0.weight": (8, DIM) for head in ("video_dino",)}
    for branch in ("encoder", "video_teacher", "image_student", "image_teacher"):
        shapes[f"model.{branch}.cls_token"] = (1, 1, DIM)
    tensors = draw(shapes, seed=4)
    for branch, tokens in (("encoder", 32), ("video_teacher", 32), ("image_student", 16)):
        table = torch.cat([torch.zeros(1, DIM), sincos_line(tokens, DIM)])
        tensors[f"model.{branch}.pos_embed"] = table[None]
    return tensors


def videomae() -> Tensors:
    shapes = encoder_shapes("model.encoder.", "split")
    shapes |= block_shapes("model.decoder.", 1, 24, "split")
    shapes |= {"model.encoder_to_decoder.weight": (24, DIM), "model.mask_token": (1, 1, 24)}
    return draw(shapes, seed=5)


def hf_videomae() -> Tensors:
    """The same weights as those of ``videomae``, by Hugging Face's names."""
    parts = {
        "attn.proj": "attention.output.dense",
        "attn.q_bias": "attention.attention.q_bias",
        "attn.v_bias": "attention.attention.v_bias",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
    }
    tensors: Tensors = {}
    for name, tensor in videomae().items():
        inner = name.removeprefix("model.")
        if not inner.startswith("encoder."):
            continue
        inner = inner.removeprefix("encoder.")
        if "attn.qkv" in inner:
            layer = f"videomae.encoder.layer.{inner.split('.')[1]}.attention.attention."
            for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                tensors[f"{layer}{part}.weight"] = third.clone()
        elif inner.startswith("blocks"):
            _, layer, rest = inner.split(".", 2)
            theirs = next(new for old, new in parts.items() if rest.startswith(old))
            kind = "" if rest.endswith("_bias") else f".{rest.rpartition('.')[2]}"
            tensors[f"videomae.encoder.layer.{layer}.{theirs}{kind}"] = tensor
        else:
            start = {"patch_embed.proj": "embeddings.patch_embeddings.projection"}
            stem, _, kind = inner.rpartition(".")
            tensors[f"videomae.{start.get(stem, 'layernorm')}.{kind}"] = tensor
    return {**tensors, **draw({"mask_token": (1, 1, 24)}, 6)}


def timm_vit() -> Tensors:
    shapes = encoder_shapes("", "whole")
    shapes["patch_embed.proj.weight"] = (DIM, 3, 8, 8)
    shapes |= {"cls_token": (1, 1, DIM), "pos_embed": (1, 17, DIM), "head.weight": (5, DIM)}
    shapes |= {f"blocks.{i}.ls{j}.gamma": (DIM,) for i in range(DEPTH) for j in (1, 2)}
    return draw(shapes, seed=7)


MADE: dict[str, Callable[[], Found]] = {
    "vjepa": lambda: Found(tensors=jepa(2, table=True)),
    "vjepa2": lambda: Found(tensors=jepa(10, table=True)),
    "vjepa21": lambda: Found(tensors=jepa21()),
    "echojepa": lambda: Found(
        tensors={n.replace("module.", ""): t for n, t in jepa(10, table=False).items()},
        words={"itr": 300},
    ),
    "hf_vjepa2": lambda: Found(
        tensors=hf_jepa2(), words={"config": {"num_attention_heads": HEADS, "crop_size": SIZE}}
    ),
    "discovr": lambda: Found(
        tensors=discovr(), words={"args": {"img_size": SIZE, "encoder_num_heads": HEADS}}
    ),
    "videomae": lambda: Found(
        tensors=videomae(), words={"args": {"input_size": SIZE, "num_frames": FRAMES}}
    ),
    "hf_videomae": lambda: Found(
        tensors=hf_videomae(),
        words={
            "config": {
                "num_attention_heads": HEADS,
                "image_size": SIZE,
                "num_frames": FRAMES,
                "layer_norm_eps": 1e-6,
            }
        },
    ),
    "timm_vit": lambda: Found(tensors=timm_vit()),
}
"""A small file of every format."""
