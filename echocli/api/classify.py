"""Classes from frozen features, of any label column: fit a probe, predict, evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echocli.api._audit import columns_to_divide_by, leakage_of
from echocli.api._classes import Classes, check_training, class_words
from echocli.api._classify_figures import Floats, fit_reading, subgroups
from echocli.api._classify_look import (
    TASK,
    check_test,
    figures_of,
    looking,
    owners_of,
    tell,
)
from echocli.api._classify_probes import FITS, Fitted, Lesson, fit_end_to_end
from echocli.api._classify_probes import ClassifyConfig as ClassifyConfig
from echocli.api._classify_rows import class_counts
from echocli.api._encode import open_set, rows_to_encode
from echocli.api._finetune import begin_with
from echocli.api._heads import HeadFit, describe, left_out_of, write_head
from echocli.api._output import refuse_to_replace
from echocli.api._splits import splits_of
from echocli.console import SILENT, Reporter
from echocli.files import atomic_path, sums_of, write_json
from echocli.statistics.bootstrap import DRAWS
from echocli.statistics.confounding import confounding

SCHEMA = "echocli.classify/1"


@dataclass(frozen=True)
class ClassPredictions:
    """Probabilities of clips, and the figures where their classes are known."""

    table: pd.DataFrame
    """clip_id, patient_id, p_<class> ..., predicted, label, split."""
    summary: dict[str, Any]
    """What ``classify.json`` holds."""
    out: Path | None
    left_out: list[dict[str, str]]
    """What got no result: clip_id (or source_id) and reason."""


@dataclass(frozen=True)
class ClassEvaluation:
    """Figures on labelled patients that the head never saw."""

    summary: dict[str, Any]
    left_out: list[dict[str, str]]
    """What got no result: clip_id (or source_id) and reason."""


def fit(
    clips: Path,
    model: Path | None,
    out: Path,
    *,
    config: ClassifyConfig | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> HeadFit:
    """Fit a probe on frozen features of the training patients, or train the encoder with it.

    Probabilities are mended, and the threshold of two classes is chosen, on validation
    patients only; figures are of test patients.

    Args:
        clips: Clip set with the label.
        model: Run or model folder; not needed by what starts from scratch.
        out: Folder of the head.
        config: Settings.
        overwrite: Replace the head that stands there.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        UsageError: If there is no such label or class.
        EchoError: If training patients are too few or of one class.
    """
    config = config or ClassifyConfig()
    refuse_to_replace(out, overwrite=overwrite)
    opened = open_set(clips, reporter)
    classes = Classes.choose(opened.manifest, config.label, config.classes, config.positive)
    known = np.flatnonzero(classes.codes(class_words(opened.manifest, config.label)) >= 0)
    labelled = opened.subset(known)
    loaded = begin_with(model, config.tune, labelled, out, config.seed)
    rows, left_out = rows_to_encode(labelled, loaded.data, reporter)
    chosen = labelled.subset(rows)
    table = chosen.manifest
    lesson = Lesson(
        model=loaded,
        clips=chosen,
        codes=classes.codes(class_words(table, config.label)),
        classes=len(classes.names),
        patients=owners_of(table),
        splits=splits_of(table),
        config=config,
        near=out.absolute().parent,
        device=device,
        precision=precision,
        reporter=reporter,
    )
    train = lesson.train
    check_training(lesson.codes[train], table["patient_id"][train], classes)
    leakage_of(chosen, lesson.splits, reporter, pixels=False)
    fitted = (FITS[config.probe] if config.tune is None else fit_end_to_end)(lesson)
    head_config = _describe(lesson, fitted, classes, out)
    head_config["unlabelled"] = len(opened) - len(known)
    test = lesson.splits == "test"
    head_config |= figures_of(
        head_config,
        fitted.logits[test],
        lesson.codes[test],
        lesson.patients[test],
        config.draws,
    )
    head_config = write_head(
        out, fitted.tensors, head_config, model=fitted.model, overwrite=overwrite
    )
    return HeadFit(out, head_config, left_out_of(labelled, left_out, clips, reporter))


def _describe(lesson: Lesson, fitted: Fitted, classes: Classes, out: Path) -> dict[str, Any]:
    """Return the head's config, with how its logits are read."""
    config, splits = lesson.config, lesson.splits
    described = describe(
        TASK,
        lesson.model,
        out,
        windows=config.windows,
        seed=config.seed,
        patients=lesson.patients,
        splits=splits,
    )
    return {
        **described,
        **classes.as_json(),
        "probe": config.probe,
        **fitted.settings,
        "class_weights": config.class_weights,
        **_read(lesson, fitted.logits, classes),
        "n": class_counts(splits, lesson.codes, lesson.patients, classes),
    }


