"""V-JEPA: the papers' losses, what stays hidden, what stays frozen, and lambda."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from made_models import MICRO
from oracles import vjepa as slow
from torch import Tensor
from torch.testing import assert_close

from echocli.models.methods.vjepa import VJEPA, Config, build, build_predictor
from echocli.models.vit import ViTConfig

MakeMethod = Callable[..., VJEPA]
MakeBlobs = Callable[..., Tensor]
GRID = (2, 4, 4)
DEEP = replace(MICRO, depth=4, levels=4, positions="rotary", rope_side=16)
SECTOR = torch.tensor([[1, 2, 5, 6, 8, 9, 10, 11, 14], [0, 1, 2, 3, 4, 5, 6, 7, 8]])


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(shape: ViTConfig = MICRO, **changes: Any) -> VJEPA:
    """A method whose target encoder is not the context encoder, and does not say zero."""
    method = build(shape, Config(**{"locator_hidden": 32, "pairs": 20, **changes}), seeded(0))
    frozen = {id(p) for p in method.context_encoder.bottom(method.config.frozen_blocks)}
    with torch.no_grad():
        for parameter in [*method.target_encoder.parameters(), method.predictor.mask_tokens]:
            if id(parameter) not in frozen:
                parameter += 0.1 * torch.randn(parameter.shape, generator=seeded(5))
    return method


def by_hand(method: VJEPA, video: Tensor, draws: dict[str, Tensor]) -> dict[str, float]:
    """The losses of a step, from the networks' outputs on, token by token."""
    config, levels = method.config, method.encoder.config.levels
    features = method.target_encoder.levels(video).tolist()
    terms: dict[str, list[float]] = {"jepa": [], "context": [], "localisation": []}
    for kind in (0, 1):
        seen, asked = draws[f"context{kind}"], draws[f"targets{kind}"]
        context = method.context_encoder.levels(video, seen)
        said = method.predictor(context, seen, asked, GRID, kind)
        how: dict[str, Any] = {"levels": levels, "exponent": config.exponent}
        error = slow.feature_error(said.targets.tolist(), features, asked.tolist(), **how)
        terms["jepa"].append(error)
        if said.context is not None:
            rows = zip(seen.tolist(), asked.tolist(), strict=True)
            near = [slow.context_weights(s, a, GRID) for s, a in rows]
            how["weights"] = near if config.context_near else None
            error = slow.feature_error(said.context.tolist(), features, seen.tolist(), **how)
            terms["context"].append(error)
        if f"first{kind}" in draws:
            first, second = draws[f"first{kind}"].tolist(), draws[f"second{kind}"].tolist()
            tokens = said.inner if config.locate_from == "inside" else said.targets
            guesses, pairs = [], []
            for row, (ones, others) in enumerate(zip(first, second, strict=True)):
                both = list(zip(ones, others, strict=True))
                joined = [torch.cat([tokens[row, a], tokens[row, b]]) for a, b in both]
                guesses.append([method.locator.layers(pair).tolist() for pair in joined])
                pairs.append([(asked[row, a].item(), asked[row, b].item()) for a, b in both])
            terms["localisation"].append(slow.localisation(guesses, pairs, GRID))
    return {name: sum(values) / len(values) for name, values in terms.items() if values}


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        (MICRO, {}),
        (MICRO, {"jepa_weight": 1.0}),
        (MICRO, {"exponent": 2.0, "locate_from": "inside", "locate_masks": "long"}),
        (DEEP, {"context_weight": 0.5}),
        (DEEP, {"context_weight": 0.5, "context_near": True, "jepa_weight": 1.0}),
    ],
)
def test_the_loss_is_that_of_the_papers(
    shape: ViTConfig, changes: dict[str, Any], make_blobs: MakeBlobs
) -> None:
    method, video = made(shape, **changes), make_blobs(2, 1)
    draws = method.draw(2, GRID, seeded())
    with torch.no_grad():
        output = method(video, draws)
        expected = by_hand(method, video, draws)
    metrics = {name: value.item() for name, value in output.metrics.items()}
    assert metrics.pop("target_std") > 0
    assert metrics == pytest.approx(expected, rel=1e-5)
    share = method.config.jepa_weight
    jepa = expected["jepa"] + method.config.context_weight * expected.get("context", 0)
    loss = share * jepa + (1 - share) * expected.get("localisation", 0)
    assert output.loss.item() == pytest.approx(loss, rel=1e-5)


