"""What every check of an output needs: findings, and JSON read with suspicion."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from echocli.files import LITTER, read_json, sha256_of

LARGEST_JSON = 256 << 20
"""No JSON file of ours is larger; a larger one is not read."""
COPY_AGAIN = "Copy the whole folder again from where it is whole."
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with an output."""

    found: str
    remedy: str


@dataclass
class Checked:
    """One output that was looked at."""

    path: Path
    kind: str
    """``clip set``, ``run``, ``model``, ``head``, ``embeddings``, ``table``, ``export``."""
    looked_at: str = ""
    """How much was looked at, for people."""
    problems: list[Problem] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict, repr=False)
    """Hash of the source of each clip, where the output tells it."""
    in_place: bool = False
    """Whether it says that its clips were read from files, and are in no clip set."""
    rows: pd.DataFrame | None = field(default=None, repr=False)
    """Its table, where rows may carry labels."""
    figures: dict[str, Any] | None = field(default=None, repr=False)
    """What stands beside the table; embeddings have nothing."""

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, found: str, remedy: str = COPY_AGAIN) -> None:
        """Note a problem."""
        self.problems.append(Problem(found, remedy))


def trusted_json(path: Path) -> dict[str, Any] | str:
    """Read a JSON object, or return what is wrong with it."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            return f"{path.name}: far larger than anything that echocli writes"
        content = read_json(path)
    except FileNotFoundError:
        return f"{path.name}: missing"
    except OSError:
        return f"{path.name}: cannot be read"
    except ValueError:
        return f"{path.name}: no JSON"
    return content if isinstance(content, dict) else f"{path.name}: no JSON object"


def text_of(record: Mapping[str, Any], name: str) -> str:
    """Return a text of a record, empty if it is something else."""
    value = record.get(name)
    return value if isinstance(value, str) else ""


def check_sums(
    folder: Path, sums: object, pattern: re.Pattern[str], *, quick: bool
) -> Iterator[str]:
    """Yield what does not agree with the noted hashes.

    Args:
        folder: Where the files lie.
        sums: Hash by name, as it was read from a file that may have been tampered with.
        pattern: What a name looks like; another one is not opened.
        quick: Look only whether the files are there.
    """
    if not isinstance(sums, dict) or not sums:
        yield "no hashes were noted when it was written"
        return
    for name, expected in sums.items():
        if not pattern.fullmatch(name) or not isinstance(expected, str):
            yield "the list of hashes names a file that cannot belong here"
            continue
        path = folder / name
        if not path.is_file():
            yield f"{name}: missing"
        elif not SHA256.fullmatch(expected) or (not quick and sha256_of(path) != expected):
            yield f"{name}: changed since it was written"


def files_below(folder: Path) -> Iterator[str]:
    """Yield the files below a folder, relative to it, without following links."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name not in LITTER:
                yield Path(parent, name).relative_to(folder).as_posix()


def counted(number: int, what: str) -> str:
    """Return ``1 clip``, ``2 clips``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def some(names: Iterable[str], most: int = 3) -> str:
    """Return the first names and how many more there are."""
    listed = sorted(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def as_document(checked: Checked) -> dict[str, Any]:
    """Return a finding as JSON knows it."""
    problems = [{"found": p.found, "remedy": p.remedy} for p in checked.problems]
    return {
        "path": str(checked.path),
        "kind": checked.kind,
        "whole": checked.whole,
        "looked_at": checked.looked_at,
        "problems": problems,
    }


def parsed_lines(text: str) -> Iterator[Any]:
    """Yield the values of a file of JSON lines; ``None`` for a line that is none."""
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            yield None
