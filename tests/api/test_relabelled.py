"""A table of labels was corrected: whatever was made with the labels before says so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from ears import Ears
from made_study import drawn_clips, write_clips, write_study

from echocli.api import classify, lvef
from echocli.api._relabelled import (
    LABELS,
    clips_relabelled,
    head_relabelled,
    labels_sha256,
    warn_of_labels,
)
from echocli.api.report import report
from echocli.api.verify import verify
from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip, Label
from echocli.clips.store import ClipSet
from echocli.models.vit import VisionTransformer, ViTConfig

PATIENTS = 24
KEPT = ["embeddings.parquet", "predictions/lvef.csv", "scores.csv"]


@cache
def drawn() -> tuple[Clip, ...]:
    return tuple(drawn_clips(PATIENTS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("made") / "study", PATIENTS)


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "study")
    return tmp_path / "study"


def write_micro_model(folder: Path) -> Path:
    config = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=48, depth=1, heads=3)
    encoder = VisionTransformer(config, torch.Generator().manual_seed(0))
    save_model(folder, encoder, DataConfig(frames=4, size=32, seconds=0.4), "vjepa", {})
    return folder


def relabel(study: Path, row: int = 0, **labels: Label) -> None:
    """Make the clips of a study again, one with other labels."""
    clips = list(drawn())
    clips[row] = replace(clips[row], labels={**clips[row].labels, **labels})
    shutil.rmtree(study / "clips")
    write_clips(study, clips)


def stale(study: Path) -> dict[str, str]:
    """Return which outputs had other labels, and what mends each."""
    return {
        str(output.path.relative_to(study)): problem.remedy
        for output in verify(study).outputs
        for problem in output.problems
        if "had other labels" in problem.found
    }


def test_what_was_made_with_the_labels_of_now_is_not_named(study: Path) -> None:
    relabel(study)
    ears = Ears()
    assert stale(study) == {}
    assert report(study, reporter=ears).of_other_labels == ()
    warn_of_labels(study / "embeddings.parquet", study / "clips", ears)
    assert "labels" not in " ".join(ears.warned)


def test_what_was_made_with_other_labels_is_named_with_what_mends_it(study: Path) -> None:
    relabel(study, ef_percent=11.5, normal=None)
    remedies = stale(study)
    assert sorted(remedies) == KEPT
    assert remedies["embeddings.parquet"].startswith("Run `echocli embed` again")
    assert "`echocli score`" in remedies["scores.csv"]
    assert "Fit the head again" in remedies["predictions/lvef.csv"]


def test_the_report_says_so_where_it_is_read_first(study: Path) -> None:
    relabel(study, ef_percent=11.5)
    ears = Ears()
    result = report(study, reporter=ears)
    assert result.of_other_labels == ("embeddings.parquet", "predictions/lvef.csv")
    told = "made with other labels than the clips have now: embeddings.parquet"
    assert told in " ".join(ears.warned)
    assert told in result.out.read_text()


def test_a_score_is_warned_of_embeddings_with_labels_of_before(study: Path) -> None:
    relabel(study, view="A2C")
    ears = Ears()
    warn_of_labels(study / "embeddings.parquet", study / "clips", ears)
    assert "1 clip(s) have other labels now" in " ".join(ears.warned)
    shutil.rmtree(study / "clips")
    warn_of_labels(study / "embeddings.parquet", study / "clips", Ears())


def manifest(**labels: object) -> pd.DataFrame:
    return pd.DataFrame({"clip_id": ["a", "b"], **labels})


def head(known: list[str], manifest: pd.DataFrame, **told: object) -> dict[str, Any]:
    """A head as it describes itself, that was fitted on patients of a clip set."""
    config: dict[str, Any] = {"patients": {"train": known, "val": []}, **told}
    return {**config, LABELS: labels_sha256(manifest, config)}


@pytest.mark.parametrize(
    ("told", "column", "other"),
    [
        ({}, "ef_percent", 56.0),
        ({"label": "ef_percent<50", "classes": ["false", "true"]}, "ef_percent", 56.0),
        ({"label": "view", "classes": ["A2C", "A4C"]}, "view", "A4C"),
    ],
)
def test_a_head_was_fitted_on_labels_of_its_own_patients(
    told: dict[str, Any], column: str, other: object
) -> None:
    clips = manifest(ef_percent=[60.0, 40.0], view=["A4C", "A2C"], patient_id=["p", "q"])
    fitted = head(["p", "q"], clips, **told)
    assert not head_relabelled(fitted, clips)
    more = pd.concat([clips, clips.assign(clip_id=["c", "d"])])
    assert not head_relabelled(fitted, more), "a further clip of a patient, labelled alike"

    other_now = clips.copy()
    other_now.loc[1, column] = other
    assert head_relabelled(fitted, other_now)
    assert not head_relabelled(head(["p"], clips, **told), other_now), "of nobody it has seen"
    assert not head_relabelled(fitted, other_now[:1]), "of other patients nothing is known"
    assert not head_relabelled({**fitted, LABELS: ""}, other_now), "a head of an older version"


def test_a_fitted_head_and_the_report_tell_of_other_labels(study: Path, tmp_path: Path) -> None:
    clips = ClipSet.open(study / "clips")
    for name, fit in (("lvef", lvef.fit), ("classify", classify.fit)):
        shutil.rmtree(study / "heads" / name, ignore_errors=True)
        fit(study / "clips", write_micro_model(tmp_path / name), study / "heads" / name)
    assert stale(study) == {}
    train = clips.manifest.index[clips.manifest["split"] == "train"][0]
    relabel(study, train, ef_percent=11.5, normal=not clips.manifest["normal"][train])
    remedies = stale(study)
    assert remedies["heads/lvef"].startswith("Fit it again")
    assert sorted(remedies) == ["embeddings.parquet", "heads/classify", "heads/lvef", *KEPT[1:]]
    assert report(study).of_other_labels[-2:] == ("heads/classify", "heads/lvef")


def test_scores_by_a_rule_are_asked_by_that_rule() -> None:
    scores = pd.DataFrame({"clip_id": ["a", "b", "other"], "normal": [True, False, True]})
    told = {"source_of_normal": "the rule ef_percent>=55"}
    assert clips_relabelled(scores, told, manifest(ef_percent=[60.0, 40.0])) == 0
    assert clips_relabelled(scores, told, manifest(ef_percent=[60.0, 56.0])) == 1
    assert clips_relabelled(scores, told, manifest(view=["A4C", "A2C"])) == 2, "no label left"


def test_classes_are_those_that_the_head_tells_apart() -> None:
    rows = pd.DataFrame({"clip_id": ["a", "b"], "label": ["mild", None]})
    told = {"label": "stenosis", "classes": ["mild", "severe"]}
    assert clips_relabelled(rows, told, manifest(stenosis=["mild", "none"])) == 0
    assert clips_relabelled(rows, told, manifest(stenosis=["mild", "severe"])) == 1


def test_numbers_and_words_that_went_through_a_table_of_text_are_the_same(
    tmp_path: Path,
) -> None:
    clips = manifest(ef_percent=[55.123456789012345, 40.0], normal=[True, None], grade=[1, 2])
    clips["abnormality"] = ["none", "low_ef"]
    clips.to_csv(tmp_path / "e.csv", index=False)
    rows = pd.read_csv(tmp_path / "e.csv", dtype={"clip_id": str})
    assert clips_relabelled(rows, None, clips) == 0
    clips["grade"] = [1, 3]
    assert clips_relabelled(rows, None, clips) == 1
