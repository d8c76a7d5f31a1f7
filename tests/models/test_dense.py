"""The dense probe against a slow one, place by place, and what its segmenter adds."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from echocli.models.dense import DenseProbe, factors
from echocli.models.finetune import Example, FitConfig, train_on_labels
from echocli.models.tasks.dense_segmentation import DenseSegmenter
from echocli.models.tasks.segmentation import IMPOSSIBLE, SURE, mask_loss

TUBELET = (2, 8, 6)
DIM, HEADS, CLASSES = 12, 3, 4


def lively(probe: DenseProbe, generator: torch.Generator) -> DenseProbe:
    """Give every weight, offsets and norms too, a number of its own."""
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return probe


def with_holes(generator: torch.Generator) -> Tensor:
    """Tokens of two windows; each lacks one column of its grid at all times."""
    tokens = torch.randn(2, 3, 2, 2, DIM, generator=generator)
    tokens[0, :, 1, 0] = math.nan
    tokens[1, :, 0, 1] = math.nan
    return tokens


def by_places(probe: DenseProbe, window: Tensor, place: tuple[int, int, int]) -> Tensor:
    """Return the pixels of one place's tubelet, (outputs, frames, rows, columns)."""
    seen = torch.stack([token for token in window.flatten(0, 2) if not token.isnan().any()])
    own, known = window[place], probe.norm1(seen)
    asked = probe.attn.q(probe.norm1(own) + probe.query[0, 0]).view(HEADS, -1)
    keys, values = probe.attn.kv(known).chunk(2, dim=-1)
    mixed = []
    for head in range(HEADS):
        part = slice(head * DIM // HEADS, (head + 1) * DIM // HEADS)
        weights = (keys[:, part] @ asked[head] / math.sqrt(DIM // HEADS)).softmax(dim=0)
        mixed.append(weights @ values[:, part])
    gathered = own + torch.cat(mixed)
    drawn = gathered + probe.mlp(probe.norm2(gathered))
    frames, rows, columns = TUBELET
    (steps, rest), (across, over) = factors(rows), factors(columns)
    pixels = torch.zeros(CLASSES, *TUBELET)
    for frame in range(frames):
        for row in range(rows):
            for column in range(columns):
                first = probe.up1.weight[:, :, frame, row // rest, column // over]
                hidden = F.gelu(drawn @ first + probe.up1.bias)
                last = probe.up2.weight[:, :, 0, row % rest, column % over]
                pixels[:, frame, row, column] = hidden @ last + probe.up2.bias
    assert (steps * rest, across * over) == (rows, columns)
    return pixels


def test_every_pixel_is_said_as_place_by_place(generator: torch.Generator) -> None:
    probe = lively(DenseProbe(DIM, HEADS, TUBELET, CLASSES, generator), generator)
    tokens = with_holes(generator)
    found = probe(tokens)
    assert found.shape == (2, CLASSES, 6, 16, 12)
    for clip, place in ((0, (0, 0, 0)), (0, (2, 1, 1)), (1, (1, 1, 0))):
        time, row, column = place
        corner = found[
            clip,
            :,
            time * 2 : time * 2 + 2,
            row * 8 : row * 8 + 8,
            column * 6 : column * 6 + 6,
        ]
        assert_close(corner, by_places(probe, tokens[clip], place), atol=1e-4, rtol=1e-4)
    times = torch.tensor([2, 0])
    alone = probe(tokens, times)
    for clip, time in enumerate(times.tolist()):
        assert_close(alone[clip], found[clip, :, 2 * time : 2 * time + 2])


def test_all_weights_are_reached_by_the_first_step(generator: torch.Generator) -> None:
    probe = DenseProbe(DIM, HEADS, TUBELET, CLASSES, generator)
    tokens = torch.randn(2, 3, 2, 2, DIM, generator=generator)
    probe(tokens).square().sum().backward()
    for name, parameter in probe.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    with pytest.raises(ValueError, match="5 heads"):
        DenseProbe(DIM, 5, TUBELET, CLASSES, generator)


@pytest.mark.parametrize(
    ("side", "pair"), [(16, (4, 4)), (8, (4, 2)), (14, (7, 2)), (5, (5, 1))]
)
def test_a_patch_is_divided_evenly(side: int, pair: tuple[int, int]) -> None:
    assert factors(side) == pair


def test_it_begins_by_saying_how_common_each_class_is(generator: torch.Generator) -> None:
    head = DenseSegmenter(DIM, HEADS, TUBELET, CLASSES, generator)
    masks = torch.zeros(2, 16, 12, dtype=torch.uint8)
    masks[:, :4, :6] = 1
    masks[0, 8:] = 3
    head.begin_with(masks)
    nothing = head(torch.zeros(1, 3, 2, 2, DIM), torch.tensor([1]), torch.tensor([0]))
    said = nothing.softmax(dim=1).mean(dim=(0, 2, 3))
    shares = torch.tensor([(masks == name).float().mean().item() for name in range(CLASSES)])
    assert_close(said, shares, atol=0.01, rtol=0)


def test_foreground_appears_soon_though_one_number_of_a_token_tells_it(
    generator: torch.Generator,
) -> None:
    there = torch.rand(48, 2, 4, 4, generator=generator) < 1 / 4
    tokens = torch.randn(48, 2, 4, 4, 48, generator=generator) + 3
    tokens[..., 0] += 3 * there
    masks = torch.zeros(48, 32, 24, dtype=torch.long)
    whole = there[:, 1].repeat_interleave(8, dim=1).repeat_interleave(6, dim=2)
    masks[whole] = 2
    times, slots = torch.ones(48, dtype=torch.long), torch.zeros(48, dtype=torch.long)
    head = DenseSegmenter(48, HEADS, TUBELET, CLASSES, generator)
    head.begin_with(masks)
    config = FitConfig(epochs=1, least_steps=150)
    held_out = torch.arange(48) % 4 == 0

    def look(rows: Tensor, _: torch.Generator | None) -> Example:
        return (tokens[rows], times[rows], slots[rows]), masks[rows]

    for _ in train_on_labels(head, look, mask_loss, held_out, config, generator):
        pass
    called = head(tokens, times, slots).argmax(dim=1)[held_out] == 2
    known = masks[held_out] == 2
    dice = 2 * (called & known).sum() / (called.sum() + known.sum())
    assert dice > 0.5


def test_the_segmenter_says_background_unseen_and_never_what_no_mask_held(
    generator: torch.Generator,
) -> None:
    head = DenseSegmenter(DIM, HEADS, TUBELET, CLASSES, generator)
    lively(head, generator)
    head.never_call({3})
    tokens = with_holes(generator)
    logits = head.logits(tokens)
    assert logits.shape == (2, 6, CLASSES, 16, 12)
    hole = logits[0, :, :, 8:, :6]
    assert (hole[:, 0] == SURE).all()
    assert (hole[:, 1:3] == 0).all()
    assert (logits[:, :, 3] == IMPOSSIBLE).all()
    assert logits[0, :, :3, :8].std() > 0
    for frame in (1, 4):
        one = torch.full((2,), frame)
        assert_close(head(tokens, one // 2, one % 2), logits[:, frame])
    again = DenseSegmenter.from_state(head.state())
    assert torch.equal(again.logits(tokens), logits)
    assert not any(tensor.requires_grad for tensor in again.state().values())
