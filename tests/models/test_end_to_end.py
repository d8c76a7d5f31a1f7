"""Encoders that are trained with their heads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_models import MICRO, blobs
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from echocli.models.finetune import Example, FitConfig, hold_out, thaw, train_on_labels
from echocli.models.sector import to_grid
from echocli.models.tasks.lvef import PooledRegressor, ef_loss
from echocli.models.tasks.segmentation import FrameSegmenter, mask_loss
from echocli.models.vit import VisionTransformer


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def encoder() -> VisionTransformer:
    return VisionTransformer(replace(MICRO, cls_token=True), seeded(0))


def trained_names(encoder: VisionTransformer) -> set[str]:
    return {name.split(".")[0] for name, p in encoder.named_parameters() if p.requires_grad} | {
        ".".join(name.split(".")[:2])
        for name, p in encoder.named_parameters()
        if p.requires_grad and name.startswith("blocks")
    }


def test_the_last_blocks_thaw_and_what_follows_them(encoder: VisionTransformer) -> None:
    encoder.requires_grad_(False)
    thaw(encoder, 1)
    assert trained_names(encoder) == {"blocks", "blocks.1", "norm"}
    thaw(encoder, 2)
    everything = {"patch_embed", "cls_token", "blocks", "blocks.0", "blocks.1", "norm"}
    assert trained_names(encoder) == everything
    thaw(encoder, 99)
    assert trained_names(encoder) == everything
    with pytest.raises(ValueError, match="0 blocks"):
        thaw(encoder, 0)


def test_the_probe_of_a_trained_regressor_says_what_it_says(encoder: VisionTransformer) -> None:
    targets = 50 + 10 * torch.randn(16, generator=seeded(1))
    network = PooledRegressor(encoder, "mean_std", targets)
    with torch.no_grad():
        network.readout.weight.normal_(generator=seeded(2))
        network.readout.bias.fill_(0.3)
        network(blobs(16, 1))  # moves the running statistics
        network.eval()
        video = blobs(3, 2)
        tokens = encoder(video)
        places = tokens.reshape(3, 2, 16, -1)
        features = torch.cat([tokens.mean(1), places.std(1, correction=0).mean(1)], dim=1)
        said = network(video) * targets.std(correction=0) + targets.mean()
    assert_close(network.probe().predict(features), said, rtol=1e-4, atol=1e-3)


def test_an_encoder_learns_a_size_that_no_patient_gave_away() -> None:
    video = blobs(96, 3)
    # The share of the picture that is bright; a network starts by saying the mean.
    size = (video > 0).float().mean(dim=(1, 2, 3, 4))
    network = PooledRegressor(VisionTransformer(MICRO, seeded(0)), "mean", size)
    wanted = (size - network.centre) / network.spread

    def look(rows: Tensor, _: torch.Generator | None) -> Example:
        return (video[rows], None), wanted[rows]

    config = FitConfig(least_steps=60, epochs=1, batch=16, lr=3e-3, checks=4)
    generator = seeded(4)
    held_out = hold_out(torch.arange(96) // 2, 0.25, generator)
    checks = list(train_on_labels(network, look, ef_loss, held_out, config, generator))
    with torch.no_grad():
        error = (network(video[held_out]) - wanted[held_out]).abs().mean()
    assert error < 0.5 * wanted[held_out].abs().mean()
    assert checks[-1].loss < checks[0].loss


def test_a_frame_is_drawn_as_by_the_head_on_all_frames(encoder: VisionTransformer) -> None:
    network = FrameSegmenter(encoder, 4, seeded(1)).eval()
    video, frames = blobs(3, 5), torch.tensor([0, 3, 2])
    with torch.no_grad():
        drawn = network(video, frames)
        whole = network.head.logits(encoder(video).reshape(3, 2, 4, 4, -1))
    assert_close(drawn, whole[torch.arange(3), frames])


def test_tokens_that_are_not_looked_at_are_background(encoder: VisionTransformer) -> None:
    network = FrameSegmenter(encoder, 4, seeded(1)).eval()
    keep = torch.tensor([[5, 6, 9, 21, 22, 25]]).expand(2, -1)
    video, frames = blobs(2, 5), torch.tensor([0, 3])
    drawn = network(video, frames, keep)
    tokens = to_grid(encoder(video, keep), keep, (2, 4, 4))
    assert_close(drawn, network.head.logits(tokens)[torch.arange(2), frames])
    assert (drawn[:, :, :8].argmax(dim=1) == 0).all()
    mask_loss(drawn, torch.ones(2, 32, 32, dtype=torch.int64)).mean().backward()
    for name, parameter in network.named_parameters():
        grad = parameter.grad
        assert grad is None or bool(grad.isfinite().all()), name
    assert network.weight.grad is not None
    assert encoder.blocks[0].attn.qkv.weight.grad is not None


def test_the_loss_of_masks_is_the_mean_over_pixels_of_each_map() -> None:
    said = torch.randn(2, 3, 4, 5, generator=seeded(0))
    wanted = torch.randint(3, (2, 4, 5), generator=seeded(1))
    expected = [
        sum(
            -F.log_softmax(said[m, :, r, c], dim=0)[wanted[m, r, c]]
            for r in range(4)
            for c in range(5)
        )
        / 20
        for m in range(2)
    ]
    assert_close(mask_loss(said, wanted), torch.stack(expected))
