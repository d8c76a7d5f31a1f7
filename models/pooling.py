"""From the tokens of a clip to one vector."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from .shapes import Embedding, Grid, Tokens

Pool: TypeAlias = Literal["mean", "mean_std", "cls"]
POOLS: tuple[str, ...] = get_args(Pool)


def pool(
    tokens: Tokens, grid: Grid, kind: str, cls: Float[Tensor, "batch dim"] | None = None
) -> Embedding:
    """Summarise a clip.

    Args:
        tokens: Output of an encoder for whole clips.
        grid: Tubelets along time, height and width.
        kind: ``mean`` averages all tokens; ``mean_std`` adds, for every channel, how much a
            place changes over time, averaged over places: motion, which the mean loses;
            ``cls`` is the class token.
        cls: The class token, for ``cls``.

    Raises:
        ValueError: If there is no such kind, or the encoder has no class token.
    """
    if kind == "cls":
        if cls is None:
            raise ValueError("This encoder has no class token; use mean or mean_std.")
        return cls
    if kind == "mean":
        return tokens.mean(dim=1)
    if kind == "mean_std":
        batch, _, dim = tokens.shape
        steps = tokens.reshape(batch, grid[0], -1, dim).unbind(1)
        share = 1 / grid[0]
        mean = steps[0] * share
        for step in steps[1:]:
            mean.add_(step, alpha=share)
        # As torch.std has it, step by step in a tenth of the time; no gradient where nothing
        # changes.
        change = torch.zeros_like(mean)
        for step in steps:
            away = step - mean
            change.addcmul_(away, away, value=share)
        change = change.clamp_min_(torch.finfo(change.dtype).tiny).sqrt_()
        return torch.cat([mean.mean(dim=1), change.mean(dim=1)], dim=1)
    raise ValueError(f"There is no pooling {kind}; kinds are {', '.join(POOLS)}.")


def pooled_dim(dim: int, kind: str) -> int:
    """Return the length of an embedding of tokens of width ``dim``."""
    return 2 * dim if kind == "mean_std" else dim
