"""Augmentation: nothing asked is nothing done, and geometry is one per clip."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from echocli.models.augment import (
    AugmentConfig,
    amplify,
    augment,
    crop,
    draw_boxes,
    draw_changes,
)

STILL = AugmentConfig(scale=(1.0, 1.0), aspect=(1.0, 1.0), gain=(1.0, 1.0))


@pytest.fixture
def ramp() -> torch.Tensor:
    """Clips whose brightness is the column, so that a crop shows where it lies."""
    return torch.linspace(0, 1, 32).expand(6, 1, 3, 32, 32).contiguous()


def test_nothing_asked_nothing_done(generator: torch.Generator) -> None:
    video = torch.randn(2, 1, 4, 16, 16, generator=generator)
    assert_close(augment(video, draw_changes(2, STILL, generator)), video)


def test_all_frames_of_a_clip_are_cut_alike_and_clips_differ(
    ramp: torch.Tensor, generator: torch.Generator
) -> None:
    cut = crop(ramp, draw_boxes(6, AugmentConfig(scale=(0.3, 0.6)), generator))
    assert torch.equal(cut[:, :, 0], cut[:, :, 2])
    assert len({round(clip[0, 0, 0, 0].item(), 4) for clip in cut}) == 6


def test_a_crop_keeps_the_asked_share_and_stays_inside(
    ramp: torch.Tensor, generator: torch.Generator
) -> None:
    config = AugmentConfig(scale=(0.25, 0.25), aspect=(1.0, 1.0))
    for _ in range(20):
        cut = crop(ramp, draw_boxes(6, config, generator))
        steps = cut[..., 1:] - cut[..., :-1]
        assert_close(steps[..., 2:-2], torch.full_like(steps[..., 2:-2], 0.5 / 31))
        assert (steps > 0).all() or (steps >= 0).all()


def test_gain_keeps_black_and_scales_the_rest(generator: torch.Generator) -> None:
    video = torch.rand(3, 1, 2, 4, 4, generator=generator) - 0.7
    video[:, :, :, 0, 0] = -0.7
    gains = torch.tensor([1.5, 0.8, 1.0])
    louder = amplify(video, gains)
    assert_close(louder + 0.7, (video + 0.7) * gains.reshape(3, 1, 1, 1, 1))


@pytest.mark.parametrize(
    "change", [{"scale": (0.5, 1.2)}, {"gain": (0.0, 1.0)}, {"aspect": (2.0, 1.0)}]
)
def test_impossible_ranges_are_refused(change: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        AugmentConfig(**change)