def test_lambda_of_one_is_plain_vjepa(make_method: MakeMethod, make_blobs: MakeBlobs) -> None:
    method = make_method("vjepa", jepa_weight=1.0)
    output = method.step(make_blobs(4, 1), seeded())
    assert_close(output.loss.detach(), output.metrics["jepa"])
    assert set(output.metrics) == {"jepa", "target_std"}
    assert not hasattr(method, "locator")


def test_what_is_hidden_is_predicted_and_not_seen() -> None:
    draws = made().draw(4, (4, 7, 7), seeded())
    for kind, share in ((0, 0.3), (1, 0.6)):
        seen, asked = draws[f"context{kind}"], draws[f"targets{kind}"]
        for row in range(4):
            assert set(seen[row].tolist()).isdisjoint(asked[row].tolist())
        assert asked.shape[1] / 196 > share
        assert draws[f"first{kind}"].max() < asked.shape[1]


def test_pixels_outside_the_context_change_targets_only(make_blobs: MakeBlobs) -> None:
    method, video = made(), make_blobs(2, 1)
    seen = method.draw(2, GRID, seeded())["context0"]
    other = video.clone()
    cells = other.unfold(2, 2, 2).unfold(3, 8, 8).unfold(4, 8, 8)  # a view of the clips
    for row in range(2):
        for token, place in enumerate(slow.places_in(GRID)):
            if token not in seen[row].tolist():
                cells[row, :, *place] += 1
    assert not torch.equal(video, other)
    one, two = (method.context_encoder(clip, seen) for clip in (video, other))
    assert torch.equal(one, two)


def test_in_a_sector_nothing_outside_matters(make_blobs: MakeBlobs) -> None:
    method, video = made(DEEP, context_weight=0.5), make_blobs(2, 1)
    draws = method.draw(2, GRID, seeded(), SECTOR)
    other = video.clone()
    cells = other.unfold(2, 2, 2).unfold(3, 8, 8).unfold(4, 8, 8)
    for row in range(2):
        for token, place in enumerate(slow.places_in(GRID)):
            if token % 16 not in SECTOR[row].tolist():
                cells[row, :, *place] = torch.nan
    assert torch.isnan(other).any()
    expected = method(video, draws).loss
    assert torch.isfinite(expected)
    assert torch.equal(method(other, draws).loss, expected)


def test_a_sector_that_is_everything_changes_nothing(make_blobs: MakeBlobs) -> None:
    method, video = made(), make_blobs(2, 1)
    everything = torch.arange(16).expand(2, -1)
    drawn = [method.draw(2, GRID, seeded(), places) for places in (None, everything)]
    assert_close(method(video, drawn[1]).loss, method(video, drawn[0]).loss)


@pytest.mark.parametrize("blocks", [1, 3])
def test_frozen_blocks_are_shared_and_neither_trained_nor_moved(
    blocks: int, make_blobs: MakeBlobs
) -> None:
    method = made(DEEP, frozen_blocks=blocks)
    context, target = method.context_encoder, method.target_encoder
    frozen = {id(p) for p in context.bottom(blocks)}
    shared = {id(p) for p in context.parameters()} & {id(p) for p in target.parameters()}
    assert frozen == shared
    assert context.patch_embed.proj.weight is target.patch_embed.proj.weight
    assert (
        context.blocks[blocks - 1].attn.qkv.weight is target.blocks[blocks - 1].attn.qkv.weight
    )
    assert context.blocks[blocks].attn.qkv.weight is not target.blocks[blocks].attn.qkv.weight

    before = {name: p.clone() for name, p in target.named_parameters()}
    output = method.step(make_blobs(2, 1), seeded())
    output.loss.backward()
    for name, parameter in context.named_parameters():
        assert (parameter.grad is None) == (id(parameter) in frozen), name
    method.after_step(0.0, output.state)
    for name, parameter in target.named_parameters():
        assert torch.equal(parameter, before[name]) == (id(parameter) in frozen), name


