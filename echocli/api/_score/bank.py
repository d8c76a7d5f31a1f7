"""Tables of embeddings as a bank and as queries, read a part at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from echocli.api._in_place import told_in_place
from echocli.api._normal import Flags
from echocli.console import Reporter
from echocli.device import choose_device, limit_threads
from echocli.errors import EchoError
from echocli.models.neighbours import NOBODY, PIECE, Bank, Neighbours, Piece
from echocli.models.tasks.anomaly import NearestNormals, Whitening
from echocli.models.tasks.vote import WeightedVote
from echocli.table_formats import Stored
from echocli.tables import IN_PLACE, examine, key_of

QUERIES = 65_536
"""Queries that are compared with the bank in one reading of it."""
FITTED = 20_000
"""Rows of the bank, evenly spread, of which its covariance is estimated at most."""
NEAREST_TOLD = 3
"""How many of the nearest clips are named beside each score."""
ORIGIN = ("model_sha256", "per", "pool", "data")
"""What two tables must share for their vectors to be compared."""


class Found(NamedTuple):
    """Scores of some rows, and who was nearest."""

    scores: NDArray[np.float64]
    rows: NDArray[np.int64]
    """Rows of the bank, nearest first; -1 where there is none."""


def check_vectors(stored: Stored, what: str, reporter: Reporter) -> None:
    """Look at every vector before any is believed.

    Args:
        stored: The table.
        what: What a user calls it.
        reporter: Is told if nothing shows that rows have not been moved.

    Raises:
        EchoError: If rows are missing, moved, NaN, infinite or zero, or are parts of clips.
    """
    if stored.metadata.get("per", "clip") not in ("clip", "patient") or stored.metadata.get(
        "keep_windows"
    ):
        raise EchoError(
            f"{what} hold parts of clips: frames, tokens or windows.",
            "Use rows of clips or patients: `echocli embed --per clip -o FILE`.",
        )
    if not len(stored.table):
        raise EchoError(f"{what} hold no clip.", "Run `echocli embed` on some clips.")
    examined = examine(stored)
    if examined.bad:
        first = stored.table[key_of(stored.table)].iloc[examined.bad[0]]
        raise EchoError(
            f"{len(examined.bad)} row(s) of {what.lower()} are NaN, infinite or zero, first "
            f"that of {first}.",
            "Run `echocli embed --overwrite`; if it stays so, the model has collapsed.",
        )
    if examined.whole is False:
        raise EchoError(
            f"{what} are not as they were written: rows are missing, moved or changed.",
            "Copy the file again, or run `echocli embed --overwrite`.",
        )
    if examined.whole is None:
        reporter.warn(f"{what} tell no hash of their rows: moved rows would not be noticed.")


def check_same_origin(queries: Stored, reference: Stored) -> None:
    """Check that the vectors of two tables mean the same.

    Raises:
        EchoError: If they come from other models, or are of other kinds.
    """
    for key in ORIGIN:
        default = "clip" if key == "per" else None
        ours, theirs = (t.metadata.get(key, default) for t in (queries, reference))
        if ours != theirs:
            raise EchoError(
                f"The two tables of embeddings differ in {key}: {ours} and {theirs}.",
                "Embed both with one model: `echocli embed CLIPS --model MODEL -o FILE`.",
            )


def origin_of(stored: Stored) -> dict[str, Any]:
    """Return what a summary of scores tells of the table that they are of."""
    told = {name: stored.metadata.get(name) for name in ("model_sha256", "pool")}
    return told | told_in_place(stored.metadata.get(IN_PLACE) is True)


def patients_of(stored: Stored) -> NDArray[np.str_]:
    """Return the patient of each row."""
    return stored.table["patient_id"].astype(str).to_numpy(dtype=np.str_)


def bank_from(stored: Stored, chosen: Flags) -> Bank:
    """Return the chosen rows of a table as a bank, read anew at each call."""
    numbers = np.unique(patients_of(stored), return_inverse=True)[1][chosen]

    def pieces() -> Iterator[Piece]:
        for start, vectors in _slabs(stored, chosen, PIECE):
            own = torch.from_numpy(numbers[start : start + len(vectors)])
            yield Piece(torch.from_numpy(vectors), own)

    return pieces


def numbers_in(stored: Stored, patients: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the number that patients have in a bank of this table; ``NOBODY`` for others."""
    names = np.unique(patients_of(stored))
    place = np.searchsorted(names, patients).clip(max=len(names) - 1)
    return np.where(names[place] == patients, place, NOBODY)


