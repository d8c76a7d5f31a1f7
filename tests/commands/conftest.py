"""One tiny study in which every command is called, once in each manner."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from contract import CALLS, Hear, Heard, call, words_of

TASKS = ("lvef", "segment", "classify")


def quick_demo(out: Path, **asked: Any) -> Any:
    """Stand for the demonstration, which takes a minute and has tests of its own."""
    from echocli.api.demo import DemoResult, DemoStep

    assert set(asked) == {"config", "overwrite", "device", "precision", "reporter"}
    return DemoResult(out, out / "report.html", (DemoStep("echocli embed", "12 rows", 1.0),))


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A study with files, clips, a model, embeddings and heads; add to it, change nothing."""
    from contract_study import make_study  # torch: not where help alone is tested

    root = tmp_path_factory.mktemp("contract")
    (root / "key").write_text("5e" * 32)
    (root / "key").chmod(0o600)
    with pytest.MonkeyPatch.context() as patcher:
        patcher.setenv("ECHOCLI_KEY_FILE", str(root / "key"))
        patcher.setenv("COLUMNS", "80")
        make_study(root)
        for task in TASKS:
            words = words_of(f"{task} fit", "unused")
            words[words.index("-o") + 1] = f"heads/{task}"
            assert call(root, *words).code == 0
        yield root


@pytest.fixture(scope="session")
def hear(study: Path) -> Hear:
    """Return what a command says on the study, called once in each manner: '', -q, --json."""

    @cache
    def heard(name: str, manner: str = "") -> Heard:
        assert name in CALLS, f"{name} has no call in tests/contract.py"
        place = f"made{manner}"
        with patch("echocli.api.demo.demo", quick_demo):
            return call(study, *words_of(name, place, *([manner] if manner else [])))

    return heard
