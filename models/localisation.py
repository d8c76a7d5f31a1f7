"""Where one token lies, seen from another: the loss that teaches places."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .layers import linear, take
from .shapes import Grid, Scalar


class PairLocator(nn.Module):
    """Guess from two tokens where the first lies, seen from the second.

    Args:
        dim: Width of a token.
        hidden: Width inside.
        generator: Source of the weights.

    Source:
        Ellis et al. 2025 (arXiv 2507.18424): three fully connected layers on both tokens.
        They do not state width or activation; ReLU and the width are those of their
        two-dimensional ancestor (Liu et al. 2021, arXiv 2106.03746).
    """

    def __init__(self, dim: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            linear(2 * dim, hidden, generator),
            nn.ReLU(),
            linear(hidden, hidden, generator),
            nn.ReLU(),
            linear(hidden, 3, generator),
        )

    def forward(
        self,
        tokens: Float[Tensor, "rows tokens dim"],
        first: Int[Tensor, "rows pairs"],
        second: Int[Tensor, "rows pairs"],
    ) -> Float[Tensor, "rows pairs 3"]:
        """Return offsets along time, height and width, as shares of the grid's sides."""
        pairs = torch.cat([take(tokens, first), take(tokens, second)], dim=-1)
        offsets: Tensor = self.layers(pairs)
        return offsets


def sample_pairs(
    rows: int, tokens: int, pairs: int, generator: torch.Generator
) -> tuple[Int[Tensor, "rows pairs"], Int[Tensor, "rows pairs"]]:
    """Draw pairs of two different tokens, with replacement between pairs.

    Args:
        rows: Number of clips.
        tokens: Tokens to choose from; a single one is paired with itself.
        pairs: Pairs a clip.
        generator: Source of the draw.
    """
    shape, device = (rows, pairs), generator.device
    first = torch.randint(tokens, shape, generator=generator, device=device)
    step = torch.randint(1, max(2, tokens), shape, generator=generator, device=device)
    return first, (first + step) % tokens


def coordinates(ids: Int[Tensor, "rows kept"], grid: Grid) -> Float[Tensor, "rows kept 3"]:
    """Return time, row and column of tokens, in tubelets."""
    _, height, width = grid
    time, row, column = ids // (height * width), ids // width % height, ids % width
    return torch.stack([time, row, column], dim=-1).float()


def offsets_between(
    ids: Int[Tensor, "rows kept"],
    first: Int[Tensor, "rows pairs"],
    second: Int[Tensor, "rows pairs"],
    grid: Grid,
) -> Float[Tensor, "rows pairs 3"]:
    """Return where first tokens lie, seen from second ones, as shares of the grid's sides.

    Args:
        ids: Of the tokens that pairs are taken from.
        first: Numbers of the first tokens in ``ids``.
        second: Numbers of the second tokens.
        grid: Tubelets along time, height and width.
    """
    frames, height, width = grid
    places = coordinates(ids, grid)
    apart = (take(places, first) - take(places, second)).unbind(dim=-1)
    return torch.stack([apart[0] / frames, apart[1] / height, apart[2] / width], dim=-1)


def localisation_loss(
    predicted: Float[Tensor, "rows pairs 3"], offsets: Float[Tensor, "rows pairs 3"]
) -> Scalar:
    """Return the squared length of the error, averaged over pairs and clips.

    Args:
        predicted: Offsets along time, height and width, as shares of the grid's sides.
        offsets: The true ones.

    Source:
        Ellis et al. 2025 (arXiv 2507.18424), the 3D localisation loss.
    """
    return (predicted.float() - offsets).square().sum(dim=-1).mean()
