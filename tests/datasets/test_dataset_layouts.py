from __future__ import annotations

import csv
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echocli.datasets import base, camus, echonet_dynamic, phantom
from echocli.datasets._pictures import fill_polygon, sector_of
from echocli.datasets._tables import read_table
from echocli.errors import EchoError
from echocli.intake.reasons import Refused
from echocli.intake.sector import find_sector
from echocli.phantoms.archives import write_camus, write_echonet_dynamic
from echocli.phantoms.patient import Patient, PhantomConfig, draw_patient
from echocli.statistics.volumes import cavity_volume_mm3, ejection_fraction_percent

Study = tuple[Path, list[Patient]]
SHORT = PhantomConfig(seconds=(1.0, 1.05), frame_rates_hz=(22.0, 30.0))


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [draw_patient(12, k, SHORT) for k in range(3)]


@pytest.fixture(scope="module")
def echonet(tmp_path_factory: pytest.TempPathFactory, patients: list[Patient]) -> Path:
    folder = tmp_path_factory.mktemp("echonet")
    write_echonet_dynamic(folder, patients)
    return folder


@pytest.fixture(scope="module")
def camus_folder(tmp_path_factory: pytest.TempPathFactory, patients: list[Patient]) -> Path:
    folder = tmp_path_factory.mktemp("camus")
    write_camus(folder, patients, height=160, width=144)
    return folder


def _rows(path: Path) -> Any:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_module_is_a_data_set(tmp_path: Path) -> None:
    assert {"camus", "echonet_dynamic", "phantom"} <= set(base.available())
    for name in base.available():
        assert base.load(name).recognise(tmp_path) is False
        assert callable(base.load(name).loops)
    assert base.recognise(tmp_path) is None
    assert base.recognise(tmp_path / "absent") is None
    with pytest.raises(EchoError, match="none of the known data sets"):
        base.loops(tmp_path)


def test_each_layout_is_recognised_as_itself(echonet: Path, camus_folder: Path) -> None:
    assert base.recognise(echonet) == "echonet_dynamic"
    assert base.recognise(camus_folder) == "camus"
    assert base.recognise(camus_folder / "database_nifti") == "camus"


def test_echonet_tables_are_as_documented(echonet: Path) -> None:
    files = _rows(echonet / "FileList.csv")
    assert list(files[0]) == [
        *("FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth"),
        *("FPS", "NumberOfFrames", "Split"),
    ]
    assert not files[0]["FileName"].endswith(".avi")
    tracings = _rows(echonet / "VolumeTracings.csv")
    assert list(tracings[0]) == ["FileName", "X1", "Y1", "X2", "Y2", "Frame"]
    assert tracings[0]["FileName"].endswith(".avi")
    assert len(tracings) == 3 * 2 * 21
    assert {row["Split"] for row in files} <= {"TRAIN", "VAL", "TEST"}


def test_echonet_loops_carry_truth_and_split(echonet: Path, patients: list[Patient]) -> None:
    items = list(base.loops(echonet))
    assert len(items) == len(patients)
    for item, patient in zip(items, patients, strict=True):
        loop = pickle.loads(pickle.dumps(item)).read()  # noqa: S301 (our own)
        assert loop.frames.shape[1:] == (112, 112)
        ed, es = loop.labels["ed_frame"], loop.labels["es_frame"]
        areas = dict(zip(loop.mask_frames, (loop.masks == 1).sum((1, 2)), strict=True))
        assert areas[ed] > areas[es]
        assert loop.labels["ef_percent"] == pytest.approx(patient.heart.ef_percent)
        assert loop.labels["split"] == phantom.split_of(patient.index)
        assert loop.spacing_mm is None
        assert loop.time_source == "dataset"
        step = 1.0 / patient.scanner.frame_rate_hz
        assert np.diff(loop.times_s).mean() == pytest.approx(step, rel=0.01)
        # Pixels are square though their size is unknown: the ratio of volumes holds.
        volumes = {
            k: cavity_volume_mm3(mask)[0]
            for k, mask in zip(loop.mask_frames, loop.masks, strict=True)
        }
        ef = ejection_fraction_percent(volumes[ed], volumes[es])
        assert ef == pytest.approx(patient.heart.ef_percent, abs=6.0)
        lit = loop.frames.mean(0) > 30
        assert (lit & loop.sector_known).sum() > 0.98 * lit.sum()
        assert find_sector(loop).mask is loop.sector_known


