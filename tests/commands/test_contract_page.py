"""The page of conventions names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cli.md"
NAMED = sorted(
    set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE.read_text(encoding="utf-8")))
)


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_test_that_the_page_names_exists(file: str, test: str) -> None:
    (path,) = (ROOT / "tests").rglob(file)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_convention_names_its_test() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(("| convention", "| code |"))]
    assert len(rows) > 30
    assert [row for row in rows if "::test_" not in row] == []


def test_every_test_of_the_contract_has_its_place_on_the_page() -> None:
    files = {path.name for path in Path(__file__).parent.glob("test_contract_*.py")}
    assert files - {Path(__file__).name} == {
        f for f, _ in NAMED if f.startswith("test_contract")
    }
