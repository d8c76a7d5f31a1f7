"""Writes a DICOM file anew, with nothing in it that names a person.

The file is built from an empty data set, so that an element is there only because a line of
this module put it there: PS3.15 Annex E, Basic Application Level Confidentiality Profile with
Clean Pixel Data and, where dates are shifted, Retain Longitudinal Temporal Information With
Modified Dates.
"""

from __future__ import annotations

import re
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from echocli.errors import PrivacyError
from echocli.files import atomic_path
from echocli.intake.loop import CineLoop
from echocli.privacy import profile
from echocli.privacy.copies import open_copy, stored_frames
from echocli.privacy.dates import shifted
from echocli.privacy.deid_image import describe_image, describe_region, describe_times
from echocli.privacy.labels import OLDEST_YEARS
from echocli.privacy.original import DATES, Original, first, read_original, values_of
from echocli.privacy.pseudonyms import Pseudonyms


def write_deidentified(
    source: Path,
    out: Path,
    *,
    loop: CineLoop,
    sector: NDArray[np.bool_],
    clip_id: str,
    patient_id: str,
    pseudonyms: Pseudonyms,
    dates: str,
) -> None:
    """Write a DICOM source again, de-identified, whole or not at all.

    Pixels are grey, compressed as JPEG-LS without loss (half the bytes of RLE on scans, and as
    fast), 0 outside the sector and at least 1 inside, so that the sector can be read from the
    file. The flags that promise clean pixels are set after the file was opened again and every
    frame compared.

    Args:
        source: The DICOM file that the loop was read from.
        out: The file to write.
        loop: Its decoded frames, times, scale and region.
        sector: Where the scan is, ``(height, width)``.
        clip_id: Pseudonym of the clip; it stands in Image Comments.
        patient_id: Pseudonym of the patient, written as name and id.
        pseudonyms: Holder of the key, for UIDs and dates.
        dates: ``shift`` or ``drop``.

    Raises:
        Refused: If the header cannot be read.
        PrivacyError: If the file that was written does not hold what it should.
    """
    original = read_original(source)
    copy = Dataset()
    _describe_patient(copy, original, patient_id)
    _describe_study(copy, original, loop, pseudonyms)
    _describe_dates(copy, original, loop, pseudonyms, dates)
    describe_image(copy, original, source, loop, clip_id)
    describe_times(copy, original, loop)
    describe_region(copy, original, loop)
    _describe_method(copy, dates)
    _add_pixels(copy, loop, sector)
    with atomic_path(out) as temporary:
        _save(copy, temporary)
        _compare(temporary, loop, sector)
        copy.PatientIdentityRemoved = "YES"
        copy.BurnedInAnnotation = "NO"
        _save(copy, temporary)
        if strange := sorted({*profile.foreign_elements(open_copy(temporary))}):
            raise _wrong(f"elements that are not on the list: {', '.join(strange)}")


