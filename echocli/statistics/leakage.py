"""Whether the test set is known already: shared patients and files, clips nearly the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import fft

SPLITS = ("train", "val", "test")
SIDE = 32
"""Side of the picture whose frequencies are hashed."""
KEPT = 16
"""Lowest frequencies of each direction in a fingerprint: 16 x 16 bits."""
NEAR_BITS = 18
"""Of 256 bits, how many may differ between two clips that are called almost the same."""
NEAR_COSINE = 0.999
"""Cosine of two centred embeddings from which their clips are called almost the same."""
LISTED = 20
"""Pairs that are named one by one."""
ROWS_AT_ONCE = 64

Fingerprints = NDArray[np.uint64]


@dataclass(frozen=True)
class Shared:
    """What two splits have in common."""

    splits: tuple[str, str]
    count: int
    first: tuple[str, ...]
    """Some of them."""


def shared_values(
    values: Sequence[str], splits: NDArray[np.str_], names: Sequence[str] = SPLITS
) -> list[Shared]:
    """Return which values (patients, hashes of sources) stand in more than one split.

    Args:
        values: One a row.
        splits: Split of each row.
        names: The splits to compare, two by two.
    """
    of_split = {
        name: {v for v, split in zip(values, splits, strict=True) if split == name}
        for name in names
    }
    found = []
    for first, second in combinations(names, 2):
        both = sorted(of_split[first] & of_split[second])
        if both:
            found.append(Shared((first, second), len(both), tuple(both[:LISTED])))
    return found


def fingerprint(frames: NDArray[np.uint8]) -> Fingerprints:
    """Return 512 bits that clips of the same pictures share, whatever their size and coding.

    The mean over time is shrunk to 32 x 32 and transformed into frequencies; of the lowest
    16 x 16, without the mean grey, a bit says which lie above their median. The same is done
    with how much each pixel changes over time: two hearts in one sector differ there.

    Args:
        frames: Of one clip, ``(frames, height, width)``.

    Returns:
        Eight words of 64 bits.

    Source:
        Zauner 2010, Implementation and benchmarking of perceptual image hash functions,
        section 3.2.1 (the hash by cosine transform).
    """
    video = frames.astype(np.float32)
    words = [_hash(video.mean(axis=0)), _hash(video.std(axis=0))]
    return np.concatenate(words).view(np.uint64)


def near_duplicates(
    prints: Fingerprints, splits: NDArray[np.str_], most_bits: int = NEAR_BITS
) -> NDArray[np.intp]:
    """Return pairs of rows in different splits whose fingerprints almost agree.

    Both halves, of the mean and of the change, must differ in no more than so many bits.

    Args:
        prints: ``(rows, 8)``.
        splits: Split of each row.
        most_bits: Of 256.

    Returns:
        ``(pairs, 2)``, the lower row first.
    """
    half = prints.shape[1] // 2

    def near(rows: slice) -> NDArray[np.bool_]:
        unlike = np.bitwise_count(prints[rows, None] ^ prints[None])
        of_mean = unlike[..., :half].sum(axis=-1, dtype=np.int32)
        of_change = unlike[..., half:].sum(axis=-1, dtype=np.int32)
        return np.asarray(np.maximum(of_mean, of_change) <= most_bits)

    return _pairs(near, splits)


def near_embeddings(
    vectors: NDArray[np.float32], splits: NDArray[np.str_], cosine: float = NEAR_COSINE
) -> NDArray[np.intp]:
    """Return pairs of rows in different splits whose embeddings almost agree.

    The mean of all is taken off first: embeddings of untrained and of collapsed encoders all
    point one way.

    Args:
        vectors: ``(rows, dim)``.
        splits: Split of each row.
        cosine: From which a pair is called almost the same.
    """
    centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-30)
    return _pairs(lambda rows: unit[rows] @ unit.T >= cosine, splits)


def audit(
    table: pd.DataFrame, splits: NDArray[np.str_], prints: Fingerprints | None = None
) -> dict[str, Any]:
    """Return everything that splits share, as JSON, with a sentence for each finding.

    Args:
        table: Rows with ``clip_id``, ``patient_id`` and ``source_sha256``.
        splits: Split of each row.
        prints: Fingerprint of each row, ``(rows, 8)``; near duplicates are not looked for
            without them.
    """
    patients = shared_values(table["patient_id"].astype(str).tolist(), splits)
    sources = shared_values(table["source_sha256"].astype(str).tolist(), splits)
    findings = [
        f"{found.count} {what}(s) stand in both {found.splits[0]} and {found.splits[1]}"
        for what, shared in (("patient", patients), ("source file", sources))
        for found in shared
    ]
    near: list[list[str]] = []
    count = None
    if prints is not None:
        pairs = near_duplicates(prints, splits)
        count = len(pairs)
        clips = table["clip_id"].astype(str).to_numpy()
        near = [[str(clips[a]), str(clips[b])] for a, b in pairs[:LISTED]]
        if count:
            findings.append(
                f"{count} pair(s) of clips in different splits look almost the same, first "
                f"{near[0][0]} and {near[0][1]}"
            )
    return {
        "patients_shared": _as_json(patients),
        "sources_shared": _as_json(sources),
        "near_duplicates": {"pairs": count, "first": near, "most_bits_of_256": NEAR_BITS},
        "findings": findings,
    }


def _as_json(shared: Iterable[Shared]) -> list[dict[str, Any]]:
    return [
        {"splits": list(s.splits), "count": s.count, "first": list(s.first)} for s in shared
    ]


def _pairs(near: Any, splits: NDArray[np.str_]) -> NDArray[np.intp]:  # noqa: ANN401
    """Return pairs of rows in different splits for which a comparison holds."""
    found = [np.zeros((0, 2), np.intp)]
    for start in range(0, len(splits), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        chosen = near(rows) & (splits[rows, None] != splits[None])
        first, second = np.nonzero(chosen)
        pairs = np.stack([first + start, second], axis=1)
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return np.concatenate(found)


def _hash(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return 256 bits of a picture as bytes."""
    rows, columns = (np.linspace(0, side, SIDE + 1) for side in picture.shape)
    small = _means(_means(picture.astype(np.float64), rows).T, columns).T
    low = fft.dctn(small, norm="ortho")[:KEPT, :KEPT].ravel()
    # The first frequency is the mean grey, which brightness alone decides.
    bits = low > np.median(low[1:])
    bits[0] = False
    return np.packbits(bits)


def _means(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of rows between edges that may cut a row in two."""
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    whole = np.minimum(edges.astype(int), len(values) - 1)
    at = sums[whole] + (edges - whole)[:, None] * values[whole]
    means: NDArray[np.float64] = np.diff(at, axis=0) / np.diff(edges)[:, None]
    return means
