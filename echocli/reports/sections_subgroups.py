"""Whom the figures fit: the same figures by sex, age, scanner, frame rate and view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.reports.clip_words import key_of
from echocli.reports.numbers import interval, plain
from echocli.reports.page import EMPTY, Html, Section, join, paragraph, table
from echocli.reports.sections_anomaly import judged
from echocli.reports.sections_lvef import measured_rows
from echocli.reports.study_reader import Results
from echocli.statistics.bootstrap import bootstrap_intervals, weighted_mean
from echocli.statistics.classification import auroc
from echocli.statistics.subgroups import SMALL, subgroup_figures, usual_columns

TITLE = "Subgroups"
MORE = ("view", "dataset", "centre")
DRAWS = 1000
SEED = 0
Flags = NDArray[np.bool_]
NOTE = (
    f"A group of fewer than {SMALL} patients is marked few: its figures say little. Those of "
    "whom nothing is known are a group of their own. In brackets: 95 % intervals from a "
    f"bootstrap that draws patients ({DRAWS} draws, seed {SEED})."
)


def subgroups_section(results: Results) -> Section:
    """Show figures of the test patients by group."""
    tables = [_lvef(results), _classes(results), _anomaly(results)]
    shown = [one for one in tables if one]
    if not shown:
        told = "No figures by group: they need labelled test patients and a clip set."
        return Section("subgroups", TITLE, paragraph(told, "muted"))
    return Section("subgroups", TITLE, join([*shown, paragraph(NOTE, "muted")]))


def _lvef(results: Results) -> Html:
    if results.lvef is None:
        return EMPTY
    rows = _with_labels(measured_rows(results.lvef.rows), results)
    if len(rows) < 2:
        return EMPTY
    off = (rows["ef_percent"] - rows["measured_ef_percent"]).to_numpy(np.float64)

    def of(chosen: Flags, patients: NDArray[np.str_]) -> dict[str, Any]:
        return _boot({"error": np.abs(off[chosen]), "bias": off[chosen]}, patients)

    names = {"error": "error, points", "bias": "bias, points"}
    return _table(rows, of, names, "Ejection fraction by group")


def _classes(results: Results) -> Html:
    if results.classes is None or not {"label", "split"} <= set(results.classes.rows):
        return EMPTY
    rows = results.classes.rows
    rows = _with_labels(rows[(rows["split"] == "test") & rows["label"].notna()], results)
    if len(rows) < 2:
        return EMPTY
    told = rows["predicted"].astype(str) == rows["label"].astype(str)
    right = told.to_numpy().astype(np.float64)

    def of(chosen: Flags, patients: NDArray[np.str_]) -> dict[str, Any]:
        return _boot({"right": right[chosen]}, patients)

    label = results.classes.summary.get("label")
    return _table(rows, of, {"right": "called rightly"}, f"Classes of {label} by group")


def _anomaly(results: Results) -> Html:
    scores = results.scores
    if scores is None or not {"clip_id", "normal", "split"} <= set(scores.rows):
        return EMPTY
    rows = judged(scores)
    rows = _with_labels(rows[(rows["split"] == "test") & rows["normal"].notna()], results)
    if len(rows) < 2:
        return EMPTY
    ill = (rows["normal"].astype(str).str.lower() == "false").to_numpy()
    score = rows["score"].to_numpy(np.float64)

    def of(chosen: Flags, patients: NDArray[np.str_]) -> dict[str, Any] | None:
        sick, values = ill[chosen], score[chosen]
        if sick.all() or not sick.any():
            return None
        found = bootstrap_intervals(
            {"auroc": lambda w: auroc(sick, values, w)}, patients, seed=SEED, draws=DRAWS
        )
        return {"auroc": found["auroc"].as_json()}

    return _table(rows, of, {"auroc": "AUROC"}, "Anomaly scores by group")


def _with_labels(rows: pd.DataFrame, results: Results) -> pd.DataFrame:
    """Return rows with the columns of the clip set that groups are made by."""
    key = key_of(rows)
    if results.clips is None or key not in rows:
        return rows[:0]
    manifest = results.clips.manifest.drop_duplicates(key)
    more = [name for name in MORE if name in manifest and manifest[name].nunique() > 1]
    wanted = [*usual_columns(manifest), *more]
    labels = manifest[[key, *wanted]]
    own = rows.drop(columns=[name for name in wanted if name in rows])
    return own.merge(labels, on=key, how="inner").reset_index(drop=True)


def _boot(values: dict[str, NDArray[np.float64]], patients: NDArray[np.str_]) -> dict[str, Any]:
    metrics = {name: (lambda w, own=own: weighted_mean(own, w)) for name, own in values.items()}
    found = bootstrap_intervals(metrics, patients, seed=SEED, draws=DRAWS)
    return {name: one.as_json() for name, one in found.items()}


def _table(
    rows: pd.DataFrame,
    figures: Callable[[Flags, NDArray[np.str_]], dict[str, Any] | None],
    names: dict[str, str],
    caption: str,
) -> Html:
    owners = rows["patient_id"].astype(str).to_numpy(dtype=np.str_)
    columns = [*usual_columns(rows), *(name for name in MORE if name in rows)]
    found = subgroup_figures(rows, columns, lambda chosen: figures(chosen, owners[chosen]))
    lines = [
        (
            f"{plain(column)}: {plain(part['name'])}",
            part["clips"],
            f"{part['patients']}{' (few)' if part['small'] else ''}",
            *(interval((part["metrics"] or {}).get(name)) for name in names),
        )
        for column, parts in found.items()
        for part in parts
    ]
    if not lines:
        return EMPTY
    return table(["group", "clips", "patients", *names.values()], lines, caption)
