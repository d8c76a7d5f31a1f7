"""Reads the index files of data sets: CSV, and the first sheet of XLSX."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from echocli.errors import EchoError

LONGEST_HEADER = 1 << 16
MOST_XML_BYTES = 1 << 26
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"

Row = dict[str, str]


def has_columns(path: Path, columns: Iterable[str]) -> bool:
    """Return whether a file is a CSV table whose first line holds the columns."""
    if not os.path.isfile(path):  # opening a pipe would wait for ever
        return False
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            line = file.readline(LONGEST_HEADER)
        header = next(csv.reader([line], delimiter=delimiter(line)), [])
    except (OSError, csv.Error):
        return False
    return set(columns) <= {name.strip() for name in header}


def read_table(path: Path, columns: Iterable[str]) -> list[Row]:
    """Read a CSV table whose header must hold the columns.

    Raises:
        EchoError: If it cannot be read, or a column is missing.
    """
    try:
        text = path.read_text("utf-8-sig")
        parted = delimiter(text.partition("\n")[0])
        reader = csv.DictReader(
            io.StringIO(text, newline=""), skipinitialspace=True, delimiter=parted
        )
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        missing = sorted(set(columns) - set(reader.fieldnames))
        if missing:
            raise EchoError(
                f"{path.name} lacks the columns {', '.join(missing)}.",
                "Take the data set's own index file, unchanged.",
            )
        refuse_twice(reader.fieldnames, path.name)
        read = decimal_point if parted == ";" else str
        return [{name: read(cell) for name, cell in _tidy(row).items()} for row in reader]
    except UnicodeDecodeError:
        raise EchoError(
            f"{path.name} is not in UTF-8.",
            "Take the data set's own index file, unchanged; save your own anew, in Excel as "
            "`CSV UTF-8`: other letters than a to z would be lost.",
        ) from None
    except (OSError, csv.Error) as error:
        raise EchoError(
            f"{path.name} cannot be read as a table ({type(error).__name__}).",
            "Take the data set's own index file, unchanged, in UTF-8.",
        ) from None


def refuse_twice(header: Sequence[str], table: str) -> None:
    """Refuse a table of which two columns have one name.

    Args:
        header: Names of the columns.
        table: What messages call it.

    Raises:
        EchoError: If it is such a table; columns without a name do not count.
    """
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise EchoError(
            f"{table} has more than one column {twice[0]}.",
            "Keep one of them: which is meant, only you know.",
        )


def delimiter(header: str) -> str:
    """Return what parts the cells of a table: what its first line holds most of.

    Excel writes semicolons where the comma is the decimal sign; a name of a column may hold
    commas then.
    """
    return max((",", ";", "\t"), key=header.count)


def decimal_point(cell: str) -> str:
    """Return a cell of a table parted by semicolons, a number in it with a point."""
    return cell.replace(",", ".") if re.fullmatch(r"-?\d+,\d+", cell.strip()) else cell


def composed(name: str) -> str:
    """Return a file's name as tables write it: macOS parts letters from their accents."""
    return unicodedata.normalize("NFC", name)


def _tidy(row: dict[str, str | None]) -> Row:
    # Cells beyond the header come under the key None.
    return {key: (value or "").strip() for key, value in row.items() if key is not None}


def number(text: str | None) -> float | None:
    """Return a number, or ``None`` where the table is empty or says something else."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def whole(text: str | None) -> int | None:
    """Return a whole number, or ``None`` where the table says something else."""
    value = number(text)
    return int(value) if value is not None and value == int(value) else None


def choose(text: str | None, words: dict[str, str]) -> str | None:
    """Return what a word of the table stands for, without regard to case, or ``None``."""
    return words.get((text or "").strip().lower())


SEXES = {"f": "F", "female": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}
SPLITS = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}


def read_sheet(path: Path) -> list[Row]:
    """Read a table of a data set that comes as CSV or as XLSX, whichever the file is.

    Of a workbook, the first sheet is read, as text.

    Raises:
        EchoError: If it cannot be read.
    """
    if path.suffix.lower() == ".csv":
        return read_table(path, ())
    try:
        with zipfile.ZipFile(path) as book:
            texts = list(_shared_texts(book))
            sheet = ElementTree.fromstring(_part(book, "xl/worksheets/sheet1.xml"))
        rows = [_cells(row, texts) for row in sheet.iter(f"{_MAIN}row")]
    except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise _no_sheet(path, error) from None
    except (ElementTree.ParseError, NotImplementedError, RuntimeError, EOFError) as error:
        raise _no_sheet(path, error) from None
    header, *body = rows or [{}]
    names = {place: text for place, text in header.items() if text}
    return [{name: row.get(place, "") for place, name in names.items()} for row in body if row]


def _no_sheet(path: Path, error: Exception) -> EchoError:
    return EchoError(
        f"{path.name} cannot be read as a workbook ({type(error).__name__}).",
        f"Save its first sheet as {path.stem}.csv beside it, in UTF-8.",
    )


def _part(book: zipfile.ZipFile, name: str) -> bytes:
    if book.getinfo(name).file_size > MOST_XML_BYTES:
        raise ValueError(name)
    content = book.read(name)
    if b"<!DOCTYPE" in content:  # entities: no spreadsheet has them, but traps do
        raise ValueError(name)
    return content


def _shared_texts(book: zipfile.ZipFile) -> Iterator[str]:
    """Yield the texts that cells point to by number."""
    if "xl/sharedStrings.xml" in book.namelist():
        table = ElementTree.fromstring(_part(book, "xl/sharedStrings.xml"))
        for item in table.iter(f"{_MAIN}si"):
            yield "".join(text.text or "" for text in item.iter(f"{_MAIN}t"))


def _cells(row: ElementTree.Element, texts: list[str]) -> dict[str, str]:
    """Return the text of each cell by the letters of its column (ISO/IEC 29500 18.3.1.4)."""
    found = {}
    for cell in row.iter(f"{_MAIN}c"):
        if cell.get("t") == "inlineStr":
            text = "".join(part.text or "" for part in cell.iter(f"{_MAIN}t"))
        else:
            value = cell.find(f"{_MAIN}v")
            text = "" if value is None else value.text or ""
            text = texts[int(text)] if cell.get("t") == "s" and text else text
        column = re.match("[A-Z]+", cell.get("r", ""))
        if column and text.strip():
            found[column[0]] = text.strip()
    return found
