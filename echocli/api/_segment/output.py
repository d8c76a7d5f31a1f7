"""What ``segment predict`` leaves behind: masks, areas, volumes and pictures."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._segment.files import KINDS, Drawn
from echocli.api._segment.measures import (
    AREA_COLUMNS,
    CURVE_COLUMNS,
    VOLUME_COLUMNS,
    VolumeCurve,
    area_rows,
    curve_rows,
    flag_foreshortened,
    volume_curve,
    volume_row,
)
from echocli.api._segment.overlay import write_overlay
from echocli.clips.record import STRUCTURES, Clip
from echocli.clips.store import ClipSet
from echocli.clips.writer import ClipSetWriter

if TYPE_CHECKING:
    from _csv import Writer


@dataclass
class SegmentOutput:
    """A folder of predictions that is being written.

    ``volumes.csv`` is written when the ``open_output`` block ends.
    """

    folder: Path
    masks: ClipSetWriter
    areas: Writer
    curves: Writer
    overlays: int
    """Pictures still to be drawn."""
    structures: Collection[int]
    """Values of those that the head was taught; of others no area is told, not even 0."""
    kinds: Sequence[str] = ()
    """What masks are written as beside the clip set; see ``KINDS``."""
    volumes: list[dict[str, Any]] = field(default_factory=list)

    def add(self, clips: ClipSet, row: int, labels: NDArray[np.uint8], split: str) -> None:
        """Write the label maps of a clip and what is measured in them.

        Args:
            clips: The clips.
            row: Which of them.
            labels: A map of every frame.
            split: What the clip's patient was to the head.
        """
        manifest = clips.manifest.iloc[row]
        clip_id, patient_id = str(manifest["clip_id"]), str(manifest["patient_id"])
        sector, spacing = clips.sector(row), clips.spacing_mm(row)
        self.masks.add(
            Clip(
                clip_id=clip_id,
                patient_id=patient_id,
                study_id=str(manifest["study_id"]),
                source_sha256=str(manifest["source_sha256"]),
                frames=labels,
                sector=sector,
                times_s=clips.times_s(row),
                time_source=str(manifest["time_source"]),
                spacing_mm=spacing,
                spacing_source=str(manifest["spacing_source"]),
                labels={"split": split},
            )
        )
        for area in area_rows(clip_id, labels, clips.times_s(row), spacing, self.structures):
            self.areas.writerow([area[name] for name in AREA_COLUMNS])
        curve = volume_curve(labels, clips.times_s(row), spacing)
        self.curves.writerows(curve_rows(clip_id, curve, clips.times_s(row), spacing))
        known_ed, measured = manifest.get("ed_frame"), manifest.get("ef_percent")
        volume = volume_row(
            labels,
            sector,
            curve,
            spacing,
            None if pd.isna(known_ed) else int(known_ed),
        )
        self._write_files(clips, row, labels, curve, volume)
        self.volumes.append(
            {
                "clip_id": clip_id,
                "patient_id": patient_id,
                **volume,
                "measured_ef_percent": None if pd.isna(measured) else measured,
                "split": split,
                "study_id": manifest["study_id"],
                "view": manifest.get("view"),
            }
        )

    def _write_files(
        self,
        clips: ClipSet,
        row: int,
        labels: NDArray[np.uint8],
        curve: VolumeCurve,
        volume: dict[str, Any],
    ) -> None:
        """Write a picture of a clip, and its masks as what was asked for."""
        ends = {"ED": volume["ed_frame"], "ES": volume["es_frame"]}
        drawn = Drawn(
            clip_id=str(clips.manifest["clip_id"].iloc[row]),
            frames=clips.frames(row),
            labels=labels,
            spacing_mm=clips.spacing_mm(row),
            times_s=clips.times_s(row),
            curve=curve.smooth,
            marks={frame: name for name, frame in ends.items() if frame is not None},
        )
        for kind in self.kinds:
            (self.folder / kind).mkdir(exist_ok=True)
            KINDS[kind](self.folder / kind, drawn)
        if self.overlays and drawn.marks:
            self.overlays -= 1
            picture = self.folder / "overlays" / f"{drawn.clip_id}.png"
            write_overlay(picture, drawn.frames, labels, list(ends.values()))

    def files(self) -> list[str]:
        """Return the names of the tables and pictures, in the folder."""
        written = [
            f"{kind}/{name}"
            for kind in ("overlays", *self.kinds)
            for name in sorted(path.name for path in (self.folder / kind).glob("*"))
        ]
        return ["areas.csv", "curves.csv", "volumes.csv", *written]

    def volume_table(self) -> pd.DataFrame:
        """Return the rows of ``volumes.csv``; without measured values if none is known."""
        names = [*VOLUME_COLUMNS, "measured_ef_percent", "split"]
        table = pd.DataFrame(self.volumes, columns=[*names, "study_id", "view"])
        studies, views = table.pop("study_id"), table.pop("view")
        flag_foreshortened(table, studies.tolist(), views.tolist())
        for name in ("ed_frame", "es_frame"):
            table[name] = table[name].astype("Int64")
        if table["measured_ef_percent"].isna().all():
            del table["measured_ef_percent"]
        return table


@contextmanager
def open_output(
    folder: Path,
    overlays: int,
    kinds: Sequence[str] = (),
    structures: Collection[int] = tuple(STRUCTURES),
) -> Iterator[SegmentOutput]:
    """Yield a writer of predictions into an empty folder.

    Args:
        folder: The folder.
        overlays: Pictures to draw at most.
        kinds: What masks are written as beside the clip set.
        structures: Values of those that the head was taught.
    """
    with (
        (folder / "areas.csv").open("w", encoding="utf-8", newline="") as file,
        (folder / "curves.csv").open("w", encoding="utf-8", newline="") as of_curves,
        ClipSetWriter(folder, kind="masks") as masks,
    ):
        areas = csv.writer(file, lineterminator="\n")
        areas.writerow(AREA_COLUMNS)
        curves = csv.writer(of_curves, lineterminator="\n")
        curves.writerow(CURVE_COLUMNS)
        output = SegmentOutput(folder, masks, areas, curves, overlays, structures, kinds)
        yield output
    output.volume_table().to_csv(folder / "volumes.csv", index=False)
