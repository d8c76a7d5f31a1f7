"""The probe asks patients it did not learn from, and never the test split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ears import Ears
from micro import micro_clip, write_clips

from echocli.api._pretrain import probe as probe_module
from echocli.api._pretrain.job import Job
from echocli.api._pretrain.probe import (
    FOLDS,
    Probe,
    Question,
    answer,
    choose_question,
    mean_of_others,
)
from echocli.api.pretrain import Choice, pretrain
from echocli.clips.store import ClipSet
from echocli.console import SILENT, Reporter
from echocli.device import choose_device
from echocli.models.folds import deal_patients
from echocli.run import read_metrics

PATIENTS = 30


def label(number: int) -> dict[str, Any]:
    """Return what is known of a clip; two clips are of one patient."""
    split = "test" if number < 12 else "train"
    return {"ef_percent": 40.0 + number // 2, "normal": number % 4 < 2, "split": split}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    """Return 30 patients with two clips each, 6 of them of the test split."""
    folder = tmp_path_factory.mktemp("probe") / "clips"
    return write_clips(folder, [micro_clip(i, labels=label(i)) for i in range(2 * PATIENTS)])


def job_of(clips: ClipSet, words: tuple[str, ...]) -> Job:
    # All splits are trained on, which must not matter to the probe.
    changes = (*words, "where=''")
    settings = Choice(method="vjepa", steps=4, changes=changes).resolve().value
    return Job(settings, clips, choose_device("cpu", "fp32"))


def asked(clips: ClipSet, words: tuple[str, ...], reporter: Reporter = SILENT) -> Question:
    question = choose_question(job_of(clips, words), reporter)
    assert question is not None
    return question


def test_the_question_is_of_clips_with_a_label_outside_the_test_split(
    clips: ClipSet, micro_words: tuple[str, ...]
) -> None:
    question = asked(clips, micro_words)
    table = clips.manifest.iloc[question.rows]
    assert (question.column, question.classes) == ("ef_percent", 0)
    assert len(table) == 48
    assert set(table["split"]) == {"train"}
    np.testing.assert_array_equal(question.values, table["ef_percent"])
    together = pd.DataFrame({"ours": question.patients, "theirs": table["patient_id"]})
    assert (together.nunique() == 24).all()
    assert together.drop_duplicates().shape == (24, 2)


def test_patients_without_a_split_are_split_by_their_pseudonym(
    tmp_path: Path, micro_words: tuple[str, ...]
) -> None:
    from echocli.splits import split_of

    bare = [micro_clip(i, labels={"ef_percent": 40.0 + i}) for i in range(80)]
    clips = write_clips(tmp_path / "clips", bare)
    question = asked(clips, micro_words)
    patients = clips.manifest["patient_id"].iloc[question.rows]
    assert 20 <= patients.nunique() < 40
    assert all(split_of(patient) != "test" for patient in patients)


def test_of_many_clips_one_of_each_patient_comes_first(
    clips: ClipSet, micro_words: tuple[str, ...]
) -> None:
    few = asked(clips, (*micro_words, "watch.probe_clips=26"))
    patients = clips.manifest["patient_id"].iloc[few.rows]
    assert len(few.rows) == 26
    assert patients.nunique() == 24
    fewer = asked(clips, (*micro_words, "watch.probe_clips=21"))
    assert clips.manifest["patient_id"].iloc[fewer.rows].is_unique
    assert len(fewer.rows) == 21


def test_classes_are_counted_and_a_column_can_be_named(
    clips: ClipSet, micro_words: tuple[str, ...]
) -> None:
    question = asked(clips, (*micro_words, "watch.probe=normal"))
    assert question.classes == 2
    names = clips.manifest["normal"].iloc[question.rows].to_numpy()
    assert len({*zip(names.astype(bool), question.values, strict=True)}) == 2


@pytest.mark.parametrize("wish", ["none", "view", "nothing"])
def test_there_is_no_probe_where_none_is_wished_or_possible(
    clips: ClipSet, micro_words: tuple[str, ...], wish: str
) -> None:
    ears = Ears()
    job = job_of(clips, (*micro_words, f"watch.probe={wish}"))
    assert choose_question(job, ears) is None
    assert bool(ears.warned) == (wish != "none")


def test_a_patient_in_two_splits_stops_the_probe_and_not_the_training(
    tmp_path: Path, micro_words: tuple[str, ...]
) -> None:
    torn = [
        micro_clip(i, labels={**label(i), "split": ("test", "train")[i % 2]}) for i in range(6)
    ]
    job = job_of(write_clips(tmp_path / "clips", torn), micro_words)
    assert choose_question(job, SILENT) is None


def told(
    features: torch.Tensor, values: torch.Tensor, patients: torch.Tensor, classes: int = 0
) -> Any:
    question = Question("x", [], values.numpy(), patients.numpy(), classes)
    return answer(question, features, values, patients)


def test_features_that_hold_the_label_answer_and_others_guess(
    generator: torch.Generator,
) -> None:
    values = torch.randn(200, generator=generator, dtype=torch.float64) * 10 + 50
    patients = torch.arange(200) // 2
    noise = torch.randn(200, 16, generator=generator)
    good = told(torch.cat([noise, values[:, None].float()], dim=1), values, patients)
    bad = told(noise, values, patients)
    assert good.value < 0.5
    assert good.score > 0.9
    assert bad.value == pytest.approx(bad.guess, rel=0.1)
    assert good.guess == bad.guess == pytest.approx(8, rel=0.2)
    assert "predicting the mean" in str(good)


def test_knowing_a_patient_again_is_no_answer(generator: torch.Generator) -> None:
    """Features that name the patient would be worth everything if patients were mixed."""
    values = torch.randn(50, generator=generator, dtype=torch.float64).repeat_interleave(4)
    patients = torch.arange(50).repeat_interleave(4)
    names = torch.eye(50)[patients]
    found = told(names, values, patients)
    assert found.value > 0.9 * found.guess


def test_classes_are_told_by_the_area_under_the_roc(generator: torch.Generator) -> None:
    patients = torch.arange(150)
    classes = patients % 3
    noise = torch.randn(150, 8, generator=generator)
    good = told(noise + 3 * torch.eye(8)[classes], classes.double(), patients, classes=3)
    bad = told(noise, classes.double(), patients, classes=3)
    assert good.value == good.score > 0.95
    assert abs(bad.value - 0.5) < 0.15
    assert good.guess == 0.5
    assert "AUROC" in str(good)


def test_the_guess_is_the_mean_of_the_other_folds() -> None:
    values, patients = torch.arange(12, dtype=torch.float64), torch.arange(12) // 2
    fold = deal_patients(patients, FOLDS, torch.Generator().manual_seed(0)).tolist()
    slow = [
        np.mean([v for v, other in zip(range(12), fold, strict=True) if other != own])
        for own in fold
    ]
    np.testing.assert_allclose(mean_of_others(values, patients), slow)


def test_a_class_that_no_clip_is_of_any_more_has_no_area(generator: torch.Generator) -> None:
    patients = torch.arange(150)
    classes = patients % 2
    noise = torch.randn(150, 8, generator=generator)
    found = told(noise + 3 * torch.eye(8)[classes], classes.double(), patients, classes=3)
    assert found.score > 0.95


def test_a_stage_whose_windows_no_labelled_clip_fills_goes_without_a_probe(
    tmp_path: Path, micro_words: tuple[str, ...]
) -> None:
    short = [micro_clip(i, frames=12, labels=label(i)) for i in range(2 * PATIENTS)]
    long = [micro_clip(100 + i, frames=48, labels={"split": "train"}) for i in range(6)]
    write_clips(tmp_path / "clips", [*short, *long])
    later = "stages=[{begins=0.5, frames=16, seconds=2.0}]"
    often = ("watch.health_every=1", "watch.probe_every=1")
    choice = Choice(method="vjepa", steps=4, changes=(*micro_words, *often, later))
    ears = Ears()
    done = pretrain(
        tmp_path / "clips",
        choice,
        out=tmp_path / "run",
        device="cpu",
        precision="fp32",
        reporter=ears,
    )
    assert done.finished
    records = read_metrics(tmp_path / "run")
    assert ["probe_score" in record for record in records] == [True, True, False, False]
    assert sum("no probe in this stage" in said for said in ears.warned) == 1


def test_the_probe_sees_the_features_of_its_clips_in_their_order(
    clips: ClipSet, micro_words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features made of the label itself are worth everything, whatever the order of groups."""
    job = job_of(clips, micro_words)
    probe = Probe(job, SILENT)

    def perfect(sight: Any, kind: str = "mean") -> torch.Tensor:
        sight._enter()
        rows = sight.rows = np.random.default_rng(0).permutation(sight.rows).tolist()
        return torch.tensor(clips.manifest["ef_percent"].iloc[rows].to_numpy())[:, None].float()

    monkeypatch.setattr(probe_module.Sight, "features", perfect)
    found = probe.ask(0)
    assert found is not None
    assert found.score > 0.9
    assert probe.ask(1) is None


def test_labels_that_are_all_the_same_ask_nothing(
    clips: ClipSet, micro_words: tuple[str, ...]
) -> None:
    """A stage whose windows few clips fill may be left with one value."""
    probe = Probe(job_of(clips, micro_words), SILENT)
    assert probe.question is not None
    same = np.full(len(probe.question.rows), 55.0)
    probe.question = replace(probe.question, values=same)
    assert probe.ask(0) is None


def test_a_probe_is_logged_at_the_start_in_between_and_at_the_end(
    clips: ClipSet, tmp_path: Path, micro_words: tuple[str, ...]
) -> None:
    words = (*micro_words, "watch.health_every=2", "watch.probe_every=2")
    choice = Choice(method="vjepa", steps=7, changes=words)
    run = pretrain(clips.folder, choice, out=tmp_path / "r", device="cpu").run
    metrics = read_metrics(run)
    assert [r["step"] for r in metrics if "probe_score" in r] == [3, 6]
    assert metrics[0]["start_probe_guess"] == metrics[3]["probe_guess"] > 0
    page = (run / "run.html").read_text()
    assert "mean error of ef_percent" in page
    assert "predicting the mean" in page


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
