"""Decodes JPEG: baseline, extended, progressive and lossless, of 8 to 16 bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from echocli.intake.decode_samples import MODELS, Model, Samples, grey_model
from echocli.intake.dicom import Header
from echocli.intake.guard import FOREIGN_ERRORS, foreign
from echocli.intake.pixels import Colour, Picture, differences, picture_of_rgb
from echocli.intake.reasons import Reason, Refused

START, END, SCAN = 0xD8, 0xD9, 0xDA
JFIF, ADOBE = 0xE0, 0xEE
LOSSLESS = 0xC3
FRAME_HEADS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
"""Markers that begin the head of a frame, ITU-T T.81 table B.1 and T.87 (JPEG-LS, F7)."""
RESTARTS = b"\xff\xdd"
"""The marker that defines restart intervals."""
WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
RAW_COLOURS = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""Adobe's segment, saying that the components are not transformed."""
FILLING = bytes(range(0x11, 0x99, 8))
LAST_BYTES = 4
FLIPPED = 0x5A
"""What is added to the scan of a deep image, or changed in it, to see whether it is whole."""


@dataclass(frozen=True)
class JpegHead:
    """What the markers of one JPEG stream say."""

    coding: int
    """The marker of the frame head: C0 baseline, C1 extended, C3 lossless, F7 JPEG-LS ..."""
    bits: int
    rows: int
    columns: int
    components: bytes
    """The identifier of each."""
    is_jfif: bool
    transform: int | None
    """Adobe's colour transform: 0 none, 1 YCbCr; ``None`` if it is not stated."""
    labels: tuple[tuple[int, int], ...]
    """Start and end of the segments that JFIF and Adobe wrote."""
    scan: int
    """Where the first scan begins."""

    def model(self, header: Header) -> Model:
        """Return what the components mean: by the stream where it says so, else by the header.

        Tags of RGB over YCbCr streams are common, the reverse occurs. A lossless stream has no
        transform that a decoder would undo, so there JFIF says nothing.

        Raises:
            Refused: If the stream has neither one component nor three.
        """
        if len(self.components) == 1:
            return grey_model(header)
        if len(self.components) != 3:
            raise Refused(Reason.UNDECODABLE, "colours are stored in an unknown way")
        tagged = MODELS.get(header.photometric)
        if self.coding == LOSSLESS:
            is_ybr = tagged is Model.YBR and self.transform != 0
            return Model.YBR if is_ybr else Model.RGB
        if self.is_jfif:
            return Model.YBR
        if self.transform is not None:
            return Model.YBR if self.transform else Model.RGB
        if self.components == b"RGB" or tagged is Model.RGB:
            return Model.RGB
        return Model.YBR


def read_head(frame: bytes) -> JpegHead:
    """Read the markers up to the first scan.

    Raises:
        Refused: If it is no JPEG, or cut off.
    """
    jfif, transform, frame_head = False, None, b""
    coding, labels, scan = 0, [], 0
    with foreign(Reason.UNDECODABLE, "not a JPEG image"):
        for marker, start, end in _segments(frame):
            body = frame[start + 4 : end]
            if marker == JFIF and body.startswith(b"JFIF\0"):
                jfif = True
                labels.append((start, end))
            elif marker == ADOBE and body.startswith(b"Adobe") and len(body) >= 12:
                transform = body[11]
                labels.append((start, end))
            elif marker in FRAME_HEADS and not frame_head:
                coding, frame_head = marker, body
            elif marker == SCAN:
                scan = end
        names = frame_head[6 : 6 + 3 * frame_head[5] : 3]
        bits, rows, columns = frame_head[0], frame_head[1:3], frame_head[3:5]
    if not scan:
        raise Refused(Reason.UNDECODABLE, "a JPEG image without a scan")
    return JpegHead(
        coding,
        bits,
        int.from_bytes(rows),
        int.from_bytes(columns),
        names,
        jfif,
        transform,
        tuple(labels),
        scan,
    )


