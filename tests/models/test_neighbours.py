"""Neighbours are exact, whatever the pieces, the threads and the precision of products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from echocli.models.neighbours import Kind, bank_of, nearest


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.set_float32_matmul_precision("highest")


def rows(count: int, width: int = 24, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + 0.5


def oracle(
    queries: torch.Tensor,
    own: torch.Tensor,
    bank: torch.Tensor,
    owners: torch.Tensor,
    kind: str,
) -> np.ndarray:
    """Return distances in double precision, one pair after the other; infinite to oneself."""
    q, b = queries.double().numpy(), bank.double().numpy()
    table = np.empty((len(q), len(b)))
    for i, ours in enumerate(q):
        for j, theirs in enumerate(b):
            lengths = np.linalg.norm(ours) * np.linalg.norm(theirs)
            cosine = 1 - ours @ theirs / lengths
            table[i, j] = cosine if kind == "cosine" else np.linalg.norm(ours - theirs)
            table[i, j] = np.inf if own[i] == owners[j] else table[i, j]
    return table


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
@pytest.mark.parametrize("piece", [1, 13, 64, 150, 1000])
def test_neighbours_are_those_of_a_slow_search(kind: Kind, piece: int) -> None:
    bank, queries = rows(150), rows(20, seed=1)
    owners, own = torch.arange(150) // 5, torch.arange(20)
    found = nearest(queries, own, bank_of(bank, owners, piece), 7, kind)
    table = oracle(queries, own, bank, owners, kind)
    order = np.argsort(table, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(found.rows.numpy(), order)
    np.testing.assert_allclose(
        found.distances.numpy(), np.take_along_axis(table, order, 1), atol=2e-7
    )


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_equal_rows_come_in_their_order(kind: Kind, threads: None) -> None:
    # Of 400 rows all but a few are equal or equal but for the last bit of one number.
    bank = rows(8).repeat(50, 1)
    bank[::16, 3] = torch.nextafter(bank[::16, 3], torch.tensor(9.0))
    queries = rows(8) + 0.01
    wanted = None
    for piece in (7, 64, 129, 400):
        for count in (1, 2):
            torch.set_num_threads(count)
            found = nearest(queries, None, bank_of(bank, piece=piece), 10, kind)
            wanted = wanted or found
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert wanted is not None
    assert wanted.rows[3].tolist() == list(range(3, 83, 8))


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_products_of_low_precision_propose_the_same(precision: str, threads: None) -> None:
    bank, queries = rows(3000, 96), rows(30, 96, seed=2)
    wanted = nearest(queries, None, bank_of(bank), 10)
    torch.set_float32_matmul_precision(precision)
    found = nearest(queries, None, bank_of(bank, piece=256), 10)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def rounded(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Return float32 numbers with so many bits after the first: 10 has TF32, 7 bfloat16."""
    step = 1 << (23 - bits)
    return ((values.view(torch.int32) + step // 2) & -step).view(torch.float32)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
@pytest.mark.parametrize("bits", [10, 7, 3])
def test_a_device_that_rounds_more_than_it_says_proposes_the_same(
    kind: Kind, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All rows nearly alike: products of rounded numbers put others first.
    bank = rows(1, 96) + rows(500, 96) / 50
    queries, wrong = bank[::25] + 0.001, 0
    wanted = nearest(queries, None, bank_of(bank, piece=128), 10, kind)
    exact = torch.addmm

    def coarse(add: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        nonlocal wrong
        scores = exact(add, rounded(left, bits), rounded(right.flip(0), bits).flip(0))
        wrong += int((scores.argmax(dim=1) != exact(add, left, right).argmax(dim=1)).sum())
        return scores

    monkeypatch.setattr(torch, "addmm", coarse)
    assert torch.get_float32_matmul_precision() == "highest"
    found = nearest(queries, None, bank_of(bank, piece=128), 10, kind)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert wrong, "rounding has to matter"


def test_products_of_unknown_precision_propose_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank, queries = rows(600), rows(20, seed=2)
    wanted = nearest(queries, None, bank_of(bank), 10)

    def refuse() -> str:
        raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuse)
    torch.testing.assert_close(
        nearest(queries, None, bank_of(bank), 10), wanted, rtol=0, atol=0
    )


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_a_bank_in_another_order_has_the_same_neighbours(kind: Kind) -> None:
    bank, queries = rows(400), rows(20, seed=4)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(5))
    wanted = nearest(queries, None, bank_of(bank, piece=64), 10, kind)
    found = nearest(queries, None, bank_of(bank[order], piece=90), 10, kind)
    torch.testing.assert_close(found.distances, wanted.distances, rtol=0, atol=0)
    torch.testing.assert_close(order[found.rows], wanted.rows, rtol=0, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
@pytest.mark.parametrize("precision", ["highest", "high"])
def test_a_gpu_finds_the_neighbours_of_the_processor(
    kind: Kind, precision: str, threads: None
) -> None:
    alike, owners = rows(1, 768) + rows(5000, 768) / 50, torch.arange(5000) // 4
    bank = torch.cat([alike, alike[:300]])  # with equal rows
    owners = torch.cat([owners, owners[:300] + 2000])
    queries, own = alike[::20] + 0.001, owners[:5000:20]
    wanted = nearest(queries, own, bank_of(bank, owners), 10, kind)
    torch.set_float32_matmul_precision(precision)
    on_card = bank_of(bank.cuda(), owners.cuda(), piece=999)
    found = nearest(queries.cuda(), own.cuda(), on_card, 10, kind)
    torch.testing.assert_close(found.rows.cpu(), wanted.rows, rtol=0, atol=0)
    torch.testing.assert_close(found.distances.cpu(), wanted.distances, rtol=0, atol=2.0**-31)


def test_a_far_offset_does_not_hide_who_is_near() -> None:
    # Products of large rows round by more than the distances between them.
    bank, queries = rows(300) + 2000, rows(10, seed=3) + 2000
    none = torch.full((10,), -1)
    table = oracle(queries, none, bank, torch.arange(300), "euclidean")
    found = nearest(queries, None, bank_of(bank, piece=50), 3, "euclidean")
    np.testing.assert_array_equal(found.rows.numpy(), np.argsort(table, axis=1)[:, :3])


def test_a_patient_with_most_of_the_bank_leaves_the_others() -> None:
    bank = rows(200)
    owners = torch.zeros(200, dtype=torch.int64)
    owners[[5, 190]] = 1
    found = nearest(bank[:3], torch.zeros(3, dtype=torch.int64), bank_of(bank, owners, 64), 4)
    assert {tuple(sorted(row)) for row in found.rows.tolist()} == {(-1, -1, 5, 190)}
    assert found.distances.isinf().sum() == 6


def test_a_zero_row_has_a_place_but_no_direction() -> None:
    bank = torch.cat([rows(4), torch.zeros(1, 24)])
    with pytest.raises(ValueError, match="zero"):
        nearest(rows(2), None, bank_of(bank), 2)
    assert nearest(torch.zeros(1, 24), None, bank_of(bank), 1, "euclidean").rows.item() == 4
    assert nearest(torch.zeros(1, 24), None, bank_of(bank[4:]), 1, "euclidean").rows.item() == 0
    with pytest.raises(ValueError, match="NaN"):
        nearest(torch.full((1, 24), torch.nan), None, bank_of(bank), 1, "euclidean")
    with pytest.raises(ValueError, match="needs rows"):
        bank_of(bank[:0])
