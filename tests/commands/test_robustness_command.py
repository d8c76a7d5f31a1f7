from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from exits import code_of


def test_in_a_study_folder_and_as_a_stream(
    tmp_path: Path,
    micro_clips: Path,
    micro_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips").symlink_to(micro_clips)
    model = ["--model", str(micro_run)]
    assert code_of(["lvef", "fit", *model, "-q"]) == 0
    words = ["robustness", "lvef", "--perturb", "shadow, narrow", "--strengths", "0.5,1"]
    capsys.readouterr()

    assert code_of(words) == 0
    output = capsys.readouterr()
    assert output.out == "robustness/lvef\n"
    assert "encoding on " in output.err
    told = re.search(r"mae, narrow 1: (worse|better) by (\S+) ", output.err)
    assert told is not None
    with Path("robustness/lvef/robustness.csv").open() as file:
        written = list(csv.DictReader(file))
    found = [(row["perturbation"], row["strength"]) for row in written]
    sign = 1 if told[1] == "worse" else -1
    assert float(written[-1]["worse_by"]) == pytest.approx(sign * float(told[2]), abs=5e-4)
    faults = [(name, strength) for name in ("shadow", "narrow") for strength in ("0.5", "1.0")]
    assert found == [("none", "0.0"), *faults]
    assert code_of(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert code_of([*words, "--overwrite", "-q"]) == 0
    assert capsys.readouterr().out == "robustness/lvef\n"

    assert code_of([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "echocli.robustness/1"
    assert document["out"] is None
    values = [float(row["value"]) for row in written]
    assert [row["value"] for row in document["table"]] == pytest.approx(values)
    assert code_of([*words, "-o", "-"]) == 0
    assert list(csv.DictReader(capsys.readouterr().out.splitlines())) == written


def test_wrong_words_are_usage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_of(["robustness", "lvef", "--perturb", "fog"]) == 2
    assert "Choose among attenuation" in capsys.readouterr().err
    assert code_of(["robustness", "lvef", "--strengths", "much"]) == 2
    assert "between commas" in capsys.readouterr().err
    assert code_of(["robustness", "embed"]) == 2
    assert code_of(["robustness", "lvef"]) == 3
    assert "echocli preprocess" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
