"""Masks: the outlines over the loops, and what was measured from them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from echocli.reports import figures
from echocli.reports.clip_words import rows_by_id
from echocli.reports.csvs import csv_of
from echocli.reports.numbers import number, part, plain
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
)
from echocli.reports.pictures import loop, outlined, overlay
from echocli.reports.sections_anomaly import rows_download
from echocli.reports.sections_data import spread
from echocli.reports.sections_lvef import ef_figures
from echocli.reports.segment_tables import overlap_tables
from echocli.reports.study_reader import Results, head_of

TITLE = "Segmentation"
OVERLAYS = 6
SHORT_NAMES = {"lv_cavity": "cavity", "lv_myocardium": "muscle", "left_atrium": "atrium"}
OUTLINES = "Predicted outlines: amber cavity, blue muscle, pink atrium."


def segment_section(results: Results) -> Section:
    """Show masks over the pictures, and what was measured from them."""
    head = head_of(results, "segment")
    if results.volumes is None and not results.overlays:
        none = missing("There are no masks.", f"echocli segment {'predict' if head else 'fit'}")
        fitted = overlap_tables(head) if head else EMPTY
        return Section("segment", TITLE, join([none, fitted]))
    body = [_overlays(results), _area_figure(results)]
    if results.volumes is not None:
        summary = results.volumes.summary
        body += [overlap_tables(summary), _volumes(results.volumes.rows)]
        from_masks = part(summary, "ef_from_masks")
        if from_masks.get("metrics"):
            title_of = subtitle("Ejection fraction from the masks")
            body += [title_of, ef_figures(from_masks, part(from_masks, "metrics"), "masks")]
    return Section("segment", TITLE, join(body))


def _overlays(results: Results) -> Html:
    clips, masks = results.clips, results.masks
    unseen, drawn = unseen_clips(results), []
    if clips is not None and masks is not None and len(masks):
        rows = rows_by_id(clips)
        tested = np.flatnonzero(masks.manifest["clip_id"].isin(unseen))
        candidates = tested if len(tested) else np.arange(len(masks))
        for place in spread(len(candidates), OVERLAYS):
            name = str(masks.manifest["clip_id"].iloc[candidates[place]])
            row, labels = rows.get(name), masks.frames(int(candidates[place]))
            if row is None or clips.frames(row).shape != labels.shape:
                continue
            words = _words(results, name)
            picture = outlined(clips.frames(row), labels)
            shown = loop(picture, clips.times_s(row), f"Loop with outlines, {words}")
            drawn.append(figure(shown, words))
    if not drawn:
        drawn = [
            figure(overlay(path, "Loop with outlines"), "At end-diastole and end-systole")
            for path in results.overlays[:OVERLAYS]
        ]
    if not drawn:
        return EMPTY
    note = f"{OUTLINES} These patients took no part in fitting." if unseen else OUTLINES
    return join([gallery(drawn, "overlays"), paragraph(note, "muted")])


def _words(results: Results, name: str) -> str:
    """Say what the masks of a clip gave, and what gave reason to doubt them."""
    if results.volumes is None:
        return "outlines"
    rows = results.volumes.rows
    found = rows[rows["clip_id"].astype(str) == name]
    if not len(found):
        return "outlines"
    row = found.iloc[0]
    told = [f"EF {number(row['ef_percent'], 0)} % from the masks"]
    if row.get("measured_ef_percent") == row.get("measured_ef_percent") is not None:
        told.append(f"{row['measured_ef_percent']:.0f} % measured")
    marks = row.get("flags")
    flags = [] if not isinstance(marks, str) else marks.split(";")
    return "; ".join([", ".join(told), *(plain(flag) for flag in flags if flag)])


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
    content = csv_of([str(name) for name in first], first.itertuples(index=False))
    return gallery([figure(picture, caption, download("areas.csv", content, "these areas"))])


def _volumes(volumes: pd.DataFrame) -> Html:
    rows = []
    for column, unit in (
        ("ef_percent", "EF, %"),
        ("edv_ml", "EDV, ml"),
        ("esv_ml", "ESV, ml"),
        ("flicker", "flicker"),
    ):
        if column in volumes and volumes[column].notna().any():
            known = volumes[column].dropna()
            low, middle, high = (number(float(v)) for v in known.quantile([0.25, 0.5, 0.75]))
            rows.append((unit, len(known), f"{middle} ({low} to {high})"))
    flags = volumes["flags"].fillna("").astype(str).str.split(";").explode()
    counted = flags[flags != ""].value_counts()
    marks = [(plain(str(flag)), n) for flag, n in counted.items()]
    link = rows_download(volumes, "volumes.csv", "volumes of every clip")
    all_of = Html(f'<p class="csv">Every clip: {link}</p>') if link else EMPTY
    caption = "What the masks gave, all clips"
    return join(
        [
            subtitle("Volumes from the masks"),
            table(["", "clips", "median (quartiles)"], rows, caption),
            all_of,
            paragraph(
                "Single-plane volumes from one view: a foreshortened view or a cut-off wall "
                "makes them wrong."
            ),
            table(["mark", "clips"], marks, "What gave reason to doubt a clip's masks")
            if marks
            else paragraph("Nothing was marked."),
        ]
    )
