"""`echocli pretrain` and `embed` at the command line: streams, exit codes, signals, pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from echocli import main

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
COMMAND = [sys.executable, "-m", "echocli"]


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Result]


@pytest.fixture
def echocli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command in a folder, in this process."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")

    def run(folder: Path, *words: object) -> Result:
        monkeypatch.chdir(folder)
        with pytest.raises(SystemExit) as caught:
            main.run([str(word) for word in words])
        code = caught.value.code or 0
        return Result(int(code), *capsys.readouterr())

    return run


@pytest.fixture
def study(tmp_path: Path, micro_clips: Path) -> Path:
    (tmp_path / "clips").symlink_to(micro_clips)
    return tmp_path


def settings(words: tuple[str, ...]) -> list[str]:
    options = ["--device", "cpu", "--precision", "fp32"]
    return options + [part for word in words for part in ("--set", word)]


def test_a_study_from_pretrain_to_a_stream(
    echocli: Run, study: Path, micro_words: tuple[str, ...]
) -> None:
    trained = echocli(study, "pretrain", "--steps", 2, *settings(micro_words))
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout == "runs/discovr-tiny\n"
    assert (study / "runs" / "latest").read_text() == "discovr-tiny\n"
    again = echocli(study, "pretrain", "--resume", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["steps_done"] == 2

    embedded = echocli(study, "embed", "--device", "cpu")
    assert embedded.returncode == 0, embedded.stderr
    assert embedded.stdout == "embeddings.parquet\n"
    assert "directions" in embedded.stderr
    streamed = echocli(study, "embed", "-o", "-", "-q")
    assert streamed.returncode == 0, streamed.stderr
    lines = streamed.stdout.splitlines()
    assert lines[0].startswith('# echocli {"schema"')
    assert lines[1].startswith("clip_id,patient_id")
    assert len(lines) == 13
    assert "rows_sha256" in lines[-1]
    assert streamed.stderr == ""


def test_wrong_settings_and_missing_things_have_their_codes(
    echocli: Run, study: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cases = [
        (study, ("pretrain", "--set", "optim.lrr=1"), 2, "optim.lr?"),
        (study, ("pretrain", "--preset", "tinny"), 2, "tiny"),
        (study, ("embed",), 3, "echocli pretrain"),
        (tmp_path_factory.mktemp("empty"), ("pretrain",), 3, "echocli preprocess"),
    ]
    for folder, words, code, remedy in cases:
        result = echocli(folder, *words)
        assert result.returncode == code, result.stderr
        assert remedy in result.stderr
        assert result.stdout == ""
        assert result.stderr.count("\n") == 2, result.stderr
        assert not (folder / "runs").exists()


def test_a_plan_is_a_table_and_writes_nothing(
    echocli: Run, study: Path, micro_words: tuple[str, ...]
) -> None:
    result = echocli(study, "pretrain", "--plan", "--json", *settings(micro_words))
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == "echocli.plan/1"
    assert document["clips"] == 10
    assert sorted(path.name for path in study.iterdir()) == ["clips"]


def test_some_clips_that_cannot_be_used_end_in_4(
    echocli: Run, tmp_path: Path, micro_run: Path
) -> None:
    from micro import micro_clip, write_clips

    write_clips(tmp_path / "clips", [micro_clip(0), micro_clip(1, frames=5), micro_clip(2)])
    result = echocli(tmp_path, "embed", "--model", micro_run, "--json")
    assert result.returncode == 4, result.stderr
    document = json.loads(result.stdout)
    assert document["rows"] == 2
    assert document["left_out"][0]["clip_id"] == "c001"
    assert "c001" in result.stderr


def test_standard_output_is_one_thing_only(echocli: Run, study: Path, micro_run: Path) -> None:
    result = echocli(study, "embed", "--model", micro_run, "-o", "-", "--json")
    assert result.returncode == 2
    assert result.stdout == ""


def test_a_reader_that_leaves_is_no_error(study: Path, micro_run: Path) -> None:
    line = f"{sys.executable} -m echocli embed --model {micro_run} -o - | head -c 50"
    script = f"set -o pipefail; {line}"
    result = subprocess.run(
        ["bash", "-c", script],
        cwd=study,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "Broken" not in result.stderr
