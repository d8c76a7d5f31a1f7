"""Label maps by a dense attentive probe on frozen tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from ..dense import DenseProbe
from .segmentation import IMPOSSIBLE, SURE, LinearSegmenter


class DenseSegmenter(DenseProbe):
    """A dense attentive probe whose numbers are the logits of classes.

    Args:
        dim: Width of a token.
        heads: Attention heads.
        tubelet: Frames, rows and columns of pixels that a token covers.
        classes: Mask values, background counted.
        generator: Source of the weights. Without one they are shapes that hold no numbers.
    """

    possible: Tensor

    def __init__(
        self,
        dim: int,
        heads: int,
        tubelet: tuple[int, int, int],
        classes: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(dim, heads, tubelet, classes, generator)
        self.shape: dict[str, int | tuple[int, int, int]] = {
            **{"dim": dim, "heads": heads, "classes": classes},
            "tubelet": tubelet,
        }
        self.tubelet = tubelet
        self.register_buffer("possible", torch.ones(classes, dtype=torch.bool))

    @torch.no_grad()
    def begin_with(self, masks: Integer[Tensor, "maps rows columns"]) -> None:
        """Begin by saying how common each class is in some masks.

        Most pixels are background: without this the first hundreds of steps teach little else,
        and where features are weak nothing but background is called.
        """
        classes = len(self.possible)
        counts = torch.bincount(masks.flatten().long(), minlength=classes) + 1
        assert self.up2.bias is not None
        self.up2.bias.copy_((counts / counts.sum()).log())

    def never_call(self, classes: set[int]) -> None:
        """Make classes impossible that no mask held: some data sets label only the cavity."""
        self.possible[list(classes)] = False

    def forward(  # type: ignore[override]
        self,
        tokens: Float[Tensor, "batch time height width dim"],
        times: Int[Tensor, " batch"],
        slots: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch classes rows columns"]:
        """Return the logits of one frame of each window.

        Args:
            tokens: As the probe takes them.
            times: Tubelet of the frame.
            slots: Which frame of its tubelet, from 0.
        """
        rows = torch.arange(len(tokens), device=tokens.device)
        drawn = super().forward(tokens, times)[rows, :, slots]
        seen = ~tokens[rows, times, ..., 0].isnan()
        return self._sure(drawn[:, :, None], seen[:, None])[:, :, 0]

    @torch.no_grad()
    def logits(
        self, tokens: Float[Tensor, "batch time height width dim"]
    ) -> Float[Tensor, "batch frames classes rows columns"]:
        """Return the logits of every frame of every window, at full resolution."""
        seen = ~tokens[..., 0].isnan()
        frames = seen.repeat_interleave(self.tubelet[0], dim=1)
        return self._sure(super().forward(tokens), frames).transpose(1, 2)

    def _sure(
        self,
        logits: Float[Tensor, "batch classes frames rows columns"],
        seen: Bool[Tensor, "batch frames height width"],
    ) -> Float[Tensor, "batch classes frames rows columns"]:
        """Return background where nothing was looked at, and no class that cannot be."""
        _, rows, columns = self.tubelet
        whole = seen.repeat_interleave(rows, dim=2).repeat_interleave(columns, dim=3)
        background = logits.new_zeros(1, logits.shape[1], 1, 1, 1)
        background[:, 0] = SURE
        found = torch.where(whole[:, None], logits, background)
        return found.masked_fill(~self.possible[:, None, None, None], IMPOSSIBLE)

    def state(self) -> dict[str, Tensor]:
        """Return everything that ``from_state`` needs."""
        return {
            **{name: torch.tensor(value) for name, value in self.shape.items()},
            **self.state_dict(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> DenseSegmenter:
        """Return the fitted head."""
        rest = dict(state)
        dim, heads, classes = (int(rest.pop(name)) for name in ("dim", "heads", "classes"))
        frames, rows, columns = (int(side) for side in rest.pop("tubelet"))
        head = cls(dim, heads, (frames, rows, columns), classes, None)
        head.load_state_dict(rest, assign=True)
        return head.requires_grad_(False).eval()


Segmenter: TypeAlias = LinearSegmenter | DenseSegmenter
"""A fitted head: both give logits, and a state to be saved."""
