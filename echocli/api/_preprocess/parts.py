"""A part of a clip set: made in a hidden folder of the set, audited there, published whole.

A process that is killed leaves its hidden folder behind. Whoever comes next either ends the
publication that had begun, or sweeps the folder away: a part is there or it is not.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from echocli.api._preprocess.quarantine import Quarantined, write_quarantine
from echocli.clips.progress import STATE_FOLDER
from echocli.clips.record import Clip
from echocli.clips.writer import SHARD_BYTES, ClipSetWriter
from echocli.files import read_json, sha256_of, sync_folder, write_json, write_text
from echocli.locks import locked
from echocli.privacy.audit import QUARANTINE_FILE, audit

PART_SOURCES = 100
PART_SECONDS = 60.0
"""A part is published after so many sources or so long: what a killed process loses at most."""
HIDDEN = ".writing-"
AUDITED = "audited"
"""Stands in a hidden folder while a part that passed its audit is being published."""
COPIES = "dicom"
"""Folder of de-identified DICOM files in a clip set."""


@dataclass(frozen=True)
class Source:
    """A source that a part accounts for."""

    source_id: str
    position: int
    place: str
    """Keyed hash of its path."""
    clip_id: str | None
    """The clip it became, unless it was refused."""
    patient: str = ""
    """Keyed hash of what a table of labels would call the patient."""
    told: str = ""
    """Keyed hash of what such a table told about it; empty if nothing."""


class Part:
    """Clips and refusals of some sources.

    Args:
        folder: The clip set.
        share: Name of the process's share of the sources.
        name: Name of the part.
        incoming: Where workers lay DICOM copies, in the hidden folder, if they are wanted.
    """

    def __init__(self, folder: Path, share: str, name: str, incoming: Path | None) -> None:
        self.name = name
        self.set = folder
        self.hidden = hidden_folder(folder, share)
        self.incoming = incoming
        self.folder = self.hidden / "part"
        self.writer = ClipSetWriter(self.folder, name, keep_empty=True)
        self.sources: list[Source] = []
        self.refused: list[Quarantined] = []
        self.identifiers: set[str] = set()
        self.begun = time.monotonic()

    def add(self, clip: Clip) -> None:
        """Append a clip, and its DICOM copy if there is one."""
        self.writer.add(clip)
        copy = (self.incoming or self.hidden) / f"{clip.clip_id}.dcm"
        if copy.exists():
            (self.folder / COPIES).mkdir(exist_ok=True)
            os.replace(copy, self.folder / COPIES / copy.name)

    @property
    def full(self) -> bool:
        """Whether it is time to publish."""
        return (
            len(self.sources) >= PART_SOURCES
            or self.writer.written_bytes >= SHARD_BYTES
            or time.monotonic() - self.begun >= PART_SECONDS
        )

    def publish(self, named: Sequence[str]) -> None:
        """Audit the part and make it one of the set.

        Args:
            named: Label columns that the user let through.

        Raises:
            PrivacyError: If the audit fails; nothing of the part is kept.
        """
        self.writer.details = {
            "sources": [asdict(source) for source in self.sources],
            "quarantine": [asdict(entry) for entry in self.refused],
        }
        self.writer.close()
        write_quarantine(self.folder / QUARANTINE_FILE, self.refused)
        checks = audit(self.folder, identifiers=self.identifiers, named=named)
        (self.folder / QUARANTINE_FILE).unlink()  # that of the set tells of all its parts
        self._note([asdict(check) for check in checks])
        write_text(self.hidden / AUDITED, "")
        _end_publication(self.hidden, self.set)

    def _note(self, checks: list[dict[str, Any]]) -> None:
        """Complete what stands beside the manifest: hashes of the copies, and the checks."""
        path = self.writer.manifest.with_suffix(".json")
        content = read_json(path)
        for copy in sorted((self.folder / COPIES).glob("*.dcm")):
            with copy.open("rb+") as file:
                os.fsync(file.fileno())
            content["sha256"][f"{COPIES}/{copy.name}"] = sha256_of(copy)
        write_json(path, {**content, "checks": checks})

    def discard(self) -> None:
        """Remove the part."""
        self.writer.discard()
        shutil.rmtree(self.folder, ignore_errors=True)


def hidden_folder(folder: Path, share: str) -> Path:
    """Return where a process prepares its parts."""
    return folder / f"{HIDDEN}{share}"


def new_incoming(folder: Path, share: str) -> Path:
    """Make the folder where workers lay their DICOM copies.

    Its name is new each time: workers that outlive a killed process must not find it.
    """
    incoming = hidden_folder(folder, share) / f"incoming-{secrets.token_hex(4)}"
    incoming.mkdir(parents=True)
    return incoming


def next_name(folder: Path, suffix: str) -> str:
    """Return a name for a part that sorts behind all that are there.

    Args:
        folder: The clip set.
        suffix: What makes it differ from the names that other processes choose meanwhile.
    """
    numbers = [0, *(1 + int(part.stem[5:10]) for part in part_files(folder))]
    return f"{max(numbers):05d}{suffix}"


def part_files(folder: Path) -> list[Path]:
    """Return the manifests of the parts that are there, in order."""
    return sorted((folder / "manifest").glob("part-*.parquet"))


def sweep(folder: Path, share: str) -> None:
    """End or remove what dead processes left in a set, this share's included.

    Args:
        folder: The clip set, whose lock is held.
        share: Name of this process's share, whose lock is held.
    """
    for hidden in sorted(folder.glob(f"{HIDDEN}*")):
        other = hidden.name.removeprefix(HIDDEN)
        if other == share:
            _clear(hidden, folder)
            continue
        with locked(folder / STATE_FOLDER / f"{other}.lock") as dead:
            if dead:
                _clear(hidden, folder)


def _clear(hidden: Path, folder: Path) -> None:
    if (hidden / AUDITED).exists():
        _end_publication(hidden, folder)
    shutil.rmtree(hidden)


def _end_publication(hidden: Path, folder: Path) -> None:
    """Move an audited part into its set, the manifest last: with it the part is there."""
    part = hidden / "part"
    files = [path for path in part.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: (path.suffix == ".parquet", path)):
        place = folder / path.relative_to(part)
        place.parent.mkdir(exist_ok=True)
        if path.suffix == ".parquet":
            _sync(folder)
        os.replace(path, place)
    _sync(folder)
    (hidden / AUDITED).unlink()
    shutil.rmtree(part)


def withdraw(folder: Path, name: str) -> None:
    """Take a part back, its manifest first.

    Args:
        folder: The clip set.
        name: The part.
    """
    manifest = folder / "manifest" / f"part-{name}.parquet"
    sums = manifest.with_suffix(".json")
    files = read_json(sums)["sha256"]
    manifest.unlink()
    for file in files:
        (folder / file).unlink(missing_ok=True)
    sums.unlink()


def _sync(folder: Path) -> None:
    for name in ("", "manifest", COPIES):
        if (folder / name).is_dir():
            sync_folder(folder / name)
