"""Classes from frozen features, of any label column: fit a probe, predict, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._audit import columns_to_divide_by, leakage_of
from echocli.api._classes import Classes, check_training, class_words
from echocli.api._classify.against import check_classes, figures_against
from echocli.api._classify.figures import Codes, Floats, fit_reading, subgroups
from echocli.api._classify.look import TASK, check_test, figures_of, looking, tell
from echocli.api._classify.probes import ClassifyConfig as ClassifyConfig
from echocli.api._classify.probes import fit_probe
from echocli.api._classify.rows import class_counts
from echocli.api._encode import open_set
from echocli.api._finetune import TuneConfig as TuneConfig
from echocli.api._finetune import begin_with
from echocli.api._finetune import scratch_fit as scratch_fit
from echocli.api._finetune import tuning_fit as tuning_fit
from echocli.api._heads import HeadFit, left_out_of, load_pair, write_head
from echocli.api._lesson import Lesson, begin_lesson, describe_lesson
from echocli.api._look_against import check_comparable
from echocli.api._output import refuse_to_replace_folder, refuse_to_replace_table, write_table
from echocli.api._relabelled import LABELS, labels_sha256
from echocli.api._units import Units
from echocli.clips.store import ClipSet
from echocli.console import SILENT, Reporter
from echocli.errors import UsageError
from echocli.statistics.bootstrap import DRAWS
from echocli.statistics.confounding import confounding
from echocli.study import Study

SCHEMA = "echocli.classify/1"


@dataclass(frozen=True)
class ClassPredictions:
    """Probabilities of clips, and the figures where their classes are known."""

    table: pd.DataFrame
    """clip_id (of studies: study_id, views, clips), patient_id, p_<class> ..., predicted,
    label, split."""
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
    refuse_to_replace_folder(out, overwrite=overwrite)
    opened = open_set(clips, reporter)
    classes = Classes.choose(
        opened.manifest,
        config.label,
        config.classes,
        config.positive,
        ordered=config.ordered,
    )
    if classes.positive is None and config.threshold != ClassifyConfig.threshold:
        raise UsageError(
            f"--threshold is between two classes; {config.label} has {len(classes.names)}.",
            "Leave it out: of several the likeliest is called.",
        )
    known = np.flatnonzero(classes.codes(class_words(opened.manifest, config.label)) >= 0)
    labelled = opened.subset(known)
    loaded = begin_with(model, config.tune, labelled, out, config.seed, reporter)

    def codes_of(chosen: ClipSet, units: Units) -> Codes:
        return classes.codes(units.one_of(class_words(chosen.manifest, config.label)))

    lesson, left_out = begin_lesson(
        loaded,
        labelled,
        config,
        codes_of,
        near=out.absolute().parent,
        device=device,
        precision=precision,
        reporter=reporter,
    )
    owners = lesson.units.patients
    check_training(lesson.labels[lesson.train], pd.Series(owners[lesson.train]), classes)
    fitted = fit_probe(lesson, len(classes.names), config.class_weights)
    head_config = {
        **describe_lesson(TASK, lesson, out),
        **classes.as_json(),
        **fitted.settings,
        "class_weights": config.class_weights,
        **_read(lesson, config, fitted.said, classes),
        "n": {
            split: {**counts, **lesson.counts()[split]}
            for split, counts in class_counts(
                lesson.splits, lesson.labels, owners, classes
            ).items()
        },
        "unlabelled": len(opened) - len(known),
    }
    head_config[LABELS] = labels_sha256(opened.manifest, head_config)
    test = lesson.splits == "test"
    head_config |= figures_of(
        head_config, fitted.said[test], lesson.labels[test], owners[test], config.draws
    )
    head_config = write_head(
        out, fitted.tensors, head_config, model=fitted.model, overwrite=overwrite
    )
    return HeadFit(out, head_config, left_out_of(labelled, left_out, clips, reporter))


def _read(
    lesson: Lesson, config: ClassifyConfig, logits: Floats, classes: Classes
) -> dict[str, Any]:
    """Fit on validation patients how logits are read, and tell where they are too few."""
    val, owners = lesson.splits == "val", lesson.units.patients
    reading = fit_reading(
        logits[val],
        lesson.labels[val],
        owners[val],
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
    if val.any() and reading.tells_nothing(logits[val]):
        lesson.reporter.warn(
            "on validation patients the probe tells the classes apart no better than chance: "
            "every probability is about the same, and calls mean nothing"
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
            "patients": len(set(owners[val].tolist())),
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
    refuse_to_replace_table(out, overwrite=overwrite)
    place: dict[str, Any] = {"device": device, "precision": precision, "reporter": reporter}
    with looking(source, head, model, labels, **place) as seen:
        table, summary = tell(seen, head, draws)
    if out is not None:
        write_table(out, table, {"schema": SCHEMA, **summary}, overwrite=overwrite)
    return ClassPredictions(table, summary, out, seen.look.left_out)


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
) -> ClassEvaluation:
    """Return the figures on patients that the head never saw, with subgroups and an audit.

    Args:
        source: Clip set with the label.
        head: Folder written by ``fit``.
        by: Columns whose parts are shown one by one; the usual ones if left out.
        against: Another head of the same classes, to be compared with on the same clips.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        draws: Bootstrap samples.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        UsageError: If the label or a column to divide by is unknown.
        EchoError: If no labelled clip is of such a patient, or all are of one class; with
            ``against``, if the heads share no such patient or tell other classes.
    """
    theirs = None if against is None else load_pair(against, TASK, None, Study())[2]

    def check(clips: ClipSet, roles: NDArray[np.str_], config: Mapping[str, Any]) -> None:
        columns_to_divide_by(clips.manifest, by)
        if against is not None and theirs is not None:
            check_classes(config, theirs, against)
            check_comparable(clips, roles, config, theirs, against)
        classes = Classes.from_config(config)
        words = class_words(clips.manifest, classes.label)
        check_test(words[(classes.codes(words) >= 0) & (roles == "test")], len(clips), classes)

    place: dict[str, Any] = {"device": device, "precision": precision, "reporter": reporter}
    with looking(source, head, model, labels, check=check, **place) as seen:
        look, rows = seen.look, seen.tested
        table = look.units.table
        columns = columns_to_divide_by(table, by)
        _, summary = tell(seen, head, draws)
        check_test(seen.words[rows], len(look.clips), seen.classes)
        labelled, how = seen.codes >= 0, {"seed": look.config["seed"], "draws": draws}
        summary["subgroups"] = subgroups(
            table[rows].reset_index(drop=True),
            columns,
            seen.probabilities[rows],
            seen.codes[rows],
            seen.reading,
            seen.classes,
            how,
        )
        summary["leakage"] = leakage_of(look.clips, look.roles_of_clips, reporter)
        summary["confounding"] = confounding(table[labelled], seen.codes[labelled], **how)
        if against is not None:
            summary["against"] = figures_against(seen, against, draws, **place)
    for finding in summary["confounding"]["findings"]:
        reporter.warn(finding)
    del summary["patients"]
    return ClassEvaluation(summary, seen.look.left_out)
