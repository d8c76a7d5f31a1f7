"""Luma is exact in every range, depth and size, and pictures stand as a player shows them."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from echocli.intake.read import describe
from echocli.intake.reasons import Reason, Refused
from echocli.intake.sources import Content, content_of
from echocli.intake.video import read_video


def ends(bits: int, kind: str) -> tuple[int, int]:
    """Stored luma of black and white, ITU-T H.273 8.3."""
    if kind == "full":
        return 0, (1 << bits) - 1
    return 16 << (bits - 8), 235 << (bits - 8)


def ramp(bits: int, kind: str, rows: int, columns: int, step: int) -> NDArray[Any]:
    """Stored luma from black to white, shifted from frame to frame."""
    low, high = ends(bits, kind)
    place = (np.arange(columns) + 3 * step) % columns / (columns - 1)
    return np.tile(np.rint(low + place * (high - low)), (rows, 1)).astype("<u2")


def truth(stored: NDArray[Any], bits: int, kind: str) -> NDArray[Any]:
    low, high = ends(bits, kind)
    return (stored.astype(float) - low) * 255 / (high - low)


def write(
    path: Path, frames: list[NDArray[Any]], pixel_format: str, codec: str, full: bool
) -> None:
    """Store luma values as they are, without any conversion, and neutral colour."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = pixel_format
        stream.codec_context.color_range = 2 if full else 1
        for index, luma in enumerate(frames):
            frame = av.VideoFrame(luma.shape[1], luma.shape[0], pixel_format)
            deep = frame.format.components[0].bits > 8
            for number, plane in enumerate(frame.planes):
                neutral = 128 << (frame.format.components[number].bits - 8)
                values = np.full((plane.height, plane.width), neutral) if number else luma
                line = np.zeros((plane.height, plane.line_size // (2 if deep else 1)))
                line[:, : plane.width] = values
                plane.update(line.astype("<u2" if deep else "u1").tobytes())
            frame.color_range = 2 if full else 1
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("kind", ["limited", "full"])
@pytest.mark.parametrize("size", [(48, 64), (35, 53)])
@pytest.mark.parametrize(
    ("pixel_format", "bits"),
    [
        ("yuv420p", 8),
        ("yuv422p", 8),
        ("yuv444p", 8),
        ("yuv420p10le", 10),
        ("yuv444p12le", 12),
        ("gray", 8),
        ("gray10le", 10),
    ],
)
def test_golden_ramps(
    tmp_path: Path, kind: str, size: tuple[int, int], pixel_format: str, bits: int
) -> None:
    stored = [ramp(bits, kind, *size, step) for step in range(9)]
    path = tmp_path / "x.mkv"
    write(path, stored, pixel_format, "ffv1", kind == "full")
    got, _ = read_video(path)
    assert got.frames.shape == (9, *size)
    expected = np.stack([truth(frame, bits, kind) for frame in stored])
    assert np.abs(got.frames - np.clip(expected, 0, 255)).max() <= 0.51
    assert got.chroma.max() == 0


def test_echonet_style_motion_jpeg_is_full_range(tmp_path: Path) -> None:
    """Each 112 x 112 loop of EchoNet-Dynamic is an AVI of Motion JPEG, yuvj420p."""
    stored = [ramp(8, "full", 112, 112, step) for step in range(9)]
    path = tmp_path / "x.avi"
    write(path, stored, "yuvj420p", "mjpeg", full=True)
    got, _ = read_video(path)
    assert np.abs(got.frames - np.stack(stored).astype(float)).mean() < 4
    assert got.frames.min() < 6  # 16 if the range were expanded the wrong way round
    assert got.frames.max() > 249


def test_the_luma_of_a_coloured_gif(tmp_path: Path) -> None:
    rgb = np.zeros((9, 32, 48, 3), dtype=np.uint8)
    rgb[:, :, :16], rgb[:, :, 16:32], rgb[:, :, 32:] = (200, 30, 20), (20, 180, 60), (9, 9, 9)
    for step in range(9):
        rgb[step, 3 * step : 3 * step + 5] = 250
    pictures = [Image.fromarray(frame).quantize(16) for frame in rgb]
    path = tmp_path / "x.gif"
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=[40, 80] * 4 + [40]
    )
    got, times = read_video(path)
    kept = np.stack([np.array(picture.convert("RGB")) for picture in pictures])
    luma = kept.astype(float) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(got.frames, luma, atol=0.51)
    assert got.chroma[30, 4] == 180
    assert times is not None
    np.testing.assert_allclose(np.diff(times), [0.04, 0.08] * 4, atol=0.001)


MATRICES = {0: (1, 0, 0, 1), 1: (0, -1, 1, 0), 2: (-1, 0, 0, -1), 3: (0, 1, -1, 0)}


def turned(path: Path, matrix: tuple[int, ...]) -> None:
    """Write a display matrix into the track header of an MP4 (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    words = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], dtype=">i4")
    data[at : at + 36] = words.tobytes()
    path.write_bytes(data)


@pytest.mark.parametrize("turns", MATRICES)
def test_pictures_stand_as_a_player_shows_them(tmp_path: Path, turns: int) -> None:
    stored = [ramp(8, "limited", 32, 64, step) for step in range(9)]
    path = tmp_path / "x.mp4"
    write(path, stored, "yuv420p", "libx264", full=False)
    upright = read_video(path)[0].frames
    turned(path, MATRICES[turns])
    got = read_video(path)[0].frames
    np.testing.assert_array_equal(got, np.rot90(upright, turns, axes=(1, 2)))


def test_mirrored_pictures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    write(path, [ramp(8, "limited", 32, 64, s) for s in range(9)], "yuv420p", "libx264", False)
    turned(path, (-1, 0, 0, 1))
    with pytest.raises(Refused, match="mirrored"):
        read_video(path)


def test_a_playlist_is_not_followed(tmp_path: Path) -> None:
    """FFmpeg would open the files and addresses that it names."""
    secret = tmp_path / "secret.mp4"
    write(
        secret, [ramp(8, "limited", 32, 64, s) for s in range(9)], "yuv420p", "libx264", False
    )
    for text in (
        "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n",
        "ffconcat version 1.0\nfile secret.mp4\n",
    ):
        path = tmp_path / "x.mp4"
        path.write_text(text)
        with pytest.raises(Refused):
            read_video(path)
        assert describe(path).reason is Reason.NOT_AN_IMAGE


@pytest.mark.parametrize(("name", "codec"), [("x.ts", "libx264"), ("x.mpg", "mpeg2video")])
def test_mpeg_streams_are_known_by_their_bytes(tmp_path: Path, name: str, codec: str) -> None:
    stored = [ramp(8, "limited", 48, 64, step) for step in range(9)]
    path = tmp_path / name
    write(path, stored, "yuv420p", codec, full=False)
    assert content_of(path) is Content.VIDEO
    assert read_video(path)[0].count == 9
