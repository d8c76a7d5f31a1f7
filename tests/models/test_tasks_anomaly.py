from __future__ import annotations

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch.testing import assert_close

from echocli.models.tasks.anomaly import NearestNormals


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 7, generator=torch.Generator().manual_seed(seed))


def test_score_equals_sklearn() -> None:
    bank, queries = rows(60, 0), rows(25, 1)
    theirs = NearestNeighbors(n_neighbors=10, metric="cosine").fit(bank.numpy())
    distances, indices = theirs.kneighbors(queries.numpy())
    ours = NearestNormals(k=10).fit(bank)
    found = ours.neighbours(queries)
    assert_close(found.distances, torch.from_numpy(distances), check_dtype=False)
    assert (found.rows.numpy() == indices).all()
    expected = torch.from_numpy(distances.mean(axis=1))
    assert_close(ours.score(queries), expected, check_dtype=False)


@pytest.mark.parametrize("chunk", [1, 7, 60, 1000])
def test_chunks_change_nothing(chunk: int) -> None:
    bank, queries, patients = rows(60, 0), rows(25, 1), torch.arange(60) // 3
    whole = NearestNormals(k=5).fit(bank, patients)
    parts = NearestNormals(k=5, chunk=chunk).fit(bank, patients)
    own = torch.arange(25)
    assert_close(parts.score(queries, own), whole.score(queries, own))
    assert torch.equal(parts.neighbours(queries, own).rows, whole.neighbours(queries, own).rows)


def test_the_banks_own_clips_are_scored_without_their_patient() -> None:
    bank, patients = rows(30, 2), torch.arange(30) // 3
    scores = NearestNormals(k=4).fit(bank, patients).score(bank, patients)
    for row in range(30):
        others = bank[patients != patients[row]]
        alone = NearestNormals(k=4).fit(others).score(bank[row : row + 1])
        assert_close(scores[row : row + 1], alone)
    unaware = NearestNormals(k=4).fit(bank).score(bank)
    assert (unaware < scores).all()  # it finds itself, at distance 0


def test_scale_does_not_count_and_distance_grows_with_the_angle() -> None:
    bank = torch.eye(7)[:1].repeat(12, 1)
    angles = torch.linspace(0, torch.pi, 9)
    queries = torch.zeros(9, 7)
    queries[:, 0], queries[:, 1] = angles.cos() * 5, angles.sin() * 5
    scores = NearestNormals().fit(bank).score(queries)
    assert_close(scores, 1 - angles.cos(), atol=1e-6, rtol=0)


def test_fewer_normals_than_k_use_those_there_are() -> None:
    bank, queries = rows(3, 0), rows(4, 1)
    few = NearestNormals(k=10).fit(bank)
    assert_close(few.score(queries), NearestNormals(k=3).fit(bank).score(queries))
    assert (few.neighbours(queries).rows[:, 3:] == -1).all()


def test_saved_state_scores_the_same() -> None:
    bank, queries, patients = rows(20, 0), rows(4, 1), torch.arange(20) // 2
    scorer = NearestNormals(k=3).fit(bank, patients)
    again = NearestNormals.from_state(scorer.state())
    assert_close(again.score(queries, torch.arange(4)), scorer.score(queries, torch.arange(4)))


def test_rows_without_direction_and_banks_without_others_are_refused() -> None:
    bank = rows(5, 0)
    with pytest.raises(ValueError, match="NaN"):
        NearestNormals().fit(torch.cat([bank, torch.full((1, 7), torch.nan)]))
    with pytest.raises(ValueError, match="zero"):
        NearestNormals().fit(bank).score(torch.zeros(1, 7))
    with pytest.raises(ValueError, match="another patient"):
        NearestNormals().fit(bank, torch.zeros(5, dtype=torch.int64)).score(
            bank, torch.zeros(5, dtype=torch.int64)
        )
    with pytest.raises(ValueError, match="positive"):
        NearestNormals(k=0)
