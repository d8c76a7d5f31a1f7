"""Ejection fractions of studies, measured in masks of two views."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ears import Ears
from micro import write_clips

from echocli.api import lvef
from echocli.api.report import report
from echocli.api.verify import verify
from echocli.clips.record import Clip
from echocli.clips.writer import ClipSetWriter
from echocli.errors import EchoError, UsageError
from echocli.phantoms.patient import PhantomConfig, draw_patient, render

SIDE, FRAMES, MM = 96, 14, 1.2


def beating(length_mm: float, radius_mm: float, shrink: float) -> np.ndarray:
    """Half an ellipse over an atrium, whose radius and length shrink to a share of theirs."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) * MM - np.array([10, SIDE * MM / 2])[:, None, None]
    maps = np.zeros((FRAMES, SIDE, SIDE), np.uint8)
    for frame in range(FRAMES):
        size = 1 - (1 - shrink) * (1 - np.cos(2 * np.pi * frame / FRAMES)) / 2
        length, radius = length_mm * (0.7 + 0.3 * size), radius_mm * size
        inside = ((y - length) / length) ** 2 + (x / radius) ** 2 < 1
        maps[frame][inside & (y < length)] = 1
        maps[frame][(y >= length) & ((y - length) ** 2 + x**2 < 15**2)] = 3
    return maps


def clip(number: int, study: int, view: str | None, maps: np.ndarray, **more: Any) -> Clip:
    labels = {"view": view, "ef_percent": 40.0 + study, "split": "test"}
    record: dict[str, Any] = {
        "clip_id": f"c{number:02d}",
        "patient_id": f"p{study}",
        "study_id": f"s{study}",
        "source_sha256": f"h{number:02d}",
        "frames": np.zeros((len(maps), SIDE, SIDE), np.uint8),
        "sector": np.ones((SIDE, SIDE), bool),
        "times_s": np.arange(len(maps)) * 0.05,
        "time_source": "dataset",
        "spacing_mm": (MM, MM),
        "spacing_source": "region",
        "labels": labels | more.pop("labels", {}),
        "masks": maps,
        "mask_frames": tuple(range(len(maps))),
    }
    return Clip(**{**record, **more})


