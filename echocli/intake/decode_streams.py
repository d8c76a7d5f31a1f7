"""Decodes RLE, JPEG-LS, JPEG 2000, HTJ2K and JPEG XL, and frames that are only wrapped."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from echocli.intake.decode_jpeg import check_shape, read_head
from echocli.intake.decode_native import Layout
from echocli.intake.decode_samples import Model, Samples, grey_model, model_of
from echocli.intake.dicom import Header
from echocli.intake.guard import foreign
from echocli.intake.reasons import Reason, Refused

RLE_HEAD = "<16L"
CODESTREAM = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream and of its SIZ segment, ITU-T T.800 A.4.1 and A.5.1."""
BOXES = b"\x00\x00\x00\x0cjP  "
CODING_STYLE = 0x52
TILE_PART = 0x90
END_OF_IMAGE = b"\xff\xd9"
PADDING = b"\0\xff"
LOSSLESS_JPEG_XL = "1.2.840.10008.1.2.4.110"
JPEG_INSIDE = b"jbrd"
"""The box of a JPEG XL file that was made from a JPEG and can give it back."""


def read_rle(frame: bytes, header: Header) -> Samples:
    """Decode one frame of RLE, PS3.5 annex G: a segment for each byte of each sample.

    Raises:
        Refused: If a segment does not hold one byte for each pixel.
    """
    width = header.bits_allocated // 8
    if header.bits_allocated not in (8, 16):
        raise Refused(Reason.UNDECODABLE, "pixels are stored in an unknown way")
    count, pixels = header.samples * width, header.rows * header.columns
    with foreign(Reason.UNDECODABLE, "a broken RLE frame"):
        told, *offsets = struct.unpack_from(RLE_HEAD, frame)
        places = [*offsets[:count], len(frame)]
        if told != count or places != sorted(places) or places[0] < 64:
            raise ValueError("segments out of order")
        segments = [
            np.frombuffer(imagecodecs.packbits_decode(frame[start:end]), dtype=np.uint8)
            for start, end in pairwise(places)
        ]
    planes = np.empty((header.samples, pixels, width), dtype=np.uint8)
    for index, segment in enumerate(segments):
        if len(segment) < pixels or segment[pixels:].any():  # some pad with zeros
            raise Refused(Reason.UNDECODABLE, "an RLE segment of another size than declared")
        planes[index // width, :, width - 1 - index % width] = segment[:pixels]
    values = planes.reshape(header.samples, -1).view(f"<u{width}")
    shape = (header.samples, header.rows, header.columns)
    return Samples(_shaped(values.reshape(shape), header), model_of(header), header.bits_stored)


def read_jpeg_ls(frame: bytes, header: Header) -> Samples:
    """Decode one frame of JPEG-LS.

    Raises:
        Refused: If it is broken, cut off, or of another size than declared.
    """
    head = read_head(frame)
    check_shape(head.rows, head.columns, header)
    if not frame.rstrip(PADDING).endswith(END_OF_IMAGE):  # CharLS may wait for it for ever
        raise Refused(Reason.UNDECODABLE, "a JPEG-LS image without an end")
    with foreign(Reason.UNDECODABLE, "a broken JPEG-LS image"):
        values = imagecodecs.jpegls_decode(frame)
    bits = min(head.bits, header.bits_stored)
    values = _shaped(values, header)
    model = grey_model(header) if values.ndim == 2 else model_of(header)
    return Samples(values, model, bits)


def read_jpeg_2000(frame: bytes, header: Header) -> Samples:
    """Decode one frame of JPEG 2000 or HTJ2K by OpenJPEG.

    Not by OpenJPH: imagecodecs returns half a picture where that finds an error.

    The codestream knows whether its components were transformed, and the decoder undoes that;
    the tag is asked only where they were not. A tag of YBR_ICT or YBR_RCT over a stream without
    transform is an old one that was copied.

    Raises:
        Refused: If it is broken, cut off, or of another size than declared.
    """
    start = frame.find(CODESTREAM) if frame.startswith(BOXES) else 0
    stream = frame[max(start, 0) :]
    rows, columns, components, bits, transformed = _codestream_head(stream)
    check_shape(rows, columns, header)
    if components == 1:
        model = grey_model(header)
    elif transformed or header.photometric in ("YBR_ICT", "YBR_RCT"):
        model = Model.RGB
    else:
        model = model_of(header)
    with foreign(Reason.UNDECODABLE, "a broken JPEG 2000 image"):
        values = imagecodecs.jpeg2k_decode(stream, numthreads=1)
    return Samples(_shaped(values, header), model, min(bits, header.bits_stored))


def read_jpeg_xl(frame: bytes, header: Header) -> Samples:
    """Decode one frame of JPEG XL.

    The decoder gives RGB of whatever was encoded as colour. Only a lossless stream that was not
    made from a JPEG may hold other components, as its tag says.

    Raises:
        Refused: If it is broken, cut off, or of another size than declared.
    """
    with foreign(Reason.UNDECODABLE, "a broken JPEG XL image"):
        values = imagecodecs.jpegxl_decode(frame, numthreads=1)
    if values.ndim == 2:
        model = grey_model(header)
    elif header.transfer_syntax != LOSSLESS_JPEG_XL or JPEG_INSIDE in frame[:4096]:
        model = Model.RGB
    else:
        model = model_of(header)
    depth = 8 * values.dtype.itemsize
    return Samples(_shaped(values, header), model, min(depth, header.bits_stored))


def read_wrapped(frame: bytes, header: Header) -> Samples:
    """Return one frame that is not compressed, only wrapped as if it were.

    Raises:
        Refused: If it is shorter than declared.
    """
    layout = Layout(header)
    if not layout.bytes <= len(frame) <= layout.bytes + 1:
        raise Refused(Reason.UNDECODABLE, "another size than the header declares")
    return layout.samples(frame[: layout.bytes])


def read_deflated(frame: bytes, header: Header) -> Samples:
    """Inflate one frame, but not beyond its size.

    Raises:
        Refused: If it is broken, or of another size than declared.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with foreign(Reason.UNDECODABLE, "a broken deflated frame"):
        data = inflater.decompress(frame, Layout(header).bytes + 2)
    if not inflater.eof:
        raise Refused(Reason.UNDECODABLE, "another size than the header declares")
    return read_wrapped(data, header)


def _codestream_head(stream: bytes) -> tuple[int, int, int, int, bool]:
    """Return rows, columns, components, bits and whether components were transformed."""
    with foreign(Reason.UNDECODABLE, "not a JPEG 2000 image"):
        if not stream.startswith(CODESTREAM):
            raise ValueError("no codestream")
        right, bottom, left, top = struct.unpack_from(">4L", stream, 8)
        components = int.from_bytes(stream[40:42])
        depths = stream[42 : 42 + 3 * components]
        if len(set(depths[::3])) != 1 or set(depths[1::3] + depths[2::3]) != {1}:
            raise ValueError("components of different sizes")
        transformed = _transformed(stream)
    return bottom - top, right - left, components, (depths[0] & 0x7F) + 1, transformed


def _transformed(stream: bytes) -> bool:
    """Return what the coding style of the main header says (T.800 A.6.1, table A.17)."""
    position = 2
    while stream[position] == 0xFF and stream[position + 1] != TILE_PART:
        if stream[position + 1] == CODING_STYLE:
            return stream[position + 8] == 1
        position += 2 + int.from_bytes(stream[position + 2 : position + 4])
    raise ValueError("no coding style")


def _shaped(values: NDArray[Any], header: Header) -> NDArray[Any]:
    """Return values as ``(height, width)`` or ``(height, width, 3)``; planes may come first."""
    size = (header.rows, header.columns)
    if values.ndim == 3 and values.shape == (3, *size) and values.shape != (*size, 3):
        values = np.moveaxis(values, 0, -1)
    if values.shape == (1, *size):
        values = values[0]
    if values.shape not in (size, (*size, 3)):
        raise Refused(Reason.UNDECODABLE, "another size than the header declares")
    return values
