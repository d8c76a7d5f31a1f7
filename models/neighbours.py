"""Nearest neighbours among other patients' rows, in a bank that is seen a piece at a time.

A product in single precision proposes, double precision decides: whatever could be among the
nearest by more than rounding is measured again, pair by pair. So neighbours depend neither on
the size of the pieces, nor on threads, nor on the device, and equal rows come in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

Kind: TypeAlias = Literal["cosine", "euclidean"]
NOBODY = -1
"""Patient number of a query whose patient is not in the bank."""
PIECE = 8192
"""Rows of the bank that are compared at once: with ``QUERIES`` it bounds the memory."""
QUERIES = 2048
TILE = 64
"""Neighbouring scores whose greatest is looked at first; most tiles hold no neighbour."""
PAIRS = 4096
"""Pairs that are measured in double precision at once."""
SAME = 2.0**32
"""Distances closer than one part in this count as equal, and the earlier row comes first."""
ROUNDING = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}
"""Unit roundoff of a product of matrices, by PyTorch's name of its precision, finest first:
of float32, TF32 and bfloat16."""
SLACK = 4.0
"""Rounding errors of a product grow with the root of its length (Higham and Mary 2019,
doi 10.1137/18M1226312); so many times that is allowed for."""
TINY = torch.finfo(torch.float64).tiny
LOOKS = 64
"""Queries whose products are looked at in double precision: a driver may round more than
PyTorch says. Errors that stay within a quarter of what is allowed are far from beyond it."""


class Neighbours(NamedTuple):
    """The nearest rows of other patients of each query, nearest first."""

    distances: Float[Tensor, "queries k"]
    """Infinite where there are fewer than k."""
    rows: Int[Tensor, "queries k"]
    """Row in the bank; -1 where there is none."""


class Piece(NamedTuple):
    """Some rows of a bank."""

    rows: Float[Tensor, "rows dim"]
    patients: Int[Tensor, " rows"]
    """Number of each row's patient, not negative."""


Bank: TypeAlias = Callable[[], Iterable[Piece]]
"""Yields all pieces, in the same order at each call."""


def bank_of(
    rows: Float[Tensor, "bank dim"],
    patients: Int[Tensor, " bank"] | None = None,
    piece: int = PIECE,
) -> Bank:
    """Return a bank of rows in memory.

    Args:
        rows: Embeddings.
        patients: Number of each row's patient, not negative; each its own if left out.
        piece: Rows a piece.

    Raises:
        ValueError: If there is no row, or a patient's number is negative.
    """
    if patients is None:
        patients = torch.arange(len(rows), device=rows.device)
    if not len(rows) or bool((patients < 0).any()):
        raise ValueError("The bank needs rows, and patients numbered from 0.")
    pieces = list(map(Piece, torch.split(rows, piece), torch.split(patients, piece)))
    return lambda: pieces


def nearest(
    queries: Float[Tensor, "queries dim"],
    patients: Int[Tensor, " queries"] | None,
    bank: Bank,
    k: int,
    kind: Kind = "cosine",
) -> Neighbours:
    """Return the k nearest rows of a bank; those of the query's own patient do not count.

    It computes where the queries are; pieces are brought there.

    Args:
        queries: Embeddings.
        patients: Number of each query's patient, as in the bank; ``NOBODY`` if it has none
            there. Left out, no query's patient is in the bank.
        bank: What to search.
        k: How many.
        kind: ``cosine``, 0 to 2, or ``euclidean``.

    Raises:
        ValueError: If a row is NaN or infinite, or zero where it needs a direction.
    """
    count, device = len(queries), queries.device
    if patients is None:
        patients = torch.full((count,), NOBODY)
    patients = patients.to(device)
    distances = torch.full((count, k), torch.inf, dtype=torch.float64, device=device)
    rows = torch.full((count, k), -1, dtype=torch.int64, device=device)
    ready = _ready(queries, kind)
    first = 0
    for piece in bank():
        there = _ready(piece.rows.to(device), kind)
        owners = piece.patients.to(device)
        for start in range(0, count, QUERIES):
            some = slice(start, start + QUERIES)
            _improve(
                ready.part(some),
                patients[some],
                there,
                owners,
                first,
                distances[some],
                rows[some],
            )
        first += len(owners)
    return Neighbours(distances, rows)


class _Ready(NamedTuple):
    """Rows as they were, and as they are multiplied."""

    kind: Kind
    exact: Float[Tensor, "rows dim"]
    fast: Float[Tensor, "rows dim"]
    half: Float[Tensor, " rows"]
    """Half the squared length for ``euclidean``, 0 for ``cosine``: a nearer row has a greater
    product less this."""

    def part(self, some: slice) -> _Ready:
        """Return some of the rows."""
        return _Ready(self.kind, self.exact[some], self.fast[some], self.half[some])


def _ready(rows: Float[Tensor, "rows dim"], kind: Kind) -> _Ready:
    rows = rows.float()
    lengths = rows.norm(dim=1)
    if not bool(lengths.isfinite().all()) or (kind == "cosine" and not bool(lengths.all())):
        raise ValueError("An embedding is NaN, infinite or zero: it has no direction.")
    if kind == "cosine":
        return _Ready(kind, rows, functional.normalize(rows, dim=1), torch.zeros_like(lengths))
    return _Ready(kind, rows, rows, lengths.square() / 2)


