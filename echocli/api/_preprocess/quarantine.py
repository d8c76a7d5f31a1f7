"""The list of sources that became no clip: why, and what can be done."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from echocli.errors import EchoError
from echocli.files import DAMAGED, atomic_path, private_text
from echocli.intake.reasons import MEANINGS, Reason, Refused

NOT_FOR_VIDEO = "Nothing to mend: this kind of image is not used. Leave it out, or let it be."

REMEDIES: dict[Reason, str] = {
    Reason.TRUNCATED: "Copy or export the file again; compare its size with the original.",
    Reason.UNREADABLE: "Check that the file can be opened by you, and export it again.",
    Reason.UNDECODABLE: "Export the file again, if possible uncompressed.",
    Reason.NO_DECODER: "Run `echocli doctor`; it names the package that decodes it.",
    Reason.NOT_AN_IMAGE: "Leave the file out of the sources.",
    Reason.EMPTY: "Copy or export the file again; nothing of it arrived.",
    Reason.ARCHIVE: "Unpack the archive and name the folder.",
    Reason.NO_SECTOR: "Look at the loop; export it without menus, or leave it out.",
    Reason.BURNED_IN_TEXT: "Export the loop without measurements and text over the scan.",
    Reason.NO_REGION: "Export the loop with its ultrasound regions, or as a plain video.",
    Reason.STALE_REGION: "Export the loop at its original size.",
    Reason.DUPLICATE: "Nothing to mend: its twin was used.",
    Reason.NO_TIME: "Give the frame rate with --assume-fps.",
    Reason.OUT_OF_MEMORY: "Use a machine with more memory, or fewer --workers.",
    Reason.TOO_SLOW: "Try again with fewer --workers, or export the file again.",
    Reason.BUG: "Please report the line; a newer version reads the file again.",
}
"""What mends each reason; those not named here are no faults of the file."""


@dataclass(frozen=True)
class Quarantined:
    """A source that became no clip."""

    source_id: str
    """Keyed hash of the source; ``--linkage`` tells which file it is."""
    position: int
    """Place in the sorted list of sources, from 1."""
    reason: str
    explanation: str
    remedy: str


RETRIED = frozenset(
    (Reason.NO_DECODER, Reason.TOO_SLOW, Reason.OUT_OF_MEMORY, Reason.UNREADABLE, Reason.BUG)
)
"""Reasons that lie in machine or program, not in the file: it is read again next time."""


def quarantine(source_id: str, position: int, refused: Refused) -> Quarantined:
    """Return the entry of a source that became no clip."""
    remedy = REMEDIES.get(refused.reason, NOT_FOR_VIDEO)
    return Quarantined(source_id, position, refused.reason.value, refused.detail, remedy)


def write_quarantine(path: Path, entries: Iterable[Quarantined]) -> None:
    """Write the list as CSV, unless it stands there; an empty list still has its header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Quarantined)])
    writer.writeheader()
    writer.writerows(asdict(entry) for entry in entries)
    content = text.getvalue().encode("utf-8")
    if path.exists() and path.read_bytes() == content:
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_quarantine(path: Path) -> list[Quarantined]:
    """Read the list back.

    Raises:
        EchoError: If it is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames is None:
                raise ValueError("not even a header")
            return [
                Quarantined(
                    row["source_id"],
                    int(row["position"]),
                    row["reason"],
                    row["explanation"],
                    row["remedy"],
                )
                for row in rows
            ]
    except DAMAGED:
        raise EchoError(
            f"{path} is damaged: it cannot be read.",
            "Copy the clip set again, or run the same `echocli preprocess` once more.",
        ) from None


def count_reasons(entries: Sequence[Quarantined]) -> list[tuple[str, int, str]]:
    """Return each reason with its count and meaning, most frequent first."""
    counts = Counter(entry.reason for entry in entries)
    return [(reason, count, MEANINGS[Reason(reason)]) for reason, count in counts.most_common()]


def write_linkage(path: Path, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Write which source became which clip, readable by its owner only. It identifies people.

    Args:
        path: The file.
        rows: Source path, source id, clip id or empty, reason or empty.
    """
    with private_text(path) as file:
        writer = csv.writer(file)
        writer.writerow(("source", "source_id", "clip_id", "reason"))
        writer.writerows(rows)
