"""Puts the fragments of compressed pixel data together to frames."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from echocli.intake.dicom import Header
from echocli.intake.extent import Extent, fragments, read_at
from echocli.intake.reasons import Reason, Refused

MAGIC = (
    b"\xff\xd8\xff",  # JPEG, JPEG-LS
    b"\xff\x4f\xff\x51",  # JPEG 2000 codestream
    b"\x00\x00\x00\x0cjP  ",  # the same in a file
    b"\xff\x0a",  # JPEG XL codestream
    b"\x00\x00\x00\x0cJXL ",  # the same in a file
)
"""How a compressed frame begins."""

Part = tuple[int, int]
"""Offset in the file and length of one fragment."""


class Fragments:
    """The compressed pixel data of one file.

    Args:
        descriptor: The open file.
        extent: Where its pixel data are.
        size: Of the file, in bytes.

    Raises:
        Refused: If the file ends too early.
    """

    def __init__(self, descriptor: int, extent: Extent, size: int) -> None:
        self._descriptor = descriptor
        table, *parts = [*fragments(descriptor, extent, size)] or [(0, 0)]
        self._table = np.frombuffer(self._read(table)[: table[1] // 4 * 4], dtype="<u4")
        self.parts: list[Part] = [part for part in parts if part[1]]

    def frames(self, header: Header) -> list[list[Part]]:
        """Return the fragments of each frame, in order.

        With as many fragments as frames there is no question. Otherwise a fragment that begins
        as a compressed picture does begins a frame, and only then an offset table is asked:
        tables are often empty, and sometimes wrong.

        Raises:
            Refused: If there are fewer or more frames than declared, or nothing tells which
                fragment belongs to which frame.
        """
        count = header.frames
        if len(self.parts) < count:
            raise Refused(Reason.TRUNCATED, f"{len(self.parts)} of {count} frames are there")
        if len(self.parts) == count or count == 1:
            starts = list(range(count))
        else:
            starts = self._starts_by_content()
            if len(starts) != count:
                starts = self._starts_by_table(header) or starts
        if len(starts) > count:
            raise Refused(Reason.UNDECODABLE, "more frames than the header declares")
        if len(starts) < count or starts[0] != 0:
            raise Refused(Reason.UNDECODABLE, "nothing tells where each frame begins")
        ends = [*starts[1:], len(self.parts)]
        return [self.parts[start:end] for start, end in zip(starts, ends, strict=True)]

    def contradicts_table(self, frames: int) -> bool:
        """Return whether there is an offset table, and it tells other places than there are.

        The order of the fragments is believed then, but nothing proves it.
        """
        if not len(self._table) or not self.parts:
            return False
        first = self.parts[0][0]
        places = {offset - first for offset, _ in self.parts}
        offsets = [int(offset) for offset in self._table]
        right = offsets[0] == 0 and offsets == sorted(set(offsets)) and places >= set(offsets)
        return not right or len(offsets) != frames

    def join(self, parts: list[Part]) -> bytes:
        """Return the bytes of one frame."""
        return b"".join(self._read(part) for part in parts)

    def stream(self) -> io.BufferedReader:
        """Return all fragments as one file, for video."""
        return io.BufferedReader(_Stream(self._descriptor, self.parts))

    def _read(self, part: Part) -> bytes:
        offset, length = part
        data = read_at(self._descriptor, length, offset)
        if len(data) < length:
            raise Refused(Reason.TRUNCATED)
        return data

    def _starts_by_content(self) -> list[int]:
        heads = (read_at(self._descriptor, 8, offset) for offset, _ in self.parts)
        return [index for index, head in enumerate(heads) if head.startswith(MAGIC)]

    def _starts_by_table(self, header: Header) -> list[int]:
        """Return the first fragment of each frame by a table that is right, or nothing."""
        first = self.parts[0][0]
        places = {offset - first: index for index, (offset, _) in enumerate(self.parts)}
        told = header.dataset.get("ExtendedOffsetTable")
        extended = told if isinstance(told, bytes) else b""
        tables: tuple[Any, ...] = (
            self._table,
            np.frombuffer(extended[: len(extended) // 8 * 8], dtype="<u8"),
        )
        for table in tables:
            starts = [places.get(int(offset), -1) for offset in table]
            if len(starts) == header.frames and starts[0] == 0 and (np.diff(starts) > 0).all():
                return starts
        return []


class _Stream(io.RawIOBase):
    """Fragments, read as if they were one file."""

    def __init__(self, descriptor: int, parts: list[Part]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._parts = parts
        self._begins = np.cumsum([0, *(length for _, length in parts)])
        self._position = 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that positions can be chosen."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence, self._begins[-1])
        self._position = max(0, int(base) + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        """Fill a buffer with what is left of one fragment; return how many bytes those were."""
        index = int(np.searchsorted(self._begins, self._position, side="right")) - 1
        if index >= len(self._parts):
            return 0
        offset, length = self._parts[index]
        into = self._position - int(self._begins[index])
        data = read_at(self._descriptor, min(len(buffer), length - into), offset + into)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
