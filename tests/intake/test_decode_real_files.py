"""pydicom's own test files, of every modality, decoded as pydicom decodes them or refused."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut

from echocli.intake.decode import decode
from echocli.intake.dicom import Header, read_header
from echocli.intake.extent import check_pixels
from echocli.intake.guard import check_size, quiet
from echocli.intake.reasons import Reason, Refused
from echocli.intake.sources import Content, content_of

LARGEST = 300_000
REFUSED = {
    # Depths that no scanner of ours writes: 1 and 32 bits.
    "SC_rgb_rle_32bit": Reason.UNDECODABLE,
    "SC_rgb_rle_32bit_2frame": Reason.UNDECODABLE,
    "SC_rgb_32bit": Reason.UNDECODABLE,
    "SC_rgb_32bit_2frame": Reason.UNDECODABLE,
    "SC_rgb_expb_32bit": Reason.UNDECODABLE,
    "SC_rgb_expb_32bit_2frame": Reason.UNDECODABLE,
    "liver": Reason.UNDECODABLE,
    "liver_expb": Reason.UNDECODABLE,
    "liver_1frame": Reason.UNDECODABLE,
    "liver_expb_1frame": Reason.UNDECODABLE,
    "rtdose": Reason.UNDECODABLE,
    "rtdose_1frame": Reason.UNDECODABLE,
    "rtdose_expb": Reason.UNDECODABLE,
    "rtdose_expb_1frame": Reason.UNDECODABLE,
    "rtdose_rle": Reason.UNDECODABLE,
    "rtdose_rle_1frame": Reason.UNDECODABLE,
    # Broken on purpose.
    "MR_truncated": Reason.TRUNCATED,
    "emri_small_jpeg_2k_lossless_too_short": Reason.TRUNCATED,
    "badVR": Reason.NO_IMAGE,
    "JPEG2000-embedded-sequence-delimiter": Reason.UNDECODABLE,
}
OTHER_SCALE = {"693_J2KR"}
"""Streams of 14 bits whose header says 16: pydicom believes the header."""


def pictures() -> list[Path]:
    """Return the installed files that hold pixels and are small."""
    folders = [Path(pydicom.data.__file__).parent / "test_files"]
    extra = find_spec("data_store")  # pydicom-data
    if extra is not None and extra.origin is not None:
        folders.append(Path(extra.origin).parent / "data")
    found = []
    for path in (path for folder in folders for path in folder.glob("*.dcm")):
        if path.stat().st_size > LARGEST or content_of(path) is not Content.DICOM:
            continue
        with quiet():
            try:
                header = read_header(path)
            except Refused:
                continue
        if header.rows and (header.pixel_offset is not None or path.stem in REFUSED):
            found.append(path)
    return sorted(found, key=lambda path: path.name)


@pytest.mark.parametrize("path", pictures(), ids=lambda path: path.stem)
def test_decoded_as_by_pydicom_or_refused(path: Path) -> None:
    header, got = outcome(path)
    expected = REFUSED.get(path.stem)
    if expected is not None or isinstance(got, Reason):
        assert got is expected
        return
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        try:
            theirs = grey_of(pydicom.dcmread(path), header)
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            pytest.skip(f"pydicom cannot judge: {type(error).__name__}")
    difference = np.abs(theirs.reshape(got.shape) - got)
    if path.stem not in OTHER_SCALE:
        assert difference.mean() < 1
        assert difference.max() < 60  # chroma of JPEG is smoothed differently at edges


def outcome(path: Path) -> tuple[Header, NDArray[np.uint8] | Reason]:
    """Return the header, and the frames or why there are none."""
    with quiet():
        header = read_header(path)
        try:
            check_size(header.frames, header.rows, header.columns)
            check_pixels(path, header)
            return header, decode(path, header, None).frames
        except Refused as refused:
            return header, refused.reason


def grey_of(data: pydicom.Dataset, header: Header) -> NDArray[Any]:
    """Return the luma, 0 to 255, of what pydicom decodes."""
    pixels = data.pixel_array
    bits = header.bits_stored
    if header.photometric == "PALETTE COLOR":
        if header.transfer_syntax == pydicom.uid.ExplicitVRBigEndian:
            pytest.skip("pydicom does not swap the palettes of big-endian files")
        pixels = apply_color_lut(pixels, data)
        bits = 16 if pixels.max() > 255 else 8
    levels = pixels.astype(float)
    if header.signed:
        levels += 2 ** (bits - 1)
    levels = levels / 2 ** (bits - 8) if bits >= 8 else levels * 255 / (2**bits - 1)
    if header.samples == 3 or header.photometric == "PALETTE COLOR":
        return np.floor(levels) @ np.array([0.299, 0.587, 0.114])
    return 255 - np.floor(levels) if header.photometric == "MONOCHROME1" else np.floor(levels)
