"""What embeddings must stand before they are believed: every row there, and its own clip's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from echocli.api._embed.rows import Layout, encode_units
from echocli.api._embed.units import Units
from echocli.checkpoint import LoadedModel
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.device import Device
from echocli.errors import EchoError
from echocli.models.health import Health, health
from echocli.table_formats import Rows
from echocli.tables import RowsHash

CHECKED_UNITS = 3
"""Clips that are encoded once more, alone, and compared with what is written."""
TOLERANCE = {"fp32": 1e-3, "bf16": 3e-2}
"""Relative difference that another batch may make; another clip's vector makes more."""
SAMPLE_ROWS = 2000
COMPARED_CLIPS = 8
LEAST_COSINE = 0.99
"""Of bf16 with fp32, each less the mean of the clips: below it neighbours change."""
LEAST_PATIENTS = 10
"""Patients a class, for a probe of it to say anything."""
FOLDS = 5


@dataclass
class Passing:
    """Watches the rows on their way to the file."""

    units: Units
    every: int
    """Distance of the rows that are kept as a sample."""
    count: int = 0
    digest: RowsHash = field(default_factory=RowsHash)
    seen: set[str] = field(default_factory=set)
    checked: dict[str, list[Rows]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)

    def __post_init__(self) -> None:
        last = len(self.units) - 1
        chosen = np.unique(np.linspace(0, last, CHECKED_UNITS).round().astype(int))
        self.place = {name: index for index, name in enumerate(self.units.names)}
        self.checked = {self.units.names[index]: [] for index in chosen if last >= 0}

    def take(self, rows: Rows) -> None:
        """Look at some rows."""
        names = rows.table[self.units.key].astype(str).tolist()
        self.digest.update(rows.table, rows.vectors)
        self.seen.update(names)
        for name in self.checked.keys() & set(names):
            own = [index for index, other in enumerate(names) if other == name]
            self.checked[name].append(Rows(rows.table.iloc[own], rows.vectors[own]))
        sampled = np.arange(-self.count % self.every, len(names), self.every)
        self.names += [names[index] for index in sampled]
        self.vectors += list(rows.vectors[sampled])
        self.count += len(names)

    @property
    def sample(self) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Some vectors, evenly spread, and the unit of each."""
        return np.array(self.vectors), np.array([self.place[name] for name in self.names])


def check_passed(
    passing: Passing, model: LoadedModel, clips: ClipSet, layout: Layout, place: Device
) -> None:
    """Check that all units are there, and encode a few again, each alone, and compare.

    Raises:
        EchoError: If a unit is missing, or a row holds another clip's vector or source.
    """
    units = passing.units
    if missing := len(set(units.names) - passing.seen):
        raise EchoError(
            f"{missing} of {len(units)} clip(s) or patient(s) are missing from the rows.",
            "Nothing was written. Run it again; if it stays so, please report it.",
        )
    for name, parts in passing.checked.items():
        table = pd.concat([part.table for part in parts])
        vectors = np.concatenate([part.vectors for part in parts])
        own = units.some([passing.place[name]])
        again = encode_units(model, clips, own, layout, place)
        same = len(vectors) == len(again.vectors) and bool(
            (table["source_sha256"] == own.table["source_sha256"][0]).all()
        )
        if same:
            difference = np.linalg.norm(vectors - again.vectors)
            same = bool(
                difference <= TOLERANCE[place.precision] * np.linalg.norm(again.vectors)
            )
        if not same:
            raise EchoError(
                f"{units.key.removesuffix('_id').capitalize()} {name} gave another vector when "
                "it was encoded again.",
                "Nothing was written. Try --precision fp32; if it stays so, please report it.",
            )


def settle_precision(
    model: LoadedModel,
    clips: ClipSet,
    rows: Sequence[int],
    place: Device,
    asked: str,
    reporter: Reporter,
) -> tuple[Device, dict[str, Any] | None]:
    """Compare bf16 with fp32 on a few clips; fall to fp32 where they differ too much.

    Args:
        model: The encoder.
        clips: The clips.
        rows: Those that can be encoded.
        place: Where to compute, as chosen.
        asked: The precision that was asked for; what is not ``auto`` is obeyed.
        reporter: Is told what was found.

    Returns:
        Where to compute, and what to keep on record; nothing if fp32 was chosen anyway.
    """
    if place.precision == "fp32" or not len(rows):
        return place, None
    chosen = np.unique(np.linspace(0, len(rows) - 1, COMPARED_CLIPS).round().astype(int))
    table = clips.manifest.iloc[[rows[index] for index in chosen]].reset_index(drop=True)
    units = Units(table, [[rows[index]] for index in chosen], "clip_id")
    exact = replace(place, precision="fp32")
    ours, theirs = (
        encode_units(model, clips, units, Layout(windows=1), where).vectors.astype(np.float64)
        for where in (place, exact)
    )
    least = cosine_of(ours, theirs)
    record = {"clips": len(chosen), "least_cosine": least}
    found = f"bf16 against fp32 on {len(chosen)} clip(s): cosine {least:.5f} or more"
    if least >= LEAST_COSINE:
        reporter.say(found)
        return place, record
    if asked != "auto":
        reporter.warn(f"{found}; that is little, but --precision {asked} was asked for")
        return place, record
    reporter.warn(f"{found}; that is too little for this model, so fp32 is used")
    return exact, record


def cosine_of(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Return the least cosine of two versions of some vectors.

    What all clips have in common is taken off first: it hides how far two clips are apart.
    """
    mean = theirs.mean(axis=0) if len(theirs) > 1 else 0
    a, b = ours - mean, theirs - mean
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.min((a * b).sum(axis=1) / np.maximum(lengths, np.finfo(float).tiny)))