def test_echonet_joins_with_the_suffix_in_either_table(echonet: Path, tmp_path: Path) -> None:
    for name in ("FileList.csv", "VolumeTracings.csv"):
        text = (echonet / name).read_text("utf-8")
        text = text.replace(".avi", "") if name != "FileList.csv" else text
        rows = text.splitlines()
        if name == "FileList.csv":
            rows[1:] = [row.replace(",", ".avi,", 1) for row in rows[1:]]
        (tmp_path / name).write_text("\n".join(rows) + "\n", "utf-8")
    (tmp_path / "Videos").mkdir()
    items = list(echonet_dynamic.loops(tmp_path))
    assert all(len(item.facts["tracings"]) == 2 for item in items)
    assert all(item.path.name.count(".avi") == 1 for item in items)


def test_echonet_without_tracings_still_has_loops(echonet: Path, tmp_path: Path) -> None:
    (tmp_path / "FileList.csv").write_bytes((echonet / "FileList.csv").read_bytes())
    (tmp_path / "Videos").symlink_to(echonet / "Videos")
    loop = next(iter(echonet_dynamic.loops(tmp_path))).read()
    assert loop.masks is None
    assert "ed_frame" not in loop.labels


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "FileList.csv"
    path.write_text("FileName,EF\nx,50\n", "utf-8")
    with pytest.raises(EchoError, match="Split"):
        read_table(path, ("FileName", "EF", "Split"))


@pytest.mark.parametrize(
    ("ef", "normal"), [(80.0, True), (55.0, True), (52.0, None), (50.0, None), (49.9, False)]
)
def test_echonets_rule_leaves_the_borderline_out(ef: float, normal: bool | None) -> None:
    assert echonet_dynamic.RULE.label({"ef_percent": ef}) is normal


def test_camus_rule_needs_a_good_picture() -> None:
    def of(ef: float | None, quality: str | None) -> bool | None:
        return camus.RULE.label({"ef_percent": ef, "quality": quality})

    assert of(60.0, "Good") is True
    assert of(60.0, "Poor") is None
    assert of(50.0, "Good") is None
    assert of(40.0, "Medium") is False
    assert of(40.0, None) is None, "an unknown picture may be a poor one"


