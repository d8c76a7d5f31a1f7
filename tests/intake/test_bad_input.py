"""Damaged and lying files: a refusal with a reason, or the very pixels that are meant."""

from __future__ import annotations

import io
import re
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import simplejpeg
from judges import UnreadableError, is_in_session, judge
from mutations import fragments_of
from numpy.typing import NDArray
from originals import (
    DEFLATED,
    SYNTAXES,
    Original,
    compressed,
    dataset,
    film,
    grey_frames,
    originals,
    saved,
    screen,
)
from pydicom.uid import JPEGBaseline8Bit, JPEGLosslessSV1

from echocli.intake.loop import CineLoop
from echocli.intake.read import describe, read_loop
from echocli.intake.reasons import Reason, Refused

SLOWEST_S = 10.0
BY_NAME = {original.name: original for original in originals()}
every = pytest.mark.parametrize("name", BY_NAME)
every_dicom = pytest.mark.parametrize("name", [n for n, o in BY_NAME.items() if o.is_dicom])


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[np.uint8]]:
    """The frames of each whole file."""
    folder = tmp_path_factory.mktemp("whole")
    paths = {o.name: o.write(folder / str(number)) for number, o in enumerate(originals())}
    return {name: read_loop(path).frames for name, path in paths.items()}


def attempt(path: Path) -> CineLoop | Reason:
    """Read a file as a worker does; the header must not fail either, nor anything take long."""
    started = time.monotonic()
    describe(path)
    try:
        return read_loop(path)
    except Refused as refused:
        return refused.reason
    finally:
        assert time.monotonic() - started < SLOWEST_S


def put(folder: Path, original: Original, content: bytes) -> Path:
    """Write damaged bytes where those before them were."""
    path = folder / "case" / f"x{original.suffix}"
    if path.parent.exists():
        path.write_bytes(content)
        return path
    return original.write(path.parent, content)


@every
def test_a_file_cut_at_any_twentieth_is_refused_or_lacks_nothing(
    name: str, tmp_path: Path, wholes: dict[str, NDArray[np.uint8]]
) -> None:
    original = BY_NAME[name]
    for twentieth in range(20):
        cut = original.content[: len(original.content) * twentieth // 20]
        found = attempt(put(tmp_path, original, cut))
        if isinstance(found, CineLoop):
            np.testing.assert_array_equal(found.frames, wholes[name])
        if original.is_dicom:
            assert not isinstance(found, CineLoop), f"{twentieth}/20 of it became a clip"


@every
def test_the_last_bytes_of_a_file_count(
    name: str, tmp_path: Path, wholes: dict[str, NDArray[np.uint8]]
) -> None:
    original = BY_NAME[name]
    for missing in (1, 2, 3, 9):
        found = attempt(put(tmp_path, original, original.content[:-missing]))
        if isinstance(found, CineLoop):
            np.testing.assert_array_equal(found.frames, wholes[name])


@every_dicom
def test_another_transfer_syntax_is_found_out(
    name: str, tmp_path: Path, wholes: dict[str, NDArray[np.uint8]]
) -> None:
    content = BY_NAME[name].content
    named = re.search(rb"\x02\x00\x10\x00UI..([0-9.]+\0?)", content)
    assert named is not None
    for syntax in SYNTAXES:
        uid = syntax.encode() + b"\0" * (len(syntax) % 2)
        element = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(uid)) + uid
        path = put(
            tmp_path, BY_NAME[name], content[: named.start()] + element + content[named.end() :]
        )
        found = attempt(path)
        if isinstance(found, CineLoop):
            np.testing.assert_array_equal(found.frames, wholes[name], err_msg=syntax)


def with_frames(content: bytes, claim: str) -> bytes:
    """Claim another number of frames; the element grows if it must."""
    place = content.index(b"\x28\x00\x08\x00IS")
    length = struct.unpack_from("<H", content, place + 6)[0]
    value = claim.encode().ljust(len(claim) + len(claim) % 2)
    element = content[place : place + 6] + struct.pack("<H", len(value)) + value
    return content[:place] + element + content[place + 8 + length :]


