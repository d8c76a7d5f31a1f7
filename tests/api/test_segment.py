from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from made_hearts import ED, ES, FRAMES, clip, ventricle, write_clips, write_model
from PIL import Image

from echocli.api import segment
from echocli.api._finetune import TuneConfig
from echocli.api._segment.figures import measure
from echocli.api._segment.measures import flicker
from echocli.api._splits import share_of_patients
from echocli.api.segment import SegmentConfig
from echocli.api.verify import verify
from echocli.checkpoint import load_model
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.errors import EchoError, ExitCode, SpaceError, UsageError
from echocli.models.finetune import FitConfig
from echocli.models.tasks.segmentation import SegmentationConfig
from echocli.statistics.overlap import dice, overlap
from echocli.statistics.surface import distances
from echocli.statistics.volumes import cavity_volume_mm3, smooth_curve

QUICK = SegmentConfig(draws=50, head=SegmentationConfig(steps=150, batch=8))


def short(one: Clip) -> Clip:
    """Return the first frames of a clip, too few for a single token."""
    assert one.times_s is not None
    assert one.masks is not None
    few = {"frames": one.frames[:2], "times_s": one.times_s[:2]}
    return replace(one, **few, masks=one.masks[:1], mask_frames=(0,))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_clips(folder / "clips", [clip(number) for number in range(25)])
    write_model(folder / "model")
    segment.fit(folder / "clips", folder / "model", folder / "heads/segment", config=QUICK)
    return folder


@pytest.fixture(scope="module")
def predicted(study: Path) -> segment.SegmentPredictions:
    out = study / "predictions/segment"
    return segment.predict(study / "clips", study / "heads/segment", out, overlays=3, draws=50)


def test_a_linear_head_learns_what_tokens_hold_and_beats_the_mean_map(study: Path) -> None:
    config = json.loads((study / "heads/segment/config.json").read_text())
    ours, mean = config["metrics"]["dice"], config["mean_map"]["dice"]
    assert ours["lv_cavity"]["value"] > 0.85
    assert ours["lv_cavity"]["value"] > mean["lv_cavity"]["value"]
    assert ours["lv_myocardium"]["value"] > mean["lv_myocardium"]["value"] + 0.05
    assert ours["lv_cavity"]["low"] <= ours["lv_cavity"]["value"] <= ours["lv_cavity"]["high"]
    assert ours["left_atrium"] == {"value": None, "low": None, "high": None}
    assert config["test"] == {"frames": 10, "patients": 5}
    assert config["n"]["train"] == {"clips": 15, "frames": 30, "patients": 15}


def test_every_frame_of_every_clip_is_labelled_and_right_between_the_labelled_ones(
    study: Path, predicted: segment.SegmentPredictions
) -> None:
    assert predicted.out is not None
    masks, clips = ClipSet.open(predicted.out), ClipSet.open(study / "clips")
    assert masks.kind == "masks"
    assert not masks.verify()
    assert list(masks.manifest["clip_id"]) == list(clips.manifest["clip_id"])
    for row in (4, 9):  # test patients
        labels = masks.frames(row)
        assert labels.shape == clips.frames(row).shape
        truth = ventricle(row, 32)[1]
        scores = [dice(ours == 1, true == 1) for ours, true in zip(labels, truth, strict=True)]
        assert min(scores) > 0.7
        assert np.mean(scores) > 0.82


