"""Checks by lengths alone that the pixels a header declares lie within the file."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from echocli.intake.dicom import Header
from echocli.intake.reasons import Reason, Refused

UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM = (0xFFFE, 0xE000)
SEQUENCE_END = (0xFFFE, 0xE0DD)


def check_pixels(path: Path, header: Header) -> None:
    """Check by lengths alone that the declared pixels lie within the file.

    Raises:
        Refused: If the file ends before its pixels do.
    """
    offset = header.pixel_offset
    if offset is None:
        raise Refused(Reason.TRUNCATED if header.rows else Reason.NO_IMAGE)
    if offset < 0:
        return
    size = path.stat().st_size
    descriptor = os.open(path, os.O_RDONLY)
    try:
        start, length = _value_extent(descriptor, offset, header)
        if length == UNDEFINED_LENGTH:
            for _ in fragments(descriptor, start, size):
                pass
        elif start + length > size or length < _native_bytes(header):
            raise Refused(Reason.TRUNCATED)
    finally:
        os.close(descriptor)


def _value_extent(descriptor: int, offset: int, header: Header) -> tuple[int, int]:
    order = ">" if header.transfer_syntax == ExplicitVRBigEndian else "<"
    head = os.pread(descriptor, 12, offset)
    if len(head) < 12:
        raise Refused(Reason.TRUNCATED)
    implicit = header.transfer_syntax == ImplicitVRLittleEndian
    at = 4 if implicit else 8
    return offset + at + 4, int(struct.unpack_from(f"{order}L", head, at)[0])


def _native_bytes(header: Header) -> int:
    if header.is_compressed:
        return 0
    pixels = header.rows * header.columns * header.frames
    if header.photometric == "YBR_FULL_422":
        return 2 * pixels
    return pixels * header.samples * header.bits_allocated // 8


def fragments(descriptor: int, start: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the offset and length of each fragment of encapsulated pixel data.

    The first is the basic offset table, which may be empty.

    Raises:
        Refused: If the file ends before the sequence does.
    """
    position = start
    while True:
        head = os.pread(descriptor, 8, position)
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
