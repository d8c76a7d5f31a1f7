"""A run folder has one writer, and metrics that survive."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from echocli.errors import UsageError
from echocli.run import Run, overwritten, read_metrics


def test_two_processes_never_write_one_run(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from echocli.run import Run\n"
        "from echocli.errors import UsageError\n"
        "try:\n    Run(Path(sys.argv[1])).__enter__()\n"
        "except UsageError as error:\n    print(error.problem)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    with Run(tmp_path / "run"):
        held = subprocess.run(command, capture_output=True, text=True, check=True)
    free = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"process {os.getpid()} on " in held.stdout
    assert free.stdout == ""


def test_the_newest_run_is_noted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with Run(tmp_path / name) as run:
            run.begin({"steps": 3}, {"device": "x"})
    assert (tmp_path / "latest").read_text() == "b\n"
    assert Run(tmp_path / "a").read_config()["settings"] == {"steps": 3}


def test_metrics_are_there_at_once_and_those_to_be_repeated_go(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        for step in range(5):
            run.log({"step": step, "loss": 1 / 3})
            assert len(read_metrics(tmp_path)) == step + 1
        with run.metrics.open("a") as file:
            file.write('{"step": 5, "lo')  # a crash in the middle of a line
        run.forget_after(3)
        run.log({"step": 3, "loss": 2.0})
    records = read_metrics(tmp_path)
    assert [record["step"] for record in records] == [0, 1, 2, 3]
    assert records[0]["loss"] == 1 / 3
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3]


def test_a_folder_of_something_else_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="not a run"), overwritten(tmp_path, overwrite=True):
        pass
    assert (tmp_path / "thesis.txt").exists()


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    with overwritten(tmp_path / "runs" / "r", overwrite=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_called_that_and_nothing_stays_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("echocli.run.take", full)
    with pytest.raises(OSError, match="full") as caught, Run(tmp_path / "runs" / "r"):
        pass
    assert caught.value.errno == errno.ENOSPC  # ends with 6, where UsageError would with 2
    assert list(tmp_path.iterdir()) == []


def test_overwriting_begins_anew(tmp_path: Path) -> None:
    with overwritten(tmp_path / "r", overwrite=False) as run:
        run.begin({}, {})
        run.log({"step": 0})
    with overwritten(tmp_path / "r", overwrite=False) as run:
        assert run.exists
    with overwritten(tmp_path / "r", overwrite=True) as run:
        assert not run.exists
        assert read_metrics(run.folder) == []
