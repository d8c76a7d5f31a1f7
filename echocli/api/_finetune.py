"""Encoders that are trained on labels: from scratch, or the last blocks of a pretrained one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echocli.api._pretrain.settings import resolve_settings
from echocli.api._sector import grid_of, sectors_of, share_to_train
from echocli.checkpoint import LoadedModel, load_model, tell_unfinished
from echocli.clips.store import ClipSet
from echocli.clips.windows import to_video
from echocli.console import Reporter
from echocli.device import Device
from echocli.errors import EchoError, UsageError
from echocli.models.augment import AugmentConfig, augment, crop, draw_changes
from echocli.models.finetune import (
    Check,
    DivergedError,
    FitConfig,
    Look,
    RowLoss,
    hold_out,
    thaw,
    train_on_labels,
)
from echocli.models.masking import tokens_at
from echocli.models.sector import choose_places
from echocli.models.vit import VisionTransformer

SUPERVISED = "supervised"
"""Stands in the place of a method where there was no pretraining."""
FEWEST = 3
"""Patients, of whom one is held out: fewer leave no two clips to compare."""


def tuning_fit() -> FitConfig:
    """Return how pretrained blocks are trained, gently: what they know is worth more."""
    return FitConfig(lr=1e-4, weight_decay=0.05, clip=3.0)


def scratch_fit() -> FitConfig:
    """Return how an encoder is trained from random weights."""
    return FitConfig(lr=1e-3, weight_decay=0.05, clip=3.0)


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Which part of an encoder is trained on labels, and how."""

    scratch: str | None = None
    """Preset whose encoder and input start from random weights; a model's if left out."""
    blocks: int | None = None
    """Last blocks that are trained; all, and the patch embedding, if left out."""
    fit: FitConfig = field(default_factory=tuning_fit)
    """How."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How clips are varied meanwhile."""

    def __post_init__(self) -> None:
        if self.blocks is not None and self.blocks < 1:
            raise UsageError(
                f"--finetune-blocks is {self.blocks}.",
                "Give 1 or more, or leave it out: then the encoder is frozen.",
            )
        if self.scratch is not None and self.blocks is not None:
            raise UsageError(
                "--from-scratch trains all blocks.", "Leave --finetune-blocks out."
            )


def begin_with(
    model: Path | None,
    tune: TuneConfig | None,
    clips: ClipSet,
    out: Path,
    seed: int,
    reporter: Reporter,
) -> LoadedModel:
    """Return the encoder to fit on: a saved one, or one with random weights.

    Args:
        model: Run or model folder.
        tune: What is trained of it, if anything.
        clips: What it will be trained on.
        out: Folder of the head.
        seed: Start of random weights.
        reporter: Is warned of a model that is not trained to its end.

    Raises:
        UsageError: If there is no such preset, or no model where one is needed.
    """
    if tune is None or tune.scratch is None:
        if model is None:
            raise UsageError("No encoder is named.", "Name a run or model folder.")
        loaded = load_model(model)
        tell_unfinished(loaded, reporter)
        return loaded
    settings = resolve_settings(preset=tune.scratch, environment={}).value
    vit = settings.encoder.vit(settings.data)
    encoder = VisionTransformer(vit, torch.Generator().manual_seed(seed))
    details = {"preset": tune.scratch, "clip_size": int(clips.manifest["height"].max())}
    return LoadedModel(encoder, settings.data, SUPERVISED, "", details, out)


@dataclass(frozen=True)
class Sight:
    """How an encoder in training looks at clips: their sector only, if its contract says so."""

    model: LoadedModel
    clips: ClipSet
    share: float | None
    """Of the grid's columns, what is seen of every clip; ``None`` if it is all."""
    augmentation: AugmentConfig
    device: torch.device

    def __call__(
        self,
        rows: Sequence[int],
        windows: Sequence[NDArray[np.uint8]],
        draw: torch.Generator | None,
    ) -> Seen:
        """Return what the network is given.

        Args:
            rows: The clip of each window.
            windows: Frames, which may differ in size.
            draw: Varies the clips; they stay as they are without one.
        """
        data = self.model.data
        parts = [torch.from_numpy(np.ascontiguousarray(w))[None] for w in windows]
        video = torch.cat([to_video(part.to(self.device), data) for part in parts])
        boxes = None
        if draw is not None:
            changes = draw_changes(len(video), self.augmentation, draw)
            boxes, video = changes.boxes, augment(video, changes)
        if self.share is None:
            return Seen(video, None, boxes)
        sector = sectors_of(self.clips, rows, data)
        if boxes is not None:
            sector = crop(sector[:, None, None], boxes)[:, 0, 0]
        grid = grid_of(self.model.encoder, data)
        # A few sectors are larger than the share; their columns are drawn, always the same.
        places = choose_places(
            sector, grid, self.share, draw or torch.Generator().manual_seed(0)
        )
        return Seen(video, tokens_at(places, grid).to(self.device), boxes)


