"""Reads AVI, MP4, MKV, MOV and GIF files to grey, range-correct."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from echocli.intake.guard import FOREIGN_ERRORS, check_size
from echocli.intake.pixels import Gatherer, Picture, picture_of_rgb, picture_of_ybr
from echocli.intake.reasons import Reason, Refused

FULL_RANGE = 2  # AVCOL_RANGE_JPEG
GREY_FORMATS = ("gray", "gray8")
PLANAR_FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv440p", "yuv410p")
EXPANDED = np.clip((np.arange(256) - 16) * (255 / 219) + 0.5, 0, 255).astype(np.uint8)
"""Grey of each luma of limited range, 16 to 235 (ITU-R BT.601)."""
LIMITED_CHROMA_GAIN = 255 / 224
GUESSED_FRAMES = 64
LOST_FRAMES = 2
"""So many frames fewer than announced are normal: edit lists and encoder delay hide them."""

UNKNOWN_SIZE = 0xFFFFFFF0  # streamed AVI files are given the largest size there is

VIDEO_ERRORS = (av.error.FFmpegError, *FOREIGN_ERRORS)


@dataclass(frozen=True, kw_only=True)
class VideoHeader:
    """What a container says about its first video stream."""

    codec: str
    frames: int | None
    """As announced; ``None`` if the container does not say."""
    rows: int
    columns: int
    rate_hz: float | None


def describe_video(path: Path) -> VideoHeader:
    """Read the header of a video.

    Raises:
        Refused: If it is broken or holds no video.
    """
    try:
        with av.open(str(path)) as container:
            return _header(_stream(container))
    except VIDEO_ERRORS:
        raise Refused(Reason.UNREADABLE, "the header of the video is broken") from None


def read_video(path: Path) -> tuple[Gatherer, NDArray[np.float64] | None]:
    """Decode a video.

    Returns:
        The grey frames, and the time of each in seconds from the first (``None`` if unknown).

    Raises:
        Refused: If it is broken, cut off or too large.
    """
    _check_riff(path)
    try:
        with av.open(str(path)) as container:
            stream = _stream(container)
            header = _header(stream)
            return _decode(container, stream, header)
    except VIDEO_ERRORS:
        raise Refused(Reason.UNDECODABLE, "the video is broken") from None


def _check_riff(path: Path) -> None:
    """Refuse an AVI file that is shorter than it says; FFmpeg would play what is left."""
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] == b"RIFF":
        said = 8 + int.from_bytes(head[4:], "little")
        if said < UNKNOWN_SIZE and said > path.stat().st_size:
            raise Refused(Reason.TRUNCATED)


def _stream(container: Any) -> Any:  # noqa: ANN401
    if not container.streams.video:
        raise Refused(Reason.NOT_AN_IMAGE, "the file holds no video stream")
    stream = container.streams.video[0]
    stream.thread_type = "NONE"  # a worker a file uses the cores better than a thread a slice
    stream.codec_context.options = {"err_detect": "explode"}
    return stream


def _header(stream: Any) -> VideoHeader:  # noqa: ANN401
    rate: Fraction | None = stream.average_rate
    return VideoHeader(
        codec=stream.codec_context.name,
        frames=int(stream.frames) or None,
        rows=int(stream.codec_context.height),
        columns=int(stream.codec_context.width),
        rate_hz=float(rate) if rate else None,
    )


def _decode(
    container: Any,  # noqa: ANN401
    stream: Any,  # noqa: ANN401
    header: VideoHeader,
) -> tuple[Gatherer, NDArray[np.float64] | None]:
    check_size(header.frames or 1, header.rows, header.columns)
    gathered = Gatherer(header.frames or GUESSED_FRAMES, header.rows, header.columns, None)
    stamps: list[int | None] = []
    for frame in _frames(container, stream):
        gathered.add(_picture(frame))
        stamps.append(frame.pts)
    # AVI counts dropped frames, too; whether it is whole has been checked by its length.
    announced = 0 if container.format.name == "avi" else header.frames or 0
    if gathered.count < announced - LOST_FRAMES:
        raise Refused(Reason.TRUNCATED, f"{gathered.count} of {header.frames} frames are there")
    if gathered.count == 0:
        raise Refused(Reason.UNDECODABLE, "no frame can be decoded")
    return gathered, _times(stamps, stream.time_base, header.rate_hz)


def _frames(container: Any, stream: Any) -> Iterator[Any]:  # noqa: ANN401
    for frame in container.decode(stream):
        if frame.is_corrupt:
            raise Refused(Reason.UNDECODABLE, "a frame of the video is broken")
        yield frame


def _picture(frame: Any) -> Picture:  # noqa: ANN401
    """Return luma as it is stored: FFmpeg's conversion to grey would round twice."""
    name = frame.format.name
    if name in GREY_FORMATS:
        grey = _plane(frame, 0)
        limited = frame.color_range == 1
        return Picture(EXPANDED[grey] if limited else grey, None)
    if name.replace("yuvj", "yuv") in PLANAR_FORMATS:
        grey, blue, red = (_plane(frame, index) for index in range(3))
        if name.startswith("yuvj") or frame.color_range == FULL_RANGE:
            return picture_of_ybr(grey, blue, red)
        # Unspecified means limited for every codec but Motion JPEG, which says yuvj.
        return picture_of_ybr(EXPANDED[grey], blue, red, LIMITED_CHROMA_GAIN)
    return picture_of_rgb(frame.to_ndarray(format="rgb24"))


def _plane(frame: Any, index: int) -> NDArray[np.uint8]:  # noqa: ANN401
    plane = frame.planes[index]
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _times(
    stamps: list[int | None], base: Fraction | None, rate_hz: float | None
) -> NDArray[np.float64] | None:
    """Return times of presentation stamps, or of the mean rate where stamps are unusable."""
    known = [stamp for stamp in stamps if stamp is not None]
    if base and len(known) == len(stamps):
        times = (np.array(known, dtype=np.float64) - known[0]) * float(base)
        if (np.diff(times) > 0).all():
            return times
    if rate_hz:
        return np.arange(len(stamps), dtype=np.float64) / rate_hz
    return None
