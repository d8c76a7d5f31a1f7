"""From names and shapes in a file to ours, with every name accounted for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..vit import SIZES, VisionTransformer, ViTConfig
from .base import KeysError

KERNEL = "patch_embed.proj.weight"
BLOCK_NAMES = r"\d+\.(norm1|norm2|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.(weight|bias)"
"""Pattern of the names inside a stack of blocks."""
MOST_BLOCKS = 200

Names = Callable[[str], tuple[str, ...]]
"""The names in a file that make up one of our weights: one, or its parts in order. An empty
part stands for zeros."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a file names things."""

    names: Names
    not_needed: Mapping[str, str]
    """Patterns of whole names that are known and not needed, each with the reason."""


def assemble(
    tensors: Mapping[str, Tensor], layout: Layout, config: ViTConfig
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Put our weights together.

    Returns:
        Our weights, and the names that are not needed with the reasons.

    Raises:
        KeysError: If a name is missing or unexpected, or a tensor has another shape.
    """
    ours = VisionTransformer(config, None).state_dict()
    wanted = expected_shapes(ours, layout.names, config)
    missing = [name for name in wanted if name not in tensors]
    wrong = [
        f"{name} is {tuple(tensors[name].shape)}, not {shape}"
        for name, shape in wanted.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    others = [name for name in tensors if name not in wanted]
    left_out = {name: why for name in others if (why := reason(name, layout)) is not None}
    unexpected = [name for name in others if name not in left_out]
    if missing or unexpected or wrong:
        raise KeysError(missing, unexpected, wrong)
    weights = {
        name: join([tensors.get(part) for part in layout.names(name)], tensor)
        for name, tensor in ours.items()
    }
    return weights, left_out


def expected_shapes(
    ours: Mapping[str, Tensor], names: Names, config: ViTConfig
) -> dict[str, tuple[int, ...]]:
    """Return the names that a file should hold, with the shapes of their tensors."""
    wanted: dict[str, tuple[int, ...]] = {}
    for name, tensor in ours.items():
        shape, parts = tuple(tensor.shape), names(name)
        if name.endswith("_embed.proj.weight"):
            frames = 1 if name.startswith("still") else config.tubelet[0]
            shape = (shape[0], config.channels, frames, *config.tubelet[1:])
        if len(parts) > 1:
            shape = (shape[0] // len(parts), *shape[1:])
        wanted.update({part: shape for part in parts if part})
    return wanted


def join(parts: list[Tensor | None], like: Tensor) -> Tensor:
    """Return one of our weights, in float32, from its parts; ``None`` is zeros."""
    whole = next(part for part in parts if part is not None)
    if len(parts) > 1:
        whole = torch.cat([torch.zeros_like(whole) if p is None else p for p in parts])
    return whole.reshape(like.shape).float()


def reason(name: str, layout: Layout) -> str | None:
    """Return why a name is not needed; ``None`` if it is not known."""
    found = (why for pattern, why in layout.not_needed.items() if re.fullmatch(pattern, name))
    return next(found, None)


def architecture_of(
    tensors: Mapping[str, Tensor], names: Names, heads: int | None
) -> dict[str, Any]:
    """Return what the shapes in a file tell of an encoder.

    Raises:
        KeysError: If there is no patch embedding.
        ValueError: If the number of heads is neither told nor known for the width.
    """
    (kernel_name,) = names(KERNEL)
    if kernel_name not in tensors:
        raise KeysError([kernel_name], [])
    dim, channels, *tubelet = tensors[kernel_name].shape
    depth = 1 + max(
        (i for i in range(MOST_BLOCKS) if names(f"blocks.{i}.norm1.weight")[0] in tensors),
        default=-1,
    )
    (first,) = names("blocks.0.mlp.fc1.weight")
    if depth == 0 or first not in tensors:
        raise KeysError([first], [])
    return {
        "tubelet": tuple(tubelet),
        "channels": channels,
        "dim": dim,
        "depth": depth,
        "heads": heads or heads_of(dim),
        "mlp_ratio": len(tensors[first]) / dim,
    }


def heads_of(dim: int) -> int:
    """Return the heads of the published size with a width.

    Raises:
        ValueError: If there is none: shapes do not tell.
    """
    for size in SIZES.values():
        if size["dim"] == dim:
            return int(size["heads"])
    raise ValueError(
        f"No published encoder is {dim} wide, and a file's shapes do not tell its number of "
        "attention heads; say it."
    )


def named(prefix: str, renamed: Mapping[str, str]) -> Names:
    """Return how a file names our weights, if as we do but for a prefix and some beginnings."""

    def names(ours: str) -> tuple[str, ...]:
        for beginning, theirs in renamed.items():
            if ours.startswith(beginning):
                return (f"{prefix}{theirs}{ours.removeprefix(beginning)}",)
        return (f"{prefix}{ours}",)

    return names


def prefix_of(tensors: Mapping[str, Tensor], ending: str, branch: str = "") -> str | None:
    """Return what stands before a name in a file; ``None`` if it is not there.

    Args:
        tensors: Of the file.
        ending: A name such as ``patch_embed.proj.weight``.
        branch: Part of the file to look in.
    """
    found = [name for name in tensors if re.fullmatch(rf"(.*\.)?{re.escape(ending)}", name)]
    inside = [name for name in found if not branch or name.startswith(f"{branch}.")]
    return min(inside, key=len).removesuffix(ending) if inside else None
