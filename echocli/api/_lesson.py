"""What a probe is fitted on: labelled clips or studies, their patients and their splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._audit import leakage_of
from echocli.api._encode import LeftOut, rows_to_encode
from echocli.api._heads import describe
from echocli.api._probe_settings import ProbeConfig
from echocli.api._splits import NAMES, splits_of, without_spare
from echocli.api._units import Units, units_of
from echocli.checkpoint import LoadedModel
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a probe is fitted on, and where."""

    model: LoadedModel
    clips: ClipSet
    """Clips that can fill a window."""
    units: Units
    """What they are, clips or studies; all are labelled."""
    labels: NDArray[Any]
    """Of each unit: ejection fractions in percent, or classes."""
    splits: NDArray[np.str_]
    """Of each unit; the probe is fitted on those of ``train``."""
    whole: tuple[NDArray[np.str_], NDArray[np.str_]]
    """Patient and split of every labelled clip, also of those that a fraction leaves out."""
    config: ProbeConfig
    near: Path
    """Folder that may hold large files meanwhile."""
    device: str
    precision: str
    reporter: Reporter

    @property
    def train(self) -> NDArray[np.bool_]:
        """Which units to fit on."""
        return np.asarray(self.splits == "train")

    @property
    def patients(self) -> NDArray[np.int64]:
        """Numbers of the units' patients."""
        return np.unique(self.units.patients, return_inverse=True)[1].astype(np.int64)

    @property
    def targets(self) -> tuple[Tensor, Tensor]:
        """Labels and patients' numbers of the training units."""
        return (
            torch.from_numpy(self.labels[self.train]),
            torch.from_numpy(self.patients[self.train]),
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Return clips and patients, and studies where they are looked at, of each split."""
        found = {}
        for name in NAMES:
            of_split = self.splits == name
            found[name] = {
                "clips": len(self.units.rows(of_split)),
                "patients": len(set(self.patients[of_split].tolist())),
            }
            if self.units.places is not None:
                found[name]["studies"] = int(of_split.sum())
        return found

    @property
    def generator(self) -> torch.Generator:
        """The source of all random numbers, at its start."""
        return torch.Generator().manual_seed(self.config.seed)


def begin_lesson(
    model: LoadedModel,
    labelled: ClipSet,
    config: ProbeConfig,
    labels_of: Callable[[ClipSet, Units], NDArray[Any]],
    *,
    near: Path,
    device: str,
    precision: str,
    reporter: Reporter,
) -> tuple[Lesson, list[LeftOut]]:
    """Return what a probe is fitted on, and the labelled clips that take no part.

    Args:
        model: The encoder.
        labelled: The clips.
        config: Settings.
        labels_of: What is known of each unit; below 0, or NaN, if nothing.
        near: Folder that may hold large files meanwhile.
        device: Where to compute.
        precision: How exactly.
        reporter: Who watches.

    Raises:
        UsageError: If no clip is of a view that is asked for.
        EchoError: If no clip fills a window, or a patient is in two splits.
    """
    _check_views(labelled, config.views)
    rows, left_out = rows_to_encode(labelled, model.data, reporter)
    chosen = labelled.subset(rows)
    patients = chosen.manifest["patient_id"].astype(str).to_numpy(dtype=np.str_)
    splits = splits_of(chosen.manifest)
    leakage_of(chosen, splits, reporter, pixels=False)
    stay = np.flatnonzero(without_spare(patients, splits, config.label_fraction, config.seed))
    used = chosen.subset(stay)
    units, viewless = units_of(used, config.views, config.clips_a_view, reporter)
    left_out += [LeftOut(rows[stay[clip.row]], clip.reason) for clip in viewless]
    labels = labels_of(used, units)
    known = labels >= 0
    units, labels = units.take(known), labels[known]
    split_of = dict(zip(patients.tolist(), splits.tolist(), strict=True))
    lesson = Lesson(
        model=model,
        clips=used,
        units=units,
        labels=labels,
        splits=np.array([split_of[name] for name in units.patients.tolist()], dtype=np.str_),
        whole=(patients, splits),
        config=config,
        near=near,
        device=device,
        precision=precision,
        reporter=reporter,
    )
    return lesson, left_out


def describe_lesson(task: str, lesson: Lesson, out: Path) -> dict[str, Any]:
    """Return what the config of every probe says: its encoder, whom it has seen, its settings.

    Args:
        task: What it is for.
        lesson: What it was fitted on.
        out: Folder of the head.
    """
    config, (patients, splits) = lesson.config, lesson.whole
    described = describe(
        task,
        lesson.model,
        out,
        windows=config.windows,
        seed=config.seed,
        patients=patients.tolist(),
        splits=splits,
    )
    return {**described, "probe": config.probe, "label_fraction": config.label_fraction}


def _check_views(clips: ClipSet, views: tuple[str, ...]) -> None:
    table = clips.manifest
    there = set(table["view"].dropna().astype(str)) if "view" in table else set()
    for view in views:
        if view not in there:
            known = f"there are {', '.join(sorted(there))}" if there else "no view is known"
            remedy = "Tell views in a column: `echocli preprocess --labels labels.csv`."
            if there:
                remedy = f"Name those that are there: --views {','.join(sorted(there))}."
            raise UsageError(f"No labelled clip is of the view {view}; {known}.", remedy)
