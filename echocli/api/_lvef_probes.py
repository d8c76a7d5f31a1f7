"""The probes of the ejection fraction task: how each is fitted, and how it predicts clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._encode import (
    POOL,
    WINDOWS,
    LeftOut,
    encode_clips,
    encode_groups,
    prepare,
    read_window,
    rows_to_encode,
)
from echocli.api._finetune import (
    TuneConfig,
    sight_of,
    summary_of,
    told_if_diverged,
    train_whole,
    tuned_model,
)
from echocli.api._tokens import kept_tokens, share_of_all
from echocli.checkpoint import LoadedModel
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.errors import UsageError
from echocli.models.finetune import Example, FitConfig
from echocli.models.tasks.lvef import AttentiveProbe, PooledRegressor, RidgeProbe, ef_loss
from echocli.statistics.bootstrap import DRAWS

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LvefConfig:
    """How the probe is fitted."""

    probe: str = "ridge"
    """``ridge`` is linear, on the mean over windows of pooled features; ``attentive`` looks at
    all tokens."""
    pool: str = POOL
    """Mean over tokens, and how much each place changes over time: motion is what EF is."""
    windows: int = WINDOWS
    """Windows a clip whose features, or predictions, are averaged."""
    folds: int = 5
    """Parts of the training patients, to choose a ridge probe's penalty."""
    depth: int = 1
    """Blocks of an attentive probe: 1 as V-JEPA's, 4 as V-JEPA 2's."""
    attentive: FitConfig = field(default_factory=FitConfig)
    """How an attentive probe is fitted."""
    tune: TuneConfig | None = None
    """How the encoder is trained with a linear layer; it stays frozen if left out."""
    level: float = 0.9
    """Coverage of the prediction intervals; 0.9 needs 9 validation patients, 0.95 19."""
    seed: int = 0
    """Start of all random numbers."""
    draws: int = DRAWS
    """Bootstrap samples."""

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise UsageError(f"--level is {self.level}.", "Give a share between 0 and 1.")
        if self.tune is not None and self.probe != "ridge":
            raise UsageError(
                f"A probe that is {self.probe} is fitted on a frozen encoder.",
                "Leave --probe out, or --from-scratch and --finetune-blocks.",
            )
        if self.probe not in FITS:
            raise UsageError(
                f"There is no probe {self.probe}.", f"Choose among {', '.join(FITS)}."
            )
        for name in ("depth", "windows"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} is {getattr(self, name)}.", "Give 1 or more.")


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a probe is fitted on, and where."""

    model: LoadedModel
    clips: ClipSet
    """Labelled clips that can fill a window."""
    measured: Values
    """Their ejection fractions, in percent."""
    patients: NDArray[np.int64]
    """Numbers of their patients."""
    train: NDArray[np.bool_]
    """Which of them to fit on."""
    config: LvefConfig
    near: Path
    """Folder that may hold large files meanwhile."""
    device: str
    precision: str
    reporter: Reporter

    @property
    def targets(self) -> tuple[Tensor, Tensor]:
        """Ejection fractions and patients' numbers of the training clips."""
        return torch.from_numpy(self.measured[self.train]), torch.from_numpy(
            self.patients[self.train]
        )


class Fitted(NamedTuple):
    """A fitted probe and what it says of the clips."""

    tensors: dict[str, Tensor]
    settings: dict[str, Any]
    """What describes it, for the head's config."""
    predicted: Values
    """Of every clip, in percent; training clips may be NaN."""
    out_of_fold: Values
    """Of training clips, predicted without their patients; NaN where there is none."""
    model: LoadedModel | None = None
    """The encoder, if it was trained with the probe."""


def fit_ridge(lesson: Lesson) -> Fitted:
    """Fit a ridge probe on pooled features."""
    features = _features(lesson, lesson.model)
    probe = RidgeProbe(folds=lesson.config.folds).fit(
        features[torch.from_numpy(lesson.train)],
        *lesson.targets,
        torch.Generator().manual_seed(lesson.config.seed),
    )
    predicted = in_range(probe.predict(features))
    settings = {"pool": lesson.config.pool, "alpha": probe.alpha_}
    return Fitted(probe.state(), settings, predicted, _placed(probe.out_of_fold_, lesson))


def fit_attentive(lesson: Lesson) -> Fitted:
    """Fit an attentive probe on tokens."""
    model, clips, config = lesson.model, lesson.clips, lesson.config
    place = prepare(lesson.device, lesson.precision, lesson.reporter)
    train, rest = (np.flatnonzero(rows).tolist() for rows in (lesson.train, ~lesson.train))
    share = share_of_all(model, clips, train)
    probe = AttentiveProbe(
        model.encoder.config.heads, config.depth, config.attentive, place.torch, place.precision
    )
    with kept_tokens(
        model,
        clips,
        train,
        windows=config.windows,
        share=share,
        near=lesson.near,
        place=place,
        reporter=lesson.reporter,
    ) as tokens:
        lesson.reporter.say(f"fitting an attentive probe on {len(train)} clip(s)")
        with told_if_diverged():
            probe.fit(tokens, *lesson.targets, torch.Generator().manual_seed(config.seed))
    predicted = np.full(len(clips), np.nan)
    for seen in encode_groups(
        model, clips, rest, config.windows, place, least=share, reporter=lesson.reporter
    ):
        predicted[seen.rows] = in_range(probe.predict(seen.tokens))
    best = [check for check in probe.checks_ if check.best][-1]
    settings = {"depth": config.depth, "share": share, "step": best.step, "steps": best.steps}
    return Fitted(probe.state(), settings, predicted, _placed(probe.out_of_fold_, lesson))


