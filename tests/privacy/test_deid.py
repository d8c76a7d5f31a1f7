"""A de-identified copy is valid DICOM, shows the same heart, and keeps nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from made_dicom import moving_scan, ultrasound
from made_set import PSEUDONYMS, made, seen, write_copy
from numpy.typing import NDArray
from pydicom import Dataset, config
from pydicom.datadict import dictionary_VR
from pydicom.uid import UID

from echocli.errors import PrivacyError
from echocli.files import sha256_of
from echocli.intake.read import read_loop
from echocli.privacy import deid, profile
from echocli.privacy.dates import shifted
from echocli.privacy.original import READ

TYPE_1 = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PixelData", "NumberOfFrames"),
    "FrameIncrementPointer",
)
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber", "SeriesNumber", "Manufacturer"),
    *("InstanceNumber", "ContentDate", "ContentTime", "ImageType"),
)
"""Attributes of the US Multi-frame Image IOD, PS3.3 A.7: modules C.7.1.1, C.7.2.1, C.7.3.1,
C.7.5.1, C.7.6.1, C.7.6.3, C.7.6.5, C.7.6.6, C.8.5.6 and C.12.1."""
REGION_TYPE_1 = (
    *("RegionSpatialFormat", "RegionDataType", "RegionFlags", "RegionLocationMinX0"),
    *("RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1", "PhysicalDeltaX"),
    *("PhysicalDeltaY", "PhysicalUnitsXDirection", "PhysicalUnitsYDirection"),
)
"""PS3.3 C.8.5.5."""


def lacking(copy: Dataset) -> set[str]:
    """Return the attributes that the standard asks for and the copy does not have."""
    missing = {name for name in TYPE_1 if copy.get(name) in (None, "", [])}
    missing |= {name for name in TYPE_2 if name not in copy}
    pointed = {0x00181063: "FrameTime", 0x00181065: "FrameTimeVector"}.get(
        int(copy.FrameIncrementPointer), "PageNumberVector"
    )
    missing |= {pointed} - {element.keyword for element in copy}
    for item in copy.get("SequenceOfUltrasoundRegions", []):
        missing |= {name for name in REGION_TYPE_1 if item.get(name) is None}
    if copy.get("LossyImageCompression") == "01" and "LossyImageCompressionRatio" not in copy:
        missing.add("LossyImageCompressionRatio")
    return missing


@pytest.fixture(params=["plain", "vector", "uncalibrated", "untimed", "hint"])
def changes(request: pytest.FixtureRequest) -> dict[str, Any]:
    pointer, vector = 0x00181065, [0.0, *([20.0, 40.0] * 5)[:9]]
    uneven = {"FrameTime": None, "FrameTimeVector": vector, "FrameIncrementPointer": pointer}
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "vector": uneven,
        "uncalibrated": {"SequenceOfUltrasoundRegions": None},
        "untimed": {"FrameTime": None},
        "hint": {"FrameTime": None, "CineRate": "25"},
    }
    return kinds[request.param]


def test_a_copy_is_valid_and_shows_the_same(tmp_path: Path, changes: dict[str, Any]) -> None:
    one = made(tmp_path / "source.dcm", **changes)
    with strictly():
        copy = write_copy(one, tmp_path / "copy.dcm")
        assert lacking(copy) == set()
        for element in copy.iterall():
            assert dictionary_VR(element.tag) == element.VR or element.keyword in (
                "PixelPaddingValue", "PixelData",
            )  # fmt: skip
    expected = np.maximum(one.loop.frames, 1) * one.sector
    np.testing.assert_array_equal(copy.pixel_array, expected)
    again = read_loop(tmp_path / "copy.dcm")
    np.testing.assert_array_equal(again.frames, expected)
    assert again.spacing_mm == pytest.approx(one.loop.spacing_mm)
    assert again.region == one.loop.region
    if one.loop.times_s is None:
        assert again.times_s is None
    else:
        np.testing.assert_allclose(again.times_s, one.loop.times_s, atol=1e-6)
    assert again.time_source == one.loop.time_source


@contextmanager
def strictly() -> Iterator[None]:
    """Let pydicom raise where it would only warn."""
    before = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.RAISE
    try:
        yield
    finally:
        config.settings.reading_validation_mode = before


def test_flags_and_names(tmp_path: Path) -> None:
    one = made(
        tmp_path / "source.dcm", PatientSex="F", PatientAge="093Y", Manufacturer="GE Vingmed"
    )
    copy = write_copy(one, tmp_path / "copy.dcm")
    assert copy.PatientIdentityRemoved == "YES"
    assert copy.BurnedInAnnotation == "NO"
    assert copy.LongitudinalTemporalInformationModified == "REMOVED"
    codes = [item.CodeValue for item in copy.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113101", "113108"]
    assert copy.PatientName == copy.PatientID == one.patient_id
    assert (copy.PatientSex, copy.PatientAge) == ("F", "089Y")
    assert copy.Manufacturer == "GE"
    assert copy.ImageType[0] == "DERIVED"
    assert not copy.StudyDate
    assert copy.file_meta.MediaStorageSOPInstanceUID == copy.SOPInstanceUID
    assert copy.PixelSpacing == pytest.approx([2.5, 2.0])  # row, column
    assert copy.SequenceOfUltrasoundRegions[0].TransducerFrequency == 3500
    assert copy.preamble == bytes(128)


@pytest.mark.parametrize(
    ("age", "kept"),
    [("001D", "001D"), ("989M", "989M"), ("090Y", "089Y"), ("089Y", "089Y"), ("5Y", None),
     ("999W", "999W"), ("Jane", None)],
)  # fmt: skip
def test_only_ages_that_are_ages_are_kept(tmp_path: Path, age: str, kept: str | None) -> None:
    with config.disable_value_validation():
        one = made(tmp_path / "source.dcm", PatientAge=age)
    assert write_copy(one, tmp_path / "copy.dcm").get("PatientAge") == kept


def test_uids_are_renamed_alike_in_all_files(tmp_path: Path) -> None:
    first = made(tmp_path / "1.dcm", 1, FrameOfReferenceUID="1.2.3.9")
    named = pydicom.dcmread(first.source).SOPInstanceUID
    reference = Dataset()
    reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    reference.ReferencedSOPInstanceUID = named
    second = made(
        tmp_path / "2.dcm",
        2,
        FrameOfReferenceUID="1.2.3.9",
        ReferencedImageSequence=[reference],
    )
    one, other = (write_copy(s, tmp_path / f"{s.clip_id}.dcm") for s in (first, second))
    assert one.StudyInstanceUID == other.StudyInstanceUID == PSEUDONYMS.uid("1.2.3.4")
    assert one.FrameOfReferenceUID == other.FrameOfReferenceUID
    assert one.SeriesInstanceUID != other.SeriesInstanceUID
    assert one.SOPInstanceUID != other.SOPInstanceUID
    referenced = other.ReferencedImageSequence[0].ReferencedSOPInstanceUID
    assert referenced == one.SOPInstanceUID == PSEUDONYMS.uid(str(named))
    for element in (*one.iterall(), *other.iterall()):
        if element.VR == "UI" and not element.value.startswith("1.2.840.10008."):
            assert element.value.startswith("2.25.")
            assert UID(element.value).is_valid


def test_shifted_dates_keep_their_distance(tmp_path: Path) -> None:
    days = {"StudyDate": "20240131", "SeriesDate": "20240202", "ContentDate": "1994.01.30"}
    with config.disable_value_validation():
        one = made(tmp_path / "source.dcm", **days, StudyTime="101112")
    copy = write_copy(one, tmp_path / "copy.dcm", dates="shift")
    moved = shifted("20240131", one.loop.patient_key, PSEUDONYMS)
    assert moved is not None
    assert copy.StudyDate == moved.replace("-", "")
    assert copy.SeriesDate != days["SeriesDate"]
    assert copy.ContentDate == copy.StudyTime == ""
    assert copy.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [item.CodeValue for item in copy.DeidentificationMethodCodeSequence]
    assert "113107" in codes


def test_r_waves_and_loss_are_told(tmp_path: Path) -> None:
    one = made(
        tmp_path / "source.dcm", LossyImageCompression="01", LossyImageCompressionRatio="12.5"
    )
    copy = write_copy(one, tmp_path / "copy.dcm", r_waves_s=(0.05, 0.2))
    assert copy.RWaveTimeVector == pytest.approx([50, 200])
    assert (copy.LossyImageCompression, copy.LossyImageCompressionRatio) == ("01", 12.5)


def test_dirt_in_what_may_be_kept_is_dropped(tmp_path: Path) -> None:
    dirt = {
        "PatientSex": "Jane", "Manufacturer": "Jane Doe Imaging", "SeriesNumber": "4711",
        "HeartRate": "-1", "ImageType": ["ORIGINAL", "PRIMARY", "JANE", "DOE"],
    }  # fmt: skip
    with config.disable_value_validation():
        one = made(tmp_path / "source.dcm", **dirt)
    copy = write_copy(one, tmp_path / "copy.dcm")
    assert copy.PatientSex == copy.Manufacturer == ""
    assert "HeartRate" not in copy
    assert list(copy.ImageType) == ["DERIVED", "PRIMARY", "", "0001"]
    assert b"Doe" not in (tmp_path / "copy.dcm").read_bytes()
    assert b"DOE" not in (tmp_path / "copy.dcm").read_bytes()


def test_nothing_is_left_when_the_pixels_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = made(tmp_path / "source.dcm")
    real = deid.imagecodecs.jpegls_encode

    def spoiled(picture: NDArray[np.uint8]) -> bytes:
        lit = picture.copy()
        lit[0, 0] = 255
        return bytes(real(lit))

    monkeypatch.setattr(deid.imagecodecs, "jpegls_encode", spoiled)
    with pytest.raises(PrivacyError):
        write_copy(one, tmp_path / "out" / "copy.dcm")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    one = made(tmp_path / "source.dcm")
    write_copy(one, tmp_path / "1.dcm")
    write_copy(one, tmp_path / "2.dcm")
    assert sha256_of(tmp_path / "1.dcm") == sha256_of(tmp_path / "2.dcm")


def test_what_is_read_of_a_source_is_little_and_every_word_has_a_form() -> None:
    assert len(READ) < 30
    assert not {"PatientName", "PatientBirthDate", "StudyDescription"} & set(READ)
    for keyword, form in {**profile.FORMS, **profile.META_FORMS}.items():
        assert ".*" not in form, keyword
        assert ".+" not in form, keyword


def test_a_file_without_ids_still_gets_its_uids(tmp_path: Path) -> None:
    data = ultrasound(moving_scan())
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "PatientID", "PatientName"):
        delattr(data, keyword)
    data.save_as(tmp_path / "bare.dcm", enforce_file_format=False)
    copy = write_copy(seen(tmp_path / "bare.dcm"), tmp_path / "copy.dcm")
    assert lacking(copy) == set()
    assert len({copy.SOPInstanceUID, copy.StudyInstanceUID, copy.SeriesInstanceUID}) == 3
