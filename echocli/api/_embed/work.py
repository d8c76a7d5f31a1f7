"""What is there already: rows of a table made before, and blocks that an interruption left."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from echocli.api._embed.rows import placed
from echocli.api._embed.units import BLOCK_BYTES, PIXELS, Units
from echocli.config import differences
from echocli.console import Reporter
from echocli.errors import EchoError, SpaceError, UsageError
from echocli.files import atomic_path, check_place, hidden_beside, read_json, write_json
from echocli.locks import locked
from echocli.table_formats import Rows, Stored
from echocli.tables import (
    POSITION,
    Embeddings,
    examine,
    open_embeddings,
    result_keys,
    write_embeddings,
)

SAVED_EVERY_S = 10.0
"""What the end of a process that nobody could foresee may cost; each save costs 0.007 s."""
REMEDY = "Add --overwrite to make it again, or choose another place with -o."


@dataclass(frozen=True)
class Kept:
    """A table some of whose rows are wanted again."""

    stored: Stored
    units: list[int]
    """Which of the wanted units stand there."""

    def rows(self, units: Units) -> Iterator[Rows]:
        """Yield the wanted rows, with ids and labels as they are now."""
        names = units.names
        place = {names[index]: index for index in self.units}
        positions = [n for n in (*POSITION, "frame", "time_s") if n in self.stored.table]
        start = 0
        for vectors in self.stored.batches():
            part = self.stored.table.iloc[start : start + len(vectors)]
            start += len(vectors)
            whose = part[units.key].astype(str).map(place)
            wanted = whose.notna().to_numpy()
            table = units.table.iloc[whose[wanted].astype(int)].reset_index(drop=True)
            columns = {name: part[name].to_numpy()[wanted] for name in positions}
            yield Rows(placed(table, columns), vectors[wanted])


def match(stored: Stored, units: Units, taken: set[int]) -> Kept:
    """Return which units a table holds, of the same pixels, that are not taken yet."""
    column = PIXELS if PIXELS in stored.table else "source_sha256"
    names = stored.table[units.key].astype(str)
    there = dict(zip(names, stored.table[column].astype(str), strict=True))
    now = units.table[column].astype(str)
    found = [
        index
        for index, (name, pixels) in enumerate(zip(units.names, now, strict=True))
        if there.get(name) == pixels and index not in taken
    ]
    return Kept(stored, found)


def open_before(out: Path, metadata: dict[str, Any], precision: str, key: str) -> Stored:
    """Return the table that stands at the output, if rows of it can be kept.

    Args:
        out: The file.
        metadata: That of the table that is wished for.
        precision: The precision that was asked for.
        key: The column that names units.

    Raises:
        UsageError: If something else stands there, or a table made otherwise or damaged.
    """
    try:
        stored = open_embeddings(out)
    except EchoError:
        raise UsageError(f"{out} already exists and holds no embeddings.", REMEDY) from None
    model = "model_sha256"
    if stored.metadata.get(model) != metadata.get(model):
        raise UsageError(f"{out} holds the embeddings of another model.", REMEDY)
    changed = differences(result_keys(stored.metadata), result_keys(metadata))
    made = stored.metadata.get("precision")
    if made and precision not in ("auto", made):
        changed.append(f'precision was "{made}", now "{precision}"')
    if changed:
        raise UsageError(f"{out} was made otherwise: {'; '.join(changed)}.", REMEDY)
    if key not in stored.table or examine(stored).whole is False:
        raise UsageError(f"The rows of {out} have changed since they were written.", REMEDY)
    return stored


class Work:
    """Blocks of rows beside the output, kept until all of it is there. A context manager.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._next = 1 + max((int(path.stem) for path in self._blocks()), default=0)
        self._held: list[Rows] = []
        self._metadata: dict[str, Any] = {}
        self._saved = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Write what is held, unless all went well: then nobody goes on from it."""
        if kind is not None:
            self._save()

    def kept(self) -> list[Stored]:
        """Open the blocks that are whole."""
        stored = [open_embeddings(path) for path in self._blocks()]
        return [block for block in stored if examine(block).whole]

    def add(self, rows: Rows, metadata: dict[str, Any]) -> None:
        """Keep a block: in memory, and now and then what is held on the disk."""
        self._held.append(rows)
        self._metadata = metadata
        large = sum(held.vectors.nbytes for held in self._held) >= BLOCK_BYTES
        if large or time.monotonic() - self._saved >= SAVED_EVERY_S:
            self._save()

    def _save(self) -> None:
        if not self._held:
            return
        table = pd.concat([rows.table for rows in self._held], ignore_index=True)
        vectors = np.concatenate([rows.vectors for rows in self._held])
        path = self.folder / f"{self._next}.parquet"
        write_embeddings(path, Embeddings(table, vectors, self._metadata))
        self._next += 1
        self._held.clear()
        self._saved = time.monotonic()

    def _blocks(self) -> Sequence[Path]:
        return sorted(self.folder.glob("[0-9]*.parquet"), key=lambda path: int(path.stem))


@contextmanager
def work_beside(out: Path, settings: dict[str, Any], reporter: Reporter) -> Iterator[Work]:
    """Yield what an interrupted run left, to go on from; it is gone when the block succeeds.

    After an error that the rows themselves may have caused nothing is kept.

    Args:
        out: The output.
        settings: What decides the rows; blocks made otherwise are thrown away.
        reporter: Is told of that.

    Raises:
        UsageError: If another process writes to the same output, or the system refuses.
    """
    check_place(out)
    folder = hidden_beside(out, "work")
    with locked(folder / "lock") as held:
        if not held:
            raise UsageError(
                f"Another process is writing {out}.", "Wait for it, or choose another place."
            )
        known = folder / "settings.json"
        if known.is_file() and read_json(known) != settings:
            reporter.say("an interrupted run with other settings left rows; they are not used")
            for path in folder.glob("*.parquet"):
                path.unlink()
        write_json(known, settings)
        try:
            with Work(folder) as work:
                yield work
        except SpaceError:
            raise
        except EchoError:
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


@contextmanager
def whole_file(out: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes the output, if what was written can be read back."""
    with atomic_path(out) as temporary:
        yield temporary
        if examine(open_embeddings(temporary)).whole is not True:
            raise EchoError(
                f"{out} does not read back as it was written.",
                "Nothing was kept. Try another disk; if it stays so, please report it.",
            )


def sources_of(units: Units, stored: Sequence[Stored]) -> tuple[list[Kept], list[int]]:
    """Return which units stand where already, and which nowhere."""
    taken: set[int] = set()
    kept = []
    for table in stored:
        found = match(table, units, taken)
        taken.update(found.units)
        kept += [found] if found.units else []
    return kept, np.setdiff1d(np.arange(len(units)), sorted(taken)).tolist()
