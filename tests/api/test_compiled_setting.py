"""How steps are compiled: old settings say yes or no, new ones may name the blocks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from echocli import device
from echocli.api._pretrain.settings import resolve_settings
from echocli.config import to_table
from echocli.errors import UsageError


@pytest.mark.parametrize(
    ("word", "value"), [("true", True), ("false", False), ("blocks", "blocks")]
)
def test_words_and_saved_runs_give_the_same(word: str, value: Any) -> None:
    asked = resolve_settings(changes=(f"compiled={word}",)).value
    assert asked.compiled == value
    saved = to_table(asked)
    assert saved["compiled"] == value
    assert to_table(resolve_settings(base=saved).value) == saved


def test_nothing_else_is_taken() -> None:
    with pytest.raises(UsageError, match="compiled cannot be"):
        resolve_settings(changes=("compiled=block",))


def test_compiled_code_stays_with_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "as it was")  # and shall be again
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    device.keep_compiled()
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).is_relative_to(tmp_path)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    device.keep_compiled()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "elsewhere"
