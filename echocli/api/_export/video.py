"""One clip as a video file: H.264 to look at, FFV1 to keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from echocli.api._segment.overlay import outlined
from echocli.errors import MachineError
from echocli.files import atomic_path

MICROSECOND = Fraction(1, 1_000_000)
LIMITED = (16 + np.arange(256) * (219 / 255) + 0.5).astype(np.uint8)
"""Luma of each grey in limited range, which every player expects (ITU-R BT.601)."""
NO_COLOUR = 128
LIMITED_RANGE, FULL_RANGE = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG


@dataclass(frozen=True)
class Format:
    """How a video is written."""

    container: str
    """FFmpeg's name of the muxer."""
    codec: str
    grey: str
    """Pixel format of grey frames."""
    colour: str
    """Pixel format of frames with outlines."""
    options: tuple[tuple[str, str], ...]
    even: bool
    """Whether sides must be even."""


FORMATS = {
    "mp4": Format(
        "mp4", "libx264", "yuv420p", "yuv420p", (("crf", "12"), ("preset", "fast")), True
    ),
    # Level 3 of FFV1 keeps a checksum of every slice, so that damage is found (RFC 9043).
    "mkv": Format(
        "matroska", "ffv1", "gray", "bgr0", (("level", "3"), ("slicecrc", "1")), False
    ),
}
"""By the ending of the file. MP4 keeps times to the microsecond, Matroska to the millisecond
(FFmpeg's muxer knows no finer tick)."""


def check_encoder(name: str) -> None:
    """Refuse a format that this machine cannot write.

    Raises:
        MachineError: If its encoder is missing.
    """
    codec = FORMATS[name].codec
    if codec not in av.codecs_available:
        raise MachineError(
            f"This machine has no encoder {codec}.",
            "Install PyAV from its wheel: pip install --force-reinstall av.",
        )


def write_video(
    path: Path,
    frames: NDArray[np.uint8],
    times_s: NDArray[np.float64],
    name: str,
    *,
    scale: int = 1,
    masks: dict[int, NDArray[np.uint8]] | None = None,
) -> None:
    """Write a clip, whole or not at all; nothing but pixels and times is in the file.

    Args:
        path: The file.
        frames: Grey frames.
        times_s: Time of each, which becomes its time stamp.
        name: One of ``FORMATS``.
        scale: How many pixels wide and high each pixel becomes.
        masks: Structures whose outlines are drawn, by frame; grey if left out.
    """
    write_pictures(path, _pictures(frames, scale, masks), times_s, name)


def write_pictures(
    path: Path, pictures: Iterable[NDArray[np.uint8]], times_s: NDArray[np.float64], name: str
) -> None:
    """Write pictures as a video, whole or not at all.

    Args:
        path: The file.
        pictures: Grey, ``(height, width)``, or red, green and blue, ``(height, width, 3)``;
            one at least, all of one shape.
        times_s: Time of each, which becomes its time stamp.
        name: One of ``FORMATS``.
    """
    form, rest = FORMATS[name], iter(pictures)
    first = next(rest)
    height, width = _sides(first.shape[0], first.shape[1], form)
    quiet = {"fflags": "+bitexact"}  # no version, no date
    with (
        atomic_path(path) as temporary,
        av.open(str(temporary), "w", format=form.container, options=quiet) as container,
    ):
        stream = container.add_stream(form.codec, options=dict(form.options))
        stream.width, stream.height = width, height
        stream.pix_fmt = form.colour if first.ndim == 3 else form.grey
        stream.codec_context.thread_count = 1  # frames are small
        stream.codec_context.time_base = stream.time_base = MICROSECOND
        stream.codec_context.color_range = _range(form)
        for picture, time_s in zip(chain([first], rest), times_s, strict=True):
            frame = _frame(_padded(picture, height, width), form)
            frame.pts = round(float(time_s) / MICROSECOND)
            frame.time_base = MICROSECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _sides(height: int, width: int, form: Format) -> tuple[int, int]:
    return (height + height % 2, width + width % 2) if form.even else (height, width)


def _range(form: Format) -> int:
    return LIMITED_RANGE if form.even else FULL_RANGE


def _pictures(
    frames: NDArray[np.uint8], scale: int, masks: dict[int, NDArray[np.uint8]] | None
) -> Iterator[NDArray[np.uint8]]:
    nothing = np.zeros(frames.shape[1:], dtype=np.uint8)
    for index, frame in enumerate(frames):
        if masks is None:
            yield frame.repeat(scale, 0).repeat(scale, 1)
        else:
            yield outlined(frame, masks.get(index, nothing), scale)


def _padded(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    rest = (height - picture.shape[0], width - picture.shape[1])
    return np.pad(picture, [(0, rest[0]), (0, rest[1]), (0, 0)][: picture.ndim])


def _frame(picture: NDArray[np.uint8], form: Format) -> Any:  # noqa: ANN401
    if picture.ndim == 3:
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
            format=form.colour, dst_colorspace="ITU601" if form.even else None
        )
    elif form.grey == "gray":
        frame = av.VideoFrame.from_ndarray(picture, format="gray")
    else:
        # Written by hand: FFmpeg's own conversion dithers and differs between versions.
        height, width = picture.shape
        planes = np.full((height * 3 // 2, width), NO_COLOUR, dtype=np.uint8)
        planes[:height] = LIMITED[picture]
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.color_range = _range(form)
    return frame
