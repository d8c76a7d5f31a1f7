"""Sources become a clip set: de-identified, masked, calibrated, audited."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import echocli
from echocli.api._preprocess_clip import Outcome, Settings, Task, source_hash
from echocli.api._preprocess_labels import NO_LABELS, LabelTable
from echocli.api._preprocess_quarantine import (
    Quarantined,
    count_reasons,
    read_quarantine,
    remedy_of,
    write_linkage,
    write_quarantine,
)
from echocli.api._preprocess_sources import find_tasks
from echocli.api._preprocess_workers import choose_workers, outcomes
from echocli.clips.record import Clip, Label
from echocli.clips.store import ClipSet
from echocli.clips.writer import ClipSetWriter
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError, PrivacyError, UsageError
from echocli.files import read_json, sync_folder
from echocli.intake.reasons import Reason, Refused
from echocli.privacy.audit import AUDIT_FILE, QUARANTINE_FILE, SCHEMA, audit
from echocli.privacy.labels import clean
from echocli.privacy.pseudonyms import Pseudonyms, is_inside
from echocli.splits import check_patients_apart, split_of

SIZE = 112
"""Side of a stored frame in pixels, as EchoNet-Dynamic's."""


@dataclass(frozen=True)
class PreprocessResult:
    """What became of the sources."""

    clips: Path
    """The clip set."""
    n_sources: int
    n_clips: int
    n_patients: int
    n_without_time: int
    n_without_spacing: int
    quarantined: list[Quarantined]
    unchanged: bool = False
    """Whether the same clips stood there already, so that nothing was done."""


