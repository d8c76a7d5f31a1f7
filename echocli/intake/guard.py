"""Keeps foreign parsers in check: their exceptions, their warnings, their appetite."""

from __future__ import annotations

import logging
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.errors import BytesLengthException, InvalidDicomError

from echocli.intake.reasons import Reason, Refused

MAX_LOOP_BYTES = 1 << 30
"""Largest grey loop that is decoded: 1 GiB is 2,200 frames of 600 x 800."""
MAX_FRAME_PIXELS = 1 << 25
"""Largest picture that is decoded: 8K video is 2**25 pixels."""

MOST_FRAMES = 1 << 20
"""No loop has more: nine hours at 30 frames a second."""

FOREIGN_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    BytesLengthException,
    InvalidDicomError,
)
"""What pydicom, Pillow, FFmpeg and nibabel raise on broken bytes. None of them documents its
list; this one was collected by cutting and flipping real files."""


@contextmanager
def foreign(
    reason: Reason, detail: str = "", *, also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn whatever a foreign parser raises about a broken file into a refusal.

    Only calls into other libraries belong in the block: our own mistakes must crash. The
    library's message is dropped, because it may quote the header.

    Args:
        reason: Why the file is refused then.
        detail: What to tell; the reason's own meaning if empty.
        also: Further exceptions, of one library only.
    """
    try:
        yield
    except MemoryError:
        raise Refused(Reason.OUT_OF_MEMORY) from None
    except (*FOREIGN_ERRORS, *also):
        # Not chained: a traceback of the cause could quote a patient's name.
        raise Refused(reason, detail) from None


class _Silence(logging.Filter):
    """Drops every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let nothing through."""
        return False


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings and log, which quote values of the header."""
    silence = _Silence()
    loggers = [logging.getLogger(name) for name in ("pydicom", "py.warnings", "nibabel")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.addFilter(silence)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(silence)


def check_readable(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        Refused: If it is anything else (a pipe would block for ever), empty or unreadable.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):  # a name with a NUL, from a header
        raise Refused(Reason.UNREADABLE, "the file cannot be opened") from None
    if stat.S_ISDIR(status.st_mode):
        raise Refused(Reason.UNREADABLE, "a folder that cannot be opened")
    if not stat.S_ISREG(status.st_mode):
        raise Refused(Reason.UNREADABLE, "not a regular file")
    if not os.access(path, os.R_OK):
        raise Refused(Reason.UNREADABLE, "no permission to read the file")
    if status.st_size == 0:
        raise Refused(Reason.EMPTY)
    return status.st_size


def check_size(frames: int, rows: int, columns: int) -> None:
    """Refuse a loop that would not fit, before a byte is allocated.

    Raises:
        Refused: If a side is not positive, or the grey loop exceeds ``MAX_LOOP_BYTES``.
    """
    if rows < 1 or columns < 1 or frames < 1:
        raise Refused(Reason.NO_IMAGE, "the header declares a picture without pixels")
    if rows * columns > MAX_FRAME_PIXELS or frames * rows * columns > MAX_LOOP_BYTES:
        raise Refused(Reason.OUT_OF_MEMORY)
