"""Reads AVI, MP4, MKV, MOV and GIF files to grey, range-correct."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from echocli.intake.container import check_whole
from echocli.intake.guard import FOREIGN_ERRORS, check_size
from echocli.intake.pixels import (
    EXPANDED,
    Colour,
    Gatherer,
    Picture,
    picture_of_rgb,
    picture_of_ybr,
)
from echocli.intake.reasons import Reason, Refused

CONTAINERS = "avi,gif,h264,hevc,matroska,mov,mpeg,mpegts,mpegvideo"
"""Nothing else is opened: FFmpeg also knows playlists, which name other files and addresses."""
FULL_RANGE = 2  # AVCOL_RANGE_JPEG
LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
PLANES = re.compile(r"(gray|yuvj?4\d\dp)(|8|\d+[lb]e)")
"""Pixel formats whose first plane is luma, followed by Cb and Cr if there are more."""
GUESSED_FRAMES = 64
LOST_FRAMES = 2
"""So many frames fewer than announced are normal: edit lists and encoder delay hide them."""
TURNS = {(1, 0, 0, 1): 0, (0, -1, 1, 0): 1, (-1, 0, 0, -1): 2, (0, 1, -1, 0): 3}
"""Quarter turns to the left, by the matrix with which a player has to show the video."""
MATRIX_ONE = 1 << 16

VIDEO_ERRORS = (av.error.FFmpegError, *FOREIGN_ERRORS)


@dataclass(frozen=True, kw_only=True)
class VideoHeader:
    """What a container says about its first video stream."""

    container: str
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
        with _opened(str(path)) as container:
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
    check_whole(path)
    header = describe_video(path)
    check_size(header.frames or 1, header.rows, header.columns)
    gathered: Gatherer | None = None
    stamps: list[Fraction | None] = []
    for frame in _frames(str(path)):
        turns = _turns(frame)
        if gathered is None:
            rows, columns = header.rows, header.columns
            if turns % 2:
                rows, columns = columns, rows
            gathered = Gatherer(header.frames or GUESSED_FRAMES, rows, columns, None)
        gathered.add(_turned(_picture(frame, gathered.next_colour), turns))
        stamps.append(None if frame.pts is None else frame.pts * frame.time_base)
    if gathered is None:
        raise Refused(Reason.UNDECODABLE, "no frame can be decoded")
    # AVI counts dropped frames, too; whether it is whole has been checked by its length.
    announced = 0 if header.container == "avi" else header.frames or 0
    if gathered.count < announced - LOST_FRAMES:
        raise Refused(Reason.TRUNCATED, f"{gathered.count} of {header.frames} frames are there")
    return gathered, _times(stamps, header.rate_hz)


def pictures(source: BinaryIO, gathered: Gatherer) -> Iterator[Picture]:
    """Yield the frames of a stream that has no header worth reading.

    Args:
        source: The stream.
        gathered: What asks for colour; each picture is to be added to it before the next.

    Raises:
        Refused: If the stream is broken.
    """
    for frame in _frames(source):
        yield _picture(frame, gathered.next_colour)


def _opened(source: str | BinaryIO) -> Any:  # noqa: ANN401
    return av.open(source, options={"format_whitelist": CONTAINERS})


def _stream(container: Any) -> Any:  # noqa: ANN401
    if not container.streams.video:
        raise Refused(Reason.NOT_AN_IMAGE, "the file holds no video stream")
    stream = container.streams.video[0]
    stream.thread_type = "NONE"  # a worker a file uses the cores better than a thread a slice
    # Without it FFmpeg paints over what it cannot decode.
    stream.codec_context.options = {"err_detect": "explode"}
    return stream


def _header(stream: Any) -> VideoHeader:  # noqa: ANN401
    rate: Fraction | None = stream.average_rate
    return VideoHeader(
        container=stream.container.format.name,
        codec=stream.codec_context.name,
        frames=int(stream.frames) or None,
        rows=int(stream.codec_context.height),
        columns=int(stream.codec_context.width),
        rate_hz=float(rate) if rate else None,
    )


def _frames(source: str | BinaryIO) -> Iterator[Any]:
    try:
        with _opened(source) as container:
            for frame in container.decode(_stream(container)):
                if frame.is_corrupt:
                    raise Refused(Reason.UNDECODABLE, "a frame of the video is broken")
                yield frame
    except VIDEO_ERRORS:
        raise Refused(Reason.UNDECODABLE, "the video is broken") from None


def _picture(frame: Any, colour: Colour) -> Picture:  # noqa: ANN401
    """Return luma as it is stored: FFmpeg's conversion to grey would round twice."""
    name = frame.format.name
    if not PLANES.fullmatch(name):
        return picture_of_rgb(frame.to_ndarray(format="rgb24"), colour)
    grey = _plane(frame, 0)
    if name.startswith("gray"):
        limited = frame.color_range == LIMITED_RANGE
    else:
        # Unspecified means limited for every codec but Motion JPEG, which says yuvj.
        limited = not name.startswith("yuvj") and frame.color_range != FULL_RANGE
    bits = frame.format.components[0].bits
    if bits > 8:
        grey, limited = _eight_bits(grey, bits, limited=limited), False
    if name.startswith("gray") or not colour:
        return Picture(EXPANDED[grey] if limited else grey)
    blue, red = (_plane(frame, index) >> (bits - 8) for index in (1, 2))
    return picture_of_ybr(grey, blue, red, colour, limited=limited)


def _eight_bits(luma: NDArray[Any], bits: int, *, limited: bool) -> NDArray[np.uint8]:
    black = 16 << (bits - 8) if limited else 0
    span = 219 << (bits - 8) if limited else (1 << bits) - 1
    levels = (np.arange(1 << bits) - black) * (255 / span) + 0.5
    grey: NDArray[np.uint8] = np.clip(levels, 0, 255).astype(np.uint8)[luma]
    return grey


def _plane(frame: Any, index: int) -> NDArray[Any]:  # noqa: ANN401
    plane = frame.planes[index]
    kind = "u1"
    if frame.format.components[0].bits > 8:
        kind = ">u2" if frame.format.name.endswith("be") else "<u2"
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(plane.height, plane.line_size)
    return rows.view(np.dtype(kind))[:, : plane.width]


def _turns(frame: Any) -> int:  # noqa: ANN401
    """Return by how many quarter turns to the left the frame has to be shown.

    Raises:
        Refused: If it has to be mirrored or tilted.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 0
    told = np.frombuffer(matrix, dtype=np.int32)[[0, 1, 3, 4]]
    turns = TURNS.get(tuple((told / MATRIX_ONE).tolist()))
    if turns is None:
        raise Refused(Reason.UNDECODABLE, "the video is to be shown mirrored or tilted")
    return turns


def _turned(picture: Picture, turns: int) -> Picture:
    if not turns:
        return picture
    planes = picture.red_blue
    return Picture(
        np.rot90(picture.grey, turns),
        None if planes is None else np.rot90(planes, turns, axes=(1, 2)),
    )


def _times(stamps: list[Fraction | None], rate_hz: float | None) -> NDArray[np.float64] | None:
    """Return times of presentation stamps, or of the mean rate where stamps are unusable."""
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) == len(stamps):
        times = np.array([float(stamp - known[0]) for stamp in known], dtype=np.float64)
        if (np.diff(times) > 0).all():
            return times
    if rate_hz:
        return np.arange(len(stamps), dtype=np.float64) / rate_hz
    return None
