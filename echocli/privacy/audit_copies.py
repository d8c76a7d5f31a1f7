"""Opens the de-identified DICOM copies of a clip set again and proves what they promise."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echocli.clips.store import ClipSet
from echocli.intake.guard import FOREIGN_ERRORS, quiet
from echocli.intake.reshape import Frame
from echocli.privacy import profile
from echocli.privacy.copies import open_copy, stored_frames
from echocli.privacy.needles import Needles
from echocli.privacy.original import DATES

COPIES = "dicom"
"""Folder of the copies in a clip set."""
LOOKED_AT = 5
"""Frames of a copy that are decoded again, evenly spread, the first and last among them. When
a copy is written, every frame is compared (see ``deid``)."""
TOLERANCE = 1
"""Grey levels by which a clip may differ from its copy: black inside the sector is 1 there."""
FLAGS = {
    "PatientIdentityRemoved": "YES",
    "BurnedInAnnotation": "NO",
    "PhotometricInterpretation": "MONOCHROME2",
}


@dataclass(frozen=True)
class CopyAudit:
    """What was found in one copy."""

    elements: bool
    """Whether all elements are on the list, and none holds an identifier."""
    flags: bool
    """Whether it says what was done to it, and belongs to its clip."""
    bytes_accounted: bool
    """Whether it consists of its elements and nothing else."""
    pixels: bool
    """Whether the lit pixels are the clip's sector, and show the clip."""

    @classmethod
    def of(cls, path: Path, clips: ClipSet, row: int | None, needles: Needles) -> CopyAudit:
        """Open a copy.

        Args:
            path: The file.
            clips: The clips beside it.
            row: The clip that it belongs to; none is a failure.
            needles: What must not be found.
        """
        failed = cls(False, False, False, False)
        if row is None:
            return failed
        try:
            with quiet():
                return cls._looked_at(path, clips, row, needles)
        except (
            FOREIGN_ERRORS
        ):  # whatever a parser stumbles over, the copy is not as it should be
            return failed

    @classmethod
    def _looked_at(cls, path: Path, clips: ClipSet, row: int, needles: Needles) -> CopyAudit:
        copy = open_copy(path)
        return cls(
            elements=not any(profile.foreign_elements(copy))
            and not any(profile.foreign_elements(copy.file_meta, profile.META_FORMS))
            and not needles.in_text(_texts(copy)),
            flags=_flags(copy, path.stem, clips.manifest["patient_id"].iloc[row]),
            bytes_accounted=_written_again(copy) == path.read_bytes(),
            pixels=_shows(copy, clips, row),
        )


def _texts(copy: Any) -> bytes:  # noqa: ANN401
    """Return all values but those of the pixels and our own UIDs, one on a line."""
    values = [
        str(element.value)
        for element in [*copy.iterall(), *copy.file_meta]
        if element.VR not in ("OB", "SQ", "UI")
    ]
    return "\n".join(values).encode()


def _flags(copy: Any, clip_id: str, patient_id: str) -> bool:  # noqa: ANN401
    codes = [code.CodeValue for code in copy.get("DeidentificationMethodCodeSequence", ())]
    shifted = copy.get("LongitudinalTemporalInformationModified") == "MODIFIED"
    return (
        all(copy.get(keyword) == value for keyword, value in FLAGS.items())
        and codes[:2] == ["113100", "113101"]
        and ("113107" in codes) == shifted
        and (shifted or not any(copy.get(keyword) for keyword in DATES))
        and copy.get("ImageComments") == f"clip {clip_id}"
        and copy.get("PatientID") == str(copy.get("PatientName")) == patient_id
        and copy.file_meta.get("MediaStorageSOPInstanceUID") == copy.get("SOPInstanceUID")
        and copy.preamble == bytes(128)
    )


def _written_again(copy: Any) -> bytes:  # noqa: ANN401
    buffer = io.BytesIO()
    copy.save_as(buffer)
    return buffer.getvalue()


def _shows(copy: Any, clips: ClipSet, row: int) -> bool:  # noqa: ANN401
    """Return whether a copy, cropped and made smaller, is its clip."""
    frames = clips.frames(row)
    count = int(copy.NumberOfFrames)
    if count != len(frames):
        return False
    chosen = np.linspace(0, count - 1, min(LOOKED_AT, count)).round().astype(int)
    decoded = np.stack(list(stored_frames(copy, set(chosen.tolist()))))
    lit = decoded > 0
    if not lit[0].any() or (lit != lit[0]).any():  # black is outside, in every frame alike
        return False
    spacing = copy.get("PixelSpacing")
    mm = (float(spacing[0]), float(spacing[1])) if spacing else None
    small, sector = Frame.around(lit[0], frames.shape[1], mm).frames(decoded, lit[0])
    difference = np.abs(small.astype(np.int16) - frames[chosen])
    return bool(
        np.array_equal(sector, clips.sector(row)) and difference.max(initial=0) <= TOLERANCE
    )
