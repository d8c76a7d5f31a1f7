"""The predictor: what a prediction may depend on, and how it is judged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles import vjepa as slow
from torch import Tensor
from torch.testing import assert_close

from echocli.models.predictor import Predicted, Predictor, jepa_loss, nearness
from echocli.models.vit import ViTConfig

GRID = (2, 2, 2)
SHAPE = ViTConfig(frames=4, size=32, dim=12, depth=1, heads=2)
SEEN, ASKED = torch.tensor([[0, 3, 5]]), torch.tensor([[1, 6]])


def predictor(
    generator: torch.Generator, shape: ViTConfig = SHAPE, **changes: Any
) -> Predictor:
    settings = {"levels": 1, "outputs": 6, "mask_tokens": 2, "dense": False} | changes
    made = Predictor(shape, 6, **settings, generator=generator)
    torch.nn.init.normal_(made.mask_tokens, generator=generator)
    return made


@pytest.mark.parametrize("positions", ["sincos", "line", "rotary"])
def test_a_prediction_depends_on_its_place_its_mask_and_the_context(
    positions: Any, generator: torch.Generator
) -> None:
    shape = ViTConfig(frames=4, size=32, dim=12, depth=1, heads=2, positions=positions)
    predict = predictor(generator, shape)
    context = torch.randn(1, 3, 6, generator=generator)

    def say(context: Tensor, seen: Tensor, asked: Tensor, kind: int) -> Tensor:
        said: Predicted = predict(context, seen, asked, GRID, kind)
        return said.targets

    first = say(context, SEEN, ASKED, 0)
    assert first.shape == (1, 2, 6)
    assert not torch.allclose(first[:, 0], first[:, 1])
    assert not torch.allclose(first, say(context, SEEN, ASKED, 1))
    assert_close(first, say(context, SEEN, ASKED, 2))  # two mask tokens, used in turn
    assert not torch.allclose(first, say(context + 1, SEEN, ASKED, 0))
    assert not torch.allclose(first, say(context, SEEN[:, [1, 0, 2]], ASKED, 0))
    assert_close(say(context, SEEN, ASKED.flip(1), 0), first.flip(1))
    assert_close(say(context.flip(1), SEEN.flip(1), ASKED, 0), first)


def test_a_dense_predictor_answers_for_visible_tokens_with_another_head(
    generator: torch.Generator,
) -> None:
    predict = predictor(generator, levels=4, outputs=24, dense=True)
    said = predict(torch.randn(1, 3, 24, generator=generator), SEEN, ASKED, GRID, 0)
    assert said.targets.shape == (1, 2, 24)
    assert said.context is not None
    assert said.context.shape == (1, 3, 24)
    assert_close(said.targets, predict.proj(said.inner))
    said.context.sum().backward()
    assert predict.proj.weight.grad is None
    assert predict.proj_context is not None
    assert predict.proj_context.weight.grad is not None


def test_the_inside_is_what_the_last_layer_sees(generator: torch.Generator) -> None:
    predict = predictor(generator)
    said = predict(torch.randn(1, 3, 6, generator=generator), SEEN, ASKED, GRID, 0)
    assert said.context is None
    assert said.inner.shape == (1, 2, 12)
    assert_close(said.targets, predict.proj(said.inner))


@pytest.mark.parametrize("exponent", [1.0, 2.0, 1.5])
def test_the_loss_equals_its_equation(exponent: float, generator: torch.Generator) -> None:
    predicted, features = torch.randn(2, 2, 5, 4, generator=generator)
    ids = torch.tensor([[4, 1, 0], [2, 3, 1]])
    weights = torch.rand(2, 3, generator=generator)
    target = torch.tensor(
        [[slow.normalised(features[row, i].tolist()) for i in ids[row]] for row in range(2)]
    )
    inputs = predicted[:, :3].tolist(), features.tolist(), ids.tolist()
    for weighting in (None, weights):
        by_hand = slow.feature_error(
            *inputs,
            exponent=exponent,
            weights=None if weighting is None else weighting.tolist(),
        )
        loss = jepa_loss(predicted[:, :3], target, exponent=exponent, weights=weighting)
        assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_nearness_equals_measuring_every_distance() -> None:
    grid = (3, 4, 5)
    targets = [6, 7, 11, 12, 26, 31]
    context = [i for i in range(60) if i not in targets]
    places = torch.tensor(slow.places_in(grid), dtype=torch.float32)
    near = nearness(places[None, context], places[None, targets])[0]
    assert_close(near, torch.tensor(slow.context_weights(context, targets, grid)))
    assert near.max() == 1
