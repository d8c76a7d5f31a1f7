"""V-JEPA: what is predicted, what stays hidden, and lambda."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from echocli.models.methods.vjepa import VJEPA, Config, build_predictor
from echocli.models.vit import ViTConfig

MakeMethod = Callable[..., VJEPA]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_lambda_mixes_the_two_losses(
    make_method: MakeMethod, make_blobs: Callable[..., Tensor]
) -> None:
    output = make_method("vjepa", jepa_weight=0.25).step(make_blobs(4, 1), seeded())
    mixed = 0.25 * output.metrics["jepa"] + 0.75 * output.metrics["localisation"]
    assert_close(output.loss.detach(), mixed)


def test_lambda_of_one_is_plain_vjepa(
    make_method: MakeMethod, make_blobs: Callable[..., Tensor]
) -> None:
    method = make_method("vjepa", jepa_weight=1.0)
    output = method.step(make_blobs(4, 1), seeded())
    output.loss.backward()
    assert_close(output.loss.detach(), output.metrics["jepa"])
    assert all(p.grad is None for p in method.locator.parameters())


def test_the_context_does_not_see_what_is_to_be_predicted(
    make_method: MakeMethod, make_blobs: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = make_method("vjepa")
    calls: list[tuple[Tensor, Tensor, Tensor]] = []
    forward = method.predictor.forward

    def spy(context: Tensor, seen: Tensor, asked: Tensor, *rest: object) -> Tensor:
        calls.append((context, seen, asked))
        return forward(context, seen, asked, *rest)

    monkeypatch.setattr(method.predictor, "forward", spy)
    method.step(make_blobs(4, 1), seeded())
    assert len(calls) == 2  # short-range and long-range
    for context, seen, asked in calls:
        assert context.shape[1] == seen.shape[1]
        for row in range(4):
            assert set(seen[row].tolist()).isdisjoint(asked[row].tolist())
    shares = [asked.shape[1] / 32 for _, _, asked in calls]
    assert shares[1] > 0.4


def test_targets_are_the_normalised_features_of_the_whole_clip_at_the_hidden_places(
    make_method: MakeMethod, make_blobs: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, video = make_method("vjepa", jepa_weight=1.0), make_blobs(4, 1)
    records: list[tuple[Tensor, Tensor]] = []
    forward = method.predictor.forward

    def spy(context: Tensor, seen: Tensor, asked: Tensor, *rest: object) -> Tensor:
        predicted = forward(context, seen, asked, *rest)
        records.append((predicted, asked))
        return predicted

    monkeypatch.setattr(method.predictor, "forward", spy)
    with torch.no_grad():  # fresh features come normalised, trained ones do not
        method.target_encoder.norm.weight.copy_(torch.linspace(0.5, 2, 48))
        method.target_encoder.norm.bias.fill_(0.3)
    loss = method.step(video, seeded()).loss
    features = method.target_encoder(video)
    expected = torch.zeros(())
    for predicted, asked in records:
        total = torch.zeros(())
        for row in range(len(video)):
            for number, token in enumerate(asked[row].tolist()):
                vector = features[row, token]
                spread = (vector.var(correction=0) + 1e-5).sqrt()
                target = (vector - vector.mean()) / spread
                total = total + (predicted[row, number] - target).abs().mean()
        expected = expected + total / asked.numel() / 2
    assert_close(loss, expected)
    assert not features.requires_grad


def test_the_first_token_is_located_from_the_second(
    make_method: MakeMethod, make_blobs: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = make_method("vjepa")
    asked: list[Tensor] = []
    pairs: list[tuple[Tensor, Tensor]] = []
    offsets: list[Tensor] = []
    predict, locate = method.predictor.forward, method.locator.forward

    def spy_predict(context: Tensor, seen: Tensor, ids: Tensor, *rest: object) -> Tensor:
        asked.append(ids)
        return predict(context, seen, ids, *rest)

    def spy_locate(tokens: Tensor, first: Tensor, second: Tensor) -> Tensor:
        pairs.append((first, second))
        return locate(tokens, first, second)

    def spy_loss(predicted: Tensor, true: Tensor) -> Tensor:
        offsets.append(true)
        return predicted.sum()

    monkeypatch.setattr(method.predictor, "forward", spy_predict)
    monkeypatch.setattr(method.locator, "forward", spy_locate)
    monkeypatch.setattr("echocli.models.methods.vjepa.localisation_loss", spy_loss)
    method.step(make_blobs(4, 1), seeded())
    for ids, (first, second), true in zip(asked, pairs, offsets, strict=True):
        for row in range(4):
            for pair in range(20):
                one, two = ids[row, first[row, pair]].item(), ids[row, second[row, pair]].item()
                # Grid of 2 x 4 x 4: id = 16 t + 4 i + j.
                expected = [
                    (one // 16 - two // 16) / 2,
                    (one // 4 % 4 - two // 4 % 4) / 4,
                    (one % 4 - two % 4) / 4,
                ]
                assert true[row, pair].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("size", "width", "depth", "heads"),
    [("tiny", 64, 6, 1), ("small", 192, 6, 3), ("base", 384, 6, 6), ("large", 512, 12, 8)],
)
def test_the_predictor_grows_with_the_encoder(
    size: str, width: int, depth: int, heads: int
) -> None:
    config = ViTConfig.named(size, depth=depth * 2)
    predictor = build_predictor(config, Config(), 2, torch.Generator())
    assert predictor.embed.out_features == width
    assert len(predictor.blocks) == depth
    assert predictor.blocks[0].attn.heads == heads


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    config = Config(predictor_dim=100, predictor_heads=3)
    with pytest.raises(ValueError, match="predictor_dim"):
        build_predictor(ViTConfig(), config, 2, torch.Generator())


def test_a_share_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match="jepa_weight"):
        Config(jepa_weight=1.5)