def fit_end_to_end(lesson: Lesson) -> Fitted:
    """Train some or all blocks of an encoder with a linear layer on its pooled tokens."""
    model, config, tune = lesson.model, lesson.config, lesson.config.tune
    assert tune is not None
    place = prepare(lesson.device, lesson.precision, lesson.reporter)
    clips = lesson.clips.subset(np.flatnonzero(lesson.train))
    targets, _ = lesson.targets
    sight = sight_of(model, clips, range(len(clips)), tune, place)
    network = PooledRegressor(model.encoder, config.pool, targets.float()).to(place.torch)
    wanted = ((targets - network.centre) / network.spread).float().to(place.torch)

    def look(rows: Tensor, draw: torch.Generator | None) -> Example:
        middle = torch.full((len(rows),), 0.5)
        starts = middle if draw is None else torch.rand(len(rows), generator=draw)
        chosen = rows.tolist()
        pairs = zip(chosen, starts.tolist(), strict=True)
        windows = [read_window(clips, row, model.data, start) for row, start in pairs]
        seen = sight(chosen, windows, draw)
        return (seen.video, seen.keep), wanted[rows]

    trained = train_whole(
        network,
        look,
        ef_loss,
        lesson.patients[lesson.train],
        tune,
        torch.Generator().manual_seed(config.seed),
        place,
        lesson.reporter,
    )
    tuned = tuned_model(model, tune, trained)
    probe = network.probe()
    predicted = in_range(probe.predict(_features(lesson, tuned)))
    out_of_fold = np.full(len(predicted), np.nan)
    held_out = np.flatnonzero(lesson.train)[trained.held_out]
    out_of_fold[held_out] = predicted[held_out]
    settings = {"pool": config.pool, "end_to_end": summary_of(tune, trained)}
    return Fitted(probe.state(), settings, predicted, out_of_fold, tuned)


FITS: dict[str, Callable[[Lesson], Fitted]] = {
    "ridge": fit_ridge,
    "attentive": fit_attentive,
}


class Predicted(NamedTuple):
    """Ejection fractions, and which rows of the clip set they belong to."""

    ef_percent: Values
    rows: list[int]
    left_out: list[LeftOut]


def predict_clips(
    model: LoadedModel,
    tensors: Mapping[str, Tensor],
    head: Mapping[str, Any],
    clips: ClipSet,
    *,
    device: str,
    precision: str,
    reporter: Reporter,
) -> Predicted:
    """Return what a saved head says of clips.

    Args:
        model: Its encoder.
        tensors: Its state.
        head: Its config.
        clips: The clips.
        device: Where to compute.
        precision: How exactly.
        reporter: Who watches.

    Raises:
        EchoError: If no clip can fill a window.
    """
    wishes: dict[str, Any] = {"device": device, "precision": precision, "reporter": reporter}
    if head.get("probe", "ridge") == "ridge":
        encoded = encode_clips(
            model, clips, pool=head["pool"], windows=head["windows"], **wishes
        )
        found = RidgeProbe.from_state(tensors).predict(torch.from_numpy(encoded.features))
        return Predicted(in_range(found), encoded.rows, encoded.left_out)
    place = prepare(**wishes)
    rows, left_out = rows_to_encode(clips, model.data, reporter)
    probe = AttentiveProbe.from_state(tensors, place.torch)
    values = np.full(len(clips), np.nan)
    for seen in encode_groups(
        model, clips, rows, head["windows"], place, least=head["share"], reporter=reporter
    ):
        values[seen.rows] = in_range(probe.predict(seen.tokens))
    return Predicted(values[rows], rows, left_out)


def _features(lesson: Lesson, model: LoadedModel) -> Tensor:
    """Return the pooled features of all clips."""
    encoded = encode_clips(
        model,
        lesson.clips,
        pool=lesson.config.pool,
        windows=lesson.config.windows,
        device=lesson.device,
        precision=lesson.precision,
        reporter=lesson.reporter,
    )
    return torch.from_numpy(encoded.features)


def in_range(found: Tensor) -> Values:
    """Return ejection fractions, none below 0 or above 100 percent."""
    values: Values = found.numpy().astype(np.float64).clip(0, 100)
    return values


def _placed(of_train: Tensor, lesson: Lesson) -> Values:
    """Return one value a clip, NaN for those that are not of the training."""
    values = np.full(len(lesson.clips), np.nan)
    values[lesson.train] = in_range(of_train)
    return values
