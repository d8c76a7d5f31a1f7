"""DISCOVR: tokens meet their own place and time; each branch learns from its own loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from echocli.models.methods.discovr import DISCOVR, gather_tubelets


def test_frames_are_arranged_as_the_tubelets_of_their_clip(generator: torch.Generator) -> None:
    batch, duration, frames_a_tubelet, height, width, dim = 2, 3, 2, 2, 2, 5
    tokens = torch.randn(
        batch * duration * frames_a_tubelet, height * width, dim, generator=generator
    )
    arranged = gather_tubelets(tokens, batch, (duration, height, width))
    for clip in range(batch):
        for t in range(duration):
            for place in range(height * width):
                expected = torch.zeros(dim)
                for frame in range(frames_a_tubelet):
                    row = tokens[(clip * duration + t) * frames_a_tubelet + frame]
                    for channel in range(dim):
                        values = row[:, channel]
                        spread = (values.var(correction=0) + 1e-6).sqrt()
                        value = (values[place] - values.mean()) / spread
                        expected[channel] += value / frames_a_tubelet
                token = (t * height * width) + place
                assert_close(arranged[clip, token], expected)


@pytest.mark.parametrize("image_frames", ["one", "all"])
def test_each_video_token_meets_the_image_token_of_its_own_pixels(
    image_frames: str,
    make_method: Callable[..., DISCOVR],
    monkeypatch: pytest.MonkeyPatch,
    generator: torch.Generator,
) -> None:
    # Image tokens are replaced by the mean of their patch; a clip whose patches all differ
    # then tells where each paired token comes from.
    method = make_method("discovr", image_frames=image_frames)
    time, row, column = torch.meshgrid(
        torch.arange(2), torch.arange(4), torch.arange(4), indexing="ij"
    )
    marks = (time * 100 + row * 10 + column).float()
    clip = marks.repeat_interleave(2, 0).repeat_interleave(8, 1).repeat_interleave(8, 2)
    video = torch.stack([clip, clip + 1000])[:, None]

    def patch_means(frames: Tensor) -> tuple[Tensor, Tensor]:
        cells = frames[:, 0, 0].reshape(-1, 4, 8, 4, 8).mean(dim=(2, 4))
        return torch.zeros(len(frames), 64), cells.flatten(1)[..., None].expand(-1, -1, 48)

    seen: list[Tensor] = []
    monkeypatch.setattr(method.image, "teach", patch_means)
    monkeypatch.setattr(
        "echocli.models.methods.discovr.standardise",
        lambda tokens: seen.append(tokens) or tokens,
    )
    ids = method.draw(2, (2, 4, 4), generator)["image"]
    _, _, paired = method.image_step(video, (2, 4, 4), ids)
    assert len(seen) == 1
    assert_close(paired[0, :, 0], marks.flatten())
    assert_close(paired[1, :, 0], marks.flatten() + 1000)


def test_the_decoder_gets_the_first_view_at_its_own_places(
    make_method: Callable[..., DISCOVR],
    make_blobs: Callable[..., Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = make_method("discovr", video_views=3)
    views: list[tuple[Tensor, Tensor]] = []
    embed, decode = method.video.student.embed, method.decoder.forward

    def spy_embed(video: Tensor, ids: Tensor) -> tuple[Tensor | None, Tensor]:
        cls, tokens = embed(video, ids)
        views.append((tokens, ids))
        return cls, tokens

    decoded: list[tuple[Tensor, Tensor]] = []

    def spy_decode(visible: Tensor, ids: Tensor, grid: tuple[int, int, int]) -> Tensor:
        decoded.append((visible, ids))
        return decode(visible, ids, grid)

    monkeypatch.setattr(method.video.student, "embed", spy_embed)
    monkeypatch.setattr(method.decoder, "forward", spy_decode)
    method.step(make_blobs(4, 1), torch.Generator().manual_seed(1))
    (tokens, ids), (visible, places) = views[0], decoded[0]
    assert len(ids) == 4 * (3 + 1)
    for clip in range(4):
        assert torch.equal(visible[clip], tokens[4 * clip])
        assert torch.equal(places[clip], ids[4 * clip])


def gradient_reaches(method: DISCOVR, video: Tensor) -> set[str]:
    """Return the names of the parts that a method's loss trains."""
    loss = method.step(video, torch.Generator().manual_seed(1)).loss
    loss.backward()
    reached = {
        name
        for name, p in method.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }
    return {".".join(name.split(".")[:2]).removesuffix(".weight") for name in reached}


def test_cluster_distillation_trains_video_student_decoder_and_prototypes_only(
    make_method: Callable[..., DISCOVR], make_blobs: Callable[..., Tensor]
) -> None:
    method = make_method("discovr", video_weight=0.0, image_weight=0.0)
    reached = gradient_reaches(method, make_blobs(4, 1))
    assert {name.split(".")[0] for name in reached} == {"video", "decoder", "prototypes"}
    assert not any(name.startswith("video.student_head") for name in reached)


@pytest.mark.parametrize("branch", ["video", "image"])
def test_each_branch_learns_from_its_own_distillation_only(
    branch: str, make_method: Callable[..., DISCOVR], make_blobs: Callable[..., Tensor]
) -> None:
    other = "image" if branch == "video" else "video"
    weights: dict[str, Any] = {f"{other}_weight": 0.0, "cluster_weight": 0.0}
    reached = gradient_reaches(make_method("discovr", **weights), make_blobs(4, 1))
    assert {name.split(".")[0] for name in reached} == {branch}


def test_centre_starts_at_the_first_batch_and_then_follows_slowly(
    make_method: Callable[..., DISCOVR],
) -> None:
    method = make_method("discovr", centre_momentum=0.9)
    first, second = torch.randn(64), torch.randn(64)
    method.after_step(0.1, {"video": first, "image": first})
    assert_close(method.video.centre, first)
    method.after_step(0.2, {"video": second, "image": second})
    assert_close(method.video.centre, 0.9 * first + 0.1 * second)


def test_teacher_temperature_rises_then_stays(make_method: Callable[..., DISCOVR]) -> None:
    method = make_method("discovr", teacher_warmup=0.2)
    state = {"video": torch.zeros(64), "image": torch.zeros(64)}
    temperatures = []
    for progress in (0.1, 0.2, 0.9):
        method.after_step(progress, state)
        temperatures.append(method.video.temperature.item())
    assert temperatures == pytest.approx([0.055, 0.07, 0.07])
