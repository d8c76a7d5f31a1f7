"""Clips as they would have come from a worse acquisition."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from echocli.clips.manifest import COLUMNS
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet, ClipSetWriter
from echocli.models.perturb import PERTURBATIONS, narrowed

NARROW = "narrow"
"""What changes where the scan is, not only what it shows."""


class Fault(NamedTuple):
    """A perturbation in some strength."""

    name: str
    strength: float

    def frames(
        self, frames: NDArray[np.uint8], sector: NDArray[np.bool_], seed: str
    ) -> NDArray[np.uint8]:
        """Return the frames of a clip with this fault.

        Args:
            frames: As they are stored.
            sector: Where the scan is.
            seed: Decides what is drawn, whatever the strength.
        """
        start = hashlib.sha256(f"{seed}/{self.name}".encode()).digest()[:4]
        generator = torch.Generator().manual_seed(int.from_bytes(start))
        changed = PERTURBATIONS[self.name](
            torch.from_numpy(frames.copy()), torch.from_numpy(sector), self.strength, generator
        )
        return changed.numpy()

    def sector(self, sector: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return where the scan then is."""
        if self.name != NARROW:
            return sector
        return narrowed(torch.from_numpy(sector), self.strength).numpy()


def write_with_fault(
    clips: ClipSet, rows: Sequence[int], folder: Path, fault: Fault | None, seed: int
) -> None:
    """Write some clips into a new set, all with one fault; labels and masks stay.

    Args:
        clips: The clips.
        rows: Which of them.
        folder: The new set.
        fault: What is wrong with them; ``None`` copies them.
        seed: Start of all random numbers; each clip has its own.
    """
    with ClipSetWriter(folder) as writer:
        for row in rows:
            frames, sector = clips.frames(row), clips.sector(row)
            if fault is not None:
                clip_id = clips.manifest["clip_id"].iloc[row]
                frames = fault.frames(frames, sector, f"{seed}/{clip_id}")
                sector = fault.sector(sector)
            writer.add(clip_with(clips, row, frames, sector))


def clip_with(
    clips: ClipSet, row: int, frames: NDArray[np.uint8], sector: NDArray[np.bool_]
) -> Clip:
    """Return a clip of a set as a record, with other frames."""
    cells = {str(name): cell for name, cell in clips.manifest.iloc[row].items()}
    labels = {
        name: cell
        for name, cell in cells.items()
        if name not in COLUMNS.names and not pd.isna(cell)
    }
    box, notes, date = cells["mask_box"], cells["notes"], cells["study_date"]
    return Clip(
        **{name: str(cells[name]) for name in ("clip_id", "patient_id", "study_id")},
        source_sha256=str(cells["source_sha256"]),
        frames=frames,
        sector=sector,
        times_s=clips.times_s(row),
        time_source=str(cells["time_source"]),
        spacing_mm=clips.spacing_mm(row),
        spacing_source=str(cells["spacing_source"]),
        labels=labels,
        masks=clips.fine_masks(row),
        mask_frames=clips.mask_frames(row),
        mask_box=None if box is None else (box[0], box[1], box[2], box[3]),
        r_waves_s=clips.r_waves_s(row),
        r_wave_source=str(cells["r_wave_source"]),
        study_date=None if pd.isna(date) else str(date),
        notes=() if notes is None else tuple(notes),
    )
