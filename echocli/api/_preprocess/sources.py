"""What the user named, as a list of tasks in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from echocli.api._preprocess.clip import Task
from echocli.api._verify.clips import COPY, OWN, PART
from echocli.clips.store import PACKED, ClipSet
from echocli.datasets import base, labelled_folder
from echocli.datasets.base import DatasetItem
from echocli.datasets.rules import NormalRule
from echocli.errors import EchoError, UsageError
from echocli.intake.sources import is_passed_over

HIGHEST = 5
"""Folders above a named one that are looked at: MIMIC's files lie four below their index."""


@dataclass(frozen=True)
class FoundDataset:
    """A known data set among the sources."""

    name: str
    rule: NormalRule | None
    """Which of its clips are normal; ``None`` if it says so itself, or nothing does."""
    counted: Mapping[str, int]
    """``clips``, ``patients``, and clips by split, view and diagnosis, as its index lists."""
    expected: Mapping[str, int]
    """What its authors published, by the same words; empty if only a part was named."""
    split: str
    """What its column ``split`` means, in a sentence."""

    def differences(self) -> list[str]:
        """Return where the counts differ from the published ones, in words."""
        return [
            f"{self.counted.get(word, 0)} {word}, published {number}"
            for word, number in self.expected.items()
            if self.counted.get(word, 0) != number
        ]


@dataclass(frozen=True)
class Found:
    """All that the sources hold."""

    tasks: list[Task]
    datasets: list[FoundDataset]
    unread_tables: int = 0
    """Tables of labels in the folders that name no file beside them."""
    passed_over: int = 0
    """Files in the folders that are no sources by their names, and links."""


def find_tasks(sources: Sequence[Path], *, apart_from: Path, stills: bool = False) -> Found:
    """Return one task for each loop that the sources may hold.

    The root of a known data set is found wherever it lies in a named folder, and when only a
    part of it is named; then labels and splits come from its index. All else is taken file by
    file. A folder that cannot be opened is a task as well, so that it ends with a reason.

    Args:
        sources: Files and folders.
        apart_from: A folder whose files are no sources: the output. Nor are other clip sets.
        stills: Whether pictures of data sets without loops shall be read.

    Raises:
        EchoError: If a path does not exist or is a clip set, an index is broken, or there is
            nothing.
        UsageError: If a path lies in the output, which may be replaced.
    """
    search = _Search(apart_from, stills)
    for number, source in enumerate(sources, start=1):
        if not os.path.lexists(source):
            raise EchoError(
                f"Path {number} of {len(sources)} does not exist.",
                "Check the spelling, and that the disk or share is mounted.",
            )
        search.add(source, f"Path {number} of {len(sources)}")
    if not search.files:
        raise EchoError(
            "There is no file in the sources.", "Name files or folders that hold some."
        )
    tasks = [
        Task(number, path, item, place)
        for number, (path, item, place) in enumerate(search.files.values(), start=1)
    ]
    return Found(tasks, list(search.datasets()), search.unread_tables, search.passed_over)


