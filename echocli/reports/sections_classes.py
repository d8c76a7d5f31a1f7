"""What came out: classes of a label column."""

from __future__ import annotations

from typing import Any

import numpy as np

from echocli.reports import figures
from echocli.reports.clip_words import units
from echocli.reports.csvs import csv_of
from echocli.reports.numbers import interval, interval_note, interval_rows, part
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
    table,
    together,
)
from echocli.reports.sections_anomaly import rows_download
from echocli.reports.study_reader import Results, head_of

TITLE = "Classes"


def classes_section(results: Results) -> Section:
    """Show how well classes are told apart, and whether probabilities mean what they say."""
    if results.classes is None:
        head = head_of(results, "classify")
        word = "predict" if head else "fit --label COLUMN"
        none = missing("There are no classes.", f"echocli classify {word}")
        fitted = _tables(head) if head.get("metrics") else EMPTY
        return Section("classify", TITLE, join([none, fitted]))
    rows, summary = results.classes.rows, results.classes.summary
    names = [str(name) for name in summary.get("classes", [])]
    told = paragraph(
        f"Classes of {summary.get('label')} ({', '.join(names)}) of {len(rows)} "
        f"{units(rows)} of {rows['patient_id'].nunique()} patients, by a probe on the "
        f"features. {_how_called(summary)}"
    )
    if not summary.get("metrics"):
        note = "No two classes are known of patients that the probe never saw: no figures."
        return Section("classify", TITLE, join([told, paragraph(note, "note")]))
    link = rows_download(rows, "classify.csv", "classes of every clip")
    every = Html(f'<p class="csv">Every clip: {link}</p>') if link else EMPTY
    return Section("classify", TITLE, join([told, _tables(summary), every]))


def _tables(summary: dict[str, Any]) -> Html:
    return join([gallery([_reliability(summary), _metrics(summary)]), _classes(summary)])


def _how_called(summary: dict[str, Any]) -> str:
    made = part(summary, "threshold")
    if summary.get("positive") is None:
        return "A clip is called what is most likely."
    if made.get("kind") == "even":
        return "More likely than not is called: there were too few validation patients."
    return (
        f"The threshold of {summary.get('label')} = {summary['positive']} was chosen on "
        f"{made.get('patients')} "
        f"validation patients ({made.get('kind')})."
    )


def _reliability(summary: dict[str, Any]) -> Html:
    bins = [b for b in part(summary, "reliability").get("curve", []) if b["rows"]]
    said, seen, clips = (
        np.array([b[name] for b in bins], np.float64) for name in ("said", "seen", "rows")
    )
    caption = (
        "On the thin line probabilities mean what they say. Larger marks stand for more test "
        "clips; small ones are mostly chance."
    )
    content = csv_of(["said", "so", "clips"], zip(said, seen, clips, strict=True))
    numbers = download("reliability.csv", content, "reliability")
    return figure(figures.reliability(said, seen, clips, "reliability"), caption, numbers)


def _metrics(summary: dict[str, Any]) -> Html:
    patients = dict(interval_rows(summary.get("patient_metrics")))
    rows = [
        (name, patients.get(name, "-"), value)
        for name, value in interval_rows(summary.get("metrics"))
    ]
    test, baseline = part(summary, "test"), part(summary, "predict_the_commonest")
    unit = "studies" if "studies" in test else "clips"
    caption = (
        f"Classes, test split: {test.get(unit)} {unit} of {test.get('patients')} patients. "
        f"Always saying {summary.get('label')} = {baseline.get('class')} would be right in "
        f"{interval(baseline.get('accuracy'))} of the {unit}."
    )
    return together(
        [
            table(["figure", "by patient", "by clip"], rows, caption),
            paragraph(interval_note(summary), "muted"),
        ]
    )


def _classes(summary: dict[str, Any]) -> Html:
    counts = part(part(summary, "test"), "clips_of")
    rows = [
        (
            f"{summary.get('label')} = {name}",
            counts.get(name, "-"),
            interval(own["auroc"]),
            interval(own["sensitivity"]),
        )
        for name, own in part(summary, "per_class").items()
    ]
    head = ["class", "test clips", "AUROC against the rest", "sensitivity"]
    return table(head, rows, f"Each class of {summary.get('label')}, test split")
