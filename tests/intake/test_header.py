"""What a header says, and what dirt in it costs: the element, never the file."""

import struct
from pathlib import Path
from typing import Any

import pytest
from made_dicom import MakeDicom, moving_scan, ultrasound
from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import Tag

from echocli.intake.dicom import read_header
from echocli.intake.elements import Elements
from echocli.intake.read import describe, read_loop
from echocli.intake.reasons import Reason, Refused

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom")


def told(**elements: Any) -> Elements:
    data = Dataset()
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    return Elements(data)


def raw(keyword: str, vr: str, value: bytes) -> Elements:
    data = Dataset()
    tag = Tag(keyword)
    data[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return Elements(data)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        (b"20240229", "20240229"),
        (b"1994.01.30", "19940130"),
        (b"00000000", ""),
        (b"20230229", ""),
        (b"--", ""),
        (b"", ""),
        (b"2024", ""),
        ("20\u0662\u06620101".encode(), ""),
    ],
)
def test_only_true_dates_are_dates(text: bytes, date: str) -> None:
    assert raw("StudyDate", "DA", text).date("StudyDate") == date


def test_the_first_true_date_counts() -> None:
    data = told(StudyDate="00000000", SeriesDate="20200101", ContentDate="20190101")
    assert data.date("StudyDate", "SeriesDate", "ContentDate") == "20200101"


@pytest.mark.parametrize("dirt", [b"--", b"12 ms", b"nan ", b"1e999 ", b"\xff\xfe", b"1\\x "])
def test_what_is_no_number_is_absent(dirt: bytes) -> None:
    assert raw("FrameTimeVector", "DS", dirt).numbers("FrameTimeVector") == ()


def test_numbers_of_any_representation_are_read() -> None:
    assert raw("HeartRate", "IS", b"72").number("HeartRate") == 72
    assert raw("HeartRate", "LO", b"72").integer("HeartRate") == 72
    assert raw("FrameTime", "FD", struct.pack("<d", 33.3)).number("FrameTime") == 33.3
    assert raw("FrameTime", "DS", b"33.3\\40.0").number("FrameTime") == 33.3
    assert told().integer("NumberOfFrames", absent=1) == 1
    assert raw("NumberOfFrames", "LO", b"many").integer("NumberOfFrames", absent=1) == 0


def test_a_value_of_the_wrong_length_is_absent() -> None:
    assert raw("Rows", "US", b"\x01\x02\x03").integer("Rows") == 0


DIRT = {
    "StudyDate": ("DA", "00000000"),
    "PatientBirthDate": ("DA", "--"),
    "SpecificCharacterSet": ("CS", "ISO-IR 100"),
    "AccessionNumber": ("SH", "A\\B"),
    "StationName": ("SH", "x" * 64),
    "Manufacturer": ("LO", ""),
    "HeartRate": ("IS", "-1"),
    "FrameDelay": ("DS", "-2362"),
    "CineRate": ("LO", "fast"),
    "RecommendedDisplayFrameRate": ("LO", ""),
    "StartTrim": ("LO", "first"),
    "ImageType": ("CS", "ORIGINAL"),
    "PixelSpacing": ("LO", "wide"),
    "RWaveTimeVector": ("LO", "often"),
    "IssuerOfPatientID": ("LO", ""),
}


