import contextlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from made_dicom import moving_scan
from numpy.typing import NDArray
from PIL import Image

from echocli.intake.pixels import EXPANDED
from echocli.intake.read import describe, read_loop
from echocli.intake.reasons import Reason, Refused
from echocli.intake.video import read_video

SCAN = moving_scan(12, 96, 128)


def write_video(
    path: Path,
    frames: NDArray[np.uint8],
    codec: str,
    pixel_format: str,
    stamps: list[int] | None = None,
    **options: Any,
) -> Path:
    """Encode grey frames whose luma is stored in the range that the codec uses."""
    tick = 20 if path.suffix == ".avi" else 1  # AVI knows no time but the place of a frame
    base = Fraction(tick, 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=50, options=options)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = pixel_format
        stream.time_base = stream.codec_context.time_base = base
        for index, grey in enumerate(frames):
            rgb = np.repeat(grey[..., None], 3, axis=-1)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format=pixel_format
            )
            frame.pts = (stamps[index] if stamps else index * 20) // tick
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "options"),
    [
        ("x.mp4", "libx264", "yuv420p", {"crf": "4"}),
        ("x.mov", "mpeg4", "yuv420p", {"qscale": "1"}),
        ("x.mkv", "ffv1", "yuv444p", {}),
        ("x.avi", "mjpeg", "yuvj420p", {"qscale": "1"}),
        ("y.avi", "rawvideo", "yuv420p", {}),
    ],
)
def test_grey_is_the_same_in_limited_and_full_range(
    tmp_path: Path, name: str, codec: str, pixel_format: str, options: dict[str, str]
) -> None:
    path = write_video(tmp_path / name, SCAN, codec, pixel_format, **options)
    loop = read_loop(path)
    assert loop.frames.shape == SCAN.shape
    assert np.abs(loop.frames.astype(int) - SCAN).mean() < 4  # compression
    slope, offset = np.polyfit(SCAN.ravel().astype(float), loop.frames.ravel().astype(float), 1)
    assert slope == pytest.approx(1, abs=0.02)  # 219/255 if the range is taken wrongly
    assert offset == pytest.approx(0, abs=2)  # or 16
    assert loop.chroma.max() < 25
    assert loop.time_source == "container"
    assert loop.times_s is not None
    np.testing.assert_allclose(np.diff(loop.times_s), 0.02, atol=0.0011)
    assert loop.spacing_mm is None
    assert loop.patient_key == loop.sha256
    said = describe(path)
    assert (said.rows, said.columns, said.reason) == (96, 128, None)
    assert said.rate_hz == pytest.approx(50, rel=0.02)


@pytest.mark.parametrize("place", [5, 11])
def test_a_frame_of_which_a_part_is_lost_is_noted(tmp_path: Path, place: int) -> None:
    frames = SCAN.copy()
    assert not read_loop(write_video(tmp_path / "whole.mkv", frames, "ffv1", "yuv444p")).notes
    frames[place, 40:] = 0  # as slices that cannot be decoded
    loop = read_loop(write_video(tmp_path / "lost.mkv", frames, "ffv1", "yuv444p"))
    assert loop.notes == ("damaged_frame",)


def test_limited_range_is_expanded_by_its_definition() -> None:
    for luma in (0, 16, 17, 100, 126, 234, 235, 255):
        expected = min(max((luma - 16) * 255 / 219, 0), 255)
        assert abs(int(EXPANDED[luma]) - expected) <= 0.5


def test_uneven_stamps_are_kept(tmp_path: Path) -> None:
    stamps = np.cumsum([0, *[20, 40] * 6])[:12].tolist()
    path = write_video(tmp_path / "x.mp4", SCAN, "libx264", "yuv420p", stamps)
    _, times = read_video(path)
    assert times is not None
    np.testing.assert_allclose(times, np.array(stamps) / 1000, atol=0.001)


def save_gif(path: Path, frames: NDArray[np.uint8]) -> Path:
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=rest, duration=40, optimize=False)
    return path


def test_a_gif_is_a_loop(tmp_path: Path) -> None:
    loop = read_loop(save_gif(tmp_path / "x.gif", SCAN))
    assert len(loop.frames) == 12
    assert np.abs(loop.frames.astype(int) - SCAN).max() <= 2
    assert loop.times_s is not None
    np.testing.assert_allclose(np.diff(loop.times_s), 0.04, atol=0.001)


@pytest.mark.parametrize(("frames", "reason"), [(3, "too_few_frames"), (1, "still")])
def test_short_videos_are_refused(tmp_path: Path, frames: int, reason: str) -> None:
    for path in (
        write_video(tmp_path / "x.mp4", SCAN[:frames], "libx264", "yuv420p"),
        save_gif(tmp_path / "x.gif", SCAN[:frames]),
    ):
        with pytest.raises(Refused) as caught:
            read_loop(path)
        assert caught.value.reason == reason


def test_a_picture_is_a_still(tmp_path: Path) -> None:
    for name in ("x.png", "x.jpg", "x.bmp"):
        Image.fromarray(SCAN[0]).save(tmp_path / name)
        with pytest.raises(Refused) as caught:
            read_loop(tmp_path / name)
        assert caught.value.reason is Reason.STILL
        assert describe(tmp_path / name).reason is Reason.STILL


def test_a_frozen_video_is_static(tmp_path: Path) -> None:
    frozen = np.repeat(SCAN[:1], 12, axis=0)
    path = write_video(tmp_path / "x.mp4", frozen, "libx264", "yuv420p")
    with pytest.raises(Refused) as caught:
        read_loop(path)
    assert caught.value.reason is Reason.STATIC


@pytest.mark.parametrize("name", ["x.avi", "x.mkv", "x.mp4"])
def test_a_video_that_is_cut_off_is_refused(tmp_path: Path, name: str) -> None:
    codec = "mjpeg" if name.endswith("avi") else "libx264"
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_video(tmp_path / name, SCAN, codec, pixel_format)
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.6):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(Refused):
            read_loop(path)


def test_flipped_bytes_raise_nothing_else(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.mp4", SCAN, "libx264", "yuv420p")
    good = path.read_bytes()
    random = np.random.default_rng(11)
    for _ in range(30):
        bad = bytearray(good)
        for place in random.integers(0, len(bad), 5):
            bad[place] ^= int(random.integers(1, 256))
        path.write_bytes(bad)
        with contextlib.suppress(Refused):
            read_loop(path)
