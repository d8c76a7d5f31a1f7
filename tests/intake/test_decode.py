"""Every way of storing the same picture gives the same grey."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import simplejpeg
from made_dicom import (
    MakeDicom,
    jpeg_frames,
    jpeg_ultrasound,
    ultrasound,
)
from made_streams import luma
from made_syntaxes import GREY, coloured
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from echocli.intake.decode import can_decode, decode
from echocli.intake.dicom import read_header
from echocli.intake.guard import quiet
from echocli.intake.pixels import Colour, Gatherer, Picture
from echocli.intake.reasons import Reason, Refused


def gather(path: Path) -> Gatherer:
    with quiet():
        return decode(path, read_header(path), None)


def spread(rgb: NDArray[Any]) -> NDArray[Any]:
    return (rgb.max(axis=-1).astype(int) - rgb.min(axis=-1)).max(axis=0)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_in_both_planar_configurations(save: MakeDicom, syntax: str, planar: int) -> None:
    rgb = coloured()
    data = ultrasound(rgb, syntax)
    data.PlanarConfiguration = planar
    if planar:
        data.PixelData = np.moveaxis(rgb, -1, 1).tobytes()
    got = gather(save(data))
    np.testing.assert_allclose(got.frames, luma(rgb), atol=0.51)
    np.testing.assert_array_equal(got.chroma, spread(rgb))


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_native_grey_of_any_byte_order(save: MakeDicom, syntax: str, dtype: str) -> None:
    big = syntax == ExplicitVRBigEndian
    values = GREY.astype(np.uint16) << 4 if dtype == "u2" else GREY
    stored = values.astype(f"{'>' if big else '<'}{dtype}")
    data = ultrasound(stored, syntax)
    if dtype == "u2":
        data.BitsStored, data.HighBit = 12, 11
    got = gather(save(data))
    np.testing.assert_array_equal(got.frames, GREY)
    assert not got.chroma.any()


def test_monochrome1_is_inverted(save: MakeDicom) -> None:
    path = save(ultrasound(GREY), PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(gather(path).frames, 255 - GREY)


def test_signed_pixels_are_shifted(save: MakeDicom) -> None:
    signed = (GREY.astype(np.int16) - 128) << 8
    np.testing.assert_array_equal(gather(save(ultrasound(signed))).frames, GREY)


def test_a_dark_loop_stays_dark(save: MakeDicom) -> None:
    """Depth scales by the bits declared, never by what one loop happens to reach."""
    dark = (GREY // 4).astype(np.uint16) << 8
    np.testing.assert_array_equal(gather(save(ultrasound(dark))).frames, GREY // 4)


def test_native_ybr_full_422_of_several_frames(save: MakeDicom) -> None:
    """Two bytes a pixel; pydicom 3.0.2 loses its place after the first frame."""
    quads = np.full((*GREY.shape[:2], GREY.shape[2] // 2, 4), 128, dtype=np.uint8)
    quads[..., 0], quads[..., 1] = GREY[..., ::2], GREY[..., 1::2]
    quads[3, 5, 6, 3] = 188  # Cr of one pair in one frame
    data = ultrasound(np.repeat(GREY[..., None], 3, axis=-1))
    data.PhotometricInterpretation = "YBR_FULL_422"
    data.PixelData = quads.tobytes()
    got = gather(save(data))
    np.testing.assert_array_equal(got.frames, GREY)
    # R-G = 1.402 * 60 + 0.714136 * 60
    assert got.chroma[5, 12:14].tolist() == [127, 127]
    assert np.count_nonzero(got.chroma) == 2


def test_native_ybr_full(save: MakeDicom) -> None:
    rgb = coloured()
    ybr = np.stack([np.array(Image.fromarray(frame).convert("YCbCr")) for frame in rgb])
    got = gather(save(ultrasound(ybr), PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_allclose(got.frames, luma(rgb), atol=1.01)
    np.testing.assert_allclose(got.chroma, spread(rgb), atol=5)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("colour", [False, True])
def test_lossless_compression(save: MakeDicom, syntax: str, colour: bool) -> None:
    pixels = coloured() if colour else GREY
    data = ultrasound(pixels)
    data.compress(syntax, generate_instance_uid=False)
    got = gather(save(data))
    expected = luma(pixels) if colour else GREY
    np.testing.assert_allclose(got.frames, expected, atol=0.51)
    if colour:
        np.testing.assert_array_equal(got.chroma, spread(pixels))


@pytest.mark.parametrize("fragments", [1, 5])
@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_baseline_equals_pillow(save: MakeDicom, fragments: int, colour: bool) -> None:
    pixels = coloured() if colour else GREY
    got = gather(save(jpeg_ultrasound(pixels, fragments=fragments)))
    for frame, encoded in zip(got.frames, jpeg_frames(pixels), strict=True):
        picture = Image.open(io.BytesIO(encoded))
        expected = np.array(picture.convert("YCbCr"))[..., 0] if colour else np.array(picture)
        assert np.abs(frame.astype(int) - expected).max() <= 1
    if colour:  # half the size, smoothed by the compression
        assert got.chroma[10:14, 12:20].min() > 140
        assert got.chroma[26:30, 34:46].min() > 170
        assert got.chroma[38:, :].max() < 20


def test_a_coloured_line_of_one_pixel_is_not_paled(save: MakeDicom) -> None:
    """The sector is freed of drawings by their colour; half-size frames alone would hide it."""
    rgb = np.zeros((30, 48, 64, 3), dtype=np.uint8) + 30
    rgb[:, 20, :] = (0, 255, 0)
    data = jpeg_ultrasound(rgb)
    frames = [simplejpeg.encode_jpeg(frame, 95, "RGB", "444") for frame in rgb]
    data.PixelData = encapsulate(frames)
    assert gather(save(data)).chroma[20].min() > 200


def test_jpeg_that_holds_rgb(save: MakeDicom) -> None:
    rgb = coloured()
    data = jpeg_ultrasound(rgb)
    frames = []
    for frame in rgb:
        out = io.BytesIO()
        Image.fromarray(frame).save(out, "JPEG", quality=95, keep_rgb=True, subsampling=0)
        frames.append(out.getvalue())
    data.PixelData = encapsulate(frames)
    got = gather(save(data, PhotometricInterpretation="RGB"))
    np.testing.assert_allclose(got.frames, luma(rgb), atol=14)


@pytest.mark.parametrize("wide", [False, True])
def test_palettes_of_8_and_16_bits(save: MakeDicom, wide: bool) -> None:
    index = (GREY // 16).astype(np.uint8)
    table = np.arange(256, dtype=np.uint16)[:16] * 16
    data = ultrasound(index)
    data.PhotometricInterpretation = "PALETTE COLOR"
    for name, values in (("Red", table), ("Green", table), ("Blue", table[::-1])):
        stored = values.astype("<u2") << 8 if wide else values.astype(np.uint8)
        setattr(data, f"{name}PaletteColorLookupTableDescriptor", [16, 0, 16 if wide else 8])
        setattr(data, f"{name}PaletteColorLookupTableData", stored.tobytes())
    rgb = np.stack([table[index], table[index], table[::-1][index]], axis=-1)
    got = gather(save(data))
    np.testing.assert_allclose(got.frames, luma(rgb), atol=0.51)
    np.testing.assert_array_equal(got.chroma, spread(rgb))


def cut_pixels(data: pydicom.Dataset) -> None:
    data.NumberOfFrames = 9


def wrong_size(data: pydicom.Dataset) -> None:
    data.Rows = 40


def no_jpeg(data: pydicom.Dataset) -> None:
    data.PixelData = encapsulate([b"nonsense"] * 8)


def cut_frame(data: pydicom.Dataset) -> None:
    frames = jpeg_frames(GREY)
    frames[5] = frames[5][: len(frames[5]) // 2]
    data.PixelData = encapsulate(frames)


@pytest.mark.parametrize("spoil", [cut_pixels, wrong_size, no_jpeg, cut_frame])
def test_frames_that_are_wrong_are_refused(
    save: MakeDicom, spoil: Callable[[pydicom.Dataset], None]
) -> None:
    data = jpeg_ultrasound(GREY)
    spoil(data)
    with pytest.raises(Refused) as caught:
        gather(save(data))
    assert caught.value.reason in (Reason.TRUNCATED, Reason.UNDECODABLE)


def test_a_frame_count_beyond_memory_is_refused_before_allocation(save: MakeDicom) -> None:
    with pytest.raises(Refused) as caught:
        gather(save(jpeg_ultrasound(GREY), NumberOfFrames=10**9))
    assert caught.value.reason is Reason.OUT_OF_MEMORY


def test_an_unknown_compression_is_no_crash() -> None:
    assert can_decode(ExplicitVRLittleEndian)
    assert not can_decode("1.2.840.10008.1.2.4.92")
    assert not can_decode("1.2.3")


def test_colour_is_asked_of_some_frames_only() -> None:
    """8 in full size and 16 coarser, from the first frame to the last."""
    for frames in (1, 8, 24, 25, 90, 400):
        gathered = Gatherer(frames, 4, 4, None)
        wanted = []
        for _ in range(frames):
            wanted.append(gathered.next_colour)
            gathered.add(Picture(np.zeros((4, 4), dtype=np.uint8)))
        asked = [index for index, colour in enumerate(wanted) if colour is not Colour.NONE]
        assert len(asked) == min(frames, 24)
        assert wanted.count(Colour.WHOLE) == -(-len(asked) // 3)
        assert asked[0] == 0
        assert asked[-1] == frames - 1
        assert max(np.diff(asked), default=0) <= -(-frames // 23)


def test_a_decoder_writes_where_the_grey_will_lie() -> None:
    """The loop is kept once: frames that a decoder put there are not copied."""
    gathered = Gatherer(3, 4, 5, None)
    place = gathered.next_grey
    place[...] = 7
    gathered.add(Picture(place))
    gathered.add(Picture(np.full((4, 5), 9, dtype=np.uint8)))
    assert gathered.frames[:, 0, 0].tolist() == [7, 9]
    with pytest.raises(Refused, match="different sizes"):
        gathered.add(Picture(np.zeros((5, 4), dtype=np.uint8)))
