"""Attentive probes that look at several clips of one heart together."""

from __future__ import annotations

import pytest
import torch
from oracles.attentive_by_loops import pooled
from torch import Tensor
from torch.testing import assert_close

from echocli.models.finetune import FitConfig
from echocli.models.readout import TokenReadout, Views, hide_views
from echocli.models.tasks.classification import AttentiveClassifier
from echocli.models.tasks.lvef import AttentiveProbe

VIEWS = Views(count=2, clips=2)


def lively(depth: int, generator: torch.Generator) -> TokenReadout:
    """A readout whose every weight has a number of its own."""
    readout = TokenReadout(12, 3, depth, 2, generator, VIEWS).double()
    with torch.no_grad():
        for parameter in readout.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.3 * noise)
    return readout


def some(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens of three studies: all there, one clip of each view, the second view alone."""
    tokens = torch.randn(3, 4, 5, 12, generator=generator, dtype=torch.float64)
    seen = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 1, 1]]).bool()
    return tokens, seen


@pytest.mark.parametrize("depth", [1, 3])
def test_a_study_is_pooled_as_the_marked_tokens_of_its_clips_alone(
    depth: int, generator: torch.Generator
) -> None:
    readout = lively(depth, generator)
    tokens, seen = some(generator)
    weights = dict(readout.pooler.state_dict())
    expected = []
    for study, there in zip(tokens, seen, strict=True):
        marked = [
            study[place] + readout.of_view[place // 2] + readout.of_clip[place % 2]
            for place in range(4)
            if there[place]
        ]
        expected.append(readout.readout(pooled(torch.cat(marked), weights, 3, depth)))
    assert_close(readout(tokens, seen), torch.stack(expected))


@pytest.mark.parametrize("depth", [1, 3])
def test_what_stands_in_the_place_of_a_missing_clip_changes_nothing(
    depth: int, generator: torch.Generator
) -> None:
    readout = lively(depth, generator)
    tokens, seen = some(generator)
    other = tokens.clone()
    other[~seen] = 1e3
    assert_close(readout(other, seen), readout(tokens, seen))
    assert not torch.allclose(
        readout(other, torch.ones_like(seen)), readout(tokens, torch.ones_like(seen))
    )


def test_clips_of_a_view_may_change_places_with_their_marks_and_views_may_not(
    generator: torch.Generator,
) -> None:
    readout = lively(2, generator)
    tokens, seen = some(generator)
    before = readout(tokens, seen)
    swapped, views = tokens[:, [1, 0, 3, 2]], tokens[:, [2, 3, 0, 1]]
    assert not torch.allclose(readout(swapped, seen[:, [1, 0, 3, 2]]), before)
    with torch.no_grad():
        readout.of_clip.copy_(readout.of_clip[[1, 0]])
    assert_close(readout(swapped, seen[:, [1, 0, 3, 2]]), before)
    with torch.no_grad():
        readout.of_clip.copy_(readout.of_clip[:1].expand(2, -1))
    assert_close(readout(swapped, seen[:, [1, 0, 3, 2]]), readout(tokens, seen))
    assert not torch.allclose(readout(views, seen[:, [2, 3, 0, 1]]), readout(tokens, seen))


def test_whole_views_are_hidden_and_never_the_last(generator: torch.Generator) -> None:
    views = Views(count=3, clips=2, dropout=0.3)
    seen = torch.rand(20_000, 3, 2, generator=generator) < 0.6
    seen[~seen.any(dim=(1, 2)), 0, 0] = True
    shown = hide_views(seen.flatten(1), views, generator).view_as(seen)
    assert not (shown & ~seen).any()
    there, left = seen.any(dim=2), shown.any(dim=2)
    assert left.any(dim=1).all()
    assert torch.equal(shown, seen & left[:, :, None])
    several = there.sum(dim=1) == 2
    # Two are hidden at once with a chance of 0.09, and then one of them comes back.
    hidden = (there & ~left)[several].sum(dim=1).double().mean()
    assert abs(float(hidden) - (2 * 0.3 - 0.09)) < 0.02
    assert torch.equal(
        hide_views(seen.flatten(1), Views(count=3, clips=2, dropout=0.0), generator),
        seen.flatten(1),
    )


def hearts(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two clips of each heart, of two views; each tells half of the answer."""
    generator = torch.Generator().manual_seed(seed)
    tokens = 0.3 * torch.randn(count, 2, 2, 6, 8, generator=generator)
    halves = torch.randn(count, 2, generator=generator)
    tokens[:, :, :, 2, 0] = 4
    tokens[:, :, :, 2, 1] = halves[:, :, None]
    places = torch.arange(2 * count).view(count, 2)
    return tokens.flatten(0, 1), places, 50 + 8 * halves.sum(dim=1)


QUICK = FitConfig(least_steps=120, epochs=1, batch=32, lr=8e-3, checks=4)


@pytest.fixture(scope="module")
def probe() -> AttentiveProbe:
    tokens, places, ef = hearts(300, seed=0)
    fitted = AttentiveProbe(2, config=QUICK, views=Views(count=2, dropout=0.3))
    generator = torch.Generator().manual_seed(0)
    return fitted.fit(tokens.half(), ef, torch.arange(300) // 2, generator, places)


def test_two_views_tell_more_than_one_and_one_more_than_none(probe: AttentiveProbe) -> None:
    tokens, places, ef = hearts(100, seed=1)
    first, second = places.clone(), places.clone()
    first[:, 1], second[:, 0] = -1, -1
    by_mean = (ef - 50).abs().mean()
    by_both = (probe.predict(tokens, places) - ef).abs().mean()
    assert by_both < 0.4 * by_mean
    for one in (first, second):
        by_one = (probe.predict(tokens, one) - ef).abs().mean()
        assert by_both < by_one < 0.9 * by_mean


def test_a_study_is_predicted_alone_as_among_others_and_after_its_return(
    probe: AttentiveProbe,
) -> None:
    tokens, places, _ = hearts(5, seed=2)
    places[3, 0] = -1
    together = probe.predict(tokens, places)
    for row in range(5):
        assert_close(probe.predict(tokens, places[row : row + 1]), together[row : row + 1])
    again = AttentiveProbe.from_state(probe.state())
    assert torch.equal(again.predict(tokens, places), together)
    known = probe.out_of_fold_.isfinite()
    known_tokens, known_places, _ = hearts(300, seed=0)
    assert 0 < int(known.sum()) < 100
    assert_close(
        probe.out_of_fold_[known], probe.predict(known_tokens.half(), known_places[known])
    )


def test_classes_are_told_from_views_too() -> None:
    tokens, places, ef = hearts(200, seed=3)
    low = (ef < 50).long()
    fitted = AttentiveClassifier(2, config=QUICK, views=Views(count=2))
    generator = torch.Generator().manual_seed(0)
    fitted.fit(tokens, low, torch.arange(200), generator, torch.ones(2), places)
    unseen, where, truth = hearts(60, seed=4)
    found = fitted.logits(unseen, where).argmax(dim=1)
    assert (found == (truth < 50)).float().mean() > 0.75


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"count": 2, "clips": 0}, {"count": 1, "dropout": 1.0}]
)
def test_views_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"clips|dropout"):
        Views(**wrong)  # type: ignore[arg-type]
