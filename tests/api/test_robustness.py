"""An evaluation on clips with faults: the same as ever without one, paired with every other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from echocli.api import classify, lvef, segment
from echocli.api._robust_clips import Fault, write_with_fault
from echocli.api.embed import embed
from echocli.api.robustness import SCHEMA, RobustnessConfig, robustness
from echocli.api.score import ScoreConfig, score
from echocli.api.verify import verify
from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.clips.writer import ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.errors import EchoError, UsageError
from echocli.files import read_json, sums_of, write_json
from echocli.models.perturb import PERTURBATIONS
from echocli.models.tasks.segmentation import SegmentationConfig
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.statistics.paired import paired_bootstrap

DRAWS = 60
QUICK = RobustnessConfig(perturbations=("narrow", "low_gain"), strengths=(1.0,), draws=DRAWS)
HEART = PhantomConfig(
    size=32, difficulty="easy", seconds=(0.6, 0.7), frame_rates_hz=(15.0, 20.0)
)
SPLITS = ("train", "val", "test", "test")
RULE = "ef_percent>=50"


def patients() -> Iterator[Clip]:
    """Yield 32 clips: eight hearts, each of four patients who echo more or less."""
    for number, clip in enumerate(phantom_clips(HEART, 8, seed=4)):
        for echo, split in enumerate(SPLITS):
            yield replace(
                clip,
                clip_id=f"clip{number}-{echo}",
                patient_id=f"patient{number}-{echo}",
                frames=(clip.frames * (1 - 0.1 * echo)).astype(np.uint8),
                labels={**clip.labels, "split": split},
            )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms, a random encoder and the three heads on it."""
    folder = tmp_path_factory.mktemp("study")
    with ClipSetWriter(folder / "clips") as writer:
        for clip in patients():
            writer.add(clip)
    shape = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=32, depth=1, heads=2)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    data = DataConfig(frames=4, size=32, seconds=0.4)
    save_model(folder / "model", encoder, data, "vjepa", {"clip_size": 32})
    clips, model = folder / "clips", folder / "model"
    lvef.fit(clips, model, folder / "lvef", config=lvef.LvefConfig(draws=DRAWS))
    config = segment.SegmentConfig(head=SegmentationConfig(steps=30))
    segment.fit(clips, model, folder / "segment", config=config)
    named = classify.ClassifyConfig(label="ef_percent<50", draws=DRAWS)
    classify.fit(clips, model, folder / "classify", config=named)
    return folder


def known_figures(study: Path, task: str) -> dict[str, float]:
    """Return what the task's own evaluation says."""
    clips, head = study / "clips", study / task
    if task == "lvef":
        metrics = lvef.evaluate(clips, head, draws=1).summary["metrics"]
        return {"mae": metrics["mae"]["value"]}
    if task == "classify":
        metrics = classify.evaluate(clips, head, draws=1).summary["metrics"]
        return {name: metrics[name]["value"] for name in ("auroc", "balanced_accuracy")}
    if task == "segment":
        dice = segment.evaluate(clips, head, draws=1).summary["metrics"]["dice"]
        return {f"dice {name}": figure["value"] for name, figure in dice.items()}
    table = study / "whole.parquet"
    embed(clips, model=study / "model", out=table)
    found = score(table, normal_rule=RULE, config=ScoreConfig(draws=1))
    return {"auroc": found.summary["metrics"]["auroc"]["value"]}


@pytest.mark.parametrize("task", ["lvef", "classify", "segment", "score"])
def test_without_a_fault_the_figures_are_those_of_the_evaluation(
    study: Path, task: str
) -> None:
    found = robustness(
        task,
        study / "clips",
        head=None if task == "score" else study / task,
        model=study / "model",
        normal_rule=RULE if task == "score" else None,
        config=QUICK,
    )
    assert found.out is None
    assert set(found.table["patients"]) == {16}
    rows: dict[tuple[str, str], Mapping[Any, Any]] = {
        (row["perturbation"], row["figure"]): row for row in found.table.to_dict("records")
    }
    expected = known_figures(study, task)
    clean = {figure: rows["none", figure]["value"] for figure in expected}
    assert clean == pytest.approx(expected)
    for (name, figure), row in rows.items():
        if name == "none":
            assert np.isnan(row["worse_by"])
            continue
        sign = 1 if figure in ("mae", "false_alarms") else -1
        drop = sign * (row["value"] - rows["none", figure]["value"])
        assert row["worse_by"] == pytest.approx(drop, nan_ok=True)
        assert not row["worse_low"] > row["worse_high"]
    assert {rows["narrow", figure]["value"] for figure in expected} != set(clean.values())


