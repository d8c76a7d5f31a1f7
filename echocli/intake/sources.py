"""Finds the files to read, and tells by their first bytes what they are."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from echocli.errors import EchoError
from echocli.intake.guard import check_readable, foreign
from echocli.intake.reasons import Reason


class Content(StrEnum):
    """What the bytes of a file are."""

    DICOM = "dicom"
    VIDEO = "video"
    PICTURE = "picture"
    NIFTI = "nifti"
    MHD = "mhd"
    ARCHIVE = "archive"
    OTHER = "other"


TABLES = (".csv", ".json", ".parquet", ".tsv", ".xls", ".xlsx", ".xml")
NOTES = (
    ".cfg",
    ".html",
    ".ini",
    ".log",
    ".md",
    ".pdf",
    ".py",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
)
DATA_PARTS = (".npy", ".npz", ".raw", ".zraw")
COMPANIONS = frozenset((*TABLES, *NOTES, *DATA_PARTS))
"""Names of tables, notes and data parts that lie beside recordings; skipped inside folders."""

HEAD_BYTES = 352  # a NIfTI header with its magic
PREAMBLE = 128

ARCHIVE_MAGIC = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
)
PICTURE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"BM", b"II*\x00", b"MM\x00*")
VIDEO_MAGIC = (
    b"GIF87a",
    b"GIF89a",
    b"\x1a\x45\xdf\xa3",
    b"\x00\x00\x01\xba",
    b"\x00\x00\x01\xb3",
)
TRANSPORT_SYNC, TRANSPORT_PACKET = b"G", 188
"""First byte of each packet of an MPEG transport stream, and the length of a packet."""
BARE_GROUPS, BARE_GROUP_BIG = (b"\x02\x00", b"\x08\x00"), b"\x00\x08"
"""First group of a DICOM file that has lost its preamble: 0002 or 0008, little endian, or 0008,
big endian (what stands in group 0002 is always little endian)."""


def find_sources(paths: Iterable[Path]) -> list[Path]:
    """Return the files to read, sorted.

    A file that is named is taken as it is. In a folder, hidden files, links, DICOM directories,
    tables or notes (``COMPANIONS``) and clip sets are passed over; everything else is returned,
    whatever its name, so that each file ends as a clip or with a reason. So is a folder that
    cannot be opened.

    Raises:
        EchoError: If a path does not exist, or nothing is found at all.
    """
    named = list(paths)
    found: dict[Path, None] = {}
    for position, path in enumerate(named, start=1):
        if path.is_dir():
            found.update(dict.fromkeys(_inside(path)))
        elif os.path.lexists(path):
            found[path] = None
        else:
            raise EchoError(
                f"Path {position} of {len(named)} does not exist.",
                "Check the spelling, and that the disk or share is mounted.",
            )
    if not found:
        raise EchoError(
            "There is no file to read.",
            "Name DICOM files or videos, or folders that hold some.",
        )
    return list(found)


def _inside(folder: Path) -> list[Path]:
    files: list[Path] = []

    def note(error: OSError) -> None:
        files.append(Path(error.filename))

    for parent, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if _is_entered(Path(parent, name))]
        files += [
            path for path in (Path(parent, name) for name in names) if not is_passed_over(path)
        ]
    return sorted(files)


def _is_entered(folder: Path) -> bool:
    if folder.name.startswith("."):
        return False
    if not (folder / "manifest").is_dir():
        return True
    from echocli.clips.store import ClipSet  # with pandas, which nothing else here needs

    return not ClipSet.is_one(folder)


def is_passed_over(path: Path) -> bool:
    """Return whether a file in a folder is none to read: hidden, a link, or a companion."""
    name = path.name
    return (
        name.startswith(".")
        or name.upper() in ("DICOMDIR", "THUMBS.DB")
        or path.suffix.lower() in COMPANIONS
        or (path.suffix.lower() == ".img" and path.with_suffix(".hdr").is_file())
        or path.is_symlink()
    )


def content_of(path: Path) -> Content:
    """Return what a file is by its bytes; its name only helps MHD, which is plain text.

    Raises:
        Refused: If it cannot be opened, or is no regular file.
    """
    check_readable(path)
    with foreign(Reason.UNREADABLE), path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head[PREAMBLE : PREAMBLE + 4] == b"DICM":
        return Content.DICOM
    for magics, content in (
        (ARCHIVE_MAGIC, Content.ARCHIVE),
        (PICTURE_MAGIC, Content.PICTURE),
        (VIDEO_MAGIC, Content.VIDEO),
    ):
        if head.startswith(magics):
            return content
    if (head[:4] == b"RIFF" and head[8:12] == b"AVI ") or head[4:8] in (
        b"ftyp",
        b"moov",
        b"mdat",
    ):
        return Content.VIDEO
    if head[:1] == head[TRANSPORT_PACKET : TRANSPORT_PACKET + 1] == TRANSPORT_SYNC:
        return Content.VIDEO
    if head[344:348] in (b"n+1\x00", b"ni1\x00") or (
        head[:2] == b"\x1f\x8b" and path.suffixes[-2:] == [".nii", ".gz"]
    ):
        return Content.NIFTI
    if head[:2] == b"\x1f\x8b" or head[257:262] == b"ustar":
        return Content.ARCHIVE
    if path.suffix.lower() in (".mhd", ".mha") and (b"NDims" in head or b"DimSize" in head):
        return Content.MHD
    return Content.DICOM if _is_bare_dicom(head) else Content.OTHER


def _is_bare_dicom(head: bytes) -> bool:
    """Return whether bytes look like data elements without the preamble of a file."""
    if len(head) < 16:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    if head[:2] == BARE_GROUP_BIG:
        return explicit and head[2] == 0
    if head[:2] not in BARE_GROUPS or head[3] != 0:
        return False
    length = int.from_bytes(head[4:8], "little")
    return explicit or length <= 256
