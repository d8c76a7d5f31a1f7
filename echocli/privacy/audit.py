"""Opens a clip set that was just written and proves that nothing in it names a person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echocli.clips.store import ClipSet
from echocli.errors import PrivacyError
from echocli.files import write_json
from echocli.privacy.audit_bytes import holds_identifier, own_words, visible_files
from echocli.privacy.audit_copies import COPIES, CopyAudit
from echocli.privacy.identifiers import SHORTEST_IDENTIFIER, is_like_a_count
from echocli.privacy.labels import COLUMNS, check_values
from echocli.privacy.needles import Needles
from echocli.privacy.pseudonyms import ID_FORMATS

SCHEMA = "echocli.audit/1"
AUDIT_FILE = "audit.json"
AUDIT_PAGE = "audit.html"
QUARANTINE_FILE = "quarantine.csv"

NUMBER_COLUMNS = {
    "frames", "height", "width", "frame_rate_hz", "times_s", "row_mm", "column_mm",
    "offset", "mask_offset", "mask_frames", "mask_height", "mask_width", "mask_box",
    "mask_row_mm", "mask_column_mm", "r_waves_s",
}  # fmt: skip
"""Columns of the store that hold numbers or lists of numbers."""
WORD_COLUMNS = {
    "time_source": re.compile(r"[a-z_]+"),
    "spacing_source": re.compile(r"[a-z_]+"),
    "shard": re.compile(r"shard-[0-9a-z_-]+\.u8"),
    "mask_shard": re.compile(r"masks-[0-9a-z_-]+\.u8"),
    "pixels_sha256": re.compile(r"[0-9a-f]{64}"),
    "r_wave_source": re.compile(r"[a-z_]+"),
    "study_date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "notes": re.compile(r"[a-z_]+"),
}
"""Columns of the store that hold text or lists of texts, and what each looks like."""
FILES = re.compile(
    r"manifest/part-[0-9a-z_-]+\.(parquet|json)|(shard|masks)-[0-9a-z_-]+\.u8"
    r"|state/[0-9a-z-]+\.(json|lock)|\.?[a-z]*\.?lock|(audit|settings)\.json"
    rf"|audit(-[0-9]+)?\.html|{QUARANTINE_FILE}|{COPIES}/c[0-9a-f]{{16}}\.dcm"
)
"""Every file of a clip set."""
STORE = {*ID_FORMATS, *NUMBER_COLUMNS, *WORD_COLUMNS, "sector"}
"""Every column but the labels."""


@dataclass(frozen=True)
class Check:
    """One thing that was proved."""

    check: str
    looked_at: int
    passed: bool


def audit(
    folder: Path,
    *,
    identifiers: Iterable[str],
    named: Iterable[str],
    details: dict[str, Any] | None = None,
) -> list[Check]:
    """Prove that a clip set, or a part of one, names nobody.

    Every byte is read again.

    Args:
        folder: The clip set, or the folder in which a part of it is made.
        identifiers: Raw identifiers of the sources, from memory (see ``identifiers_of``); they
            are not written.
        named: Label columns that the user let through by name.
        details: What else belongs in ``audit.json``; without it, the file is not written.

    Returns:
        The checks, all passed.

    Raises:
        PrivacyError: If a check fails; what was audited must not be kept.
    """
    clips = ClipSet.open(folder)
    raw = set(identifiers)
    needles = needles_for(raw, clips)
    checks = [
        *check_tables(folder, clips, raw, set(named)),
        _check_pixels(clips),
        check_bytes(visible_files(folder), needles),
        *_check_copies(folder, clips, needles),
    ]
    require(checks)
    if details is not None:
        write_audit(folder, checks, details)
    return checks


def summed(parts: Iterable[Sequence[Check]]) -> list[Check]:
    """Add up the checks of several parts, each kind once."""
    total: dict[str, Check] = {}
    for check in (check for part in parts for check in part):
        before = total.get(check.check, Check(check.check, 0, True))
        total[check.check] = Check(
            check.check, before.looked_at + check.looked_at, before.passed and check.passed
        )
    return list(total.values())


def write_audit(folder: Path, checks: Sequence[Check], details: dict[str, Any]) -> None:
    """Write ``audit.json``: what was proved, and of what."""
    content = {"schema": SCHEMA, **details, "checks": [asdict(check) for check in checks]}
    write_json(folder / AUDIT_FILE, content)


def require(checks: Sequence[Check]) -> None:
    """Stop at the first check that failed.

    Raises:
        PrivacyError: With what it is.
    """
    failed = next((check for check in checks if not check.passed), None)
    if failed:
        raise PrivacyError(
            f"The audit of the clips failed: not every one of {failed.looked_at} passed the "
            f'check "{failed.check}".',
            "Nothing was kept. Please report this; it is a bug in echocli.",
        )


def check_tables(folder: Path, clips: ClipSet, raw: set[str], named: set[str]) -> list[Check]:
    """Check the names of the files, the manifest and the list of refusals."""
    telling = {text for text in raw if len(text) >= SHORTEST_IDENTIFIER}
    return [
        _check_files(folder),
        _check_columns(clips.manifest, named),
        _check_ids(clips.manifest),
        _check_words(clips.manifest),
        _check_labels(clips.manifest, telling),
        _check_quarantine(folder / QUARANTINE_FILE, telling),
    ]


def _check_files(folder: Path) -> Check:
    files = [file.relative_to(folder).as_posix() for file in visible_files(folder)]
    known = all(FILES.fullmatch(file) for file in files)
    return Check("every file has a name that this program gave it", len(files), known)


def _check_columns(manifest: pd.DataFrame, named: set[str]) -> Check:
    columns = set(manifest.columns)
    allowed = STORE | set(COLUMNS) | named
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
        form.fullmatch(text)
        for column, form in WORD_COLUMNS.items()
        if column in manifest
        for value in manifest[column]
        for text in ([value] if isinstance(value, str) else _list(value))
    )
    return Check("every other text is one of the program's own words", len(manifest), passed)


def _list(value: Any) -> list[str]:  # noqa: ANN401
    return [str(text) for text in value] if isinstance(value, list | np.ndarray) else []


def _check_labels(manifest: pd.DataFrame, identifiers: set[str]) -> Check:
    for column in manifest.columns.drop(list(STORE), errors="ignore"):
        check_values(column, manifest[column].tolist(), identifiers)
    return Check("no label holds an identifier or free text", len(manifest), True)


def _check_quarantine(file: Path, identifiers: set[str]) -> Check:
    """Check the explanations; only identifiers with a digit differ from ordinary words."""
    claim = "no quarantine entry holds an identifier"
    if not file.exists():
        return Check(claim, 0, True)
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    texts = table.drop(columns=["source_id", "position"]).to_numpy().ravel()
    text = "\n".join(texts).casefold()
    numbered = [name.casefold() for name in identifiers if any(c.isdigit() for c in name)]
    numbered = [name for name in numbered if not is_like_a_count(name)]
    found = any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in numbered)
    return Check(claim, len(table), not found)


def _check_pixels(clips: ClipSet) -> Check:
    passed = all(
        not np.any(clips.frames(row), axis=0)[~clips.sector(row)].any()
        for row in range(len(clips))
    )
    return Check("every pixel outside the sector is black", len(clips), passed)


def needles_for(identifiers: Iterable[str], clips: ClipSet) -> Needles:
    """Return what to look for in every byte.

    Names made of letters alone may be words that this program writes, and short numbers its
    counts; they are compared with the labels, which are all that a user's tables can bring in.
    """
    telling = (text for text in identifiers if not (text.isalpha() or is_like_a_count(text)))
    return Needles(telling, own_words(clips.manifest.columns))


def check_bytes(files: Iterable[Path], needles: Needles) -> Check:
    """Check that no identifier stands in some files, in whatever form."""
    files = list(files)
    found = any(holds_identifier(file, needles) for file in files)
    return Check(
        "no file holds an identifier, plain or as UTF-16, base64, hex or reversed",
        len(files),
        not found,
    )


def _check_copies(folder: Path, clips: ClipSet, needles: Needles) -> list[Check]:
    """Check the de-identified DICOM files, if there are any."""
    files = sorted((folder / COPIES).glob("*.dcm"))
    if not files:
        return []
    rows = {clip_id: row for row, clip_id in enumerate(clips.manifest["clip_id"])}
    audits = []
    for file in files:
        row = rows.get(file.stem)
        audits.append(CopyAudit.of(file, clips, row, needles))
    claims = {
        "every element of every DICOM copy is on the allow-list": "elements",
        "every DICOM copy says how it was de-identified": "flags",
        "no DICOM copy holds a byte that belongs to no element": "bytes_accounted",
        "every DICOM copy shows its clip, and black around the sector": "pixels",
    }
    return [
        Check(claim, len(files), all(getattr(one, name) for one in audits))
        for claim, name in claims.items()
    ]
