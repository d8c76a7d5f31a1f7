"""The probes of classification: how each is fitted, and the logits it gives."""

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
from echocli.models.readout import PooledReadout
from echocli.models.tasks.classification import (
    AttentiveClassifier,
    LinearClassifier,
    balanced_weights,
    class_loss,
    linear_part,
)
from echocli.statistics.bootstrap import DRAWS
from echocli.statistics.calibration import KINDS

Logits = NDArray[np.float64]
WEIGHTS = ("none", "balanced")
THRESHOLDS = ("youden", "quantile")


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig:
    """What is told apart, and how the probe is fitted."""

    label: str = "normal"
    """Column, or a rule on one such as ``ef_percent<50``."""
    classes: tuple[str, ...] = ()
    """Those to tell apart; all that the column holds if empty."""
    positive: str | None = None
    """Of two classes, the one that is looked for."""
    probe: str = "linear"
    """``linear`` is logistic regression on the mean over windows of pooled features;
    ``attentive`` looks at all tokens."""
    pool: str = POOL
    """How tokens become one vector; see ``models/pooling.py``."""
    windows: int = WINDOWS
    """Windows a clip whose features, or logits, are averaged."""
    folds: int = 5
    """Parts of the training patients, to choose a linear probe's penalty."""
    depth: int = 1
    """Blocks of an attentive probe: 1 as V-JEPA's, 4 as V-JEPA 2's."""
    attentive: FitConfig = field(default_factory=FitConfig)
    """How an attentive probe is fitted."""
    tune: TuneConfig | None = None
    """How the encoder is trained with a linear layer; it stays frozen if left out."""
    class_weights: str = "none"
    """``balanced`` lets every class weigh the same, however rare."""
    calibration: str = "temperature"
    """How logits become probabilities, fitted on validation patients."""
    threshold: str = "youden"
    """How the threshold of two classes is chosen on validation patients: ``youden``, or
    ``quantile`` of those who are not what is looked for."""
    false_positive_rate: float = 0.05
    """Share of them that a ``quantile`` lets be called."""
    seed: int = 0
    """Start of all random numbers."""
    draws: int = DRAWS
    """Bootstrap samples."""

    def __post_init__(self) -> None:
        choices: list[tuple[str, str, tuple[str, ...]]] = [
            ("probe", self.probe, tuple(FITS)),
            ("class-weights", self.class_weights, WEIGHTS),
            ("calibration", self.calibration, KINDS),
            ("threshold", self.threshold, THRESHOLDS),
        ]
        for name, value, allowed in choices:
            if value not in allowed:
                raise UsageError(
                    f"There is no --{name} {value}.", f"Choose among {', '.join(allowed)}."
                )
        if self.tune is not None and self.probe != "linear":
            raise UsageError(
                f"A probe that is {self.probe} is fitted on a frozen encoder.",
                "Leave --probe out, or --from-scratch and --finetune-blocks.",
            )
        if not 0 < self.false_positive_rate < 1:
            raise UsageError(
                f"--false-positive-rate is {self.false_positive_rate}.",
                "Give a share between 0 and 1, such as 0.05.",
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
    codes: NDArray[np.int64]
    """Class of each."""
    classes: int
    patients: NDArray[np.str_]
    """Their patients."""
    splits: NDArray[np.str_]
    """Of each; the probe is fitted on those of ``train``."""
    config: ClassifyConfig
    near: Path
    """Folder that may hold large files meanwhile."""
    device: str
    precision: str
    reporter: Reporter

    @property
    def train(self) -> NDArray[np.bool_]:
        """Which clips to fit on."""
        return np.asarray(self.splits == "train")

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers of the training clips' patients."""
        return np.unique(self.patients[self.train], return_inverse=True)[1].astype(np.int64)

    @property
    def targets(self) -> tuple[Tensor, Tensor]:
        """Classes and patients' numbers of the training clips."""
        return torch.from_numpy(self.codes[self.train]), torch.from_numpy(self.numbers)

    @property
    def weights(self) -> Tensor:
        """What a training clip of each class counts."""
        if self.config.class_weights == "none":
            return torch.ones(self.classes, dtype=torch.float64)
        return balanced_weights(self.targets[0], self.classes)


class Fitted(NamedTuple):
    """A fitted probe and what it says of the clips."""

    tensors: dict[str, Tensor]
    settings: dict[str, Any]
    """What describes it, for the head's config."""
    logits: Logits
    """Of every clip; NaN for training clips that were not asked."""
    model: LoadedModel | None = None
    """The encoder, if it was trained with the probe."""


def fit_linear(lesson: Lesson) -> Fitted:
    """Fit a logistic regression on pooled features."""
    features = _features(lesson, lesson.model)
    probe = LinearClassifier(folds=lesson.config.folds).fit(
        features[torch.from_numpy(lesson.train)],
        *lesson.targets,
        torch.Generator().manual_seed(lesson.config.seed),
        lesson.weights,
    )
    settings = {"pool": lesson.config.pool, "alpha": probe.alpha_}
    return Fitted(probe.state(), settings, probe.logits(features).numpy())


def fit_attentive(lesson: Lesson) -> Fitted:
    """Fit an attentive probe on tokens."""
    model, clips, config = lesson.model, lesson.clips, lesson.config
    place = prepare(lesson.device, lesson.precision, lesson.reporter)
    train, rest = (np.flatnonzero(rows).tolist() for rows in (lesson.train, ~lesson.train))
    share = share_of_all(model, clips, train)
    probe = AttentiveClassifier(
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
        generator = torch.Generator().manual_seed(config.seed)
        with told_if_diverged():
            probe.fit(tokens, *lesson.targets, generator, lesson.weights)
    logits = np.full((len(clips), lesson.classes), np.nan)
    for seen in encode_groups(
        model, clips, rest, config.windows, place, least=share, reporter=lesson.reporter
    ):
        logits[seen.rows] = probe.logits(seen.tokens).numpy()
    best = [check for check in probe.checks_ if check.best][-1]
    settings = {"depth": config.depth, "share": share, "step": best.step, "steps": best.steps}
    return Fitted(probe.state(), settings, logits)


def fit_end_to_end(lesson: Lesson) -> Fitted:
    """Train some or all blocks of an encoder with a linear layer on its pooled tokens."""
    model, config, tune = lesson.model, lesson.config, lesson.config.tune
    assert tune is not None
    place = prepare(lesson.device, lesson.precision, lesson.reporter)
    clips = lesson.clips.subset(np.flatnonzero(lesson.train))
    sight = sight_of(model, clips, range(len(clips)), tune, place)
    network = PooledReadout(model.encoder, config.pool, lesson.classes).to(place.torch)
    wanted = lesson.targets[0].to(place.torch)

    def look(rows: Tensor, draw: torch.Generator | None) -> Example:
        middle = torch.full((len(rows),), 0.5)
        starts = middle if draw is None else torch.rand(len(rows), generator=draw)
        pairs = zip(rows.tolist(), starts.tolist(), strict=True)
        windows = [read_window(clips, row, model.data, start) for row, start in pairs]
        seen = sight(rows.tolist(), windows, draw)
        return (seen.video, seen.keep), wanted[rows]

    trained = train_whole(
        network,
        look,
        class_loss(lesson.weights.to(place.torch)),
        lesson.numbers,
        tune,
        torch.Generator().manual_seed(config.seed),
        place,
        lesson.reporter,
    )
    tuned = tuned_model(model, tune, trained)
    probe = linear_part(network)
    logits = probe.logits(_features(lesson, tuned)).numpy()
    settings = {"pool": config.pool, "end_to_end": summary_of(tune, trained)}
    return Fitted(probe.state(), settings, logits, tuned)


FITS: dict[str, Callable[[Lesson], Fitted]] = {
    "linear": fit_linear,
    "attentive": fit_attentive,
}


class Said(NamedTuple):
    """Logits, and which rows of the clip set they belong to."""

    logits: Logits
    rows: list[int]
    left_out: list[LeftOut]


def say_of_clips(
    model: LoadedModel,
    tensors: Mapping[str, Tensor],
    head: Mapping[str, Any],
    clips: ClipSet,
    *,
    device: str,
    precision: str,
    reporter: Reporter,
) -> Said:
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
    if head["probe"] == "linear":
        encoded = encode_clips(
            model, clips, pool=head["pool"], windows=head["windows"], **wishes
        )
        said = LinearClassifier.from_state(tensors).logits(torch.from_numpy(encoded.features))
        return Said(said.numpy(), encoded.rows, encoded.left_out)
    place = prepare(**wishes)
    rows, left_out = rows_to_encode(clips, model.data, reporter)
    probe = AttentiveClassifier.from_state(tensors, place.torch)
    logits = np.full((len(clips), len(head["classes"])), np.nan)
    for seen in encode_groups(
        model, clips, rows, head["windows"], place, least=head["share"], reporter=reporter
    ):
        logits[seen.rows] = probe.logits(seen.tokens).numpy()
    return Said(logits[rows], rows, left_out)


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
