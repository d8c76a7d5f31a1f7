"""The hash of a source, by which its content is known again."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from echocli.files import sha256_of


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a source's bytes.

    The last answer is remembered: who is about to read a file asks first, to see whether that
    is needed, and its reader asks again.

    Raises:
        OSError: If the file cannot be read.
    """
    status = path.stat()
    return _hash(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=1)
def _hash(path: Path, *state: int) -> str:
    return sha256_of(path)
