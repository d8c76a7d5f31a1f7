"""Somebody who is told what goes on, and remembers it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from echocli.console import Advance


class Ears:
    """A reporter that remembers every word."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.heard: list[str] = []
        """Both, in their order."""
        self.remarks: list[str] = []
        """What was shown beside bars."""

    def say(self, message: str) -> None:
        self.said.append(message)
        self.heard.append(message)

    def warn(self, message: str) -> None:
        self.warned.append(message)
        self.heard.append(message)

    @contextmanager
    def progress(self, description: str, total: int | None, done: int = 0) -> Iterator[Advance]:
        def advance(more: int, remark: str = "") -> None:
            self.remarks.append(remark)

        yield advance

    def heard_of(self, words: str) -> bool:
        """Return whether words were said or warned."""
        return any(words in message for message in self.heard)