def across(radius_mm: float, shrink: float) -> np.ndarray:
    """A disc that shrinks to a share of its radius."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2) * MM
    sizes = 1 - (1 - shrink) * (1 - np.cos(2 * np.pi * np.arange(FRAMES) / FRAMES)) / 2
    reach = radius_mm * sizes[:, None, None]
    return (x**2 + y**2 < reach**2).astype(np.uint8)


ACROSS = across(22, 0.7)
A4C, A2C, SHORT = beating(82, 24, 0.7), beating(82, 18, 0.7), beating(60, 18, 0.7)


def studies() -> list[Clip]:
    return [
        clip(0, 0, "A4C", A4C),
        clip(1, 0, "A2C", A2C),
        clip(2, 1, "A4C", A4C),
        clip(3, 2, "A4C", A4C),
        clip(4, 2, "A2C", A2C, spacing_mm=None, spacing_source="unknown"),
        clip(5, 3, "A4C", A4C),
        clip(6, 3, "A2C", SHORT),
        clip(7, 4, "PLAX", A4C),
        clip(8, 5, None, A4C),
        clip(9, 6, "A4C", np.zeros_like(A4C)),
    ]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> lvef.LvefPredictions:
    folder = tmp_path_factory.mktemp("masks")
    write_clips(folder / "clips", studies())
    return lvef.from_masks(folder / "clips", folder / "lvef.csv", draws=20)


def row(found: lvef.LvefPredictions, study: int) -> pd.Series:
    return found.table.set_index("study_id").loc[f"s{study}"]


def test_two_views_are_paired_and_one_is_said_to_be_one(
    measured: lvef.LvefPredictions,
) -> None:
    both, one = row(measured, 0), row(measured, 1)
    assert both["plane"] == "biplane"
    assert both["flags"] == ""
    assert one["plane"] == "single plane A4C"
    assert one["flags"] == "single_plane"
    truth = 2 / 3 * np.pi * 82 * 24 * 18 / 1000
    assert both["edv_ml"] == pytest.approx(truth, rel=0.05)
    end = 0.7 * 0.7 * (0.7 + 0.3 * 0.7)
    assert both["ef_percent"] == pytest.approx(100 * (1 - end), abs=1.5)
    assert (both["a4c_clip"], both["a2c_clip"]) == ("c00", "c01")
    assert (both["a4c_ed_frame"], both["a4c_es_frame"]) == (0, 7)
    assert pd.isna(one["a2c_clip"])


def test_millilitres_need_the_scale_of_both_views(measured: lvef.LvefPredictions) -> None:
    bare = row(measured, 2)
    assert bare["flags"] == "uncalibrated"
    assert bare["plane"] == "biplane"
    assert pd.isna(bare["edv_ml"])
    assert pd.isna(bare["esv_ml"])
    assert bare["ef_percent"] == pytest.approx(row(measured, 0)["ef_percent"], abs=0.5)
    assert measured.summary["uncalibrated"] == 1


def test_a_short_axis_and_a_length_make_five_sixths_of_their_product(tmp_path: Path) -> None:
    clips = [
        clip(0, 0, "A4C", A4C),
        clip(1, 0, "PSAX", ACROSS),
        clip(2, 0, "PSAX", across(12, 0.9)),
        clip(3, 1, "A4C", A4C),
        clip(4, 1, "PSAX", ACROSS, spacing_mm=None, spacing_source="unknown"),
        clip(5, 2, "PSAX", ACROSS),
    ]
    write_clips(tmp_path / "clips", clips)
    measured = lvef.from_masks(tmp_path / "clips", tmp_path / "lvef.csv", draws=20)
    found, bare = row(measured, 0), row(measured, 1)
    assert found["plane"] == bare["plane"] == "area-length A4C"
    assert (found["flags"], bare["flags"]) == ("", "uncalibrated")
    assert found["psax_clip"] == "c01"  # the wider of the two
    assert found["edv_ml"] == pytest.approx(5 / 6 * np.pi * 22**2 * 82 / 1000, rel=0.03)
    shrunk = 0.7**2 * (0.7 + 0.3 * 0.7)  # less some of it, by smoothing over 0.7 s
    assert found["ef_percent"] == pytest.approx(100 * (1 - shrunk), abs=2)
    assert bare["ef_percent"] == pytest.approx(found["ef_percent"], abs=1e-6)
    assert pd.isna(bare["edv_ml"])
    left_out = {entry["clip_id"]: entry["reason"] for entry in measured.left_out}
    assert left_out == {"c05": "a short axis without an apical view of its study"}


def test_what_no_heart_ejects_is_flagged_by_area_and_length_too(tmp_path: Path) -> None:
    sixth = across(24, 0.2)  # the short axis alone is wrong: each view by itself is plausible
    clips = [clip(0, 0, "A4C", A4C), clip(1, 0, "PSAX", sixth), clip(2, 1, "A4C", A4C)]
    write_clips(tmp_path / "clips", clips)
    ears = Ears()
    measured = lvef.from_masks(tmp_path / "clips", draws=20, reporter=ears)
    assert row(measured, 0)["ef_percent"] > 90
    assert row(measured, 0)["flags"] == "ef_implausible"
    assert row(measured, 1)["flags"] == "single_plane"
    # Two views are no single one, whatever they are.
    assert [said for said in ears.warned if "single plane" in said] == [
        "1 of 2 study(ies) have one view: by a single plane every disc is taken to be round"
    ]


def test_a_foreshortened_view_and_an_unknown_one_are_flagged(
    measured: lvef.LvefPredictions,
) -> None:
    assert row(measured, 3)["flags"] == "length_mismatch"
    assert row(measured, 5)["flags"] == "single_plane;view_unknown"
    assert row(measured, 5)["unknown_clip"] == "c08"


def test_what_cannot_be_measured_is_left_out_with_its_reason(
    measured: lvef.LvefPredictions,
) -> None:
    told = {entry["clip_id"]: entry["reason"] for entry in measured.left_out}
    assert set(told) == {"c07", "c09"}
    assert "no view whose" in told["c07"]
    assert "no cavity" in told["c09"]


def test_figures_stand_beside_predicting_the_mean_and_the_table_is_whole(
    measured: lvef.LvefPredictions,
) -> None:
    summary, table = measured.summary, measured.table
    off = (table["ef_percent"] - table["measured_ef_percent"]).abs()
    assert summary["metrics"]["mae"]["value"] == pytest.approx(off.mean())
    assert summary["test"]["studies"] == len(table) == 5
    assert summary["planes"] == {"biplane": 3, "single plane A4C": 1, "single plane unknown": 1}
    assert measured.out is not None
    assert verify(measured.out).whole
    document = json.loads(measured.out.with_suffix(".json").read_text())
    assert document["schema"] == "echocli.lvef/1"
    with pytest.raises(UsageError, match="already exists"):
        lvef.from_masks(measured.out.parent / "clips", measured.out)


def test_drawn_masks_are_joined_to_their_clips_and_keep_who_was_fitted_on(
    tmp_path: Path, measured: lvef.LvefPredictions
) -> None:
    write_clips(tmp_path / "clips", studies()[::-1])
    with ClipSetWriter(tmp_path / "masks", kind="masks") as writer:
        for made in studies()[:3]:
            role = "train" if made.patient_id == "p0" else "test"
            assert made.masks is not None
            drawn: dict[str, Any] = {"frames": made.masks, "labels": {"split": role}}
            drawn |= {"masks": None, "mask_frames": ()}
            writer.add(Clip(**{**vars(made), **drawn}))
    found = lvef.from_masks(tmp_path / "masks", clips=tmp_path / "clips", draws=20)
    assert list(found.table["split"]) == ["train", "test"]
    assert found.summary["test"]["studies"] == 1
    for study in (0, 1):
        before, after = row(measured, study), row(found, study)
        assert after["ef_percent"] == pytest.approx(before["ef_percent"])
        assert after["flags"] == before["flags"]


def test_masks_are_evaluated_as_heads_are(
    tmp_path: Path, measured: lvef.LvefPredictions
) -> None:
    write_clips(tmp_path / "clips", studies())
    found = lvef.evaluate_masks(tmp_path / "clips", by=["view"], draws=20).summary
    assert found["metrics"] == measured.summary["metrics"]
    parts = {part["name"]: part for part in found["subgroups"]["view"]}
    assert {name: part["patients"] for name, part in parts.items()} == {"A4C": 4, "unknown": 1}
    table = measured.table.set_index("study_id")
    off = (table["ef_percent"] - table["measured_ef_percent"]).abs()
    assert parts["A4C"]["metrics"]["mae"]["value"] == pytest.approx(off.drop("s5").mean())
    with pytest.raises(UsageError, match="no column scaner"):
        lvef.evaluate_masks(tmp_path / "clips", by=["scaner"])
    with ClipSetWriter(tmp_path / "masks", kind="masks") as writer:
        made = studies()[0]
        assert made.masks is not None
        drawn: dict[str, Any] = {"frames": made.masks, "labels": {"split": "train"}}
        writer.add(Clip(**{**vars(made), **drawn, "masks": None, "mask_frames": ()}))
    with pytest.raises(EchoError, match="None of the 1 study"):
        lvef.evaluate_masks(tmp_path / "masks", clips=tmp_path / "clips")


def test_a_report_of_studies_names_them_and_shows_their_first_clips(tmp_path: Path) -> None:
    write_clips(tmp_path / "clips", studies())
    lvef.from_masks(tmp_path / "clips", tmp_path / "predictions/lvef.csv", draws=20)
    page = report(tmp_path).out.read_text()
    assert "Ejection fraction of 5 studies of 5 patients, by discs or area" in page
    assert "Ejection fraction by masks, test split: 5 studies of 5 patients" in page
    assert "Where it was furthest off" in page
    assert "None clips" not in page


def test_nothing_to_measure_is_refused(tmp_path: Path) -> None:
    bare = clip(0, 0, "A4C", A4C, masks=None, mask_frames=())
    write_clips(tmp_path / "bare", [bare])
    with pytest.raises(EchoError, match="has masks"):
        lvef.from_masks(tmp_path / "bare", tmp_path / "out.csv")
    empty = clip(0, 0, "A4C", np.zeros_like(A4C))
    write_clips(tmp_path / "empty", [empty])
    with pytest.raises(EchoError, match="cavity"):
        lvef.from_masks(tmp_path / "empty", tmp_path / "out.csv")
    strange = clip(0, 0, "A4C", A4C, labels={"ef_percent": 120.0})
    write_clips(tmp_path / "strange", [strange])
    with pytest.raises(EchoError, match="outside 0 to 100"):
        lvef.from_masks(tmp_path / "strange", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_phantoms_with_both_views_are_met_within_a_point(tmp_path: Path) -> None:
    config = PhantomConfig(seconds=(1.0, 1.0), frame_rates_hz=(20.0, 22.0))
    clips, truth = [], []
    for study in range(4):
        patient = draw_patient(5, study, config)
        for view in ("A4C", "A2C"):
            loop = render(patient, view=view, height=128, width=128)
            sparse = study % 2  # as traced by readers: end-diastole and end-systole alone
            marked = sorted({loop.ed_frame, loop.es_frame}) if sparse else loop.mask_frames
            clips.append(
                clip(
                    len(clips),
                    study,
                    view,
                    loop.masks,
                    frames=loop.frames,
                    sector=loop.sector,
                    times_s=loop.times_s,
                    spacing_mm=loop.spacing_mm,
                    masks=loop.masks[list(marked)],
                    mask_frames=tuple(marked),
                )
            )
        truth.append(100 * (1 - loop.volumes_ml.min() / loop.volumes_ml.max()))
    write_clips(tmp_path / "clips", clips)
    table = lvef.from_masks(tmp_path / "clips", draws=2).table
    assert (table["plane"] == "biplane").all()
    off = np.abs(table["ef_percent"].to_numpy() - truth)
    assert off.mean() < 1.0
    assert off.max() < 2.0
