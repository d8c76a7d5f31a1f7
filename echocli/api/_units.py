"""What gets one answer each: every clip, or every study with its clips of some views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._encode import LeftOut
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.errors import EchoError

BETWEEN = "+"
"""Stands between the views of a study."""


@dataclass(frozen=True)
class Units:
    """Clips, or studies; each gets one answer."""

    table: pd.DataFrame
    """The manifest's row of each; of a study, of its first clip."""
    ids: pd.DataFrame
    """What names each: ``clip_id, patient_id``, or ``study_id, patient_id, views, clips``."""
    places: NDArray[np.int64] | None = None
    """Of studies: the clip in each place, view by view; -1 where there is none."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def patients(self) -> NDArray[np.str_]:
        """Patient of each."""
        return self.table["patient_id"].astype(str).to_numpy(dtype=np.str_)

    @property
    def clips(self) -> int:
        """Number of clips that are looked at."""
        return len(self.table) if self.places is None else int((self.places >= 0).sum())

    def take(self, chosen: NDArray[np.bool_]) -> Units:
        """Return some studies, or all clips, for each clip is its own unit."""
        if self.places is None:
            assert chosen.all(), "clips without an answer are left out before"
            return self
        table, ids = (part[chosen].reset_index(drop=True) for part in (self.table, self.ids))
        return Units(table, ids, self.places[chosen])

    def rows(self, chosen: NDArray[np.bool_]) -> list[int]:
        """Return the clips of some units, in the clip set's order."""
        if self.places is None:
            return [int(row) for row in np.flatnonzero(chosen)]
        found = self.places[chosen]
        return [int(row) for row in np.unique(found[found >= 0])]

    def among(
        self, chosen: NDArray[np.bool_], rows: Sequence[int]
    ) -> Int[Tensor, "units places"] | None:
        """Return the places of some units, numbered by where their clips stand in a list.

        Args:
            chosen: Which units.
            rows: The list; it holds all of their clips.
        """
        if self.places is None:
            return None
        at = {row: index for index, row in enumerate(rows)} | {-1: -1}
        places = self.places[chosen]
        return torch.tensor([at[row] for row in places.ravel().tolist()]).view(places.shape)

    def mean_of(self, of_clips: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean over the clips of each; NaN where none is known."""
        if self.places is None:
            return of_clips
        values = np.where(self.places >= 0, of_clips[self.places], np.nan)
        known = np.isfinite(values)
        sums = np.where(known, values, 0).sum(axis=1)
        counts = known.sum(axis=1)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def back_to_clips(self, of_units: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """Return what each clip's unit has; NaN for a clip of none.

        Args:
            of_units: A number for each unit.
            count: Number of clips.
        """
        if self.places is None:
            return of_units
        values = np.full(count + 1, np.nan)  # the last is for places without a clip
        values[self.places] = of_units[:, None]
        return values[:-1]

    def one_of(self, of_clips: NDArray[np.object_]) -> NDArray[np.object_]:
        """Return the word on which the clips of each agree; None where they do not."""
        if self.places is None:
            return of_clips
        told = [
            {of_clips[row] for row in places if row >= 0 and of_clips[row] is not None}
            for places in self.places.tolist()
        ]
        words = np.full(len(told), None, dtype=object)
        for unit, found in enumerate(told):
            if len(found) == 1:
                words[unit] = found.pop()
        return words


def each_clip(clips: ClipSet) -> Units:
    """Return clips as what gets an answer."""
    return Units(clips.manifest, clips.manifest[["clip_id", "patient_id"]])


def units_of(
    clips: ClipSet, views: Sequence[str], each: int, reporter: Reporter
) -> tuple[Units, list[LeftOut]]:
    """Return what gets an answer, and the clips that are of no view which is looked at."""
    return studies(clips, views, each, reporter) if views else (each_clip(clips), [])


def studies(
    clips: ClipSet, views: Sequence[str], each: int, reporter: Reporter
) -> tuple[Units, list[LeftOut]]:
    """Return studies as what gets an answer, and the clips of those that hold no such view.

    Where a view has more clips than places, those whose pseudonyms come first are taken: the
    order of rows in a clip set changes nothing.

    Args:
        clips: The clips.
        views: Views that are looked at together, in this order.
        each: Places for clips of one view.
        reporter: Is told which views are missing, and how many clips find no place.

    Raises:
        EchoError: If no clip is of one of the views.
    """
    manifest = clips.manifest
    view = manifest["view"] if "view" in manifest else pd.Series([None] * len(manifest))
    place_of = {name: range(n * each, (n + 1) * each) for n, name in enumerate(views)}
    found: dict[tuple[str, str], list[int]] = {}
    crowded = 0
    names = ["patient_id", "study_id", "clip_id"]
    order = manifest[names].astype(str)
    for row in order.sort_values(names).index.tolist():
        key = (order["patient_id"][row], order["study_id"][row])
        of_study = found.setdefault(key, [-1] * (len(views) * each))
        free = [p for p in place_of.get(view.iloc[row], ()) if of_study[p] < 0]
        if free:
            of_study[free[0]] = row
        elif view.iloc[row] in place_of:
            crowded += 1
    seen = {key: of_study for key, of_study in found.items() if max(of_study) >= 0}
    if not seen:
        raise _no_view(view, views)
    empty = [
        row
        for row, key in enumerate(zip(order["patient_id"], order["study_id"], strict=True))
        if key not in seen
    ]
    if crowded:
        reporter.say(f"{crowded} clip(s) find no place beside others of their study and view")
    places = np.array(list(seen.values()))
    _tell_missing(places, views, each, reporter)
    return _as_units(manifest, places, views, each), [
        LeftOut(row, f"its study has no clip of {' or '.join(views)}") for row in empty
    ]


def _as_units(
    manifest: pd.DataFrame, places: NDArray[np.int64], views: Sequence[str], each: int
) -> Units:
    first = [next(row for row in row_of if row >= 0) for row_of in places.tolist()]
    table = manifest.iloc[first].reset_index(drop=True)
    there = _there(places, views, each)
    ids = table[["study_id", "patient_id"]].assign(
        views=[
            BETWEEN.join(name for name, is_there in zip(views, row, strict=True) if is_there)
            for row in there
        ],
        clips=(places >= 0).sum(axis=1),
    )
    return Units(table, ids, places)


def _there(places: NDArray[np.int64], views: Sequence[str], each: int) -> NDArray[np.bool_]:
    """Return which views each study has."""
    return np.asarray((places.reshape(-1, len(views), each) >= 0).any(axis=2))


def _tell_missing(
    places: NDArray[np.int64], views: Sequence[str], each: int, reporter: Reporter
) -> None:
    there = _there(places, views, each)
    lacking = int((~there.all(axis=1)).sum())
    if lacking:
        of_view = zip(views, (~there).sum(axis=0).tolist(), strict=True)
        counts = ", ".join(f"{name} in {count}" for name, count in of_view if count)
        reporter.warn(
            f"{lacking} of {len(there)} study(ies) lack a view ({counts}): what is said of "
            "them rests on the others"
        )


def _no_view(view: pd.Series, views: Sequence[str]) -> EchoError:
    there = sorted(set(view.dropna().astype(str)))
    named = f"they are of {', '.join(there)}" if there else "no clip's view is known"
    return EchoError(
        f"No clip is of {' or '.join(views)}: {named}.",
        "Name the views with the column view: `echocli preprocess --labels labels.csv`, or "
        "`echocli classify fit --label view`.",
    )
