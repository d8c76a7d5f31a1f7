"""Opens a clip set that was just written and proves that nothing in it names a person."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echocli.clips.store import ClipSet
from echocli.errors import PrivacyError
from echocli.files import write_json
from echocli.privacy.labels import COLUMNS, check_values
from echocli.privacy.pseudonyms import ID_FORMATS

SCHEMA = "echocli.audit/1"
AUDIT_FILE = "audit.json"
QUARANTINE_FILE = "quarantine.csv"

NUMBER_COLUMNS = {
    "frames", "height", "width", "frame_rate_hz", "times_s", "row_mm", "column_mm",
    "offset", "mask_offset", "mask_frames", "r_waves_s",
}  # fmt: skip
"""Columns of the store that hold numbers or lists of numbers."""
WORD_COLUMNS = {
    "time_source": re.compile(r"[a-z_]+"),
    "spacing_source": re.compile(r"[a-z_]+"),
    "shard": re.compile(r"shard-[0-9a-z-]+\.u8"),
    "mask_shard": re.compile(r"masks-[0-9a-z-]+\.u8"),
    "pixels_sha256": re.compile(r"[0-9a-f]{64}"),
    "r_wave_source": re.compile(r"[a-z_]+"),
    "study_date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "notes": re.compile(r"[a-z_]+"),
}
"""Columns of the store that hold text, and what it looks like."""
FILES = re.compile(
    r"manifest/part-[0-9a-z-]+\.(parquet|json)|(shard|masks)-[0-9a-z-]+\.u8"
    rf"|[a-z]+\.json|{re.escape(QUARANTINE_FILE)}|SHA256SUMS\.json"
)
"""Every file of a clip set."""
SHORTEST_IDENTIFIER = 4
"""Shorter identifiers (``1``, ``A``) say nothing by themselves and match by chance."""


@dataclass(frozen=True)
class Check:
    """One thing that was proved."""

    check: str
    looked_at: int
    passed: bool


def audit(
    folder: Path, *, identifiers: Iterable[str], named: Iterable[str], details: dict[str, Any]
) -> list[Check]:
    """Prove that a clip set names nobody, and write ``audit.json`` into it.

    Args:
        folder: The clip set.
        identifiers: Raw identifiers of the sources, from memory; they are not written.
        named: Label columns that the user let through by name.
        details: What else belongs in the file: settings, counts.

    Returns:
        The checks, all passed.

    Raises:
        PrivacyError: If a check fails; the clip set must not be kept.
    """
    clips = ClipSet.open(folder)
    raw = {text for text in identifiers if len(text) >= SHORTEST_IDENTIFIER}
    checks = [
        _check_files(folder),
        _check_columns(clips.manifest, set(named)),
        _check_ids(clips.manifest),
        _check_words(clips.manifest),
        _check_labels(clips.manifest, raw),
        _check_quarantine(folder / QUARANTINE_FILE, raw),
        _check_pixels(clips),
    ]
    failed = next((check for check in checks if not check.passed), None)
    if failed:
        raise PrivacyError(
            f"The audit of the clips failed: not every one of {failed.looked_at} passed the "
            f'check "{failed.check}".',
            "Nothing was kept. Please report this; it is a bug in echocli.",
        )
    content = {"schema": SCHEMA, **details, "checks": [asdict(check) for check in checks]}
    write_json(folder / AUDIT_FILE, content)
    return checks


def _check_files(folder: Path) -> Check:
    files = [
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
    ]
    known = all(FILES.fullmatch(file) for file in files)
    return Check("every file has a name that this program gave it", len(files), known)


def _check_columns(manifest: pd.DataFrame, named: set[str]) -> Check:
    allowed = {*ID_FORMATS, *NUMBER_COLUMNS, *WORD_COLUMNS, *COLUMNS, *named, "sector"}
    columns = set(manifest.columns)
    return Check("every column is on the allow-list", len(columns), columns <= allowed)


def _check_ids(manifest: pd.DataFrame) -> Check:
    passed = all(
        isinstance(value, str) and form.fullmatch(value)
        for column, form in ID_FORMATS.items()
        for value in manifest[column]
    )
    unique = manifest["clip_id"].is_unique
    return Check("every id is a keyed hash", len(manifest), bool(passed and unique))


def _check_words(manifest: pd.DataFrame) -> Check:
    passed = all(
        not isinstance(value, str) or form.fullmatch(value)
        for column, form in WORD_COLUMNS.items()
        if column in manifest
        for value in manifest[column]
    )
    return Check("every other text is one of the program's own words", len(manifest), passed)


def _check_labels(manifest: pd.DataFrame, identifiers: set[str]) -> Check:
    store = {*ID_FORMATS, *NUMBER_COLUMNS, *WORD_COLUMNS, "sector"}
    for column in set(manifest.columns) - store:
        check_values(column, manifest[column].tolist(), identifiers)
    return Check("no label holds an identifier or free text", len(manifest), True)


def _check_quarantine(file: Path, identifiers: set[str]) -> Check:
    """Check the explanations; only identifiers with a digit differ from ordinary words."""
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    texts = table.drop(columns=["source_id", "position"]).to_numpy().ravel()
    text = "\n".join(texts).casefold()
    numbered = (name.casefold() for name in identifiers if any(c.isdigit() for c in name))
    found = any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in numbered)
    return Check("no quarantine entry holds an identifier", len(table), not found)


def _check_pixels(clips: ClipSet) -> Check:
    passed = all(
        not np.any(clips.frames(row), axis=0)[~clips.sector(row)].any()
        for row in range(len(clips))
    )
    return Check("every pixel outside the sector is black", len(clips), passed)
