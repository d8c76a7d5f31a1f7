"""Ids that only the holder of a key can trace back to a patient."""

from __future__ import annotations

import contextlib
import errno
import hmac
import os
import re
import secrets
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from echocli.errors import EchoError, PrivacyError

KEY_VARIABLE = "ECHOCLI_KEY_FILE"
"""Environment variable that names another key file."""
KEY_BYTES = 32
ID_DIGITS = 16
"""Hexadecimal digits of an id: 64 bits, so 10^6 clips collide with a chance of 3 in 10^8."""
ID_FORMATS = {
    "clip_id": re.compile(rf"c[0-9a-f]{{{ID_DIGITS}}}"),
    "patient_id": re.compile(rf"p[0-9a-f]{{{ID_DIGITS}}}"),
    "study_id": re.compile(rf"s[0-9a-f]{{{ID_DIGITS}}}"),
    "source_sha256": re.compile(r"[0-9a-f]{64}"),
}
"""What each id column of a clip set looks like."""


def default_key_file() -> Path:
    """Return the key file of this user: ``$ECHOCLI_KEY_FILE``, else below the settings."""
    if named := os.environ.get(KEY_VARIABLE):
        return Path(named)
    settings = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(settings) / "echocli" / "pseudonym.key"


@dataclass(frozen=True)
class Pseudonyms:
    """Keyed hashes (HMAC-SHA256, RFC 2104) of identifiers.

    The same patient gets the same id in every run with the same key, and a different one under
    another key. A plain hash would not do: patient numbers are few enough to try them all.

    Args:
        key: The secret.
    """

    key: bytes = field(repr=False)

    @classmethod
    def from_file(
        cls, key_file: Path | None = None, *, outside: Path | None = None
    ) -> Pseudonyms:
        """Read the key, or make one on first use.

        Args:
            key_file: Where the key stands; this user's own if left out.
            outside: A folder that will be shared and must not hold the key.

        Raises:
            PrivacyError: If the key lies in that folder, others may read it, or a new one would
                lie where version control picks it up.
            EchoError: If the file is no key, or cannot be read or made.
        """
        path = (key_file or default_key_file()).expanduser()
        if outside is not None and is_inside(path, outside):
            raise PrivacyError(
                "The key file lies inside the output folder, which is meant to be shared.",
                "Name a place elsewhere with --key-file, or leave the option out.",
            )
        content = _read_or_make(path)
        try:
            key = bytes.fromhex(content.decode("ascii"))
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise EchoError(
                f"The key file does not hold a key of {KEY_BYTES} bytes.",
                "Restore it from a backup, or name another file with --key-file; "
                "a new key gives every patient a new id.",
            )
        return cls(key)

    def patient(self, patient_key: str) -> str:
        """Return a patient's id."""
        return "p" + self._digest("patient", patient_key)[:ID_DIGITS]

    def study(self, study_key: str) -> str:
        """Return an examination's id."""
        return "s" + self._digest("study", study_key)[:ID_DIGITS]

    def clip(self, sha256: str) -> str:
        """Return a clip's id from the hash of its source."""
        return "c" + self._digest("clip", sha256)[:ID_DIGITS]

    def source(self, sha256: str) -> str:
        """Return a keyed hash of a source's hash; without the key nobody can test a guess."""
        return self._digest("source", sha256)

    def uid(self, raw: str) -> str:
        """Return the DICOM UID that takes the place of another, the same in every file.

        It is derived from a random-looking UUID (PS3.5 B.2), so it collides with nobody's.
        """
        return f"2.25.{UUID(hex=self._digest('uid', raw)[:32], version=4).int}"

    def number(self, kind: str, text: str) -> int:
        """Return a number below 2**64 that only the holder of the key can derive."""
        return int(self._digest(kind, text)[:16], 16)

    def fingerprint(self) -> str:
        """Return eight digits that tell whether two runs used the same key."""
        return self._digest("fingerprint", "")[:8]

    def _digest(self, kind: str, text: str) -> str:
        message = f"echocli:{kind}:{text}".encode("utf-8", "surrogateescape")
        return hmac.new(self.key, message, "sha256").hexdigest()


def is_inside(path: Path, folder: Path) -> bool:
    """Tell whether a path lies in a folder, links followed."""
    return path.resolve().is_relative_to(folder.resolve())


def _read_or_make(path: Path) -> bytes:
    try:
        if not path.exists():
            _make_key(path)
        _check_mode(path)
        return path.read_bytes()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise EchoError(
            f"The key file {path} can be neither read nor made: {error.strerror}.",
            f"Name a place of your own with --key-file, or with {KEY_VARIABLE}.",
        ) from None


def _make_key(path: Path) -> None:
    if any((folder / ".git").exists() for folder in path.resolve().parents):
        raise PrivacyError(
            "A new key file would lie in a folder under version control, where it is easily "
            "published.",
            f"Name a place elsewhere with --key-file, or with {KEY_VARIABLE}.",
        )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = secrets.token_hex(KEY_BYTES).encode("ascii")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its key counts
            os.link(temporary, path)
    finally:
        temporary.unlink()


def _check_mode(path: Path) -> None:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise PrivacyError(
            "Other users of this machine can read the key file.",
            f"Run `chmod 600 {shlex.quote(str(path))}`; if somebody may have read it, make a "
            "new key.",
        )