def test_dirt_that_hospitals_have_costs_nothing(save: MakeDicom) -> None:
    clean = read_loop(save(ultrasound(moving_scan()), "clean.dcm"))
    data = ultrasound(moving_scan())
    for keyword, (vr, value) in DIRT.items():
        data[Tag(keyword)] = DataElement(Tag(keyword), vr, value)
    path = save(data)
    assert describe(path).usable
    loop = read_loop(path)
    assert loop.spacing_mm == clean.spacing_mm
    assert loop.times_s is not None
    assert clean.times_s is not None
    assert loop.times_s.tolist() == clean.times_s.tolist()
    assert (loop.study_date, loop.r_waves_s, loop.r_wave_source) == ("", (), "unknown")


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "NumberOfFrames", "BitsAllocated"])
def test_dirt_in_what_the_pixels_need_is_a_reason(save: MakeDicom, keyword: str) -> None:
    data = ultrasound(moving_scan())
    data[Tag(keyword)] = DataElement(Tag(keyword), "LO", "some")
    path = save(data)
    if keyword == "BitsAllocated":  # eight bits are assumed, and are right
        assert describe(path).usable
        return
    assert describe(path).reason is Reason.NO_IMAGE
    with pytest.raises(Refused) as refused:
        read_loop(path)
    assert refused.value.reason is Reason.NO_IMAGE


def nested(depth: int, tag: tuple[int, int], *, defined: bool) -> bytes:
    """A sequence in a sequence in a sequence ..."""
    inner = b""
    for _ in range(depth):
        if defined:
            item = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
            inner = struct.pack("<HH2sHL", *tag, b"SQ", 0, len(item)) + item
        else:
            item = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + inner
            item += struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
            end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
            inner = struct.pack("<HH2sHL", *tag, b"SQ", 0, 0xFFFFFFFF) + item + end
    return inner


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("tag", [(0x0009, 0x1001), (0x0018, 0x6011)])
@pytest.mark.parametrize("depth", [30, 300, 3000])
def test_deep_sequences_are_passed_over_or_refused(
    save: MakeDicom, depth: int, tag: tuple[int, int], defined: bool
) -> None:
    data = ultrasound(moving_scan())
    del data.SequenceOfUltrasoundRegions
    path = save(data)
    file = path.read_bytes()
    after = file.index(struct.pack("<HH", 0x0020, 0x000D))
    blob = nested(depth, tag, defined=defined)
    path.write_bytes(file[:after] + blob + file[after:])
    said = describe(path)
    if depth == 30 or defined:
        assert said.usable
    else:
        assert said.reason is Reason.UNREADABLE


def insert(path: Path, element: bytes) -> Path:
    file = path.read_bytes()
    at = file.index(struct.pack("<HH2s", 0x0028, 0x0002, b"US"))
    path.write_bytes(file[:at] + element + file[at:])
    return path


@pytest.mark.parametrize("vr", [b"OB", b"UN", b"SQ", b"UT"])
def test_a_length_beyond_the_file_is_a_reason(save: MakeDicom, vr: bytes) -> None:
    lie = struct.pack("<HH2sHL", 0x0021, 0x1001, vr, 0, 0xFFFFFFF0)
    said = describe(insert(save(ultrasound(moving_scan())), lie))
    assert said.reason in (Reason.TRUNCATED, Reason.UNREADABLE)


def test_a_file_without_preamble_or_meta_header_is_read(save: MakeDicom) -> None:
    path = save(ultrasound(moving_scan()))
    whole = read_loop(path)
    file = path.read_bytes()
    for start in (128 + 4, file.index(struct.pack("<HH2s", 8, 0x16, b"UI"))):
        path.write_bytes(file[start:])
        assert describe(path).usable
        assert (read_loop(path).frames == whole.frames).all()


def test_the_header_keeps_what_the_standard_tells(save: MakeDicom) -> None:
    data = ultrasound(moving_scan())
    data.StudyDate = "20240305"
    data.StartTrim, data.StopTrim, data.ActualFrameDuration = 2, 9, 24
    data.RWaveTimeVector, data.InConcatenationTotalNumber = [30.0, 180.0], 3
    data.ContrastBolusAgent = "Microbubbles"
    header = read_header(save(data))
    assert header.study_date == "20240305"
    assert (header.trim, header.frame_duration_ms, header.parts) == ((2, 9), 24, 3)
    assert header.r_wave_times_ms == (30.0, 180.0)
    assert header.contrast
    assert "20240305" not in repr(header)
