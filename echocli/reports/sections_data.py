"""What came in: sources, clips, labels, and the clips themselves as loops."""

from __future__ import annotations

import numpy as np
import pandas as pd

from echocli.clips.store import ClipSet
from echocli.reports import figures
from echocli.reports.numbers import number, plain
from echocli.reports.page import (
    EMPTY,
    Html,
    Section,
    bars,
    details,
    facts,
    figure,
    gallery,
    join,
    missing,
    paragraph,
    subtitle,
    table,
)
from echocli.reports.pictures import loop
from echocli.reports.study_reader import Results

LOOPS = 8
"""Clips that are shown; each is about 50 kB."""
SPLITS = ("train", "val", "test")
WORDS = ("view", "sex", "scanner", "quality", "dataset", "abnormality")
"""Label columns with few values, whose counts are told."""
MOST_VALUES = 12


def sources_section(results: Results) -> Section:
    """Tell how many sources became clips, and why the others did not."""
    title = "From files to clips"
    if results.clips is None:
        return Section("sources", title, missing("There are no clips.", "echocli preprocess"))
    refusals = results.refusals
    refused = refusals.count if refusals else 0
    total = len(results.clips) + refused
    rows = [("became clips", len(results.clips), "de-identified, masked, cropped")]
    rows += refusals.reasons if refusals else []
    hint = "Which file was left out stands in clips/quarantine.csv, by a keyed hash."
    parts = [
        paragraph(
            f"{total} sources were read; {len(results.clips)} became clips of "
            f"{results.clips.manifest['patient_id'].nunique()} patients, {refused} were left "
            "out, each with its reason:"
        ),
        bars(rows, total),
        paragraph(hint, "muted"),
        _audit(results),
    ]
    return Section("sources", title, join(parts))


def _audit(results: Results) -> Html:
    if not results.audit:
        return EMPTY
    checks = [
        (
            check.get("check"),
            check.get("looked_at"),
            "passed" if check.get("passed") else "FAILED",
        )
        for check in results.audit.get("checks", [])
    ]
    return join(
        [
            subtitle("De-identification"),
            paragraph(
                "Names, numbers and dates were replaced by keyed hashes and every pixel "
                "outside the ultrasound sector was made black. The clip set was then opened "
                "again and checked:"
            ),
            table(["check", "looked at", "result"], checks),
            paragraph(
                "No automatic check finds everything that can be burned into a picture. Look "
                "at the clips below before you share them.",
                "note",
            ),
        ]
    )


def clips_section(results: Results) -> Section:
    """Describe the clips and show some."""
    if results.clips is None:
        none = missing("There are no clips to show.", "echocli preprocess")
        return Section("clips", "Clips", none)
    clips = results.clips
    body = [_description(clips.manifest), _histograms(clips.manifest), _counts(clips.manifest)]
    chosen = spread(len(clips), LOOPS)
    loops = []
    for row in chosen:
        picture = loop(clips.frames(row), clips.times_s(row), "echo loop")
        loops.append(figure(picture, _loop_caption(clips, row)))
    body += [
        subtitle(f"{len(loops)} of {len(clips)} clips, at their own speed"),
        gallery(loops, "loops"),
    ]
    return Section("clips", "Clips", join(body))


def spread(count: int, wanted: int) -> list[int]:
    """Return evenly spread rows."""
    rows = np.linspace(0, count - 1, min(count, wanted)).round().astype(int)
    return [int(row) for row in rows]


def _loop_caption(clips: ClipSet, row: int) -> str:
    entry = clips.manifest.iloc[row]
    told = [str(entry["view"])] if isinstance(entry.get("view"), str) else []
    if pd.notna(entry.get("ef_percent")):
        told.append(f"EF {entry['ef_percent']:.0f} %")
    if pd.notna(entry.get("normal")):
        told.append("normal" if bool(entry["normal"]) else "abnormal")
    return ", ".join(told) or f"{int(entry['frames'])} frames"


def _description(manifest: pd.DataFrame) -> Html:
    rows: list[tuple[str, object]] = [
        ("clips", len(manifest)),
        ("patients", manifest["patient_id"].nunique()),
        ("frames a clip", _range(manifest["frames"])),
        ("frames a second", _range(manifest["frame_rate_hz"].dropna())),
        ("time told by", _sources(manifest["time_source"])),
        ("mm a pixel", _range(manifest["row_mm"].dropna())),
        ("scale told by", _sources(manifest["spacing_source"])),
    ]
    if "ef_percent" in manifest and manifest["ef_percent"].notna().any():
        known = manifest["ef_percent"].dropna()
        rows.append(("EF, %", f"{known.mean():.1f} (SD {known.std():.1f})"))
        rows.append(("clips with known EF", len(known)))
    rows.append(("clips with masks", int(manifest["mask_frames"].notna().sum())))
    return join(
        [facts(rows), paragraph("Medians, with the smallest and the largest.", "muted")]
    )


def _range(values: pd.Series) -> str:
    if not len(values):
        return "unknown"
    low, middle, high = (number(float(v)) for v in values.quantile([0, 0.5, 1]))
    return middle if low == high else f"{middle} ({low} to {high})"


def _sources(column: pd.Series) -> str:
    counts = column.fillna("unknown").value_counts()
    return ", ".join(f"{plain(str(name))} {n}" for name, n in counts.items())


def _histograms(manifest: pd.DataFrame) -> Html:
    drawn = []
    if "ef_percent" in manifest and manifest["ef_percent"].notna().any():
        groups = _by_split(manifest, "ef_percent")
        picture = figures.histogram(groups, "ejection fraction (%)", "ef-histogram")
        drawn.append(figure(picture, "Measured ejection fraction of the clips, by split."))
    if manifest["frame_rate_hz"].notna().any():
        groups = _by_split(manifest, "frame_rate_hz")
        picture = figures.histogram(groups, "frames a second", "frame-rate-histogram")
        caption = "Frame rates. Windows are cut by seconds, so that slow and fast loops match."
        drawn.append(figure(picture, caption))
    return gallery(drawn)


def _by_split(manifest: pd.DataFrame, column: str) -> dict[str, figures.Values]:
    if "split" not in manifest:
        return {"all": manifest[column].dropna().to_numpy(np.float64)}
    known = manifest.dropna(subset=column)
    parts = {name: known.loc[known["split"] == name, column] for name in SPLITS}
    return {name: part.to_numpy(np.float64) for name, part in parts.items() if len(part)}


def _counts(manifest: pd.DataFrame) -> Html:
    rows: list[tuple[str, str]] = []
    if "split" in manifest:
        patients = manifest.groupby("split")["patient_id"].nunique()
        told = [f"{name} {patients[name]}" for name in SPLITS if name in patients]
        rows.append(("patients by split", ", ".join(told)))
    if "normal" in manifest and manifest["normal"].notna().any():
        normal = manifest["normal"].dropna().astype(bool)
        rows.append(("normal", f"{int(normal.sum())} yes, {int((~normal).sum())} no"))
    for column in WORDS:
        if column in manifest and 0 < manifest[column].nunique() <= MOST_VALUES:
            counts = manifest[column].value_counts()
            told = [f"{plain(str(value))} {n}" for value, n in counts.items()]
            rows.append((plain(column), ", ".join(told)))
    return details("Counts of the labels", table(["label", "clips"], rows)) if rows else EMPTY
