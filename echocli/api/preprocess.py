"""Sources become a clip set: de-identified, masked, calibrated, audited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from echocli.api._preprocess.clip import Settings, Task
from echocli.api._preprocess.labels import NO_LABELS, LabelTable
from echocli.api._preprocess.ledger import Ledger, summarise
from echocli.api._preprocess.parts import new_incoming, withdraw
from echocli.api._preprocess.place import Share, writing_to
from echocli.api._preprocess.quarantine import Quarantined, count_reasons, write_linkage
from echocli.api._preprocess.rules import (
    RuleUsed,
    count_normal,
    rules_of,
    tell_rules,
)
from echocli.api._preprocess.run import Run
from echocli.api._preprocess.settings import keep_settings
from echocli.api._preprocess.sources import find_tasks
from echocli.api._preprocess.told import tell_found, tell_labels, tell_moved, tell_patients
from echocli.api._preprocess.workers import STANDARD as STANDARD
from echocli.api._preprocess.workers import Limits as Limits
from echocli.api._preprocess.workers import choose_workers, outcomes
from echocli.clips.progress import unfinished
from echocli.clips.store import ClipSet
from echocli.console import SILENT, Reporter
from echocli.datasets.rules import NormalRule
from echocli.errors import EchoError, PrivacyError, UsageError
from echocli.files import check_place
from echocli.privacy.pseudonyms import Pseudonyms, is_inside
from echocli.splits import check_patients_apart

SIZE = 112
"""Side of a stored frame in pixels, as EchoNet-Dynamic's."""
DATES = ("drop", "shift")


@dataclass(frozen=True)
class PreprocessResult:
    """What the clip set holds now, of all runs that added to it."""

    clips: Path
    """The clip set."""
    n_sources: int
    n_clips: int
    n_patients: int
    n_without_time: int
    n_without_spacing: int
    quarantined: list[Quarantined]
    moved: int = 0
    """Sources of this run that stood at another place when they were met before."""
    unchanged: bool = False
    """Whether everything stood there already, so that nothing was done."""
    stopped: bool = False
    """Whether somebody wished this run to stop before its end."""
    unfinished: list[str] = field(default_factory=list)
    """Shares of the sources that are still to be done."""
    rules: list[RuleUsed] = field(default_factory=list)
    """Which clips count as normal."""


class _StoppedBesideError(Exception):
    """A set that was to replace another is not finished, so it must not."""


@dataclass(frozen=True)
class _Manner:
    """How the work is done, which changes nothing of its result."""

    workers: int | None
    limits: Limits
    most: int | None
    """How many sources may be refused."""
    stop: Callable[[], bool]
    reporter: Reporter


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
    normal: str | None = None,
    abnormal: str | None = None,
    stills: bool = False,
    dates: str = "drop",
    keep_dicom: bool = False,
    shard: str | None = None,
    workers: int | None = None,
    limits: Limits = STANDARD,
    fail_fast: bool = False,
    max_fail: int | None = None,
    overwrite: bool = False,
    in_place: bool = False,
    stop: Callable[[], bool] = lambda: False,
    reporter: Reporter = SILENT,
) -> PreprocessResult:
    """Turn sources into a clip set that names nobody, or add them to one.

    The set grows by audited parts, each there as a whole or not at all. Whatever ends a run,
    the same call goes on with what is missing; sources are known again by their content.

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
        normal: Which clips are normal, such as ``ef_percent >= 55``; the data set's own rule
            if left out.
        abnormal: Which are abnormal; all that are certainly not normal if left out.
        stills: Take the single pictures of data sets that hold nothing else.
        dates: ``drop``, or ``shift`` to keep the days between a patient's examinations.
        keep_dicom: Also write de-identified copies of DICOM sources, into ``dicom/``.
        shard: ``2/4``: take the second of four shares of the sources; other processes, here or
            elsewhere, take the others into the same set.
        workers: Processes; chosen by itself if left out.
        limits: What one file may cost.
        fail_fast: Stop at the first source that cannot be used.
        max_fail: Stop when more sources than this cannot be used.
        overwrite: Replace what stands at ``out``, when all is done.
        in_place: Whether the set is for one result alone, and gone afterwards.
        stop: Asked after each source whether to publish what is done and end.
        reporter: Who watches.

    Raises:
        EchoError: If no source can be used, or too many cannot.
        UsageError: If ``out`` holds something else, was made with other settings, cannot be
            written, or is being written by another process.
        PrivacyError: If the key or the linkage would lie in ``out``, or an audit fails.
    """
    share = Share.parse(shard)
    _check_wishes(out, linkage, size, dates)
    found = find_tasks(sources, apart_from=out, stills=stills)
    tasks = found.tasks
    pseudonyms = Pseudonyms.from_file(key_file, outside=out)
    table = LabelTable.read(labels, tasks, label_columns) if labels else NO_LABELS
    tell_labels(table, labels, len(tasks), reporter)
    tasks = table.with_patients(tasks)
    settings = {
        "size": size,
        "assume_rate_hz": assume_rate_hz,
        "label_columns": sorted(label_columns),
        "normal": normal,
        "abnormal": abnormal,
        "stills": stills,
        "dates": dates,
        "keep_dicom": keep_dicom,
        "key": pseudonyms.fingerprint(),
    }
    rules = rules_of(found.datasets, normal, abnormal, label_columns)
    tell_found(found, labels, reporter)
    manner = _Manner(workers, limits, 0 if fail_fast else max_fail, stop, reporter)
    work = Settings(size, assume_rate_hz, pseudonyms, dates)
    mine = [task for task in tasks if share.takes(task.place)]
    try:
        with writing_to(out, share, overwrite=overwrite) as folder:
            keep_settings(folder, settings)
            run = Run(folder, share, pseudonyms, table, label_columns, rules, tasks)
            if keep_dicom:
                run.incoming = new_incoming(folder, share.name)
                work = replace(work, dicom_folder=run.incoming)
            stopped = _work(run, mine, work, manner)
            if stopped and folder != out:
                raise _StoppedBesideError
            ledger = _close(run, settings)
            tell_moved(run, reporter)
            tell_patients(run, ledger, reporter, in_place=in_place)
    except _StoppedBesideError:
        return replace(_result(out, Ledger.read(out), {}), stopped=True)
    if linkage:
        _link(linkage, run, mine, ledger)
    result = _result(out, ledger, rules)
    tell_rules(result.rules, reporter)
    unchanged = not run.published and not stopped
    return replace(result, moved=run.moved, unchanged=unchanged, stopped=stopped)


