"""The end of a run: what the parts proved is added up and shown to people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from echocli.clips.store import ClipSet
from echocli.files import read_json
from echocli.privacy.audit import (
    Check,
    check_bytes,
    check_tables,
    needles_for,
    require,
    summed,
    write_audit,
)
from echocli.privacy.audit_bytes import visible_files
from echocli.privacy.sheets import Refusal, write_contact_sheets

OF_PARTS = (".u8", ".dcm", ".parquet")
"""Files that were searched before their part was published, and are not read a second time."""
PAGE = ".html"


def conclude(
    folder: Path,
    *,
    quarantined: Sequence[Refusal],
    identifiers: Iterable[str],
    named: Iterable[str],
    details: dict[str, Any],
) -> list[Check]:
    """Prove of a whole set what no part shows alone; write ``audit.html`` and ``audit.json``.

    Args:
        folder: A clip set whose parts were audited before they were published, each with its
            ``checks`` in the JSON beside its manifest.
        quarantined: The sources that became no clip.
        identifiers: Raw identifiers of the sources of this run.
        named: Label columns that the user let through by name.
        details: What else belongs in ``audit.json``.

    Raises:
        PrivacyError: If a check fails; no page of this run is left then.
    """
    clips = ClipSet.open(folder)
    raw = set(identifiers)
    whole = check_tables(folder, clips, raw, set(named))
    require(whole)
    told = {check.check for check in whole}
    parts = sorted((folder / "manifest").glob("part-*.json"))
    proved = summed(
        [Check(**row) for row in read_json(part).get("checks", ())] for part in parts
    )
    checks = [*whole, *(check for check in proved if check.check not in told)]
    require(checks)
    needles, beside = needles_for(raw, clips), (*OF_PARTS, PAGE)
    texts = (file for file in visible_files(folder) if file.suffix not in beside)
    searched = check_bytes(texts, needles)
    require([searched])
    # The pages show how much was looked at, so they are searched after and do not count.
    checks = summed([checks, [searched]])
    pages = write_contact_sheets(clips, quarantined, checks, folder)
    shown = check_bytes(pages, needles)
    if not shown.passed:
        for page in pages:
            page.unlink()
    require([shown])
    write_audit(folder, checks, details)
    return checks