def _read(lesson: Lesson, logits: Floats, classes: Classes) -> dict[str, Any]:
    """Fit on validation patients how logits are read, and tell where they are too few."""
    config, val = lesson.config, lesson.splits == "val"
    reading = fit_reading(
        logits[val],
        lesson.codes[val],
        lesson.patients[val],
        positive=classes.positive,
        kind=config.calibration,
        threshold=config.threshold,
        rate=config.false_positive_rate,
    )
    if reading.scaling.kind != config.calibration:
        lesson.reporter.warn(
            "the validation patients are not of every class: probabilities are as the probe "
            "says them, not calibrated"
        )
    unset = classes.positive is not None and None in (reading.clip, reading.patient)
    if unset:
        lesson.reporter.warn(
            "the validation patients are too few for a threshold: it is 0.5, chosen by nobody"
        )
    return {
        "calibration": reading.scaling.as_json(),
        "threshold": {
            "kind": "even" if unset else config.threshold,
            "false_positive_rate": config.false_positive_rate,
            "clip": reading.clip,
            "patient": reading.patient,
            "patients": len(set(lesson.patients[val].tolist())),
        },
    }


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
) -> ClassPredictions:
    """Tell the classes of clips and of their patients.

    Args:
        source: Clip set, or files and folders to be read in place.
        head: Folder written by ``fit``.
        out: CSV to write, with a JSON file beside it; nothing is written if left out.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        draws: Bootstrap samples of the figures, where classes are known.
        overwrite: Replace what stands at ``out``.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        EchoError: If head and encoder do not belong together or no clip can be read.
    """
    for path in [] if out is None else [out, out.with_suffix(".json")]:
        refuse_to_replace(path, overwrite=overwrite)
    place: dict[str, Any] = {"device": device, "precision": precision, "reporter": reporter}
    with looking(source, head, model, labels, **place) as seen:
        table, summary = tell(seen, head, draws)
    if out is not None:
        with atomic_path(out) as temporary:
            table.to_csv(temporary, index=False)
        sums = sums_of(out.parent, [out.name])
        write_json(out.with_suffix(".json"), {"schema": SCHEMA, "sha256": sums, **summary})
    return ClassPredictions(table, summary, out, seen.left_out)


def evaluate(
    source: Path | Sequence[Path],
    head: Path,
    *,
    by: Sequence[str] | None = None,
    model: Path | None = None,
    labels: Path | None = None,
    draws: int = DRAWS,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> ClassEvaluation:
    """Return the figures on patients that the head never saw, with subgroups and an audit.

    Args:
        source: Clip set with the label.
        head: Folder written by ``fit``.
        by: Columns whose parts are shown one by one; the usual ones if left out.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        draws: Bootstrap samples.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        UsageError: If the label or a column to divide by is unknown.
        EchoError: If no labelled clip is of such a patient, or all are of one class.
    """
    place: dict[str, Any] = {"device": device, "precision": precision, "reporter": reporter}
    with looking(source, head, model, labels, **place) as seen:
        table = seen.clips.manifest
        words = class_words(table, seen.classes.label)
        columns = columns_to_divide_by(table, by)
        _, summary = tell(seen, head, draws)
        rows = (seen.codes >= 0) & (seen.roles == "test")
        check_test(words[rows], len(table), seen.classes)
        labelled, how = seen.codes >= 0, {"seed": seen.config["seed"], "draws": draws}
        summary["subgroups"] = subgroups(
            table[rows].reset_index(drop=True),
            columns,
            seen.probabilities[rows],
            seen.codes[rows],
            seen.reading,
            seen.classes.positive,
            how,
        )
        summary["leakage"] = leakage_of(seen.clips, seen.roles, reporter)
        summary["confounding"] = confounding(table[labelled], seen.codes[labelled], **how)
    for finding in summary["confounding"]["findings"]:
        reporter.warn(finding)
    del summary["patients"]
    return ClassEvaluation(summary, seen.left_out)
