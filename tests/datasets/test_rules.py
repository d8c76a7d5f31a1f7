from __future__ import annotations

import pickle
import random
from typing import Any

import pytest

from echocli.datasets.rules import DEEPEST, LONGEST, NormalRule, parse
from echocli.errors import UsageError
from echocli.privacy.labels import COLUMNS

VALUES = {"a": 1.5, "b": -2, "c": 0.0, "d": None, "e": float("nan"), "s": "Good", "t": "bad"}
SIGNS = ("<", "<=", ">", ">=", "==", "!=")


def _drawn(rng: random.Random, depth: int) -> tuple[str, float]:
    """Draw an expression and its truth: 0 false, 0.5 unknown, 1 true."""
    kind = rng.choice(("or", "and", "not", "brackets")) if depth else "comparison"
    if kind in ("or", "and"):
        parts = [_drawn(rng, depth - 1) for _ in range(rng.choice((2, 3)))]
        text = f" {kind} ".join(f"({text})" for text, _ in parts)
        return text, (max if kind == "or" else min)(truth for _, truth in parts)
    if kind == "not":
        text, truth = _drawn(rng, depth - 1)
        return f"not ({text})", 1 - truth
    if kind == "brackets":
        text, truth = _drawn(rng, depth - 1)
        return f"( {text} )", truth
    (left, one), (right, other) = (_side(rng) for _ in range(2))
    sign = rng.choice(SIGNS)
    return f"{left}{rng.choice(('', ' '))}{sign} {right}", _compared(one, sign, other)


def _side(rng: random.Random) -> tuple[str, Any]:
    if rng.random() < 0.5:
        name = rng.choice(list(VALUES))
        return name, VALUES[name]
    return rng.choice((("1.5", 1.5), ("-2", -2), ("0", 0), ("1e1", 10), ("'GOOD'", "GOOD")))


def _compared(one: Any, sign: str, other: Any) -> float:
    if one is None or other is None or one != one or other != other:
        return 0.5
    if isinstance(one, str) or isinstance(other, str):
        if sign not in ("==", "!="):
            return 0.5
        alike = str(one).lower() == str(other).lower()
        return float(alike if sign == "==" else not alike)
    order = (one > other) - (one < other)
    truth = {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}
    return float(truth.get(sign, (order == 0) == (sign == "==")))


def test_expressions_hold_as_a_slow_reading_says() -> None:
    rng = random.Random(5)
    met = set()
    for _ in range(600):
        text, truth = _drawn(rng, rng.randrange(4))
        assert parse(text).holds(VALUES) is {0.0: False, 0.5: None, 1.0: True}[truth], text
        met.add(truth)
    assert met == {0.0, 0.5, 1.0}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a > 1 or b > 0 and b > 1", True),  # and binds tighter
        ("not b > 0 and c == 0", True),  # not binds tightest
        ("not not a == 1.5", True),
        ("a>=1.5 and(c<=0)", True),
        ('s == "good"', True),
        ("s != 'Good'", False),
        ("d == d", None),
        ("missing < 3", None),
        ("missing < 3 or a == 1.5", True),
        ("e < 3 and a == 0", False),
        ("s > 3", None),
        ("100 > 99", True),
    ],
)
def test_precedence_texts_and_missing_values(text: str, holds: bool | None) -> None:
    assert parse(text).holds(VALUES) is holds


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", 1),
        ("a >", 4),
        ("a > 1 )", 7),
        ("(a > 1", 7),
        ("1 < a < 2", 7),
        ("a = 1", 3),
        ("a > 1 b < 2", 7),
        ("and > 1", 1),
        ("a > 'open", 5),
        ("a", 2),
        ("a > 1; import os", 6),
        ("__import__('os') == 1", 11),
        ("a.b > 1", 2),
        ("a > 1kg", 5),
        ("a > \u0665", 5),
    ],
)
def test_what_breaks_the_grammar_is_told_with_its_place(text: str, place: int) -> None:
    with pytest.raises(UsageError, match=f"character {place} of"):
        NormalRule("mine", text)


def test_long_and_deep_rules_are_refused_before_python_minds() -> None:
    with pytest.raises(UsageError, match="longer"):
        parse("a > 1 or " * LONGEST)
    with pytest.raises(UsageError, match=f"more than {DEEPEST}"):
        parse("(" * (DEEPEST + 1) + "a > 1" + ")" * (DEEPEST + 1))
    assert parse("(" * (DEEPEST - 1) + "a > 1" + ")" * (DEEPEST - 1)).holds(VALUES) is True


def test_a_rule_leaves_out_what_is_neither_both_or_unknown() -> None:
    rule = NormalRule("ef", "ef_percent >= 55", "ef_percent < 50")
    assert [rule.label({"ef_percent": ef}) for ef in (55, 52, 49.9, None)] == [
        True,
        None,
        False,
        None,
    ]
    overlapping = NormalRule("ef", "ef_percent >= 50", "ef_percent < 55")
    assert [overlapping.label({"ef_percent": ef}) for ef in (49, 52, 56)] == [False, None, True]
    alone = NormalRule("ef", "ef_percent >= 50 and sex == 'F'")
    assert alone.label({"ef_percent": 40.0}) is False, "whatever the sex"
    assert alone.label({"ef_percent": 60.0}) is None
    assert pickle.loads(pickle.dumps(alone)).label({"ef_percent": 60.0, "sex": "f"}) is True  # noqa: S301


def test_an_unknown_column_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="Did you mean `ef_percent`"):
        NormalRule("mine", "ef_prcent >= 55").check_columns(COLUMNS)
    with pytest.raises(UsageError, match=r"quotes.*ivsd_cm"):
        NormalRule("mine", "diagnosis == no_AS").check_columns(["diagnosis", "ivsd_cm"])
    rule = NormalRule("mine", "ef_percent > 5 or sex == 'F'", "not ef_percent > 5")
    assert rule.columns() == ("ef_percent", "sex")
    rule.check_columns(COLUMNS)