def _segments(frame: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, start and end of each segment up to the first scan's head."""
    if frame[:2] != bytes((0xFF, START)):
        raise ValueError("no start of an image")
    position = 2
    while position + 4 <= len(frame):
        if frame[position] != 0xFF:
            raise ValueError("out of step")
        marker = frame[position + 1]
        if marker == 0xFF:  # fill
            position += 1
            continue
        if marker in WITHOUT_LENGTH:
            position += 2
            continue
        end = position + 2 + int.from_bytes(frame[position + 2 : position + 4])
        yield marker, position, end
        if marker in (SCAN, END):
            return
        position = end


def check_shape(rows: int, columns: int, header: Header) -> None:
    """Refuse a frame of another size than declared, before it is decoded.

    Raises:
        Refused: If the sizes differ.
    """
    if (rows, columns) != (header.rows, header.columns):
        raise Refused(Reason.UNDECODABLE, "another size than the header declares")


def read_jpeg(
    frame: bytes, header: Header, place: NDArray[np.uint8], colour: Colour
) -> Picture | Samples:
    """Decode one JPEG.

    Eight bits go straight to grey, at 13 times pydicom's speed and equal to its Y plane. What
    libjpeg would only warn of (a stream cut off, codes that do not exist, bytes left over) is
    an error.

    Args:
        frame: The bytes of the stream.
        header: What it should be.
        place: Where the grey may be written.
        colour: How finely colour is wanted.

    Raises:
        Refused: If it is broken, or of another size than declared.
    """
    head = read_head(frame)
    check_shape(head.rows, head.columns, header)
    model = head.model(header)
    with foreign(Reason.UNDECODABLE, "a broken JPEG image"):
        if head.bits > 8:
            bits = min(head.bits, header.bits_stored)
            return Samples(_deep(frame, head), model, bits)
        if len(head.components) == 1:
            grey = simplejpeg.decode_jpeg(frame, colorspace="GRAY", buffer=place)[..., 0]
            _check_range(frame, head, grey)
            return Picture(grey) if model is Model.GREY else Samples(grey, model, 8)
        if head.coding == LOSSLESS:
            raw = simplejpeg.decode_jpeg(_with_raw_colours(frame, head), colorspace="RGB")
            _check_range(frame, head, raw)
            return Samples(raw, model, 8)
        if model is Model.RGB:
            raw = simplejpeg.decode_jpeg(_with_raw_colours(frame, head), colorspace="RGB")
            return picture_of_rgb(raw, colour)
        grey = simplejpeg.decode_jpeg(frame, colorspace="GRAY", buffer=place)[..., 0]
        if not colour:
            return Picture(grey)
        height, width = -(-head.rows // colour), -(-head.columns // colour)
        rgb = simplejpeg.decode_jpeg(
            frame, colorspace="RGB", min_height=height, min_width=width
        )
        return Picture(grey, differences(rgb))


def is_in_step(frame: bytes) -> bool:
    """Return whether FFmpeg decodes a JPEG, too, at an eighth of its size to save time.

    libjpeg-turbo says nothing of codes that run beyond their block, FFmpeg does; but FFmpeg
    does not know every kind of JPEG, so its answer counts only where it knows others alike.
    """
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.thread_type = "NONE"
    decoder.options = {"err_detect": "explode", "lowres": "3"}
    try:
        pictures = [*decoder.decode(av.Packet(frame)), *decoder.decode(None)]
    except (av.error.FFmpegError, *FOREIGN_ERRORS):
        return False
    return len(pictures) == 1 and not pictures[0].is_corrupt


def _check_range(frame: bytes, head: JpegHead, values: NDArray[np.uint8]) -> None:
    """Refuse a lossless stream whose sums run out of range, as those of a broken one do.

    Decoders wrap such values each in its own way and say nothing, so a second one is asked. It
    knows no restart markers; where it gives up, nothing is known.
    """
    if head.coding != LOSSLESS or RESTARTS in frame[: head.scan]:
        return
    try:
        other: NDArray[np.uint8] = imagecodecs.jpegsof3_decode(frame)
    except (imagecodecs.Jpegsof3Error, ImportError):  # some builds lack it
        return
    if other.shape == values.shape and (other != values).any():
        raise ValueError("values out of range")


def _with_raw_colours(frame: bytes, head: JpegHead) -> bytes:
    """Return a stream whose labels say that its components are to be left as they are."""
    kept, position = [frame[:2], RAW_COLOURS], 2
    for start, end in head.labels:
        kept.append(frame[position:start])
        position = end
    return b"".join((*kept, frame[position:]))


def _deep(frame: bytes, head: JpegHead) -> NDArray[Any]:
    """Decode more than eight bits.

    imagecodecs keeps libjpeg's warnings to itself, so a stream that is not whole must be found
    out: a decoder that has had all its bits takes no notice of bytes added to the scan, but
    cannot do without the last ones.
    """
    raw = _with_raw_colours(frame, head)
    end = raw.rfind(bytes((0xFF, END)))
    if end < 0:
        raise ValueError("no end of the image")
    values: NDArray[Any] = imagecodecs.jpeg8_decode(raw)
    longer = imagecodecs.jpeg8_decode(raw[:end] + FILLING + raw[end:])
    changed = imagecodecs.jpeg8_decode(_with_other_end(raw, end))
    if (longer != values).any() or (changed == values).all():
        raise ValueError("not as many codes as pixels")
    return values


def _with_other_end(stream: bytes, end: int) -> bytes:
    """Flip bits in the last bytes of the scan, but make no marker and destroy none."""
    other = bytearray(stream)
    for place in range(end - LAST_BYTES, end):
        if stream[place] not in (0xFF, 0xFF ^ FLIPPED) and stream[place - 1] != 0xFF:
            other[place] ^= FLIPPED
    return bytes(other)
