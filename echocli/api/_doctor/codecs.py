"""Real pictures, coded in memory and decoded again: looked at by ``echocli doctor``."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import numpy as np

from echocli.api._decoders import RAMP, SYNTAXES, can_encode, encode_video, faults
from echocli.api._doctor.check import Check, State, judged

FRAMES = 4
VIDEOS = (
    ("AVI, MJPEG", "avi", "mjpeg"),
    ("MP4, H.264", "mp4", "libx264"),
    ("MP4, HEVC", "mp4", "libx265"),
    ("MP4, MPEG-4", "mp4", "mpeg4"),
    ("MOV, MJPEG", "mov", "mjpeg"),
    ("MKV, FFV1", "matroska", "ffv1"),
    ("GIF", "gif", "gif"),
)
"""What a user calls a kind of video, FFmpeg's container and its encoder."""
UNTRIED = "not tried: no encoder made a picture to try"
TOLERANCE = 24
"""Largest difference of a grey value that a lossy coding of so small a picture may make."""


def transfer_syntaxes() -> Iterator[Check]:
    """Check that a small picture comes back from every DICOM transfer syntax."""
    fault_of = faults()
    for syntax in SYNTAXES:
        name = f"DICOM {syntax.name}"
        if syntax.uid not in fault_of:
            yield Check(name, State.OK, UNTRIED)
        elif fault := fault_of[syntax.uid]:
            yield Check(name, State.FAIL, fault, syntax.remedy)
        else:
            yield Check(name, State.OK, "decoded")


def videos() -> Iterator[Check]:
    """Check that a small picture comes back from every kind of video."""
    for name, container, encoder in VIDEOS:
        if not can_encode(encoder):
            yield Check(f"video {name}", State.OK, UNTRIED)
            continue
        try:
            frames, difference = round_trip(container, encoder)
        except av.error.FFmpegError as error:
            found, good = type(error).__name__, False
        else:
            good = frames == FRAMES and difference <= TOLERANCE
            found = f"decoded {frames} frames" if good else "the pictures come back changed"
        yield judged(f"video {name}", found, "pip install --force-reinstall av", good=good)


def round_trip(container: str, encoder: str) -> tuple[int, int]:
    """Return how many frames come back of four, and how far their grey values are off."""
    # Larger, as most encoders take no 16 pixels.
    grey = np.kron(RAMP, np.ones((4, 4), np.uint8))
    stream = encode_video(np.repeat(grey[..., None], 3, axis=-1), encoder, container, FRAMES)
    with av.open(io.BytesIO(stream)) as video:
        shown = [frame.to_ndarray(format="gray") for frame in video.decode(video=0)]
    return len(shown), int(np.abs(np.stack(shown).astype(int) - grey).max())
