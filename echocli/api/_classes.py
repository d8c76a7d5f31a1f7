"""Classes of clips: what a label column, or a rule on one, says of each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._normal import absent_from, normality
from echocli.clips.manifest import COLUMNS
from echocli.clips.record import word_of
from echocli.errors import EchoError, UsageError

Words = NDArray[np.object_]
"""Class of each row; ``None`` where it is unknown."""

MOST_NUMBERS = 20
"""Distinct numbers that may be classes; more are a measurement."""
ABNORMAL = "false"
"""Of the column ``normal``: what is looked for."""
SIGNS = ("<", ">", "=")


def class_words(table: pd.DataFrame, label: str) -> Words:
    """Return the class of each row.

    Args:
        table: Rows with label columns.
        label: A column, or a rule such as ``ef_percent<50``, whose classes are true and false.

    Raises:
        UsageError: If there is no such column, or it is a measurement.
    """
    if any(sign in label for sign in SIGNS):
        if absent := absent_from(table, label):
            raise _no_column(table, absent[0])
        found = normality(table, label)
        flags = np.where(found.normal, "true", "false").astype(object)
        flags[~found.known] = None
        return flags
    if label not in table or label in COLUMNS.names:
        raise _no_column(table, label)
    column = table[label]
    known = column.notna().to_numpy()
    numbers = pd.api.types.is_float_dtype(column)
    if numbers and column.nunique() > MOST_NUMBERS:
        raise UsageError(
            f"The column {label} holds {column.nunique()} different numbers: a measurement, no "
            "classes.",
            f"Cut it by a rule: --label '{label}<{column.median():.3g}'.",
        )
    words = np.full(len(column), None, dtype=object)
    words[known] = [word_of(value) for value in column[known]]
    return words


def label_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of a table that are labels and of which something is known."""
    return [str(c) for c in table if c not in COLUMNS.names and table[c].notna().any()]


def choose_classes(words: Words, asked: Sequence[str], label: str) -> list[str]:
    """Return the classes to tell apart, in the order of the alphabet, or that of numbers.

    Args:
        words: Class of each row.
        asked: Those asked for; all there are if it is empty.
        label: What they are classes of.

    Raises:
        EchoError: If there are fewer than two.
        UsageError: If one that was asked for does not exist.
    """
    there = in_order({str(word) for word in words if word is not None})
    for name in asked:
        if name not in there:
            raise UsageError(
                f"No clip has {label} = {name}.", f"The classes are {', '.join(there)}."
            )
    chosen = in_order(asked) or there
    if len(chosen) < 2:
        what = f"{label} = {chosen[0]}" if chosen else f"no {label}"
        raise EchoError(
            f"Every clip has {what}: there are no two classes to tell apart.",
            "Bring clips of another class, with their labels: `echocli preprocess SOURCES "
            "--labels labels.csv`.",
        )
    return chosen


def in_order(names: Iterable[str]) -> list[str]:
    """Return names, each once: numbers by their size, all else by the alphabet."""
    once = sorted(set(names))
    return sorted(once, key=float) if are_numbers(once) else once


def are_numbers(names: Iterable[str]) -> bool:
    """Return whether all names are numbers, which have an order by themselves."""
    try:
        return all(math.isfinite(float(name)) for name in names)
    except ValueError:
        return False


def choose_positive(classes: Sequence[str], asked: str | None, label: str) -> str | None:
    """Return the class that is looked for, of two; ``None`` of more, which are equals.

    Of the column ``normal`` it is abnormal, else the last in the alphabet.

    Raises:
        UsageError: If the class that was asked for does not exist, or there are more than two.
    """
    if asked is not None and asked not in classes:
        raise UsageError(
            f"--positive {asked} is no class of {label}.",
            f"The classes are {', '.join(classes)}.",
        )
    if len(classes) > 2:
        if asked is not None:
            raise UsageError(
                f"{label} has {len(classes)} classes; none of them is the positive one.",
                f"Leave --positive out, or choose two: --classes {classes[0]},{classes[1]}.",
            )
        return None
    abnormal = label == "normal" and ABNORMAL in classes
    return asked or (ABNORMAL if abnormal else classes[-1])


