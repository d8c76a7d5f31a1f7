"""An option that would change nothing is refused by name, before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from exits import code_of
from made_hearts import clip, write_clips, write_model

from echocli.errors import ExitCode

CASES = {
    "lvef evaluate clips --labels absent.csv": "--labels",
    "classify clips --labels absent.csv": "--labels",
    "segment evaluate clips --labels absent.csv": "--labels",
    "lvef fit --depth 4": "--depth",
    "classify fit --depth 4": "--depth",
    "lvef fit --probe attentive --clips-a-view 2": "--clips-a-view",
    "classify fit --probe attentive --view-dropout 0.5": "--view-dropout",
    "classify fit --label view --threshold quantile -o heads/new": "--threshold",
    "classify fit --false-positive-rate 0.1": "--false-positive-rate",
    "segment fit --from-scratch unet --windows 4 -o heads/new": "--windows",
    "score --vote --normals other.parquet": "--normals",
    "score --vote --distance whitened": "--distance",
    "score --vote --per patient": "--per",
    "score --vote --aggregate max": "--aggregate",
    "score --vote --false-positive-rate 0.1": "--false-positive-rate",
    "robustness lvef --normal-rule ef_percent>=55": "--normal-rule",
    "robustness score --head heads/lvef": "--head",
    "lvef --from-masks clips --device cpu": "--device",
    "lvef evaluate --null": "--null",
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with three heads, and a label of three classes."""
    folder = tmp_path_factory.mktemp("study")
    hearts = [clip(number) for number in range(15)]
    views = ("A2C", "A4C", "PLAX")
    write_clips(
        folder / "clips",
        [
            replace(one, labels={**one.labels, "view": views[number % 3]})
            for number, one in enumerate(hearts)
        ],
    )
    write_model(folder / "runs/first/model")
    (folder / "runs/latest").write_text("first\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in ("lvef fit", "classify fit --label view", "segment fit --steps 1"):
            assert code_of([*words.split(), "-q"]) == ExitCode.DONE
    return folder


@pytest.mark.parametrize("line", CASES)
def test_it_is_named_with_what_to_do(
    study: Path, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study)
    capsys.readouterr()
    before = sorted(path.name for path in study.rglob("*"))
    assert code_of(line.split()) == ExitCode.USAGE
    error, fix = capsys.readouterr().err.splitlines()[-2:]
    assert CASES[line] in error
    assert fix.startswith("  fix: ")
    assert sorted(path.name for path in study.rglob("*")) == before
