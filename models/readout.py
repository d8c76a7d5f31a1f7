"""What stands on an encoder and is trained on labels: a linear layer on what it gathers.

A task adds what the numbers mean. A readout starts by saying zero, whatever it sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .attentive import AttentivePooler
from .finetune import Check, Example, FitConfig, RowLoss, hold_out, train_on_labels
from .layers import learned_token, linear
from .pooling import pool, pooled_dim
from .shapes import TokenIds, Video
from .vit import VisionTransformer

Probe = TypeVar("Probe", bound="AttentiveFit")


@dataclass(frozen=True, kw_only=True)
class Views:
    """What an attentive readout looks at together: so many clips of so many views."""

    count: int
    """Views; each has a learned mark."""
    clips: int = 1
    """Places for clips of one view; each has a learned mark."""
    dropout: float = 0.1
    """Share of the views that are hidden in training; one is always shown (EchoJEPA: 0.1)."""

    def __post_init__(self) -> None:
        if self.count < 1 or self.clips < 1:
            raise ValueError(f"There are {self.count} views of {self.clips} clips.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; give a share below 1.")


class TokenReadout(nn.Module):
    """An attentive pooler and a linear layer.

    With ``views`` it looks at several clips of one heart at once.

    Args:
        dim: Width of a token.
        heads: Attention heads.
        depth: Blocks of the pooler.
        outputs: Numbers said of each row.
        generator: Source of the weights. Without one they are shapes that hold no numbers.
        views: How many clips of how many views are looked at together; one clip if left out.

    Source:
        EchoJEPA (2026, arXiv 2602.02603), its multi-view probe: tokens of all clips one after
        the other, a learned mark of the view and one of the clip added to each, clips that are
        missing masked out as keys.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        depth: int,
        outputs: int,
        generator: torch.Generator | None,
        views: Views | None = None,
    ) -> None:
        super().__init__()
        self.pooler = AttentivePooler(dim, heads, depth, generator)
        self.readout = linear(dim, outputs, generator)
        if generator is not None:
            nn.init.zeros_(self.readout.weight)
        if views is not None:
            self.of_view = _marks(views.count, dim, generator)
            self.of_clip = _marks(views.clips, dim, generator)

    def forward(
        self,
        tokens: Float[Tensor, "rows *places tokens dim"],
        seen: Bool[Tensor, "rows places"] | None = None,
    ) -> Float[Tensor, "rows outputs"]:
        """Return what is said of each row.

        Args:
            tokens: Of a clip; with ``views`` of the clips of the first view, then of the
                second ...
            seen: With ``views``: which clips are there; what stands in the place of the others
                is no matter.
        """
        if seen is None:
            pooled = self.pooler(tokens)
        else:
            marks = (self.of_view[:, None] + self.of_clip).flatten(0, 1)
            marked = (tokens + marks[:, None]).flatten(1, 2)
            pooled = self.pooler(marked, seen.repeat_interleave(tokens.shape[2], dim=1))
        said: Tensor = self.readout(pooled)
        return said


def _marks(count: int, dim: int, generator: torch.Generator | None) -> nn.Parameter:
    marks = [learned_token(dim, generator)[0] for _ in range(count)]
    return nn.Parameter(torch.cat(marks).detach())


def hide_views(
    seen: Bool[Tensor, "rows places"], views: Views, generator: torch.Generator
) -> Bool[Tensor, "rows places"]:
    """Return which clips are shown in training: some views are left out, never the last one.

    Args:
        seen: Which of them are there.
        views: How many of each view, and how often one is left out.
        generator: Source of the draws.
    """
    of_view = seen.view(len(seen), views.count, views.clips)
    luck = torch.rand(of_view.shape[:2], generator=generator).to(seen.device)
    luck = torch.where(of_view.any(dim=2), luck, -1.0)
    shown = (luck >= views.dropout) | (luck == luck.amax(dim=1, keepdim=True))
    return seen & shown.repeat_interleave(views.clips, dim=1)


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


