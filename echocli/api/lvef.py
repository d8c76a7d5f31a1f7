"""Ejection fraction from frozen features: fit a probe, predict, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._audit import columns_to_divide_by, leakage_of
from echocli.api._encode import open_set
from echocli.api._finetune import TuneConfig as TuneConfig
from echocli.api._finetune import begin_with
from echocli.api._finetune import scratch_fit as scratch_fit
from echocli.api._finetune import tuning_fit as tuning_fit
from echocli.api._heads import HeadFit, left_out_of, load_pair, write_head
from echocli.api._lesson import begin_lesson, describe_lesson
from echocli.api._look_against import check_comparable
from echocli.api._lvef.against import figures_against
from echocli.api._lvef.figures import subgroups
from echocli.api._lvef.look import TASK, check_test, figures_of, looking, tell
from echocli.api._lvef.masks import measure_studies
from echocli.api._lvef.masks_told import SEED as MASKS_SEED
from echocli.api._lvef.masks_told import (
    doubts_of,
    rows_of_studies,
    tell_of_masks,
    tested_studies,
    with_measured,
)
from echocli.api._lvef.probes import LvefConfig as LvefConfig
from echocli.api._lvef.probes import fit_probe
from echocli.api._lvef.rows import (
    LABEL,
    known_ef,
    labelled_clips,
    measured_of,
    prediction_interval,
)
from echocli.api._output import refuse_to_replace_folder, refuse_to_replace_table, write_table
from echocli.api._relabelled import LABELS, labels_sha256
from echocli.clips.store import ClipSet
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError
from echocli.statistics.bootstrap import DRAWS
from echocli.study import Study

SCHEMA = "echocli.lvef/1"


@dataclass(frozen=True)
class LvefPredictions:
    """Ejection fractions of clips, or of studies, with intervals."""

    table: pd.DataFrame
    """clip_id (of studies: study_id, views, clips), patient_id, ef_percent, lower, upper,
    measured_ef_percent, split."""
    summary: dict[str, Any]
    """What ``lvef.json`` holds."""
    out: Path | None
    left_out: list[dict[str, str]]
    """What got no result: clip_id (or source_id) and reason."""


def fit(
    clips: Path,
    model: Path | None,
    out: Path,
    *,
    config: LvefConfig | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> HeadFit:
    """Fit a probe on frozen features of the training patients, or train the encoder with it.

    Args:
        clips: Clip set with the label ``ef_percent``.
        model: Run or model folder; not needed by what starts from scratch.
        out: Folder of the head.
        config: Settings.
        overwrite: Replace the head that stands there.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        EchoError: If labels are missing or impossible, or there are too few patients.
    """
    config = config or LvefConfig()
    refuse_to_replace_folder(out, overwrite=overwrite)
    opened = open_set(clips, reporter)
    labelled = labelled_clips(opened, clips, studies=bool(config.views))
    loaded = begin_with(model, config.tune, labelled, out, config.seed, reporter)
    lesson, left_out = begin_lesson(
        loaded,
        labelled,
        config,
        lambda chosen, units: measured_of(chosen, units, reporter),
        near=out.absolute().parent,
        device=device,
        precision=precision,
        reporter=reporter,
    )
    measured, splits, train = lesson.labels, lesson.splits, lesson.train
    if len(set(lesson.patients[train])) < 2:
        raise EchoError(
            f"{len(set(lesson.patients[train]))} labelled patient(s) are in the training "
            "split; at least two are needed.",
            "Label more patients and run `echocli preprocess` again.",
        )
    fitted = fit_probe(lesson)
    assert fitted.out_of_fold is not None
    interval = prediction_interval(
        measured, fitted.said, fitted.out_of_fold, lesson.patients, splits, config.level
    )
    head_config = {
        **describe_lesson(TASK, lesson, out),
        **fitted.settings,
        "mean_ef_percent": float(measured[train].mean()),
        "interval": interval,
        "n": lesson.counts(),
    }
    head_config[LABELS] = labels_sha256(opened.manifest, head_config)
    said = lesson.units.ids.assign(ef_percent=fitted.said, measured_ef_percent=measured)
    head_config |= figures_of(head_config, said[splits == "test"], config.draws)
    head_config = write_head(
        out, fitted.tensors, head_config, model=fitted.model, overwrite=overwrite
    )
    return HeadFit(out, head_config, left_out_of(labelled, left_out, clips, reporter))


def predict(
    source: Path | Sequence[Path],
    head: Path,
    out: Path | None = None,
    *,
    model: Path | None = None,
    labels: Path | None = None,
    draws: int = DRAWS,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> LvefPredictions:
    """Predict the ejection fraction of clips.

    Args:
        source: Clip set, or files and folders to be read in place.
        head: Folder written by ``fit``.
        out: CSV to write, with a JSON file beside it; nothing is written if left out.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        draws: Bootstrap samples of the figures, where measured values are known.
        overwrite: Replace what stands at ``out``.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        EchoError: If head and encoder do not belong together or no clip can be read.
    """
    refuse_to_replace_table(out, overwrite=overwrite)
    place: dict[str, Any] = {"device": device, "precision": precision, "reporter": reporter}
    with looking(source, head, model, labels, **place) as seen:
        summary = tell(seen, head, draws)
    if out is not None:
        write_table(out, seen.table, {"schema": SCHEMA, **summary}, overwrite=overwrite)
    return LvefPredictions(seen.table, summary, out, seen.look.left_out)


def evaluate(
    source: Path | Sequence[Path],
    head: Path,
    *,
    by: Sequence[str] | None = None,
    against: Path | None = None,
    model: Path | None = None,
    labels: Path | None = None,
    draws: int = DRAWS,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> LvefPredictions:
    """Return the figures on patients that the head never saw, with subgroups and an audit.

    Args:
        source: Clip set with the label ``ef_percent``.
        head: Folder written by ``fit``.
        by: Columns whose parts are shown one by one; the usual ones if left out.
        against: Another head, to be compared with on the same clips.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        draws: Bootstrap samples.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        UsageError: If a column to divide by is unknown.
        EchoError: If no labelled clip is of a patient that the head never saw, or, with
            ``against``, that neither has.
    """
    theirs = None if against is None else load_pair(against, TASK, None, Study())[2]

    def check(clips: ClipSet, roles: NDArray[np.str_], config: Mapping[str, Any]) -> None:
        columns_to_divide_by(clips.manifest, by)
        if against is not None and theirs is not None:
            check_comparable(clips, roles, config, theirs, against)
        check_test(int((known_ef(clips) & (roles == "test")).sum()), len(clips))

    place: dict[str, Any] = {"device": device, "precision": precision, "reporter": reporter}
    with looking(source, head, model, labels, check=check, **place) as seen:
        tested, look = seen.tested, seen.look
        check_test(int(tested.sum()), len(look.clips))
        columns = columns_to_divide_by(look.units.table, by)
        summary = tell(seen, head, draws)
        summary["subgroups"] = subgroups(
            look.units.table[tested].reset_index(drop=True),
            columns,
            seen.table["measured_ef_percent"].to_numpy(np.float64)[tested],
            seen.table["ef_percent"].to_numpy(np.float64)[tested],
            seed=look.config["seed"],
            draws=draws,
        )
        summary["leakage"] = leakage_of(look.clips, look.roles_of_clips, reporter)
        if against is not None:
            summary["against"] = figures_against(seen, against, draws, **place)
    return LvefPredictions(seen.table, summary, None, look.left_out)


def from_masks(
    masks: Path,
    out: Path | None = None,
    *,
    clips: Path | None = None,
    draws: int = DRAWS,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> LvefPredictions:
    """Measure the ejection fraction of studies in masks, by two planes where both are there.

    Args:
        masks: Folder that ``segment`` wrote, or a clip set whose clips have masks.
        out: CSV to write, with a JSON file beside it; nothing is written if left out.
        clips: Clip set that tells views, studies and measured values; if left out, ``masks``,
            or that of the study where ``segment`` wrote them.
        draws: Bootstrap samples of the figures, where measured values are known.
        overwrite: Replace what stands at ``out``.
        reporter: Is told what matters.

    Raises:
        EchoError: If no clip has masks, no mask a cavity, or a measured value is impossible.
    """
    refuse_to_replace_table(out, overwrite=overwrite)
    found = _measure(*_open_masks(masks, clips, reporter), masks, draws, reporter)
    if out is not None:
        write_table(out, found.table, {"schema": SCHEMA, **found.summary}, overwrite=overwrite)
    return replace(found, out=out)


def evaluate_masks(
    masks: Path,
    *,
    clips: Path | None = None,
    by: Sequence[str] | None = None,
    draws: int = DRAWS,
    reporter: Reporter = SILENT,
) -> LvefPredictions:
    """Return how ejection fractions from masks meet measured ones, with subgroups.

    Patients of whom the head that drew the masks has seen masks do not count; where readers
    drew them, all do.

    Args:
        masks: Folder that ``segment`` wrote, or a clip set whose clips have masks.
        clips: As ``from_masks`` takes it.
        by: Columns whose parts are shown one by one; the usual ones if left out.
        draws: Bootstrap samples.
        reporter: Is told what matters.

    Raises:
        UsageError: If a column to divide by is unknown.
        EchoError: As ``from_masks``, and if no such study is labelled.
    """
    known, maps = _open_masks(masks, clips, reporter)
    columns_to_divide_by(known.manifest, by)  # refused before the work, not after it
    found = _measure(known, maps, masks, draws, reporter)
    tested = tested_studies(found.table)
    if not tested.any():
        raise EchoError(
            f"None of the {len(found.table)} study(ies) is labelled with {LABEL} and of a "
            "patient that the head which drew the masks has not seen.",
            "Name the clip set with the labels: `echocli lvef evaluate CLIPS --from-masks "
            "FOLDER`.",
        )
    studies = rows_of_studies(known, found.table)[tested].reset_index(drop=True)
    parts = subgroups(
        studies,
        columns_to_divide_by(studies, by),
        found.table["measured_ef_percent"].to_numpy(np.float64)[tested],
        found.table["ef_percent"].to_numpy(np.float64)[tested],
        seed=MASKS_SEED,
        draws=draws,
    )
    return replace(found, summary={**found.summary, "subgroups": parts})


def _open_masks(masks: Path, clips: Path | None, reporter: Reporter) -> tuple[ClipSet, ClipSet]:
    """Return the clips that masks are of, and the masks."""
    maps = open_set(masks, reporter)
    if clips is None and maps.kind == "masks" and ClipSet.is_one(Study().clips):
        clips = Study().clips
    return maps if clips is None else open_set(clips, reporter), maps


def _measure(
    known: ClipSet, maps: ClipSet, masks: Path, draws: int, reporter: Reporter
) -> LvefPredictions:
    """Return what masks say of studies."""
    table, left_out = measure_studies(known, maps, reporter)
    table = with_measured(table, known, maps, reporter)
    summary = tell_of_masks(table, left_out, masks, draws)
    for sentence in doubts_of(table):
        reporter.warn(sentence)
    return LvefPredictions(table, summary, None, left_out)