@dataclass(frozen=True)
class Classes:
    """What is told apart."""

    label: str
    """Column or rule."""
    names: tuple[str, ...]
    positive: int | None
    """Number of the class that is looked for, of two."""
    ordered: bool = False
    """Whether somebody said that they stand in this order, from the least to the most."""

    @property
    def order(self) -> list[int]:
        """Numbers of the classes from the least to the most; none if they have no order."""
        if self.ordered:
            return list(range(len(self.names)))
        if not are_numbers(self.names):
            return []
        return sorted(range(len(self.names)), key=lambda code: float(self.names[code]))

    @classmethod
    def choose(
        cls,
        table: pd.DataFrame,
        label: str,
        asked: Sequence[str],
        positive: str | None,
        *,
        ordered: bool = False,
    ) -> Classes:
        """Return the classes of a table that shall be told apart.

        Args:
            table: Rows with label columns.
            label: Column or rule.
            asked: Classes; all if it is empty.
            positive: The one looked for.
            ordered: Whether they are asked for in an order, from the least to the most.

        Raises:
            UsageError: If there is no such label or class.
            EchoError: If there are not two.
        """
        names = choose_classes(class_words(table, label), asked, label)
        if ordered:
            names = list(dict.fromkeys(asked))
        wanted = choose_positive(names, positive, label)
        number = None if wanted is None else names.index(wanted)
        return cls(label, tuple(names), number, ordered)

    @classmethod
    def from_config(cls, head: Mapping[str, Any]) -> Classes:
        """Return those of a saved head."""
        names = tuple(head["classes"])
        wanted = head["positive"]
        number = None if wanted is None else names.index(wanted)
        return cls(head["label"], names, number, head.get("ordered", False))

    def as_json(self) -> dict[str, Any]:
        """Return what ``from_config`` needs."""
        wanted = None if self.positive is None else self.names[self.positive]
        told = {"label": self.label, "classes": list(self.names), "positive": wanted}
        return told | ({"ordered": True} if self.ordered else {})

    def codes(self, words: Words) -> NDArray[np.int64]:
        """Return the number of each row's class; -1 where it is unknown or none of these."""
        number = {name: code for code, name in enumerate(self.names)}
        return np.array([number.get(word, -1) for word in words], dtype=np.int64)

    def counts(self, codes: NDArray[np.int64]) -> dict[str, int]:
        """Return how many rows are of each class."""
        return {name: int((codes == code).sum()) for code, name in enumerate(self.names)}


def known_words(table: pd.DataFrame, label: str) -> Words:
    """Return the class of each row, unknown where the table has no such label."""
    try:
        return class_words(table, label)
    except UsageError:
        return np.full(len(table), None, dtype=object)


def check_training(
    codes: NDArray[np.int64], patients: pd.Series, classes: Classes, least: int = 2
) -> None:
    """Refuse classes of which too few training patients are known.

    Args:
        codes: Class of each training clip.
        patients: Its patient.
        classes: What is told apart.
        least: Patients of each class, so that one can be left out and one stays.

    Raises:
        EchoError: If a class has fewer.
    """
    for code, name in enumerate(classes.names):
        count = patients[codes == code].nunique()
        if count < least:
            rest = [other for other in classes.names if other != name]
            remedy = "Label more patients and run `echocli preprocess` again"
            remedy += (
                f", or leave it out: --classes {','.join(rest)}." if len(rest) > 1 else "."
            )
            raise EchoError(
                f"{count} patient(s) with {classes.label} = {name} are in the training split; "
                f"at least {least} are needed.",
                remedy,
            )


def _no_column(table: pd.DataFrame, label: str) -> UsageError:
    there = [name for name in label_columns(table) if name != "split"]
    if not there:
        return UsageError(
            f"There is no label column {label}: these clips have no labels.",
            "Give a table: `echocli preprocess SOURCES --labels labels.csv --overwrite`.",
        )
    near = get_close_matches(label, there, 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return UsageError(
        f"There is no label column {label}.",
        f"{hint}The clips have {', '.join(sorted(there))}.",
    )