def test_figures_areas_and_volumes_are_those_of_the_masks(
    study: Path, predicted: segment.SegmentPredictions
) -> None:
    assert predicted.out is not None
    masks, clips = ClipSet.open(predicted.out), ClipSet.open(study / "clips")
    found = []
    for row in np.flatnonzero(clips.manifest["split"] == "test"):
        truth = clips.masks(row)
        assert truth is not None
        ours = masks.frames(row)[list(clips.mask_frames(row))]
        found += [dice(o == 1, t == 1) for o, t in zip(ours, truth, strict=True)]
    document = json.loads((predicted.out / "segment.json").read_text())
    assert document["schema"] == "echocli.segment/1"
    assert document["metrics"]["dice"]["lv_cavity"]["value"] == pytest.approx(np.mean(found))

    areas = pd.read_csv(predicted.out / "areas.csv")
    assert set(areas["structure"]) == {"lv_cavity", "lv_myocardium"}  # no mask has an atrium
    assert len(areas) == 25 * FRAMES * 2
    one = areas[(areas["clip_id"] == "clip4") & (areas["structure"] == "lv_cavity")]
    counts = (masks.frames(4) == 1).sum(axis=(1, 2))
    np.testing.assert_array_equal(one["pixels"], counts)
    np.testing.assert_allclose(one["mm2"], counts * 9.0)
    np.testing.assert_allclose(one["time_s"], np.arange(FRAMES) * 0.04)

    volumes = pd.read_csv(predicted.out / "volumes.csv").set_index("clip_id")
    row = volumes.loc["clip4"]
    found_volumes = [cavity_volume_mm3(frame, (3.0, 3.0)) for frame in masks.frames(4)]
    curve = np.array([one[0] for one in found_volumes if one is not None])
    smooth = smooth_curve(curve, clips.times_s(4))
    assert row["edv_ml"] == pytest.approx(smooth.max() / 1000)
    assert row["ed_frame"] == smooth.argmax()
    assert row["ef_percent"] == pytest.approx(100 * (1 - row["esv_ml"] / row["edv_ml"]))
    assert row["measured_ef_percent"] == pytest.approx(ventricle(4, 32)[2])
    assert "axis_from_shape" in row["flags"]
    assert document["ef_from_masks"]["metrics"]["pearson"]["value"] > 0.5


