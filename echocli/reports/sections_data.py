"""The clips: what is known of them and their patients, and some of them as loops."""

from __future__ import annotations

import numpy as np
import pandas as pd

from echocli.reports import figures
from echocli.reports.clip_words import words_of
from echocli.reports.numbers import number, plain
from echocli.reports.page import (
    Html,
    Section,
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
NUMBERS = {
    "age_years": "age, years",
    "ef_percent": "EF, %",
    "edv_ml": "EDV, ml",
    "esv_ml": "ESV, ml",
    "frame_rate_hz": "frames a second",
    "row_mm": "mm a pixel",
}
WORDS = ("normal", "abnormality", "sex", "view", "scanner", "quality", "centre", "dataset")
"""Label columns with few values, whose counts are told."""
MOST_VALUES = 12
UNKNOWN = "unknown"
NO_SPLIT = "none of these"


def clips_section(results: Results) -> Section:
    """Describe the clips and show some."""
    if results.clips is None:
        none = missing("There are no clips to show.", "echocli preprocess")
        return Section("clips", "Clips", none)
    clips = results.clips
    body = [_description(clips.manifest), _histograms(clips.manifest), _by_part(clips.manifest)]
    loops = []
    for row in spread(len(clips), LOOPS):
        words = words_of(clips.manifest.iloc[row])
        picture = loop(clips.frames(row), clips.times_s(row), f"Ultrasound loop, {words}")
        loops.append(figure(picture, words))
    body += [
        subtitle(f"{len(loops)} of {len(clips)} clips, at their own speed"),
        gallery(loops, "loops"),
    ]
    return Section("clips", "Clips", join(body))


def spread(count: int, wanted: int) -> list[int]:
    """Return evenly spread rows."""
    rows = np.linspace(0, count - 1, min(count, wanted)).round().astype(int)
    return [int(row) for row in rows]


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
        caption = "Measured ejection fraction of the clips, by split."
        drawn.append(figure(picture, caption))
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
    parts[NO_SPLIT] = known.loc[~known["split"].isin(SPLITS), column]
    return {name: part.to_numpy(np.float64) for name, part in parts.items() if len(part)}


def _by_part(manifest: pd.DataFrame) -> Html:
    """Tell of every split what is known of its clips, and of how many nothing is."""
    parts = {"all": manifest}
    if "split" in manifest and manifest["split"].notna().any():
        parts |= {name: manifest[manifest["split"] == name] for name in SPLITS}
        parts = {name: rows for name, rows in parts.items() if len(rows)}
    rows: list[tuple[str, ...]] = [
        ("patients", *(str(rows["patient_id"].nunique()) for rows in parts.values())),
        ("clips", *(str(len(rows)) for rows in parts.values())),
    ]
    for column, name in NUMBERS.items():
        if column in manifest and manifest[column].notna().any():
            rows.append((name, *(_mean(rows[column]) for rows in parts.values())))
    for column in WORDS:
        if column in manifest and 0 < manifest[column].nunique() <= MOST_VALUES:
            rows += _shares(manifest, column, parts)
    caption = (
        "What is known of the clips, by split: means with standard deviations, or clips with "
        "their share of the split"
    )
    return table(["", *parts], rows, caption)


def _mean(values: pd.Series) -> str:
    known = values.dropna().astype(float)
    if not len(known):
        return "-"
    unknown = len(values) - len(known)
    spread_of = f" ({known.std():.1f})" if len(known) > 1 else ""
    return f"{known.mean():.1f}{spread_of}" + (f"; {unknown} unknown" if unknown else "")


def _shares(
    manifest: pd.DataFrame, column: str, parts: dict[str, pd.DataFrame]
) -> list[tuple[str, ...]]:
    found = manifest[column].map(_word)
    return [
        (
            f"{plain(column)}: {plain(value)}",
            *(
                f"{n} ({n / len(rows):.0%})"
                for rows in parts.values()
                for n in [int((found[rows.index] == value).sum())]
            ),
        )
        for value in sorted(found.unique(), key=lambda word: (word == UNKNOWN, word))
    ]


def _word(value: object) -> str:
    if value is None or value != value:
        return UNKNOWN
    return {"True": "yes", "False": "no"}.get(str(value), str(value))