def _work(run: Run, tasks: Sequence[Task], work: Settings, manner: _Manner) -> bool:
    """Take the outcomes of the tasks; return whether somebody wished to stop before the end.

    Whatever stops the work but a mistake of ours or the guard, what is done gets published.
    """
    finished = False
    work = replace(work, done=run.ledger.done)
    workers = choose_workers(manner.workers, len(tasks))
    with (
        closing(outcomes(tasks, work, workers, manner.limits)) as found,
        manner.reporter.progress("preprocess", len(tasks)) as advance,
    ):
        try:
            for number, outcome in enumerate(found, start=1):
                run.take(outcome)
                advance(1)
                if _too_many(run, manner.most) or (number < len(tasks) and manner.stop()):
                    break
            else:
                finished = True
        except BaseException:
            run.discard()
            raise
    run.finish(finished=finished)
    if _too_many(run, manner.most):
        last = run.refusals[-1]
        raise EchoError(
            f"{len(run.refusals)} source(s) cannot be used, more than allowed; "
            f"the last is file {last.position}: {last.reason}, {last.explanation}.",
            f"{last.remedy} Or allow more with --max-fail.",
        )
    return not finished


def _too_many(run: Run, most: int | None) -> bool:
    return most is not None and len(run.refusals) > most


def _close(run: Run, settings: dict[str, Any]) -> Ledger:
    """Check what only the union of all parts can tell, and write the lists of the set.

    Raises:
        PrivacyError: If a label of any part names a patient of this run, whose parts are then
            taken back.
        EchoError: If a patient stands in two splits, or the finished set has no clip.
    """
    manifest = ClipSet.open(run.folder).manifest
    if "split" in manifest:
        check_patients_apart(manifest["patient_id"], manifest["split"])
    try:
        ledger = summarise(run.folder, settings, identifiers=run.identifiers, named=run.named)
    except PrivacyError:
        for name in run.published:
            withdraw(run.folder, name)
        raise
    if not ledger.clips and not unfinished(run.folder):
        entries = ledger.quarantined()
        reasons = ", ".join(f"{n} {reason}" for reason, n, _ in count_reasons(entries))
        raise EchoError(
            f"None of the {len(entries)} source(s) can be used: {reasons}.",
            "`echocli inspect` of the same files says of each why, and what mends it.",
        )
    return ledger


def _check_wishes(out: Path, linkage: Path | None, size: int, dates: str) -> None:
    if size < 16:
        raise UsageError(f"A size of {size} pixels is too small.", "Use --size 112, or more.")
    if dates not in DATES:
        raise UsageError(f"--dates {dates} is unknown.", "Use --dates drop or --dates shift.")
    if linkage and is_inside(linkage, out):
        raise PrivacyError(
            "The linkage file identifies patients and must not lie in the clip set.",
            "Name a place elsewhere with --linkage, one that is not shared.",
        )
    if linkage:
        check_place(linkage)


def _link(linkage: Path, run: Run, tasks: Iterable[Task], ledger: Ledger) -> None:
    """Write which source of this run became which clip."""
    reasons = {entry.position: entry.reason for entry in run.refusals}

    def rows() -> Iterable[tuple[str, str, str, str]]:
        for task in tasks:
            found = run.places.get(run.place_of(task))
            if found is not None:
                reason = reasons.get(task.position, "")
                clip_id = "" if reason else ledger.clips[found.source_id]
                yield str(task.path), found.source_id, clip_id, reason

    write_linkage(linkage, rows())


def _result(folder: Path, ledger: Ledger, rules: Mapping[str, NormalRule]) -> PreprocessResult:
    opened = ClipSet.open(folder)
    manifest = opened.manifest
    quarantined = ledger.quarantined()
    return PreprocessResult(
        clips=folder,
        n_sources=len(manifest) + len(quarantined),
        n_clips=len(manifest),
        n_patients=manifest["patient_id"].nunique(),
        n_without_time=int((manifest["time_source"] == "unknown").sum()),
        n_without_spacing=int(manifest["row_mm"].isna().sum()),
        quarantined=quarantined,
        unfinished=opened.unfinished(),
        rules=count_normal(rules, manifest),
    )
