"""What stands on an encoder and is trained on labels: a linear layer on what it gathers.

A task adds what the numbers mean. A readout starts by saying zero, whatever it sees.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .attentive import AttentivePooler
from .finetune import Check, Example, FitConfig, RowLoss, train_on_labels
from .layers import linear
from .pooling import pool, pooled_dim
from .shapes import TokenIds, Video
from .vit import VisionTransformer


class TokenReadout(nn.Module):
    """An attentive pooler and a linear layer.

    Args:
        dim: Width of a token.
        heads: Attention heads.
        depth: Blocks of the pooler.
        outputs: Numbers said of each clip.
        generator: Source of the weights. Without one they are shapes that hold no numbers.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        depth: int,
        outputs: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.pooler = AttentivePooler(dim, heads, depth, generator)
        self.readout = linear(dim, outputs, generator)
        if generator is not None:
            nn.init.zeros_(self.readout.weight)

    def forward(
        self, tokens: Float[Tensor, "rows tokens dim"]
    ) -> Float[Tensor, "rows outputs"]:
        """Return what is said of each row."""
        said: Tensor = self.readout(self.pooler(tokens))
        return said


class PooledReadout(nn.Module):
    """An encoder in training and a linear layer on its pooled tokens.

    Args:
        encoder: Changed by training.
        kind: How tokens become one vector; see ``pooling.py``.
        outputs: Numbers said of each clip.
    """

    def __init__(self, encoder: VisionTransformer, kind: str, outputs: int) -> None:
        super().__init__()
        self.encoder, self.kind = encoder, kind
        width = pooled_dim(encoder.config.dim, kind)
        # Change over time is small beside the mean; without a common scale nothing hears it.
        self.scale = nn.BatchNorm1d(width, affine=False)
        self.readout = nn.Linear(width, outputs)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(
        self, video: Video, keep: TokenIds | None = None
    ) -> Float[Tensor, "batch outputs"]:
        """Return what is said of each clip.

        Args:
            video: Normalised clips.
            keep: Ids of the tokens to look at, equally many at every time; all if left out.
        """
        grid = self.encoder.grid(video.shape)
        cls, tokens = self.encoder.embed(video, keep)
        with torch.autocast(video.device.type, enabled=False):
            vectors = pool(
                tokens.float(), grid, self.kind, None if cls is None else cls.float()
            )
            said: Tensor = self.readout(self.scale(vectors))
        return said

    @torch.no_grad()
    def on_raw_features(
        self,
    ) -> tuple[Float[Tensor, "outputs dim"], Float[Tensor, " outputs"]]:
        """Return slopes and offsets of the linear layer, for features that are not scaled."""
        mean, variance = self.scale.running_mean, self.scale.running_var
        assert mean is not None
        assert variance is not None
        slopes = self.readout.weight.double() / (variance.double() + self.scale.eps).sqrt()
        return slopes.cpu(), (self.readout.bias.double() - slopes @ mean.double()).cpu()


def train_on_tokens(
    readout: nn.Module,
    tokens: Float[Tensor, "clips windows tokens dim"],
    wanted: Tensor,
    loss: RowLoss,
    held_out: Bool[Tensor, " clips"],
    config: FitConfig,
    generator: torch.Generator,
    precision: str,
) -> list[Check]:
    """Train a readout on kept tokens, one window of a clip at a time.

    Args:
        readout: Changed in place; it stands on the device that computes.
        tokens: In memory or mapped from a file: only the rows of a batch are read at once.
        wanted: What to say of each clip, on the readout's device.
        loss: What to minimise.
        held_out: Clips by which the best moment is chosen.
        config: How.
        generator: Draws batches and windows.
        precision: ``bf16`` computes matrix products in bfloat16.
    """
    device = wanted.device

    def look(rows: Tensor, draw: torch.Generator | None) -> Example:
        middle = torch.full((len(rows),), tokens.shape[1] // 2)
        windows = (
            middle
            if draw is None
            else torch.randint(tokens.shape[1], (len(rows),), generator=draw)
        )
        return (tokens[rows, windows].to(device, torch.float32),), wanted[rows]

    rounds = train_on_labels(
        readout, look, loss, held_out, config, generator, precision=precision
    )
    return list(rounds)


@torch.no_grad()
def mean_over_windows(
    readout: nn.Module,
    tokens: Float[Tensor, "clips windows tokens dim"],
    batch: int,
    device: torch.device,
) -> Tensor:
    """Return what a readout says of clips, each the mean over its windows, on the processor.

    Args:
        readout: In evaluation mode.
        tokens: Of the clips.
        batch: Clips at a time.
        device: Where the readout stands.
    """
    found = []
    for rows in torch.split(tokens, batch):
        said = readout(rows.flatten(0, 1).to(device, torch.float32))
        found.append(said.unflatten(0, rows.shape[:2]).mean(dim=1).cpu())
    return torch.cat(found)