def test_a_dense_head_learns_is_kept_and_says_the_same_again(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = FitConfig(epochs=1, least_steps=200, lr=3e-3, batch=8)
    config = SegmentConfig(draws=50, probe="dense", dense=fit)
    head = tmp_path / "heads/dense"
    found = segment.fit(study / "clips", study / "model", head, config=config)
    assert found.config["probe"] == "dense"
    ours, mean = found.config["metrics"]["dice"], found.config["mean_map"]["dice"]
    for name in ("lv_cavity", "lv_myocardium"):
        assert ours[name]["value"] > mean[name]["value"] + 0.03, name
    again = segment.evaluate(study / "clips", head, draws=50)
    assert again.summary["metrics"] == found.config["metrics"]
    assert sorted(path.name for path in head.parent.iterdir()) == ["dense"]  # no tokens left

    full = namedtuple("usage", "total used free")(1, 1, 1)
    monkeypatch.setattr("echocli.api._tokens.shutil.disk_usage", lambda _: full)
    with pytest.raises(SpaceError, match="labelled frames") as caught:
        segment.fit(study / "clips", study / "model", tmp_path / "other", config=config)
    assert "--head linear" in caught.value.remedy


def test_a_share_of_the_labels_is_of_patients_and_part_of_a_greater_share(
    study: Path, tmp_path: Path
) -> None:
    names = [f"patient{number}" for number in range(40)]
    shares = [share_of_patients(names * 2, share, 3) for share in (0.01, 0.1, 0.5, 1)]
    assert [len(one) for one in shares] == [1, 4, 20, 40]
    assert shares[0] < shares[1] < shares[2] < shares[3]
    assert share_of_patients(names, 0.5, 4) != shares[2]
    assert share_of_patients(names[:39], 0.5, 3) <= shares[2]

    config = replace(QUICK, head=SegmentationConfig(steps=2), label_fraction=0.2)
    found = segment.fit(study / "clips", study / "model", tmp_path / "head", config=config)
    assert found.config["n"]["train"] == {"clips": 3, "frames": 6, "patients": 3}
    assert found.config["label_fraction"] == 0.2
    assert found.config["test"] == {"frames": 10, "patients": 5}
    assert len(found.config["patients"]["train"]) == 15  # no stranger to any head of the study
    with pytest.raises(UsageError, match="--label-fraction"):
        SegmentConfig(label_fraction=1.5)


def test_heads_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no head unet"):
        SegmentConfig(probe="unet")
    with pytest.raises(UsageError, match="frozen encoder"):
        SegmentConfig(probe="dense", tune=TuneConfig(blocks=1))
    few = write_clips(tmp_path / "few", [clip(0), clip(1), clip(4)])
    model = write_model(tmp_path / "model")
    with pytest.raises(EchoError, match="2 patient") as caught:
        segment.fit(few, model, tmp_path / "head", config=SegmentConfig(probe="dense"))
    assert "--head linear" in caught.value.remedy


def test_figures_are_of_structures_views_phases_and_columns(
    study: Path, tmp_path: Path
) -> None:
    chosen = [clip(number, masks=True, scale=number != 109) for number in (104, 109, 114, 119)]
    sites = ("a", "a", "b", "b")
    named = [
        replace(
            one,
            labels={
                **one.labels,
                "view": view,
                "ed_frame": ED,
                "es_frame": ES,
                "scanner": scanner,
            },
        )
        for one, view, scanner in zip(chosen, ("A4C", "A2C", "A4C", None), sites, strict=True)
    ]
    folder = write_clips(tmp_path / "clips", named)
    head = study / "heads/segment"
    summary = segment.evaluate(folder, head, by=["scanner", "view"], draws=50).summary
    clips = ClipSet.open(folder)
    maps = segment.predict(folder, head, tmp_path / "out", overlays=0, draws=50)
    masks = ClipSet.open(tmp_path / "out")
    table = []
    for row in range(4):
        truth = clips.masks(row)
        assert truth is not None
        for frame, theirs, phase in zip((ED, ES), truth, ("ED", "ES"), strict=True):
            ours, theirs = masks.frames(row)[frame] == 1, theirs == 1
            far = distances(ours, theirs, (3.0, 3.0)) if row != 1 else (np.nan,) * 3
            view, scanner = named[row].labels["view"], sites[row]
            found = *overlap(ours, theirs), *far, float(dice(ours, theirs) < 0.7)
            table.append((view or "unknown", scanner, phase, *found))
    names = ["dice", "jaccard", "precision", "recall", "hd95_mm", "hausdorff_mm", "assd_mm"]
    slow = pd.DataFrame(table, columns=["view", "scanner", "phase", *names, "failure_rate"])
    for name in (*names, "failure_rate"):
        got = summary["metrics"][name]["lv_cavity"]
        assert got["value"] == pytest.approx(slow[name].mean()), name
        for column in ("view", "phase", "scanner"):
            means = slow.groupby(column)[name].mean().dropna()
            parts = {
                part["name"]: part["metrics"][name]["lv_cavity"]["value"]
                for part in summary["subgroups"][column]
            }
            known = {key: value for key, value in parts.items() if value is not None}
            assert known == pytest.approx(means.to_dict()), (name, column)
    assert summary["calibrated"] == {"frames": 6, "patients": 3, "left_out_of_mm": 2}
    assert [p["name"] for p in summary["subgroups"]["view_phase"]] == [
        *("A2C ED", "A2C ES", "A4C ED", "A4C ES", "unknown"),
    ]
    first = summary["subgroups"]["view"][1]
    assert (first["name"], first["frames"], first["clips"], first["small"]) == (
        *("A4C", 4, 2, True),
    )
    assert set(maps.summary["subgroups"]) == {"view", "phase", "view_phase"}
    with pytest.raises(UsageError, match="scaner"):
        segment.evaluate(folder, head, by=["scaner"])


def test_a_structure_drawn_where_none_is_counts_as_the_worst() -> None:
    truth, drawn = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint8)
    drawn[5:9, 5:9] = 1
    one = measure(0, 0, drawn, truth, truth, (0.5, 1.0))
    cavity = one.regions["lv_cavity"]
    assert (cavity["dice"], cavity["precision"], cavity["failure_rate"]) == (0, 0, 1)
    assert cavity["hausdorff_mm"] == pytest.approx(np.hypot(15, 40))
    assert all(np.isnan(value) for value in one.regions["left_atrium"].values())
    bare = measure(0, 0, drawn, drawn, truth, None).regions["lv_cavity"]
    assert bare["dice"] == 1
    assert all(np.isnan(bare[name]) for name in ("hd95_mm", "hausdorff_mm", "assd_mm"))


