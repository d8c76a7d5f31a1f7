"""The demonstration: a whole study, that names nobody, by lines that can be typed again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from leaks import find_leaks

from echocli.api.demo import MARK, OTHER, DemoConfig, DemoResult, demo, patients_of
from echocli.datasets.phantom import identifiers
from echocli.errors import UsageError
from echocli.main import run

PATIENTS, STEPS = 15, 1
BROUGHT = ("dicom", OTHER, "truth", "labels.csv", "phantom.json")
"""What the demonstration makes in the place of a user, names and all."""


@dataclass(frozen=True)
class Demonstration:
    """A finished demonstration and what it said."""

    study: Path
    out: str
    err: str
    home: Path

    def commands(self) -> list[list[str]]:
        """Return the commands it showed, without the program's name."""
        shown = [
            line.split() for line in self.err.splitlines() if line.startswith("$ echocli ")
        ]
        return [words[2:] for words in shown]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Demonstration:
    folder = tmp_path_factory.mktemp("demo")
    home = folder / "home"
    home.mkdir()
    words = ["-m", "echocli", "demo", "-o", "study", "--patients", str(PATIENTS)]
    done = subprocess.run(
        [sys.executable, *words, "--steps", str(STEPS), "--precision", "fp32"],
        cwd=folder,
        env={**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / "settings")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Demonstration(folder / "study", done.stdout, done.stderr, home)


@pytest.mark.slow
def test_every_part_of_a_study_is_there(shown: Demonstration) -> None:
    for name in (
        "clips/audit.json",
        "runs/discovr-tiny/model/model.safetensors",
        "runs/vjepa-tiny/model/model.safetensors",
        "embeddings.parquet",
        "scores.csv",
        "heads/lvef/head.safetensors",
        "heads/segment/head.safetensors",
        "heads/classify/head.safetensors",
        "predictions/classify.csv",
        "predictions/lvef.csv",
        "predictions/segment/volumes.csv",
        "report.html",
    ):
        assert (shown.study / name).is_file(), name
    assert shown.out == "study/report.html\n"
    assert json.loads((shown.study / MARK).read_text())["patients"] == PATIENTS


@pytest.mark.slow
def test_no_output_names_anybody(shown: Demonstration) -> None:
    # Their files have all the codings that the phantom writes; more would take minutes.
    searched = patients_of(DemoConfig(patients=PATIENTS))[:6]
    named = [text for patient in searched for text in identifiers(patient)]
    assert len(named) > 5 * len(searched)
    assert find_leaks([shown.study / "dicom"], named[:20]), "the sources name nobody either"
    files = [path for path in shown.study.rglob("*") if path.is_file()]
    made = {path: path.relative_to(shown.study) for path in files}
    made = {path: name for path, name in made.items() if name.parts[0] not in BROUGHT}
    # States of a run are large and hold tensors alone: the names of one patient must do.
    states = [path for path in made if path.suffix == ".pt"]
    outputs = [shown.out, shown.err, "\n".join(map(str, made.values()))]
    leaks = find_leaks([*outputs, *(path for path in made if path not in states)], named)
    assert [leak for leak in leaks if not is_fraction(leak)] == []
    assert find_leaks(states, named[:20]) == []


def is_fraction(leak: str) -> bool:
    """Return whether a date was met by chance among the decimals of a table's numbers."""
    text, _, place = leak.partition(" in ")
    if not place.endswith((".csv", ".json")):
        return False
    content = re.sub(r"(\d\.\d{3})\d{6,}", r"\1", Path(place).read_text())
    return find_leaks([content], [text.strip("'")]) == []


@pytest.mark.slow
def test_the_report_is_complete_and_promises_nothing(shown: Demonstration) -> None:
    html = (shown.study / "report.html").read_text()
    assert 'class="missing"' not in html
    assert "are there but cannot be read" not in html
    assert f"{PATIENTS + 4} sources read" in html
    assert f"{PATIENTS} clips of {PATIENTS} patients" in html
    assert "Minutes of training from scratch do not make a good encoder" in html
    assert "Minutes of training do not make a good encoder" in shown.err


@pytest.mark.slow
def test_all_commands_are_shown_and_what_comes_next(shown: Demonstration) -> None:
    assert [words[0] for words in shown.commands()] == [
        "inspect", "preprocess", "pretrain", "pretrain", "embed", "score", "lvef", "lvef",
        "segment", "segment", "classify", "classify", "report",
    ]  # fmt: skip
    assert "echocli preprocess /where/your/dicoms/are" in shown.err


@pytest.mark.slow
def test_the_lines_shown_find_their_work_done(
    shown: Demonstration, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed in the study, they mean what the demonstration did: same settings, same files."""
    monkeypatch.chdir(shown.study)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shown.home / "settings"))
    monkeypatch.delenv("ECHOCLI_KEY_FILE", raising=False)
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*.safetensors")}
    done = {"inspect": 0, "preprocess": 4, "pretrain": 0, "embed": 0}
    for words in shown.commands():
        precise = ["--precision", "fp32"] if words[0] in ("pretrain", "embed") else []
        with pytest.raises(SystemExit) as stop:
            run([*words, *precise])
        # The others refuse to replace what stands there.
        assert stop.value.code == done.get(words[0], 2), (words, capsys.readouterr().err)
    after = {path: path.stat().st_mtime_ns for path in Path().rglob("*.safetensors")}
    assert before.keys() == after.keys()


def test_only_a_demonstration_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / MARK).write_text("[]")  # nor one whose mark somebody has spoilt
    for overwrite in (False, True):
        with pytest.raises(UsageError):
            demo(tmp_path, overwrite=overwrite)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_interrupted_demonstration_is_made_anew_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> str:
        (tmp_path / "study" / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("echocli.api.demo._draw", interrupt)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            demo(tmp_path / "study")
    (tmp_path / "study" / MARK).unlink()  # killed before it was written
    monkeypatch.setattr("echocli.api.demo._tasks", lambda *_: [])
    demo(tmp_path / "study")
    assert [path.name for path in (tmp_path / "study").iterdir()] == [MARK]
    with pytest.raises(UsageError, match="already exists"):
        demo(tmp_path / "study")


def test_two_demonstrations_in_one_place_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rival(*_: object) -> list[object]:
        for overwrite in (False, True):
            with pytest.raises(UsageError, match="Another `echocli demo`"):
                demo(tmp_path / "study", overwrite=overwrite)
        return []

    monkeypatch.setattr("echocli.api.demo._tasks", rival)
    demo(tmp_path / "study")


@pytest.mark.parametrize("wrong", [{"patients": 3}, {"steps": 0}])
def test_impossible_sizes_are_told(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        DemoConfig(**wrong)


def test_seconds_are_those_of_all_steps() -> None:
    assert DemoResult(Path(), Path(), ()).seconds == 0
