"""Reads single elements of a DICOM dataset; dirt in one of them never costs the file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date
from typing import Any

from echocli.intake.guard import FOREIGN_ERRORS


class Elements:
    """The elements of a dataset, each read as what it should be, or as absent.

    Headers hold ``--`` for a number, two values for one, 65425 for -111, a text where a number
    belongs. An element that cannot be read counts as absent: whether the file can do without it
    is decided where it is used.

    Args:
        dataset: A pydicom dataset.
    """

    def __init__(self, dataset: Any) -> None:  # noqa: ANN401
        self._dataset = dataset

    def drop_broken(self) -> None:
        """Remove the elements that cannot be read, so that no decoder meets them."""
        for tag in list(self._dataset.keys()):
            try:
                self._dataset[tag]
            except FOREIGN_ERRORS:
                del self._dataset[tag]

    def values(self, keyword: str) -> list[Any]:
        """Return the values of an element that may be absent, broken, single or several."""
        try:
            value = self._dataset.get(keyword)
        except FOREIGN_ERRORS:
            return []
        if value is None or value == "":
            return []
        if isinstance(value, str | bytes | int | float) or not isinstance(value, Iterable):
            return [value]
        return list(value)

    def text(self, keyword: str) -> str:
        """Return a text without blanks around it, empty if there is none."""
        values = self.values(keyword)
        return "\\".join(str(value) for value in values).strip(" \0\n\r\t")

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return the values as texts."""
        return tuple(str(value).strip() for value in self.values(keyword))

    def number(self, keyword: str) -> float | None:
        """Return the first value as a finite number, or ``None``."""
        values = self.values(keyword)
        return _number(values[0]) if values else None

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return all values as finite numbers; empty if one of them is none."""
        found = [_number(value) for value in self.values(keyword)]
        kept = tuple(value for value in found if value is not None)
        return kept if len(kept) == len(found) else ()

    def integer(self, keyword: str, absent: int = 0) -> int:
        """Return the first value as an integer, or ``absent`` if there is no value at all.

        A value that is there but is no whole number gives 0, which no size or count may be.
        """
        values = self.values(keyword)
        if not values:
            return absent
        number = _number(values[0])
        return int(number) if number is not None and number == int(number) else 0

    def date(self, *keywords: str) -> str:
        """Return the first true date as ``YYYYMMDD``, or an empty text.

        Dates of the older form ``1994.01.30`` are read, too (PS3.5 6.2, VR DA).
        """
        for keyword in keywords:
            text = self.text(keyword).replace(".", "")
            try:
                if len(text) == 8 and text.isascii() and text.isdigit():
                    return date(int(text[:4]), int(text[4:6]), int(text[6:])).strftime("%Y%m%d")
            except ValueError:
                continue
        return ""

    def items(self, keyword: str) -> list[Elements]:
        """Return the items of a sequence."""
        return [Elements(item) for item in self.values(keyword) if hasattr(item, "get")]


def _number(value: Any) -> float | None:  # noqa: ANN401
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
