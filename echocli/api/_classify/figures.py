"""What is made of logits: probabilities, calls, patients, and the figures of all of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._classes import Classes
from echocli.statistics.bootstrap import DRAWS, LEVEL, Metric, as_json, bootstrap_intervals
from echocli.statistics.calibration import (
    BINS,
    Scaling,
    fit_scaling,
    patient_votes,
    reliability,
    unscaled,
)
from echocli.statistics.classification import average_precision, sensitivity
from echocli.statistics.conformal import threshold as quantile_threshold
from echocli.statistics.delong import auroc_interval
from echocli.statistics.multiclass import (
    accuracy,
    class_figures,
    confusion,
    youden_threshold,
)
from echocli.statistics.subgroups import subgroup_figures

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]
Owners = NDArray[np.str_]

NO_FIGURES: dict[str, Any] = {"test": {"clips": 0, "patients": 0}, "metrics": None}
"""What stands in the place of ``figures`` where no test patient is labelled."""
EVEN = 0.5
"""Probability above which the positive class is called where no threshold was chosen."""
ALIKE = 0.01
"""Probabilities no further apart than this tell nobody from anybody else."""
PREFIX = "p_"
"""Of the columns of probabilities."""


@dataclass(frozen=True)
class Reading:
    """How the logits of a head are read."""

    scaling: Scaling
    clip: float | None
    """Probability of the positive class above which a clip is called; ``None`` of several."""
    patient: float | None
    """The same for the mean over a patient's clips."""

    def calls(self, probabilities: Floats, positive: int | None, *, patient: bool) -> Codes:
        """Return the class that each row is called."""
        if positive is None:
            return np.asarray(probabilities.argmax(axis=1), np.int64)
        limit = self.patient if patient else self.clip
        called = probabilities[:, positive] > (EVEN if limit is None else limit)
        return np.where(called, positive, 1 - positive)

    def tells_nothing(self, logits: Floats) -> bool:
        """Return whether probabilities are all but the same for all rows.

        Scaling takes what a probe says for as little as it proved to be on validation patients.
        """
        return float(np.ptp(self.scaling(logits), axis=0).max()) < ALIKE

    @classmethod
    def from_config(cls, head: Mapping[str, Any]) -> Reading:
        """Return that of a saved head."""
        limits = head["threshold"]
        scaling = Scaling.from_json(head["calibration"])
        return cls(scaling, limits["clip"], limits["patient"])


def fit_reading(
    logits: Floats,
    codes: Codes,
    patients: Owners,
    *,
    positive: int | None,
    kind: str,
    threshold: str,
    rate: float,
) -> Reading:
    """Fit how logits are read, on validation patients.

    Args:
        logits: Of their clips.
        codes: Their classes.
        patients: Of each clip.
        positive: Class that is looked for, of two.
        kind: How probabilities are mended.
        threshold: ``youden`` or ``quantile``.
        rate: Share of the patients who are not what is looked for that ``quantile`` lets be
            called.

    Returns:
        That which takes logits at their word if a class has no patient here.
    """
    classes = logits.shape[1]
    if set(codes.tolist()) != set(range(classes)):
        return Reading(unscaled(classes), None, None)
    scaling = fit_scaling(kind, logits, codes, patient_votes(patients))
    if positive is None:
        return Reading(scaling, None, None)

    def chosen(said: Floats, truth: Codes, owners: Owners) -> float | None:
        flags, scores = truth == positive, said[:, positive]
        if flags.all() or not flags.any():
            return None
        if threshold == "youden":
            return youden_threshold(flags, scores, patient_votes(owners))
        limit = quantile_threshold(scores[~flags], rate, owners[~flags])
        return limit if math.isfinite(limit) else None

    said = scaling(logits)
    of_patients = by_patient(said, codes, patients)
    known = of_patients.codes >= 0
    return Reading(
        scaling,
        chosen(said, codes, patients),
        chosen(
            of_patients.probabilities[known], of_patients.codes[known], of_patients.names[known]
        ),
    )


@dataclass(frozen=True)
class ByPatient:
    """One row a patient."""

    names: Owners
    clips: Codes
    """Number of each patient's clips."""
    probabilities: Floats
    """Mean over them."""
    codes: Codes
    """Class; -1 where it is unknown or the clips are of several."""
    several: int
    """Patients whose clips are of several classes."""


def by_patient(probabilities: Floats, codes: Codes, patients: Owners) -> ByPatient:
    """Average over each patient's clips.

    Args:
        probabilities: ``(clips, classes)``.
        codes: Class of each clip; -1 where it is unknown.
        patients: Patient of each clip.
    """
    names, of_row, clips = np.unique(patients, return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), probabilities.shape[1]))
    np.add.at(sums, of_row, probabilities)
    lowest, highest = np.full(len(names), np.iinfo(np.int64).max), np.full(len(names), -1)
    known = codes >= 0
    np.minimum.at(lowest, of_row[known], codes[known])
    np.maximum.at(highest, of_row[known], codes[known])
    one = lowest == highest
    several = int((~one & (highest >= 0)).sum())
    return ByPatient(names, clips, sums / clips[:, None], np.where(one, highest, -1), several)