def _improve(
    queries: _Ready,
    patients: Int[Tensor, " queries"],
    bank: _Ready,
    owners: Int[Tensor, " piece"],
    first: int,
    distances: Float[Tensor, "queries k"],
    rows: Int[Tensor, "queries k"],
) -> None:
    """Put what a piece has better into ``distances`` and ``rows``."""
    scores = torch.addmm(-bank.half, queries.fast, bank.fast.T)
    slack = _slack(queries, bank, scores)
    limits = _score_at(distances[:, -1], queries) - slack
    new = limits.isneginf()
    k = distances.shape[1]
    if bool(new.any()) and scores.shape[1] >= k:
        others = scores[new].masked_fill(patients[new, None] == owners, -torch.inf)
        limits[new] = others.topk(k, dim=1).values[:, -1].double() - 2 * slack[new]
    limits = limits.float().clamp_min(torch.finfo(torch.float32).min)
    query, column = _at_least(scores, limits)
    other = patients[query] != owners[column]
    query, column = query[other], column[other]
    if len(query):
        _merge(query, column + first, _exact(queries, bank, query, column), distances, rows)


def _slack(
    queries: _Ready, bank: _Ready, scores: Float[Tensor, "queries piece"]
) -> Float[Tensor, " queries"]:
    """Return by how much a score may be wrong: infinite if nothing is sure."""
    width = queries.fast.shape[1]
    reach = queries.fast.norm(dim=1) + bank.fast.norm(dim=1).max()
    unit = SLACK * width**0.5 * (reach.double() / 2).square().clamp_min(TINY)
    query, error = _errors(queries, bank, scores)
    needed = float((4 * error / unit[query]).max())
    allowed = [step for step in ROUNDING.values() if step >= max(needed, _stated())]
    bound: Tensor = unit * min(allowed, default=torch.inf)
    return bound


def _stated() -> float:
    """Return the unit roundoff of products as PyTorch tells it; the coarsest if it does not."""
    try:
        return ROUNDING[torch.get_float32_matmul_precision()]
    except RuntimeError:  # the precision was set by newer names
        return ROUNDING["medium"]


def _errors(
    queries: _Ready, bank: _Ready, scores: Float[Tensor, "queries piece"]
) -> tuple[Int[Tensor, " looks"], Float[Tensor, " looks"]]:
    """Return some queries, and how wrong their greatest score and another one are."""
    count, rows = scores.shape
    some = torch.arange(0, count, -(-count // LOOKS), device=scores.device)
    query = some.repeat(2)
    row = torch.cat([scores[some].argmax(dim=1), some * rows // count])
    products = (queries.fast[query].double() * bank.fast[row].double()).sum(dim=1)
    return query, (scores[query, row] - (products - bank.half[row])).abs()


def _score_at(
    distances: Float[Tensor, " queries"], queries: _Ready
) -> Float[Tensor, " queries"]:
    """Return the score of a row at a distance."""
    if queries.kind == "cosine":
        return 1 - distances
    return queries.half - distances.square() / 2


def _at_least(
    scores: Float[Tensor, "queries piece"], limits: Float[Tensor, " queries"]
) -> tuple[Int[Tensor, " found"], Int[Tensor, " found"]]:
    """Return query and column of each score that is not below its query's limit, in order."""
    if scores.shape[1] % TILE:
        scores = functional.pad(scores, (0, -scores.shape[1] % TILE), value=-torch.inf)
    tiles = scores.view(len(scores), -1, TILE)
    query, tile = (tiles.amax(dim=2) >= limits[:, None]).nonzero(as_tuple=True)
    which, inside = (tiles[query, tile] >= limits[query, None]).nonzero(as_tuple=True)
    return query[which], tile[which] * TILE + inside


def _exact(
    queries: _Ready, bank: _Ready, query: Int[Tensor, " pairs"], row: Int[Tensor, " pairs"]
) -> Float[Tensor, " pairs"]:
    """Return the distance of each pair in double precision."""
    parts = []
    for some, others in zip(torch.split(query, PAIRS), torch.split(row, PAIRS), strict=True):
        ours, theirs = queries.exact[some].double(), bank.exact[others].double()
        if queries.kind == "cosine":
            cosine = (ours * theirs).sum(dim=1) / (ours.norm(dim=1) * theirs.norm(dim=1))
            parts.append((1 - cosine).clamp_min(0))
        else:
            parts.append((ours - theirs).norm(dim=1))
    return (torch.cat(parts) * SAME).round() / SAME


def _merge(
    query: Int[Tensor, " found"],
    row: Int[Tensor, " found"],
    found: Float[Tensor, " found"],
    distances: Float[Tensor, "queries k"],
    rows: Int[Tensor, "queries k"],
) -> None:
    """Keep the k nearest of those so far and those found, which are later rows in order."""
    changed, group, sizes = torch.unique_consecutive(
        query, return_inverse=True, return_counts=True
    )
    k = distances.shape[1]
    width = k + int(sizes.max())
    place = torch.arange(len(query), device=query.device) - (sizes.cumsum(0) - sizes)[group] + k
    both = torch.full((len(changed), width), torch.inf, dtype=torch.float64, device=row.device)
    names = torch.full((len(changed), width), -1, dtype=torch.int64, device=row.device)
    both[:, :k], names[:, :k] = distances[changed], rows[changed]
    both[group, place], names[group, place] = found, row
    best, order = both.sort(dim=1, stable=True)
    distances[changed], rows[changed] = best[:, :k], names.gather(1, order)[:, :k]
