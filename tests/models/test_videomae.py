"""VideoMAE against its equation, and what it may see."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_models import MICRO, blobs
from oracles.videomae_by_loops import loss as loss_by_loops
from torch import Tensor
from torch.testing import assert_close

from echocli.models.methods.videomae import Config, VideoMAE, build, standard_pixels

GRID = MICRO.grid


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def method() -> VideoMAE:
    return build(MICRO, Config(mask_ratio=0.75), seeded(0))


def decoded(method: VideoMAE, video: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """What stands at the hidden tokens of a decoder that is asked for the whole grid."""
    visible, hidden = draws["visible"], draws["hidden"]
    grid = method.encoder.grid(video.shape)
    whole = method.decoder(method.encoder(video, visible), visible, grid)
    rows = [clip[ids] for clip, ids in zip(whole, hidden, strict=True)]
    return torch.stack(rows)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_is_that_of_the_loops(channels: int) -> None:
    shape = replace(MICRO, channels=channels)
    method = build(shape, Config(mask_ratio=0.75), seeded(0))
    video = blobs(2, 1, shape) + 0.1 * torch.randn(2, channels, 4, 32, 32, generator=seeded(2))
    draws = method.draw(2, GRID, seeded(3))
    expected = loss_by_loops(
        video, decoded(method, video, draws), draws["hidden"], shape.tubelet
    )
    assert_close(method(video, draws).loss.item(), expected, rtol=1e-5, atol=0)


def test_a_guess_of_mean_grey_explains_nothing(method: VideoMAE) -> None:
    video, draws = blobs(2, 1), method.draw(2, GRID, seeded(3))
    with torch.no_grad():
        for parameter in method.decoder.proj.parameters():
            parameter.zero_()
    output = method(video, draws)
    assert_close(output.metrics["unexplained"], torch.tensor(1.0))


def test_black_tubelets_ask_for_nothing_and_scale_does_not_matter() -> None:
    patches = torch.randn(1, 3, 64, generator=seeded(0))
    patches[0, 1] = -0.7
    found = standard_pixels(patches, 1)
    assert torch.equal(found[0, 1], torch.zeros(64))
    assert_close(standard_pixels(9 * patches[:, ::2] + 4, 1), found[:, ::2], atol=1e-4, rtol=0)


def test_whole_tubes_are_hidden_and_every_token_is_one_or_the_other(method: VideoMAE) -> None:
    draws = method.draw(5, GRID, seeded(1))
    places = GRID[1] * GRID[2]
    for visible, hidden in zip(
        draws["visible"].tolist(), draws["hidden"].tolist(), strict=True
    ):
        assert sorted(visible + hidden) == list(range(GRID[0] * places))
        first = {token for token in visible if token < places}
        assert len(first) == round(0.25 * places)
        assert set(visible) == {t * places + p for t in range(GRID[0]) for p in first}


def test_nothing_outside_the_places_is_looked_at(method: VideoMAE) -> None:
    places = torch.tensor([[1, 2, 5, 6, 9, 10], [0, 3, 4, 7, 8, 15]])
    video, draws = blobs(2, 1), method.draw(2, GRID, seeded(1), places)
    changed = video.clone()
    count = GRID[1] * GRID[2]
    for clip, inside in enumerate(places.tolist()):
        there = {token % count for name in draws for token in draws[name][clip].tolist()}
        assert there == set(inside)
        for place in set(range(count)) - set(inside):
            row, column = divmod(place, GRID[2])
            changed[clip, :, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = 9.0
    assert torch.equal(method(video, draws).loss, method(changed, draws).loss)


def test_hidden_pixels_do_not_reach_what_is_rebuilt(method: VideoMAE) -> None:
    video, draws = blobs(1, 1), method.draw(1, GRID, seeded(1))
    kept = {token % 16 for token in draws["visible"][0].tolist()}
    changed = video.clone()
    for place in set(range(16)) - kept:
        row, column = divmod(place, 4)
        changed[0, :, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = 5.0
    assert torch.equal(decoded(method, video, draws), decoded(method, changed, draws))


@pytest.mark.parametrize(("kind", "line"), [("line", True), ("sincos", False)])
def test_the_decoder_counts_places_as_its_encoder_does(kind: str, line: bool) -> None:
    shape = replace(MICRO, positions=kind)  # type: ignore[arg-type]
    method = build(shape, Config(), seeded(0))
    encoder = method.encoder.positions
    assert encoder is not None
    assert method.decoder.positions.kind == encoder.kind
    assert (method.decoder.positions.kind == "line") is line


def test_published_proportions_of_the_decoder() -> None:
    shape = replace(MICRO, dim=72, depth=12, heads=12)
    decoder = build(shape, Config(), seeded(0)).decoder
    assert len(decoder.blocks) == 4
    assert decoder.proj.in_features == 36
    assert decoder.proj.out_features == 2 * 8 * 8
    assert decoder.embed.bias is None


def test_there_must_be_something_to_hide_and_to_see() -> None:
    for ratio in (0.0, 1.0):
        with pytest.raises(ValueError, match="mask_ratio"):
            Config(mask_ratio=ratio)
