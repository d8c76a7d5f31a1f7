"""The clip set on disk: packed grey uint8, read by memory map, and a Parquet manifest.

Nothing is compressed: training reads random windows, and a memory map hands them over without
decoding a frame.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.clips.manifest import ID, read_parts
from echocli.clips.mask_grid import Box, on_frames, spacing_of
from echocli.clips.progress import unfinished
from echocli.clips.query import rows_where
from echocli.clips.writer import ClipSetWriter as ClipSetWriter
from echocli.errors import EchoError
from echocli.files import read_json, sha256_of
from echocli.study import Study, called

PACKED = re.compile(r"(shard|masks)-[0-9A-Za-z_-]+\.u8")
"""What a file of packed pixels is called."""
LOOKED_UP = (
    "frames",
    "height",
    "width",
    "times_s",
    "row_mm",
    "column_mm",
    "r_waves_s",
    "mask_frames",
    "mask_height",
    "mask_width",
    "mask_box",
    "shard",
    "offset",
    "mask_shard",
    "mask_offset",
    "sector",
)
"""Columns that are needed again and again, cell by cell."""


class ClipSet:
    """A folder of clips, or a choice of them. Row ``i`` of ``manifest`` is clip ``i``."""

    def __init__(self, folder: Path, manifest: pd.DataFrame, kind: str) -> None:
        self.folder = folder
        self.manifest = manifest
        self.kind = kind
        self._maps: dict[str, NDArray[np.uint8]] = {}
        self._mapped_bytes = 0

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a clip set: the union of the parts that are there now.

        Others may be writing further parts meanwhile. A clip that two processes made of the
        same source counts once.

        Raises:
            EchoError: If the folder is no clip set, or holds two versions of a clip, or an id
                that could lead out of a folder as the name of a file.
        """
        parts = sorted((folder / "manifest").glob("part-*.parquet"))
        if not parts:
            why = "is none" if folder.exists() else "is not there"
            raise EchoError(
                f"There is no clip set: {called(folder, Study().clips)} {why}.",
                "Check the spelling, or make one with `echocli preprocess SOURCES -o clips`.",
            )
        manifest, kind = read_parts(parts)
        if not all(ID.fullmatch(str(name)) for name in manifest["clip_id"]):
            raise EchoError(
                f"The manifest of {folder} holds ids that are none.",
                f"See what is wrong with it: `echocli verify {folder}`.",
            )
        return cls(folder, _each_once(manifest, folder), kind)

    @staticmethod
    def is_one(folder: Path) -> bool:
        """Return whether a folder is a clip set."""
        return any((folder / "manifest").glob("part-*.parquet"))

    def __len__(self) -> int:
        return len(self.manifest)

    def frames(self, row: int) -> NDArray[np.uint8]:
        """Return the frames of a clip, ``(frames, height, width)``, without copying them."""
        shape = self._shape(row)
        return self._read("shard", "offset", row, shape)

    def window(
        self, row: int, indices: NDArray[np.intp], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Return a copy of some frames of a clip, ``(*indices, height, width)``.

        With ``out`` nothing but the pixels themselves is moved: with ``Batches``, which reads
        so, it is the fast road to many windows.

        Args:
            row: The clip.
            indices: Which of its frames, each from 0.
            out: Where they shall stand.

        Raises:
            IndexError: If there is no such frame.
        """
        frames = self.frames(row)
        if not 0 <= indices.min() <= indices.max() < len(frames):
            raise IndexError(f"{len(frames)} frames have not all of these: {indices.tolist()}.")
        # Checked above: with mode="raise", NumPy would copy everything twice.
        return frames.take(indices, axis=0, out=out, mode="clip")

    def masks(self, row: int) -> NDArray[np.uint8] | None:
        """Return the masks of a clip, one for each of ``mask_frames(row)``, or ``None``.

        They come in the pixels of its frames; to measure, take ``fine_masks``.
        """
        fine = self.fine_masks(row)
        _, height, width = self._shape(row)
        return None if fine is None else on_frames(fine, self._mask_box(row), height, width)

    def fine_masks(self, row: int) -> NDArray[np.uint8] | None:
        """Return the masks of a clip in their own pixels, without copying, or ``None``.

        See ``mask_spacing_mm`` for the size of these; they lie within the frame as the
        manifest's ``mask_box`` says.
        """
        count = len(self.mask_frames(row))
        if not count:
            return None
        return self._read("mask_shard", "mask_offset", row, (count, *self._mask_shape(row)))

    def mask_spacing_mm(self, row: int) -> tuple[float, float] | None:
        """Return the height and width of a pixel of ``fine_masks``; ``None`` if unknown."""
        return spacing_of(self._mask_shape(row), self._mask_box(row), self.spacing_mm(row))

    def mask_frames(self, row: int) -> tuple[int, ...]:
        """Return the frames of a clip that have a mask."""
        frames = self._columns["mask_frames"][row]
        return () if frames is None else tuple(int(frame) for frame in frames)

    def times_s(self, row: int) -> NDArray[np.float64] | None:
        """Return the time of each frame in seconds, or ``None`` if it is unknown."""
        times = self._columns["times_s"][row]
        return None if times is None else np.asarray(times, dtype=np.float64)

    def r_waves_s(self, row: int) -> tuple[float, ...]:
        """Return the times of the R waves within a clip, in seconds; none if unknown."""
        waves = self._columns["r_waves_s"][row]
        return () if waves is None else tuple(float(wave) for wave in waves)

    def sector(self, row: int) -> NDArray[np.bool_]:
        """Return where the scan is, ``(height, width)``."""
        _, height, width = self._shape(row)
        packed = np.frombuffer(self._columns["sector"][row], dtype=np.uint8)
        return np.unpackbits(packed, count=height * width).reshape(height, width).astype(bool)

    def spacing_mm(self, row: int) -> tuple[float, float] | None:
        """Return the height and width of a pixel, or ``None`` if they are unknown."""
        row_mm, column_mm = (self._columns[name][row] for name in ("row_mm", "column_mm"))
        return None if pd.isna(row_mm) else (float(row_mm), float(column_mm))

    def forget(self, beyond: int = 0) -> None:
        """Unmap the shards, as often as many clips were looked at once and for all.

        Pages that were read count as this process's memory for as long as they are mapped.
        Frames that somebody holds stay valid.

        Args:
            beyond: Bytes of clips that may be mapped: to unmap a few costs more than to read
                them.
        """
        if self._mapped_bytes > beyond:
            self._maps.clear()
            self._mapped_bytes = 0

    def where(self, query: str) -> ClipSet:
        """Return the clips for which a query on the manifest holds; see ``rows_where``.

        Raises:
            UsageError: If the query cannot be understood, or names no column.
        """
        return self.subset(rows_where(self.manifest, query))

    def subset(self, rows: Sequence[int] | NDArray[np.intp]) -> ClipSet:
        """Return the clips of some rows, in their order."""
        chosen = ClipSet(
            self.folder, self.manifest.iloc[list(rows)].reset_index(drop=True), self.kind
        )
        chosen._maps = self._maps
        return chosen

    def unfinished(self) -> list[str]:
        """Say which shares of the sources are still to be done; nothing if all are."""
        return unfinished(self.folder)

    def verify(self) -> list[str]:
        """Read every byte again and return what is wrong; nothing if all is whole."""
        return [*_damaged_files(self.folder), *self._damaged_clips()]

    def _damaged_clips(self) -> Iterator[str]:
        for row, clip_id in enumerate(self.manifest["clip_id"]):
            try:
                digest = hashlib.sha256(self.frames(row).tobytes()).hexdigest()
            except (OSError, EchoError):
                yield f"clip {clip_id}: its frames are missing"
                continue
            if digest != self.manifest["pixels_sha256"].iloc[row]:
                yield f"clip {clip_id}: its frames have changed"
            self.forget()

    @cached_property
    def _columns(self) -> dict[str, list[Any]]:
        # Looking one cell up in a table takes longer than reading a window.
        return {name: self.manifest[name].tolist() for name in LOOKED_UP}

    def _shape(self, row: int) -> tuple[int, int, int]:
        columns = self._columns
        return columns["frames"][row], columns["height"][row], columns["width"][row]

    def _mask_box(self, row: int) -> Box:
        """Return where masks lie in a frame: all over it in sets that do not say."""
        box = self._columns["mask_box"][row]
        if box is None:
            _, height, width = self._shape(row)
            return 0, height, 0, width
        row0, row1, column0, column1 = (int(side) for side in box)
        return row0, row1, column0, column1

    def _mask_shape(self, row: int) -> tuple[int, int]:
        """Return the size of masks: that of the frames in sets that do not say."""
        columns = self._columns
        if columns["mask_box"][row] is None:
            return self._shape(row)[1:]
        return int(columns["mask_height"][row]), int(columns["mask_width"][row])

    def _read(
        self, shard_column: str, offset_column: str, row: int, shape: tuple[int, int, int]
    ) -> NDArray[np.uint8]:
        columns = self._columns
        name = columns[shard_column][row]
        shard = self._maps.get(name)
        if shard is None:
            shard = self._maps[name] = self._map(name)
        start, size = int(columns[offset_column][row]), math.prod(shape)
        if start + size > len(shard):
            raise self._cut_short(name)
        self._mapped_bytes += size
        return shard[start : start + size].reshape(shape)

    def _cut_short(self, name: str) -> EchoError:
        return EchoError(
            f"{name} in {self.folder} ends before its last clip: it was not copied to its end.",
            "Copy the whole folder again, or run `echocli preprocess --overwrite`.",
        )

    def _map(self, name: str) -> NDArray[np.uint8]:
        if not PACKED.fullmatch(name):
            raise EchoError(
                f"The manifest of {self.folder} names a file that is none of its own.",
                "Do not use it: the set was changed since it was made.",
            )
        path = self.folder / name
        if not path.is_file():
            raise EchoError(
                f"{self.folder} lacks its file {name}.",
                "Copy the whole folder again, or run `echocli preprocess --overwrite`.",
            )
        if not path.stat().st_size:  # which nobody can map
            raise self._cut_short(name)
        # As a plain array: every slice of a memmap object costs more than a window's pixels.
        return np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)


def _each_once(manifest: pd.DataFrame, folder: Path) -> pd.DataFrame:
    again = manifest["clip_id"].duplicated()
    if not again.any():
        return manifest
    versions = manifest[["clip_id", "pixels_sha256"]].drop_duplicates()["clip_id"]
    different = versions[versions.duplicated()]
    if len(different):
        raise EchoError(
            f"{folder} holds clip {different.iloc[0]} twice, with different pixels.",
            "Run `echocli preprocess --overwrite` again, with one version on all machines.",
        )
    return manifest[~again].reset_index(drop=True)


def _damaged_files(folder: Path) -> Iterator[str]:
    for part in sorted((folder / "manifest").glob("part-*.parquet")):
        sums = part.with_suffix(".json")
        if not sums.is_file():
            yield f"{sums.name}: missing"
            continue
        for name, expected in read_json(sums)["sha256"].items():
            path = folder / name
            if not path.is_file():
                yield f"{name}: missing"
            elif sha256_of(path) != expected:
                yield f"{name}: changed since it was written"
