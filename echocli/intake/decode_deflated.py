"""Opens DICOM files; those whose dataset is deflated are inflated while they are read."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from echocli.intake.guard import MAX_LOOP_BYTES, foreign
from echocli.intake.reasons import Reason, Refused

HEAD_BYTES = 4096
"""The transfer syntax is named within so many bytes."""
PREAMBLE_AND_LENGTH = 144
"""Bytes before what the group length of the file meta information counts."""
MAX_INFLATED = 4 * MAX_LOOP_BYTES
"""A colour loop of the largest size, and its header."""
CHUNK = 1 << 16


def open_dicom(path: Path) -> io.BufferedReader:
    """Open a DICOM file for reading.

    A deflated one looks like what it holds: explicit, little-endian elements, at the offsets
    that they have after inflation. Nothing but a buffer is kept of it.

    Raises:
        Refused: While reading, if it inflates beyond any loop that is allowed.
        OSError: If the file cannot be opened.
    """
    file = path.open("rb")
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head[128:132] != b"DICM" or _value(DeflatedExplicitVRLittleEndian) not in head:
        return file
    return io.BufferedReader(_Inflated(file, _plain_head(path, file)), CHUNK)


def is_deflated(file: BinaryIO) -> bool:
    """Return whether ``open_dicom`` inflates this file."""
    return isinstance(file, io.BufferedReader) and isinstance(file.raw, _Inflated)


def _plain_head(path: Path, file: BinaryIO) -> bytes:
    """Return preamble and meta information, naming the syntax of the inflated dataset."""
    meta: Any = read_file_meta_info(path)
    head = file.read(PREAMBLE_AND_LENGTH + int(meta.FileMetaInformationGroupLength))
    plain = _value(ExplicitVRLittleEndian)
    word = _value(DeflatedExplicitVRLittleEndian)
    return head.replace(word, word[:4] + plain[4:].ljust(len(word) - 4, b"\0"))


def _value(syntax: str) -> bytes:
    """Return a UID as it stands in the meta information: type, length, padded value."""
    text = syntax.encode() + b"\0" * (len(syntax) % 2)
    return b"UI" + len(text).to_bytes(2, "little") + text


class _Inflated(io.RawIOBase):
    """A head, then what a deflated stream holds; going back starts it again."""

    name = ""
    """pydicom asks for it."""

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        super().__init__()
        self._file = file
        self._head = head
        self._restart()

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that positions can be chosen; going back is slow."""
        return True

    def tell(self) -> int:
        """Return the position in the inflated file."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position counted from the start or from here."""
        if whence == os.SEEK_END:
            raise io.UnsupportedOperation("the end is not known")
        target = offset + (self._position if whence == os.SEEK_CUR else 0)
        if target < self._position:
            self._restart()
        while self._position < target:
            if not self.read(min(target - self._position, CHUNK)):
                break
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        """Fill a buffer with the next bytes; return how many there were."""
        wanted = len(buffer)
        if self._position < len(self._head):
            data = self._head[self._position : self._position + wanted]
        else:
            data = self._inflate(wanted)
        buffer[: len(data)] = data
        self._position += len(data)
        if self._position > MAX_INFLATED:
            raise Refused(Reason.OUT_OF_MEMORY)
        return len(data)

    def close(self) -> None:
        """Close the file beneath."""
        self._file.close()
        super().close()

    def _restart(self) -> None:
        self._file.seek(len(self._head))
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._position = 0

    def _inflate(self, wanted: int) -> bytes:
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._file.read(CHUNK)
            with foreign(Reason.UNDECODABLE, "the deflated dataset is broken"):
                data = self._inflater.decompress(packed, wanted)
            if data or not packed:
                return data
        return b""
