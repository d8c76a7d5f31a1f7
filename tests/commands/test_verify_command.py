from __future__ import annotations

import json
from pathlib import Path

import pytest
from exits import code_of
from micro import micro_clip, write_clips

from echocli.errors import ExitCode
from echocli.files import sums_of, write_json


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "clips"
    write_clips(folder, [micro_clip(0), micro_clip(1)])
    (folder / "quarantine.csv").write_text("source_id,position,reason,explanation,remedy\n")
    checks = [{"check": "every id is a keyed hash", "looked_at": 2, "passed": True}]
    sums = sums_of(folder, ["manifest/part-00000.json"])
    content = {"schema": "echocli.audit/1", "checks": checks, "sha256": sums}
    write_json(folder / "audit.json", content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_whole_study_ends_with_zero(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["verify"]) == ExitCode.DONE
    told = capsys.readouterr()
    assert told.out.splitlines()[1].split("\t")[:3] == ["clips", "clip set", "whole"]
    assert told.err == "1 output(s), all whole\n"
    assert code_of(["verify", "-q"]) == ExitCode.DONE
    assert capsys.readouterr() == ("", "")


def test_damage_ends_with_three_and_the_remedy(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = study / "clips" / "shard-00000-00000.u8"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    assert code_of(["verify", "clips", "--quick"]) == ExitCode.DONE
    capsys.readouterr()
    assert code_of(["verify", "clips"]) == ExitCode.INPUT
    told = capsys.readouterr()
    assert "clip c000: its frames have changed" in told.out
    assert "echocli preprocess" in told.out
    assert "1 of them not whole" in told.err
    assert code_of(["verify", "-q"]) == ExitCode.INPUT
    assert capsys.readouterr() == ("clips\n", "")
    assert code_of(["verify", "--json"]) == ExitCode.INPUT
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "echocli.verify/1"
    assert not document["whole"]
    assert document["outputs"][0]["problems"][0]["remedy"]


def test_what_is_no_output_ends_with_three(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(["verify", tmp_path]) == ExitCode.INPUT
    assert "nothing that echocli wrote" in capsys.readouterr().err
