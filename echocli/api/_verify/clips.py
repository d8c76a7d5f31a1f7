"""A clip set: is it whole, is every row what it says, is there nothing else in the folder?"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from echocli.api._preprocess.quarantine import read_quarantine
from echocli.api._verify.files import (
    Checked,
    check_sums,
    counted,
    files_below,
    some,
    trusted_json,
)
from echocli.api._verify.rows import (
    overlaps,
    places,
    row_problems,
    schema_problems,
    sizes_of,
    unused_bytes,
)
from echocli.clips.manifest import COLUMNS, METADATA_KEY, joined
from echocli.clips.manifest import SCHEMA as MANIFEST_SCHEMA
from echocli.clips.store import PACKED, ClipSet
from echocli.errors import EchoError
from echocli.files import DAMAGED, opened_by_name
from echocli.privacy.audit import AUDIT_FILE, QUARANTINE_FILE
from echocli.privacy.audit import SCHEMA as AUDIT_SCHEMA

ROWS_AT_ONCE = 1024
LARGEST_MANIFEST = 4 << 30
"""Bytes that a part of a manifest may take in memory: a million clips need less."""
PART = re.compile(r"manifest/part-[0-9A-Za-z_-]+\.(parquet|json)")
AUDITED = re.compile(r"manifest/part-[0-9A-Za-z_-]+\.json|settings\.json")
"""What the audit notes the hashes of."""
COPY = re.compile(r"dicom/[0-9A-Za-z_-]+\.dcm")
LISTED = re.compile("|".join(form.pattern for form in (PART, PACKED, COPY)))
"""What a part may list in its hashes."""
OWN = re.compile(
    rf"{re.escape(AUDIT_FILE)}|{re.escape(QUARANTINE_FILE)}|audit(-[0-9]+)?\.html|settings\.json"
    r"|state/[0-9A-Za-z_-]+\.(json|lock)|(state/)?\.[0-9A-Za-z_-]*lock"
)
"""Files of a clip set that belong to no part."""

AGAIN = "Copy the whole folder again, or make it again: `echocli preprocess` with --overwrite."
GO_ON = "Run the same `echocli preprocess` command again: it goes on where it stopped."
REMOVE = "Move what is not the clip set's own out of its folder."


def check_clips(folder: Path, *, quick: bool) -> Checked:
    """Check a clip set.

    Args:
        folder: The clip set.
        quick: Compare sizes, but hash nothing.
    """
    checked = Checked(folder, "clip set")
    files = set(files_below(folder))
    others = sum(not (folder / name).is_file() for name in files)
    if others:  # whoever opens a pipe waits without end
        checked.add(f"{counted(others, 'pipe, device or dead link')} among the files", REMOVE)
        return checked
    listed = _check_sums(folder, files, checked)
    rows, kind = _read_rows(folder, files, checked)
    if rows.num_rows:
        _check_rows(folder, rows, files, checked)
    if not checked.problems:
        checked.looked_at = f"{counted(rows.num_rows, 'clip')}, {counted(len(files), 'file')}"
        ids = (rows[name].to_pylist() for name in ("clip_id", "source_sha256"))
        checked.ids = dict(zip(*ids, strict=True))
    if not quick:
        _check_bytes(folder, files, checked)
    _check_extra(files, listed, kind, checked)
    if kind == "clips":
        _check_papers(folder, rows.num_rows, files, checked)
        _check_finished(folder, checked)
    return checked


def _check_sums(folder: Path, files: set[str], checked: Checked) -> set[str]:
    """Compare the files with the lists of the parts; return the names that are listed."""
    listed: set[str] = set()
    stems = sorted({name.rpartition(".")[0] for name in files if PART.fullmatch(name)})
    for stem in stems:
        sums = trusted_json(folder / f"{stem}.json")
        if isinstance(sums, str):
            checked.add(f"the list of hashes of {stem} cannot be used: {sums}", AGAIN)
        elif f"{stem}.parquet" not in files:
            checked.add(f"{stem} was never finished", GO_ON)
            listed |= {name for name in sums.get("sha256", ()) if LISTED.fullmatch(name)}
        else:
            found = sums.get("sha256")
            for problem in check_sums(folder, found, LISTED, quick=True):
                checked.add(problem, AGAIN)
            if isinstance(found, dict):
                listed |= set(found)
                if f"{stem}.parquet" not in found:
                    checked.add(f"{stem}.parquet: its hash is missing", AGAIN)
        listed.add(f"{stem}.json")
    return listed


def _read_rows(folder: Path, files: set[str], checked: Checked) -> tuple[pa.Table, str]:
    """Return the rows of all parts that can be trusted so far, and what the set holds."""
    tables, kinds = [], set()
    for name in sorted(name for name in files if PART.fullmatch(name)):
        if not name.endswith(".parquet"):
            continue
        try:
            file = pq.ParquetFile(opened_by_name(folder / name))
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            if sum(group.total_byte_size for group in groups) > LARGEST_MANIFEST:
                checked.add(f"{name}: far larger than a manifest", AGAIN)
                continue
            details = json.loads((file.schema_arrow.metadata or {}).get(METADATA_KEY, b"null"))
            wrong = list(schema_problems(file.schema_arrow))
            table = file.read()
        except (pa.ArrowException, OSError, *DAMAGED):
            checked.add(f"{name}: cannot be read", AGAIN)
            continue
        if not isinstance(details, dict) or details.get("schema") != MANIFEST_SCHEMA:
            checked.add(f"{name}: not of the kind {MANIFEST_SCHEMA}", AGAIN)
            continue
        kinds.add(str(details.get("kind")))
        for problem in wrong:
            checked.add(f"{name}: {problem}", AGAIN)
        if not wrong:
            tables.append(table)
    if len(kinds) > 1 or not kinds <= {"clips", "masks"}:
        checked.add("its parts hold different things", AGAIN)
    if not tables:
        if not checked.problems:
            checked.add("there is no manifest", GO_ON)
        return pa.table({}), "clips"
    return joined(tables), min(kinds)


def _check_extra(files: set[str], listed: set[str], kind: str, checked: Checked) -> None:
    """Look for files that no part lists. Foreign names are not told: they may name people."""
    rest = files - listed
    orphans = {name for name in rest if LISTED.fullmatch(name)}
    if orphans:
        checked.add(f"no part knows {some(orphans)}", GO_ON)
    left = {name for name in rest if name.endswith(".tmp") or "/." in f"/{name}"}
    left = {name for name in left if not OWN.fullmatch(name)}
    if left:
        checked.add(f"{counted(len(left), 'file')} of a run that did not end", GO_ON)
    foreign = rest - orphans - left
    foreign = {name for name in foreign if not OWN.fullmatch(name)}
    if foreign and kind == "clips":
        checked.add(f"{counted(len(foreign), 'file')} that a clip set does not have", REMOVE)


def _check_finished(folder: Path, checked: Checked) -> None:
    """Say which shares of the sources are still to be done."""
    try:
        left = ClipSet(folder, pd.DataFrame(), "clips").unfinished()
    except (OSError, EchoError):
        checked.add("what is written about its progress cannot be read", GO_ON)
        return
    for share in left:
        checked.add(share, GO_ON)


def _check_papers(folder: Path, rows: int, files: set[str], checked: Checked) -> None:
    """Check the audit and the quarantine list."""
    audit = trusted_json(folder / AUDIT_FILE)
    if isinstance(audit, str):
        checked.add(f"the audit cannot be used: {audit}", GO_ON)
    elif audit.get("schema") != AUDIT_SCHEMA:
        checked.add(f"{AUDIT_FILE}: not of the kind {AUDIT_SCHEMA}", GO_ON)
    else:
        _check_audit(audit, rows, checked)
        sums = audit.get("sha256")
        for problem in check_sums(folder, sums, AUDITED, quick=False):
            checked.add(f"{AUDIT_FILE}: {problem}", GO_ON)
        parts = {name for name in files if PART.fullmatch(name) and name.endswith(".json")}
        if isinstance(sums, dict) and parts - set(sums):
            checked.add(f"{AUDIT_FILE}: it knows nothing of {some(parts - set(sums))}", GO_ON)
    try:
        read_quarantine(folder / QUARANTINE_FILE)
    except FileNotFoundError:
        checked.add(f"{QUARANTINE_FILE}: missing", GO_ON)
    except (OSError, EchoError):
        checked.add(f"{QUARANTINE_FILE}: cannot be read", GO_ON)


def _check_audit(audit: dict[str, Any], rows: int, checked: Checked) -> None:
    checks = audit.get("checks")
    if not isinstance(checks, list) or not all(isinstance(check, dict) for check in checks):
        checked.add(f"{AUDIT_FILE}: tells no checks", AGAIN)
        return
    if not checks or not all(check.get("passed") is True for check in checks):
        checked.add(f"{AUDIT_FILE}: a check did not pass", AGAIN)
    if rows not in (check.get("looked_at") for check in checks):
        checked.add(f"{AUDIT_FILE}: it is about other clips than these {rows}", GO_ON)


def _check_rows(folder: Path, rows: pa.Table, files: set[str], checked: Checked) -> None:
    packed = sizes_of(folder, sorted(name for name in files if PACKED.fullmatch(name)))
    known = [name for name in COLUMNS.names if name in rows.column_names]
    found: Counter[str] = Counter()
    for batch in rows.select(known).to_batches(max_chunksize=ROWS_AT_ONCE):
        for row in batch.to_pylist():
            found.update(row_problems(row, packed))
    for problem, count in found.items():
        checked.add(f"{counted(count, 'clip')}: {problem}", AGAIN)
    if found:
        return
    table = places(rows)
    frames = table.groupby("clip_id")["pixels_sha256"].nunique()
    for clip_id in frames.index[frames > 1]:
        checked.add(f"clip {clip_id} stands there twice, with different frames", AGAIN)
    for clip_id in overlaps(table):
        checked.add(f"clip {clip_id} shares frames with another clip", AGAIN)
    for name, count in unused_bytes(table, packed):
        checked.add(f"{name}: {counted(count, 'byte')} of no clip", AGAIN)


def _check_bytes(folder: Path, files: set[str], checked: Checked) -> None:
    """Read every byte and compare it with its hash."""
    if not checked.problems:
        # The clip set may check itself, now that nothing in it can lead astray.
        try:
            problems = ClipSet.open(folder).verify()
        except EchoError as error:
            checked.add(error.problem, error.remedy)
            return
    else:
        problems = []
        for name in sorted(name for name in files if PART.fullmatch(name)):
            sums = trusted_json(folder / name) if name.endswith(".json") else {}
            if isinstance(sums, dict) and "sha256" in sums:
                problems += check_sums(folder, sums["sha256"], LISTED, quick=False)
    known = {problem.found for problem in checked.problems}
    for problem in dict.fromkeys(problems):
        if problem not in known:
            checked.add(problem, AGAIN)
