"""How far the making of a clip set is, and which source stands where.

Each process that writes to a set has one small file in ``state/``: process 2 of 4 has
``2-of-4.json``. It says whether that share is finished and lists its sources, by keyed hashes
alone: a source is known by its content, and by the place it was found at. Paths are not kept,
so nobody can look whether something still stands at an older place: content that is found at a
new place has left those that the same run does not name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from echocli.errors import EchoError
from echocli.files import DAMAGED, read_json, write_text

SCHEMA = "echocli.state/1"
STATE_FOLDER = "state"
SET_LOCK = "set.lock"
"""Held by whoever writes to a set: by one alone, or shared by those who divide the sources."""
FILES_LOCK = "files.lock"
"""Held for a moment by whoever writes a file that tells of all parts."""


class Found(NamedTuple):
    """What stands at a place."""

    position: int
    """Place in the list of sources, from 1."""
    source_id: str
    """Keyed hash of the content."""


@dataclass(frozen=True)
class State:
    """What one process has done, or will."""

    shard: int
    """Which share of the sources it takes, from 1."""
    of: int
    """Into how many shares the sources are divided."""
    finished: bool
    places: Mapping[str, Found] = field(default_factory=dict, repr=False)
    """What it found, by keyed hash of the path."""
    left: frozenset[str] = field(default=frozenset(), repr=False)
    """Places of which the content was found elsewhere since."""
    turn: int = 0
    """States are counted as they are written; of two that tell of a place, the later holds."""

    @property
    def name(self) -> str:
        """Name of the share, such as ``2-of-4``."""
        return f"{self.shard}-of-{self.of}"

    def write(self, folder: Path) -> None:
        """Write the state into a clip set."""
        content = {
            "schema": SCHEMA,
            "shard": self.shard,
            "of": self.of,
            "finished": self.finished,
            "places": {place: list(found) for place, found in self.places.items()},
            "left": sorted(self.left),
            "turn": self.turn,
        }
        write_text(state_file(folder, self.name), json.dumps(content) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a state back.

        Raises:
            EchoError: If it is damaged.
        """
        try:
            content = read_json(path)
            places = {place: Found(*found) for place, found in content["places"].items()}
            return cls(
                int(content["shard"]),
                int(content["of"]),
                content["finished"],
                places,
                frozenset(content.get("left", ())),
                int(content.get("turn", 0)),
            )
        except DAMAGED:
            raise EchoError(
                f"{path} cannot be read: it tells how far the clip set is.",
                "Copy the clip set again, or make it anew: `echocli preprocess --overwrite`.",
            ) from None


def state_file(folder: Path, name: str) -> Path:
    """Return where a share keeps its state."""
    return folder / STATE_FOLDER / f"{name}.json"


def read_states(folder: Path) -> list[State]:
    """Return the states of all processes that ever wrote to a set, as they were written."""
    named = re.compile(r"[0-9]+-of-[0-9]+\.json")
    states = []
    for path in (folder / STATE_FOLDER).glob("*.json"):
        if named.fullmatch(path.name):
            with suppress(FileNotFoundError):  # another process has just taken it over
                states.append(State.read(path))
    return sorted(states, key=lambda state: (state.turn, state.of, state.shard))


def last_found(states: Iterable[State]) -> dict[str, Found | None]:
    """Return what was last found at each place; ``None`` where it has left.

    Args:
        states: As they were written.
    """
    known: dict[str, Found | None] = {}
    for state in states:
        known |= state.places
        known |= dict.fromkeys(state.left)
    return known


def unfinished(folder: Path) -> list[str]:
    """Say which shares of a set are still to be done; nothing if it is finished."""
    states = {(state.shard, state.of): state for state in read_states(folder)}
    told = []
    for shares in sorted({of for _, of in states}):
        for shard in range(1, shares + 1):
            state = states.get((shard, shares))
            if state is not None and state.finished:
                continue
            what = "has not begun" if state is None else "is not finished"
            told.append(
                f"share {shard} of {shares} {what}" if shares > 1 else "it is not finished"
            )
    return told
