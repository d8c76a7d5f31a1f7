"""The encoder: what it sees, what it does not, and its published sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from echocli.models.vit import SIZES, VisionTransformer, ViTConfig


@pytest.fixture
def encoder(micro: ViTConfig, generator: torch.Generator) -> VisionTransformer:
    return VisionTransformer(replace(micro, cls_token=True), generator)


@pytest.fixture
def video(generator: torch.Generator) -> Tensor:
    return torch.randn(2, 1, 4, 32, 32, generator=generator)


def test_keeping_all_tokens_changes_nothing(encoder: VisionTransformer, video: Tensor) -> None:
    everything = torch.arange(32).expand(2, -1)
    for kept, whole in zip(encoder.embed(video, everything), encoder.embed(video), strict=True):
        assert_close(kept, whole)


def test_order_of_kept_tokens_only_orders_the_result(
    encoder: VisionTransformer, video: Tensor
) -> None:
    keep = torch.tensor([[3, 17, 8], [30, 0, 5]])
    turned = encoder(video, keep.flip(1))
    assert_close(turned.flip(1), encoder(video, keep))


@pytest.mark.parametrize("positions", ["sincos", "rotary"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_class_token_alone_is_that_of_all_tokens(
    positions: Literal["sincos", "rotary"],
    recompute: bool,
    precision: str,
    micro: ViTConfig,
    video: Tensor,
    generator: torch.Generator,
) -> None:
    shape = replace(micro, cls_token=True, positions=positions, recompute=recompute)
    encoder = VisionTransformer(shape, generator)
    gradients = []
    for compute in (encoder.summarise, lambda clips: encoder.embed(clips)[0]):
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            cls = compute(video)
        assert cls is not None
        (cls.float() * torch.arange(shape.dim)).sum().backward()  # type: ignore[no-untyped-call]
        # None where nothing arrives, and zeros, are the same.
        found = [
            torch.zeros_like(p) if p.grad is None else p.grad for p in encoder.parameters()
        ]
        gradients.append([cls, *found])
    for one, other in zip(*gradients, strict=True):
        assert (one - other).norm() <= (1e-5 if precision == "fp32" else 0.03) * other.norm()


def test_hidden_pixels_have_no_influence(encoder: VisionTransformer, video: Tensor) -> None:
    keep = torch.tensor([[0, 5, 16], [0, 5, 16]])  # corner, second row, corner of later frames
    changed = video.clone()
    changed[:, :, :, 16:, :] = 7.0  # rows of tubelets 8-15 and 24-31
    assert torch.equal(encoder(video, keep), encoder(changed, keep))
    assert not torch.equal(encoder(video), encoder(changed))


def test_views_in_neighbouring_rows_equal_views_one_by_one(
    encoder: VisionTransformer, video: Tensor
) -> None:
    keep = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7]])
    together = encoder(video, keep)
    assert_close(together[0::2], encoder(video, keep[0::2]))
    assert_close(together[1::2], encoder(video, keep[1::2]))


@pytest.mark.parametrize("shape", [(2, 32, 32), (8, 32, 32), (4, 16, 48)])
def test_other_lengths_and_sizes_work(
    encoder: VisionTransformer, shape: tuple[int, int, int]
) -> None:
    video = torch.zeros(1, 1, *shape)
    grid = encoder.grid(video.shape)
    assert encoder(video).shape == (1, grid[0] * grid[1] * grid[2], 48)


def test_time_and_place_of_a_token_are_its_pixels(
    encoder: VisionTransformer, video: Tensor
) -> None:
    # Token t, row, column is the only one that the embedding of its own pixels changes.
    changed = video.clone()
    changed[:, :, 2:4, 8:16, 24:32] += 1
    embed = encoder.patch_embed
    touched = (embed(changed) != embed(video)).any(dim=2).nonzero()[:, 1].unique()
    assert touched.tolist() == [(1 * 4 + 1) * 4 + 3]


def test_wrong_sizes_are_refused(encoder: VisionTransformer, micro: ViTConfig) -> None:
    with pytest.raises(ValueError, match="do not divide"):
        encoder.grid((1, 1, 3, 32, 32))
    with pytest.raises(ValueError, match="whole tubelets"):
        replace(micro, size=30)
    with pytest.raises(ValueError, match="heads"):
        replace(micro, heads=5)
    with pytest.raises(ValueError, match="tiny, small"):
        ViTConfig.named("enormous")


@pytest.mark.parametrize(
    ("size", "millions"),
    [
        ("tiny", 5.6),
        ("small", 21.9),
        ("base", 86.2),
        ("large", 303.9),
        ("huge", 631.6),
        ("giant", 1012.2),
        ("gigantic", 1843.9),
    ],
)
def test_published_sizes_have_their_published_numbers_of_weights(
    size: str, millions: float
) -> None:
    config = ViTConfig.named(size, channels=3, size=224)
    encoder = VisionTransformer(config, None)
    count = sum(p.numel() for p in encoder.parameters())
    assert round(count / 1e6, 1) == millions
    grey = VisionTransformer(replace(config, channels=1), None)
    fewer = count - sum(p.numel() for p in grey.parameters())
    assert fewer == 2 * 2 * 16 * 16 * config.dim


@pytest.mark.parametrize("grid", [(1, 1, 2), (7, 3, 5), (33, 2, 9), (2, 24, 13)])
@pytest.mark.parametrize(
    "changes",
    [{}, {"positions": "line"}, {"positions": "rotary"}],
    ids=["sincos", "line", "rotary"],
)
def test_no_two_tokens_of_any_grid_share_a_place(
    changes: dict[str, Any], grid: tuple[int, int, int], generator: torch.Generator
) -> None:
    config = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=192, depth=1, **changes)
    encoder = VisionTransformer(config, generator)
    sides = grid[0] * 2, grid[1] * 8, grid[2] * 8
    tokens, rotation = encoder.begin(torch.zeros(1, 1, *sides), None)
    places = (
        tokens[0] if rotation is None else rotation.flatten(0, 2).transpose(0, 1).flatten(1)
    )
    count = grid[0] * grid[1] * grid[2]
    assert len(places) == count
    assert torch.cdist(places, places).add(torch.eye(count)).min() > 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_every_channel_counts(channels: int, generator: torch.Generator) -> None:
    config = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=48, depth=1, channels=channels)
    encoder = VisionTransformer(config, generator)
    video = torch.randn(1, channels, 4, 32, 32, generator=generator)
    plain = encoder(video)
    for channel in range(channels):
        changed = video.clone()
        changed[:, channel] += 1
        assert not torch.allclose(encoder(changed), plain)


def test_the_bottom_ends_with_its_last_block(micro: ViTConfig) -> None:
    config = replace(micro, depth=4, levels=4, cls_token=True, stills=True)
    encoder = VisionTransformer(config, None)
    names = {id(parameter): name for name, parameter in encoder.named_parameters()}
    assert encoder.bottom(0) == []
    for blocks in (1, 3):
        below = {names[id(parameter)] for parameter in encoder.bottom(blocks)}
        above = ["norm."]
        for number in range(blocks, 4):
            above += [f"blocks.{number}.", f"level_norms.{number}."]
        assert below == {n for n in names.values() if not n.startswith(tuple(above))}
        assert {"cls_token", "patch_embed.proj.bias", "clip_token"} <= below
    with pytest.raises(ValueError, match="4 blocks of 4"):
        encoder.bottom(4)


def test_every_size_is_a_valid_configuration() -> None:
    for size in SIZES:
        assert ViTConfig.named(size, frames=8).grid == (4, 7, 7)


def test_same_generator_same_weights(micro: ViTConfig) -> None:
    weights = [
        VisionTransformer(micro, torch.Generator().manual_seed(seed)).state_dict()
        for seed in (1, 1, 2)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(
        weights[0]["blocks.1.mlp.fc2.weight"], weights[2]["blocks.1.mlp.fc2.weight"]
    )


def kept_bytes(encoder: VisionTransformer, video: Tensor) -> int:
    """Train one step; return the bytes that the backward pass had to find."""
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        encoder(video).square().mean().backward()
    return sum(sizes)


@pytest.mark.parametrize("positions", ["sincos", "rotary"])
def test_recomputing_changes_memory_and_nothing_else(
    micro: ViTConfig, positions: Literal["sincos", "rotary"], video: Tensor
) -> None:
    kept, bytes_kept = {}, {}
    for recompute in (False, True):
        config = replace(micro, depth=4, positions=positions, recompute=recompute)
        encoder = VisionTransformer(config, torch.Generator().manual_seed(0))
        bytes_kept[recompute] = kept_bytes(encoder, video)
        kept[recompute] = [p.grad for p in encoder.parameters()]
    for with_memory, without in zip(kept[False], kept[True], strict=True):
        assert with_memory is not None
        assert without is not None
        assert torch.equal(with_memory, without)
    assert bytes_kept[True] < bytes_kept[False] / 3
