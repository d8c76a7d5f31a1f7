"""Tables and curves of the learning benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
from learning_figures import Judge, Outcome, compare
from matplotlib import pyplot as plt

from echocli.statistics.bootstrap import Interval

COLUMNS = {
    "ridge": "EF error, ridge",
    "attentive": "EF error, attentive",
    "anomaly": "AUROC, abnormal",
    "whitened": "AUROC, whitened",
    "dice": "Dice",
}
DIGITS = {"ridge": 2, "attentive": 2, "anomaly": 3, "whitened": 3, "dice": 3}
NAMES = {"discovr": "DISCOVR", "vjepa": "V-JEPA", "videomae": "VideoMAE", "pixels": "pixels"}


def written(interval: Interval, digits: int, sign: str = "") -> str:
    """Return a figure with its interval."""
    if not np.isfinite(interval.value):
        return "-"
    value, low, high = (
        format(number, f"{sign}.{digits}f")
        for number in (interval.value, interval.low, interval.high)
    )
    return f"{value} ({low} to {high})"


def title_of(run: str) -> str:
    """Return what a run is called in print."""
    method, _, rest = run.partition("-")
    name = NAMES.get(method, method)
    return f"random weights ({name}'s)" if rest == "random" else f"{name} {rest}".strip()


def table(runs: Path, judge: Judge) -> str:
    """Return figures and paired differences to random weights as Markdown."""
    head = "| frozen features | " + " | ".join(COLUMNS.values()) + " | rank |"
    lines, differences = [head, "|---" * (len(COLUMNS) + 2) + "|"], []
    differences.append("| less random weights | " + " | ".join(COLUMNS.values()) + " |")
    differences.append("|---" * (len(COLUMNS) + 1) + "|")
    entries = [("pixels", runs / f"pixels.{judge.split}.npz")]
    folders = sorted(path for path in runs.iterdir() if path.is_dir())
    for folder in sorted(folders, key=lambda path: not path.name.endswith("-random")):
        files = sorted(folder.glob(f"*.{judge.split}.npz"))
        if files:
            entries.append((folder.name, files[-1]))
    for name, file in entries:
        outcome = Outcome.read(file)
        start = runs / f"{name.partition('-')[0]}-random" / f"000000.{judge.split}.npz"
        base = Outcome.read(start) if start.exists() else None
        found = compare(judge, [outcome], [] if base is None else [base])
        cells = [written(found.figures[c], DIGITS[c]) for c in COLUMNS]
        lines.append(f"| {title_of(name)} | " + " | ".join(cells) + f" | {outcome.rank:.1f} |")
        if base is not None and not name.endswith("-random"):
            cells = [written(found.differences[c], DIGITS[c], "+") for c in COLUMNS]
            differences.append(f"| {title_of(name)} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *differences])


def curves(runs: Path, judge: Judge, out: Path) -> None:
    """Draw every figure against training time, with its interval, beside random weights."""
    mpl.use("Agg")
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.2), constrained_layout=True)
    colours = {"discovr": "#0b6e99", "vjepa": "#c2571a", "videomae": "#3b7d3b"}
    for folder in sorted(runs.iterdir()):
        method = folder.name.partition("-")[0]
        if not folder.is_dir() or folder.name != method:
            continue
        start = runs / f"{method}-random" / f"000000.{judge.split}.npz"
        base = Outcome.read(start)
        points = [(0.0, compare(judge, [base], []).figures)]
        for file in sorted(folder.glob(f"*.{judge.split}.npz")):
            moment = json.loads((folder / f"{file.name[:6]}.json").read_text())
            figures = compare(judge, [Outcome.read(file)], []).figures
            points.append((moment["cpu_minutes"], figures))
        for axis, (column, title) in zip(axes.flat, COLUMNS.items(), strict=False):
            x = [minutes for minutes, _ in points]
            values = [figures[column] for _, figures in points]
            colour = colours.get(method, "#555555")
            axis.fill_between(
                x, [v.low for v in values], [v.high for v in values], color=colour, alpha=0.15
            )
            axis.plot(
                x, [v.value for v in values], "o-", color=colour, ms=3, label=NAMES[method]
            )
            axis.axhspan(values[0].low, values[0].high, color=colour, alpha=0.06)
            axis.axhline(values[0].value, color=colour, lw=0.8, ls=":")
            axis.set_title(title, fontsize=10)
    axes[1, 2].axis("off")
    axes[1, 2].legend(*axes[0, 0].get_legend_handles_labels(), loc="center", frameon=False)
    for axis in axes.flat[:-1]:
        axis.set_xlabel("training, minutes of one core")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(out / "learning-curves.png", dpi=110)
    plt.close(figure)
