"""The figures of each task on some clips, row by row, so that two conditions can be paired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api import classify, lvef
from echocli.api._classes import Classes, class_words
from echocli.api._classify.figures import PREFIX
from echocli.api._classify.look import check_test
from echocli.api._heads import roles_by_head
from echocli.api._normal import normality
from echocli.api._segment.figures import Tested
from echocli.api._segment.load import open_head
from echocli.api._segment.rows import drawable
from echocli.api._splits import splits_of
from echocli.api.embed import embed
from echocli.api.score import ScoreConfig, score
from echocli.checkpoint import load_head
from echocli.clips.store import ClipSet
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError
from echocli.statistics.bootstrap import Metric, weighted_mean
from echocli.statistics.classification import auroc
from echocli.statistics.multiclass import class_metrics
from echocli.statistics.overlap import REGIONS

LOWER_IS_BETTER = ("mae", "false_alarms")
"""Figures that grow where a model does worse; all others fall."""
HEADS = ("lvef", "segment", "classify")
TASKS = (*HEADS, "score")

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """What was measured on clips under one condition."""

    rows: list[str]
    """What each row is: a clip, or a frame of one; alike under all conditions."""
    patients: NDArray[np.str_]
    metrics: dict[str, Metric]
    left_out: list[dict[str, str]] = field(default_factory=list)
    """What got no result."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A fitted head, or an encoder with its normals, and where to compute."""

    task: str
    head: Path | None
    model: Path | None
    place: dict[str, Any]
    """Device and precision."""
    normal_rule: str | None = None
    bank: Path | None = None
    """Embeddings of clips without a fault, which ``score`` compares with."""

    def rows(self, clips: ClipSet) -> list[int]:
        """Return the clips of labelled patients that took no part in fitting.

        Raises:
            EchoError: If there are none.
        """
        table = clips.manifest
        if self.head is None:
            known = normality(table, self.normal_rule).known
            unseen = splits_of(table) == "test"
        else:
            _, config = load_head(self.head, self.task)
            unseen = roles_by_head(table["patient_id"], config["patients"]) == "test"
            known = _labelled(clips, self.task, config)
            # All clips of a study count for a head that looks at several views.
            known = table["patient_id"].isin(table["patient_id"][known]).to_numpy()
        rows: list[int] = np.flatnonzero(known & unseen).tolist()
        if not rows:
            raise EchoError(
                f"None of the {len(clips)} clip(s) is of a patient that is labelled for "
                f"{self.task} and took no part in fitting.",
                "Give clips of other patients, made with `echocli preprocess --labels "
                "labels.csv`.",
            )
        return rows

    def __call__(self, clips: Path) -> Judged:
        """Judge all clips of a set."""
        return JUDGES[self.task](self, clips)


def make_bank(judge: Judge, clips: Path, out: Path, reporter: Reporter) -> None:
    """Embed all clips as they are, for ``score`` to find its normals among them."""
    embed(clips, model=judge.model, out=out, reporter=reporter, **judge.place)


def _labelled(clips: ClipSet, task: str, config: dict[str, Any]) -> Flags:
    table = clips.manifest
    if task == "segment":
        return np.array([bool(clips.mask_frames(row)) for row in range(len(clips))])
    if task == "lvef":
        known = table.get("ef_percent", pd.Series(np.nan, table.index)).notna()
        return known.to_numpy(dtype=np.bool_)
    classes = Classes.from_config(config)
    return np.asarray(classes.codes(class_words(table, classes.label)) >= 0)


def _judge_lvef(judge: Judge, clips: Path) -> Judged:
    assert judge.head is not None
    found = lvef.predict(clips, judge.head, model=judge.model, draws=1, **judge.place)
    table = found.table[found.table["measured_ef_percent"].notna()]
    error = (table["ef_percent"] - table["measured_ef_percent"]).abs().to_numpy(np.float64)
    metrics: dict[str, Metric] = {"mae": lambda w: weighted_mean(error, w)}
    return Judged(*_names(table), metrics, found.left_out)


def _judge_classes(judge: Judge, clips: Path) -> Judged:
    assert judge.head is not None
    found = classify.predict(clips, judge.head, model=judge.model, draws=1, **judge.place)
    classes = Classes.from_config(load_head(judge.head, "classify")[1])
    table = found.table[found.table["label"].isin(classes.names)]
    check_test(table["label"].to_numpy(), len(found.table), classes)
    probabilities = table[[f"{PREFIX}{name}" for name in classes.names]].to_numpy(np.float64)
    truth, called = (
        classes.codes(table[column].to_numpy()) for column in ("label", "predicted")
    )
    metrics = class_metrics(truth, probabilities, called, classes.positive)
    told = {name: metrics[name] for name in ("auroc", "balanced_accuracy")}
    return Judged(*_names(table), told, found.left_out)


def _names(table: pd.DataFrame) -> tuple[list[str], NDArray[np.str_]]:
    """Return what each row is, and whose: a clip, or a study of a head that sees all views."""
    key = "clip_id" if "clip_id" in table else "study_id"
    return table[key].tolist(), table["patient_id"].to_numpy(dtype=np.str_)


def _judge_masks(judge: Judge, clips: Path) -> Judged:
    assert judge.head is not None
    labeller, _ = open_head(
        judge.head, judge.model, judge.place["device"], judge.place["precision"], SILENT
    )
    opened = ClipSet.open(clips)
    rows, left_out = drawable(opened, labeller.network, clips, SILENT)
    frames: list[Tested] = []
    for row in rows:
        maps = labeller.labels(opened, row, opened.mask_frames(row))
        frames += labeller.compare(opened, row, maps)
    table = opened.manifest.iloc[[one.row for one in frames]]
    names = table["clip_id"].astype(str).tolist()
    return Judged(
        [f"{name}/{one.frame}" for name, one in zip(names, frames, strict=True)],
        table["patient_id"].to_numpy(dtype=np.str_),
        {
            f"dice {region}": _mean_dice(frames, region)
            for region in REGIONS
            if any(np.isfinite(one.regions[region]["dice"]) for one in frames)
        },
        left_out,
    )


def _mean_dice(frames: list[Tested], region: str) -> Metric:
    """Return the mean over the frames that show a region, as a function of weights."""
    dice = np.array([one.regions[region]["dice"] for one in frames])
    known = np.isfinite(dice)
    return lambda w: weighted_mean(np.where(known, dice, 0.0), w * known)


def _judge_scores(judge: Judge, clips: Path) -> Judged:
    table_file = clips.with_suffix(".parquet")
    found = embed(clips, model=judge.model, out=table_file, **judge.place)
    scored = score(
        table_file,
        normals=judge.bank,
        normal_rule=judge.normal_rule,
        config=ScoreConfig(draws=1),
    )
    table = scored.table
    abnormal = ~table["normal"].to_numpy(bool)
    if abnormal.all() or not abnormal.any():
        raise EchoError(
            f"All {len(table)} labelled test clip(s) are {'ab' * bool(abnormal[0])}normal: "
            "nothing can be told apart.",
            "Give clips of both kinds.",
        )
    scores, called = table["score"].to_numpy(np.float64), table["anomalous"].to_numpy(bool)
    metrics: dict[str, Metric] = {"auroc": lambda w: auroc(abnormal, scores, w)}
    if scored.summary["threshold"] is not None:
        metrics["false_alarms"] = lambda w: weighted_mean(called, w * ~abnormal)
    return Judged(
        *_names(table),
        metrics,
        [{"clip_id": name, "reason": reason} for name, reason in found.left_out],
    )


JUDGES: dict[str, Callable[[Judge, Path], Judged]] = {
    "lvef": _judge_lvef,
    "segment": _judge_masks,
    "classify": _judge_classes,
    "score": _judge_scores,
}
