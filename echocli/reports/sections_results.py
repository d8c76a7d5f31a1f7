"""What came out: anomaly scores, ejection fractions, masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from echocli.reports import figures
from echocli.reports.numbers import interval, interval_rows, number, part, plain
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
    together,
)
from echocli.reports.pictures import loop, outlined, overlay
from echocli.reports.sections_data import spread
from echocli.reports.study_reader import Results, Table

OVERLAYS = 6
SHORT_NAMES = {"lv_cavity": "cavity", "lv_myocardium": "muscle", "left_atrium": "atrium"}
INTERVALS = (
    "In brackets: 95 % intervals from a bootstrap that draws patients ({draws} draws, seed "
    "{seed})."
)
FEW_PATIENTS = 30
FEW = (
    "So few test patients make an exercise: one patient more or less changes every figure, and "
    "intervals from a bootstrap are then too narrow."
)
READERS = (
    "For scale: two experienced readers of the same loop differ by 7 to 14 points of ejection "
    "fraction."
)


def anomaly_section(results: Results) -> Section:
    """Show anomaly scores and how well they tell abnormal from normal."""
    scores = results.scores
    if scores is None:
        body = missing("There are no anomaly scores.", "echocli score --anomaly")
        return Section("anomaly", "Anomaly scores", body)
    summary = scores.summary
    bank, calibration = summary.get("bank", {}), summary.get("calibration", {})
    parts = [
        paragraph(
            "The score is the mean cosine distance from a clip to its nearest "
            f"{summary.get('k', '')} normal clips of other patients: "
            f"{bank.get('clips', '?')} clips of {bank.get('patients', '?')} patients. "
            f"{calibration.get('patients', '?')} further normal patients set the threshold, so "
            f"that {_percent(summary.get('false_positive_rate'))} of normals are called. No "
            "abnormal clip took part in either."
        ),
        gallery(
            [
                figure(_score_figure(scores), _score_caption(summary.get("threshold"))),
                _score_table(summary),
            ]
        ),
    ]
    return Section("anomaly", "Anomaly scores", join(parts))


def _percent(share: float | None) -> str:
    return "an unknown share" if share is None else f"{share:.0%}"


def _score_figure(scores: Table) -> Html:
    rows = scores.rows
    if "role" in rows and (rows["role"] == "scored").any():
        rows = rows[rows["role"] == "scored"]
    values = rows["score"].to_numpy(np.float64)
    groups = {"all": values}
    if "normal" in rows and rows["normal"].notna().any():
        words = rows["normal"].astype(str).str.lower()
        groups = {
            label: values[(words == word).to_numpy()]
            for label, word in (("abnormal", "false"), ("normal", "true"))
        }
    return figures.score_distribution(groups, scores.summary.get("threshold"), "scores")


def _score_caption(threshold: float | None) -> str:
    caption = "Clips whose patients neither are compared with nor set the threshold."
    if threshold is None:
        caption += " There are too few normal patients for a threshold at the rate asked for."
    return caption


def _score_table(summary: dict[str, Any]) -> Html:
    patients = interval_rows(summary.get("patient_metrics"))
    clips = dict(interval_rows(summary.get("metrics")))
    test = part(summary, "test")
    if not patients:
        told = "There are no figures: they need labelled normal and abnormal test patients."
        return paragraph(told, "note")
    rows = [(name, value, clips.get(name, "-")) for name, value in patients]
    caption = (
        f"Test split: {test.get('clips')} clips of {test.get('patients')} patients, "
        f"{test.get('abnormal_clips')} clips abnormal."
    )
    return together(
        [
            table(["figure", "by patient", "by clip"], rows, caption),
            paragraph(interval_note(summary), "muted"),
        ]
    )


def interval_note(summary: dict[str, Any]) -> str:
    """Say how intervals were made, and what they are worth with so few patients."""
    made, patients = part(summary, "intervals"), part(summary, "test").get("patients") or 0
    note = INTERVALS.format(draws=made.get("draws", "?"), seed=made.get("seed", "?"))
    return f"{note} {FEW}" if patients < FEW_PATIENTS else note


def lvef_section(results: Results) -> Section:
    """Show predicted ejection fractions beside measured ones and the simplest baseline."""
    lvef = results.lvef
    title = "Ejection fraction"
    if lvef is None:
        command = "echocli lvef predict" if "lvef" in results.heads else "echocli lvef fit"
        return Section("lvef", title, missing("There are no predictions.", command))
    rows = lvef.rows
    told = paragraph(
        f"Ejection fraction of {len(rows)} clips of {rows['patient_id'].nunique()} patients, "
        "by a linear probe on the frozen features."
    )
    known = _measured(rows)
    if len(known) < 2:
        note = "Nothing was measured in patients that the probe never saw: no figures."
        return Section("lvef", title, join([told, paragraph(note, "note")]))
    measured = known["measured_ef_percent"].to_numpy(np.float64)
    predicted = known["ef_percent"].to_numpy(np.float64)
    metrics = part(lvef.summary, "metrics")
    difference = predicted - measured
    spread_of = 1.96 * float(difference.std(ddof=1))
    bias = float(difference.mean())
    mean = float(results.heads.get("lvef", {}).get("mean_ef_percent", measured.mean()))
    drawn = [
        figure(
            figures.ef_scatter(measured, predicted, mean, "ef-scatter"),
            "Test patients. On the thin line prediction and measurement are equal; the dashed "
            f"line is what predicting the mean would look like. {READERS}",
        ),
        figure(
            figures.bland_altman(
                measured, predicted, bias, (bias - spread_of, bias + spread_of), "bland-altman"
            ),
            "Bland-Altman: 95 % of differences lie between the dashed lines if they are "
            "normally distributed. A slope means that high values are predicted too low and "
            "low ones too high.",
        ),
    ]
    body = [told, gallery(drawn), _lvef_table(lvef.summary, metrics, "probe")]
    return Section("lvef", title, join(body))


def _measured(rows: pd.DataFrame) -> pd.DataFrame:
    if "measured_ef_percent" not in rows:
        return rows[:0]
    known = rows[rows["measured_ef_percent"].notna()]
    return known[known["split"] == "test"] if "split" in known else known


def _lvef_table(summary: dict[str, Any], metrics: dict[str, Any], of: str) -> Html:
    baseline, test = part(summary, "predict_the_mean"), part(summary, "test")
    rows = [
        (plain(name), interval(value), interval(baseline.get(name)) if name in baseline else "")
        for name, value in metrics.items()
    ]
    for name, value in part(summary, "auroc").items():
        what = f"AUROC of EF {name.replace('_', ' ')} ({value.get('positive')} clips)"
        rows.append((what, interval(value), "0.500"))
    caption = (
        f"Test split: {test.get('clips')} clips of {test.get('patients')} patients, standard "
        f"deviation of the measured EF {number(test.get('sd_ef_percent'))}."
    )
    return join(
        [
            table(["figure", of, "predicting the mean"], rows, caption),
            paragraph(
                f"{interval_note(summary)} A prediction is worth something where it beats the "
                "right column by more than the intervals.",
                "muted",
            ),
        ]
    )


def segment_section(results: Results) -> Section:
    """Show masks over the pictures, and what was measured from them."""
    title = "Segmentation"
    if results.volumes is None and not results.overlays:
        word = "predict" if "segment" in results.heads else "fit"
        none = missing("There are no masks.", f"echocli segment {word}")
        return Section("segment", title, none)
    body = [_overlays(results), _area_figure(results)]
    if results.volumes is not None:
        summary = results.volumes.summary
        body += [_dice_table(summary), _volume_table(results.volumes.rows)]
        from_masks = part(summary, "ef_from_masks")
        if from_masks.get("metrics"):
            title_of = subtitle("Ejection fraction from the masks")
            body += [title_of, _lvef_table(from_masks, part(from_masks, "metrics"), "masks")]
    return Section("segment", title, join(body))


def _dice_table(summary: dict[str, Any]) -> Html:
    metrics, test = part(summary, "metrics"), part(summary, "test")
    if not metrics.get("dice"):
        return paragraph("No test patient has masks to compare with: no figures.", "note")
    baseline = part(part(summary, "mean_map"), "dice")
    rows = [
        (
            plain(structure),
            interval(dice),
            interval(part(metrics, "jaccard").get(structure)),
            interval(baseline.get(structure)),
        )
        for structure, dice in metrics["dice"].items()
    ]
    caption = (
        f"Test split: {test.get('frames')} labelled frames of {test.get('patients')} patients. "
        "The mean map is where the structure lies on average: the same in every picture."
    )
    return join(
        [
            table(["structure", "Dice", "Jaccard", "Dice of the mean map"], rows, caption),
            paragraph(interval_note(summary), "muted"),
        ]
    )


def _overlays(results: Results) -> Html:
    clips, masks = results.clips, results.masks
    drawn = []
    if clips is not None and masks is not None and len(masks):
        rows = {name: row for row, name in enumerate(clips.manifest["clip_id"])}
        unseen = np.flatnonzero(masks.manifest["clip_id"].isin(unseen_clips(results)))
        candidates = unseen if len(unseen) else np.arange(len(masks))
        for place in spread(len(candidates), OVERLAYS):
            row = rows.get(masks.manifest["clip_id"].iloc[candidates[place]])
            labels = masks.frames(int(candidates[place]))
            if row is None or clips.frames(row).shape != labels.shape:
                continue
            picture = outlined(clips.frames(row), labels)
            drawn.append(figure(loop(picture, clips.times_s(row), "loop with outlines"), ""))
    if not drawn:
        drawn = [figure(overlay(path, "outlines"), "") for path in results.overlays[:OVERLAYS]]
    if not drawn:
        return EMPTY
    note = "Predicted outlines: amber cavity, blue muscle, pink atrium."
    if unseen_clips(results):
        note += " These patients took no part in fitting."
    return join([gallery(drawn, "overlays"), paragraph(note, "muted")])


def unseen_clips(results: Results) -> set[str]:
    """Return the clips of patients that the head for masks was not fitted on."""
    if results.volumes is None or "split" not in results.volumes.rows:
        return set()
    rows = results.volumes.rows
    return set(rows.loc[rows["split"] == "test", "clip_id"].astype(str))


def _area_figure(results: Results) -> Html:
    areas = results.areas
    if areas is None or not len(areas):
        return EMPTY
    unseen = [name for name in areas["clip_id"].unique() if name in unseen_clips(results)]
    first = areas[areas["clip_id"] == (unseen or areas["clip_id"].tolist())[0]]
    timed, sized = first["time_s"].notna().all(), first["mm2"].notna().all()
    x, y = ("time_s" if timed else "frame"), ("mm2" if sized else "pixels")
    table_of = first.pivot(index=x, columns="structure", values=y)
    if sized:
        table_of = table_of / 100
    curves = {
        short: table_of[name].to_numpy(np.float64)
        for name, short in SHORT_NAMES.items()
        if name in table_of
    }
    picture = figures.area_curve(
        table_of.index.to_numpy(np.float64),
        curves,
        "time (s)" if timed else "frame",
        "area (cm2)" if sized else "area (pixels)",
        "areas",
    )
    caption = (
        "Area of each structure over time in one clip. A cavity that jumps from frame to frame "
        "shows masks that do not hold together."
    )
    return gallery([figure(picture, caption)])


def _volume_table(volumes: pd.DataFrame) -> Html:
    rows = []
    for column, unit in (("ef_percent", "EF, %"), ("edv_ml", "EDV, ml"), ("esv_ml", "ESV, ml")):
        values = volumes[column].dropna()
        if len(values):
            low, middle, high = (number(float(v)) for v in values.quantile([0.25, 0.5, 0.75]))
            rows.append((unit, len(values), f"{middle} ({low} to {high})"))
    flags = volumes["flags"].fillna("").astype(str).str.split(";").explode()
    counted = flags[flags != ""].value_counts()
    marks = [(plain(str(flag)), n, "") for flag, n in counted.items()]
    return join(
        [
            subtitle("Volumes from the masks"),
            table(["", "clips", "median (quartiles)"], rows),
            paragraph(
                "Single-plane volumes from one view: a foreshortened view or a cut-off wall "
                "makes them wrong. What the masks gave reason to doubt:"
            ),
            table(["mark", "clips", ""], marks) if marks else paragraph("Nothing was marked."),
        ]
    )
