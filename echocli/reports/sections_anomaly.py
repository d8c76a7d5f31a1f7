"""Anomaly scores: how they lie, who stands at their ends, and how well they tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from echocli.clips.store import ClipSet
from echocli.reports import figures
from echocli.reports.clip_words import rows_by_id, words_of
from echocli.reports.csvs import csv_of
from echocli.reports.numbers import interval_note, interval_rows, number, part
from echocli.reports.page import (
    EMPTY,
    Html,
    Section,
    download,
    figure,
    gallery,
    join,
    missing,
    paragraph,
    subtitle,
    table,
    together,
)
from echocli.reports.pictures import loop, strip
from echocli.reports.study_reader import Results, Table

TITLE = "Anomaly scores"
EXEMPLARS = 4
"""Clips that are shown from each end."""
NEIGHBOURS = 3
MOST_ROWS = 5_000
"""Rows that a CSV inside the page holds; the whole table stands in the study."""


def anomaly_section(results: Results) -> Section:
    """Show anomaly scores and how well they tell abnormal from normal."""
    scores = results.scores
    if scores is None:
        body = missing("There are no anomaly scores.", "echocli score --anomaly")
        return Section("anomaly", TITLE, body)
    summary = scores.summary
    bank, calibration = part(summary, "bank"), part(summary, "calibration")
    rate = summary.get("false_positive_rate")
    numbers = rows_download(scores.rows, "scores.csv", "anomaly scores")
    parts = [
        paragraph(
            f"{_what(summary)}: "
            f"{bank.get('clips', '?')} clips of {bank.get('patients', '?')} patients. "
            f"{calibration.get('patients', '?')} further normal patients set the threshold, so "
            f"that {'an unknown share' if rate is None else f'{rate:.0%}'} of normals are "
            "called. No abnormal clip took part in either."
        ),
        gallery(
            [
                figure(_distribution(scores), _caption(summary.get("threshold")), numbers),
                _figures(summary),
            ]
        ),
        _exemplars(judged(scores), results),
    ]
    return Section("anomaly", TITLE, join(parts))


def _what(summary: dict[str, Any]) -> str:
    """Return what a score is, up to those whom it compares with."""
    kind = summary.get("distance", "cosine")
    if kind == "mahalanobis":
        return "The score is the Mahalanobis distance from a clip to the mean of normal clips"
    return (
        f"The score is the mean {kind} distance from a clip to its nearest "
        f"{summary.get('k', '')} normal clips of other patients"
    )


def judged(scores: Table) -> pd.DataFrame:
    """Return the rows that took no part in what they are compared with, else all."""
    rows = scores.rows
    if "role" in rows and (rows["role"] == "scored").any():
        return rows[rows["role"] == "scored"]
    return rows


def rows_download(rows: pd.DataFrame, name: str, what: str) -> Html:
    """Return a link to rows, without the patients' ids; nothing if there are too many.

    Args:
        rows: Any table of predictions.
        name: Of the file.
        what: What the rows are.
    """
    if len(rows) > MOST_ROWS:
        return EMPTY
    shown = rows.drop(columns="patient_id", errors="ignore")
    content = csv_of([str(column) for column in shown], shown.itertuples(index=False))
    return download(name, content, what)


def _distribution(scores: Table) -> Html:
    rows = judged(scores)
    values = rows["score"].to_numpy(np.float64)
    groups = {"all": values}
    if "normal" in rows and rows["normal"].notna().any():
        words = rows["normal"].astype(str).str.lower()
        groups = {
            label: values[(words == word).to_numpy()]
            for label, word in (("abnormal", "false"), ("normal", "true"))
        }
    return figures.score_distribution(groups, scores.summary.get("threshold"), "scores")


def _caption(threshold: float | None) -> str:
    caption = "Clips whose patients neither are compared with nor set the threshold."
    if threshold is None:
        caption += " There are too few normal patients for a threshold at the rate asked for."
    return caption


def _figures(summary: dict[str, Any]) -> Html:
    patients = interval_rows(summary.get("patient_metrics"))
    clips = dict(interval_rows(summary.get("metrics")))
    test = part(summary, "test")
    if not patients:
        told = "There are no figures: they need labelled normal and abnormal test patients."
        return paragraph(told, "note")
    rows = [(name, value, clips.get(name, "-")) for name, value in patients]
    caption = (
        f"Anomaly scores, test split: {test.get('clips')} clips of {test.get('patients')} "
        f"patients, {test.get('abnormal_clips')} clips abnormal"
    )
    note = paragraph(interval_note(summary), "muted")
    return together([table(["figure", "by patient", "by clip"], rows, caption), note])


def _exemplars(rows: pd.DataFrame, results: Results) -> Html:
    """Show clips with the highest and the lowest scores, each over its nearest normals."""
    clips, places = results.clips, rows_by_id(results.clips)
    if clips is None or "clip_id" not in rows or not places:
        return EMPTY
    known = rows[rows["clip_id"].isin(list(places))]
    ordered = known.sort_values(["score", "clip_id"], ascending=[False, True])
    count = min(EXEMPLARS, len(ordered) // 2)
    parts = []
    for told, chosen in (
        ("Highest scores: least like the normal clips", ordered.head(count)),
        ("Lowest scores: most like them", ordered.tail(count).iloc[::-1]),
    ):
        if len(chosen):
            shown = [_exemplar(row, clips, places) for _, row in chosen.iterrows()]
            parts += [subtitle(told), gallery(shown, "exemplars")]
    if not parts:
        return EMPTY
    note = "Below each clip stand its nearest normal clips, the nearest first."
    return join([*parts, paragraph(note, "muted")])


def _exemplar(row: pd.Series, clips: ClipSet, places: dict[str, int]) -> Html:
    own = places[str(row["clip_id"])]
    words = words_of(clips.manifest.iloc[own])
    picture = loop(clips.frames(own), clips.times_s(own), f"Ultrasound loop, {words}")
    names = str(row.get("nearest", "")).split(";")
    near = [places[name] for name in names if name in places][:NEIGHBOURS]
    if near:
        stills = [clips.frames(one)[len(clips.frames(one)) // 2] for one in near]
        told = "; ".join(words_of(clips.manifest.iloc[one]) for one in near)
        picture = Html(picture + strip(stills, f"Nearest normal clips: {told}"))
    chance = f", p {number(row['p_value'], 2)}" if "p_value" in row else ""
    return figure(picture, f"Score {number(float(row['score']))}{chance}. {words}.")