def test_pictures_are_drawn_up_to_the_number_asked_for(
    predicted: segment.SegmentPredictions,
) -> None:
    assert predicted.out is not None
    pictures = sorted((predicted.out / "overlays").iterdir())
    assert len(pictures) == 3
    picture = np.asarray(Image.open(pictures[0]))
    assert picture.shape[0] >= 336
    assert picture.shape[1] == 2 * picture.shape[0]  # end-diastole and end-systole
    assert (picture == np.array([255, 196, 0])).all(axis=2).any()


def test_curves_and_masks_as_files_say_what_the_clip_set_says(
    study: Path, tmp_path: Path
) -> None:
    folder = write_clips(tmp_path / "clips", [clip(104), clip(109, scale=False)])
    head, out = study / "heads/segment", tmp_path / "out"
    result = segment.predict(
        folder, head, out, draws=50, overlays=0, write=["nifti", "png", "mp4"]
    )
    masks = ClipSet.open(out)
    names = {
        f"{kind}/{path.name}"
        for kind in ("nifti", "png", "mp4")
        for path in (out / kind).iterdir()
    }
    assert len(names) == 2 + 2 * FRAMES + 2
    assert verify(out).whole
    listed = set(json.loads((out / "segment.json").read_text())["sha256"])
    assert names <= listed
    assert {
        "curves.csv",
        "nifti/clip104.nii.gz",
        "png/clip109_00013.png",
        "mp4/clip104.mp4",
    } <= listed
    for row, name in enumerate(("clip104", "clip109")):
        image = nibabel.load(out / f"nifti/{name}.nii.gz")
        maps = np.asarray(image.dataobj)[:, :, 0].T
        np.testing.assert_array_equal(maps, masks.frames(row))
        zooms = image.header.get_zooms()
        np.testing.assert_allclose(
            zooms, (*((3, 3) if row == 0 else (1, 1)), 1, 0.04), rtol=1e-5
        )
        assert image.header.get_xyzt_units() == ("unknown" if row else "mm", "sec")
        for frame in (0, 13):
            picture = np.asarray(Image.open(out / f"png/{name}_{frame:05d}.png"))
            np.testing.assert_array_equal(picture, masks.frames(row)[frame])
    curves = pd.read_csv(out / "curves.csv")
    assert len(curves) == 2 * FRAMES
    one, two = (curves[curves["clip_id"] == name] for name in ("clip104", "clip109"))
    volumes = result.volumes.iloc[0]
    assert one["smooth_ml"].iloc[volumes["ed_frame"]] == pytest.approx(volumes["edv_ml"])
    assert one["share_of_largest"].max() == pytest.approx(1)
    assert 100 * (1 - two["share_of_largest"].min()) == pytest.approx(
        result.volumes["ef_percent"].iloc[1]
    )
    assert two[["volume_ml", "smooth_ml"]].isna().all(axis=None)
    assert result.summary["flicker"]["value"] == pytest.approx(result.volumes["flicker"].mean())
    with pytest.raises(UsageError, match="as dicom"):
        segment.predict(folder, head, tmp_path / "other", write=["dicom"])


def test_flicker_is_of_jumps_not_of_the_beat() -> None:
    beat = 1000 + 300 * np.cos(np.linspace(0, 4 * np.pi, 80))
    jumps = beat + 60 * (-1.0) ** np.arange(80)
    steady, unsteady = flicker(beat.astype(int)), flicker(jumps.astype(int))
    assert steady is not None
    assert unsteady is not None
    assert unsteady > 10 * steady
    assert flicker(np.array([0, 1, 0, 1])) == 2  # as bad as it gets
    assert flicker(np.array([5, 5, 5, 5])) is None


