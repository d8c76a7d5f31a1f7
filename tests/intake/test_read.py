"""Whole DICOM files: what is read from them, and that broken ones end with a reason."""

import contextlib
import hashlib
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from made_dicom import MakeDicom, jpeg_ultrasound, moving_scan, ultrasound
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from echocli.intake import guard
from echocli.intake.loop import Region
from echocli.intake.read import FileDescription, describe, read_loop
from echocli.intake.reasons import MEANINGS, Reason, Refused

SCAN = moving_scan(10)


def reason_of(path: Path) -> Reason:
    with pytest.raises(Refused) as caught:
        read_loop(path)
    return caught.value.reason


def test_a_loop_carries_what_its_header_tells(save: MakeDicom) -> None:
    path = save(ultrasound(SCAN))
    loop = read_loop(path)
    np.testing.assert_array_equal(loop.frames, SCAN)
    assert loop.region == Region(2, 46, 4, 60)
    assert loop.spacing_mm == (pytest.approx(2.5), pytest.approx(2.0))
    assert loop.time_source == "frame_time"
    assert loop.times_s is not None
    assert loop.times_s[-1] == pytest.approx(0.225)
    assert loop.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_description_and_loop_agree(save: MakeDicom) -> None:
    path = save(ultrasound(SCAN, ImplicitVRLittleEndian), Manufacturer="GE Vingmed Ultrasound")
    said, loop = describe(path), read_loop(path)
    assert said == FileDescription(
        kind=said.kind,
        vendor="GE",
        frames=10,
        rows=48,
        columns=64,
        rate_hz=pytest.approx(40),
        time_source=loop.time_source,
        spacing_mm=loop.spacing_mm,
        spacing_source=loop.spacing_source,
        transfer_syntax="Implicit VR Little Endian",
        decodable=True,
    )
    assert said.usable


def test_a_patient_is_a_number_of_one_issuer(save: MakeDicom) -> None:
    plain = read_loop(save(ultrasound(SCAN)))
    issued = read_loop(save(ultrasound(SCAN), IssuerOfPatientID="HOSPITAL-A"))
    other = read_loop(save(ultrasound(SCAN), IssuerOfPatientID="HOSPITAL-B"))
    assert plain.patient_key == "INVENTED-7"
    assert len({plain.patient_key, issued.patient_key, other.patient_key}) == 3
    assert plain.study_key == issued.study_key == "1.2.3.4"


def test_without_a_number_the_study_stands_for_the_patient(save: MakeDicom) -> None:
    loop = read_loop(save(ultrasound(SCAN), PatientID=""))
    assert loop.patient_key == loop.study_key == "1.2.3.4"
    bare = ultrasound(SCAN)
    del bare.PatientID, bare.StudyInstanceUID
    loop = read_loop(save(bare))
    assert loop.patient_key == loop.study_key == loop.sha256


def test_identifiers_are_not_shown(save: MakeDicom) -> None:
    path = save(ultrasound(SCAN), Manufacturer="Secret^Person")
    loop = read_loop(path)
    shown = repr(loop) + repr(describe(path))
    for secret in ("INVENTED", "Invented", "Secret", "1.2.3.4", loop.sha256):
        assert secret not in shown


