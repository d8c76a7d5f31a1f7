"""What a clip is called in a report: in words, and by the id that stands in the tables."""

from __future__ import annotations

import pandas as pd

from echocli.clips.store import ClipSet


def words_of(entry: pd.Series) -> str:
    """Return what the labels say of a clip: view, ejection fraction, normal or not.

    Args:
        entry: Its row of the manifest.
    """
    told = [str(entry["view"])] if isinstance(entry.get("view"), str) else []
    if pd.notna(entry.get("ef_percent")):
        told.append(f"EF {entry['ef_percent']:.0f} %")
    if pd.notna(entry.get("normal")):
        told.append("normal" if bool(entry["normal"]) else "abnormal")
    return ", ".join(told) or f"{int(entry['frames'])} frames"


def key_of(rows: pd.DataFrame) -> str:
    """Return the column that names each row of predictions: its clip, or its study."""
    return "clip_id" if "clip_id" in rows else "study_id"


def units(rows: pd.DataFrame) -> str:
    """Return what rows of predictions are, in words."""
    return "clips" if key_of(rows) == "clip_id" else "studies"


def rows_by_study(clips: ClipSet | None) -> dict[str, int]:
    """Return in which row of a clip set the first clip of each study stands."""
    if clips is None:
        return {}
    names = [str(name) for name in clips.manifest["study_id"]]
    return {name: row for row, name in reversed(list(enumerate(names)))}


def rows_by_id(clips: ClipSet | None) -> dict[str, int]:
    """Return in which row of a clip set each clip stands; nothing without a set."""
    if clips is None:
        return {}
    return {str(name): row for row, name in enumerate(clips.manifest["clip_id"])}