def test_clips_of_another_size_are_segmented_at_their_own(study: Path, tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", [clip(number, side=64) for number in (104, 109)])
    result = segment.predict(folder, study / "heads/segment", tmp_path / "out", draws=50)
    masks = ClipSet.open(tmp_path / "out")
    assert masks.frames(0).shape == (FRAMES, 64, 64)
    assert result.summary["metrics"]["dice"]["lv_cavity"]["value"] > 0.75


def test_millilitres_only_where_the_scale_is_known(study: Path, tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", [clip(104, scale=False, masks=False)])
    result = segment.predict(folder, study / "heads/segment", tmp_path / "out", draws=50)
    row = result.volumes.iloc[0]
    assert pd.isna(row["edv_ml"])
    assert pd.isna(row["esv_ml"])
    assert 0 < row["ef_percent"] < 100
    assert "uncalibrated" in row["flags"]
    assert pd.read_csv(tmp_path / "out/areas.csv")["mm2"].isna().all()
    assert result.summary["metrics"] is None


def test_evaluate_equals_predict_on_unseen_patients(
    study: Path, predicted: segment.SegmentPredictions
) -> None:
    result = segment.evaluate(study / "clips", study / "heads/segment", draws=50)
    assert result.summary["metrics"] == predicted.summary["metrics"]
    assert result.summary["test"]["patients"] == 5


def test_the_head_is_refused_with_another_encoder(study: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", seed=1)
    with pytest.raises(EchoError) as caught:
        segment.predict(study / "clips", study / "heads/segment", tmp_path / "o", model=other)
    for path in (study / "model", other):
        assert load_model(path).sha256[:12] in caught.value.problem
    assert "echocli segment fit" in caught.value.remedy
    assert not (tmp_path / "o").exists()


def test_missing_masks_and_heads_name_the_remedy(study: Path, tmp_path: Path) -> None:
    bare = write_clips(tmp_path / "bare", [clip(number, masks=False) for number in range(3)])
    with pytest.raises(EchoError, match=r"masks.*CAMUS"):
        segment.fit(bare, study / "model", tmp_path / "head")
    with pytest.raises(EchoError, match="echocli segment fit"):
        segment.predict(bare, tmp_path / "none", tmp_path / "out")
    with pytest.raises(EchoError, match="not fitted on"):
        segment.evaluate(bare, study / "heads/segment")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bare"]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (clip(0, timed=False), r"1 clip.*without frame times"),
        (short(clip(0)), r"1 clip.*shorter than one window"),
    ],
)
def test_masked_clips_that_the_encoder_cannot_read_are_told_from_none(
    study: Path, tmp_path: Path, wrong: Clip, problem: str
) -> None:
    clips = write_clips(tmp_path / "clips", [wrong, clip(1, masks=False)])
    with pytest.raises(EchoError, match=problem) as caught:
        segment.fit(clips, study / "model", tmp_path / "head")
    assert "--from-scratch unet" in caught.value.remedy
    assert not (tmp_path / "head").exists()


def test_a_patient_in_two_splits_is_refused(study: Path, tmp_path: Path) -> None:
    twice = replace(clip(0), patient_id="patient1", labels={"split": "test"})
    clips = write_clips(tmp_path / "clips", [clip(1), twice, clip(2)])
    with pytest.raises(EchoError, match="more than one split") as caught:
        segment.fit(clips, study / "model", tmp_path / "head")
    assert caught.value.code == ExitCode.INPUT
    assert not (tmp_path / "head").exists()


def test_masks_of_another_size_never_become_a_clip(tmp_path: Path) -> None:
    wrong = replace(clip(0), masks=np.zeros((2, 30, 32), np.uint8))
    with pytest.raises(ValueError, match="Masks are"):
        write_clips(tmp_path / "clips", [wrong])
    assert not ClipSet.is_one(tmp_path / "clips")


def test_nothing_is_clobbered_and_a_failure_leaves_what_was_there(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (out / "segment.json").write_text("{}")  # without it nothing would be replaced at all
    with pytest.raises(UsageError, match="--overwrite"):
        segment.predict(study / "clips", study / "heads/segment", out)

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("echocli.api._segment.output.area_rows", fail)
    with pytest.raises(KeyboardInterrupt):
        segment.predict(study / "clips", study / "heads/segment", out, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert sorted(p.name for p in out.iterdir()) == ["mine.txt", "segment.json"]