def test_nothing_of_the_header_reaches_warnings_or_logs(
    save: MakeDicom, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(ultrasound(SCAN), SpecificCharacterSet="ISO_IR 100", ImageType=["A", "B", "C"])
    raw = path.read_bytes()
    for good, bad in ((b"ISO_IR", b"ISO-IR"), (b"INVENTED-7", b"INVENT\xff\xfe-7")):
        assert good in raw
        raw = raw.replace(good, bad)
    path.write_bytes(raw)
    filters = list(logging.getLogger("pydicom").filters)
    before = list(warnings.filters)
    with caplog.at_level(logging.DEBUG):
        read_loop(path)
        describe(path)
    assert not caplog.records
    assert list(warnings.filters) == before
    assert logging.getLogger("pydicom").filters == filters


def test_colour_is_found_in_the_pixels_under_an_innocent_header(save: MakeDicom) -> None:
    rgb = np.repeat(SCAN[..., None], 3, axis=-1)
    tint = rgb.astype(np.float64) * (1.0, 0.85, 0.6)
    tinted = tint.astype(np.uint8)
    assert len(read_loop(save(ultrasound(tinted))).frames) == 10
    tinted[3:7, 15:32, 20:40] = (210, 40, 10)
    for data in (ultrasound(tinted), jpeg_ultrasound(tinted)):
        assert reason_of(save(data)) is Reason.COLOUR_DOPPLER


def test_a_frozen_loop_is_refused(save: MakeDicom) -> None:
    assert reason_of(save(ultrasound(np.repeat(SCAN[:1], 10, axis=0)))) is Reason.STATIC


def test_the_number_of_frames_may_be_absent(save: MakeDicom) -> None:
    data = ultrasound(SCAN[:1])
    del data.NumberOfFrames
    assert reason_of(save(data)) is Reason.STILL


@pytest.mark.parametrize("little", [True, False])
def test_the_preamble_may_be_absent(tmp_path: Path, little: bool) -> None:
    path = tmp_path / "bare"
    data = ultrasound(SCAN)
    del data.file_meta
    data.save_as(path, implicit_vr=False, little_endian=little, enforce_file_format=False)
    assert describe(path).usable
    np.testing.assert_array_equal(read_loop(path).frames, SCAN)


def test_a_claim_beyond_memory_is_refused_without_allocating(save: MakeDicom) -> None:
    path = save(ultrasound(SCAN), Rows=60000, Columns=60000)
    assert reason_of(path) is Reason.OUT_OF_MEMORY
    assert describe(path).reason is Reason.OUT_OF_MEMORY
    path = save(ultrasound(SCAN), NumberOfFrames=100_000)
    assert reason_of(path) is Reason.TRUNCATED
    assert describe(path).reason is Reason.TRUNCATED


def test_a_compression_that_nobody_knows_is_no_crash(save: MakeDicom) -> None:
    path = save(jpeg_ultrasound(SCAN))
    path.write_bytes(path.read_bytes().replace(b"10008.1.2.4.50", b"10008.1.2.4.39"))
    assert reason_of(path) is Reason.NO_DECODER
    said = describe(path)
    assert (said.reason, said.decodable) == (Reason.NO_DECODER, False)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("depth", [60, 300, 3000])
def test_sequences_nested_beyond_reason_are_no_crash(save: MakeDicom, depth: int) -> None:
    data = ultrasound(SCAN)
    del data.SequenceOfUltrasoundRegions
    path = save(data)
    head = b"\x18\x00\x11\x60SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    tail = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    before, after = path.read_bytes().split(b"\x28\x00\x02\x00US")
    path.write_bytes(before + head * depth + tail * depth + b"\x28\x00\x02\x00US" + after)
    assert isinstance(describe(path), FileDescription)
    with contextlib.suppress(Refused):
        np.testing.assert_array_equal(read_loop(path).frames, SCAN)


def sample_files(save: MakeDicom) -> list[Path]:
    rgb = np.repeat(SCAN[..., None], 3, axis=-1)
    rle = ultrasound(SCAN, ExplicitVRLittleEndian)
    rle.compress(RLELossless, generate_instance_uid=False)
    return [
        save(ultrasound(SCAN), "native.dcm"),
        save(jpeg_ultrasound(rgb), "jpeg.dcm"),
        save(jpeg_ultrasound(SCAN, fragments=4), "fragments.dcm"),
        save(rle, "rle.dcm"),
    ]


def test_a_file_cut_anywhere_is_refused(save: MakeDicom) -> None:
    for path in sample_files(save):
        assert read_loop(path).frames.shape == SCAN.shape
        data = path.read_bytes()
        for percent in range(0, 100, 5):
            path.write_bytes(data[: len(data) * percent // 100])
            reason = reason_of(path)
            assert reason in MEANINGS
            assert not describe(path).usable
            if percent >= 50:  # within the pixels
                assert reason in (Reason.TRUNCATED, Reason.UNDECODABLE)
        path.write_bytes(data[:-1])
        assert reason_of(path) in (Reason.TRUNCATED, Reason.UNDECODABLE)


@pytest.mark.timeout(60)
def test_flipped_bytes_raise_nothing_but_refusals(save: MakeDicom) -> None:
    random = np.random.default_rng(5)
    for path in sample_files(save):
        good = path.read_bytes()
        for turn in range(60):
            bad = bytearray(good)
            # Half of them in the header, where a byte does the most harm.
            end = len(bad) if turn % 2 else 1500
            for place in random.integers(0, end, 1 + turn % 5):
                bad[place] ^= int(random.integers(1, 256))
            path.write_bytes(bad)
            with contextlib.suppress(Refused):
                assert read_loop(path).frames.dtype == np.uint8
            assert isinstance(describe(path), FileDescription)


def test_only_listed_errors_of_others_become_refusals() -> None:
    with pytest.raises(Refused) as caught, guard.foreign(Reason.UNREADABLE, "broken"):
        raise ValueError("Doe^John")
    assert caught.value.__cause__ is None
    assert "Doe" not in str(caught.value)
    with pytest.raises(KeyboardInterrupt), guard.foreign(Reason.UNREADABLE):
        raise KeyboardInterrupt


def test_every_reason_has_its_meaning() -> None:
    assert set(MEANINGS) == set(Reason)
    assert Refused(Reason.STILL).detail == MEANINGS[Reason.STILL]
