"""The loop that learns from labels."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from echocli.models.finetune import (
    Check,
    FitConfig,
    hold_out,
    layered_optimizer,
    thaw,
    train_on_labels,
)
from echocli.models.readout import PooledReadout
from echocli.models.vit import VisionTransformer, ViTConfig

QUICK = FitConfig(least_steps=100, epochs=1, batch=8, lr=0.2, checks=10, patience=10)


class Line(nn.Module):
    """One linear layer behind a frozen one and a running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        nn.init.orthogonal_(self.frozen.weight)
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.norm(self.frozen(x)))
        return found[:, 0]


def problem(clips: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(clips, 4, generator=torch.Generator().manual_seed(1))
    return x, x @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 1, torch.arange(clips) // 2


def trained(
    config: FitConfig, seed: int = 0, y: Tensor | None = None
) -> tuple[Line, list[Check], Tensor]:
    x, usual, patients = problem()
    y = usual if y is None else y
    generator = torch.Generator().manual_seed(seed)
    held_out = hold_out(patients, config.held_out, generator)
    torch.manual_seed(seed)
    model = Line()

    def look(rows: Tensor, _: torch.Generator | None) -> tuple[tuple[Tensor], Tensor]:
        return (x[rows],), y[rows]

    def loss(said: Tensor, wanted: Tensor) -> Tensor:
        return (said - wanted) ** 2

    checks = train_on_labels(model, look, loss, held_out, config, generator)
    return model, list(checks), held_out


def test_both_clips_of_a_patient_are_held_out_together() -> None:
    patients = torch.arange(40) // 2
    held_out = hold_out(patients, 0.2, torch.Generator().manual_seed(0))
    assert int(held_out.sum()) == 8
    assert torch.equal(held_out[::2], held_out[1::2])
    with pytest.raises(ValueError, match="two patients"):
        hold_out(torch.zeros(4, dtype=torch.int64), 0.2, torch.Generator())


def test_it_learns_and_ends_with_the_best_weights_and_statistics() -> None:
    x, y, _ = problem()
    model, checks, held_out = trained(QUICK)
    least = min(check.held_out_loss for check in checks)
    assert least < 0.1 * y.var()
    assert not model.training
    with torch.no_grad():
        again = ((model(x[held_out]) - y[held_out]) ** 2).mean()
    assert_close(again.item(), least, rtol=1e-5, atol=0)
    best = [check for check in checks if check.best][-1]
    assert best.held_out_loss == least


def test_without_clipping_it_learns_as_with_more_than_gradients_have() -> None:
    losses = [
        [check.loss for check in trained(replace(QUICK, clip=clip))[1]] for clip in (0.0, 1e6)
    ]
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0] / 4


def test_overfitting_ends_it_and_the_best_moment_is_kept() -> None:
    _, y, _ = problem()
    noise = torch.randn(len(y), generator=torch.Generator().manual_seed(2))
    config = FitConfig(least_steps=400, epochs=1, batch=8, lr=0.1, checks=40, patience=3)
    _, checks, _ = trained(config, y=noise)
    assert checks[-1].step < checks[-1].steps == 400
    assert [check.best for check in checks[-4:]] == [True, False, False, False]


def test_frozen_weights_stay_and_the_same_seed_gives_the_same_weights() -> None:
    torch.manual_seed(0)
    fresh = Line()
    one, _, _ = trained(QUICK)
    other, _, _ = trained(QUICK)
    assert torch.equal(one.frozen.weight, fresh.frozen.weight)
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(one.head.weight, trained(QUICK, seed=1)[0].head.weight)


def test_held_out_rows_never_train() -> None:
    _, y, patients = problem()
    held_out = hold_out(patients, QUICK.held_out, torch.Generator().manual_seed(0))
    changed = torch.where(held_out, 1000.0, y)
    # One check, at the end: nothing can be chosen, so nothing may depend on the held-out rows.
    once = FitConfig(least_steps=60, epochs=1, batch=8, checks=1)
    one, _, _ = trained(once)
    other, _, _ = trained(once, y=changed)
    assert torch.equal(one.head.weight, other.head.weight)


def test_a_loss_that_is_never_a_number_is_an_error() -> None:
    _, y, _ = problem()
    with pytest.raises(ValueError, match="never finite"):
        trained(QUICK, y=torch.full_like(y, math.nan))


def test_steps_are_epochs_unless_rows_are_few() -> None:
    config = FitConfig(epochs=20, least_steps=600, batch=16)
    assert config.optim(1600).steps == 2000
    assert config.optim(40).steps == 600
    assert (config.optim(5).steps, config.optim(5).batch) == (600, 5)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"held_out": 0.0}, {"held_out": 0.6}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be|give a share"):
        FitConfig(**wrong)  # type: ignore[arg-type]


def deep_readout() -> PooledReadout:
    shape = ViTConfig(frames=4, size=16, tubelet=(2, 8, 8), dim=24, depth=3, heads=2)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    return PooledReadout(encoder, "mean", 1)


def test_deeper_blocks_have_lower_rates_and_nothing_is_lost() -> None:
    model = deep_readout()
    optimizer = layered_optimizer(model, FitConfig().optim(20), 0.5)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: group["share"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert set(found) == set(names.values())
    starts = {
        "readout.": 1.0,
        "encoder.norm.": 1.0,
        "encoder.blocks.2.": 0.5,
        "encoder.blocks.1.": 0.25,
        "encoder.blocks.0.": 0.125,
        "encoder.patch_embed.": 0.0625,
    }
    for name, share in found.items():
        assert share == next(s for start, s in starts.items() if name.startswith(start)), name
    decays = {names[id(p)]: g["decays"] for g in optimizer.param_groups for p in g["params"]}
    assert decays["encoder.blocks.1.norm1.weight"] is False
    thaw(model.encoder, 1)
    only = layered_optimizer(model, FitConfig().optim(20), 0.5).param_groups
    assert {group["share"] for group in only} == {1.0, 0.5}
    alike = layered_optimizer(model, FitConfig().optim(20), 1.0).param_groups
    assert [group["share"] for group in alike] == [1.0, 1.0]


def test_the_first_step_moves_each_layer_by_its_share_of_the_rate() -> None:
    model = deep_readout()
    torch.nn.init.normal_(model.readout.weight, generator=torch.Generator().manual_seed(1))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    video = torch.randn(12, 1, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    fit = FitConfig(
        least_steps=1,
        epochs=1,
        batch=8,
        checks=1,
        warmup=1.0,
        weight_decay=0.0,
        layer_decay=0.1,
    )

    def look(rows: Tensor, _: torch.Generator | None) -> tuple[tuple[Tensor], Tensor]:
        return (video[rows],), torch.arange(12.0)[rows]

    def loss(said: Tensor, wanted: Tensor) -> Tensor:
        return (said[:, 0] - wanted) ** 2

    held_out = torch.arange(12) >= 8
    list(train_on_labels(model, look, loss, held_out, fit, torch.Generator().manual_seed(3)))
    moved = {
        name: (p - before[name]).abs().max().item() for name, p in model.named_parameters()
    }
    # Adam's first step is the rate itself, whatever the gradient.
    assert moved["readout.weight"] == pytest.approx(fit.lr, rel=0.02)
    for number, share in ((2, 0.1), (1, 0.01), (0, 0.001)):
        block = [m for name, m in moved.items() if name.startswith(f"encoder.blocks.{number}.")]
        assert max(block) == pytest.approx(fit.lr * share, rel=0.05)
