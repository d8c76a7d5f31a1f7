"""A plain folder of recordings with ``labels.csv`` beside them: anybody's own data set.

The table has a column ``file`` with the names of files in the same folder, with or without
their suffix, and any label columns that echocli knows (``ef_percent``, ``view``, ``split``,
``normal`` ...). A column ``patient`` says whose a recording is: videos and NIfTI files do not
tell it themselves, and DICOM files that went through an anonymiser may all tell the same. Files
that the table does not name are read without labels. Folders below are none of this: name the
table with ``--labels`` then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from echocli.datasets._tables import composed, has_columns, read_table
from echocli.datasets.base import DatasetItem, inside
from echocli.errors import EchoError
from echocli.intake.loop import CineLoop
from echocli.privacy.labels import clean_row

INDEX, FILE, PATIENT = "labels.csv", "file", "patient"
ROWS_TRIED = 50
"""Rows of which one must name a file that is there."""

RULE = None
EXPECTED: Mapping[str, int] = {}


def recognise(folder: Path) -> bool:
    """Return whether ``labels.csv`` lies in the folder and names a file in it, or is broken."""
    index = folder / INDEX
    if not has_columns(index, (FILE,)) or (folder / "phantom.json").exists():
        return False
    try:
        rows = read_table(index, (FILE,))
    except EchoError:  # whoever wrote it means it: reading it again tells what is wrong
        return True
    named = {composed(row[FILE].removeprefix("./")) for row in rows[:ROWS_TRIED]} - {""}
    with os.scandir(folder) as entries:
        names = (composed(entry.name) for entry in entries)
        return any({name, Path(name).stem} & named for name in names)


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    if has_columns(folder / INDEX, ("split",)):
        return "the column `split` of labels.csv, and by echocli's hash where that is empty"
    return "by echocli's hash of the patient"


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the files that the table names, in its order.

    Raises:
        EchoError: If a value is not what its column holds, or a row names no file's name or
            tells other things of a file than an earlier one.
    """
    told: dict[Path, tuple[str, object]] = {}
    files = [
        path
        for path in sorted(folder.iterdir(), reverse=True)
        if path.name != INDEX and not path.name.startswith(".")
    ]
    named = {composed(path.stem): path for path in files}
    named |= {composed(path.name): path for path in files}
    for row, facts in enumerate(read_table(folder / INDEX, (FILE,)), start=1):
        path = inside(folder, facts[FILE].removeprefix("./"), row)
        if not os.path.exists(path) and path.parent == folder:
            path = named.get(composed(path.name), path)
        patient = facts.get(PATIENT, "")
        labels = clean_row(facts, f"Row {row} of labels.csv")
        if told.setdefault(path, (patient, labels)) != (patient, labels):
            raise EchoError(
                f"Row {row} of labels.csv contradicts an earlier one about its file.",
                "Keep one row for each.",
            )
        yield DatasetItem(
            path=path, reader=read, row=row, facts={"patient": patient}, labels=labels
        )


def read(path: Path, patient: str) -> CineLoop:
    """Read one file as any user's.

    Args:
        path: The file.
        patient: Whose it is; what the file says if empty.
    """
    from echocli.intake.read import read_loop

    loop = read_loop(path)
    told, *_ = loop.patient_key.split("\n")  # its issuer may follow
    if patient in ("", told):
        return loop
    # What the file says is an identifier that the audit must know of.
    study = patient if told == loop.sha256 else f"{loop.study_key}\n{loop.patient_key}"
    return replace(loop, patient_key=patient, study_key=study)
