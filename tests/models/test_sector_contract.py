"""What every method promises of a sector; a new file in the folder is tested without a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from echocli.models.masking import every_place
from echocli.models.methods import base
from echocli.models.optim import OptimConfig
from echocli.models.sector import Scan
from echocli.models.training import train
from echocli.models.vit import VisionTransformer

MakeBlobs = Callable[..., Tensor]
MakeMethod = Callable[..., base.Method]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def video(make_blobs: MakeBlobs) -> Tensor:
    return make_blobs(4, 1)


@pytest.fixture
def places(method: base.Method, video: Tensor) -> Tensor:
    """Return other places for every clip, most of the grid."""
    _, height, width = method.encoder.grid(video.shape)
    count = round(0.7 * height * width)
    draw = torch.rand(len(video), height * width, generator=seeded(5))
    return draw.argsort(dim=1)[:, :count].sort(dim=1).values


def outside(method: base.Method, video: Tensor, places: Tensor) -> Tensor:
    """Return which pixels lie outside the places, shaped as the clips."""
    grid, (_, h, w) = method.encoder.grid(video.shape), method.encoder.config.tubelet
    hidden = torch.ones(len(video), grid[1] * grid[2], dtype=torch.bool)
    hidden.scatter_(1, places, False)
    pixels = hidden.reshape(-1, 1, 1, *grid[1:])
    return pixels.repeat_interleave(h, dim=3).repeat_interleave(w, dim=4).expand(video.shape)


def numbers(
    method: base.Method, video: Tensor, places: Tensor | None
) -> tuple[base.StepOutput, dict[str, Tensor]]:
    """Return what a step gives, and all gradients."""
    method.zero_grad(set_to_none=True)
    output = method.step(video, seeded(3), places)
    output.loss.backward()
    grads = {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
    return output, grads


def test_no_pixel_outside_the_places_counts(
    method: base.Method, video: Tensor, places: Tensor
) -> None:
    other = torch.where(
        outside(method, video, places), 9 * torch.randn(video.shape, generator=seeded(6)), video
    )
    (ours, our_grads), (theirs, their_grads) = (
        numbers(method, clips, places) for clips in (video, other)
    )
    assert torch.equal(ours.loss, theirs.loss)
    for name, value in (ours.metrics | ours.state).items():
        assert torch.equal(value, (theirs.metrics | theirs.state)[name]), name
    for name, grad in our_grads.items():
        assert torch.equal(grad, their_grads[name]), name
    assert not torch.equal(numbers(method, other, None)[0].loss, ours.loss)


def test_a_pixel_inside_the_places_counts(
    method: base.Method, video: Tensor, places: Tensor
) -> None:
    louder = torch.where(outside(method, video, places), video, video * 1.5)
    ours, theirs = (method.step(clips, seeded(3), places) for clips in (video, louder))
    assert not torch.equal(ours.loss, theirs.loss)


def test_every_token_encoded_lies_in_its_clips_places(
    method: base.Method, video: Tensor, places: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, Tensor | None]] = []
    begin = VisionTransformer.begin

    def spy(self: VisionTransformer, clips: Tensor, keep: Tensor | None, *more: Any) -> Any:
        _, height, width = self.grid(clips.shape)
        seen.append((height * width, keep))
        return begin(self, clips, keep, *more)

    monkeypatch.setattr(VisionTransformer, "begin", spy)
    method.step(video, seeded(3), places)
    assert seen
    for columns, keep in seen:
        assert keep is not None
        for allowed, rows in zip(places, keep.reshape(len(video), -1), strict=True):
            assert torch.isin(rows % columns, allowed).all()


def test_all_places_are_the_same_as_none(method: base.Method, video: Tensor) -> None:
    grid = method.encoder.grid(video.shape)
    ours, our_grads = numbers(method, video, None)
    theirs, their_grads = numbers(method, video, every_place(len(video), grid))
    assert torch.equal(ours.loss, theirs.loss)
    for name, grad in our_grads.items():
        assert torch.equal(grad, their_grads[name]), name


def test_few_places_are_enough(method: base.Method, video: Tensor) -> None:
    for count in (2, 3):
        places = torch.arange(count).expand(len(video), -1)
        assert torch.isfinite(method.step(video, seeded(3), places).loss)


def test_training_looks_at_the_sector_alone(method_name: str, make_method: MakeMethod) -> None:
    sector = torch.zeros(3, 32, 32)
    sector[:, :16, 8:] = 1  # 6 of the 16 columns
    config = OptimConfig(steps=2, batch=3, warmup_steps=0)

    def losses(noise: float, share: float) -> list[float]:
        batches = [torch.randn(3, 1, 4, 32, 32, generator=seeded(n)) for n in (1, 2)]
        scans = [Scan(video + noise * (1 - sector[:, None, None]), sector) for video in batches]
        method = make_method(method_name)
        return [r.loss for r in train(method, scans, config, seeded(0), share=share)]

    assert losses(0.0, 3 / 8) == losses(5.0, 3 / 8)
    assert losses(0.0, 4 / 8) != losses(5.0, 4 / 8)