@pytest.mark.parametrize(
    "claim",
    ["", "0", "-1", "1", "11", "13", "24", "100000", "2147483648", "12.0", "x", "12\\9"],
)
@pytest.mark.parametrize("name", ["native grey", "native RGB", "RLE", "JPEG colour", "H.264"])
def test_a_wrong_number_of_frames_is_never_believed(
    name: str, claim: str, tmp_path: Path, wholes: dict[str, NDArray[np.uint8]]
) -> None:
    found = attempt(put(tmp_path, BY_NAME[name], with_frames(BY_NAME[name].content, claim)))
    if isinstance(found, CineLoop):
        np.testing.assert_array_equal(found.frames, wholes[name][: len(found.frames)])
        assert len(found.frames) == (int(claim) if claim.isdigit() else len(wholes[name]))
        assert claim not in ("0", "1", "13", "24", "100000")


@pytest.mark.parametrize("name", ["native grey", "RLE", "JPEG grey", "JPEG-LS", "JPEG XL"])
def test_sizes_far_beyond_the_file_cost_no_memory(name: str, tmp_path: Path) -> None:
    content = BY_NAME[name].content
    for tag in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):
        place = content.index(tag) + 8
        content = content[:place] + b"\xff\xff" + content[place + 2 :]
    found = attempt(put(tmp_path, BY_NAME[name], content))
    assert found in (Reason.OUT_OF_MEMORY, Reason.TRUNCATED, Reason.UNDECODABLE)


@pytest.mark.parametrize("name", ["RLE", "JPEG colour", "JPEG-LS", "JPEG 2000", "H.264"])
def test_an_item_longer_than_the_file_is_refused(name: str, tmp_path: Path) -> None:
    content = BY_NAME[name].content
    found = fragments_of(content)
    assert found is not None
    start, items, _ = found
    first = start + 8 + len(items[0]) + 4
    for length in (0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF):
        longer = content[:first] + struct.pack("<I", length) + content[first + 4 :]
        assert not isinstance(attempt(put(tmp_path, BY_NAME[name], longer)), CineLoop)


@pytest.mark.parametrize("name", ["RLE", "JPEG colour", "JPEG-LS", "JPEG 2000", "JPEG XL"])
@pytest.mark.parametrize("harm", ["emptied", "zeroed", "cut", "another's"])
def test_one_broken_frame_in_the_middle_refuses_the_loop(
    name: str, harm: str, tmp_path: Path
) -> None:
    content = BY_NAME[name].content
    found = fragments_of(content)
    assert found is not None
    start, items, rest = found
    frame = items[6]
    items[6] = {
        "emptied": b"",
        "zeroed": bytes(len(frame)),
        "cut": frame[: len(frame) // 4 * 2],
        "another's": b"\x00\x01" * (len(frame) // 2),
    }[harm]
    packed = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(i)) + i for i in items)
    broken = content[:start] + packed + rest
    assert not isinstance(attempt(put(tmp_path, BY_NAME[name], broken)), CineLoop)


@pytest.mark.parametrize("name", ["RLE", "JPEG colour", "JPEG-LS", "HTJ2K"])
def test_frames_in_another_order_than_their_table_tells_are_noted(
    name: str, tmp_path: Path, wholes: dict[str, NDArray[np.uint8]]
) -> None:
    content = BY_NAME[name].content
    found = fragments_of(content)
    assert found is not None
    start, items, rest = found
    whole = attempt(put(tmp_path, BY_NAME[name], content))
    assert isinstance(whole, CineLoop)
    assert "offset_table_wrong" not in whole.notes
    items[3], items[4] = items[4], items[3]
    packed = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(i)) + i for i in items)
    swapped = attempt(put(tmp_path, BY_NAME[name], content[:start] + packed + rest))
    assert isinstance(swapped, CineLoop)
    assert "offset_table_wrong" in swapped.notes


def test_a_film_that_says_its_length_first_may_not_be_cut(tmp_path: Path) -> None:
    content = film(screen().frames, "mp4", "libx264", movflags="faststart")
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    assert isinstance(attempt(path), CineLoop)
    path.write_bytes(content[:-200])  # within the last frame
    assert attempt(path) is Reason.TRUNCATED


def test_a_recorded_stream_that_does_not_know_its_length_is_read(tmp_path: Path) -> None:
    content = film(screen().frames, "matroska", "ffv1", live="1")
    path = tmp_path / "x.mkv"
    path.write_bytes(content)
    found = attempt(path)
    assert isinstance(found, CineLoop)
    assert len(found.frames) == 12


