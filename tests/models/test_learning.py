"""Losses fall for the right reason: clips never seen are told apart, and nothing collapses.

A loss can fall because everything becomes alike, or because the average answer is learnt. So
the own clip is compared with another, and the spread of the features with that at the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from echocli.models.distillation import Branch
from echocli.models.health import health
from echocli.models.masking import tokens_at, tube_ids
from echocli.models.methods import base
from echocli.models.methods.discovr import DISCOVR
from echocli.models.methods.vjepa import VJEPA
from echocli.models.optim import OptimConfig
from echocli.models.training import train

MakeMethod = Callable[..., Any]
MakeBlobs = Callable[..., Tensor]
MakeBatches = Callable[..., Any]
DRAWS = 16


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(method: base.Method, batches: Any, steps: int) -> base.Method:
    config = OptimConfig(steps=steps, warmup_steps=4, lr=2e-3)
    list(train(method, batches, config, seeded()))
    return method.eval()


@pytest.fixture
def held_out(make_blobs: MakeBlobs) -> Tensor:
    return make_blobs(64, 5)


@torch.no_grad()
def parts_of_the_loss(method: base.Method, video: Tensor) -> dict[str, float]:
    output = method.step(video, seeded(1))
    watched = ("_std", "_used")  # of health, not of the loss
    parts = {k: v.item() for k, v in output.metrics.items() if not k.endswith(watched)}
    return {"loss": output.loss.item(), **parts}


@torch.no_grad()
def spread(method: base.Method, video: Tensor) -> tuple[float, float]:
    state = health(method.export_encoder()(video).mean(dim=1))
    return state.feature_std, state.effective_rank


def test_every_part_falls_on_unseen_clips_without_collapse(
    method: base.Method, make_batches: MakeBatches, held_out: Tensor
) -> None:
    before, spread_before = parts_of_the_loss(method, held_out), spread(method, held_out)
    trained(method, make_batches(32, 0, 40), 40)
    after, spread_after = parts_of_the_loss(method, held_out), spread(method, held_out)
    for name, value in before.items():
        assert after[name] < 0.92 * value, name
    for name, old, new in zip(("std", "rank"), spread_before, spread_after, strict=True):
        assert new > 0.7 * old, name


@torch.no_grad()
def own_and_other_clip(branch: Branch, method: DISCOVR, video: Tensor) -> tuple[float, float]:
    """Return the loss against the teacher's answer to the same clip, and to another."""
    logits, _ = branch.teach(video)
    grid = branch.student.grid(video.shape)
    ids = tube_ids(2 * len(video), grid, method.config.mask_ratio, seeded(1))
    cls, _ = branch.student.embed(video, ids)
    assert cls is not None
    own, other = (branch.distil(cls, x)[0].item() for x in (logits, logits.roll(1, 0)))
    return own, other


def test_discovr_beats_knowing_nothing_of_the_clip(
    make_method: MakeMethod, make_batches: MakeBatches, held_out: Tensor
) -> None:
    method = trained(make_method("discovr"), make_batches(32, 0, 40), 40)
    assert isinstance(method, DISCOVR)
    uniform = torch.tensor(64.0).log().item()
    for branch, video in ((method.video, held_out), (method.image, held_out[:, :, :1])):
        own, other = own_and_other_clip(branch, method, video)
        assert own < 0.97 * uniform
        assert own < 0.97 * other
    # Two cross entropies over 16 clusters, used evenly: log 16 each for a blind guess.
    clusters = parts_of_the_loss(method, held_out)["cluster"]
    assert clusters < 0.95 * 2 * torch.tensor(16.0).log().item()


def half_hidden(rows: int, seed: int) -> base.Draws:
    """Hide half of the places of every clip, drawn evenly."""
    places = torch.rand(rows, 16, generator=seeded(seed)).argsort(dim=1)
    context, targets = (half.sort(dim=1).values for half in places.split(8, dim=1))
    grid = (2, 4, 4)
    return {"context0": tokens_at(context, grid), "targets0": tokens_at(targets, grid)}


@torch.no_grad()
def own_and_other_features(method: VJEPA, video: Tensor) -> tuple[float, float]:
    """Return the error of predictions for their own clip, and for another."""
    features = method.target_encoder(video)
    targets = F.layer_norm(features, features.shape[-1:])
    errors = torch.zeros(2)
    for draw in range(DRAWS):
        ids = half_hidden(len(video), draw)
        for kind, wanted in enumerate((targets, targets.roll(1 + draw, 0))):
            error = method.masked_step(video, wanted, (2, 4, 4), 0, ids)["jepa"]
            errors[kind] += error / DRAWS
    own, other = errors.tolist()
    return own, other


def test_vjepa_predicts_the_features_of_this_clip_not_of_the_average_one(
    make_method: MakeMethod, make_batches: MakeBatches, held_out: Tensor
) -> None:
    method = make_method("vjepa", jepa_weight=1.0)
    own, other = own_and_other_features(method, held_out)
    assert own > 0.99 * other  # a fresh predictor knows nothing
    # What all clips share is learnt first: 100 steps are too few for what tells them apart.
    trained(method, make_batches(32, 0, 300), 300)
    own, other = own_and_other_features(method, held_out)
    assert own < 0.95 * other


def test_localisation_beats_guessing_no_offset(
    make_method: MakeMethod, make_batches: MakeBatches, held_out: Tensor
) -> None:
    method = trained(make_method("vjepa"), make_batches(32, 0, 40), 40)
    # Two places drawn evenly from n lie (n^2 - 1) / 6 apart, squared, on average.
    no_offset = sum((side**2 - 1) / 6 / side**2 for side in (2, 4, 4))
    assert parts_of_the_loss(method, held_out)["localisation"] < 0.2 * no_offset
