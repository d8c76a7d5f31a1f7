"""Reporting guidelines, filled in as far as files can tell, and honest about the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from echocli.reports.claim import CLAIM
from echocli.reports.known import Fact, known
from echocli.reports.page import Html, Section, details, join, paragraph, table
from echocli.reports.study_reader import Results
from echocli.reports.tripod import TRIPOD

TITLE = "Checklists"
FILL_IN = "Not known to this tool: fill in"
Items = Sequence[tuple[str, str, str, str]]
"""Number, part, what is asked for, and the fact that answers it; empty if no file can."""


def checklist_section(results: Results) -> Section:
    """Return both checklists, each with what is known and what is left to fill in."""
    facts = known(results)
    told = (
        "Two guidelines that journals ask for, in our words, with what the files of this study "
        "answer. It is a beginning, not a certificate: read each answer before you sign it. "
        "The wording that counts is that of the guidelines: CLAIM (Mongan 2020, Radiol Artif "
        "Intell 2:e200029; its update of 2024 numbers some items anew) and TRIPOD+AI (Collins "
        "2024, BMJ 385:e078378)."
    )
    body = [
        paragraph(told),
        _list("CLAIM", CLAIM, facts),
        _list("TRIPOD+AI", TRIPOD, facts),
    ]
    return Section("checklists", TITLE, join(body))


def answers(items: Items, facts: Mapping[str, Fact]) -> list[tuple[str, str, str, str]]:
    """Return number, part, question and answer of every item."""
    rows = []
    for number, place, question, fact in items:
        told, rest = facts.get(fact, ("", ""))
        if not told:
            answer = FILL_IN
        elif rest:
            answer = f"{told}. {FILL_IN}: {rest}"
        else:
            answer = told
        rows.append((number, place, question, answer))
    return rows


def _list(name: str, items: Items, facts: Mapping[str, Fact]) -> Html:
    rows = answers(items, facts)
    whole = sum(FILL_IN not in row[-1] for row in rows)
    none = sum(row[-1] == FILL_IN for row in rows)
    summary = (
        f"{name}: {whole} of {len(rows)} items answered, {len(rows) - whole - none} in part, "
        f"{none} to fill in"
    )
    head = ["item", "part", "what is asked for", "answer"]
    return details(summary, table(head, rows, f"{name}, items in our own words"))
