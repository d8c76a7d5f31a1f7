"""Nothing is overwritten, nothing is written elsewhere, and what only looks writes nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from contract import CALLS, Hear, all_commands, call, words_of

READING = (
    *("classify evaluate", "classify evaluate --against", "config show", "doctor", "inspect"),
    *("lvef evaluate", "lvef evaluate --against", "lvef evaluate --from-masks"),
    *("models info", "models list", "models verify", "pretrain --plan"),
    *("pretrain --preset list", "schema", "segment evaluate", "segment evaluate --against"),
    *("shell-init", "verify"),
)
"""Commands that look or plan."""
DRAWN_ANEW = "run.html"
"""The page of a run, which is drawn whenever the run is looked at."""
WRITING = sorted({*CALLS} - {*READING} - {"demo"})  # the demonstration is a stand-in here


def contents(root: Path, beside: str = "") -> dict[str, str]:
    """Return the hash of every file, except of those in a folder."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and path.name != DRAWN_ANEW
        and not (beside and path.is_relative_to(root / beside))
    }


def test_each_command_that_writes_can_be_told_to_overwrite() -> None:
    for name in WRITING:
        command = all_commands()[name.partition(" --")[0]]
        assert any("--overwrite" in param.opts for param in command.params), name


@pytest.mark.parametrize("name", READING)
def test_a_command_that_looks_writes_nothing(name: str, hear: Hear, study: Path) -> None:
    before = contents(study)
    assert call(study, *words_of(name, "looking")).code == 0
    assert contents(study) == before


@pytest.mark.parametrize("name", WRITING)
def test_a_command_writes_where_it_was_told_and_never_twice(
    name: str, hear: Hear, study: Path
) -> None:
    place = words_of(name, "made")
    own = next(word for word in place if word.startswith("made/")).split("/")[1]
    before = contents(study, f"made/{own}")
    assert hear(name).code == 0
    assert contents(study, f"made/{own}") == before, "something elsewhere changed"
    made = contents(study / "made" / own)
    assert made
    again = call(study, *words_of(name, "made"))
    assert contents(study / "made" / own) == made, "what stood there was changed"
    if again.code:
        assert again.code == 2
        assert "--overwrite" in again.err
    else:
        assert "nothing to do" in again.err or "0 of them new" in again.err
    replaced = call(study, *words_of(name, "made", "--overwrite"))
    assert replaced.code == 0, replaced.err
    assert set(contents(study / "made" / own)) >= {n for n in made if "sheet" in n}