class _Search:
    """Gathers files, each once."""

    def __init__(self, output: Path, stills: bool) -> None:
        self.output = os.path.realpath(output)
        self.apart_from = os.path.abspath(output)
        self.stills = stills
        self.files: dict[str, tuple[Path, DatasetItem | None, str]] = {}
        """Path, how to read it, and place below what was named, by absolute path."""
        self.unread_tables = self.passed_over = 0
        self._above: dict[str, str | None] = {}
        self._real: dict[str, str] = {}
        self._sets: dict[Path, bool] = {}
        self._items: dict[str, dict[str, DatasetItem]] = {}

    def add(self, source: Path, called: str) -> None:
        """Add a file, or what lies in a folder."""
        absolute = os.path.abspath(source)
        if source.is_dir():
            self._refuse_sets(source, called)
            if not self._add_part(absolute):
                self._walk(source)
            return
        if self._is_of_a_set(source):  # a list of all files names them, too
            self.passed_over += 1
            return
        self._refuse_output(os.path.dirname(absolute), called)
        root = self._root_above(os.path.dirname(absolute))
        item = self._items_of(root).get(absolute) if root else None
        self._put(absolute, source, item, source.name)

    def _refuse_sets(self, folder: Path, called: str) -> None:
        self._refuse_output(os.path.abspath(folder), called)
        if ClipSet.is_one(folder):
            raise EchoError(
                f"{called} is a clip set: its clips are made already.",
                "Name what it was made of; all other commands read the clip set as it is.",
            )

    def _refuse_output(self, folder: str, called: str) -> None:
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        real = self._real[folder]
        if real == self.output or real.startswith(os.path.join(self.output, "")):
            raise UsageError(
                f"{called} lies in the output, which belongs to the clip set alone.",
                "Move the sources elsewhere, or choose another place with -o.",
            )

    def _is_of_a_set(self, file: Path) -> bool:
        """Return whether a clip set has a file; copies are sources where they are named."""
        for folder in (file.parent, file.parent.parent):
            if folder not in self._sets:
                self._sets[folder] = ClipSet.is_one(folder)
            if self._sets[folder]:
                forms = [PART, PACKED, OWN]
                if os.path.realpath(folder) == self.output:
                    forms.append(COPY)
                name = file.relative_to(folder).as_posix()
                return any(form.fullmatch(name) for form in forms)
        return False

    def datasets(self) -> Iterator[FoundDataset]:
        """Yield the data sets of which something was added, with what was counted of it."""
        for root, items in self._items.items():
            used = [item for key, item in items.items() if self._uses(key)]
            name = base.recognise(Path(root))
            if used and name:
                module = base.load(name)
                yield FoundDataset(
                    name=name,
                    rule=module.RULE,
                    counted=base.count(used),
                    expected=module.EXPECTED if len(used) == len(items) else {},
                    split=module.how_split(Path(root)),
                )

    def _uses(self, key: str) -> bool:
        return key in self.files and self.files[key][1] is not None

    def _put(self, key: str, path: Path, item: DatasetItem | None, place: str) -> None:
        if item is not None or key not in self.files:
            self.files[key] = (path, item, place)

    def _add_part(self, folder: str) -> bool:
        """Add what a data set holds of a folder that is its root or lies in it, if anything."""
        root = self._root_above(folder)
        inside = os.path.join(folder, "")
        part = [key for key in self._items_of(root) if key.startswith(inside)] if root else []
        for key in part:
            item = self._items[str(root)][key]
            self._put(key, item.path, item, key.removeprefix(inside))
        return bool(part) and not self._is_open(str(root))

    def _is_open(self, root: str) -> bool:
        """Return whether a data set may have files that its index does not name."""
        return base.recognise(Path(root)) == "labelled_folder"

    def _walk(self, source: Path) -> None:
        plain: list[Path] = []
        for folder, names in self._folders(source, plain):
            found = [folder / name for name in names if name != labelled_folder.INDEX]
            taken = [path for path in found if not is_passed_over(path)]
            self.passed_over += len(found) - len(taken)
            plain += taken
        for path in sorted(plain):
            self._put(os.path.abspath(path), path, None, os.path.relpath(path, source))

    def _folders(self, source: Path, shut: list[Path]) -> Iterator[tuple[Path, list[str]]]:
        """Yield the folders with the files that are in no data set; add those that are.

        Neither links nor clip sets are entered.

        Args:
            source: Where to begin.
            shut: Gets the folders that cannot be opened.
        """

        def note(error: OSError) -> None:
            shut.append(Path(error.filename))

        for parent, folders, names in os.walk(source, onerror=note):
            folder, absolute = Path(parent), os.path.abspath(parent)
            folders[:] = [name for name in sorted(folders) if self._is_entered(folder / name)]
            if base.recognise(folder):
                for key, item in self._items_of(absolute).items():
                    place = os.path.relpath(key, os.path.abspath(source))
                    self._put(key, item.path, item, place)
                if self._items_of(absolute) and not self._is_open(absolute):
                    folders.clear()
                    continue
            elif labelled_folder.INDEX in names:
                self.unread_tables += 1
            yield folder, names

    def _is_entered(self, folder: Path) -> bool:
        hidden = folder.name.startswith(".")
        output = os.path.abspath(folder) == self.apart_from
        return not (hidden or output or ClipSet.is_one(folder))

    def _root_above(self, folder: str) -> str | None:
        """Return the folder itself or the nearest above it that is a data set's root."""
        if folder not in self._above:
            places = [Path(folder), *Path(folder).parents][: HIGHEST + 1]
            root = next((place for place in places if base.recognise(place)), None)
            self._above[folder] = None if root is None else str(root)
        return self._above[folder]

    def _items_of(self, root: str) -> dict[str, DatasetItem]:
        if root not in self._items:
            items = (self._as_wished(item) for item in base.loops(Path(root)))
            self._items[root] = {os.path.abspath(item.path): item for item in items}
        return self._items[root]

    def _as_wished(self, item: DatasetItem) -> DatasetItem:
        if not (item.still and self.stills):
            return item
        return replace(item, facts={**item.facts, "stills": True})
