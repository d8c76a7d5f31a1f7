"""What the features are worth for a label, asked now and then while the encoder trains.

A linear model is fitted on frozen features of labelled clips and judged on patients that it was
not fitted on. The encoder never learns from it, and the test split is never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._pretrain.job import Job
from echocli.api._pretrain.sight import Sight, spread
from echocli.api._splits import patient_numbers, splits_of
from echocli.console import Reporter
from echocli.errors import EchoError
from echocli.models.folds import deal_patients
from echocli.models.tasks.lvef import RidgeProbe
from echocli.statistics.classification import auroc

COLUMNS = ("ef_percent", "normal")
"""Labels that are taken without being asked for, the first that there is."""
AUTO = "auto"
LEAST_PATIENTS = 20
"""Below this, for all or for one class, a probe says little."""
FOLDS = 5
POOL = "mean_std"
"""As in ``embed``: motion is in it."""


@dataclass(frozen=True)
class Question:
    """A label to be told from features."""

    column: str
    rows: list[int]
    """Clips that have it, of patients outside the test split."""
    values: NDArray[np.float64]
    """Numbers, or the numbers of classes from 0."""
    patients: NDArray[np.int64]
    classes: int
    """How many; 0 if it is a number."""


@dataclass(frozen=True)
class Answer:
    """How well the features tell a label of patients that the probe was not fitted on."""

    column: str
    value: float
    """Mean absolute error, in the unit of the label; or the area under the ROC, the mean over
    all classes against the rest."""
    guess: float
    """The same of predicting the mean; 0.5 for classes."""
    score: float
    """The higher, the better: how much of the error of the mean is gone, or the area."""
    classes: int
    """How many there are; 0 if it is a number."""

    @property
    def metrics(self) -> dict[str, float]:
        """What goes to the metrics of a step."""
        return {"probe": self.value, "probe_guess": self.guess, "probe_score": self.score}

    @property
    def measure(self) -> str:
        """What ``value`` is."""
        return f"{'AUROC' if self.classes else 'mean error'} of {self.column}"

    @property
    def guess_name(self) -> str:
        """What ``guess`` is."""
        return "chance" if self.classes else "predicting the mean"

    def __str__(self) -> str:
        return f"{self.measure} {self.value:.3g} ({self.guess_name}: {self.guess:.3g})"


def choose_question(job: Job, reporter: Reporter) -> Question | None:
    """Return the label to probe for, if there is one that enough patients have.

    Args:
        job: Whose clips; settings may name the column.
        reporter: Who is told why there is none, if one was asked for.
    """
    wanted, table = job.settings.watch.probe, job.clips.manifest
    if not wanted:
        return None
    try:
        outside = splits_of(table) != "test"
    except EchoError as error:  # a training needs no splits
        reporter.warn(f"no probe while training: {error.problem}")
        return None
    rows = [row for row in job.batches.rows if outside[row]]
    for column in COLUMNS if wanted == AUTO else (wanted,):
        asked = _ask(table, column, rows, job.settings.watch.probe_clips)
        if asked is not None:
            return asked
    if wanted != AUTO:
        reporter.warn(
            f"no probe while training: fewer than {LEAST_PATIENTS} patients outside the test "
            f"split have {wanted}, or too few of each class"
        )
    return None


def _ask(table: pd.DataFrame, column: str, rows: list[int], most: int) -> Question | None:
    if column not in table:
        return None
    own = table.iloc[rows][["patient_id", column]].assign(row=rows).dropna()
    numbers = pd.to_numeric(own[column], errors="coerce")
    classes = 0
    if numbers.isna().any() or numbers.nunique() <= 2:
        names = own[column].astype(str)
        patients = own.groupby(names)["patient_id"].nunique()
        own = own[names.isin(patients[patients >= LEAST_PATIENTS // 2].index)]
        codes, kept = pd.factorize(own[column].astype(str), sort=True)
        numbers, classes = pd.Series(codes, own.index), len(kept)
    chosen = _first_of_each_patient(own["patient_id"], most)
    values = numbers.to_numpy(np.float64)[chosen]
    own = own.iloc[chosen]
    if own["patient_id"].nunique() < LEAST_PATIENTS or len(np.unique(values)) < 2:
        return None
    patients_of = patient_numbers(own["patient_id"])
    return Question(column, own["row"].tolist(), values, patients_of, classes)


def _first_of_each_patient(patients: pd.Series, most: int) -> list[int]:
    """Return places of so many clips at most: the first of every patient, then the second."""
    turn = patients.groupby(patients.to_numpy()).cumcount().to_numpy()
    order = np.argsort(turn, kind="stable").tolist()
    firsts = order[: int((turn == 0).sum())]
    return sorted(spread(firsts, most) if len(firsts) > most else order[:most])


class Probe:
    """Asks for a label now and then.

    Args:
        job: What is trained; its settings say for what, and how often.
        reporter: Who is told why not, if not.
    """

    def __init__(self, job: Job, reporter: Reporter) -> None:
        self.job, self.reporter = job, reporter
        self.question = choose_question(job, reporter)
        self._silent_since: int | None = None
        """The stage of which it was told that too few clips are left."""
        self._sight = Sight(job, self._able)
        watch = job.settings.watch
        self._every = watch.probe_every * watch.health_every

    def ask(self, done: int) -> Answer | None:
        """Return what the features are worth, if it is time to ask.

        Args:
            done: Steps that are done.
        """
        due = done % self._every == 0 or done == self.job.settings.optim.steps
        if self.question is None or not due or not self._enough(self.question):
            return None
        features = self._sight.features(POOL)
        if not features.isfinite().all():
            return None
        order = self._places(self.question, self._sight.rows)
        values = torch.from_numpy(self.question.values[order])
        patients = torch.from_numpy(self.question.patients[order])
        return answer(self.question, features, values, patients)

    def _able(self) -> list[int]:
        """Return the clips of the question that can fill a window of this stage."""
        assert self.question is not None
        able = set(self.job.batches.rows)
        return [row for row in self.question.rows if row in able]

    def _enough(self, question: Question) -> bool:
        """Return whether there is something to tell in this stage; say so once if not."""
        order = self._places(question, self._able())
        patients, values = question.patients[order], question.values[order]
        if len(np.unique(patients)) >= LEAST_PATIENTS and len(np.unique(values)) > 1:
            return True
        if self._silent_since != self.job.at:
            self._silent_since = self.job.at
            self.reporter.warn(
                f"no probe in this stage: of the clips with {question.column}, those that fill "
                f"its windows are of {len(np.unique(patients))} patients"
            )
        return False

    def _places(self, question: Question, rows: list[int]) -> list[int]:
        """Return where clips stand in the question."""
        place = {row: at for at, row in enumerate(question.rows)}
        return [place[row] for row in rows]


def answer(question: Question, features: Tensor, values: Tensor, patients: Tensor) -> Answer:
    """Fit a probe on features, and judge it on patients that it did not see.

    Args:
        question: What is asked for.
        features: Of some clips.
        values: What the probe shall tell.
        patients: Numbers of their patients.
    """
    if not question.classes:
        predicted = out_of_fold(features, values, patients)
        error = float((predicted - values).abs().mean())
        guess = float((mean_of_others(values, patients) - values).abs().mean())
        return Answer(question.column, error, guess, 1 - error / guess, 0)
    areas = []
    for each in range(question.classes):
        own = (values == each).double()
        told = out_of_fold(features, own, patients)
        ones = np.ones((1, len(own)))
        areas.append(float(auroc(own.numpy() == 1, told.numpy(), ones)[0]))
        if question.classes == 2:
            break  # the other class is told by the same line
    area = float(np.nanmean(areas))  # of a class that is not there, there is none
    return Answer(question.column, area, 0.5, area, question.classes)


def out_of_fold(features: Tensor, values: Tensor, patients: Tensor) -> Tensor:
    """Return what ridge regression says of each clip without its patient."""
    probe = RidgeProbe(folds=FOLDS).fit(features, values.float(), patients, _dealer())
    return probe.out_of_fold_


def mean_of_others(values: Tensor, patients: Tensor) -> Tensor:
    """Return for each clip the mean of the patients of the other folds."""
    fold = deal_patients(patients, FOLDS, _dealer())
    means = [values[fold != one].mean() for one in range(int(fold.max()) + 1)]
    return torch.stack(means)[fold]


def _dealer() -> torch.Generator:
    """Return what deals patients into folds, always the same."""
    return torch.Generator().manual_seed(0)
