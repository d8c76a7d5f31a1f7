"""Writing a clip set: nothing can be read before all of a part stands on the disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from echocli.clips.manifest import row_of, write_part
from echocli.clips.mask_grid import Box
from echocli.clips.record import Clip
from echocli.errors import UsageError
from echocli.files import publish, sha256_of, sync_folder

SHARD_BYTES = 1 << 30
"""A new shard begins after this many bytes: large enough to map, small enough to copy."""


class ClipSetWriter:
    """Writes one part of a clip set; several may write parts of one set side by side.

    Shards and manifest have temporary names until ``close``, which syncs them and names the
    manifest last. A writer that dies leaves no part behind.

    Args:
        folder: The clip set; made if it is not there.
        part: Name of the part, unique in the set.
        kind: ``clips``, or ``masks`` if the frames hold structures.
        shard_bytes: How large a shard may grow before the next one begins.
        keep_empty: Write the part even if it holds no clip.
    """

    def __init__(
        self,
        folder: Path,
        part: str = "00000",
        kind: str = "clips",
        *,
        shard_bytes: int = SHARD_BYTES,
        keep_empty: bool = False,
    ) -> None:
        assert re.fullmatch(r"[0-9A-Za-z_-]+", part), part
        self.folder = folder
        self.part = part
        self.kind = kind
        self.keep_empty = keep_empty
        self.details: dict[str, Any] = {}
        """What else is written beside the hashes, for whoever made the part."""
        self.manifest = folder / "manifest" / f"part-{part}.parquet"
        if self.manifest.exists():
            raise UsageError(
                f"{folder} already has a part {part}.",
                "Choose another place with -o, or add --overwrite to replace it.",
            )
        self.manifest.parent.mkdir(parents=True, exist_ok=True)
        self._rows: list[dict[str, Any]] = []
        self._ids: set[str] = set()
        self._frames = _Shards(folder, f"shard-{part}", shard_bytes)
        self._masks = _Shards(folder, f"masks-{part}", shard_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def written_bytes(self) -> int:
        """Bytes of all frames and masks so far."""
        return self._frames.total + self._masks.total

    def add(self, clip: Clip) -> None:
        """Append a clip.

        Raises:
            ValueError: If the clip contradicts itself, or is there already.
        """
        check_clip(clip)
        if clip.clip_id in self._ids:
            raise ValueError(f"Clip {clip.clip_id} was added twice.")
        row = row_of(clip)
        row["shard"], row["offset"] = self._frames.append(clip.frames)
        if clip.masks is not None:
            row["mask_shard"], row["mask_offset"] = self._masks.append(clip.masks)
        row["pixels_sha256"] = hashlib.sha256(clip.frames.tobytes()).hexdigest()
        self._rows.append(row)
        self._ids.add(clip.clip_id)

    def close(self) -> None:
        """Make the part readable. A part without clips leaves nothing."""
        try:
            self._publish()
        except BaseException:
            self.discard()
            raise

    def _publish(self) -> None:
        if not self._rows and not self.keep_empty:
            self.discard()
            return
        sums = {**self._frames.publish(), **self._masks.publish()}
        temporary = self.manifest.with_name(f".{self.manifest.name}.tmp")
        write_part(temporary, self._rows, self.kind)
        sums[f"manifest/{self.manifest.name}"] = sha256_of(temporary)
        hashes = self.manifest.with_suffix(".json")
        hashes_temporary = hashes.with_name(f".{hashes.name}.tmp")
        content = {"sha256": sums, **self.details}
        hashes_temporary.write_text(json.dumps(content, indent=2) + "\n")
        publish(hashes_temporary, hashes)
        publish(temporary, self.manifest)

    def discard(self) -> None:
        """Remove what was written; the part never existed."""
        self._frames.discard()
        self._masks.discard()
        for path in (self.manifest, self.manifest.with_suffix(".json")):
            path.with_name(f".{path.name}.tmp").unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def check_clip(clip: Clip) -> None:
    """Refuse a clip that contradicts itself.

    Raises:
        ValueError: With what is wrong.
    """
    frames = clip.frames
    if frames.dtype != np.uint8 or frames.ndim != 3 or not frames.size:
        raise ValueError(f"Frames are {frames.dtype} {frames.shape}, not uint8 (t, h, w).")
    if clip.sector.dtype != np.bool_ or clip.sector.shape != frames.shape[1:]:
        raise ValueError(f"The sector is {clip.sector.dtype} {clip.sector.shape}.")
    times = clip.times_s
    if times is not None:
        if times.shape != frames.shape[:1] or not np.isfinite(times).all():
            raise ValueError(f"{times.shape} finite times are needed for {len(frames)} frames.")
        if times[0] != 0 or (np.diff(times) <= 0).any():
            raise ValueError("Times start at 0 and increase.")
    if clip.spacing_mm is not None and not all(0 < mm < np.inf for mm in clip.spacing_mm):
        raise ValueError("Spacing is positive.")
    masks = () if clip.masks is None else clip.masks
    if len(masks) != len(clip.mask_frames):
        raise ValueError(f"{len(masks)} masks for {len(clip.mask_frames)} frames.")
    if clip.masks is not None:
        _check_masks(clip.masks, clip.mask_box, frames.shape[1:])
        if any(not 0 <= frame < len(frames) for frame in clip.mask_frames):
            raise ValueError("A mask belongs to a frame that is not there.")


def _check_masks(masks: NDArray[np.uint8], box: Box | None, size: tuple[int, ...]) -> None:
    if masks.dtype != np.uint8 or masks.ndim != 3 or (box is None and masks.shape[1:] != size):
        raise ValueError(f"Masks are {masks.dtype} {masks.shape}.")
    if box is not None and not (
        0 <= box[0] < box[1] <= size[0] and 0 <= box[2] < box[3] <= size[1]
    ):
        raise ValueError(f"Masks cannot lie at {box} in frames of {size}.")


class _Shards:
    """A row of packed files under temporary names."""

    def __init__(self, folder: Path, stem: str, limit: int) -> None:
        self.folder = folder
        self.stem = stem
        self.limit = limit
        self.names: list[str] = []
        self.written = 0
        self.total = 0
        self._file: IO[bytes] | None = None
        # What a writer of this very part left when it was killed.
        for stale in folder.glob(f".{stem}-*.tmp"):
            stale.unlink()

    def append(self, pixels: NDArray[np.uint8]) -> tuple[str, int]:
        """Write an array and return the shard's final name and the offset in it."""
        if self._file is None or (self.written and self.written + pixels.size > self.limit):
            self._finish()
            self.names.append(f"{self.stem}-{len(self.names):05d}.u8")
            self._file = self._temporary(self.names[-1]).open("wb")
            self.written = 0
        offset = self.written
        self._file.write(np.ascontiguousarray(pixels).data)
        self.written += pixels.size
        self.total += pixels.size
        return self.names[-1], offset

    def publish(self) -> dict[str, str]:
        """Give every shard its name and return their hashes."""
        self._finish()
        hashes = {}
        for name in self.names:
            hashes[name] = sha256_of(self._temporary(name))
            publish(self._temporary(name), self.folder / name)
        return hashes

    def discard(self) -> None:
        """Remove every shard."""
        if self._file is not None:
            self._file.close()
            self._file = None
        for name in self.names:
            self._temporary(name).unlink(missing_ok=True)
            (self.folder / name).unlink(missing_ok=True)
        sync_folder(self.folder)

    def _finish(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _temporary(self, name: str) -> Path:
        return self.folder / f".{name}.tmp"
