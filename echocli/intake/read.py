"""Reads one file of any kind: whole, to a loop, or only its header, to a description."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echocli.clips.record import mean_rate_hz
from echocli.intake.damage import find_damage
from echocli.intake.decode import can_decode, check_layout, decode, missing_decoder
from echocli.intake.dicom import Header, read_header, syntax_name
from echocli.intake.extent import check_pixels
from echocli.intake.fingerprint import fingerprint
from echocli.intake.guard import MOST_FRAMES, check_size, foreign, quiet
from echocli.intake.kind import Kind, classify, few, mode_is_untold
from echocli.intake.looks import is_colour_doppler, is_static
from echocli.intake.loop import MIN_FRAMES, CineLoop, Region
from echocli.intake.mhd import describe_mhd, read_mhd
from echocli.intake.nifti import VolumeHeader, describe_nifti, read_nifti
from echocli.intake.pixels import Gatherer
from echocli.intake.r_waves import find_r_waves
from echocli.intake.reasons import Reason, Refused
from echocli.intake.regions import Scan, find_scan
from echocli.intake.sources import Content, content_of
from echocli.intake.timing import frame_times, timing_notes
from echocli.intake.vendors import vendor_of
from echocli.intake.video import describe_video, read_video

MAY_BE_COLOUR = "use, unless its colours are Doppler: the header tells no mode"
"""Said of a loop that only its pixels can tell from one that is refused."""


@dataclass(frozen=True, kw_only=True)
class FileDescription:
    """What the header of one file says. It holds no identifier, date or name."""

    kind: Kind
    vendor: str | None = None
    frames: int | None = None
    rows: int | None = None
    columns: int | None = None
    rate_hz: float | None = None
    time_source: str = "unknown"
    spacing_mm: tuple[float, float] | None = None
    """``(row_mm, column_mm)``."""
    spacing_source: str = "unknown"
    transfer_syntax: str | None = None
    """Of DICOM; the codec of a video."""
    decodable: bool | None = None
    """Whether this machine has the decoder; ``None`` if there is nothing to decode."""
    missing: str = ""
    """The package to install so that it can be decoded; empty if none is missing or helps."""
    notes: tuple[str, ...] = ()
    """What is doubtful about scale and time, words of ``loop.NOTES``."""
    reason: Reason | None = None
    """Why it cannot be used; ``None`` if it can, as far as the header tells."""
    detail: str = ""
    """Why so, or why it may be refused once its pixels are seen."""

    @property
    def usable(self) -> bool:
        """Whether the header speaks for a clip; only the pixels can tell for certain."""
        return self.reason is None


def read_loop(path: Path) -> CineLoop:
    """Decode one file to a cine loop.

    Raises:
        Refused: If the file is no usable two-dimensional grey loop.
    """
    content = content_of(path)
    with quiet():
        if content is Content.DICOM:
            return _read_dicom(path)
        if content is Content.VIDEO:
            return _read_video(path)
        if content is Content.NIFTI:
            return _read_volume(path, read_nifti)
        if content is Content.MHD:
            return _read_volume(path, read_mhd)
    raise Refused(_reason_of(content))


def describe(path: Path) -> FileDescription:
    """Describe one file by its header, without reading pixels.

    A file that cannot be used is described too: ``reason`` says why.
    """
    try:
        content = content_of(path)
        with quiet():
            if content is Content.DICOM:
                return _describe_dicom(path)
            if content is Content.VIDEO:
                return _describe_video(path)
            if content is Content.NIFTI:
                return _describe_volume(describe_nifti(path))
            if content is Content.MHD:
                return _describe_volume(describe_mhd(path))
        kind = Kind.STILL if content is Content.PICTURE else Kind.OTHER
        reason = _reason_of(content)
    except Refused as refused:
        return FileDescription(kind=Kind.OTHER, reason=refused.reason, detail=refused.detail)
    return FileDescription(kind=kind, reason=reason, detail=Refused(reason).detail)


def _reason_of(content: Content) -> Reason:
    reasons = {Content.PICTURE: Reason.STILL, Content.ARCHIVE: Reason.ARCHIVE}
    return reasons.get(content, Reason.NOT_AN_IMAGE)


def _read_dicom(path: Path) -> CineLoop:
    header = read_header(path)
    verdict = classify(header)
    if verdict.reason:
        raise Refused(verdict.reason, verdict.detail)
    check_size(header.frames, header.rows, header.columns)
    check_pixels(path, header)
    scan = find_scan(header)
    gathered = decode(path, header, scan.region)
    _confirm(gathered, scan.region)
    doubts = {*gathered.notes, *_damage_notes(gathered.frames)}
    times, time_source = frame_times(header, gathered.count)
    r_waves, r_wave_source = find_r_waves(
        header, gathered.frames, gathered.chroma, times, scan.region
    )
    sha256 = _hash(path)
    return CineLoop(
        frames=gathered.frames,
        chroma=gathered.chroma,
        times_s=times,
        time_source=time_source,
        spacing_mm=scan.spacing_mm,
        spacing_source=scan.spacing_source,
        region=scan.region,
        patient_key=header.patient_key or sha256,
        study_key=header.study_key or sha256,
        study_date=header.study_date,
        r_waves_s=r_waves,
        r_wave_source=r_wave_source,
        sha256=sha256,
        notes=(*_notes(header, scan, times, time_source), *sorted(doubts)),
    )


def _damage_notes(frames: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return a doubt about a frame that may be damaged.

    Raises:
        Refused: If it surely is: what stands still around the scan, a name perhaps, has moved.
    """
    damage = find_damage(frames)
    if damage is None:
        return ()
    if damage.surroundings:
        detail = f"frame {damage.frame + 1} of {len(frames)} is damaged"
        raise Refused(Reason.UNDECODABLE, detail)
    return ("damaged_frame",)