def find(
    judge: NearestNormals | WeightedVote,
    bank: Stored,
    queries: Stored,
    chosen: Flags,
    device: str,
) -> Found:
    """Return scores and neighbours of the chosen rows of a table.

    Args:
        judge: Fitted on rows of ``bank``.
        bank: The table that the bank is from.
        queries: The table whose rows are judged.
        chosen: Which of them.
        device: Where to compute; without double precision it is the processor.
    """
    place = choose_device(device, "fp32").torch
    place = torch.device("cpu") if place.type == "mps" else place
    limit_threads()
    own = numbers_in(bank, patients_of(queries))
    scores, rows = [np.empty(0)], [np.empty((0, judge.k), np.int64)]
    for start, vectors in _slabs(queries, chosen, QUERIES):
        numbers = torch.from_numpy(own[chosen][start : start + len(vectors)])
        some = torch.from_numpy(vectors).to(place)
        found: Neighbours = judge.neighbours(some, numbers)
        score = judge.scored(some, found) if isinstance(judge, NearestNormals) else None
        score = judge.scored(found) if isinstance(judge, WeightedVote) else score
        assert score is not None
        scores.append(score.cpu().numpy())
        rows.append(found.rows.cpu().numpy())
    return Found(np.concatenate(scores), np.concatenate(rows))


def _slabs(
    stored: Stored, chosen: Flags, most: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the chosen vectors, about so many at a time, and how many came before."""
    held: list[NDArray[np.float32]] = []
    start = place = 0
    for vectors in stored.batches():
        held.append(vectors[chosen[place : place + len(vectors)]])
        place += len(vectors)
        if sum(map(len, held)) >= most:
            yield start, np.concatenate(held)
            start += sum(map(len, held))
            held = []
    if sum(map(len, held)):
        yield start, np.concatenate(held)


def nearest_names(reference: Stored, bank: Flags, found: Found) -> list[str]:
    """Return the ids of the nearest few of each row, joined by semicolons."""
    ids = reference.table[key_of(reference.table)].astype(str).to_numpy()[bank]
    return [
        ";".join(ids[row] for row in rows if row >= 0)
        for rows in found.rows[:, :NEAREST_TOLD].tolist()
    ]


def whitening_of(stored: Stored, chosen: Flags) -> tuple[Whitening, dict[str, float]]:
    """Return what makes the chosen rows of a table round, and what to keep on record.

    The covariance is shrunk towards a multiple of the identity, so that fewer rows than
    numbers suffice (Ledoit and Wolf 2004, doi 10.1016/S0047-259X(03)00096-4).

    Args:
        stored: The table.
        chosen: The rows of the bank; an even choice of them if there are many.

    Raises:
        EchoError: If the rows do not differ.
    """
    from sklearn.covariance import LedoitWolf

    rows = np.flatnonzero(chosen)
    few = rows[np.unique(np.linspace(0, len(rows) - 1, FITTED).round().astype(int))]
    fitted = np.zeros(len(chosen), np.bool_)
    fitted[few] = True
    vectors = np.concatenate([part for _, part in _slabs(stored, fitted, QUERIES)]).astype(
        np.float64
    )
    estimate = LedoitWolf().fit(vectors)
    mean, covariance = (torch.from_numpy(a) for a in (estimate.location_, estimate.covariance_))
    try:
        whitening = Whitening.of(mean, covariance)
    except ValueError:
        raise EchoError(
            f"The {len(vectors)} normal clips do not differ: no distance can be measured.",
            "The model has collapsed, or the clips are copies. Use --distance cosine.",
        ) from None
    return whitening, {"fitted_rows": len(vectors), "shrinkage": float(estimate.shrinkage_)}
