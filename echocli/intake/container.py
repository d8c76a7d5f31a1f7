"""Is a video file as long as it says? FFmpeg plays what is left of one that was cut off."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from echocli.intake.guard import foreign
from echocli.intake.reasons import Reason, Refused

UNKNOWN_RIFF = 0xFFFFFFF0
"""Streamed AVI files are given the largest size there is."""
SEGMENT = 0x18538067  # RFC 8794 and 9559: what holds everything but the head of a Matroska file
GIF_EXTENSION, GIF_IMAGE, GIF_END = 0x21, 0x2C, 0x3B  # GIF89a, sections 20, 23 and 27


def check_whole(path: Path) -> None:
    """Refuse a video whose container is longer than the file.

    Raises:
        Refused: If the file ends before what it declares.
    """
    size = path.stat().st_size
    with foreign(Reason.UNREADABLE, "the container is broken"), path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[:4] == b"RIFF":
            end = 8 + int.from_bytes(head[4:8], "little")
            whole = end >= UNKNOWN_RIFF or end <= size
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            whole = _matroska_end(file) <= size
        elif head[:3] == b"GIF":
            whole = _gif_is_ended(file)
        elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            whole = _boxes_end(file, size) <= size
        else:
            whole = True
    if not whole:
        raise Refused(Reason.TRUNCATED)


def _matroska_end(file: BinaryIO) -> int:
    """Return where the segment ends; 0 if it does not say, as in a recorded stream."""
    _number(file, marker=True)
    length = _number(file)
    file.seek(length, os.SEEK_CUR)
    if _number(file, marker=True) != SEGMENT:
        return 0
    start = file.tell()
    first = file.read(1)[0]
    file.seek(start)
    length, octets = _number(file), 9 - first.bit_length()
    unknown = (1 << 7 * octets) - 1
    return 0 if length == unknown else file.tell() + length


def _number(file: BinaryIO, *, marker: bool = False) -> int:
    """Read a number of variable length, with or without the bit that tells the length."""
    first = file.read(1)[0]
    octets = 9 - first.bit_length()
    if octets > 8:
        raise ValueError("a number of more than eight octets")
    value = int.from_bytes(bytes([first]) + file.read(octets - 1))
    return value if marker else value & ((1 << 7 * octets) - 1)


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Return where the last box of an MP4 or MOV file ends (ISO/IEC 14496-12, 4.2)."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        length, _ = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = int.from_bytes(file.read(8))
        if length == 0:  # to the end of the file
            return size
        if length < 8:
            break  # padding, which players pass over
        position += length
    return position


def _gif_is_ended(file: BinaryIO) -> bool:
    """Walk through the blocks of a GIF; return whether the last one is its end."""
    packed = file.read(13)[10]
    _skip_palette(file, packed)
    while kind := file.read(1):
        if kind[0] == GIF_END:
            return True
        if kind[0] == GIF_EXTENSION:
            file.read(1)
        elif kind[0] == GIF_IMAGE:
            _skip_palette(file, file.read(9).ljust(9, b"\0")[8])
            file.read(1)
        else:
            return False
        while (length := file.read(1)) and length[0]:
            file.seek(length[0], os.SEEK_CUR)
    return False


def _skip_palette(file: BinaryIO, packed: int) -> None:
    if packed & 0x80:
        file.seek(3 << ((packed & 7) + 1), os.SEEK_CUR)
