"""What the files of the V-JEPA family have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..shapes import Grid
from ..vit import ViTConfig
from ._layout import BLOCK_NAMES, KERNEL, Layout, architecture_of, assemble, named, prefix_of
from .base import Converted, Found, KeysError, Wish

BRANCHES = ("target_encoder", "ema_encoder", "encoder")
"""Networks of a file; the first that is there is the one to evaluate."""
WRAPPERS = r"(module\.)?(backbone\.)?"
"""What distributed training puts before a name."""
TABLE = "pos_embed"
MASK_TOKEN = r"predictor\..*mask_tokens\.\d+"
KINDS_OF_MASKS = 2
"""Mask tokens of V-JEPA's predictor; that of V-JEPA 2 has ten."""
PREDICTOR = {
    rf"predictor\.{WRAPPERS}{names}": "the predictor, used in training only"
    for names in (
        rf"predictor_blocks\.{BLOCK_NAMES}",
        r"predictor_(embed|norm|proj|proj_context)(\.\d)?\.(weight|bias)",
        r"mask_tokens\.\d+",
        r"(img|video)_mod_embed",
        r"predictor_pos_embed",
    )
}


def is_family(found: Found) -> bool:
    """Return whether a file has the names of the V-JEPA family's encoders."""
    prefix = branch_prefix(found.tensors, None)[1]
    if prefix is None or f"{prefix}blocks.0.attn.qkv.weight" not in found.tensors:
        return False
    kernel = found.tensors[f"{prefix}{KERNEL}"]
    return kernel.ndim == 5 and f"{prefix}cls_token" not in found.tensors


def generation(found: Found) -> str | None:
    """Return which format of the family a file is of; ``None`` for none, or if two fit.

    V-JEPA 2 turns queries and keys, yet its files may carry V-JEPA's table of positions. Only
    the predictor tells the two apart, by its number of mask tokens.
    """
    if not is_family(found):
        return None
    if prefix_of(found.tensors, "norms_block.0.weight") is not None:
        return "vjepa21"
    if "itr" in found.words:
        return "echojepa"
    tokens = sum(bool(re.fullmatch(MASK_TOKEN, name)) for name in found.tensors)
    table = prefix_of(found.tensors, TABLE) is not None
    if table and tokens == KINDS_OF_MASKS:
        return "vjepa"
    return None if table and not tokens else "vjepa2"


def branch_prefix(tensors: Mapping[str, Tensor], wish: str | None) -> tuple[str, str | None]:
    """Return which network of a file to take, and what stands before its names."""
    for branch in (wish,) if wish else BRANCHES:
        prefix = prefix_of(tensors, KERNEL, branch)
        if prefix is not None and re.fullmatch(rf"{re.escape(branch)}\.{WRAPPERS}", prefix):
            return branch, prefix
    bare = prefix_of(tensors, KERNEL)
    if not wish and bare is not None and re.fullmatch(WRAPPERS, bare):
        return "encoder", bare
    return wish or "encoder", None


def convert_family(
    found: Found,
    wish: Wish,
    *,
    renamed: Mapping[str, str],
    not_needed: Mapping[str, str],
    usual: tuple[int, int],
    **fields: Any,  # noqa: ANN401
) -> Converted:
    """Turn a file of the family into ours.

    Args:
        found: The file.
        wish: What the user says.
        renamed: Beginnings of our names, and what the file has instead.
        not_needed: Patterns of the encoder's names that are not needed, with the reasons.
        usual: Frames, and rows and columns, of a usual clip.
        fields: Of the encoder's configuration, beside what shapes tell.
    """
    branch, prefix = branch_prefix(found.tensors, wish.branch)
    if prefix is None:
        raise KeysError([f"{branch}.{KERNEL}"], [])
    names = named(prefix, renamed)
    config = ViTConfig(
        frames=wish.frames or usual[0],
        size=wish.size or usual[1],
        **architecture_of(found.tensors, names, wish.heads),
        **fields,
    )
    layout = Layout(
        names=names,
        not_needed={
            **{re.escape(prefix) + pattern: why for pattern, why in not_needed.items()},
            **PREDICTOR,
        },
    )
    others = {
        name: f"the {other}, as {branch} was taken"
        for other in BRANCHES
        if other != branch and prefix_of(found.tensors, KERNEL, other)
        for name in found.tensors
        if name.startswith(f"{other}.")
    }
    rest = {name: tensor for name, tensor in found.tensors.items() if name not in others}
    weights, left_out = assemble(rest, layout, config)
    check_twins(rest, prefix, set(others))
    return Converted(
        config=config, weights=weights, left_out={**left_out, **others}, branch=branch
    )


def check_twins(tensors: Mapping[str, Tensor], prefix: str, others: set[str]) -> None:
    """Check that the other networks of a file have the names of the chosen one.

    Raises:
        KeysError: If one lacks a name or has one more.
    """
    inner = {name.removeprefix(prefix) for name in tensors if name.startswith(prefix)}
    for other in {name.partition(".")[0] for name in others}:
        names = {name for name in others if name.startswith(f"{other}.")}
        where = min((n for n in names if n.endswith(KERNEL)), key=len).removesuffix(KERNEL)
        twins = {f"{where}{name}" for name in inner}
        if names != twins:
            raise KeysError(sorted(twins - names), sorted(names - twins))


def square_grids(tokens: int) -> list[Grid]:
    """Return the grids with square frames that have so many tokens, usual ones first."""
    found = [
        (frames, side, side)
        for side in range(1, int(tokens**0.5) + 1)
        if tokens % side**2 == 0
        for frames in (tokens // side**2,)
    ]
    return sorted(found, key=lambda grid: (grid[0] != 8, -grid[1]))