class Seen(NamedTuple):
    """Normalised clips, which of their tokens are looked at, and how they were cropped."""

    video: Tensor
    keep: Tensor | None
    boxes: Tensor | None


def sight_of(
    model: LoadedModel, clips: ClipSet, rows: Sequence[int], tune: TuneConfig, place: Device
) -> Sight:
    """Move an encoder to its device, thaw what is to be trained, and return how it looks.

    Args:
        model: Its encoder is changed in place.
        clips: The clips.
        rows: Those to train on.
        tune: What is trained.
        place: Where.
    """
    encoder = model.encoder.to(place.torch)
    thaw(encoder, tune.blocks or encoder.config.depth)
    share = share_to_train(clips, rows, model.data, grid_of(encoder, model.data))
    return Sight(model, clips, share, tune.augment, place.torch)


@contextmanager
def told_if_diverged() -> Iterator[None]:
    """Turn a training that diverged into something that a user can mend.

    Raises:
        EchoError: If the loss was never a number.
    """
    try:
        yield
    except DivergedError:
        raise EchoError(
            "The loss was never a number: training diverged.", "Give a lower rate with --lr."
        ) from None


class Trained(NamedTuple):
    """What came of a training."""

    held_out: NDArray[np.bool_]
    """Rows of the patients by whom the best moment was chosen."""
    best: Check


def train_whole(
    network: nn.Module,
    look: Look,
    loss: RowLoss,
    patients: NDArray[np.int64],
    tune: TuneConfig,
    generator: torch.Generator,
    place: Device,
    reporter: Reporter,
) -> Trained:
    """Train an encoder with its head, and leave it with its best weights.

    Args:
        network: Encoder and head; changed in place.
        look: What it is given and shall say.
        loss: What to minimise.
        patients: Number of each row's patient.
        tune: How.
        generator: Orders rows and varies clips.
        place: Where it computes.
        reporter: Who watches.

    Raises:
        EchoError: If there are too few patients, or the loss is never a number.
    """
    if len(set(patients.tolist())) < FEWEST:
        raise EchoError(
            f"{len(set(patients.tolist()))} labelled patient(s) are in the training split; "
            f"training an encoder needs {FEWEST}.",
            "Label more patients, or leave --from-scratch and --finetune-blocks out.",
        )
    held_out = hold_out(torch.from_numpy(patients), tune.fit.held_out, generator)
    steps = tune.fit.optim(int((~held_out).sum())).steps
    checks: list[Check] = []
    rounds = train_on_labels(
        network, look, loss, held_out, tune.fit, generator, precision=place.precision
    )
    with reporter.progress("train on labels", steps) as done, told_if_diverged():
        for check in rounds:
            done(check.step - (checks[-1].step if checks else 0))
            checks.append(check)
    best = [check for check in checks if check.best][-1]
    reporter.say(
        f"best after {best.step} of {best.steps} steps; loss {best.held_out_loss:.3f} on "
        f"patients held out, {best.loss:.3f} on the others"
    )
    network.requires_grad_(False)
    return Trained(held_out.numpy(), best)


def tuned_model(model: LoadedModel, tune: TuneConfig, trained: Trained) -> LoadedModel:
    """Return a model that was trained on labels, to be saved with its head."""
    details: dict[str, Any] = {
        **model.details,
        "trained_on_labels": {
            "from": model.sha256 or f"random weights, preset {tune.scratch}",
            **summary_of(tune, trained),
        },
    }
    return replace(model, details=details, sha256="")


def summary_of(tune: TuneConfig, trained: Trained) -> dict[str, Any]:
    """Return how an encoder was trained, for the config of its head."""
    return {
        "scratch": tune.scratch,
        "blocks": tune.blocks,
        "layer_decay": tune.fit.layer_decay,
        "step": trained.best.step,
        "steps": trained.best.steps,
    }
