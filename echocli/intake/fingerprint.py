"""The hash of a source, by which its content is known again."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from echocli.files import sha256_of
from echocli.intake.mhd import data_file
from echocli.intake.nifti import pixel_file
from echocli.intake.reasons import Refused

END_BYTES = 1 << 20


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a source's bytes; of a header by itself, those of its data, too.

    Two patients' headers may be equal letter by letter, beside data files of the same name.

    The last answer is remembered: who is about to read a file asks first, to see whether that
    is needed, and its reader asks again.

    Raises:
        OSError: If the file cannot be read.
    """
    files = _parts(path)
    return _hash(files, tuple(_state(file) for file in files))


def glance(path: Path) -> str:
    """Return the SHA-256 of a file's length and of both its ends.

    By these a file is known again that is too large to be hashed and that nobody will read.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        hashed = hashlib.sha256(f"{size}:".encode("ascii"))
        for place in (0, max(size - END_BYTES, 0)):
            file.seek(place)
            hashed.update(file.read(END_BYTES))
    return hashed.hexdigest()


def _parts(path: Path) -> tuple[Path, ...]:
    beside = {".mhd": data_file, ".hdr": pixel_file}.get(path.suffix.lower())
    if beside is not None:
        try:
            data = beside(path)
        except Refused:  # its reader says so again
            return (path,)
        if data != path and data.is_file():
            return path, data
    return (path,)


def _state(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=1)
def _hash(files: tuple[Path, ...], states: tuple[tuple[int, ...], ...]) -> str:
    hashes = [sha256_of(file) for file in files]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode("ascii")).hexdigest()
