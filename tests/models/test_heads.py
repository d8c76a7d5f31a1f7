"""Heads: unit prototypes, order of tokens, and what a guess may depend on."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from torch.testing import assert_close

from echocli.models.heads import DinoHead, TokenDecoder
from echocli.models.positions import Positions

GRID = (2, 2, 2)


def test_dino_logits_are_cosines_whatever_the_length_of_the_prototypes(
    generator: torch.Generator,
) -> None:
    head = DinoHead(6, 8, 4, 10, generator)
    embedding = torch.randn(5, 6, generator=generator)
    logits = head(embedding)
    points = head.mlp(F.gelu(head.inner(embedding)))
    for row in range(5):
        for output in range(10):
            cosine = torch.cosine_similarity(points[row], head.prototypes[output], dim=0)
            assert_close(logits[row, output], cosine)
    with torch.no_grad():
        head.prototypes *= 3
    assert_close(head(embedding), logits)


def test_dino_logits_stay_fine_in_bfloat16(generator: torch.Generator) -> None:
    head = DinoHead(6, 8, 4, 10, generator)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(torch.randn(2, 6, generator=generator)).dtype == torch.float32


def test_decoder_answers_in_the_order_of_the_grid(generator: torch.Generator) -> None:
    decoder = TokenDecoder(Positions(GRID, 12), 6, 1, 2, 5, generator)
    visible = torch.randn(2, 3, 6, generator=generator)
    ids = torch.tensor([[0, 3, 5], [1, 2, 7]])
    decoded = decoder(visible, ids, GRID)
    assert decoded.shape == (2, 8, 5)
    # The same visible tokens named in another order are the same input.
    turned = torch.tensor([2, 0, 1])
    assert_close(decoder(visible[:, turned], ids[:, turned], GRID), decoded)


def test_decoder_puts_each_visible_token_at_its_id(generator: torch.Generator) -> None:
    decoder = TokenDecoder(Positions(GRID, 12), 6, 1, 2, 5, generator)
    decoder.blocks = torch.nn.Sequential()  # leaves embedding and positions: token by token
    visible = torch.randn(1, 2, 6, generator=generator)
    decoded = decoder(visible, torch.tensor([[6, 1]]), GRID)
    moved = visible.clone()
    moved[0, 0] += 1
    changed = (decoder(moved, torch.tensor([[6, 1]]), GRID) != decoded).any(dim=2)
    assert changed[0].nonzero().flatten().tolist() == [6]


def test_decoder_knows_of_no_token_that_is_not_there(generator: torch.Generator) -> None:
    decoder = TokenDecoder(Positions(GRID, 12), 6, 2, 2, 5, generator)
    visible, ids = torch.randn(1, 2, 6, generator=generator), torch.tensor([[1, 6]])
    everything = torch.arange(8)[None]
    whole = decoder(visible, ids, GRID)
    assert_close(decoder(visible, ids, GRID, everything), whole)
    seen = torch.tensor([[1, 3, 6]])
    part = decoder(visible, ids, GRID, seen)
    assert part.shape == (1, 3, 5)
    assert not torch.allclose(part, whole[:, seen[0]])  # it attends to three, not to eight
    # A grid of those three alone, at their places, is the same input.
    decoder.positions.table = decoder.positions.table[seen[0]]
    decoder.positions.grid = (1, 1, 3)
    assert_close(decoder(visible, torch.tensor([[0, 2]]), (1, 1, 3)), part)