def test_of_masks_only_what_is_labelled_and_can_be_read_is_judged(
    study: Path, tmp_path: Path
) -> None:
    chosen = list(patients())[:12]
    with ClipSetWriter(tmp_path / "clips") as writer:
        for number, clip in enumerate(chosen):
            assert clip.masks is not None
            assert clip.times_s is not None
            cavity = replace(clip, masks=(clip.masks == 1).astype(np.uint8))
            if number == len(chosen) - 1:  # a test patient with a picture, not a loop
                still = {"frames": clip.frames[:1], "times_s": clip.times_s[:1]}
                cavity = replace(cavity, **still, masks=cavity.masks[:1], mask_frames=(0,))
            writer.add(cavity)
    config = segment.SegmentConfig(head=SegmentationConfig(steps=30))
    segment.fit(tmp_path / "clips", study / "model", tmp_path / "head", config=config)
    found = robustness("segment", tmp_path / "clips", head=tmp_path / "head", config=QUICK)
    assert set(found.table["figure"]) == {"dice lv_cavity"}
    assert found.table["value"].notna().all()
    assert set(found.table["patients"]) == {5}
    assert [clip["clip_id"] for clip in found.left_out] == [chosen[-1].clip_id]


def test_the_pairs_are_of_the_same_patients(study: Path) -> None:
    """The interval of the difference is the one of paired errors, by the slow road."""
    config = RobustnessConfig(perturbations=("speckle",), strengths=(1.0,), draws=DRAWS)
    found = robustness("lvef", study / "clips", head=study / "lvef", config=config)
    opened = ClipSet.open(study / "clips")
    rows = np.flatnonzero(opened.manifest["split"] == "test").tolist()
    copies = study / "by-hand"
    write_with_fault(opened, rows, copies, Fault("speckle", 1.0), 0)
    errors = []
    for source in (copies, study / "clips"):
        told = lvef.predict(source, study / "lvef", draws=1).table.set_index("clip_id")
        told = told.loc[opened.manifest["clip_id"].iloc[rows]]
        errors.append((told["ef_percent"] - told["measured_ef_percent"]).abs().to_numpy())
    patients = opened.manifest["patient_id"].iloc[rows].to_numpy(dtype=np.str_)
    expected = paired_bootstrap(
        lambda w: (w @ errors[0]) / w.sum(axis=-1),
        lambda w: (w @ errors[1]) / w.sum(axis=-1),
        patients,
        seed=0,
        draws=DRAWS,
    )
    row = found.table.iloc[1]
    drop = expected.difference
    assert row[["worse_by", "worse_low", "worse_high", "p_value"]].tolist() == pytest.approx(
        [drop.value, drop.low, drop.high, expected.p_value]
    )


@pytest.mark.parametrize("fault", [None, *(Fault(name, 0.0) for name in PERTURBATIONS)])
def test_a_copy_without_a_fault_is_the_same_clip_set(
    study: Path, tmp_path: Path, fault: Fault | None
) -> None:
    opened = ClipSet.open(study / "clips")
    write_with_fault(opened, [5, 2], tmp_path / "copy", fault, 0)
    copy = ClipSet.open(tmp_path / "copy")
    assert copy.verify() == []
    moved = ["shard", "offset", "mask_shard", "mask_offset"]
    expected = opened.subset([5, 2])
    pd.testing.assert_frame_equal(
        copy.manifest.drop(columns=moved), expected.manifest.drop(columns=moved)
    )
    for row in range(2):
        assert np.array_equal(copy.frames(row), expected.frames(row))
        masks, wanted = copy.fine_masks(row), expected.fine_masks(row)
        assert masks is not None
        assert wanted is not None
        assert np.array_equal(masks, wanted)