def test_nothing_is_kept_for_a_gradient_below_frozen_blocks(make_blobs: MakeBlobs) -> None:
    def kept(blocks: int) -> int:
        method, sizes = made(DEEP, frozen_blocks=blocks), []

        def weigh(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(weigh, lambda x: x):
            method.step(make_blobs(2, 1), seeded())
        return sum(sizes)

    none, one, three = kept(0), kept(1), kept(3)
    block = (one - three) / 2
    assert none - one > block > 0  # the first block, and the patch embedding below it


def test_frozen_blocks_survive_saving(tmp_path: Any, make_blobs: MakeBlobs) -> None:
    method, fresh = made(DEEP, frozen_blocks=2), made(DEEP, frozen_blocks=2, momentum=0.5)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter += 0.01
    torch.save(method.state_dict(), tmp_path / "state.pt")
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    video = make_blobs(2, 1)
    assert torch.equal(fresh.step(video, seeded()).loss, method.step(video, seeded()).loss)
    assert fresh.context_encoder.blocks[1].mlp.fc1.weight is (
        fresh.target_encoder.blocks[1].mlp.fc1.weight
    )


def test_one_block_at_least_is_trained() -> None:
    with pytest.raises(ValueError, match="2 blocks of 2"):
        build(MICRO, Config(frozen_blocks=2), seeded())


def test_the_weight_of_visible_tokens_rises_and_stays() -> None:
    method = build(MICRO, Config(context_weight=0.5, context_ramp=(0.2, 0.4)), seeded())
    weights = []
    for progress in (0.0, 0.2, 0.3, 0.4, 1.0):
        method.after_step(progress, {})
        weights.append(method.context_weight.item())
    assert weights == pytest.approx([0, 0, 0.25, 0.5, 0.5])
    step = build(MICRO, Config(context_weight=0.5, context_ramp=(0.4, 0.4)), seeded())
    assert [step.context_weight_at(progress) for progress in (0.0, 0.3, 0.4)] == [0, 0, 0.5]
    assert build(MICRO, Config(context_weight=0.5), seeded()).context_weight.item() == 0.5


@pytest.mark.parametrize("grid", [(2, 4, 4), (4, 4, 4), (2, 6, 3), (1, 4, 4)])
@pytest.mark.parametrize("shape", [MICRO, DEEP], ids=["sincos", "rotary"])
def test_any_grid_works_at_any_step(shape: ViTConfig, grid: tuple[int, int, int]) -> None:
    method = made(shape)
    sides = [side * step for side, step in zip(grid, shape.tubelet, strict=True)]
    output = method.step(torch.randn(2, 1, *sides, generator=seeded()), seeded())
    output.loss.backward()
    assert torch.isfinite(output.loss)


@pytest.mark.parametrize(
    ("size", "width", "depth", "heads"),
    [("tiny", 64, 6, 1), ("small", 192, 6, 3), ("base", 384, 6, 6), ("large", 512, 12, 8)],
)
def test_the_predictor_grows_with_the_encoder(
    size: str, width: int, depth: int, heads: int
) -> None:
    predictor = build_predictor(ViTConfig.named(size, depth=depth * 2), Config(), None)
    assert predictor.embed.out_features == width
    assert len(predictor.blocks) == depth
    assert predictor.blocks[0].attn.heads == heads


@pytest.mark.parametrize(
    ("size", "changes", "heads", "parameters"),
    [
        ("large", {}, 16, 22_086_016 - 8 * 384),  # the published count is of ten mask tokens
        ("huge", {"positions": "rotary"}, 12, 22_282_880 - 8 * 384),
        ("giant", {"positions": "rotary"}, 12, 22_381_312 - 8 * 384),
    ],
)
def test_the_reference_predictor_has_the_published_size(
    size: str, changes: dict[str, Any], heads: int, parameters: int
) -> None:
    config = Config(predictor="reference")
    predictor = build_predictor(ViTConfig.named(size, **changes), config, None)
    assert predictor.blocks[0].attn.heads == heads
    assert sum(p.numel() for p in predictor.parameters()) == parameters


def test_the_reference_predictor_of_four_levels_has_the_published_size() -> None:
    shape = ViTConfig.named("giant", positions="rotary", levels=4)
    config = Config(predictor="reference", context_weight=0.5, mask_tokens=8)
    predictor = build_predictor(shape, config, None)
    tokens = 2 * 384  # two learned tokens of the published one are held by its offsets
    assert sum(p.numel() for p in predictor.parameters()) == 55_400_704 - tokens


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    config = Config(predictor_dim=100, predictor_heads=3)
    with pytest.raises(ValueError, match="predictor_dim"):
        build_predictor(ViTConfig(), config, seeded())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jepa_weight", 1.5),
        ("frozen_blocks", -1),
        ("mask_tokens", 0),
        ("context_ramp", (0.5, 0.2)),
    ],
)
def test_settings_that_mean_nothing_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        Config(**{name: value})
