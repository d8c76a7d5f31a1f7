import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from made_dicom import moving_scan

from echocli.intake.fingerprint import fingerprint
from echocli.intake.read import describe, read_loop
from echocli.intake.reasons import Reason, Refused
from echocli.intake.sources import find_sources

SCAN = moving_scan(10, 40, 60)


def save_nifti(path: Path, stored: np.ndarray, zooms: tuple[float, ...]) -> Path:
    image = nibabel.Nifti1Image(stored, np.eye(4))
    image.header.set_zooms(zooms)
    image.header.set_xyzt_units("mm", "msec")
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int16])
def test_axes_are_x_y_frame(tmp_path: Path, name: str, dtype: type) -> None:
    path = save_nifti(tmp_path / name, SCAN.transpose(2, 1, 0).astype(dtype), (0.2, 0.3, 1.0))
    loop = read_loop(path)
    np.testing.assert_array_equal(loop.frames, SCAN)
    assert loop.spacing_mm == (pytest.approx(0.3), pytest.approx(0.2))
    assert (loop.spacing_source, loop.times_s, loop.time_source) == ("header", None, "unknown")
    said = describe(path)
    assert (said.frames, said.rows, said.columns, said.reason) == (10, 40, 60, None)


def test_four_axes_tell_the_time(tmp_path: Path) -> None:
    stored = SCAN.transpose(2, 1, 0)[:, :, None, :]
    loop = read_loop(save_nifti(tmp_path / "x.nii", stored, (0.2, 0.3, 1.0, 20.0)))
    np.testing.assert_array_equal(loop.frames, SCAN)
    assert loop.times_s is not None
    np.testing.assert_allclose(np.diff(loop.times_s), 0.02)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((60, 40), Reason.STILL),
        ((60, 40, 1), Reason.STILL),
        ((60, 40, 3), Reason.TOO_FEW_FRAMES),
        ((60, 40, 9, 4), Reason.VOLUME),
    ],
)
def test_what_is_no_loop_is_refused(
    tmp_path: Path, shape: tuple[int, ...], reason: Reason
) -> None:
    stored = np.zeros(shape, dtype=np.uint8)
    path = save_nifti(tmp_path / "x.nii", stored, (1.0,) * len(shape))
    with pytest.raises(Refused) as caught:
        read_loop(path)
    assert caught.value.reason is reason
    assert describe(path).reason is reason


def test_grey_levels_are_never_stretched(tmp_path: Path) -> None:
    stored = SCAN.transpose(2, 1, 0).astype(np.int16) * 10
    with pytest.raises(Refused, match="outside 0 to 255"):
        read_loop(save_nifti(tmp_path / "x.nii", stored, (1.0, 1.0, 1.0)))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_black_and_white_are_grey_levels_and_nothing_beyond(
    tmp_path: Path, dtype: type
) -> None:
    stored = SCAN.transpose(2, 1, 0).astype(dtype)
    stored[0, 0], stored[1, 0] = 0, 255
    loop = read_loop(save_nifti(tmp_path / "x.nii", stored, (1.0, 1.0, 1.0)))
    np.testing.assert_array_equal(loop.frames, stored.transpose(2, 1, 0))
    for beyond in (-1, 256):
        stored[0, 0, 3] = beyond
        with pytest.raises(Refused, match="outside 0 to 255"):
            read_loop(save_nifti(tmp_path / "x.nii", stored, (1.0, 1.0, 1.0)))


def save_mhd(
    folder: Path, data: str = "x.raw", size: str = "60 40 10", spacing: str = "0.2 0.3"
) -> Path:
    (folder / "x.raw").write_bytes(SCAN.tobytes())
    path = folder / "x.mhd"
    path.write_text(
        f"ObjectType = Image\nNDims = 3\nDimSize = {size}\nElementType = MET_UCHAR\n"
        f"ElementSpacing = {spacing} 1\nElementDataFile = {data}\n"
    )
    return path


def test_mhd(tmp_path: Path) -> None:
    loop = read_loop(save_mhd(tmp_path))
    np.testing.assert_array_equal(loop.frames, SCAN)
    assert loop.spacing_mm == (0.3, 0.2)


