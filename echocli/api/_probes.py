"""Probes on an encoder: how all tasks fit them, and ask them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echocli.api._encode import (
    LeftOut,
    encode_clips,
    encode_groups,
    prepare,
    rows_to_encode,
)
from echocli.api._finetune import (
    Trained,
    sight_of,
    summary_of,
    told_if_diverged,
    train_whole,
    tuned_model,
)
from echocli.api._lesson import Lesson
from echocli.api._probe_settings import ATTENTIVE
from echocli.api._tokens import kept_tokens, share_of_all
from echocli.api._units import Units, each_clip, units_of
from echocli.api._windows import read_window
from echocli.checkpoint import LoadedModel
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.device import Device
from echocli.models.finetune import Example, RowLoss
from echocli.models.readout import AttentiveFit

Floats = NDArray[np.float64]
Probe = TypeVar("Probe", bound=AttentiveFit)
Says = Callable[..., Tensor]
"""What a probe says of features, or of tokens and places."""


class Fitted(NamedTuple):
    """A fitted probe and what it says of the units."""

    tensors: dict[str, Tensor]
    settings: dict[str, Any]
    """What describes it, for the head's config."""
    said: Floats
    """Of every unit; NaN for training units that were not asked."""
    out_of_fold: Floats | None = None
    """Of training units, said without their patients; NaN where there is none."""
    model: LoadedModel | None = None
    """The encoder, if it was trained with the probe."""


def features_of(lesson: Lesson, model: LoadedModel) -> Tensor:
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


def fit_on_tokens(
    lesson: Lesson,
    kind: type[Probe],
    fit: Callable[[Probe, Tensor, Tensor | None], object],
    says: Callable[[Probe], Says],
    shape: tuple[int, ...] = (),
) -> tuple[Probe, dict[str, Any], Floats]:
    """Fit an attentive probe on the tokens of training units, and ask it of all others.

    Args:
        lesson: What to fit on.
        kind: The task's probe.
        fit: Fits it on tokens and places.
        says: What it says of tokens and places.
        shape: Of what it says of a unit.

    Returns:
        The probe, its settings for the head's config, and what it says of each unit.
    """
    model, clips, config, units = lesson.model, lesson.clips, lesson.config, lesson.units
    place = prepare(lesson.device, lesson.precision, lesson.reporter)
    rows = units.rows(lesson.train)
    share = share_of_all(model, clips, rows)
    heads = model.encoder.config.heads
    probe = kind(
        heads, config.depth, config.attentive, place.torch, place.precision, config.together
    )
    with kept_tokens(
        model,
        clips,
        rows,
        windows=config.windows,
        share=share,
        near=lesson.near,
        place=place,
        reporter=lesson.reporter,
    ) as tokens:
        lesson.reporter.say(f"fitting an attentive probe on {len(rows)} clip(s)")
        with told_if_diverged():
            fit(probe, tokens, units.among(lesson.train, rows))
    best = [check for check in probe.checks_ if check.best][-1]
    settings = {"depth": config.depth, "share": share, "step": best.step, "steps": best.steps}
    how = {"windows": config.windows, "share": share}
    said = np.full((len(units), *shape), np.nan)
    for unit, value in ask(
        says(probe), model, clips, units, ~lesson.train, how, place, lesson.reporter
    ):
        said[unit] = value.double().numpy()
    return probe, settings | config.contract(), said


def train_encoder(
    lesson: Lesson, network: nn.Module, wanted: Tensor, loss: RowLoss
) -> tuple[dict[str, Any], Trained, LoadedModel]:
    """Train some or all blocks of an encoder with a linear layer on its pooled tokens.

    Args:
        lesson: What to train on; each unit is a clip.
        network: The lesson's encoder with its layer; changed in place.
        wanted: What to say of each training clip.
        loss: What to minimise.

    Returns:
        How it was trained, for the head's config; what came of it; and the encoder.
    """
    model, config = lesson.model, lesson.config
    assert config.tune is not None
    place = prepare(lesson.device, lesson.precision, lesson.reporter)
    clips = lesson.clips.subset(np.flatnonzero(lesson.train))
    sight = sight_of(model, clips, range(len(clips)), config.tune, place)
    wanted = wanted.to(place.torch)

    def look(rows: Tensor, draw: torch.Generator | None) -> Example:
        middle = torch.full((len(rows),), 0.5)
        starts = middle if draw is None else torch.rand(len(rows), generator=draw)
        pairs = zip(rows.tolist(), starts.tolist(), strict=True)
        windows = [read_window(clips, row, model.data, start) for row, start in pairs]
        seen = sight(rows.tolist(), windows, draw)
        return (seen.video, seen.keep), wanted[rows]

    trained = train_whole(
        network.to(place.torch),
        look,
        loss,
        lesson.patients[lesson.train],
        config.tune,
        lesson.generator,
        place,
        lesson.reporter,
    )
    settings = {"pool": config.pool, "end_to_end": summary_of(config.tune, trained)}
    return settings, trained, tuned_model(model, config.tune, trained)


