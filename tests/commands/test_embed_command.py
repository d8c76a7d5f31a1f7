"""`echocli embed` at the command line: what a row is, shares, formats, signals."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from exits import code_of

from echocli.api import embed as api
from echocli.api._embed import units as units_module
from echocli.tables import read_embeddings


@pytest.fixture
def words(
    tmp_path: Path, micro_clips: Path, micro_run: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Any]:
    monkeypatch.chdir(tmp_path)
    return ["embed", micro_clips, "--model", micro_run, "--device", "cpu"]


def test_rows_of_every_kind_in_every_format(
    words: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, more, rows in [
        ("frames.csv", ["--per", "frame", "--windows", 2], 40),
        ("windows.parquet", ["--keep-windows", "--windows", 4], 40),
        ("patients.safetensors", ["--per", "patient"], 5),
    ]:
        assert code_of([*words, *more, "-o", name, "--precision", "fp32"]) == 0
        output = capsys.readouterr()
        assert output.out == f"{name}\n"
        assert f"{rows} row(s)" in output.err
        assert len(read_embeddings(name).table) == rows


def test_shares_and_scores_in_a_study(
    words: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of([*words, "--shard", "1/2", "-q"]) == 0
    assert capsys.readouterr().out == "embeddings.parquet/part-1of2.parquet\n"
    rule = ["--normal-rule", "ef_percent>0", "--false-positive-rate", "0.5"]
    assert code_of(["score", "--anomaly", *rule]) == 3
    assert "lacks 1 of its 2 parts" in capsys.readouterr().err
    assert code_of([*words, "--shard", "2/2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metadata"]["shard"] == "2/2"
    assert code_of(["verify", "embeddings.parquet"]) == 0
    assert code_of(["score", "--anomaly", *rule]) == 0
    assert len(Path("scores.csv").read_text().splitlines()) == 11


@pytest.mark.parametrize(
    "wrong",
    [["--per", "heart"], ["--per", "token", "--pool", "mean"], ["--shard", "3/2"]],
)
def test_wrong_usage_leaves_nothing(
    words: list[Any], capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    assert code_of([*words, *wrong]) == 2
    assert [line[:6] for line in capsys.readouterr().err.splitlines()] == ["error:", "  fix:"]
    assert list(Path().iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_is_done(
    words: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
) -> None:
    monkeypatch.setattr(units_module, "BLOCK", 5)
    monkeypatch.setattr("echocli.api._encode.BATCH_TOKENS", 1)
    real = api.write

    def signalled(*args: Any) -> Any:
        os.kill(os.getpid(), number)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(api, "write", signalled)
        assert code_of([*words, "--precision", "fp32"]) == code
    assert "the same command again" in capsys.readouterr().err
    assert not Path("embeddings.parquet").exists()
    assert code_of([*words, "--precision", "fp32"]) == 0
    assert "5 stand there already; 5 are encoded" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["embeddings.parquet"]