def test_a_narrower_scan_has_a_narrower_sector(study: Path, tmp_path: Path) -> None:
    opened = ClipSet.open(study / "clips")
    write_with_fault(opened, [0], tmp_path / "copy", Fault("narrow", 0.5), 0)
    copy = ClipSet.open(tmp_path / "copy")
    before, after = opened.sector(0), copy.sector(0)
    assert after.sum() < before.sum()
    assert not (after & ~before).any()
    assert not copy.frames(0)[:, ~after].any()


def test_a_clip_has_its_own_fault_whatever_stands_beside_it(
    study: Path, tmp_path: Path
) -> None:
    opened = ClipSet.open(study / "clips")
    for name, rows in (("both", [0, 1]), ("one", [1])):
        write_with_fault(opened, rows, tmp_path / name, Fault("shadow", 0.5), 0)
    both, one = ClipSet.open(tmp_path / "both"), ClipSet.open(tmp_path / "one")
    assert np.array_equal(both.frames(1), one.frames(0))
    write_with_fault(opened, [1], tmp_path / "other", Fault("shadow", 0.5), 1)
    assert not np.array_equal(one.frames(0), ClipSet.open(tmp_path / "other").frames(0))


def test_the_folder_is_whole_and_nothing_else_stays(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "robustness"
    config = RobustnessConfig(perturbations=("shadow",), strengths=(1.0, 0.5), draws=DRAWS)
    clips, head = study / "clips", study / "lvef"
    found = robustness("lvef", clips, out, head=head, config=config)
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    names = {"robustness.csv", "robustness.png", "robustness.json", "faults.png"}
    assert {path.name for path in out.iterdir()} == names
    table = pd.read_csv(out / "robustness.csv")
    assert table["strength"].tolist() == [0, 0.5, 1]
    pd.testing.assert_frame_equal(table, found.table)
    summary = read_json(out / "robustness.json")
    assert summary["schema"] == "echocli.robustness/1"
    assert summary["rows"] == 16
    assert set(summary["sha256"]) == names - {"robustness.json"}
    for picture in ("robustness.png", "faults.png"):
        with Image.open(out / picture) as opened:
            assert np.asarray(opened.convert("L")).std() > 10
    with pytest.raises(UsageError, match="already exists"):
        robustness("lvef", clips, out, head=head, config=config)
    again = robustness("lvef", clips, out, head=head, config=config, overwrite=True)
    pd.testing.assert_frame_equal(again.table, found.table)


def test_wishes_that_make_no_sense_are_refused(study: Path) -> None:
    for wishes in ({"perturbations": ("fog",)}, {"strengths": (0.0,)}, {"strengths": ()}):
        with pytest.raises(UsageError):
            RobustnessConfig(**wishes)
    with pytest.raises(UsageError, match="no task"):
        robustness("embed", study / "clips")
    with pytest.raises(UsageError, match="needs a head"):
        robustness("lvef", study / "clips")
    trained = ClipSet.open(study / "clips").manifest["split"] == "train"
    opened = ClipSet.open(study / "clips")
    write_with_fault(opened, np.flatnonzero(trained).tolist(), study / "seen", None, 0)
    with pytest.raises(EchoError, match="took no part in fitting"):
        robustness("lvef", study / "seen", head=study / "lvef", config=QUICK)


def test_verify_knows_a_table_of_robustness(tmp_path: Path) -> None:
    (tmp_path / "robustness.csv").write_text("figure,value\nmae,3\n")
    sums = sums_of(tmp_path, ["robustness.csv"])
    write_json(tmp_path / "robustness.json", {"schema": SCHEMA, "sha256": sums})
    assert verify(tmp_path).whole
    (tmp_path / "robustness.csv").write_text("figure,value\nmae,2\n")
    (found,) = verify(tmp_path).damaged
    assert "robustness.csv: changed" in found.problems[0].found
