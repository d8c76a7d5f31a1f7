"""What came out: classes of a label column."""

from __future__ import annotations

from typing import Any

import numpy as np

from echocli.reports import figures
from echocli.reports.numbers import interval, interval_rows, part
from echocli.reports.page import (
    Html,
    Section,
    figure,
    gallery,
    join,
    paragraph,
    table,
    together,
)
from echocli.reports.sections_results import interval_note
from echocli.reports.study_reader import Results

TITLE = "Classes"


def classes_section(results: Results) -> Section:
    """Show how well classes are told apart, and whether probabilities mean what they say."""
    assert results.classes is not None, "asked for only where there are predictions"
    rows, summary = results.classes.rows, results.classes.summary
    names = [str(name) for name in summary.get("classes", [])]
    told = paragraph(
        f"Classes of {summary.get('label')} ({', '.join(names)}) of {len(rows)} clips of "
        f"{rows['patient_id'].nunique()} patients, by a probe on the features. "
        f"{_how_called(summary)}"
    )
    if not summary.get("metrics"):
        note = "No two classes are known of patients that the probe never saw: no figures."
        return Section("classify", TITLE, join([told, paragraph(note, "note")]))
    body = [told, gallery([_reliability(summary), _metrics(summary)]), _classes(summary)]
    return Section("classify", TITLE, join(body))


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
    return figure(figures.reliability(said, seen, clips, "reliability"), caption)


def _metrics(summary: dict[str, Any]) -> Html:
    patients = dict(interval_rows(summary.get("patient_metrics")))
    rows = [
        (name, patients.get(name, "-"), value)
        for name, value in interval_rows(summary.get("metrics"))
    ]
    test, baseline = part(summary, "test"), part(summary, "predict_the_commonest")
    caption = (
        f"Test split: {test.get('clips')} clips of {test.get('patients')} patients. Always "
        f"saying {summary.get('label')} = {baseline.get('class')} would be right in "
        f"{interval(baseline.get('accuracy'))} of the clips."
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
    return table(["class", "test clips", "AUROC against the rest", "sensitivity"], rows)