@pytest.mark.skipif(
    not is_in_session(JPEGLosslessSV1), reason="no independent decoder of lossless JPEG"
)
def test_a_flipped_bit_never_makes_lossless_pixels_of_our_own(tmp_path: Path) -> None:
    """Sums that run out of range are wrapped by each decoder in its own way."""
    original = BY_NAME["JPEG lossless"]
    found = fragments_of(original.content)
    assert found is not None
    start, items, _ = found
    first = start + 16 + len(items[0])
    draw = np.random.default_rng(3)
    accepted = 0
    for _ in range(60):
        broken = bytearray(original.content)
        broken[first + int(draw.integers(40, len(items[1])))] ^= 1 << int(draw.integers(8))
        path = put(tmp_path, original, bytes(broken))
        ours = attempt(path)
        if isinstance(ours, CineLoop):
            accepted += 1
            np.testing.assert_array_equal(ours.frames, judge(path))
    assert accepted < 60


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    def shrunk(frame: NDArray[np.uint8]) -> bytes:
        part = np.ascontiguousarray(frame[:-8, :, None])
        return bytes(simplejpeg.encode_jpeg(part, 90, "GRAY", "Gray"))

    content = compressed(grey_frames(), JPEGBaseline8Bit, shrunk)
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    assert attempt(path) is Reason.UNDECODABLE


def test_a_loop_of_one_frame_is_a_still(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(saved(dataset(grey_frames()[:1])))
    assert attempt(path) is Reason.STILL


def test_a_loop_that_stands_still_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(saved(dataset(np.repeat(grey_frames()[:1], 12, axis=0))))
    assert attempt(path) is Reason.STATIC


def test_the_first_frame_may_come_back_at_the_end(tmp_path: Path) -> None:
    frames = np.concatenate([grey_frames(), grey_frames()[:1]])
    path = tmp_path / "x.dcm"
    path.write_bytes(saved(dataset(frames)))
    found = attempt(path)
    assert isinstance(found, CineLoop)
    np.testing.assert_array_equal(found.frames, frames)


def test_more_than_a_thousand_frames_are_read(tmp_path: Path) -> None:
    frames = np.tile(grey_frames(), (90, 1, 1))
    path = tmp_path / "x.dcm"
    path.write_bytes(saved(dataset(frames, DEFLATED)))
    found = attempt(path)
    assert isinstance(found, CineLoop)
    assert len(found.frames) == 1080
    np.testing.assert_array_equal(found.frames[-12:], grey_frames())


def test_bytes_after_the_pixels_are_no_frames(
    tmp_path: Path, wholes: dict[str, NDArray[np.uint8]]
) -> None:
    for name in ("native grey", "JPEG colour", "RLE"):
        found = attempt(put(tmp_path / name, BY_NAME[name], BY_NAME[name].content + bytes(512)))
        if isinstance(found, CineLoop):
            np.testing.assert_array_equal(found.frames, wholes[name])


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.dcm", content)
    return file.getvalue()


def tarred(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo("x.dcm")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("pack", [zipped, tarred], ids=["zip", "tar.gz"])
def test_archives_are_named_as_such(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(pack(BY_NAME["native grey"].content))
    assert attempt(path) is Reason.ARCHIVE


def test_the_judge_agrees_on_whole_files_and_refuses_cut_ones(
    tmp_path: Path, wholes: dict[str, NDArray[np.uint8]]
) -> None:
    """Without this, the fuzzing would compare with nothing."""
    for number, original in enumerate(originals()):
        path = original.write(tmp_path / str(number))
        if path.suffix == ".dcm":
            meta = pydicom.dcmread(path, stop_before_pixels=True).file_meta
            if not is_in_session(meta.TransferSyntaxUID):
                continue
        seen = judge(path)
        apart = np.abs(seen.astype(int) - wholes[original.name])
        assert apart.mean() < 1.5, original.name
        cut = original.content[: len(original.content) // 2]
        if original.suffix not in (".avi", ".gif", ".mkv"):  # FFmpeg plays what is left
            with pytest.raises(UnreadableError):
                judge(original.write(tmp_path / f"{number}cut", cut))
