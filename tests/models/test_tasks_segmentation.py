from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from echocli.models.tasks.segmentation import LinearSegmenter, SegmentationConfig

TUBELET = (2, 4, 3)


def fitted(dim: int = 5) -> LinearSegmenter:
    generator = torch.Generator().manual_seed(0)
    head = LinearSegmenter(TUBELET, classes=4)
    head.weight_ = torch.randn(2, 4 * 4 * 3, dim, generator=generator)
    head.bias_ = torch.randn(2, 4 * 4 * 3, generator=generator)
    head.mean_ = torch.randn(dim, generator=generator)
    head.sd_ = torch.rand(dim, generator=generator) + 0.5
    return head


def test_every_pixel_gets_the_logits_of_its_own_token_and_place() -> None:
    head = fitted()
    tokens = torch.randn(2, 3, 2, 2, 5, generator=torch.Generator().manual_seed(1))
    logits = head.logits(tokens)
    assert logits.shape == (2, 6, 4, 8, 6)
    weight = head.weight_.view(2, 4, 4, 3, 5)
    bias = head.bias_.view(2, 4, 4, 3)
    for frame in range(6):
        for row in range(8):
            for column in range(6):
                token = (tokens[1, frame // 2, row // 4, column // 3] - head.mean_) / head.sd_
                place = (frame % 2, slice(None), row % 4, column % 3)
                slow = weight[place] @ token + bias[place]
                assert_close(logits[1, frame, :, row, column], slow, rtol=1e-4, atol=1e-5)
    assert torch.equal(head.predict(tokens), logits.argmax(dim=2))


def problem(maps: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens that hold, linearly, what is seen in both frames of their tubelet."""
    generator = torch.Generator().manual_seed(2)
    video = torch.randint(0, 3, (maps, 2, 8, 6), generator=generator)
    slots = torch.arange(maps) % 2
    masks = video[torch.arange(maps), slots]
    patches = video.view(maps, 2, 2, 4, 2, 3).permute(0, 2, 4, 1, 3, 5).flatten(3)
    tokens = torch.nn.functional.one_hot(patches, 3).flatten(3).float()
    return tokens * 7 + 100, slots, masks  # far from standardised


def test_fit_finds_a_linear_answer_in_both_frames_of_a_tubelet() -> None:
    tokens, slots, masks = problem(120)
    config = SegmentationConfig(steps=150, lr=0.03)
    head = LinearSegmenter(TUBELET, 3, config)
    head.fit(tokens[:90], slots[:90], masks[:90], torch.Generator().manual_seed(0))
    predicted = head.predict(tokens[90:, None])
    right = predicted[torch.arange(30), slots[90:]] == masks[90:]
    assert right.float().mean() > 0.98
    wrong = predicted[torch.arange(30), 1 - slots[90:]] == masks[90:]
    assert wrong.float().mean() < 0.6


def test_a_structure_that_no_mask_held_is_never_predicted() -> None:
    tokens, slots, masks = problem(20)
    head = LinearSegmenter(TUBELET, 5, SegmentationConfig(steps=1))
    head.fit(tokens, slots, masks.clamp(max=1).to(torch.uint8) * 2, torch.Generator())
    wild = torch.randn(50, 1, 2, 2, tokens.shape[-1]) * 1000 + 100
    assert set(head.predict(wild).flatten().tolist()) == {0, 2}


def test_same_generator_same_head_and_saved_state_predicts_the_same() -> None:
    tokens, slots, masks = problem(20)
    config = SegmentationConfig(steps=5)
    heads = [
        LinearSegmenter(TUBELET, 3, config).fit(
            tokens, slots, masks, torch.Generator().manual_seed(seed)
        )
        for seed in (4, 4, 5)
    ]
    assert torch.equal(heads[0].weight_, heads[1].weight_)
    assert not torch.equal(heads[0].weight_, heads[2].weight_)
    again = LinearSegmenter.from_state(heads[0].state())
    assert torch.equal(again.logits(tokens[:, None]), heads[0].logits(tokens[:, None]))
    assert not any(tensor.requires_grad for tensor in heads[0].state().values())


def test_masks_out_of_range_and_bad_settings_are_refused() -> None:
    tokens, slots, masks = problem(4)
    with pytest.raises(ValueError, match="from 0 to 1"):
        LinearSegmenter(TUBELET, 2).fit(tokens, slots, masks, torch.Generator())
    with pytest.raises(ValueError, match="must be positive"):
        SegmentationConfig(lr=0.0)


def test_what_was_not_looked_at_is_background_and_teaches_nothing() -> None:
    tokens, slots, masks = problem(60)
    config = SegmentationConfig(steps=100, lr=0.03)
    unseen = torch.zeros(2, 2, dtype=torch.bool)
    unseen[0, 1] = True
    holes = tokens.masked_fill(unseen[:, :, None], float("nan"))
    other = masks.clone()
    other[:, :4, 3:] = 2  # what the masks say there must not matter
    heads = [
        LinearSegmenter(TUBELET, 3, config).fit(
            holes, slots, truth, torch.Generator().manual_seed(0)
        )
        for truth in (masks, other)
    ]
    assert torch.equal(heads[0].weight_, heads[1].weight_)
    assert heads[0].weight_.isfinite().all()
    predicted = heads[0].predict(holes[:, None])[torch.arange(60), slots]
    assert (predicted[:, :4, 3:] == 0).all()
    seen = torch.ones(8, 6, dtype=torch.bool)
    seen[:4, 3:] = False
    assert (predicted == masks)[:, seen].float().mean() > 0.95
