"""Finds the pixels in a DICOM file, and checks by lengths alone that they are all there."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import ExplicitVRBigEndian

from echocli.intake.decode_deflated import open_dicom
from echocli.intake.dicom import Header
from echocli.intake.guard import foreign
from echocli.intake.reasons import Reason, Refused

UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM = (0xFFFE, 0xE000)
SEQUENCE_END = (0xFFFE, 0xE0DD)
EXPLICIT_TYPES = (b"OB\0\0", b"OW\0\0", b"UN\0\0")
"""Value representations of pixel data, with the reserved bytes that follow them."""
HALVED_COLOUR = ("YBR_FULL_422", "YBR_PARTIAL_422")
"""Colour models that keep one Cb and one Cr for two pixels, if they are not compressed."""


@dataclass(frozen=True)
class Extent:
    """Where the value of the pixel data element lies."""

    start: int
    length: int
    """In bytes; ``UNDEFINED_LENGTH`` for a sequence of fragments."""
    in_words: bool
    """Whether bytes are kept in words of 16 bits, which matters if these are swapped."""


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """Return bytes of an open file from a place on, and leave it where it is being read."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, length, offset)
    before = os.lseek(descriptor, 0, os.SEEK_CUR)  # Windows
    os.lseek(descriptor, offset, os.SEEK_SET)
    data = os.read(descriptor, length)
    os.lseek(descriptor, before, os.SEEK_SET)
    return data


def check_pixels(path: Path, header: Header) -> None:
    """Check by lengths alone that the declared pixels lie within the file.

    Raises:
        Refused: If the file ends before its pixels do, or they are of other frames.
    """
    if header.pixel_offset is None:
        raise Refused(Reason.TRUNCATED if header.rows else Reason.NO_IMAGE)
    if header.is_deflated:
        return  # only inflating tells, and then the decoder will
    with foreign(Reason.UNREADABLE), open_dicom(path) as file:
        extent = pixel_extent(file, header)
        size = path.stat().st_size
        if header.is_compressed:
            for _ in fragments(file.fileno(), extent, size):
                pass
        elif extent.length == UNDEFINED_LENGTH:
            raise Refused(Reason.UNDECODABLE, "the pixel data are not what the header says")
        elif extent.start + extent.length > size:
            raise Refused(Reason.TRUNCATED)
        else:
            check_length(extent, header)


def check_length(extent: Extent, header: Header) -> None:
    """Check that uncompressed pixels are those of as many frames as are declared.

    Raises:
        Refused: If they are of fewer, or of more.
    """
    frame = native_frame_bytes(header)
    if extent.length >= frame * (header.frames + 1):
        raise Refused(Reason.UNDECODABLE, "more frames than the header declares")
    if extent.length < frame * header.frames:
        raise Refused(Reason.TRUNCATED)


def pixel_extent(file: BinaryIO, header: Header) -> Extent:
    """Read the head of the pixel data element.

    Raises:
        Refused: If the file ends within it.
    """
    assert header.pixel_offset is not None
    file.seek(header.pixel_offset)
    head = file.read(12)
    if len(head) < 12:
        raise Refused(Reason.TRUNCATED)
    order = ">" if header.transfer_syntax == ExplicitVRBigEndian else "<"
    # Not by the transfer syntax, which may be wrong: no implicit length looks like a type.
    at = 8 if head[4:8] in EXPLICIT_TYPES else 4
    length = int(struct.unpack_from(f"{order}L", head, at)[0])
    return Extent(header.pixel_offset + at + 4, length, head[4:6] != b"OB")


def native_frame_bytes(header: Header) -> int:
    """Return how many bytes one uncompressed frame takes."""
    pixels = header.rows * header.columns
    if header.photometric in HALVED_COLOUR:
        return 2 * pixels * (header.bits_allocated // 8)
    return pixels * header.samples * header.bits_allocated // 8


def fragments(descriptor: int, extent: Extent, size: int) -> Iterator[tuple[int, int]]:
    """Yield the offset and length of each fragment of encapsulated pixel data.

    The first is the basic offset table, which may be empty.

    Raises:
        Refused: If the file ends before the sequence does.
    """
    if extent.length != UNDEFINED_LENGTH:
        raise Refused(
            Reason.UNDECODABLE, "the pixel data are not compressed as the header says"
        )
    position = extent.start
    while True:
        head = read_at(descriptor, 8, position)
        if len(head) < 8:
            raise Refused(Reason.TRUNCATED)
        group, element, length = struct.unpack("<HHL", head)
        if (group, element) == SEQUENCE_END:
            return
        if (group, element) != ITEM:
            raise Refused(Reason.UNDECODABLE, "the compressed pixel data are out of step")
        position += 8
        if position + length > size:
            raise Refused(Reason.TRUNCATED)
        yield position, length
        position += length
