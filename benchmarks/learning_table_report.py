"""The tables of ``learning_table.py``: figures, differences to random weights, seeds apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from learning_figures import SEED, Judge, Values
from learning_report import written

from echocli.statistics.agreement import mae
from echocli.statistics.bootstrap import DRAWS, Interval, divide, patient_weights
from echocli.statistics.classification import auroc

ROWS = {
    "discovr": "DISCOVR",
    "vjepa": "V-JEPA",
    "vjepa-local": "V-JEPA + localisation",
    "videomae": "VideoMAE",
    "supervised": "supervised, from scratch",
    "pixels": "pixels",
    "random-cls": "random weights (DISCOVR's)",
    "random": "random weights (the others')",
}
SHARES = {"100": "100 %", "50": "50 %", "20": "20 %", "10": "10 %"}
TASKS: Mapping[str, tuple[str, int, Mapping[str, str]]] = {
    "EF error": (
        "EF error, points",
        2,
        {**{f"ef/{n}": name for n, name in SHARES.items()}, "attentive": "attentive, 100 %"},
    ),
    "Abnormal or normal": (
        "AUROC",
        3,
        {
            **{f"abnormal/{n}": name for n, name in SHARES.items()},
            "cosine": "nothing fitted, cosine",
            "mahalanobis": "Mahalanobis",
        },
    ),
    "Dice": ("Dice", 3, {f"dice/{n}": name for n, name in SHARES.items()}),
}
"""Title, first column's name, digits, and figures with their columns."""
APART = {"ef/100": 2, "abnormal/100": 3, "dice/100": 3, "mahalanobis": 3}
"""Figures whose seeds are shown one by one."""


Drawings = Mapping[tuple[str, str], Mapping[int, Values]]
"""By row, figure and seed: a figure of all patients, then of every draw of them."""


def read_cells(folder: Path) -> dict[str, dict[int, dict[str, Values]]]:
    """Return what was said, by row, seed and figure."""
    found: dict[str, dict[int, dict[str, Values]]] = {}
    for file in sorted(folder.glob("*.json")):
        row, _, rest = file.stem.partition("-seed")
        said = json.loads(file.read_text())["said"]
        own = found.setdefault(row, {}).setdefault(int(rest.partition("-")[0]), {})
        own |= {name: np.array(values, np.float64) for name, values in said.items()}
    return found


def drawn(judge: Judge, figure: str, said: Values) -> Values:
    """Return a figure of all patients, then of every draw of them."""
    task = figure.partition("/")[0]
    manifest = judge.judges.manifest
    measured = manifest["ef_percent"].to_numpy(np.float64)
    abnormal = ~manifest["normal"].to_numpy(bool)
    blocks = [np.ones((1, len(manifest)))]
    blocks += patient_weights(manifest["patient_id"].to_numpy(), seed=SEED)
    weights = np.concatenate(blocks)
    if task in ("ef", "attentive"):
        return mae(measured, said, weights)
    if task == "dice":
        known = np.isfinite(said)
        return divide(weights @ np.where(known, said, 0.0), weights @ known.astype(np.float64))
    return auroc(abnormal, said, weights)


def over_seeds(values: Sequence[Values]) -> Interval:
    """Return the mean over seeds; its interval draws patients and seeds.

    Every draw takes as many seeds as there are, with replacement, of the patients that it drew.
    Three seeds say little of how far a fourth would lie: the interval is rather too narrow.
    """
    stacked = np.stack(values)
    picks = np.random.default_rng(SEED).integers(len(stacked), size=(len(stacked), DRAWS))
    means = np.take_along_axis(stacked[:, 1:], picks, axis=0).mean(axis=0)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(stacked[:, 0].mean()), float(low), float(high))


def base_of(row: str) -> str:
    """Return the random weights that a row is compared with."""
    return "random-cls" if row == "discovr" else "random"


def tables(cells: Path, judge: Judge) -> str:
    """Return all tables as Markdown."""
    said = read_cells(cells)
    figures = {name for _, _, columns in TASKS.values() for name in columns}
    values = {
        (row, figure): {
            seed: drawn(judge, figure, own[figure])
            for seed, own in said.get(row, {}).items()
            if figure in own
        }
        for row in ROWS
        for figure in figures
    }
    parts = []
    for title, (name, digits, columns) in TASKS.items():
        parts += [f"**{title}**", "", *figure_lines(values, name, digits, columns), ""]
        parts += [*difference_lines(values, digits, columns), ""]
    return "\n".join([*parts, "**Seeds one by one**", "", *seed_lines(values)])


def figure_lines(
    values: Drawings, name: str, digits: int, columns: Mapping[str, str]
) -> list[str]:
    """Return one line a row: figures with intervals, and how many seeds they are of."""
    lines = [f"| {name} | seeds | " + " | ".join(columns.values()) + " |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    for row, title in ROWS.items():
        of_row = [values[row, figure] for figure in columns]
        counts = sorted({len(one) for one in of_row if one})
        if counts:
            cells = [
                written(over_seeds([*one.values()]), digits) if one else "-" for one in of_row
            ]
            seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
            lines.append(f"| {title} | {seeds} | " + " | ".join(cells) + " |")
    return lines


def difference_lines(values: Drawings, digits: int, columns: Mapping[str, str]) -> list[str]:
    """Return one line a row: how much larger than of random weights of the same seed."""
    lines = ["| less random weights | " + " | ".join(columns.values()) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for row, title in ROWS.items():
        if row.startswith("random"):
            continue
        cells = []
        for figure in columns:
            ours, base = values[row, figure], values[base_of(row), figure]
            pairs = [ours[seed] - base[seed] for seed in ours if seed in base]
            cells.append(written(over_seeds(pairs), digits, "+") if pairs else "-")
        if set(cells) != {"-"}:
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def seed_lines(values: Drawings) -> list[str]:
    """Return one line a row: some figures of every seed."""
    names = {
        figure: f"{title}, {columns[figure]}"
        for title, (_, _, columns) in TASKS.items()
        for figure in columns
        if figure in APART
    }
    lines = ["| all labels | " + " | ".join(names.values()) + " |"]
    lines.append("|---" * (len(names) + 1) + "|")
    for row, title in ROWS.items():
        cells = [
            ", ".join(f"{v[0]:.{APART[figure]}f}" for v in values[row, figure].values()) or "-"
            for figure in names
        ]
        if set(cells) != {"-"}:
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines
