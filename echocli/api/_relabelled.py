"""Do the labels in a result still hold? Tables of them are corrected after clips were used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echocli.api._classes import Words, known_words
from echocli.api._normal import normality
from echocli.clips.manifest import COLUMNS
from echocli.clips.record import word_of
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.errors import UsageError
from echocli.tables import open_embeddings

KEY = "clip_id"
MEASURED = "measured_ef_percent"
RULE = "the rule "
"""Stands before what said which clips are normal, in the figures beside scores."""
DIGITS = 6
"""Of a number, that a table of text keeps for certain."""
LABELS = "labels_sha256"
"""What a head's config calls the hash of its labels."""
NOTHING = frozenset(("", "na", "n/a", "nan", "null", "none", "<na>"))
"""Words of what is not known, and such as reading a table of text takes for it."""


def clips_relabelled(
    rows: pd.DataFrame, summary: Mapping[str, Any] | None, manifest: pd.DataFrame
) -> int:
    """Count the clips that a result tells other labels of than the clip set does now.

    Args:
        rows: Embeddings, scores or predictions; those of clips that the set does not hold, or
            that name no clips, are passed over.
        summary: The figures beside the table; ``None`` for embeddings, which hold labels
            themselves.
        manifest: Of the clip set.
    """
    if KEY not in rows:
        return 0
    now = manifest.drop_duplicates(KEY).set_index(KEY, drop=False)
    rows = rows.drop_duplicates(KEY)
    rows = rows[rows[KEY].isin(now.index)].reset_index(drop=True)
    now = now.loc[rows[KEY]].reset_index(drop=True)
    changed = np.zeros(len(rows), np.bool_)
    for told, holds in _labels(rows, summary, now):
        changed |= _words(told) != _words(holds)
    return int(changed.sum())


def labels_sha256(manifest: pd.DataFrame, head: Mapping[str, Any]) -> str:
    """Return the hash of the labels that a head learns from, of its patients in a clip set.

    Further clips of a patient, labelled alike, change nothing.

    Args:
        manifest: Of the clip set.
        head: Its config, as far as it tells what it is for and whose clips it was given.
    """
    rows = manifest[manifest["patient_id"].isin(_patients(head))]
    label = head.get("label")
    if isinstance(label, str):
        words = _among(pd.Series(known_words(rows, label)), head.get("classes"))
    else:
        words = _column(rows, "ef_percent")
    told = set(zip(rows["patient_id"], _words(words), strict=True))
    known = sorted(f"{patient} {word}" for patient, word in told if word)
    return hashlib.sha256("\n".join(known).encode()).hexdigest()


def head_relabelled(head: Mapping[str, Any], manifest: pd.DataFrame) -> bool:
    """Return whether patients that a head was fitted on have other labels now.

    Of heads of older versions, and of patients who are not all in the set, nothing is known.
    """
    told = head.get(LABELS)
    patients = _patients(head) if told else set()
    if not patients or not patients <= set(manifest["patient_id"]):
        return False
    return bool(labels_sha256(manifest, head) != told)


def _patients(head: Mapping[str, Any]) -> set[str]:
    known = head.get("patients")
    lists = known.values() if isinstance(known, dict) else ()
    return {str(name) for names in lists if isinstance(names, list) for name in names}


def warn_of_labels(embeddings: Path, clips: Path, reporter: Reporter) -> None:
    """Say if embeddings carry other labels than the clips of their study have now.

    Args:
        embeddings: The table that a study keeps.
        clips: Its clip set; nothing is said where there is none.
        reporter: Is told.

    Raises:
        EchoError: If either cannot be read.
    """
    if not embeddings.exists() or not ClipSet.is_one(clips):
        return
    manifest = ClipSet.open(clips).manifest
    count = clips_relabelled(open_embeddings(embeddings).table, None, manifest)
    if count:
        reporter.warn(
            f"{count} clip(s) have other labels now than {embeddings.name} tells: run "
            "`echocli embed` again, which takes labels anew, then this."
        )


def _labels(
    rows: pd.DataFrame, summary: Mapping[str, Any] | None, now: pd.DataFrame
) -> Iterator[tuple[pd.Series, pd.Series]]:
    """Yield each label as a result tells it, and as the clips have it now."""
    if summary is None:
        names = [name for name in now if name in rows and name not in COLUMNS.names]
        yield from ((rows[name], now[name]) for name in names)
        return
    if MEASURED in rows:
        yield rows[MEASURED], _column(now, "ef_percent")
    source = summary.get("source_of_normal")
    if "normal" in rows and isinstance(source, str):
        yield rows["normal"], _normal(now, source)
    label = summary.get("label")
    if "label" in rows and isinstance(label, str):
        classes = summary.get("classes")
        told, holds = rows["label"], pd.Series(known_words(now, label))
        yield _among(told, classes), _among(holds, classes)


def _among(words: pd.Series, classes: object) -> pd.Series:
    """Return the words that a head tells apart; of others it knows nothing."""
    names = {_word(name) for name in classes} if isinstance(classes, list) else set()
    return words.where(np.array([_word(word) in names for word in words], np.bool_))


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    column: pd.Series = table.get(name, pd.Series(None, index=table.index, dtype=object))
    return column


def _normal(now: pd.DataFrame, source: str) -> pd.Series:
    """Return what the clips say of being normal, in the way in which scores asked them."""
    _, is_rule, rule = source.partition(RULE)
    try:
        found = normality(now, rule if is_rule else None)
    except UsageError:  # they have no such label any more
        return _column(now, "")
    return pd.Series(found.normal, dtype=object).where(found.known)


def _words(values: pd.Series) -> Words:
    """Return values as words that are equal where text made from them would be."""
    return np.array([_word(value) for value in values], dtype=object)


def _word(value: object) -> str:
    word = word_of(value)
    if word.lower() in NOTHING:
        return ""
    try:
        return f"{float(word):.{DIGITS}g}"
    except ValueError:
        return word.lower() if word in ("True", "False") else word
