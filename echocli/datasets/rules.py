"""Named rules that say which clips are normal: two small expressions over label columns.

    normal:   ef_percent >= 55
    abnormal: ef_percent < 50

What is neither is left out and counted. The grammar, in full::

    either     = both { "or" both }
    both       = claim { "and" claim }
    claim      = "not" claim | "(" either ")" | side ( "<" "<=" ">" ">=" "==" "!=" ) side
    side       = number | 'text' | "text" | column

Texts are compared without regard to case, and only with == and !=. A comparison with a missing
value is unknown, and unknown runs through and, or, not as in Kleene's logic; a clip of which
nothing certain can be said is neither. Nothing is ever handed to Python's own parser.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

from echocli.clips.record import Label
from echocli.errors import UsageError

Row = Mapping[str, Label]
Claim = Callable[[Row], bool | None]

LONGEST = 1000
"""Characters of an expression, at most."""
DEEPEST = 50
"""Brackets and nots inside each other, at most."""

_WORD = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])"
    r"|(?P<column>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<sign><=|>=|==|!=|<|>|\(|\)))",
    re.ASCII,
)
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_EXAMPLE = "Write comparisons of columns, such as \"ef_percent >= 55 and sex == 'F'\"."


@dataclass(frozen=True)
class NormalRule:
    """Which clips are normal, and which abnormal; all others are left out."""

    name: str
    """What the rule is called in output and reports."""
    normal: str
    """Expression that holds for normal clips."""
    abnormal: str = ""
    """Expression that holds for abnormal clips; if empty, those certainly not normal."""
    note: str = ""
    """Where the rule comes from."""

    def __post_init__(self) -> None:
        parse(self.normal)
        parse(self.abnormal or self.normal)

    def label(self, labels: Row) -> bool | None:
        """Return whether a clip is normal, or ``None`` if it is neither, both or unknown."""
        normal = parse(self.normal).holds(labels)
        if not self.abnormal:
            return normal
        abnormal = parse(self.abnormal).holds(labels)
        if normal and not abnormal:
            return True
        return False if abnormal and not normal else None

    def columns(self) -> tuple[str, ...]:
        """Return the label columns that the rule looks at, in order."""
        named = parse(self.normal).columns + parse(self.abnormal or self.normal).columns
        return tuple(dict.fromkeys(named))

    def check_columns(self, known: Iterable[str]) -> None:
        """Refuse a rule that looks at a column which cannot be there.

        Args:
            known: Names of the label columns.

        Raises:
            UsageError: With the nearest name, if there is one.
        """
        known = sorted(known)
        for column in self.columns():
            if column not in known:
                near = difflib.get_close_matches(column, known, n=1)
                raise UsageError(
                    f"The rule looks at `{column}`, which is no label column.",
                    f"Did you mean `{near[0]}`?"
                    if near
                    else f"Put texts in quotes. Columns are {', '.join(known)}.",
                )


@dataclass(frozen=True)
class Expression:
    """A parsed expression."""

    holds: Claim
    """Whether it holds for a row of labels; ``None`` if that is unknown."""
    columns: tuple[str, ...]


@cache
def parse(text: str) -> Expression:
    """Parse an expression; the module's docstring has the grammar.

    Raises:
        UsageError: With the place, if it does not follow the grammar.
    """
    if len(text) > LONGEST:
        raise UsageError(f"A rule is longer than {LONGEST} characters.", _EXAMPLE)
    parser = _Parser(text)
    holds = parser.either()
    parser.finish()
    return Expression(holds, tuple(dict.fromkeys(parser.columns)))


class _Parser:
    """Reads an expression from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.columns: list[str] = []
        self.depth = 0
        self.words = list(self._split())
        self.at = 0

    def _split(self) -> Iterable[tuple[str, str, int]]:
        start, end = 0, len(self.text.rstrip())
        while start < end:
            found = _WORD.match(self.text, start)
            if found is None:
                start += len(self.text[start:]) - len(self.text[start:].lstrip())
                self._refuse(start, "this is no number, column, text or comparison")
            kind = str(found.lastgroup)
            yield kind, found[kind], found.start(kind)
            start = found.end()

    def _refuse(self, place: int, problem: str) -> NoReturn:
        raise UsageError(f"At character {place + 1} of a rule: {problem}.", _EXAMPLE)

    def _next(self) -> tuple[str, str, int]:
        return self.words[self.at] if self.at < len(self.words) else ("end", "", len(self.text))

    def _accept(self, word: str) -> bool:
        kind, found, _ = self._next()
        accepted = kind in ("column", "sign") and found == word
        self.at += accepted
        return accepted

    def finish(self) -> None:
        """Refuse whatever is left over."""
        kind, word, place = self._next()
        if kind != "end":
            chained = word in _ORDER
            self._refuse(
                place,
                "only two sides can be compared; join comparisons with `and`"
                if chained
                else "`and`, `or` or the end was expected",
            )

    def either(self) -> Claim:
        claims = [self.both()]
        while self._accept("or"):
            claims.append(self.both())
        return _joined(claims, True)

    def both(self) -> Claim:
        claims = [self.claim()]
        while self._accept("and"):
            claims.append(self.claim())
        return _joined(claims, False)

    def claim(self) -> Claim:
        self.depth += 1
        if self.depth > DEEPEST:
            self._refuse(
                self._next()[2], f"more than {DEEPEST} brackets stand inside each other"
            )
        claim = self._claim()
        self.depth -= 1
        return claim

    def _claim(self) -> Claim:
        if self._accept("not"):
            inner = self.claim()
            return lambda row: None if (held := inner(row)) is None else not held
        if self._accept("("):
            inner = self.either()
            if not self._accept(")"):
                self._refuse(self._next()[2], "a closing bracket was expected")
            return inner
        left = self._side()
        kind, sign, place = self._next()
        if kind != "sign" or sign not in _ORDER:
            self._refuse(place, "a comparison such as >= or == was expected")
        self.at += 1
        return _comparison(left, sign, self._side())

    def _side(self) -> Callable[[Row], Label]:
        kind, word, place = self._next()
        self.at += 1
        if kind == "number":
            number = float(word)
            return lambda row: number
        if kind == "text":
            text = word[1:-1]
            return lambda row: text
        if kind == "column" and word not in ("and", "or", "not"):
            self.columns.append(word)
            return lambda row: row.get(word)
        self._refuse(place, "a column, a number or a text in quotes was expected")


def _joined(claims: list[Claim], enough: bool) -> Claim:
    """Join by `or` (one true is enough) or by `and` (one false is)."""
    if len(claims) == 1:
        return claims[0]

    def holds(row: Row) -> bool | None:
        found = [claim(row) for claim in claims]
        if enough in found:
            return enough
        return None if None in found else not enough

    return holds


def _comparison(
    left: Callable[[Row], Label], sign: str, right: Callable[[Row], Label]
) -> Claim:
    def holds(row: Row) -> bool | None:
        one, other = left(row), right(row)
        if _missing(one) or _missing(other):
            return None
        if isinstance(one, str) or isinstance(other, str):
            if sign not in ("==", "!="):
                return None  # a text is no quantity
            same = str(one).casefold() == str(other).casefold()
            return same == (sign == "==")
        return _ORDER[sign](one, other)  # type: ignore[arg-type]  # missing is ruled out

    return holds


def _missing(value: Label) -> bool:
    return value is None or value == "" or value != value