def cleaned(frame: NDArray[np.uint8], sector: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a frame with 0 outside the sector and at least 1 inside."""
    clean: NDArray[np.uint8] = np.maximum(frame, 1) * sector
    return clean


def _describe_patient(copy: Dataset, original: Original, patient_id: str) -> None:
    copy.PatientName = patient_id
    copy.PatientID = patient_id
    copy.PatientBirthDate = ""
    copy.PatientSex = first(original, "PatientSex", profile.FORMS["PatientSex"])
    age = first(original, "PatientAge", profile.FORMS["PatientAge"])
    if age:
        copy.PatientAge = f"{OLDEST_YEARS:03.0f}Y" if _years(age) > OLDEST_YEARS else age


def _years(age: str) -> float:
    in_a_year = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
    return int(age[:3]) / in_a_year[age[3]]


def _describe_study(
    copy: Dataset, original: Original, loop: CineLoop, pseudonyms: Pseudonyms
) -> None:
    def renamed(keyword: str, fallback: str) -> str:
        return pseudonyms.uid(first(original, keyword) or fallback)

    copy.SOPClassUID = profile.SOP_CLASS
    copy.SOPInstanceUID = renamed("SOPInstanceUID", f"instance of {loop.sha256}")
    copy.StudyInstanceUID = renamed("StudyInstanceUID", loop.study_key)
    copy.SeriesInstanceUID = renamed("SeriesInstanceUID", f"series of {loop.study_key}")
    if first(original, "FrameOfReferenceUID"):
        copy.FrameOfReferenceUID = renamed("FrameOfReferenceUID", "")
        copy.PositionReferenceIndicator = ""
    copy.Modality = "US"
    for empty in ("StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"):
        setattr(copy, empty, "")
    copy.ContentTime = ""
    for number in ("SeriesNumber", "InstanceNumber"):
        setattr(copy, number, first(original, number, profile.FORMS[number]) or None)
    maker = first(original, "Manufacturer").lower()
    word = re.split(r"[^a-z]+", maker.strip())[0]
    copy.Manufacturer = profile.VENDORS.get(word, "")
    references = [_reference(item, pseudonyms) for item in original["ReferencedImageSequence"]]
    if any(references):
        copy.ReferencedImageSequence = [item for item in references if item]


def _reference(item: Dataset, pseudonyms: Pseudonyms) -> Dataset | None:
    """Return a reference to another image, renamed as that image is."""
    found = {name: values_of(item, f"ReferencedSOP{name}UID") for name in ("Class", "Instance")}
    kind = first(found, "Class", profile.FORMS["ReferencedSOPClassUID"])
    instance = first(found, "Instance")
    if not kind or UID(kind).name == kind or not instance:  # a class that is in no dictionary
        return None
    reference = Dataset()
    reference.ReferencedSOPClassUID = kind
    reference.ReferencedSOPInstanceUID = pseudonyms.uid(instance)
    return reference


def _describe_dates(
    copy: Dataset, original: Original, loop: CineLoop, pseudonyms: Pseudonyms, dates: str
) -> None:
    for keyword in DATES:
        moved = None
        if dates == "shift":
            moved = shifted(first(original, keyword), loop.patient_key, pseudonyms)
        if moved or keyword in ("StudyDate", "ContentDate"):
            setattr(copy, keyword, (moved or "").replace("-", ""))


def _describe_method(copy: Dataset, dates: str) -> None:
    shift = dates == "shift"
    basic, pixels, removed, moved, opened = profile.METHODS
    copy.DeidentificationMethod = [basic, pixels, moved if shift else removed, opened]
    copy.LongitudinalTemporalInformationModified = "MODIFIED" if shift else "REMOVED"
    kept = bool(copy.PatientSex or "PatientAge" in copy)
    wanted = ["113100", "113101", *["113107"] * shift, *["113108"] * kept]
    copy.DeidentificationMethodCodeSequence = [_code(value) for value in wanted]


def _code(value: str) -> Dataset:
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = "DCM"
    code.CodeMeaning = profile.CODES[value]
    return code


def _add_pixels(copy: Dataset, loop: CineLoop, sector: NDArray[np.bool_]) -> None:
    frames = (cleaned(frame, sector) for frame in loop.frames)
    streams = [bytes(imagecodecs.jpegls_encode(frame)) for frame in frames]
    copy.PixelData = encapsulate(streams)
    copy["PixelData"].VR = "OB"
    copy["PixelData"].is_undefined_length = True


def _save(copy: Dataset, path: Path) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(profile.JPEG_LS_LOSSLESS)
    meta.MediaStorageSOPClassUID = copy.SOPClassUID
    meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    copy.file_meta = meta
    copy.preamble = b"\0" * 128
    copy.save_as(path, enforce_file_format=True, overwrite=True)


def _compare(path: Path, loop: CineLoop, sector: NDArray[np.bool_]) -> None:
    """Open the file again and compare every frame with what it should be."""
    count = 0
    for stored in stored_frames(open_copy(path)):
        if count == len(loop.frames):
            raise _wrong("more frames than were written")
        expected = cleaned(loop.frames[count], sector)
        if stored[~sector].any() or not np.array_equal(stored, expected):
            raise _wrong("another frame than was written")
        count += 1
    if count != len(loop.frames):
        raise _wrong(f"{count} of {len(loop.frames)} frames")


def _wrong(what: str) -> PrivacyError:
    return PrivacyError(
        f"The de-identified DICOM file holds {what}.",
        "It was not kept. Please report this; it is a bug in echocli.",
    )
