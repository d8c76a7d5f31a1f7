"""What becomes rows together: a clip, or all clips of a patient."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from echocli.clips.manifest import COLUMNS
from echocli.clips.store import ClipSet
from echocli.tables import IDS

PIXELS = "pixels_sha256"
"""Column that tells, whatever a row is called, whether it is still of the same pixels."""
BLOCK = 64
"""Clips that are encoded together and kept for a resume, at most: what a stop can cost."""
BLOCK_BYTES = 64_000_000


@dataclass(frozen=True)
class Units:
    """What becomes rows together, in order."""

    table: pd.DataFrame
    """One row a unit: ids, hash of the pixels, labels."""
    rows: list[list[int]]
    """Rows of the clip set that each unit is made of."""
    key: str
    """The column that names units: ``clip_id`` or ``patient_id``."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> list[str]:
        """The name of each unit."""
        return [str(name) for name in self.table[self.key]]

    def some(self, indices: Sequence[int]) -> Units:
        """Return some of the units."""
        # A slice is cut four times as fast as rows are looked up one by one.
        if isinstance(indices, range):
            table = self.table.iloc[indices.start : indices.stop]
        else:
            table = self.table.iloc[list(indices)]
        table = table.reset_index(drop=True)
        return Units(table, [self.rows[index] for index in indices], self.key)


def units_of(clips: ClipSet, rows: Sequence[int], per: str) -> Units:
    """Return the units of some rows of a clip set.

    Args:
        clips: The clips.
        rows: Those that can be encoded.
        per: ``patient``, or anything that is within a clip.
    """
    labels = [name for name in clips.manifest.columns if name not in COLUMNS.names]
    table = clips.manifest[[*IDS, PIXELS, *labels]].iloc[list(rows)].reset_index(drop=True)
    if per != "patient":
        return Units(table, [[row] for row in rows], "clip_id")
    return _patients(table, rows, labels)


def _patients(table: pd.DataFrame, rows: Sequence[int], labels: list[str]) -> Units:
    """Return units of patients; a label is theirs if all their clips that have it agree."""
    groups = table.groupby("patient_id", sort=False)
    names = list(groups.groups)
    columns: dict[str, object] = {"patient_id": names}
    for name in ("source_sha256", PIXELS):
        columns[name] = [_together(groups.get_group(key)[name]) for key in names]
    columns["clips"] = [len(groups.groups[key]) for key in names]
    for name in labels:
        agreed = groups[name].nunique() == 1
        columns[name] = groups[name].first().where(agreed).reindex(names).to_numpy()
    members = [[rows[index] for index in groups.indices[key]] for key in names]
    return Units(pd.DataFrame(columns), members, "patient_id")


def _together(hashes: Iterable[object]) -> str:
    return hashlib.sha256("\n".join(sorted(map(str, hashes))).encode()).hexdigest()


def blocks_of(units: Units, unit_bytes: int, together: int) -> Iterator[range]:
    """Yield the indices of units that are encoded and written together.

    Args:
        units: The units.
        unit_bytes: What the rows of a clip take in memory.
        together: Clips that cross the network at once, which a block should not divide.
    """
    most = max(1, min(BLOCK, BLOCK_BYTES // unit_bytes) // together) * together
    first = clips = 0
    for index, rows in enumerate(units.rows):
        if index > first and clips + len(rows) > most:
            yield range(first, index)
            first, clips = index, 0
        clips += len(rows)
    if first < len(units):
        yield range(first, len(units))