def test_camus_runs_from_ed_to_es_whatever_the_file_says(
    camus_folder: Path, patients: list[Patient]
) -> None:
    facts = camus.read_info(camus_folder / "database_nifti/patient0003/Info_4CH.cfg")
    assert int(facts["ED"]) > int(facts["ES"]) == 1
    items = list(base.loops(camus_folder))
    assert len(items) == 2 * len(patients)
    for k, item in enumerate(items):
        loop = pickle.loads(pickle.dumps(item)).read()  # noqa: S301 (our own)
        patient = patients[k // 2]
        assert loop.labels["view"] == ("A2C", "A4C")[k % 2]
        assert (loop.labels["ed_frame"], loop.labels["es_frame"]) == (0, len(loop.frames) - 1)
        assert set(np.unique(loop.masks)) == {0, 1, 2, 3}
        row_mm, column_mm = loop.spacing_mm
        assert column_mm == pytest.approx(2 * row_mm)
        volumes = [cavity_volume_mm3(mask, loop.spacing_mm)[0] for mask in loop.masks]
        ef = ejection_fraction_percent(volumes[0], volumes[-1])
        assert ef == pytest.approx(patient.heart.ef_percent, abs=6.0)
        assert loop.labels["ef_percent"] == pytest.approx(patient.heart.ef_percent, abs=0.01)
        assert loop.labels["split"] == phantom.split_of(patient.index)
        assert loop.labels["quality"] in {"Good", "Medium", "Poor"}
        assert loop.patient_key == f"camus/patient{k // 2 + 1:04d}"
        assert loop.times_s[1] == pytest.approx(
            1 / max(45.0, patient.scanner.frame_rate_hz), rel=1e-4
        )
        truth = loop.masks.max(0) > 0
        assert (truth & loop.sector_known).sum() > 0.97 * truth.sum()


def test_a_missing_camus_sequence_is_refused_alone(camus_folder: Path) -> None:
    item = next(iter(camus.loops(camus_folder)))
    with pytest.raises(Refused):
        camus.read(item.path.with_name("absent.nii.gz"), "4CH")


def test_polygons_hold_the_pixels_whose_centre_is_inside() -> None:
    """Oracle: cast a ray from each pixel, edge by edge."""
    rng = np.random.default_rng(3)
    for _ in range(4):
        x, y = rng.uniform(-3, 24, (2, 7))
        filled = fill_polygon(x, y, 20, 22)
        for row in range(20):
            for column in range(22):
                inside = False
                for k in range(7):
                    (xa, ya), (xb, yb) = (x[k], y[k]), (x[k - 1], y[k - 1])
                    if (ya > row) != (yb > row):
                        inside ^= column < xa + (row - ya) * (xb - xa) / (yb - ya)
                assert filled[row, column] == inside


def test_marks_beside_the_sector_stay_outside() -> None:
    frames = np.zeros((4, 60, 60), np.uint8)
    fan = np.abs(np.arange(60) - 30) < np.arange(60)[:, None] * 0.5
    frames[:, fan] = 90
    frames[1, 4:9, 4:12] = 255
    sector = sector_of(frames)
    assert not sector[4:9, 4:12].any()
    assert (sector & fan).sum() > 0.95 * fan.sum()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    patients = [draw_patient(12, k, SHORT) for k in range(6)]
    folder = tmp_path_factory.mktemp("study")
    phantom.write_dicom_study(folder, patients, height=240, width=320)
    return folder, patients


def test_a_phantom_study_is_read_as_any_dicom_and_keeps_its_truth(study: Study) -> None:
    folder, patients = study
    assert base.recognise(folder) == "phantom"
    for item, patient in zip(base.loops(folder), patients, strict=True):
        loop = pickle.loads(pickle.dumps(item)).read()  # noqa: S301 (our own)
        assert loop.labels["normal"] is patient.normal
        assert loop.labels["ef_percent"] == pytest.approx(patient.heart.ef_percent, abs=1e-3)
        assert loop.masks.shape[1:] == loop.frames.shape[1:]
        assert {loop.labels["ed_frame"], loop.labels["es_frame"]} == set(loop.mask_frames)
        volume, _ = cavity_volume_mm3(loop.masks[0], loop.spacing_mm)
        first_is_ed = loop.mask_frames[0] == loop.labels["ed_frame"]
        truth = loop.labels["edv_ml" if first_is_ed else "esv_ml"]
        assert volume / 1000 == pytest.approx(truth, rel=0.12)
        sector = find_sector(loop).mask
        cavity = loop.masks[0] == 1
        assert (cavity & sector).sum() > 0.9 * cavity.sum()
        assert not sector[:20, :120].any()


def test_phantom_clips_are_ready_to_store() -> None:
    config = PhantomConfig(size=32, seconds=(1.0, 1.02), frame_rates_hz=(20.0, 25.0))
    clips = list(phantom.phantom_clips(config, 3, seed=4, start=5))
    assert len({clip.clip_id for clip in clips}) == 3
    for clip in clips:
        count = len(clip.frames)
        assert clip.frames.shape == (count, 32, 32)
        assert clip.frames[:, ~clip.sector].max() == 0
        assert clip.masks.shape == (2, 32, 32)
        assert clip.masks[:, ~clip.sector].max() == 0
        assert clip.times_s.shape == (count,)
        assert clip.labels["normal"] == (clip.labels["abnormality"] == "none")
    again = next(phantom.phantom_clips(config, 1, seed=4, start=5))
    np.testing.assert_array_equal(again.frames, clips[0].frames)
    volumes = [cavity_volume_mm3(mask, clips[0].spacing_mm)[0] for mask in clips[0].masks]
    ef = ejection_fraction_percent(max(volumes), min(volumes))
    assert ef == pytest.approx(clips[0].labels["ef_percent"], abs=10.0)