def ask(
    says: Says,
    model: LoadedModel,
    clips: ClipSet,
    units: Units,
    chosen: NDArray[np.bool_],
    how: Mapping[str, Any],
    place: Device,
    reporter: Reporter,
) -> Iterator[tuple[int, Tensor]]:
    """Yield what an attentive probe says of some units, in changed order.

    Args:
        says: What it says of tokens and places.
        model: The encoder.
        clips: The clips; each can fill a window.
        units: What they are.
        chosen: Which of them.
        how: ``windows`` a clip, and the ``share`` of the grid's columns that is seen at least.
        place: Where to compute.
        reporter: Who watches.
    """
    windows, share = how["windows"], how["share"]
    rows = units.rows(chosen)
    if units.places is None:
        for seen in encode_groups(
            model, clips, rows, windows, place, least=share, reporter=reporter
        ):
            yield from zip(seen.rows, says(seen.tokens), strict=True)
        return
    with reporter.progress("encode", len(rows)) as done:
        for unit in np.flatnonzero(chosen).tolist():
            one = np.arange(len(units)) == unit
            rows = units.rows(one)
            # By itself: what is said of a study does not hang on the others.
            least = max(share, share_of_all(model, clips, rows))
            tokens: dict[int, Tensor] = {}
            for seen in encode_groups(
                model, clips, rows, windows, place, least=least, done=done
            ):
                tokens |= zip(seen.rows, seen.tokens, strict=True)
            stacked = torch.stack([tokens[row] for row in rows])
            yield unit, says(stacked, units.among(one, rows))[0]


class Said(NamedTuple):
    """What a saved head says of clips."""

    clips: ClipSet
    """Those that got a result, alone or with others."""
    units: Units
    said: Floats
    """Of each unit."""
    left_out: list[LeftOut]
    """Clips of the set that was asked about."""


def ask_head(
    model: LoadedModel,
    head: Mapping[str, Any],
    says_on: Callable[[torch.device], Says],
    clips: ClipSet,
    *,
    device: str,
    precision: str,
    reporter: Reporter,
) -> Said:
    """Return what a saved head says of clips, or of their studies.

    Args:
        model: Its encoder.
        head: Its config.
        says_on: What it says, computed on a device.
        clips: The clips.
        device: Where to compute.
        precision: How exactly.
        reporter: Who watches.

    Raises:
        EchoError: If no clip can fill a window, or none is of a view that it looks at.
    """
    wishes: dict[str, Any] = {"device": device, "precision": precision, "reporter": reporter}
    if head.get("probe") != ATTENTIVE:
        encoded = encode_clips(
            model, clips, pool=head["pool"], windows=head["windows"], **wishes
        )
        chosen = clips.subset(encoded.rows)
        said = says_on(torch.device("cpu"))(torch.from_numpy(encoded.features))
        return Said(chosen, each_clip(chosen), said.double().numpy(), encoded.left_out)
    place = prepare(**wishes)
    rows, left_out = rows_to_encode(clips, model.data, reporter)
    chosen = clips.subset(rows)
    views = tuple(head.get("views", ()))
    units, viewless = units_of(chosen, views, head.get("clips_a_view", 1), reporter)
    left_out += [LeftOut(rows[clip.row], clip.reason) for clip in viewless]
    everyone = np.ones(len(units), dtype=np.bool_)
    says = says_on(place.torch)
    answers = dict(ask(says, model, chosen, units, everyone, head, place, reporter))
    said = torch.stack([answers[unit] for unit in range(len(units))])
    return Said(chosen, units, said.double().numpy(), left_out)
