"""A folder of results replaces another one of its kind, when asked to, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from echocli.api import classify, lvef, models, robustness, segment
from echocli.api._output import MARKS, whole_folder
from echocli.errors import UsageError

NOWHERE = Path("there-are-no-clips-here")
COMMANDS: dict[str, Callable[[Path], object]] = {
    "lvef fit": lambda out: lvef.fit(NOWHERE, None, out, overwrite=True),
    "classify fit": lambda out: classify.fit(NOWHERE, None, out, overwrite=True),
    "segment fit": lambda out: segment.fit(NOWHERE, None, out, overwrite=True),
    "segment predict": lambda out: segment.predict(NOWHERE, NOWHERE, out, overwrite=True),
    "models import": lambda out: models.import_model("nothing", out=out, overwrite=True),
    "robustness": lambda out: robustness.robustness("score", NOWHERE, out, overwrite=True),
}


def written(folder: Path, *names: str) -> Path:
    """Write some files below a folder and return it."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_replaces_a_folder_of_somebody_elses(tmp_path: Path, name: str) -> None:
    thesis = written(tmp_path / "thesis", "chapter.txt", "figures/one.png")
    with pytest.raises(UsageError, match="not replaced"):
        COMMANDS[name](thesis)
    assert [p.read_text() for p in thesis.rglob("*") if p.is_file()] == ["mine", "mine"]


@pytest.mark.parametrize(
    "names",
    [
        ("lvef/head.safetensors", "segment/head.safetensors"),  # heads/ instead of heads/lvef
        ("config.json", "metrics.jsonl", "model/model.safetensors"),  # a run
        ("audit.json", "manifest/part-00000.parquet"),  # a clip set
    ],
)
def test_a_folder_above_results_is_none_itself(tmp_path: Path, names: tuple[str, ...]) -> None:
    folder = written(tmp_path / "folder", *names)
    for overwrite in (False, True):
        with (
            pytest.raises(UsageError, match="not replaced"),
            whole_folder(folder, overwrite=overwrite),
        ):
            pytest.fail("the work began")
    assert sum(path.is_file() for path in folder.rglob("*")) == len(names)


def test_a_file_does_not_become_a_folder(tmp_path: Path) -> None:
    labels = written(tmp_path, "labels.csv") / "labels.csv"
    with pytest.raises(UsageError, match="not replaced"), whole_folder(labels, overwrite=True):
        pytest.fail("the work began")
    assert labels.read_text() == "mine"


@pytest.mark.parametrize("mark", MARKS)
def test_results_go_when_asked_to_even_damaged_ones(tmp_path: Path, mark: str) -> None:
    out = written(tmp_path / "out", mark, "rest/of/it.bin")
    with pytest.raises(UsageError, match="--overwrite"), whole_folder(out):
        pytest.fail("the work began")
    with whole_folder(out, overwrite=True) as folder:
        written(folder, "new.txt")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new.txt"]


def test_an_empty_folder_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with whole_folder(tmp_path / "out") as folder:
        written(folder, "new.txt")
    assert (tmp_path / "out" / "new.txt").is_file()
