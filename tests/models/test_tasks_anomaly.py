from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.neighbors import NearestNeighbors
from torch.testing import assert_close

from echocli.models.neighbours import bank_of
from echocli.models.tasks.anomaly import NearestNormals, Whitening


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
    parts = NearestNormals(k=5).fit(bank_of(bank, patients, chunk))
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
    assert_close(scores, 1 - angles.cos().double(), atol=1e-6, rtol=0)


def test_fewer_normals_than_k_use_those_there_are() -> None:
    bank, queries = rows(3, 0), rows(4, 1)
    few = NearestNormals(k=10).fit(bank)
    assert_close(few.score(queries), NearestNormals(k=3).fit(bank).score(queries))
    assert (few.neighbours(queries).rows[:, 3:] == -1).all()


def whitening(bank: torch.Tensor) -> Whitening:
    return Whitening.of(bank.double().mean(dim=0), bank.T.double().cov())


def test_whitening_makes_the_normals_round_and_lengths_mahalanobis() -> None:
    bank, queries = rows(80, 3) @ rows(7, 4) + 5, rows(9, 5) + 5
    white = whitening(bank)
    round_ = white(bank).double()
    assert_close(round_.mean(dim=0), torch.zeros(7).double(), atol=1e-5, rtol=0)
    assert_close(round_.T.cov(), torch.eye(7).double(), atol=1e-4, rtol=0)
    inverse = np.linalg.inv(np.cov(bank.numpy(), rowvar=False))
    for kind, expected in [
        ("mahalanobis", [mahalanobis(q, bank.mean(dim=0), inverse) for q in queries]),
        (
            "whitened",
            [np.sort([mahalanobis(q, b, inverse) for b in bank])[:3].mean() for q in queries],
        ),
    ]:
        found = NearestNormals(k=3, distance=kind, whitening=white).fit(bank).score(queries)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_whitened_scores_do_not_know_units_and_the_row_alone_is_the_row_among_others() -> None:
    bank, queries = rows(80, 3), rows(9, 5)
    units = torch.logspace(-2, 2, 7)
    one, other = (
        NearestNormals(distance="whitened", whitening=whitening(b)).fit(b).score(q)
        for b, q in ((bank, queries), (bank * units, queries * units))
    )
    assert_close(one, other, rtol=1e-4, atol=0)
    white = whitening(bank)
    assert torch.equal(torch.cat([white(row[None]) for row in bank]), white(bank))


def test_flat_covariances_and_missing_whitenings_are_refused() -> None:
    with pytest.raises(ValueError, match="shrink"):
        Whitening.of(torch.zeros(3), torch.ones(3, 3))
    with pytest.raises(ValueError, match="fit together"):
        NearestNormals(distance="whitened")
    with pytest.raises(ValueError, match="fit together"):
        NearestNormals(whitening=whitening(rows(20, 0)))


def test_rows_without_direction_and_banks_without_others_are_refused() -> None:
    bank = rows(5, 0)
    with pytest.raises(ValueError, match="NaN"):
        NearestNormals().fit(torch.cat([bank, torch.full((1, 7), torch.nan)])).score(bank)
    with pytest.raises(ValueError, match="zero"):
        NearestNormals().fit(bank).score(torch.zeros(1, 7))
    with pytest.raises(ValueError, match="another patient"):
        NearestNormals().fit(bank, torch.zeros(5, dtype=torch.int64)).score(
            bank, torch.zeros(5, dtype=torch.int64)
        )
    with pytest.raises(ValueError, match="positive"):
        NearestNormals(k=0)
