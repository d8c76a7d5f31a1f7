"""The dense attentive probe: every place of a window asks all others, then is drawn large."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .attentive import PROBE_EPS, CrossAttention
from .layers import MLP, learned_token
from .shapes import Grid

HIDDEN_SHARE = 4
"""The width between both transposed convolutions is that of a token divided by this."""


class DenseProbe(nn.Module):
    """Numbers of every pixel: cross-attention, an MLP, and two transposed convolutions.

    V-JEPA's probe gathers a clip into one vector, from which no map can be drawn. Here each
    place of the grid has a query, its own token and what all places learn to ask; it gathers
    from all tokens of the window. The first convolution divides a tubelet into its frames and
    some rows and columns, the second divides those into pixels.

    Args:
        dim: Width of a token.
        heads: Attention heads; as many as the encoder has.
        tubelet: Frames, rows and columns of pixels that a token covers.
        outputs: Numbers said of each pixel.
        generator: Source of the weights. Without one they are shapes that hold no numbers.

    Source:
        Ellis et al. 2025 (arXiv 2507.18424): attentive probe, then a shallow decoder of two
        transposed convolutions, on a frozen encoder. It does not say how a probe with one query
        keeps the grid; a query a place is our reading of it.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        tubelet: Grid,
        outputs: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads must divide width {dim}.")
        frames, rows, columns = tubelet
        (row_steps, row_rest), (column_steps, column_rest) = factors(rows), factors(columns)
        hidden = max(1, dim // HIDDEN_SHARE)
        self.query = learned_token(dim, generator)
        self.norm1 = nn.LayerNorm(dim, eps=PROBE_EPS)
        self.attn = CrossAttention(dim, heads, generator)
        self.norm2 = nn.LayerNorm(dim, eps=PROBE_EPS)
        self.mlp = MLP(dim, 4 * dim, generator)
        self.up1 = _enlarge(dim, hidden, (frames, row_steps, column_steps), generator)
        self.up2 = _enlarge(hidden, outputs, (1, row_rest, column_rest), generator)

    def forward(
        self,
        tokens: Float[Tensor, "batch time height width dim"],
        times: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch outputs frames rows columns"]:
        """Return the numbers of every pixel.

        Args:
            tokens: Frozen tokens of windows; NaN where nothing was looked at: nobody gathers
                from there, and what is said there means nothing.
            times: Which tubelets to draw, one of each window; all if left out.
        """
        batch, time, height, width, dim = tokens.shape
        seen = ~tokens[..., 0].isnan().flatten(1)
        flat = tokens.flatten(1, 3).nan_to_num()
        known = self.norm1(flat)
        if times is None:
            own, asked = flat, known
        else:
            rows, grid = torch.arange(batch, device=tokens.device), (batch, time, -1, dim)
            own, asked = flat.view(grid)[rows, times], known.view(grid)[rows, times]
        # Attention without a mask is the faster.
        mask = None if bool(seen.all()) else seen
        gathered = own + self.attn(asked + self.query, known, mask)
        drawn = gathered + self.mlp(self.norm2(gathered))
        maps = drawn.view(batch, -1, height, width, dim).permute(0, 4, 1, 2, 3)
        pixels: Tensor = self.up2(F.gelu(self.up1(maps)))
        return pixels


def factors(side: int) -> tuple[int, int]:
    """Return the two factors of a patch's side that differ least, the greater first."""
    least = max(step for step in range(1, math.isqrt(side) + 1) if side % step == 0)
    return side // least, least


def _enlarge(
    inputs: int, outputs: int, steps: Grid, generator: torch.Generator | None
) -> nn.ConvTranspose3d:
    """Return a transposed convolution whose blocks of output do not overlap."""
    layer = nn.ConvTranspose3d(inputs, outputs, steps, stride=steps, device="meta")
    if generator is None:
        return layer
    # Every output has one place of input, so Xavier's fans are the widths.
    bound = math.sqrt(6 / (inputs + outputs))
    weight = torch.empty(inputs, outputs, *steps)
    layer.weight = nn.Parameter(weight.uniform_(-bound, bound, generator=generator))
    layer.bias = nn.Parameter(torch.zeros(outputs))
    return layer