@pytest.mark.parametrize("spacing", ["inf 1", "nan 1", "1 nan", "-1 1", "1e-30 1e30", "0.1 20"])
def test_a_scale_that_no_heart_has_is_unknown(tmp_path: Path, spacing: str) -> None:
    loop = read_loop(save_mhd(tmp_path, spacing=spacing))
    assert (loop.spacing_mm, loop.spacing_source) == (None, "unknown")


@pytest.mark.parametrize(
    "zooms",
    [
        (np.inf, 0.3, 1.0, 20.0),
        (np.nan, 0.3, 1.0, 20.0),
        (0.2, 20.0, 1.0, 20.0),
        (0.2, 0.3, 1.0, np.nan),
        (0.2, 0.3, 1.0, np.inf),
        (0.2, 0.3, 1.0, -20.0),
        (0.2, 0.3, 1.0, 1e-20),
        (0.2, 0.3, 1.0, 2000.0),
    ],
)
def test_what_no_heart_has_is_not_believed(
    tmp_path: Path, zooms: tuple[float, float, float, float]
) -> None:
    path = save_nifti(tmp_path / "x.nii", SCAN.transpose(2, 1, 0)[:, :, None], (1.0,) * 4)
    with path.open("r+b") as file:
        file.seek(80)  # pixdim[1]
        file.write(np.array(zooms, "<f4").tobytes())
    loop, told = read_loop(path), describe(path)
    if zooms[:2] == (0.2, 0.3):
        assert (loop.times_s, loop.time_source) == (None, "unknown")
        assert told.rate_hz is None
        assert loop.spacing_mm is not None
    else:
        assert (loop.spacing_mm, told.spacing_mm) == (None, None)
        assert told.rate_hz == pytest.approx(50)


@pytest.mark.parametrize(
    ("data", "size", "reason"),
    [
        ("../x.raw", "60 40 10", Reason.UNREADABLE),
        ("/etc/passwd", "60 40 10", Reason.UNREADABLE),
        ("gone.raw", "60 40 10", Reason.UNREADABLE),
        ("x.raw", "60 40 11", Reason.TRUNCATED),
        ("x.raw", "60 40", Reason.STILL),
        ("x.raw", "sixty 40 10", Reason.UNREADABLE),
        ("x.raw", "60 40 999999999", Reason.OUT_OF_MEMORY),
    ],
)
def test_mhd_that_lies_is_refused(tmp_path: Path, data: str, size: str, reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        read_loop(save_mhd(tmp_path, data, size))
    assert caught.value.reason is reason


def test_a_broken_checksum_is_found(tmp_path: Path) -> None:
    stored = SCAN.transpose(2, 1, 0)
    path = save_nifti(tmp_path / "x.nii.gz", stored, (1.0, 1.0, 1.0))
    whole = path.read_bytes()
    for place in (-8, -4):  # CRC-32 and length, RFC 1952
        broken = bytearray(whole)
        broken[place] ^= 1
        path.write_bytes(broken)
        with pytest.raises(Refused) as caught:
            read_loop(path)
        assert caught.value.reason is Reason.UNDECODABLE


def test_a_header_of_a_smaller_volume_is_refused(tmp_path: Path) -> None:
    for name in ("x.nii", "x.nii.gz"):
        path = save_nifti(tmp_path / name, SCAN.transpose(2, 1, 0), (1.0, 1.0, 1.0))
        content = (
            gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
        )
        longer = content + bytes(40)
        path.write_bytes(gzip.compress(longer) if name.endswith("gz") else longer)
        with pytest.raises(Refused, match="more data"):
            read_loop(path)


def test_pixels_in_a_file_of_their_own_are_of_the_source(tmp_path: Path) -> None:
    shades = {"a": SCAN, "b": SCAN // 2}
    for name, frames in shades.items():
        (tmp_path / name).mkdir()
        pair = nibabel.Nifti1Pair(frames.transpose(2, 1, 0), np.eye(4))
        nibabel.save(pair, tmp_path / name / "x.img")
    headers = find_sources([tmp_path])
    assert headers == [tmp_path / name / "x.hdr" for name in shades]
    one, other = headers
    assert one.read_bytes() == other.read_bytes()
    assert fingerprint(one) != fingerprint(other)
    assert read_loop(one).frames.shape == SCAN.shape
    with (tmp_path / "b" / "x.img").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Refused) as refused:
        read_loop(other)
    assert refused.value.reason is Reason.UNDECODABLE
