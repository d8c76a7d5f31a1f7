"""What is read from a study, and what is told of what cannot be read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_study import write_study

from echocli.api.report import report
from echocli.errors import EchoError
from echocli.reports.page import Section
from echocli.reports.sections_anomaly import anomaly_section
from echocli.reports.sections_data import clips_section, spread
from echocli.reports.sections_embedding import embedding_section, principal_directions
from echocli.reports.sections_end import is_phantom
from echocli.reports.sections_learning import training_section
from echocli.reports.sections_lvef import lvef_section
from echocli.reports.sections_repeat import commands
from echocli.reports.sections_segment import segment_section
from echocli.reports.sections_splits import splits_section
from echocli.reports.study_reader import Results, read_study

MAKERS: dict[str, tuple[Callable[[Results], Section], str]] = {
    "runs": (training_section, "echocli pretrain"),
    "embeddings.parquet": (embedding_section, "echocli embed"),
    "scores.csv": (anomaly_section, "echocli score --anomaly"),
    "predictions/lvef.csv": (lvef_section, "echocli lvef predict"),
    "predictions/segment": (segment_section, "echocli segment fit"),
    "clips": (splits_section, "echocli preprocess"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(whole, tmp_path / "study"))


def test_every_part_is_found(whole: Path) -> None:
    results = read_study(whole)
    assert results.clips is not None
    assert len(results.clips) == 12
    assert results.refusals is not None
    assert results.refusals.count == 4
    assert results.refusals.reasons[0][:2] == ("still", 2)
    assert [run.name for run in results.runs] == ["discovr-tiny", "vjepa-tiny"]
    assert all(run.has_model and len(run.metrics) == 120 for run in results.runs)
    assert results.scores is not None
    assert results.lvef is not None
    assert results.volumes is not None
    assert results.masks is not None
    assert list(results.heads) == ["lvef"]
    assert results.unreadable == []
    assert is_phantom(results)


@pytest.mark.parametrize("part", MAKERS)
def test_a_missing_part_is_named_with_the_command_that_makes_it(study: Path, part: str) -> None:
    path = study / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    section, command = MAKERS[part]
    assert f"<code>{command}</code>" in section(read_study(study)).body


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("clips/quarantine.csv", "nonsense\n1\n"),
        ("clips/audit.json", "[]"),
        ("embeddings.parquet", "PAR1 no table"),
        ("scores.csv", ""),
        ("scores.json", "{"),
        ("heads/lvef/config.json", "{"),
        ("predictions/lvef.json", "3"),
        ("runs/vjepa-tiny/config.json", "{"),
        ("runs/vjepa-tiny/metrics.jsonl", "{]}\n"),
        ("predictions/segment/areas.csv", ""),
        ("predictions/segment/segment.json", ""),
    ],
)
def test_a_broken_part_is_told_and_the_rest_is_read(
    study: Path, part: str, content: str
) -> None:
    (study / part).write_text(content)
    results = read_study(study)
    assert len(results.unreadable) == 1
    assert results.clips is not None


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("scores.csv", "predictions/lvef.csv"),
        ("predictions/lvef.csv", "scores.csv"),
        ("predictions/segment/areas.csv", "scores.csv"),
        ("predictions/segment/volumes.csv", "predictions/lvef.csv"),
    ],
)
def test_a_table_under_the_name_of_another_is_told(study: Path, part: str, other: str) -> None:
    (study / part).write_bytes((study / other).read_bytes())
    assert len(read_study(study).unreadable) == 1
    report(study)


def test_a_folder_without_results_names_the_command_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(EchoError, match="echocli preprocess"):
        read_study(tmp_path)


def test_the_commands_come_in_the_order_in_which_they_ran(whole: Path) -> None:
    words = [line.split()[1] for line in commands(read_study(whole))]
    assert words == [
        "preprocess", "pretrain", "pretrain", "embed", "score", "lvef", "lvef", "segment",
        "report",
    ]  # fmt: skip


def test_clips_without_labels_times_or_scale_are_shown(study: Path) -> None:
    results = read_study(study)
    assert results.clips is not None
    manifest = results.clips.manifest
    bare = manifest.drop(columns=["ef_percent", "normal", "view", "split"])
    bare[["frame_rate_hz", "row_mm", "column_mm"]] = np.nan
    bare["times_s"] = None
    results.clips.manifest = bare
    body = clips_section(results).body
    assert "unknown" in body
    assert body.count("<figure>") == 8


@pytest.mark.parametrize(("count", "wanted"), [(1, 8), (3, 8), (8, 8), (1000, 8)])
def test_shown_rows_are_spread_and_never_repeat(count: int, wanted: int) -> None:
    rows = spread(count, wanted)
    assert len(rows) == len(set(rows)) == min(count, wanted)
    assert rows[0] == 0
    assert rows[-1] == count - 1


def test_the_map_shows_the_directions_in_which_the_clips_differ_most() -> None:
    generator = np.random.default_rng(0)
    hidden = generator.normal(0, 1, (200, 2)) * [5.0, 2.0]
    turned, _ = np.linalg.qr(generator.normal(0, 1, (6, 6)))
    vectors = hidden @ turned[:2] + 0.01 * generator.normal(0, 1, (200, 6)) + 7
    points, shares = principal_directions(vectors)
    for found, true in zip(points.T, hidden.T, strict=True):
        assert abs(np.corrcoef(found, true)[0, 1]) > 0.99
    assert shares[0] > shares[1]
    assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_equal_vectors_and_a_single_direction_have_a_map_too() -> None:
    for vectors in (np.ones((5, 3)), np.arange(5.0)[:, None]):
        points, shares = principal_directions(vectors)
        assert points.shape == (5, 2)
        assert np.isfinite(points).all()
        assert all(0 <= share <= 1 for share in shares)


def test_ids_of_digits_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "heads" / "lvef").mkdir(parents=True)
    (tmp_path / "heads" / "lvef" / "config.json").write_text('{"task": "lvef"}')
    (tmp_path / "scores.csv").write_text("clip_id,patient_id,score,nearest\n0012,1e5,1.5,007\n")
    scores = read_study(tmp_path).scores
    assert scores is not None
    assert scores.rows.iloc[0].tolist() == ["0012", "1e5", 1.5, "007"]
