"""Embeddings: one vector a clip, with ids and labels from the same manifest row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import echocli
from echocli.api._encode import (
    BATCH,
    POOL,
    WINDOWS,
    LeftOut,
    clip_size,
    encode_clips,
    open_clips,
)
from echocli.api._preprocess_quarantine import Quarantined, read_quarantine
from echocli.checkpoint import LoadedModel, find_model, load_model
from echocli.clips.manifest import COLUMNS
from echocli.clips.store import ClipSet
from echocli.config import differences, to_table
from echocli.console import SILENT, Reporter
from echocli.device import choose_device
from echocli.errors import EchoError, UsageError
from echocli.models.health import Health, health
from echocli.privacy.audit import QUARANTINE_FILE
from echocli.study import Study
from echocli.tables import (
    IDS,
    SCHEMA,
    Embeddings,
    read_embeddings,
    rows_sha256,
    write_embeddings,
)

CHECKED_ROWS = 3
"""Rows that are encoded once more, alone, and compared with what was written."""
TOLERANCE = {"fp32": 1e-3, "bf16": 3e-2}
"""Relative difference that another batch may make; another clip's vector makes more."""
HEALTH_ROWS = 2000
RESULT_KEYS = ("model_sha256", "pool", "windows", "data")
"""Metadata that decide the numbers."""


@dataclass(frozen=True)
class EmbedResult:
    """Embeddings, and what is missing from them."""

    embeddings: Embeddings
    out: Path | None
    """Where they were written; ``None`` if they were not."""
    model: Path
    left_out: list[tuple[str, str]]
    """Id and reason of each clip that cannot be encoded."""
    refused: list[Quarantined]
    """Sources that did not become clips, when sources were read in place."""
    health: Health | None
    unchanged: bool = False
    """Whether the same embeddings stood there already."""


def embed(
    source: Path | Sequence[Path],
    *,
    model: Path | None = None,
    out: Path | None = None,
    pool: str = POOL,
    windows: int = WINDOWS,
    batch: int = BATCH,
    device: str = "auto",
    precision: str = "auto",
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> EmbedResult:
    """Embed clips with a trained encoder.

    Args:
        source: Clip set, folder, file or list of files.
        model: Run folder, model folder or file; the newest run if left out.
        out: Parquet or CSV file; nothing is written if left out.
        pool: ``mean_std``, ``mean`` or ``cls``; see ``models/pooling.py``.
        windows: Windows a clip, evenly spread, whose vectors are averaged.
        batch: Windows that cross the network together.
        device: ``auto`` or PyTorch's name.
        precision: ``auto``, ``fp32`` or ``bf16``.
        overwrite: Replace what stands at ``out``.
        reporter: Who watches.

    Raises:
        EchoError: If there is no model, or no clip can be encoded.
        UsageError: If other embeddings stand at ``out``.
    """
    loaded = load_model(find_model(model, Study()))
    wishes: dict[str, Any] = {"pool": pool, "device": device, "precision": precision}
    with open_clips(source, size=clip_size(loaded), reporter=reporter) as clips:
        metadata = _metadata(loaded, pool, windows)
        refused = _refused(source, clips)
        if out is not None and out.exists() and not overwrite:
            kept = _same(out, metadata, clips)
            return EmbedResult(kept, out, loaded.folder, [], refused, _health(kept), True)
        encoded = encode_clips(
            loaded, clips, windows=windows, batch=batch, reporter=reporter, **wishes
        )
        table = rows_of(clips, encoded.rows)
        metadata["rows_sha256"] = rows_sha256(table, encoded.features)
        embeddings = Embeddings(table, encoded.features, metadata)

        def check(written: Embeddings) -> None:
            _check_rows(written, loaded, clips, windows, wishes)

        if out is None:
            check(embeddings)
        else:
            write_embeddings(out, embeddings, check)
        left_out = [_named(clips, clip) for clip in encoded.left_out]
    return EmbedResult(embeddings, out, loaded.folder, left_out, refused, _health(embeddings))


def rows_of(clips: ClipSet, rows: Sequence[int]) -> pd.DataFrame:
    """Return ids and labels of some rows of a manifest."""
    labels = [name for name in clips.manifest.columns if name not in COLUMNS.names]
    return clips.manifest[[*IDS, *labels]].iloc[list(rows)].reset_index(drop=True)


def _metadata(model: LoadedModel, pool: str, windows: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "echocli": echocli.__version__,
        "method": model.method,
        "model_sha256": model.sha256,
        "pool": pool,
        "windows": windows,
        "data": to_table(model.data),
    }


def _refused(source: Path | Sequence[Path], clips: ClipSet) -> list[Quarantined]:
    """Return what became no clip just now; the past of a clip set is its own affair."""
    if clips.folder in ([source] if isinstance(source, Path) else source):
        return []
    return read_quarantine(clips.folder / QUARANTINE_FILE)


def _named(clips: ClipSet, clip: LeftOut) -> tuple[str, str]:
    return str(clips.manifest["clip_id"].iloc[clip.row]), clip.reason


def _same(out: Path, metadata: dict[str, Any], clips: ClipSet) -> Embeddings:
    """Return the embeddings that stand there, if they are those that would be made."""
    remedy = "Add --overwrite to make it again, or choose another place with -o."
    try:
        kept = read_embeddings(out)
    except EchoError:
        raise UsageError(f"{out} already exists and holds no embeddings.", remedy) from None
    changed = differences(
        {key: kept.metadata.get(key) for key in RESULT_KEYS},
        {key: metadata[key] for key in RESULT_KEYS},
    )
    if changed:
        raise UsageError(f"{out} was made otherwise: {'; '.join(changed)}.", remedy)
    unknown = set(kept.table["clip_id"]) ^ set(clips.manifest["clip_id"])
    if unknown:
        raise UsageError(
            f"{out} was made of other clips: {len(unknown)} stand on one side only.", remedy
        )
    return kept


def _check_rows(
    embeddings: Embeddings,
    model: LoadedModel,
    clips: ClipSet,
    windows: int,
    wishes: dict[str, Any],
) -> None:
    """Encode a few clips again, each alone and found by its id, and compare.

    Raises:
        EchoError: If a row holds another clip's vector or source.
    """
    place = choose_device(wishes["device"], wishes["precision"])
    count = len(embeddings.table)
    chosen = np.unique(np.linspace(0, count - 1, CHECKED_ROWS).round().astype(int))
    for row in chosen:
        ours = embeddings.table.iloc[row]
        where = np.flatnonzero(clips.manifest["clip_id"] == ours["clip_id"])
        again = encode_clips(model, clips.subset(where), windows=windows, **wishes)
        vector = again.features[0]
        difference = np.linalg.norm(embeddings.vectors[row] - vector)
        same_source = clips.manifest["source_sha256"].iloc[where[0]] == ours["source_sha256"]
        close = difference <= TOLERANCE[place.precision] * np.linalg.norm(vector)
        if not (same_source and close and len(where) == 1):
            raise EchoError(
                f"Clip {ours['clip_id']} gave another vector when it was encoded again.",
                "Nothing was written. Try --precision fp32; if it stays so, please report it.",
            )


def _health(embeddings: Embeddings) -> Health | None:
    count = len(embeddings.vectors)
    if count < 2:
        return None
    chosen = np.linspace(0, count - 1, min(count, HEALTH_ROWS)).round().astype(int)
    return health(torch.from_numpy(embeddings.vectors[chosen]))
