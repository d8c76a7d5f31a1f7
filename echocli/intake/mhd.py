"""Reads cine loops stored as MetaImage: a header (MHD) and its data, or both in one (MHA)."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from echocli.intake.guard import check_readable, foreign
from echocli.intake.nifti import LEFT_OVER, VolumeHeader, check_wide, spacing, to_grey
from echocli.intake.reasons import Reason, Refused

TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""NumPy's names of the element types."""
HEADER_BYTES = 1 << 16
LAST_FIELD = b"ElementDataFile"
IN_THIS_FILE = "LOCAL"
ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS
CHUNK = 1 << 16

Fields = dict[str, str]


def describe_mhd(path: Path) -> VolumeHeader:
    """Read the header of a MetaImage file.

    Raises:
        Refused: If it is broken, or no stack of pictures.
    """
    fields, _ = _fields(path)
    return _header(fields)


def read_mhd(path: Path) -> tuple[NDArray[np.uint8], VolumeHeader]:
    """Read a MetaImage cine as ``(frames, rows, columns)``.

    Raises:
        Refused: If it is broken, too large, of a type that is not read, or if its grey levels
            are not 0 to 255.
    """
    fields, header_bytes = _fields(path)
    header = _header(fields)
    kind = TYPES.get(fields.get("ElementType", ""))
    channels = fields.get("ElementNumberOfChannels", "1")
    if kind is None or channels != "1" or not _is_true(fields, "BinaryData", absent=True):
        raise Refused(Reason.NO_DECODER, "grey levels are kept in a way that is not read")
    order = ">" if _is_big(fields) else "<"
    stored_type = np.dtype(order + kind)
    check_wide(header.frames, header.rows, header.columns, stored_type.itemsize)
    data, start = _data_file(path, fields, header_bytes)
    length = header.frames * header.rows * header.columns * stored_type.itemsize
    size = check_readable(data)
    with foreign(Reason.UNREADABLE), data.open("rb") as file:
        if _is_true(fields, "CompressedData"):
            file.seek(start)
            stored = _inflated(file, length)
        else:
            stored = _plain(file, start, size, length, _number(fields, "HeaderSize"))
    shape = (header.frames, header.rows, header.columns)
    return to_grey(stored.view(stored_type).reshape(shape)), header


def _plain(
    file: BinaryIO, start: int, size: int, length: int, skipped: int | None
) -> NDArray[np.uint8]:
    """Read data that are not compressed; a header size of -1 says that they come last."""
    if skipped == -1:
        start = size - length
    elif skipped:
        start += skipped
    if start < 0 or start + length > size:
        raise Refused(Reason.TRUNCATED)
    if start + length < size:
        raise Refused(Reason.UNDECODABLE, LEFT_OVER)
    file.seek(start)
    return np.fromfile(file, dtype=np.uint8, count=length)


def _inflated(file: BinaryIO, length: int) -> NDArray[np.uint8]:
    """Inflate as many bytes as declared, and not one more."""
    stored = np.empty(length, dtype=np.uint8)
    filled = 0
    with foreign(Reason.UNDECODABLE, "the compressed data are broken"):
        for part in _parts(file, length):
            if filled + len(part) > length:
                raise Refused(Reason.UNDECODABLE, LEFT_OVER)
            stored[filled : filled + len(part)] = np.frombuffer(part, dtype=np.uint8)
            filled += len(part)
    if filled < length:
        raise Refused(Reason.TRUNCATED)
    return stored


def _parts(file: BinaryIO, length: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(ZLIB_OR_GZIP)
    while not inflater.eof:
        packed = inflater.unconsumed_tail or file.read(CHUNK)
        if not packed:
            raise Refused(Reason.TRUNCATED)  # even if all data are out: the checksum is not in
        yield inflater.decompress(packed, min(length + 1, 16 * CHUNK))


def data_file(path: Path) -> Path:
    """Return the file that holds the data of an MHD header: another one, or itself.

    Raises:
        Refused: If the header cannot be read or names none.
    """
    return _data_file(path, *_fields(path))[0]


def _data_file(path: Path, fields: Fields, header_bytes: int) -> tuple[Path, int]:
    """Return the file that holds the data, and where they start in it."""
    name = fields.get("ElementDataFile", "")
    if name == IN_THIS_FILE:
        return path, header_bytes
    if not name or name in (os.curdir, os.pardir) or Path(name).name != name:
        # A path could lead out of the folder.
        raise Refused(Reason.UNREADABLE, "the header names no data file beside it")
    return path.parent / name, 0


def _fields(path: Path) -> tuple[Fields, int]:
    """Return the fields of the header, and how many bytes it takes."""
    with foreign(Reason.UNREADABLE, "the MHD header is broken"), path.open("rb") as file:
        fields: Fields = {}
        for line in iter(lambda: file.readline(HEADER_BYTES), b""):
            key, equals, value = line.partition(b"=")
            if equals:
                fields[key.strip().decode()] = value.strip().decode()
            if key.strip() == LAST_FIELD or file.tell() > HEADER_BYTES:
                break
        return fields, file.tell()


def _header(fields: Fields) -> VolumeHeader:
    with foreign(Reason.UNREADABLE, "the MHD header is broken"):
        sides = [int(side) for side in fields["DimSize"].split()]
        zooms = [float(zoom) for zoom in fields.get("ElementSpacing", "").split()]
    if len(sides) == 2:
        raise Refused(Reason.STILL)
    if len(sides) != 3:
        raise Refused(Reason.VOLUME)
    columns, rows, frames = sides
    return VolumeHeader(
        frames=frames,
        rows=rows,
        columns=columns,
        spacing_mm=spacing(rows, columns, zooms[1], zooms[0]) if len(zooms) >= 2 else None,
        step_s=None,
    )


def _number(fields: Fields, key: str) -> int | None:
    with foreign(Reason.UNREADABLE, "the MHD header is broken"):
        return int(fields[key]) if key in fields else None


def _is_true(fields: Fields, key: str, *, absent: bool = False) -> bool:
    value = fields.get(key)
    return absent if value is None else value.lower() in ("true", "1", "t")


def _is_big(fields: Fields) -> bool:
    return _is_true(fields, "BinaryDataByteOrderMSB") or _is_true(fields, "ElementByteOrderMSB")