def figures(
    probabilities: Floats,
    codes: Codes,
    patients: Owners,
    reading: Reading,
    classes: Classes,
    *,
    commonest: int,
    seed: int,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Return the figures of labelled clips and of their patients, as JSON.

    Args:
        probabilities: ``(clips, classes)``.
        codes: Class of each clip, all known.
        patients: Patient of each clip.
        reading: How calls are made.
        classes: What is told apart.
        commonest: Class of most training clips: always saying it is the baseline.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.
    """
    test = {
        "clips": len(codes),
        "patients": len(set(patients.tolist())),
        "clips_of": classes.counts(codes),
    }
    positive = classes.positive
    if len(set(codes.tolist())) < 2:
        return {"test": test, "metrics": None}
    how: dict[str, Any] = {"seed": seed, "draws": draws}
    called = reading.calls(probabilities, positive, patient=False)
    bins = reliability(*_confidence(probabilities, codes, positive))
    always = np.full_like(codes, commonest)
    baseline = bootstrap_intervals(
        {"accuracy": lambda w: accuracy(codes, always, w)}, patients, **how
    )
    return {
        "test": test,
        "metrics": _metrics(codes, probabilities, called, patients, classes, how),
        **_of_patients(probabilities, codes, patients, reading, classes, how),
        "predict_the_commonest": {"class": classes.names[commonest], **as_json(baseline)},
        "per_class": _per_class(codes, probabilities, called, patients, classes.names, how),
        "confusion": confusion(codes, called, len(classes.names)),
        "reliability": {"bins": BINS, "equal": "width", "curve": [vars(b) for b in bins]},
        "intervals": {"level": LEVEL, **how},
    }


SHOWN_OF_PARTS = ("auroc", "balanced_accuracy", "sensitivity", "specificity", "ece")


def subgroups(
    table: pd.DataFrame,
    columns: Sequence[str],
    probabilities: Floats,
    codes: Codes,
    reading: Reading,
    classes: Classes,
    how: Mapping[str, Any],
) -> dict[str, list[dict[str, Any]]]:
    """Return the figures of parts of labelled clips, as JSON; see ``subgroup_figures``.

    Args:
        table: Their rows of the manifest.
        columns: By which to divide.
        probabilities: ``(clips, classes)``.
        codes: Class of each clip, all known.
        reading: How calls are made.
        classes: What is told apart.
        how: ``seed`` and ``draws``.
    """
    owners = table["patient_id"].astype(str).to_numpy(dtype=np.str_)
    called = reading.calls(probabilities, classes.positive, patient=False)

    def of(rows: NDArray[np.bool_]) -> dict[str, Any] | None:
        if len(set(codes[rows].tolist())) < 2:
            return None
        found = _metrics(
            codes[rows], probabilities[rows], called[rows], owners[rows], classes, how
        )
        return {name: found[name] for name in SHOWN_OF_PARTS if name in found}

    return subgroup_figures(table, columns, of)


def _metrics(
    codes: Codes,
    probabilities: Floats,
    called: Codes,
    patients: Owners,
    classes: Classes,
    how: Mapping[str, Any],
) -> dict[str, Any]:
    kind: dict[str, Any] = {"positive": classes.positive, "order": classes.order}
    return as_json(class_figures(codes, probabilities, called, patients, **kind, **how))


def _of_patients(
    probabilities: Floats,
    codes: Codes,
    patients: Owners,
    reading: Reading,
    classes: Classes,
    how: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the figures of the mean over each patient's clips, where it has one class."""
    found = by_patient(probabilities, codes, patients)
    known = found.codes >= 0
    counts = {"patients": int(known.sum()), "of_several_classes": found.several}
    if len(set(found.codes[known].tolist())) < 2:
        return {"patient_test": counts, "patient_metrics": None}
    said, truth, names = found.probabilities[known], found.codes[known], found.names[known]
    called = reading.calls(said, classes.positive, patient=True)
    return {
        "patient_test": counts,
        "patient_metrics": _metrics(truth, said, called, names, classes, how),
    }


def _per_class(
    codes: Codes,
    probabilities: Floats,
    called: Codes,
    patients: Owners,
    classes: Sequence[str],
    how: Mapping[str, Any],
) -> dict[str, Any]:
    """Return how well each class is told from the others; the area by DeLong's way."""
    there = [k for k in range(len(classes)) if (codes == k).any()]
    metrics: dict[str, Metric] = {}
    for k in there:
        own = _of_class(codes == k, probabilities[:, k], called == k)
        metrics |= {f"{k} {figure}": metric for figure, metric in own.items()}
    found = as_json(bootstrap_intervals(metrics, patients, **how))
    return {
        classes[k]: {
            "auroc": auroc_interval(codes == k, probabilities[:, k], patients).as_json(),
            "auprc": found[f"{k} auprc"],
            "sensitivity": found[f"{k} sensitivity"],
            "prevalence": float((codes == k).mean()),
        }
        for k in there
    }


def _of_class(
    flags: NDArray[np.bool_], scores: Floats, calls: NDArray[np.bool_]
) -> dict[str, Metric]:
    return {
        "auprc": lambda w: average_precision(flags, scores, w),
        "sensitivity": lambda w: sensitivity(flags, calls, w),
    }


def _confidence(
    probabilities: Floats, codes: Codes, positive: int | None
) -> tuple[NDArray[np.bool_], Floats]:
    """Return what a reliability curve is of: whether it was so, and how likely it was said."""
    if positive is None:
        return probabilities.argmax(axis=1) == codes, probabilities.max(axis=1)
    return codes == positive, probabilities[:, positive]
