"""Tables: embeddings, scores and predictions, each compared with what stands beside it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echocli.api._verify.files import (
    Checked,
    check_sums,
    counted,
    files_below,
    trusted_json,
)
from echocli.errors import EchoError
from echocli.tables import IDS, IN_PLACE, POSITION, examine, key_of, open_embeddings

TABLES = {
    "echocli.score/1": ("score", "p_value"),
    "echocli.vote/1": ("share_abnormal",),
    "echocli.lvef/1": ("ef_percent",),
    "echocli.classify/1": ("p_*",),
}
"""Columns of each kind of table that hold a finite number in every row; ``*`` is any word."""
SCORE_AGAIN = "Make it again: `echocli score --anomaly` with --overwrite."
EMBED_AGAIN = "Make them again: `echocli embed` with --overwrite."
PREDICT_AGAIN = "Make them again: the same command with --overwrite."
SEGMENT_FILES = re.compile(
    r"(areas|curves|volumes)\.csv|(overlays|png)/[0-9A-Za-z_-]+\.png"
    r"|nifti/[0-9A-Za-z_-]+\.nii\.gz|mp4/[0-9A-Za-z_-]+\.mp4"
)


def check_embeddings(path: Path) -> Checked:
    """Check embeddings: every row has its ids and a finite vector that nobody has moved."""
    checked = Checked(path, "embeddings")
    try:
        stored = open_embeddings(path)
        examined = examine(stored)
    except EchoError:
        checked.add("it cannot be read", EMBED_AGAIN)
        return checked
    table = stored.table
    ids = IDS if key_of(table) == "clip_id" else ("patient_id", "source_sha256")
    missing = [name for name in ids if name not in table or table[name].isna().any()]
    if missing:
        checked.add(f"rows without {', '.join(missing)}", EMBED_AGAIN)
        return checked
    places = [name for name in (key_of(table), *POSITION) if name in table]
    if table[places].duplicated().any():
        checked.add("a row stands there twice", EMBED_AGAIN)
    if examined.bad:
        checked.add("vectors that are no numbers, or zero", EMBED_AGAIN)
    if examined.whole is None:
        checked.add("it tells no hash of its rows, so that a moved row shows not", EMBED_AGAIN)
    elif not examined.whole:
        checked.add("its rows have changed since they were written", EMBED_AGAIN)
    checked.looked_at = f"{counted(len(table), 'row')}, {stored.width} numbers each"
    if "clip_id" in table:
        checked.ids = dict(zip(table["clip_id"], table["source_sha256"], strict=True))
    checked.rows = table
    checked.in_place = stored.metadata.get(IN_PLACE) is True
    return checked


def check_table(path: Path) -> Checked:
    """Check a table of results against the figures in the JSON file beside it."""
    checked = Checked(path, "table")
    beside = path.with_suffix(".json")
    summary = trusted_json(beside)
    again = SCORE_AGAIN if path.stem == "scores" else PREDICT_AGAIN
    if isinstance(summary, str):
        checked.add(summary, again)
        return checked
    only = re.compile(re.escape(path.name))
    for problem in check_sums(path.parent, summary.get("sha256"), only, quick=False):
        checked.add(problem, again)
    try:
        table = pd.read_csv(path, dtype={"clip_id": str, "patient_id": str})
    except (OSError, ValueError, pd.errors.ParserError):
        checked.add("it cannot be read", again)
        return checked
    for problem in _table_problems(table, summary):
        checked.add(problem, again)
    checked.looked_at = counted(len(table), "row")
    if "clip_id" in table:
        checked.ids = dict.fromkeys(table["clip_id"].dropna(), "")
    checked.rows, checked.figures = table, summary
    checked.in_place = summary.get(IN_PLACE) is True
    return checked


def _table_problems(table: pd.DataFrame, summary: dict[str, Any]) -> list[str]:
    found = []
    key = key_of(table)
    if key not in table or table[key].isna().any():
        return ["rows without an id"]
    if table[key].duplicated().any():
        found.append(f"a {key.removesuffix('_id')} stands there twice")
    if summary.get("n_rows", summary.get("n_clips")) != len(table):
        found.append("it has another number of rows than the figures beside it tell")
    schema = summary.get("schema")
    for name in TABLES.get(schema, ()) if isinstance(schema, str) else ():
        columns = [str(column) for column in table if fnmatchcase(str(column), name)]
        # As floats: columns of a table that was cut to its header have no kind.
        values = table[columns].apply(pd.to_numeric, errors="coerce").astype(np.float64)
        if not columns or not np.isfinite(values).all(axis=None):
            found.append(f"{name} is not a number in every row")
    return found


def check_segmentation(folder: Path, checked: Checked, *, quick: bool) -> None:
    """Check the tables and pictures beside masks that were predicted."""
    summary = trusted_json(folder / "segment.json")
    if isinstance(summary, str):
        checked.add(summary, PREDICT_AGAIN)
        return
    checked.in_place = summary.get(IN_PLACE) is True
    sums = summary.get("sha256")
    for problem in check_sums(folder, sums, SEGMENT_FILES, quick=quick):
        checked.add(problem, PREDICT_AGAIN)
    try:
        checked.rows = pd.read_csv(folder / "volumes.csv", dtype={"clip_id": str})
    except (OSError, ValueError):  # its hash has told
        checked.rows = None
    checked.figures = summary
    present = {name for name in files_below(folder) if SEGMENT_FILES.fullmatch(name)}
    extra = present - set(sums if isinstance(sums, dict) else ())
    if extra:
        checked.add(f"{counted(len(extra), 'file')} that belong to other masks", PREDICT_AGAIN)
