"""The reference is what the code says: every page is what ``docs/generate.py`` writes."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def generate() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "generate.py"))


def test_the_committed_pages_are_what_the_code_says(generate: dict[str, Any]) -> None:
    made = generate["pages"]()
    assert {path.name for path in (DOCS / "reference").glob("*.md")} == set(made)
    stale = [
        name
        for name, text in made.items()
        if (DOCS / "reference" / name).read_text(encoding="utf-8") != text
    ]
    assert not stale, "run `python docs/generate.py`"


def test_every_setting_is_explained(generate: dict[str, Any]) -> None:
    rows = [line for line in generate["settings"]().splitlines() if line.startswith("| `")]
    unexplained = [row.split("`")[1] for row in rows if row.endswith("|  |")]
    # Of these two the help page of the command tells.
    assert {*unexplained} <= {"method", "preset"}
    assert len(rows) > 100