def _notes(
    header: Header, scan: Scan, times_s: NDArray[np.float64] | None, time_source: str
) -> tuple[str, ...]:
    """Return what is doubtful about a DICOM loop, in words of ``loop.NOTES``."""
    others = {"contrast": header.contrast, "concatenated": header.parts > 1}
    return (
        *scan.notes,
        *timing_notes(header, times_s, time_source),
        *(word for word, holds in others.items() if holds),
    )


def _read_video(path: Path) -> CineLoop:
    gathered, times = read_video(path)
    _check_count(gathered.count)
    _confirm(gathered, None)
    damage = find_damage(gathered.frames)  # a cut may look so, too: no reason to refuse it
    sha256 = _hash(path)
    return CineLoop(
        frames=gathered.frames,
        chroma=gathered.chroma,
        times_s=times,
        time_source="unknown" if times is None else "container",
        spacing_mm=None,
        spacing_source="unknown",
        region=None,
        patient_key=sha256,
        study_key=sha256,
        sha256=sha256,
        notes=("damaged_frame",) if damage else (),
    )


def _read_volume(
    path: Path, read: Callable[[Path], tuple[NDArray[np.uint8], VolumeHeader]]
) -> CineLoop:
    frames, header = read(path)
    _check_count(len(frames))
    if is_static(frames, None):
        raise Refused(Reason.STATIC)
    sha256 = _hash(path)
    steps = np.arange(len(frames), dtype=np.float64)
    times = None if header.step_s is None else steps * header.step_s
    return CineLoop(
        frames=frames,
        chroma=np.zeros(frames.shape[1:], dtype=np.uint8),
        times_s=times,
        time_source="unknown" if times is None else "header",
        spacing_mm=header.spacing_mm,
        spacing_source="unknown" if header.spacing_mm is None else "header",
        region=None,
        patient_key=sha256,
        study_key=sha256,
        sha256=sha256,
    )


def _hash(path: Path) -> str:
    with foreign(Reason.UNREADABLE):
        return fingerprint(path)


def _check_count(frames: int) -> None:
    if frames == 1:
        raise Refused(Reason.STILL)
    if frames < MIN_FRAMES:
        raise Refused(Reason.TOO_FEW_FRAMES, few(frames))


def _confirm(gathered: Gatherer, region: Region | None) -> None:
    """Refuse what only the pixels give away."""
    if is_colour_doppler(gathered.glances):
        raise Refused(Reason.COLOUR_DOPPLER)
    if is_static(gathered.frames, region):
        raise Refused(Reason.STATIC)


def _describe_dicom(path: Path) -> FileDescription:
    header = read_header(path)
    verdict = classify(header)
    reason, detail = verdict.reason, verdict.detail
    decodable = can_decode(header.transfer_syntax) if header.rows else None
    try:
        if reason is None:
            check_size(header.frames, header.rows, header.columns)
            check_pixels(path, header)
            if not decodable:
                raise Refused(Reason.NO_DECODER)
            check_layout(header)
            detail = MAY_BE_COLOUR if mode_is_untold(header) else ""
    except Refused as refused:
        reason, detail = refused.reason, refused.detail
    scan = find_scan(header)
    # A claim of billions is answered by `check_size`, not by as many times.
    frames = 1 if header.frames > MOST_FRAMES else max(header.frames, 1)
    times, time_source = frame_times(header, frames)
    return FileDescription(
        kind=verdict.kind,
        vendor=vendor_of(header.manufacturer),
        frames=header.frames if header.rows else None,
        rows=header.rows or None,
        columns=header.columns or None,
        rate_hz=mean_rate_hz(times),
        time_source=time_source if mean_rate_hz(times) else "unknown",
        spacing_mm=scan.spacing_mm,
        spacing_source=scan.spacing_source,
        transfer_syntax=syntax_name(header.transfer_syntax),
        decodable=decodable,
        missing="" if decodable is not False else missing_decoder(header.transfer_syntax),
        notes=_notes(header, scan, times, time_source),
        reason=reason,
        detail=detail or ("" if reason is None else Refused(reason).detail),
    )


def _describe_video(path: Path) -> FileDescription:
    header = describe_video(path)
    reason, detail = _cannot_be(header.frames, header.rows, header.columns)
    return FileDescription(
        kind=Kind.VIDEO,
        frames=header.frames,
        rows=header.rows,
        columns=header.columns,
        rate_hz=header.rate_hz,
        time_source="container" if header.rate_hz else "unknown",
        transfer_syntax=header.codec,
        decodable=True,
        reason=reason,
        detail=detail,
    )


def _describe_volume(header: VolumeHeader) -> FileDescription:
    reason, detail = _cannot_be(header.frames, header.rows, header.columns)
    return FileDescription(
        kind=Kind.VOLUME_FILE,
        frames=header.frames,
        rows=header.rows,
        columns=header.columns,
        rate_hz=None if header.step_s is None else 1 / header.step_s,
        time_source="unknown" if header.step_s is None else "header",
        spacing_mm=header.spacing_mm,
        spacing_source="unknown" if header.spacing_mm is None else "header",
        decodable=True,
        reason=reason,
        detail=detail,
    )


def _cannot_be(frames: int | None, rows: int, columns: int) -> tuple[Reason | None, str]:
    """Return what the size of a loop alone speaks against; its frames may be unknown."""
    try:
        check_size(frames or 1, rows, columns)
        if frames is not None:
            _check_count(frames)
    except Refused as refused:
        return refused.reason, refused.detail
    return None, ""
