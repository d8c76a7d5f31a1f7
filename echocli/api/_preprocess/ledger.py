"""What became of every source of a clip set: read from its parts, told in its summaries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import echocli
from echocli.api._preprocess.parts import Source, part_files
from echocli.api._preprocess.quarantine import (
    RETRIED,
    Quarantined,
    quarantine,
    write_quarantine,
)
from echocli.api._preprocess.settings import SETTINGS_FILE
from echocli.clips.progress import FILES_LOCK, STATE_FOLDER, Found, last_found, read_states
from echocli.errors import EchoError
from echocli.files import DAMAGED, read_json, sums_of
from echocli.intake.reasons import Reason, Refused
from echocli.locks import locked
from echocli.privacy.audit import AUDIT_FILE, QUARANTINE_FILE
from echocli.privacy.conclude import conclude


@dataclass
class Ledger:
    """What the parts of a set say of its sources, by keyed hash of their content."""

    clips: dict[str, str] = field(default_factory=dict)
    """The clip that a source became."""
    refused: dict[str, Quarantined] = field(default_factory=dict)
    """Why a source became none."""
    sources: dict[str, Source] = field(default_factory=dict)
    """How a source became a clip."""
    places: dict[str, Found] = field(default_factory=dict)
    """What was last found at a place."""

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """Read the parts that are there, and what the processes noted beside them.

        Raises:
            EchoError: If one of these notes is damaged.
        """
        ledger = cls()
        for part in part_files(folder):
            beside = part.with_suffix(".json")
            try:
                ledger._enter(read_json(beside))
            except (OSError, *DAMAGED):
                raise EchoError(
                    f"{beside} cannot be read: it tells which sources became which clips.",
                    "Copy the clip set again, or add --overwrite to make it anew.",
                ) from None
        for place, found in last_found(read_states(folder)).items():
            if found is None:
                ledger.places.pop(place, None)
            else:
                ledger.places[place] = found
        return ledger

    def _enter(self, part: dict[str, Any]) -> None:
        for source in (Source(**row) for row in part.get("sources", ())):
            self.places[source.place] = Found(source.position, source.source_id)
            if source.clip_id:
                self.clips[source.source_id] = source.clip_id
                self.sources.setdefault(source.source_id, source)
        for entry in part.get("quarantine", ()):
            self.refused[entry["source_id"]] = Quarantined(**entry)

    @property
    def done(self) -> frozenset[str]:
        """Sources that need not be read again."""
        kept = (i for i, entry in self.refused.items() if Reason(entry.reason) not in RETRIED)
        return frozenset((*self.clips, *kept))

    def refusal(self, found: Found, seen: set[str]) -> Quarantined | None:
        """Return why what stands at a place became no clip, or ``None`` if it did.

        Args:
            found: What stands there.
            seen: Sources met before, at other places; this one is added.
        """
        position, source_id = found
        if source_id not in self.clips:
            entry = self.refused.get(source_id)
            return entry and replace(entry, position=position)
        if source_id in seen:
            return quarantine(source_id, position, Refused(Reason.DUPLICATE))
        seen.add(source_id)
        return None

    def quarantined(self) -> list[Quarantined]:
        """Return every source that became no clip, by position, duplicates among them."""
        seen: set[str] = set()
        entries = (self.refusal(found, seen) for found in sorted(self.places.values()))
        return [entry for entry in entries if entry]


def summarise(
    folder: Path,
    settings: dict[str, Any],
    *,
    identifiers: Iterable[str] = (),
    named: Iterable[str] = (),
) -> Ledger:
    """Bring the lists that tell of all parts up to date; what has not changed is not touched.

    Args:
        folder: The clip set.
        settings: How it is made.
        identifiers: Raw identifiers of the sources of this run.
        named: Label columns that the user let through.

    Returns:
        What became of every source.

    Raises:
        PrivacyError: If the parts together show what none shows alone.
    """
    with locked(folder / STATE_FOLDER / FILES_LOCK, wait=True):
        ledger = Ledger.read(folder)
        entries = ledger.quarantined()
        write_quarantine(folder / QUARANTINE_FILE, entries)
        details = {
            "echocli": echocli.__version__,
            "settings": settings,
            "sha256": sums_of(folder, _papers(folder)),
        }
        if not _tells(folder / AUDIT_FILE, details):
            conclude(
                folder,
                quarantined=entries,
                identifiers=identifiers,
                named=named,
                details=details,
            )
    return ledger


def _papers(folder: Path) -> list[str]:
    """Return the files that tell what a set holds: each part's hashes, and the settings."""
    parts = (f"manifest/{part.stem}.json" for part in part_files(folder))
    return [*parts, SETTINGS_FILE]


def _tells(audited: Path, details: dict[str, Any]) -> bool:
    """Return whether the audit that stands there is whole and that of the same parts."""
    try:
        return bool(details.items() <= read_json(audited).items())
    except (OSError, *DAMAGED):
        return False
