"""Rotary positions, interpolated tables and levels, each against the slow road."""

from __future__ import annotations

import cmath
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from made_models import SMALLER, blobs
from torch import Tensor
from torch.testing import assert_close

from echocli.models.layers import rotate
from echocli.models.methods import base
from echocli.models.positions import Positions, rotary_table, sincos_3d, sincos_line, stretch
from echocli.models.vit import Architecture, VisionTransformer, ViTConfig

GRID = (2, 3, 2)
ROTARY: dict[str, Any] = {"positions": "rotary", "heads": 3}
PLACES = [(t, i, j) for t in range(2) for i in range(3) for j in range(2)]


def turned_by_loops(channels: Tensor, place: tuple[float, ...], pairing: str) -> Tensor:
    """One pair at a time: each axis turns n = 2 floor(floor(d / 3) / 2) channels."""
    n = 2 * (len(channels) // 3 // 2)
    waves = [10_000 ** (-k / (n / 2)) for k in range(n // 2)]
    turned = channels.clone()
    for axis, where in enumerate(place):
        for channel in range(n):
            k = channel // 2 if pairing == "interleaved" else channel % (n // 2)
            x, y = (channels[axis * n + channel // 2 * 2 + part].item() for part in (0, 1))
            pair = complex(x, y) * cmath.exp(1j * where * waves[k])
            turned[axis * n + channel] = pair.imag if channel % 2 else pair.real
    return turned


@pytest.mark.parametrize("pairing", ["interleaved", "tiled"])
@pytest.mark.parametrize("head", [16, 20, 8])
def test_every_channel_turns_by_its_angle(
    pairing: Any, head: int, generator: torch.Generator
) -> None:
    tokens = torch.randn(12, head, generator=generator)
    found = rotate(tokens[None, None], rotary_table(GRID, head, pairing)[:, None, None])
    for token, place in enumerate(PLACES):
        expected = turned_by_loops(tokens[token], place, pairing)
        assert_close(found[0, 0, token], expected, rtol=0, atol=1e-6)


def test_only_distances_count_where_pairs_share_an_angle(generator: torch.Generator) -> None:
    table = rotary_table((6, 1, 1), 16, "interleaved")[:, None, None]
    query, key = (
        torch.randn(1, 1, 1, 16, generator=generator).expand(-1, -1, 6, -1) for _ in "qk"
    )
    scores = (rotate(query, table) @ rotate(key, table).mT)[0, 0]
    for lag in range(6):
        assert_close(scores.diagonal(lag), scores[0, lag].expand(6 - lag), rtol=0, atol=1e-5)
    tiled = rotary_table((6, 1, 1), 16, "tiled")[:, None, None]
    scores = (rotate(query, tiled) @ rotate(key, tiled).mT)[0, 0]
    assert not torch.allclose(scores.diagonal(1), scores[0, 1].expand(5), atol=1e-3)


def test_spread_positions_reach_over_the_same_rows_whatever_their_number() -> None:
    coarse, fine = (rotary_table((2, n, n), 24, "interleaved", 16) for n in (3, 5))
    # Row 1 of 3 and row 2 of 5 are both half-way; columns 0.
    assert_close(coarse[:, 3], fine[:, 10])
    plain = rotary_table((2, 16, 16), 24, "interleaved")
    assert_close(rotary_table((2, 16, 16), 24, "interleaved", 16), plain)
    assert rotary_table((1, 1, 1), 24, "interleaved", 16)[0].eq(1).all()


def linear_by_loops(values: list[float], wanted: int) -> list[float]:
    """Interpolate between the centres of cells; beyond the outer centres nothing changes."""
    found = []
    for cell in range(wanted):
        where = (cell + 0.5) * len(values) / wanted - 0.5
        where = min(max(where, 0.0), len(values) - 1.0)
        low = math.floor(where)
        high = min(low + 1, len(values) - 1)
        found.append(values[low] + (where - low) * (values[high] - values[low]))
    return found


def test_a_stretched_table_is_interpolated_along_every_axis(
    generator: torch.Generator,
) -> None:
    before, after = (2, 3, 2), (3, 2, 5)
    table = torch.randn(12, 1, generator=generator)
    volume = table.reshape(before)
    for axis, wanted in enumerate(after):
        rows = volume.movedim(axis, -1)
        flat = [
            linear_by_loops(row, wanted) for row in rows.reshape(-1, rows.shape[-1]).tolist()
        ]
        volume = torch.tensor(flat).reshape(*rows.shape[:-1], wanted).movedim(-1, axis)
    assert_close(stretch(table, before, after).reshape(after), volume)


def test_a_drawn_table_is_stretched_and_its_own_grid_untouched() -> None:
    positions = Positions((2, 4, 4), 48, drawn_for=(2, 2, 2))
    expected = stretch(sincos_3d((2, 2, 2), 48), (2, 2, 2), (2, 4, 4))
    assert torch.equal(positions((2, 4, 4))[0], expected)
    assert torch.equal(positions((2, 2, 2))[0], sincos_3d((2, 2, 2), 48))


def test_running_numbers_are_encoded_by_their_formula() -> None:
    table = sincos_line(5, 6)
    for number in range(5):
        for pair in range(3):
            angle = number / 10_000 ** (2 * pair / 6)
            expected = torch.tensor([math.sin(angle), math.cos(angle)])
            assert_close(table[number, 2 * pair : 2 * pair + 2], expected)


def test_time_may_have_half_of_the_channels() -> None:
    table = sincos_3d((2, 2, 2), 16, uniform=False)
    assert table.shape == (8, 16)
    assert torch.equal(table[0, :8], table[3, :8])  # same time, another place
    assert not torch.equal(table[0, :8], table[4, :8])


@pytest.mark.parametrize("cls", [False, True])
def test_hidden_tokens_keep_the_others_at_their_places(
    micro: ViTConfig, cls: bool, generator: torch.Generator
) -> None:
    config = replace(micro, cls_token=cls, **ROTARY)
    encoder = VisionTransformer(config, generator)
    video = torch.randn(2, 1, 4, 32, 32, generator=generator)
    everything = torch.arange(32).expand(2, -1)
    assert_close(encoder(video, everything), encoder(video))
    keep = torch.tensor([[3, 17, 8], [30, 0, 5]])
    assert_close(encoder(video, keep.flip(1)).flip(1), encoder(video, keep))
    moved = encoder(video, keep.roll(1, 0))
    assert not torch.allclose(moved, encoder(video, keep), atol=1e-3)
    assert encoder(video[..., :16]).shape == (2, 16, 48)


def test_the_last_level_is_the_output(micro: ViTConfig, generator: torch.Generator) -> None:
    encoder = VisionTransformer(replace(micro, depth=4, levels=2), generator)
    video = torch.randn(1, 1, 4, 32, 32, generator=generator)
    levels = encoder.levels(video)
    assert torch.equal(levels[..., 48:], encoder(video))
    shallow = VisionTransformer(replace(micro, depth=2), torch.Generator())
    weights = encoder.state_dict()
    weights["norm.weight"] = weights["level_norms.0.weight"]
    weights["norm.bias"] = weights["level_norms.0.bias"]
    shallow.load_state_dict({name: weights[name] for name in shallow.state_dict()})
    assert torch.equal(levels[..., :48], shallow(video))


@pytest.mark.parametrize(
    ("depth", "ends"),
    [
        (12, (2, 5, 8, 11)),
        (24, (5, 11, 17, 23)),
        (40, (9, 19, 29, 39)),
        (48, (11, 23, 37, 47)),
    ],
)
def test_levels_end_where_they_were_published(depth: int, ends: tuple[int, ...]) -> None:
    assert Architecture(depth=depth, levels=4).level_blocks == ends


def test_a_picture_has_an_embedding_of_its_own(
    micro: ViTConfig, generator: torch.Generator
) -> None:
    encoder = VisionTransformer(replace(micro, stills=True), generator)
    picture = torch.randn(1, 1, 1, 32, 32, generator=generator)
    assert encoder.grid(picture.shape) == (1, 4, 4)
    assert encoder(picture).shape == (1, 16, 48)
    encoder(picture).sum().backward()
    assert encoder.patch_embed.proj.weight.grad is None
    assert encoder.still_embed.proj.weight.grad is not None
    assert encoder.clip_token.grad is None
    assert encoder.still_token.grad is not None


def test_without_a_generator_weights_hold_no_numbers_until_they_are_given(
    micro: ViTConfig, generator: torch.Generator
) -> None:
    config = replace(micro, cls_token=True, stills=True, levels=2, **ROTARY)
    encoder = VisionTransformer(config, generator)
    empty = VisionTransformer(config, None)
    assert empty.patch_embed.proj.weight.is_meta
    empty.load_state_dict(encoder.state_dict(), assign=True)
    video = torch.randn(1, 1, 4, 32, 32, generator=generator)
    assert torch.equal(empty(video), encoder(video))


@pytest.mark.parametrize(
    ("changes", "word"), [({"levels": 0}, "levels"), ({**ROTARY, "dim": 33}, "pairs")]
)
def test_impossible_architectures_are_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Architecture(**changes)


def test_queries_may_have_no_offset(micro: ViTConfig, generator: torch.Generator) -> None:
    encoder = VisionTransformer(replace(micro, qkv_bias=False), generator)
    assert "blocks.0.attn.qkv.bias" not in encoder.state_dict()
    assert "blocks.0.attn.proj.bias" in encoder.state_dict()


@pytest.mark.parametrize("pairing", ["interleaved", "tiled"])
def test_every_method_trains_an_encoder_of_the_newest_kind(
    method_name: str, pairing: Any, micro: ViTConfig, generator: torch.Generator
) -> None:
    module = base.load(method_name)
    shape = replace(
        micro, **ROTARY, rope_pairing=pairing, rope_side=16, levels=2, stills=True, depth=2
    )
    method = module.build(shape, module.Config(**SMALLER.get(method_name, {})), generator)
    video = blobs(2, seed=3)
    output = method.step(video, generator)
    output.loss.backward()
    weight = method.encoder.blocks[0].attn.qkv.weight
    assert output.loss.isfinite()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    method.after_step(0.5, output.state)
