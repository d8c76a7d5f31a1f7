"""One source: read, mask, reshape, pseudonymise. Runs in worker processes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocli.clips.record import Clip
from echocli.datasets.base import DatasetItem
from echocli.intake.fingerprint import fingerprint, glance
from echocli.intake.loop import CineLoop
from echocli.intake.read import read_loop
from echocli.intake.reasons import Refused
from echocli.intake.reshape import Frame
from echocli.intake.sector import Sector, find_sector
from echocli.intake.sources import Content, content_of
from echocli.privacy.dates import shifted
from echocli.privacy.deid import write_deidentified
from echocli.privacy.pseudonyms import Pseudonyms

LARGE_BYTES = 1 << 30
"""A disk of a hospital reads so many bytes in five to ten seconds."""
UNREAD = (Content.ARCHIVE, Content.PICTURE, Content.OTHER)
"""What never becomes a clip, whatever its bytes are."""


@dataclass(frozen=True, slots=True)
class Task:
    """One source to be made a clip."""

    position: int
    """Place in the input, from 1: what messages call it by."""
    path: Path = field(repr=False)
    item: DatasetItem | None = field(default=None, repr=False)
    """How to read it, if it belongs to a known data set."""
    place: str = field(default="", repr=False)
    """Path below its root: the same on every machine, whatever else is added."""


@dataclass(frozen=True)
class Settings:
    """What decides what a clip looks like."""

    size: int
    assume_rate_hz: float | None
    pseudonyms: Pseudonyms
    dates: str = "drop"
    """``drop``, or ``shift`` to keep the days between a patient's examinations."""
    dicom_folder: Path | None = None
    """Where de-identified DICOM copies of DICOM sources go, if they are wanted."""
    done: frozenset[str] = frozenset()
    """Keyed source ids (``Pseudonyms.source``) of what need not be read again."""


@dataclass(frozen=True)
class Outcome:
    """A clip or the reason why there is none, with raw identifiers that stay in memory."""

    task: Task = field(repr=False)
    sha256: str = field(repr=False)
    clip: Clip | None = None
    refused: Refused | None = None
    known: bool = False
    """Whether its content is among ``Settings.done``: it was hashed and not read."""
    patient_key: str = field(default="", repr=False)
    study_key: str = field(default="", repr=False)


def process(
    task: Task, settings: Settings, note: Callable[[str], None] | None = None
) -> Outcome:
    """Turn one source into a clip.

    Args:
        task: The source.
        settings: How to do it.
        note: Is told the source's hash before anything is decoded.

    Returns:
        The outcome; a file that cannot be used is an outcome, too.

    Raises:
        PrivacyError: If a de-identified copy does not hold what it should.
        MemoryError: If the memory does not suffice.
    """
    sha256 = source_hash(task.path)
    if note:
        note(sha256)
    if settings.done and settings.pseudonyms.source(sha256) in settings.done:
        return Outcome(task, sha256, known=True)
    try:
        loop = task.item.read() if task.item else read_loop(task.path)
        sector = find_sector(loop)
        clip = make_clip(loop, sector, settings)
        _write_copy(task.path, loop, sector.mask, clip, settings)
    except Refused as refused:
        return Outcome(task, sha256, refused=refused)
    return Outcome(
        task, loop.sha256, clip, patient_key=loop.patient_key, study_key=loop.study_key
    )


def lost(task: Task, sha256: str, refused: Refused) -> Outcome:
    """Return the outcome of a source that cost its worker.

    Args:
        task: The source.
        sha256: Its hash, empty if the worker did not get so far.
        refused: What happened.
    """
    return Outcome(task, sha256 or _hash_of_name(task.path), refused=refused)


def source_hash(path: Path) -> str:
    """Return the hash of a source's bytes, or of its path if it cannot be read.

    An archive or a disk image may be larger than can be read in the time for one file: nobody
    will read it, so its ends suffice.
    """
    try:
        if path.is_file():
            large = path.stat().st_size > LARGE_BYTES
            return glance(path) if large and content_of(path) in UNREAD else fingerprint(path)
    except (OSError, Refused):
        pass  # an unreadable file still needs an id of its own in the quarantine list
    return _hash_of_name(path)


def _hash_of_name(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()


def make_clip(loop: CineLoop, sector: Sector, settings: Settings) -> Clip:
    """Mask, reshape and pseudonymise a decoded loop."""
    around = np.ones_like(sector.mask) if loop.sector_known is not None else sector.mask
    frame = Frame.around(around, settings.size, loop.spacing_mm)
    frames, stored_sector = frame.frames(loop.frames, sector.mask)
    timed = _with_assumed_times(loop, settings.assume_rate_hz)
    pseudonyms = settings.pseudonyms
    masks, mask_box = (None, None) if loop.masks is None else frame.masks(loop.masks)
    return Clip(
        clip_id=pseudonyms.clip(loop.sha256),
        patient_id=pseudonyms.patient(loop.patient_key),
        study_id=pseudonyms.study(loop.study_key),
        source_sha256=pseudonyms.source(loop.sha256),
        frames=frames,
        sector=stored_sector,
        times_s=timed.times_s,
        time_source=timed.time_source,
        spacing_mm=frame.spacing_mm,
        spacing_source=loop.spacing_source,
        labels=dict(loop.labels),
        masks=masks,
        mask_frames=loop.mask_frames,
        mask_box=mask_box,
        **_beats(loop, timed.times_s),
        study_date=_date(loop, settings),
        notes=(*loop.notes, *sector.notes),
    )


def _write_copy(
    source: Path, loop: CineLoop, sector: NDArray[np.bool_], clip: Clip, settings: Settings
) -> None:
    """Write a de-identified copy of a DICOM source, if copies are wanted."""
    folder = settings.dicom_folder
    if folder is None or content_of(source) is not Content.DICOM:
        return
    write_deidentified(
        source,
        folder / f"{clip.clip_id}.dcm",
        loop=loop,
        sector=sector,
        clip_id=clip.clip_id,
        patient_id=clip.patient_id,
        pseudonyms=settings.pseudonyms,
        dates=settings.dates,
    )


def _beats(loop: CineLoop, times_s: NDArray[np.float64] | None) -> dict[str, Any]:
    """Return the R waves within the loop; without frame times they belong to no frame."""
    if times_s is None:
        return {}
    within = tuple(time for time in loop.r_waves_s if times_s[0] <= time <= times_s[-1])
    return {"r_waves_s": within, "r_wave_source": loop.r_wave_source} if within else {}


def _date(loop: CineLoop, settings: Settings) -> str | None:
    if settings.dates != "shift":
        return None
    return shifted(loop.study_date, loop.patient_key, settings.pseudonyms)


def _with_assumed_times(loop: CineLoop, rate_hz: float | None) -> CineLoop:
    """Fill in times from the rate that the user assumes, where nothing told them."""
    if loop.times_s is not None or rate_hz is None:
        return loop
    return replace(loop, times_s=np.arange(len(loop.frames)) / rate_hz, time_source="assumed")
