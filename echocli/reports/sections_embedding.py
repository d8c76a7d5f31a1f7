"""Where the clips lie in the embedding, how healthy it is, and what else it tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from echocli.reports.clip_words import rows_by_id, words_of
from echocli.reports.csvs import csv_of
from echocli.reports.embedding_map import (
    PALETTE,
    Colouring,
    Values,
    by_group,
    by_value,
    drawn_map,
)
from echocli.reports.numbers import number, part, plain
from echocli.reports.page import (
    EMPTY,
    Html,
    Section,
    download,
    facts,
    figure,
    join,
    missing,
    paragraph,
    table,
)
from echocli.reports.pictures import contact_sheet
from echocli.reports.sections_data import spread
from echocli.reports.study_reader import Results
from echocli.tables import Embeddings

TITLE = "Embeddings"
HASH_DIGITS = 16
MOST_POINTS = 400
"""Points of the map; each costs about half a kilobyte and a picture of one and a half."""
FEWEST = 3
COLOURS = (
    "normal",
    "ef_percent",
    "split",
    "view",
    "scanner",
    "frame_rate_hz",
    "sex",
    "dataset",
)
"""Columns by which the map can be coloured, where they say something."""
CAUTION = (
    "Each point is a clip. The map shows two of many directions: groups that overlap here may "
    "still be apart in the others, and nearness may come from the scanner or the frame rate "
    "rather than from the heart: colour the map by them."
)


def embedding_section(results: Results) -> Section:
    """Show where the clips lie."""
    embeddings = results.embeddings
    if embeddings is None:
        body = missing("There are no embeddings.", "echocli embed")
        return Section("embeddings", TITLE, body)
    metadata = embeddings.metadata
    rows, dim = embeddings.vectors.shape
    told: list[tuple[str, object]] = [
        (f"rows, one a {metadata.get('per', 'clip')}", rows),
        ("numbers a row", dim),
        ("pooling", metadata.get("pool", "-")),
        ("precision", metadata.get("precision", "-")),
        ("SHA-256 of the model", str(metadata.get("model_sha256", "-"))[:HASH_DIGITS]),
    ]
    health = part(metadata, "health")
    if "effective_rank" in health:
        told.append(("effective rank", number(health["effective_rank"], 1)))
    if "mean_cosine" in health:
        told.append(("mean cosine", number(health["mean_cosine"], 2)))
    drawn = _map(results, embeddings) if rows >= FEWEST else EMPTY
    parts = [facts(told), drawn, _leaks(embeddings)]
    return Section("embeddings", TITLE, join(parts))


def _map(results: Results, embeddings: Embeddings) -> Html:
    points, shares = principal_directions(embeddings.vectors.astype(np.float64))
    chosen = spread(len(points), MOST_POINTS)
    labels = embeddings.table.iloc[chosen].reset_index(drop=True)
    places, clips = rows_by_id(results.clips), results.clips
    ids = labels["clip_id"].astype(str).tolist() if "clip_id" in labels else [""] * len(labels)
    if clips is not None:
        known = [places.get(name) for name in ids]
        more = [name for name in COLOURS if name in clips.manifest and name not in labels]
        for name in more:
            column = clips.manifest[name]
            labels[name] = [None if row is None else column.iloc[row] for row in known]
    sheet, columns, pictures = "", 1, {}
    if clips is not None and any(name in places for name in ids):
        seen = [place for place, name in enumerate(ids) if name in places]
        stills = [_still(clips.frames(places[ids[place]])) for place in seen]
        sheet, columns = contact_sheet(stills)
        pictures = {place: tile for tile, place in enumerate(seen)}
    words = [_words(labels.iloc[row]) for row in range(len(labels))]
    axes = (
        f"first direction ({shares[0]:.0%} of the variance)",
        f"second ({shares[1]:.0%})",
    )
    picture = drawn_map(
        points[chosen], axes, words, _colourings(labels), pictures, sheet, columns
    )
    caption = CAUTION
    if len(chosen) < len(points):
        caption += f" {len(chosen)} of {len(points)} rows are drawn, evenly chosen."
    rows = zip(ids, *points[chosen].T.tolist(), strict=True)
    numbers = download("map.csv", csv_of(["clip_id", "first", "second"], rows), "the map")
    return figure(picture, caption, numbers)


def _still(frames: np.ndarray) -> np.ndarray:
    return np.asarray(frames[len(frames) // 2])


def _words(entry: pd.Series) -> str:
    told = words_of(entry) if "view" in entry or "normal" in entry else "clip"
    split = entry.get("split")
    return f"{told}, {split}" if isinstance(split, str) else told


def _colourings(labels: pd.DataFrame) -> Sequence[Colouring]:
    made = []
    for column in COLOURS:
        if column not in labels or labels[column].nunique() < 2:
            continue
        values = labels[column]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            made.append(by_value(plain(column), values.to_numpy(np.float64)))
        elif values.nunique() <= len(PALETTE):
            made.append(by_group(plain(column), [_word(column, value) for value in values]))
    return made or [by_group("nothing", ["unknown"] * len(labels))]


def _word(column: str, value: object) -> str:
    if value is None or value != value:
        return "unknown"
    if column == "normal":
        return "normal" if bool(value) else "abnormal"
    return plain(str(value))


def _leaks(embeddings: Embeddings) -> Html:
    rows = [
        (
            plain(name),
            found.get("classes", "-"),
            number(found.get("balanced_accuracy"), 2),
            number(found.get("chance"), 2),
        )
        for name, found in part(embeddings.metadata, "leakage").items()
        if isinstance(found, dict)
    ]
    if not rows:
        return EMPTY
    note = (
        "What a linear probe tells of patients it has not seen, from the embedding alone. Far "
        "above chance, the embedding knows how a clip was taken, and a score may rest on that."
    )
    head = ["told from the embedding", "classes", "balanced accuracy", "chance"]
    caption = "What the embedding knows that is not the heart"
    return join([table(head, rows, caption), paragraph(note, "muted")])


def principal_directions(vectors: Values) -> tuple[Values, list[float]]:
    """Return each vector's place along the two widest directions, and their variance shares.

    Args:
        vectors: ``(clips, dim)``, at least two rows.
    """
    centred = vectors - vectors.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    total = float((singular**2).sum())
    points = left[:, :2] * singular[:2]
    if points.shape[1] < 2:
        points = np.column_stack([points, np.zeros(len(points))])
        singular = np.append(singular, 0.0)
    # The sign of a singular vector is arbitrary; fixed, so that the same data give one map.
    signs = np.where(points.sum(axis=0) < 0, -1.0, 1.0)
    shares = [float(s**2) / total if total else 0.0 for s in singular[:2]]
    return points * signs, shares