@dataclass
class _Batch:
    """What is known while the batch runs; raw identifiers stay here."""

    quarantined: list[Quarantined] = field(default_factory=list)
    identifiers: set[str] = field(default_factory=set, repr=False)
    hashes: list[str] = field(default_factory=list, repr=False)
    splits: list[tuple[str, str | None]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


def preprocess(
    sources: Sequence[Path],
    out: Path,
    *,
    size: int = SIZE,
    labels: Path | None = None,
    label_columns: Sequence[str] = (),
    linkage: Path | None = None,
    key_file: Path | None = None,
    assume_rate_hz: float | None = None,
    workers: int | None = None,
    fail_fast: bool = False,
    max_fail: int | None = None,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> PreprocessResult:
    """Turn sources into a clip set that names nobody.

    The set is built beside its place and takes it when its audit has passed; on an error or
    Ctrl-C nothing is left.

    Args:
        sources: Files, folders, or roots of known data sets.
        out: Folder of the clip set.
        size: Side of a stored frame in pixels.
        labels: Table with a column ``file`` or ``patient`` and columns of labels.
        label_columns: Columns to keep beside the known ones: numbers or classes.
        linkage: File that shall say which source became which clip. It identifies patients and
            must lie outside ``out``.
        key_file: Secret of the pseudonyms; this user's own if left out.
        assume_rate_hz: Frame rate of the loops that do not tell theirs.
        workers: Processes; chosen by itself if left out.
        fail_fast: Stop at the first source that cannot be used.
        max_fail: Stop when more sources than this cannot be used.
        overwrite: Replace what stands at ``out``.
        reporter: Who watches.

    Raises:
        EchoError: If no source can be used, or too many cannot.
        UsageError: If ``out`` holds something else.
        PrivacyError: If the key or the linkage would lie in ``out``, or the audit fails.
    """
    _check_places(out, linkage, size)
    tasks = find_tasks(sources, apart_from=out)
    pseudonyms = Pseudonyms.from_file(key_file, outside=out)
    table = LabelTable.read(labels, tasks, label_columns) if labels else NO_LABELS
    _tell_labels(table, labels, reporter)
    settings = _settings_record(size, assume_rate_hz, labels, label_columns, pseudonyms)
    if _holds_a_clip_set(out) and not overwrite:
        hashes = _check_same(out, tasks, settings, pseudonyms)
        result = replace(_result(out, len(tasks)), unchanged=True)
        return _link(result, linkage, tasks, hashes, pseudonyms)
    most = 0 if fail_fast else max_fail
    batch = _Batch()
    with _built_beside(out) as folder:
        with (
            ClipSetWriter(folder) as writer,
            reporter.progress("preprocess", len(tasks)) as done,
        ):
            work = Settings(size, assume_rate_hz, pseudonyms)
            for outcome in outcomes(tasks, work, choose_workers(workers, len(tasks))):
                clip = _take(outcome, table, batch, pseudonyms, label_columns)
                if clip is not None:
                    writer.add(clip)
                _stop_if_too_many(batch, most)
                done(1)
            _require_some(batch, len(tasks))
            check_patients_apart(*zip(*batch.splits, strict=True))
        write_quarantine(folder / QUARANTINE_FILE, batch.quarantined)
        digest = _digest(batch.hashes, pseudonyms)
        details = {"echocli": echocli.__version__, "settings": settings, "sources": digest}
        audit(folder, identifiers=batch.identifiers, named=label_columns, details=details)
    return _link(_result(out, len(tasks)), linkage, tasks, batch.hashes, pseudonyms)


def _take(
    outcome: Outcome,
    table: LabelTable,
    batch: _Batch,
    pseudonyms: Pseudonyms,
    named: Sequence[str],
) -> Clip | None:
    """Note an outcome and return its clip, labelled, if it is one."""
    task, clip, refused = outcome.task, outcome.clip, outcome.refused
    batch.identifiers |= {*outcome.patient_key.split("\n"), outcome.study_key}
    if not task.path.stem.isalpha():  # PLAX.avi names nobody, and labels may say PLAX
        batch.identifiers.add(task.path.stem)
    batch.hashes.append(outcome.sha256)
    source_id = pseudonyms.source(outcome.sha256)
    if clip is not None and clip.source_sha256 in batch.used:
        clip, refused = None, Refused(Reason.DUPLICATE)
    if refused:
        remedy = remedy_of(refused.reason)
        entry = Quarantined(
            source_id, task.position, refused.reason.value, refused.detail, remedy
        )
        batch.quarantined.append(entry)
        return None
    assert clip is not None  # an outcome is a clip or a refusal
    batch.used.add(clip.source_sha256)
    kept: dict[str, Label] = {**clean(clip.labels), **clean(table.of(outcome), named)}
    split = kept.setdefault("split", split_of(clip.patient_id))
    batch.splits.append((clip.patient_id, None if split is None else str(split)))
    return replace(clip, labels=kept)


def _stop_if_too_many(batch: _Batch, most: int | None) -> None:
    if most is not None and len(batch.quarantined) > most:
        last = batch.quarantined[-1]
        raise EchoError(
            f"{len(batch.quarantined)} source(s) cannot be used, more than allowed; "
            f"the last is file {last.position}: {last.reason}, {last.explanation}.",
            f"{last.remedy} Or allow more with --max-fail.",
        )


def _require_some(batch: _Batch, sources: int) -> None:
    if not batch.used:
        reasons = ", ".join(
            f"{n} {reason}" for reason, n, _ in count_reasons(batch.quarantined)
        )
        raise EchoError(
            f"None of the {sources} source(s) can be used: {reasons}.",
            "Run `echocli inspect` on them; it says of each file what it is, and why.",
        )


def _check_places(out: Path, linkage: Path | None, size: int) -> None:
    if size < 16:
        raise UsageError(f"A size of {size} pixels is too small.", "Use --size 112, or more.")
    if linkage and is_inside(linkage, out):
        raise PrivacyError(
            "The linkage file identifies patients and must not lie in the clip set.",
            "Name a place elsewhere with --linkage, one that is not shared.",
        )


def _tell_labels(table: LabelTable, labels: Path | None, reporter: Reporter) -> None:
    if labels is None:
        return
    matched = len(table.by_position) or len(table.by_patient)
    reporter.say(f"labels: {matched} row(s) used")
    if table.unused_rows:
        reporter.warn(f"{table.unused_rows} row(s) of the labels fit no source.")
    if table.unused_columns:
        reporter.say(
            f"labels: {table.unused_columns} column(s) left out; --label-column keeps one "
            "that holds numbers or classes"
        )


def _settings_record(
    size: int,
    assume_rate_hz: float | None,
    labels: Path | None,
    label_columns: Iterable[str],
    pseudonyms: Pseudonyms,
) -> dict[str, Any]:
    """Return what a clip set depends on beside its sources."""
    return {
        "size": size,
        "assume_rate_hz": assume_rate_hz,
        "labels": pseudonyms.source(source_hash(labels)) if labels else None,
        "label_columns": sorted(label_columns),
        "key": pseudonyms.fingerprint(),
    }


def _digest(hashes: Iterable[str], pseudonyms: Pseudonyms) -> str:
    joined = "\n".join(sorted(hashes)).encode("ascii")
    return pseudonyms.source(hashlib.sha256(joined).hexdigest())


def _holds_a_clip_set(out: Path) -> bool:
    """Tell whether a clip set stands at ``out``; anything else there is never replaced."""
    if (out / AUDIT_FILE).is_file() and ClipSet.is_one(out):
        return True
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UsageError(
            f"{out} already exists and is no clip set.", "Choose another place with -o."
        )
    return False


def _check_same(
    out: Path, tasks: Sequence[Task], settings: dict[str, Any], pseudonyms: Pseudonyms
) -> list[str]:
    """Refuse to take the clip set at ``out`` for another; return the hashes of its sources."""
    record = read_json(out / AUDIT_FILE)
    before = record["settings"] if record.get("schema") == SCHEMA else {}
    changed = [name for name, value in settings.items() if before.get(name) != value]
    if changed:
        raise UsageError(
            f"{out} was made with other settings: {', '.join(changed)}.",
            "Add --overwrite to make it again, or choose another place with -o.",
        )
    hashes = [source_hash(task.path) for task in tasks]
    if _digest(hashes, pseudonyms) != record["sources"]:
        raise UsageError(
            f"{out} was made from other sources than these {len(tasks)}.",
            "Add --overwrite to make it again, or choose another place with -o.",
        )
    return hashes


def _link(
    result: PreprocessResult,
    linkage: Path | None,
    tasks: Sequence[Task],
    hashes: Sequence[str],
    pseudonyms: Pseudonyms,
) -> PreprocessResult:
    """Write which source became which clip, if that is wanted."""
    if linkage is None:
        return result
    reasons = {entry.position: entry.reason for entry in result.quarantined}
    write_linkage(
        linkage,
        (
            (
                str(task.path),
                pseudonyms.source(sha256),
                "" if task.position in reasons else pseudonyms.clip(sha256),
                reasons.get(task.position, ""),
            )
            for task, sha256 in zip(tasks, hashes, strict=True)
        ),
    )
    return result


@contextmanager
def _built_beside(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of ``out`` when the block succeeds."""
    out.parent.mkdir(parents=True, exist_ok=True)
    tail = secrets.token_hex(4)
    temporary = out.with_name(f".{out.name}.{tail}.tmp")
    replaced = out.with_name(f".{out.name}.{tail}.old")
    temporary.mkdir()
    try:
        yield temporary
        if out.exists():
            os.replace(out, replaced)
        try:
            os.replace(temporary, out)
        except OSError:
            if replaced.exists():
                os.replace(replaced, out)
            raise
        sync_folder(out.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _result(folder: Path, sources: int) -> PreprocessResult:
    manifest = ClipSet.open(folder).manifest
    return PreprocessResult(
        clips=folder,
        n_sources=sources,
        n_clips=len(manifest),
        n_patients=manifest["patient_id"].nunique(),
        n_without_time=int((manifest["time_source"] == "unknown").sum()),
        n_without_spacing=int(manifest["row_mm"].isna().sum()),
        quarantined=read_quarantine(folder / QUARANTINE_FILE),
    )
