"""What the header alone tells, ``describe`` tells; what it leaves open is called open."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_dicom import MakeDicom, jpeg_ultrasound, moving_scan, ultrasound
from numpy.typing import NDArray
from pydicom import Dataset
from test_real_files import SEEN, SHARED, needs_shared

from echocli.intake.read import MAY_BE_COLOUR, describe, read_loop
from echocli.intake.reasons import Reason, Refused

GREY = moving_scan()
COLOUR = np.stack([GREY, GREY, GREY // 2], axis=-1)
RAMP = np.arange(256, dtype=np.uint8)


def palette(
    red: NDArray[np.uint8], green: NDArray[np.uint8], blue: NDArray[np.uint8]
) -> Dataset:
    data = ultrasound(GREY)
    data.PhotometricInterpretation = "PALETTE COLOR"
    for name, values in (("Red", red), ("Green", green), ("Blue", blue)):
        setattr(data, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(data, f"{name}PaletteColorLookupTableData", values.tobytes())
    return data


@pytest.mark.parametrize(
    ("image_type", "open_"),
    [
        (None, True),
        (["DERIVED", "PRIMARY"], True),
        (["ORIGINAL", "PRIMARY", "", "CARDIOLOGY"], True),
        (["ORIGINAL", "PRIMARY", "", "0000"], True),
        (["ORIGINAL", "PRIMARY", "", "0001"], False),
    ],
)
def test_colours_without_a_mode_may_be_doppler(
    save: MakeDicom, image_type: list[str] | None, open_: bool
) -> None:
    changes: dict[str, Any] = {} if image_type is None else {"ImageType": image_type}
    said = MAY_BE_COLOUR if open_ else ""
    for data in (ultrasound(COLOUR), jpeg_ultrasound(COLOUR), palette(RAMP, RAMP, RAMP // 2)):
        found = describe(save(data, **changes))
        assert (found.usable, found.detail) == (True, said)
    for data in (ultrasound(GREY), jpeg_ultrasound(GREY), palette(RAMP, RAMP, RAMP)):
        found = describe(save(data, **changes))
        assert (found.usable, found.detail) == (True, "")


def test_colour_that_the_header_names_is_refused_as_before(save: MakeDicom) -> None:
    found = describe(save(ultrasound(COLOUR), ImageType=["ORIGINAL", "PRIMARY", "", "0011"]))
    assert found.reason is Reason.COLOUR_DOPPLER
    assert found.detail == "colour Doppler"


def without_palette(data: Dataset) -> None:
    data.PhotometricInterpretation = "PALETTE COLOR"


def in_four_bits(data: Dataset) -> None:
    data.BitsAllocated = 4


def in_a_strange_model(data: Dataset) -> None:
    data.PhotometricInterpretation = "CMYK"


def of_one_frame_more(data: Dataset) -> None:
    data.NumberOfFrames = len(GREY) - 1


@pytest.mark.parametrize(
    "spoil", [without_palette, in_four_bits, in_a_strange_model, of_one_frame_more]
)
def test_what_the_header_speaks_against_is_refused_by_both_alike(
    save: MakeDicom, spoil: Any
) -> None:
    data = ultrasound(GREY)
    spoil(data)
    path = save(data)
    with pytest.raises(Refused) as caught:
        read_loop(path)
    found = describe(path)
    assert (found.reason, found.detail) == (caught.value.reason, caught.value.detail)
    assert found.reason is Reason.UNDECODABLE


def test_a_jpeg_loop_needs_no_palette_to_be_read(save: MakeDicom) -> None:
    data = jpeg_ultrasound(COLOUR)
    without_palette(data)
    data.SamplesPerPixel = 1
    path = save(data)
    assert len(read_loop(path).frames) == len(COLOUR)
    assert (describe(path).usable, describe(path).detail) == (True, MAY_BE_COLOUR)


@needs_shared
@pytest.mark.parametrize(("name", "seen"), SEEN.items())
def test_no_real_file_is_promised_that_is_refused_for_its_colour(name: str, seen: str) -> None:
    found = describe(Path(SHARED / name))
    if found.usable and seen == "colour_doppler":
        assert found.detail == MAY_BE_COLOUR
    if found.detail == MAY_BE_COLOUR:  # with two plain loops of the same scanner
        assert seen == "colour_doppler" or name.endswith(("I_000001.dcm", "I_000002.dcm"))


def test_a_volume_that_is_too_large_is_refused_by_its_header(tmp_path: Path) -> None:
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 4, 32767, 32767, 1, 32767, 1, 1, 1)
    struct.pack_into("<2h", head, 70, 2, 8)
    struct.pack_into("<f", head, 108, 352.0)
    head[344:348] = b"n+1\0"
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(bytes(head) + bytes(1000)))
    with pytest.raises(Refused) as caught:
        read_loop(path)
    assert describe(path).reason is caught.value.reason is Reason.OUT_OF_MEMORY
