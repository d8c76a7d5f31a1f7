"""Label maps by one linear layer from tokens, frozen or in training with it.

Each token is mapped to the logits of all pixels of its own tubelet: a linear map from tokens to
a video at full resolution. The other common linear head, tokens upsampled between patches and
then a linear map to classes, has one logit a patch and structure to shape with; the muscle is
thinner than a patch, so it cannot be drawn that way. Inside a patch only the token's own
features can say where a border runs: that is what the probe measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn
from torch.nn import functional

from ..sector import to_grid
from ..shapes import TokenIds, Video
from ..vit import VisionTransformer

IMPOSSIBLE = -1e4
"""Logit of a class that cannot be; finite, so that resizing makes no NaN of it."""
SURE = 10.0
"""Logit of the background where nothing was looked at; the others' is 0. No surer, so that
resizing does not push it into the patches beside."""


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig:
    """How the linear layer is fitted: AdamW, cosine to zero, cross entropy of all pixels."""

    steps: int = 600
    batch: int = 16
    """Labelled frames a step."""
    lr: float = 3e-2
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or self.lr <= 0 or self.weight_decay < 0:
            raise ValueError("Steps, batch and lr must be positive, decay not negative.")


class LinearSegmenter:
    """One linear layer from a token to the classes of its tubelet's pixels.

    Args:
        tubelet: Frames, rows and columns of pixels that a token covers.
        classes: Mask values, background counted.
        config: How it is fitted.
    """

    def __init__(
        self,
        tubelet: tuple[int, int, int],
        classes: int = 4,
        config: SegmentationConfig | None = None,
    ) -> None:
        self.tubelet = tubelet
        self.classes = classes
        self.config = config or SegmentationConfig()
        self.weight_: Tensor
        self.bias_: Tensor
        self.mean_: Tensor
        self.sd_: Tensor

    def fit(
        self,
        tokens: Float[Tensor, "maps height width dim"],
        slots: Int[Tensor, " maps"],
        masks: Integer[Tensor, "maps rows columns"],
        generator: torch.Generator,
    ) -> LinearSegmenter:
        """Fit on labelled frames.

        Args:
            tokens: Frozen tokens of the tubelet that holds the labelled frame; NaN where
                nothing was looked at, which is background and teaches nothing.
            slots: Which frame of its tubelet is labelled, from 0.
            masks: Mask of that frame, at the model's size.
            generator: Draws batches and first weights.

        Raises:
            ValueError: If there are no maps or a mask value is out of range.
        """
        if not len(masks) or int(masks.max()) >= self.classes or int(masks.min()) < 0:
            raise ValueError(f"Masks are needed, with values from 0 to {self.classes - 1}.")
        device, dim = tokens.device, tokens.shape[-1]
        flat = tokens.reshape(-1, dim).float()
        flat = flat[~flat.isnan().any(dim=1)]
        self.mean_ = flat.mean(dim=0)
        self.sd_ = flat.std(dim=0, unbiased=False).clamp(min=1e-6)
        weight, bias = self.start(dim, generator, device)
        config = self.config
        groups = [
            {"params": [weight], "weight_decay": config.weight_decay},
            {"params": [bias], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
        for _ in range(config.steps):
            rows_drawn = torch.randint(len(masks), (config.batch,), generator=generator)
            drawn = rows_drawn.to(device)
            logits = self.frame_logits(tokens[drawn], slots[drawn])
            optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(logits, masks[drawn].long()))
            optimizer.step()
            schedule.step()
        self.weight_, self.bias_ = weight.detach(), bias.detach()
        self.never_call(set(range(self.classes)) - set(torch.unique(masks).tolist()))
        return self

    def start(
        self, dim: int, generator: torch.Generator, device: torch.device
    ) -> tuple[nn.Parameter, nn.Parameter]:
        """Draw first weights and return them, to be trained."""
        frames, rows, columns = self.tubelet
        shape = (frames, self.classes * rows * columns, dim)
        weight = torch.randn(shape, generator=generator) * dim**-0.5 * 0.1
        trained = (
            nn.Parameter(weight.to(device)),
            nn.Parameter(torch.zeros(shape[:2], device=device)),
        )
        self.weight_, self.bias_ = trained
        return trained

    @torch.no_grad()
    def logits(
        self, tokens: Float[Tensor, "batch time height width dim"]
    ) -> Float[Tensor, "batch frames classes rows columns"]:
        """Return the logits of every frame of every window, at full resolution."""
        batch, time = tokens.shape[:2]
        flat = tokens.flatten(0, 1)
        slots = [
            self.frame_logits(flat, torch.full((len(flat),), slot, device=flat.device))
            for slot in range(self.tubelet[0])
        ]
        frames = torch.stack(slots, dim=1)
        return frames.reshape(batch, time * self.tubelet[0], *frames.shape[2:])

    def predict(
        self, tokens: Float[Tensor, "batch time height width dim"]
    ) -> Int[Tensor, "batch frames rows columns"]:
        """Return the most likely class of every pixel of every frame."""
        return self.logits(tokens).argmax(dim=2)

    def state(self) -> dict[str, Tensor]:
        """Return everything that ``from_state`` needs."""
        return {
            "weight": self.weight_,
            "bias": self.bias_,
            "mean": self.mean_,
            "sd": self.sd_,
            "tubelet": torch.tensor(self.tubelet),
            "classes": torch.tensor(self.classes),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> LinearSegmenter:
        """Return the fitted head."""
        frames, rows, columns = (int(side) for side in state["tubelet"])
        head = cls((frames, rows, columns), int(state["classes"]))
        head.weight_, head.bias_ = state["weight"], state["bias"]
        head.mean_, head.sd_ = state["mean"], state["sd"]
        return head

    def to(self, device: torch.device | str) -> LinearSegmenter:
        """Move the fitted head."""
        for name in ("weight_", "bias_", "mean_", "sd_"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def never_call(self, classes: set[int]) -> None:
        """Make classes impossible that no mask held: some data sets label only the cavity."""
        pixels = self.tubelet[1] * self.tubelet[2]
        for number in classes:
            own = slice(number * pixels, (number + 1) * pixels)
            self.weight_[:, own] = 0
            self.bias_[:, own] = IMPOSSIBLE

    def frame_logits(
        self, tokens: Float[Tensor, "maps height width dim"], slots: Int[Tensor, " maps"]
    ) -> Float[Tensor, "maps classes rows columns"]:
        """Return the logits of one frame of each tubelet."""
        maps, height, width, _ = tokens.shape
        _, patch_rows, patch_columns = self.tubelet
        x = ((tokens.float() - self.mean_) / self.sd_).flatten(1, 2)
        unseen = x.isnan().any(dim=2, keepdim=True)
        x = x.nan_to_num()
        pixels = x.new_empty(maps, height * width, self.bias_.shape[1])
        for slot in range(self.tubelet[0]):
            chosen = slots == slot
            pixels[chosen] = x[chosen] @ self.weight_[slot].T + self.bias_[slot]
        background = torch.zeros(self.classes, patch_rows * patch_columns, device=x.device)
        background[0] = SURE
        pixels = torch.where(unseen, background.flatten(), pixels)
        grid = pixels.view(maps, height, width, self.classes, patch_rows, patch_columns)
        # A patch's rows belong inside its row of the grid: interleave them.
        return grid.permute(0, 3, 1, 4, 2, 5).reshape(
            maps, self.classes, height * patch_rows, width * patch_columns
        )


class FrameSegmenter(nn.Module):
    """An encoder in training and the linear layer from its tokens to one frame of each clip.

    Args:
        encoder: Changed by training.
        classes: Mask values, background counted.
        generator: Draws the first weights of the linear layer.
    """

    def __init__(
        self, encoder: VisionTransformer, classes: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.encoder = encoder
        device, dim = encoder.norm.weight.device, encoder.config.dim
        self.head = LinearSegmenter(encoder.config.tubelet, classes)
        self.head.mean_ = torch.zeros(dim, device=device)
        self.head.sd_ = torch.ones(dim, device=device)
        self.weight, self.bias = self.head.start(dim, generator, device)

    def forward(
        self, video: Video, frames: Int[Tensor, " batch"], keep: TokenIds | None = None
    ) -> Float[Tensor, "batch classes height width"]:
        """Return the logits of a frame of each clip.

        Args:
            video: Normalised clips.
            frames: Position of the frame in its clip.
            keep: Ids of the tokens to look at; all if left out.
        """
        grid, step = self.encoder.grid(video.shape), self.head.tubelet[0]
        tokens = self.encoder(video, keep).float()
        whole = (
            tokens.reshape(len(video), *grid, -1)
            if keep is None
            else to_grid(tokens, keep, grid)
        )
        rows = torch.arange(len(video), device=video.device)
        with torch.autocast(video.device.type, enabled=False):
            return self.head.frame_logits(whole[rows, frames // step], frames % step)


def mask_loss(
    said: Float[Tensor, "maps classes rows columns"],
    wanted: Integer[Tensor, "maps rows columns"],
) -> Float[Tensor, " maps"]:
    """Return the cross entropy of each map, the mean over its pixels."""
    return functional.cross_entropy(said, wanted.long(), reduction="none").mean(dim=(1, 2))
