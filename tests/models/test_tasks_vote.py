from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from echocli.models.neighbours import bank_of
from echocli.models.tasks.vote import WeightedVote


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 7, generator=torch.Generator().manual_seed(seed))


def test_the_vote_equals_sklearns_with_the_papers_weights() -> None:
    bank, queries, abnormal = rows(90, 0), rows(25, 1), torch.arange(90) % 3 == 0
    judge = KNeighborsClassifier(
        10, metric="cosine", weights=lambda distances: np.exp((1 - distances) / 0.07)
    )
    judge.fit(bank.numpy(), abnormal.numpy())
    expected = judge.predict_proba(queries.numpy())[:, 1]
    found = WeightedVote().fit(bank, abnormal).score(queries)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    in_pieces = WeightedVote().fit(bank_of(bank, piece=7), abnormal).score(queries)
    np.testing.assert_array_equal(in_pieces.numpy(), found.numpy())


def test_no_temperature_is_too_low_or_too_high() -> None:
    bank, queries, abnormal = rows(90, 0), rows(25, 1), torch.arange(90) % 3 == 0
    judge = WeightedVote(temperature=1e-5).fit(bank, abnormal)
    # In the cold the nearest alone decides, in the heat all k count alike.
    nearest = judge.neighbours(queries).rows
    torch.testing.assert_close(judge.score(queries), abnormal[nearest[:, 0]].double())
    hot = WeightedVote(temperature=1e9).fit(bank, abnormal).score(queries)
    torch.testing.assert_close(hot, abnormal[nearest].double().mean(dim=1))
    # Nobody looks the same way: cosines are below 0, and still somebody is nearest.
    apart = WeightedVote(k=2, temperature=1e-3).fit(torch.eye(7)[:2], torch.arange(2) < 1)
    assert apart.score(-torch.eye(7)[:1] - 0.1 * torch.eye(7)[1:2]).tolist() == [0]


def test_a_clip_does_not_vote_on_its_patient() -> None:
    # Each patient's clips point one way; every neighbour but its own is of the other class.
    bank = torch.eye(7)[:4].repeat_interleave(3, dim=0) + 0.01 * rows(12, 2)
    abnormal, patients = torch.arange(12) < 3, torch.arange(12) // 3
    leaking = WeightedVote(k=3).fit(bank, abnormal).score(bank[:3])
    assert (leaking == 1).all()
    honest = WeightedVote(k=3).fit(bank, abnormal, patients).score(bank[:3], patients[:3])
    assert (honest == 0).all()


def test_one_class_and_nobody_to_ask_are_refused() -> None:
    bank = rows(4, 0)
    with pytest.raises(ValueError, match="both"):
        WeightedVote().fit(bank, torch.zeros(4, dtype=torch.bool))
    alone = WeightedVote().fit(bank, torch.arange(4) < 2, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="another patient"):
        alone.score(bank, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="positive"):
        WeightedVote(temperature=0.0)
