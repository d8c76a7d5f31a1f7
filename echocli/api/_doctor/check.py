"""What a look at the machine consists of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. It names no user, no host and no folder."""

    name: str
    state: State
    found: str
    """What is there."""
    remedy: str = ""
    """The command or action that mends it; empty if nothing needs mending."""


def judged(name: str, found: str, remedy: str, *, good: bool) -> Check:
    """Return a check that is fine, or a warning with what mends it."""
    return Check(name, State.OK, found) if good else Check(name, State.WARN, found, remedy)