class AttentiveFit:
    """What the attentive probes of all tasks share: how they are trained, asked and kept.

    Training looks at one window of a clip at a time; what is said is the mean over all of them.
    Some of the patients are held out, and the weights that serve them best are kept.

    A row is a clip; with ``views`` it is a study, whose clips are looked at together.

    Args:
        heads: Attention heads; normally the encoder's.
        depth: Blocks of the pooler; see ``AttentivePooler``.
        config: How it is fitted.
        device: Where it computes; the tokens may stay elsewhere.
        precision: ``bf16`` fits with matrix products in bfloat16; answers are in float32.
        views: What is looked at together; clips alone if left out.
    """

    def __init__(
        self,
        heads: int,
        depth: int = 1,
        config: FitConfig | None = None,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        views: Views | None = None,
    ) -> None:
        self.heads, self.depth, self.views = heads, depth, views
        self.config = config or FitConfig()
        self.device, self.precision = torch.device(device), precision
        self.model_: TokenReadout
        self.checks_: list[Check]

    def learn(
        self,
        tokens: Float[Tensor, "clips windows tokens dim"],
        wanted: Tensor,
        outputs: int,
        loss: RowLoss,
        patients: Int[Tensor, " rows"],
        generator: torch.Generator,
        places: Int[Tensor, "rows places"] | None = None,
    ) -> Bool[Tensor, " rows"]:
        """Train a readout and return which rows were held out.

        Args:
            tokens: In memory or mapped from a file: only the rows of a batch are read at once.
            wanted: What to say of each row.
            outputs: Numbers said of each row.
            loss: What to minimise.
            patients: Number of each row's patient; all rows of one are held out together.
            generator: Draws first weights, the patients held out, batches and windows.
            places: With ``views``: the clip in each place of a study, -1 where there is none.

        Raises:
            ValueError: If there are fewer than two patients.
        """
        held_out = hold_out(patients, self.config.held_out, generator)
        self.model_ = self._network(tokens.shape[-1], outputs, generator).to(self.device)
        wanted = wanted.to(self.device)

        def look(rows: Tensor, draw: torch.Generator | None) -> Example:
            clips = rows if places is None else places[rows]
            count = tokens.shape[1]
            windows = torch.full(clips.shape, count // 2)
            if draw is not None:
                windows = torch.randint(count, clips.shape, generator=draw)
            given = tokens[clips.clamp(min=0), windows].to(self.device, torch.float32)
            if self.views is None:
                return (given,), wanted[rows]
            seen = clips >= 0
            if draw is not None:
                seen = hide_views(seen, self.views, draw)
            return (given, seen.to(self.device)), wanted[rows]

        rounds = train_on_labels(
            self.model_, look, loss, held_out, self.config, generator, precision=self.precision
        )
        self.checks_ = list(rounds)
        return held_out

    @torch.no_grad()
    def answers(
        self,
        tokens: Float[Tensor, "clips windows tokens dim"],
        places: Int[Tensor, "rows places"] | None = None,
    ) -> Float[Tensor, "rows outputs"]:
        """Return what is said of each row, the mean over windows, on the processor.

        Args:
            tokens: Of the clips.
            places: With ``views``: the clip in each place of a study, -1 where there is none.
        """
        found = []
        all_rows = torch.arange(len(tokens if places is None else places))
        for rows in torch.split(all_rows, self.config.batch):
            clips = rows if places is None else places[rows]
            seen = () if places is None else ((clips >= 0).to(self.device),)
            each = [
                self.model_(
                    tokens[clips.clamp(min=0), window].to(self.device, torch.float32), *seen
                )
                for window in range(tokens.shape[1])
            ]
            found.append(torch.stack(each).mean(dim=0).cpu())
        return torch.cat(found)

    def state(self) -> dict[str, Tensor]:
        """Return everything that ``from_state`` needs."""
        shape = {"heads": torch.tensor(self.heads), "depth": torch.tensor(self.depth)}
        if self.views is not None:
            shape["views"] = torch.tensor([self.views.count, self.views.clips])
        return {**shape, **self.model_.state_dict()}

    @classmethod
    def from_state(
        cls: type[Probe], state: Mapping[str, Tensor], device: torch.device | str = "cpu"
    ) -> Probe:
        """Return the fitted probe."""
        rest = dict(state)
        heads, depth = int(rest.pop("heads")), int(rest.pop("depth"))
        views = None
        if "views" in rest:
            count, clips = rest.pop("views").tolist()
            views = Views(count=count, clips=clips)
        probe = cls(heads, depth, device=device, views=views)
        outputs, dim = rest["readout.weight"].shape
        probe.model_ = probe._network(dim, outputs, None)
        probe.model_.load_state_dict(rest, assign=True)
        probe.model_.to(probe.device).eval()
        return probe

    def _network(
        self, dim: int, outputs: int, generator: torch.Generator | None
    ) -> TokenReadout:
        return TokenReadout(dim, self.heads, self.depth, outputs, generator, self.views)