def health_of(passing: Passing) -> Health | None:
    """Return signs of collapse in a sample of the rows; ``None`` for fewer than two."""
    vectors, _ = passing.sample
    return health(torch.from_numpy(vectors)) if len(vectors) > 1 else None


def leakage_of(passing: Passing, clips: ClipSet) -> dict[str, dict[str, Any]]:
    """Return how well scanner and frame rate are told from a sample of the rows.

    Args:
        passing: What passed by.
        clips: The clips, for what the rows do not hold.
    """
    vectors, units = passing.sample
    if not len(vectors):
        return {}
    members = [passing.units.rows[unit] for unit in units]
    rates = clips.manifest["frame_rate_hz"].to_numpy(float)
    rate = pd.Series([float(np.mean(rates[rows])) for rows in members])
    patients = passing.units.table["patient_id"].astype(str).to_numpy()[units]
    known = {"frame_rate": _thirds(rate)}
    if "scanner" in passing.units.table:
        known["scanner"] = passing.units.table["scanner"].iloc[units].reset_index(drop=True)
    found = {name: told_from(vectors, column, patients) for name, column in known.items()}
    return {name: figures for name, figures in found.items() if figures}


def _thirds(values: pd.Series[float]) -> pd.Series[Any]:
    """Return in which third of the values each lies, equal values in one."""
    return pd.qcut(values, 3, labels=False, duplicates="drop")


def told_from(
    vectors: NDArray[np.float32], classes: pd.Series[Any], patients: NDArray[Any]
) -> dict[str, Any] | None:
    """Return how well classes are told from vectors, by patients that the probe has not seen.

    A linear classifier by ridge regression on standardised vectors, 5 folds of patients;
    balanced accuracy, whose chance is one over the number of classes.

    Args:
        vectors: One row each.
        classes: Class of each row; missing where unknown.
        patients: Patient of each row.

    Returns:
        balanced_accuracy, chance, classes, rows; ``None`` if fewer than two classes have
        enough patients.
    """
    of_class = pd.Series(patients).groupby(classes.to_numpy()).nunique()
    large = of_class.index[of_class >= LEAST_PATIENTS]
    if len(large) < 2:
        return None
    from sklearn.linear_model import RidgeClassifier
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kept = classes.isin(large).to_numpy()
    truth = np.unique(classes[kept].astype(str), return_inverse=True)[1]
    probe = make_pipeline(
        StandardScaler(), RidgeClassifier(alpha=vectors.shape[1], class_weight="balanced")
    )
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    called = cross_val_predict(probe, vectors[kept], truth, groups=patients[kept], cv=folds)
    return {
        "balanced_accuracy": float(balanced_accuracy_score(truth, called)),
        "chance": 1 / len(large),
        "classes": len(large),
        "rows": int(kept.sum()),
    }
