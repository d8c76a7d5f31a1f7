"""The predictor: what a prediction may depend on, and how it is judged."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from echocli.models.predictor import Predictor, jepa_loss

GRID = (2, 2, 2)


def predictor(generator: torch.Generator) -> Predictor:
    made = Predictor(GRID, 6, 12, 1, 2, 2, generator)
    torch.nn.init.normal_(made.mask_tokens, generator=generator)
    return made


def test_a_prediction_depends_on_its_place_its_mask_and_the_context(
    generator: torch.Generator,
) -> None:
    predict = predictor(generator)
    context = torch.randn(1, 3, 6, generator=generator)
    seen, asked = torch.tensor([[0, 3, 5]]), torch.tensor([[1, 6]])
    first = predict(context, seen, asked, GRID, 0)
    assert first.shape == (1, 2, 6)
    assert not torch.allclose(first[:, 0], first[:, 1])
    assert not torch.allclose(first, predict(context, seen, asked, GRID, 1))
    assert not torch.allclose(first, predict(context + 1, seen, asked, GRID, 0))
    assert not torch.allclose(first, predict(context, seen + 1, asked, GRID, 0))
    assert_close(predict(context, seen, asked.flip(1), GRID, 0), first.flip(1))


def test_jepa_is_the_mean_absolute_error() -> None:
    predicted, target = torch.randn(2, 2, 3, 4)
    expected = sum(
        abs(p - t)
        for p, t in zip(predicted.flatten().tolist(), target.flatten().tolist(), strict=True)
    )
    assert jepa_loss(predicted, target).item() == pytest.approx(expected / 24, rel=1e-5)
