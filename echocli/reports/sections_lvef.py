"""Ejection fraction: predicted beside measured, and beside the simplest guess."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from echocli.reports import figures
from echocli.reports.clip_words import key_of, rows_by_id, rows_by_study, units
from echocli.reports.numbers import interval, interval_note, number, part, plain
from echocli.reports.page import (
    EMPTY,
    Html,
    Section,
    figure,
    gallery,
    join,
    missing,
    paragraph,
    subtitle,
    table,
)
from echocli.reports.pictures import loop
from echocli.reports.sections_anomaly import rows_download
from echocli.reports.study_reader import Results, head_of

TITLE = "Ejection fraction"
WORST = 4
"""Clips that are shown because the prediction is far off."""
READERS = (
    "For scale: two experienced readers of the same loop differ by 7 to 14 points of ejection "
    "fraction."
)


def lvef_section(results: Results) -> Section:
    """Show predicted ejection fractions beside measured ones and the simplest baseline."""
    lvef, head = results.lvef, head_of(results, "lvef")
    if lvef is None:
        none = missing(
            "There are no predictions.", f"echocli lvef {'predict' if head else 'fit'}"
        )
        fitted = ef_figures(head, part(head, "metrics"), "probe") if head else EMPTY
        return Section("lvef", TITLE, join([none, fitted]))
    rows = lvef.rows
    of_masks = "masks" in lvef.summary
    how = "discs or area and length in masks, views of a study together where there are two"
    told = paragraph(
        f"Ejection fraction of {len(rows)} {units(rows)} of {rows['patient_id'].nunique()} "
        f"patients, by {how if of_masks else _how(head)}."
    )
    known = measured_rows(rows)
    if len(known) < 2:
        note = "Nothing was measured in patients that the head never saw: no figures."
        return Section("lvef", TITLE, join([told, paragraph(note, "note")]))
    measured = known["measured_ef_percent"].to_numpy(np.float64)
    predicted = known["ef_percent"].to_numpy(np.float64)
    mean = float(head.get("mean_ef_percent", measured.mean()))
    body = [
        told,
        gallery(
            [
                _scatter(rows, measured, predicted, mean),
                _agreement(measured, predicted),
            ]
        ),
        ef_figures(
            lvef.summary, part(lvef.summary, "metrics"), "masks" if of_masks else "probe"
        ),
        _coverage(lvef.summary),
        _worst(known, results),
    ]
    return Section("lvef", TITLE, join(body))


def _how(head: dict[str, Any]) -> str:
    probe = {"ridge": "a linear probe"}.get(
        str(head.get("probe")), f"{head.get('probe')} probe"
    )
    return f"{probe if head.get('probe') else 'a linear probe'} on the features of the encoder"


def measured_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of test patients in whom it was measured."""
    if "measured_ef_percent" not in rows:
        return rows[:0]
    known = rows[rows["measured_ef_percent"].notna()]
    return known[known["split"] == "test"] if "split" in known else known


def _scatter(
    rows: pd.DataFrame, measured: figures.Values, predicted: figures.Values, mean: float
) -> Html:
    caption = (
        "Test patients. On the thin line prediction and measurement are equal; the dashed "
        f"line is what predicting the mean would look like. {READERS}"
    )
    picture = figures.ef_scatter(measured, predicted, mean, "ef-scatter")
    return figure(picture, caption, rows_download(rows, "lvef.csv", "ejection fractions"))


def _agreement(measured: figures.Values, predicted: figures.Values) -> Html:
    difference = predicted - measured
    half, bias = 1.96 * float(difference.std(ddof=1)), float(difference.mean())
    picture = figures.bland_altman(
        measured, predicted, bias, (bias - half, bias + half), "bland-altman"
    )
    caption = (
        "Bland-Altman: 95 % of differences lie between the dashed lines if they are normally "
        "distributed. A slope means that high values are predicted too low and low ones too "
        "high."
    )
    return figure(picture, caption)


def ef_figures(summary: dict[str, Any], metrics: dict[str, Any], of: str) -> Html:
    """Return figures of an ejection fraction beside those of predicting the mean.

    Args:
        summary: With ``predict_the_mean``, ``auroc`` and ``test``.
        metrics: Error and agreement.
        of: What predicted.
    """
    baseline, test = part(summary, "predict_the_mean"), part(summary, "test")
    if not metrics:
        return EMPTY
    rows = [
        (plain(name), interval(value), interval(baseline.get(name)) if name in baseline else "")
        for name, value in metrics.items()
    ]
    unit = "studies" if "studies" in test else "clips"
    for name, value in part(summary, "auroc").items():
        counted = f"{value.get('positive')} of {test.get(unit)} {unit}"
        what = f"AUROC of EF {name.replace('_', ' ')} ({counted})"
        rows.append((what, interval(value), "0.500"))
    for cut, found in part(summary, "cuts").items():
        for name, value in found.items():
            counted = f"{value['rows']} {unit} of {value['patients']} patients"
            what = f"{plain(name)} at EF {cut.replace('_', ' ')} ({counted})"
            rows.append((what, interval(value), ""))
    agreed = part(summary, "ef_classes").get("kappa_quadratic")
    if agreed:
        what = "kappa of EF to 40, to 50, above (quadratic weights)"
        rows.append((what, interval(agreed), "0"))
    caption = (
        f"Ejection fraction by {of}, test split: {test.get(unit)} {unit} of "
        f"{test.get('patients')} patients, standard deviation of the measured EF "
        f"{number(test.get('sd_ef_percent'))}"
    )
    note = (
        f"{interval_note(summary)} A prediction is worth something where it beats the right "
        "column by more than the intervals."
    )
    head = ["figure", of, "predicting the mean"]
    return join([table(head, rows, caption), paragraph(note, "muted")])


def _coverage(summary: dict[str, Any]) -> Html:
    made, covered = part(summary, "interval"), summary.get("interval_coverage")
    if covered is None or not made.get("half_width"):
        return EMPTY
    whose = "validation patients"
    if made.get("from", "validation") != "validation":
        whose += ", and on training patients as they were told without themselves,"
    return paragraph(
        f"Each prediction comes with an interval of {2 * made['half_width']:.0f} points, set "
        f"on {made.get('patients', '?')} {whose} to hold the measurement in "
        f"{made.get('level', 0):.0%} of cases; in test patients it held {covered:.0%}."
    )


def _worst(known: pd.DataFrame, results: Results) -> Html:
    """Show the clips, or studies by their first one, whose prediction is furthest off."""
    clips, key = results.clips, key_of(known)
    if clips is None or key not in known:
        return EMPTY
    places = (rows_by_id if key == "clip_id" else rows_by_study)(clips)
    seen = known[known[key].astype(str).isin(list(places))]
    off = (seen["ef_percent"] - seen["measured_ef_percent"]).abs()
    drawn = []
    for index in off.sort_values(ascending=False, kind="stable").index[:WORST]:
        row = seen.loc[index]
        own = places[str(row[key])]
        told = (
            f"measured {row['measured_ef_percent']:.0f} %, predicted {row['ef_percent']:.0f} %"
        )
        picture = loop(clips.frames(own), clips.times_s(own), f"Ultrasound loop, {told}")
        drawn.append(figure(picture, told.capitalize()))
    if not drawn:
        return EMPTY
    return join([subtitle("Where it was furthest off"), gallery(drawn, "loops")])
