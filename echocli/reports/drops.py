"""Figures under graded faults, as pictures of their own beside a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

COLOUR, CLEAN_COLOUR = "#2f6f9f", "#777777"
PANEL = 1.55, 1.65
"""Width and height in inches."""
WORDS = {
    "mae": "error of EF (points)",
    "auroc": "AUROC",
    "balanced_accuracy": "balanced accuracy",
    "false_alarms": "false alarms (share)",
}
"""Names of figures as people read them."""
STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
}


def draw_drops(table: pd.DataFrame, path: Path, lower_is_better: Collection[str]) -> None:
    """Draw every figure against the strength of every fault, with 95 % intervals.

    Args:
        table: Rows of ``robustness.csv``.
        path: PNG to write.
        lower_is_better: Figures that grow where a model does worse.
    """
    clean = table[table["strength"] == 0].set_index("figure")
    faults = [name for name in table["perturbation"].unique() if name != "none"]
    figures = list(clean.index)
    size = (PANEL[0] * len(faults) + 0.9, PANEL[1] * len(figures) + 0.5)
    with rc_context(STYLE):
        page = Figure(size, layout="constrained")
        panels = page.subplots(
            len(figures), len(faults), sharex=True, sharey="row", squeeze=False
        )
        for line, figure in zip(panels, figures, strict=True):
            for axes, fault in zip(line, faults, strict=True):
                rows = table[(table["figure"] == figure) & (table["perturbation"] == fault)]
                _curve(axes, rows, clean.loc[figure])
            better = "lower" if figure in lower_is_better else "higher"
            words = WORDS.get(figure, figure.replace("_", " ").replace("dice", "Dice"))
            line[0].set_ylabel(f"{words}\n{better} is better")
        for axes, fault in zip(panels[0], faults, strict=True):
            axes.set_title(fault.replace("_", " "))
        between = "\n" if len(faults) == 1 else " "
        told = f"strength of the fault;{between}dashed, the clips as they are"
        page.supxlabel(told, fontsize=8)
        _write(page, path)


def _curve(axes: Axes, rows: pd.DataFrame, clean: pd.Series) -> None:
    columns = ["strength", "value", "low", "high"]
    points = pd.concat([clean[columns].to_frame().T, rows[columns]]).astype(float)
    strength, value, low, high = (points[name].to_numpy() for name in columns)
    axes.fill_between(strength, low, high, color=COLOUR, alpha=0.2, linewidth=0)
    axes.plot(strength, value, color=COLOUR, marker="o", markersize=3)
    axes.axhline(clean["value"], color=CLEAN_COLOUR, linewidth=0.8, linestyle="--")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])


def draw_faults(
    examples: Mapping[str, Sequence[Picture]], strengths: Sequence[float], path: Path
) -> None:
    """Draw what the faults look like, a line each, stronger to the right.

    Args:
        examples: Pictures of each fault, one a strength.
        strengths: How strong.
        path: PNG to write.
    """
    columns = len(strengths)
    with rc_context(STYLE):
        page = Figure((1.3 * columns + 0.9, 1.3 * len(examples)), layout="constrained")
        panels = page.subplots(len(examples), columns, squeeze=False)
        for line, (name, pictures) in zip(panels, examples.items(), strict=True):
            for axes, picture in zip(line, pictures, strict=True):
                axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
            line[0].set_ylabel(name.replace("_", " "))
        for axes, strength in zip(panels[0], strengths, strict=True):
            axes.set_title(f"{strength:g}")
        _write(page, path)


def _write(page: Figure, path: Path) -> None:
    FigureCanvasAgg(page)
    page.savefig(path, dpi=150)
