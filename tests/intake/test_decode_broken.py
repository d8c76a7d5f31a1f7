"""No broken pixel data become wrong pixels: each is refused, and the frame is named."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from made_dicom import MakeDicom, jpeg_frames, jpeg_ultrasound, ultrasound
from made_streams import lossless_jpeg, palette, rle, wrapped, ybr_jpeg
from made_syntaxes import COLOUR, DEEP, GREY, ROOT, SCREEN, TWELVE, recipes
from pydicom import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from echocli.intake import decode_deflated
from echocli.intake.decode import VIDEO, decode
from echocli.intake.dicom import NATIVE, read_header
from echocli.intake.extent import check_pixels
from echocli.intake.guard import quiet
from echocli.intake.pixels import Gatherer
from echocli.intake.reasons import Reason, Refused

CODECS = [
    "jpeg-grey", "jpeg-422-YBR_FULL_422", "jpeg-12-bit", "lossless-70-1", "lossless-12-bit",
    "rle-grey8", "rle-rgb", "jpeg-ls-80-grey8", "jpeg-ls-80-rgb", "jpeg-2000-90-grey8",
    "jpeg-2000-90-rgb", "htj2k-201-grey8", "htj2k-203-rgb", "jpeg-xl-grey8", "jpeg-xl-of-jpeg",
    "deflated-frames", "wrapped",
]  # fmt: skip
RECIPES = {recipe.name: recipe for recipe in recipes()}
BROKEN = (Reason.TRUNCATED, Reason.UNDECODABLE)


def gather(save: MakeDicom, data: Dataset) -> Gatherer:
    path = save(data)
    with quiet():
        header = read_header(path)
        check_pixels(path, header)
        return decode(path, header, None)


def refused(save: MakeDicom, data: Dataset) -> Refused:
    with pytest.raises(Refused) as caught:
        gather(save, data)
    return caught.value


def streams_of(data: Dataset) -> list[bytes]:
    return list(generate_frames(data.PixelData, number_of_frames=int(data.NumberOfFrames)))


@pytest.mark.parametrize("name", CODECS)
def test_a_cut_frame_in_the_middle_is_named(
    save: MakeDicom, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = RECIPES[name].build()
    streams = streams_of(data)
    whole = streams[4]
    for share in (0.05, 0.3, 0.6, 0.9):
        streams[4] = whole[: int(share * len(whole)) // 2 * 2]
        data.PixelData = encapsulate(streams)
        found = refused(save, data)
        assert found.reason in BROKEN
        assert found.detail.startswith("frame 5 of 8: ")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [name for name in CODECS if name != "wrapped"])
def test_a_cut_frame_that_pretends_to_end_is_refused(save: MakeDicom, name: str) -> None:
    """The last bytes are kept, so that every marker of the end is where it should be."""
    data = RECIPES[name].build()
    streams = streams_of(data)
    middle = len(streams[4]) * 2 // 3
    streams[4] = streams[4][:middle] + streams[4].rstrip(b"\0")[-2:]
    data.PixelData = encapsulate(streams)
    assert refused(save, data).reason in BROKEN


@pytest.mark.parametrize("name", CODECS)
def test_frames_of_another_size_are_refused(save: MakeDicom, name: str) -> None:
    data = RECIPES[name].build()
    data.Rows, data.Columns = data.Columns, data.Rows
    if name in ("deflated-frames", "wrapped", "rle-grey8", "rle-rgb"):
        data.Rows += 2  # these know only how many bytes there are
    assert refused(save, data).reason in BROKEN


@pytest.mark.parametrize(("declared", "reason"), [(9, "truncated"), (7, "undecodable")])
@pytest.mark.parametrize("name", ["jpeg-grey", "rle-grey8", "explicit-grey8", "video-102-mp4"])
def test_another_number_of_frames_is_refused(
    save: MakeDicom, name: str, declared: int, reason: str
) -> None:
    data = RECIPES[name].build()
    data.NumberOfFrames = declared
    assert refused(save, data).reason == reason


@pytest.mark.parametrize("name", [*CODECS, "video-102-mp4", "video-107-hevc"])
def test_a_swapped_transfer_syntax_gives_no_pixels(save: MakeDicom, name: str) -> None:
    """Streams say what they are, so only a stream of the same kind may pass."""
    recipe = RECIPES[name]
    for number in ("4.50", "4.70", "4.80", "4.90", "4.110", "5", "4.100", "4.102", "1"):
        data = recipe.build()
        data.file_meta.TransferSyntaxUID = UID(f"{ROOT}.{number}")
        data["PixelData"].is_undefined_length = data.file_meta.TransferSyntaxUID not in NATIVE
        try:
            got = gather(save, data)
        except Refused:
            continue
        error = np.abs(got.frames - recipe.grey.astype(float))
        assert error.mean() <= recipe.mean


@pytest.mark.parametrize("name", ["video-100-mpegts", "video-102-h264", "video-107-mp4"])
def test_a_video_that_lost_a_part_is_refused(
    save: MakeDicom, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = RECIPES[name].build()
    first, second = streams_of_two(data)
    for parts in ([first], [first, second[: len(second) // 4 * 2]], [second]):
        data.PixelData = encapsulate(parts)
        assert refused(save, data).reason in BROKEN
    assert capfd.readouterr() == ("", "")


def streams_of_two(data: Dataset) -> list[bytes]:
    return list(generate_frames(data.PixelData, number_of_frames=2))


def test_a_video_is_no_frame(save: MakeDicom) -> None:
    for syntax in VIDEO:
        data = wrapped(SCREEN, syntax, [b"#EXTM3U\nfile:///etc/hostname\n" * 40])
        assert refused(save, data).reason is Reason.UNDECODABLE


@pytest.mark.parametrize("bits", [12, 16])
def test_bytes_left_over_in_a_deep_image_are_found(save: MakeDicom, bits: int) -> None:
    """libjpeg only warns of them, and imagecodecs keeps the warning to itself."""
    name = "jpeg-12-bit" if bits == 12 else "lossless-12-bit"
    data = RECIPES[name].build()
    streams = streams_of(data)
    place = streams[2].rindex(b"\xff\xd9")
    streams[2] = streams[2][:place] + b"\x12\x34\x56\x78" * 3 + streams[2][place:]
    data.PixelData = encapsulate(streams)
    assert refused(save, data).detail.startswith("frame 3 of 8")


def test_deep_images_that_end_in_black_are_whole(save: MakeDicom) -> None:
    black = DEEP.copy()
    black[:, 20:] = 0
    streams = [lossless_jpeg(frame, bits=16) for frame in black]
    got = gather(save, wrapped(black, f"{ROOT}.4.70", streams, **TWELVE))
    np.testing.assert_array_equal(got.frames, black >> 4)


@pytest.mark.parametrize(
    "table", ["none", "right", "wrong", "extended", "wrong extended", "of nothing"]
)
@pytest.mark.parametrize("fragments", [1, 3])
def test_offset_tables(save: MakeDicom, table: str, fragments: int) -> None:
    data = jpeg_ultrasound(GREY, fragments=fragments)
    frames = jpeg_frames(GREY)
    if table.endswith("extended"):
        value, offsets, lengths = encapsulate_extended(frames)
        if table == "wrong extended":
            offsets = np.frombuffer(offsets, "<u8")[::-1].tobytes()
        data.PixelData, data.ExtendedOffsetTable = value, offsets
        data.ExtendedOffsetTableLengths = lengths
    else:
        right = table != "none"
        value = bytearray(encapsulate(frames, fragments_per_frame=fragments, has_bot=right))
        if table == "wrong":
            value[8:40] = np.arange(8, dtype="<u4").tobytes()
        if table == "of nothing":
            value[8:40] = b"\xff" * 32
        data.PixelData = bytes(value)
    data["PixelData"].is_undefined_length = True
    np.testing.assert_array_equal(
        gather(save, data).frames, gather(save, jpeg_ultrasound(GREY)).frames
    )


def test_only_a_table_tells_where_frames_of_no_known_start_begin(save: MakeDicom) -> None:
    """RLE has no mark of a start; several fragments a frame are against the standard."""
    streams = rle(GREY)
    for has_table, fine in ((True, True), (False, False)):
        data = wrapped(GREY, RLELossless, streams)
        data.PixelData = encapsulate(streams, fragments_per_frame=2, has_bot=has_table)
        if fine:
            np.testing.assert_array_equal(gather(save, data).frames, GREY)
        else:
            assert refused(save, data).reason is Reason.UNDECODABLE


def test_a_table_of_another_type_is_none(save: MakeDicom) -> None:
    data = wrapped(GREY, RLELossless, streams := rle(GREY))
    data.PixelData = encapsulate(streams, fragments_per_frame=2, has_bot=False)
    data.add_new(0x7FE00001, "LO", "a text")
    assert refused(save, data).reason is Reason.UNDECODABLE


def test_hundred_thousand_frames_are_refused_before_anything_is_allocated(
    save: MakeDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("allocated")

    monkeypatch.setattr(Gatherer, "__init__", never)
    for name in ("jpeg-grey", "explicit-grey8"):
        data = RECIPES[name].build()
        data.NumberOfFrames = 100_000
        assert refused(save, data).reason is Reason.TRUNCATED


def test_a_bomb_does_not_go_off(save: MakeDicom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_deflated, "MAX_INFLATED", 1 << 20)
    data = ultrasound(GREY, DeflatedExplicitVRLittleEndian)
    data.add_new(0x00091010, "OB", bytes(3 << 20))
    path = save(data)
    assert path.stat().st_size < 20_000
    with pytest.raises(Refused) as caught, quiet():
        read_header(path)
    assert caught.value.reason is Reason.OUT_OF_MEMORY


def test_a_deflated_file_cut_short_is_refused(save: MakeDicom) -> None:
    path = save(ultrasound(GREY, DeflatedExplicitVRLittleEndian))
    whole = path.read_bytes()
    for length in range(140, len(whole) - 1, len(whole) // 25):
        path.write_bytes(whole[:length])
        with pytest.raises(Refused), quiet():
            decode(path, read_header(path), None)


def test_an_inflated_frame_is_bounded(save: MakeDicom) -> None:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = packer.compress(bytes(10 << 20)) + packer.flush()
    data = wrapped(GREY, f"{ROOT}.8.1", [bomb] * 8)
    assert "another size" in refused(save, data).detail


def more_than_allocated(data: Dataset) -> None:
    data.BitsStored = 9


def too_deep(data: Dataset) -> None:
    data.BitsAllocated = data.BitsStored = 32


def unknown_colours(data: Dataset) -> None:
    data.PhotometricInterpretation = "HSV"


def other_samples(data: Dataset) -> None:
    data.PhotometricInterpretation = "RGB"


def tripled(data: Dataset) -> None:
    """Three bytes a pixel where two are declared: RGB or YBR_FULL, nobody knows."""
    data.SamplesPerPixel = 3
    data.PhotometricInterpretation = "YBR_FULL_422"
    data.PixelData = COLOUR.tobytes()


def shallow_colours(data: Dataset) -> None:
    """Four bits a colour, and nobody knows which."""
    data.SamplesPerPixel, data.PlanarConfiguration = 3, 0
    data.PhotometricInterpretation = "RGB"
    data.BitsStored = 4
    data.PixelData = COLOUR.tobytes()


@pytest.mark.parametrize(
    "spoil",
    [more_than_allocated, too_deep, unknown_colours, other_samples, tripled, shallow_colours],
)
def test_contradictions_are_refused(save: MakeDicom, spoil: Callable[[Dataset], None]) -> None:
    data = ultrasound(GREY)
    spoil(data)
    assert refused(save, data).reason in BROKEN


@pytest.mark.parametrize("name", ["rle-grey12", "jpeg-ls-80-grey12", "jpeg-2000-90-grey12"])
def test_values_beyond_the_declared_bits_are_refused(save: MakeDicom, name: str) -> None:
    data = RECIPES[name].build()
    data.BitsStored, data.HighBit = 10, 9
    assert refused(save, data).reason is Reason.UNDECODABLE


def segments(*words: int) -> bytes:
    return np.array(words, dtype="<u2").tobytes()


def test_a_segmented_palette(save: MakeDicom) -> None:
    """PS3.3 C.7.9.2: four values, a ramp of eight to 0xFF00, and both again by reference."""
    data = palette(ultrasound(GREY // 11), np.zeros((24, 3), dtype=np.uint8))
    values = [0x1000, 0x2000, 0x1000, 0x3000]
    coded = segments(0, 4, *values, 1, 8, 0xFF00, 2, 2, 0, 0)
    for name in ("Red", "Green", "Blue"):
        del data[f"{name}PaletteColorLookupTableData"]
        setattr(data, f"Segmented{name}PaletteColorLookupTableData", coded)
    ramp = [0x3000 + (0xFF00 - 0x3000) * step / 8 for step in range(1, 9)]
    table = np.rint([*values, *ramp] * 2).astype(int) >> 8
    np.testing.assert_array_equal(gather(save, data).frames, table[GREY // 11])


@pytest.mark.parametrize(
    "coded",
    [
        segments(1, 8, 0xFF00),  # a ramp from nowhere
        segments(7, 1, 0),
        segments(0, 4, 1, 2),
        segments(0, 3, 1, 2, 3),  # too few entries
        segments(0, 1, 5, *[2, 60000, 0, 0] * 3),
        b"",
    ],
)
def test_broken_segments_are_refused(save: MakeDicom, coded: bytes) -> None:
    data = palette(ultrasound(GREY // 11), np.zeros((24, 3), dtype=np.uint8))
    for name in ("Red", "Green", "Blue"):
        del data[f"{name}PaletteColorLookupTableData"]
        setattr(data, f"Segmented{name}PaletteColorLookupTableData", coded)
    assert refused(save, data).detail == "the colour palette is broken"


def test_a_missing_palette_is_refused(save: MakeDicom) -> None:
    data = ultrasound(GREY)
    data.PhotometricInterpretation = "PALETTE COLOR"
    assert refused(save, data).reason is Reason.UNDECODABLE


def test_a_loop_of_one_frame_may_have_many_fragments(save: MakeDicom) -> None:
    data = ultrasound(COLOUR[:1], JPEGBaseline8Bit)
    data.PhotometricInterpretation = "YBR_FULL_422"
    stream = ybr_jpeg(COLOUR[0], "422")
    data.PixelData = encapsulate([stream], fragments_per_frame=5, has_bot=False)
    data["PixelData"].is_undefined_length = True
    assert gather(save, data).count == 1


def test_an_implicit_dataset_under_an_explicit_syntax(save: MakeDicom) -> None:
    """One of pydicom's own test files is like this."""
    data = ultrasound(GREY, ExplicitVRLittleEndian)
    path = save(data)
    plain = path.read_bytes()
    at = plain.rindex(b"\xe0\x7f\x10\x00OB\0\0")
    path.write_bytes(plain[: at + 4] + plain[at + 8 :])
    with quiet():
        header = read_header(path)
        np.testing.assert_array_equal(decode(path, header, None).frames, GREY)
