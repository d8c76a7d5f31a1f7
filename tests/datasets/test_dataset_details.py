"""What is peculiar to a data set, looked at in the loops themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake import (
    camus,
    cardiac_uda,
    echonet_dynamic,
    echonet_lvh,
    echonet_pediatric,
    hmc_qu,
    labelled_folder,
    mimic_echo,
    rvenet,
    tmed2,
)
from fake.parts import Fake, loop, phases
from fake.volumes import SIZE, write_pair

from echocli.datasets import base
from echocli.datasets import camus as camus_reader
from echocli.datasets import cardiac_uda as uda_reader
from echocli.datasets import echonet_lvh as lvh_reader
from echocli.datasets import rvenet as rvenet_reader
from echocli.datasets._pictures import at_rate
from echocli.datasets._tables import number, read_sheet, whole
from echocli.datasets.base import DatasetItem
from echocli.intake.loop import Region
from echocli.intake.read import read_loop
from echocli.intake.reasons import Refused

Made = Callable[[object], dict[int, DatasetItem]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Return the items of a fake by their rows."""

    def make(module: object) -> dict[int, DatasetItem]:
        fake: Fake = module.write(tmp_path)  # type: ignore[attr-defined]
        return {item.row: item for item in base.loops(fake.root)}

    return make


def overlap(one: object, other: object) -> float:
    """Return the Dice coefficient."""
    a, b = np.asarray(one, bool), np.asarray(other, bool)
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_dynamic_traces_the_true_cavity_and_tells_ed_by_area(made: Made) -> None:
    items = made(echonet_dynamic)
    read = items[1].read()
    _, truth = loop(0)
    ed, es = phases(truth)
    assert (read.labels["ed_frame"], read.labels["es_frame"]) == (ed, es)
    assert set(read.mask_frames) == {ed, es}
    for mask, frame in zip(read.masks, read.mask_frames, strict=True):
        assert overlap(mask == 1, truth[frame] == 1) > 0.93
    assert items[1 + echonet_dynamic.UNTRACED].read().masks is None
    with pytest.raises(Refused, match="row 5 of the data set's index"):
        items[1 + echonet_dynamic.MISSING].read()


def test_dynamic_notes_a_rate_that_the_container_contradicts(made: Made) -> None:
    item = made(echonet_dynamic)[1]
    slow = replace(item, facts={**item.facts, "rate_hz": 50.0}).read()
    assert "rates_disagree" in slow.notes
    assert slow.times_s[1] == pytest.approx(0.02), "the list is believed"
    assert "rates_disagree" not in item.read().notes


def test_pediatric_keeps_folds_and_joins_a_patients_views(made: Made) -> None:
    items = made(echonet_pediatric)
    first, other = items[1], items[4]
    assert first.patient == other.patient == "CR32a1"
    assert (first.labels["fold"], other.labels["fold"]) == (0, 9)
    assert first.labels["split"] == other.labels["split"] == "train"
    read = first.read()
    assert {k: read.labels[k] for k in ("sex", "age_years", "weight_kg", "height_cm")} == {
        "sex": "F",
        "age_years": 12.0,
        "weight_kg": 40.5,
        "height_cm": 150.0,
    }
    assert "weight_kg" not in items[2].read().labels, "unknown is not zero"
    assert items[3].read().labels["age_years"] == 0.0, "zero is not unknown"
    _, truth = loop(41)
    for mask, frame in zip(read.masks, read.mask_frames, strict=True):
        assert overlap(mask == 1, truth[frame] == 1) > 0.9
    assert read.time_source == "container"


def test_lvh_finds_its_scale_in_the_callipers(made: Made) -> None:
    items = made(echonet_lvh)
    for item in items.values():
        read = item.read()
        side = echonet_lvh.MM_PER_PIXEL
        assert read.spacing_mm == pytest.approx((side, side), rel=1e-6)
        assert read.spacing_source == "callipers"
        assert read.labels["lvidd_cm"] == 4.6
        assert (read.labels["ed_frame"], read.labels["es_frame"]) == (2, 9)
    assert items[1].read().labels["ivsd_cm"] == 0.9
    other_size = replace(items[1], facts={**items[1].facts, "size": (600, 800)}).read()
    assert other_size.spacing_mm is None
    assert "size_disagrees" in other_size.notes


def test_lvh_takes_the_median_scale_and_nothing_from_points() -> None:
    row = {"CalcValue": "2", "X1": "0", "X2": "30", "Y1": "0", "Y2": "40"}
    assert lvh_reader.mm_per_pixel(row) == pytest.approx(20 / 50)
    assert lvh_reader.mm_per_pixel({**row, "X2": "0", "Y2": "0"}) is None
    assert lvh_reader.mm_per_pixel({**row, "CalcValue": ""}) is None
    assert lvh_reader.disagree([1.0, 1.04, 0.97]) is False
    assert lvh_reader.disagree([1.0, 1.0, 1.2]) is True
    assert lvh_reader.disagree([]) is False


def test_camus_in_mhd_turns_a_sequence_and_its_outlines_round(made: Made) -> None:
    items = made(camus)
    forward, backward = items[3].read(), items[4].read()  # both views of one patient
    last = len(forward.frames) - 1
    for read in (forward, backward):
        assert (read.labels["ed_frame"], read.labels["es_frame"]) == (0, last)
        assert read.mask_frames == (0, last)
        areas = (read.masks == 1).sum((1, 2))
        assert areas[0] > areas[1]
        column_mm, row_mm = camus.SPACING_MM
        assert read.spacing_mm == (row_mm, column_mm)
        assert read.times_s is None
    # The two views were drawn as mirror images, one of them stored backwards.
    np.testing.assert_array_equal(forward.frames, backward.frames[:, :, ::-1])
    np.testing.assert_array_equal(forward.masks, backward.masks[:, :, ::-1])
    assert items[5].read().masks is None, "the test patients' outlines were withheld"


def test_camus_turns_nothing_round_without_both_phases(made: Made) -> None:
    item = made(camus)[4]
    info = item.path.parent / "Info_4CH.cfg"
    frames = item.read().frames
    lines = info.read_text().splitlines()
    info.write_text("\n".join(line for line in lines if not line.startswith("ES")))
    read = item.read()
    np.testing.assert_array_equal(read.frames, frames[::-1])
    assert "ed_frame" not in read.labels
    assert "turned_round" not in read.notes


@pytest.mark.parametrize("rate_hz", [None, 0.0, -30.0, 1e-9, 1e9])
def test_rates_that_no_recording_has_are_unknown(made: Made, rate_hz: float | None) -> None:
    read = made(camus)[3].read()
    assert at_rate(read, rate_hz) is read
    assert at_rate(read, 50.0).times_s[1] == pytest.approx(0.02)


def test_camus_names_the_scheme_of_its_split(tmp_path: Path) -> None:
    root = camus.write(tmp_path).root
    assert camus_reader.how_split(root).startswith("fold 1 of the ten")
    splits, folds = camus_reader.splits_of(root)
    assert splits == {"patient0001": "train", "patient0002": "val", "patient0451": "test"}
    assert folds == {"patient0451": 1, "patient0001": 2}
    for part, name in (("training", "0002"), ("validation", "0451"), ("testing", "0001")):
        (root / f"subgroup_{part}.txt").write_text(f"patient{name}\n")
    assert "official" in camus_reader.how_split(root)
    assert camus_reader.splits_of(root)[0]["patient0001"] == "test"
    for path in root.rglob("sub*roup*.txt"):
        path.unlink()
    assert "neither" in camus_reader.how_split(root)
    assert all("split" not in item.read().labels for item in base.loops(root))


def test_rvenet_turns_mayo_pictures_and_nothing_else(made: Made) -> None:
    items = made(rvenet)
    plain, mayo = items[1].read(), items[2].read()
    np.testing.assert_array_equal(mayo.frames, read_loop(items[2].path).frames[:, :, ::-1])
    np.testing.assert_array_equal(plain.frames, read_loop(items[1].path).frames)
    as_stored = read_loop(items[2].path)
    height = as_stored.region.height
    assert (mayo.region.height, mayo.region.width) == (height, as_stored.region.width)
    np.testing.assert_array_equal(
        mayo.frames[:, *mayo.region.slices],
        as_stored.frames[:, *as_stored.region.slices][:, :, ::-1],
    )
    assert plain.patient_key == mayo.patient_key == "rvenet/LH_0001"
    assert plain.labels["rvef_percent"] == 61.0
    assert plain.labels["diagnosis"] == "healthy volunteer"


def test_rvenet_believes_the_column_of_patients_before_names_of_files(tmp_path: Path) -> None:
    root = rvenet.write(tmp_path).root
    assert "WARNING: codebook.csv does not name every" in rvenet_reader.how_split(root)
    book = root / "codebook.csv"
    head, *rows = book.read_text().splitlines()
    rows[3] = rows[3].replace("PH_0003_001", "PH_0003_001.dcm")
    # The first of both files of LH_0001 names the patient, who was examined again as PH_0003.
    for name, hashes in (("partly", ["a", "", "b", "a"]), ("all", ["a", "a", "b", "a"])):
        told = [f"{line},{key}" for line, key in zip(rows, hashes, strict=True)]
        book.write_text("\n".join([f"{head},Patient_Hash", *told]))
        assert ("WARNING" in rvenet_reader.how_split(root)) == (name == "partly")
        items = list(base.loops(root))
        assert [item.patient for item in items] == ["a", "a", "b", "a"]
        assert [item.study for item in items] == ["LH_0001", "LH_0001", "LH_0002", "PH_0003"]
        # One patient, one split: the first that is told.
        assert [item.labels["split"] for item in items] == ["train"] * 4


def test_a_mirrored_region_covers_the_same_pixels() -> None:
    frames, _ = loop(0, 40, 60)
    from echocli.datasets._pictures import bare_loop

    read = bare_loop(Path(__file__), frames, region=Region(3, 30, 5, 45))
    turned = rvenet_reader.mirror(read)
    assert (turned.region.column0, turned.region.column1) == (15, 55)


def test_tmed_takes_the_largest_development_part(made: Made) -> None:
    items = made(tmed2)
    told = items[3].labels
    assert [told[f"split_fold{fold}"] for fold in range(3)] == ["val", "train", "test"]
    assert told["split"] == "val"
    assert items[5].labels["diagnosis"] is None
    assert items[5].labels["split"] == "train", "by view, where there is no diagnosis"


@pytest.mark.parametrize("fold", range(3))
def test_tmed_is_known_by_any_folds_table(tmp_path: Path, fold: int) -> None:
    table = tmp_path / f"TMED2_fold{fold}_labeledpart.csv"
    table.write_text("query_key,view_label,diagnosis_label\n1s1_0.png,PLAX,no_AS\n")
    assert base.recognise(tmp_path) == "tmed2"
    assert [item.patient for item in base.loops(tmp_path)] == ["1"]


def test_mimic_joins_inside_one_patient_and_one_examination(made: Made) -> None:
    items = made(mimic_echo)
    assert list(items) == [1, 2, 3, 4], "the study that was not copied is left out"
    assert items[1].labels == {
        "dataset": "mimic_echo",
        "ef_percent": 62.5,
        "height_cm": 171.0,
        "sex": "F",
    }
    assert items[1].labels is items[2].labels, "shared: there are half a million"
    assert "ef_percent" not in items[3].labels, "measured 18 days later"
    assert items[4].labels["ef_percent"] == 35.0, "not the other patient's 61"
    read = items[1].read()
    assert read.patient_key == "mimic_echo/10002221"
    assert read.study_date == "", "shifted once is enough"


def test_hmc_puts_the_walls_on_the_frames_of_the_cycle(made: Made) -> None:
    items = made(hmc_qu)
    read = items[1].read()
    first, last = hmc_qu.CYCLE
    assert read.mask_frames == tuple(range(first - 1, last))
    _, truth = loop(121, *hmc_qu.SIZE)
    for mask, frame in zip(read.masks, read.mask_frames, strict=True):
        assert set(np.unique(mask)) == {0, 2}
        assert overlap(mask == 2, truth[frame] == 2) > 0.9
    assert items[2].read().masks is None
    for cycle in ((0, last), (10_000, last)):
        odd = replace(items[1], facts={**items[1].facts, "cycle": cycle}).read()
        assert (odd.masks, odd.mask_frames) == (None, ())
    assert [items[row].labels["mi_segments"] for row in items] == [2, 1, 0, 0, 0, 0]
    assert items[4].labels["diagnosis"] == "mi", "the other view shows the infarction"
    assert items[1].patient == items[4].patient == "ES0001"


def test_workbooks_give_their_cells_by_column(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    hmc_qu.write_xlsx(path, [["A", "B", "C"], ["x & <y>", "", 7], ["", 2, "z"], ["", "", ""]])
    assert read_sheet(path) == [
        {"A": "x & <y>", "B": "", "C": "7"},
        {"A": "", "B": "2", "C": "z"},
    ]


def test_uda_reads_labels_by_view_and_axes_by_shape(made: Made) -> None:
    items = made(cardiac_uda)
    every, artery, few, bare, short = (items[row].read() for row in range(1, 6))
    _, truth = loop(150, *SIZE)
    assert every.mask_frames == tuple(range(len(truth)))
    for mask, drawn in zip(every.masks, truth, strict=True):
        assert overlap(mask == 1, drawn == 1) > 0.99
        assert overlap(mask == 3, drawn == 3) > 0.99
        assert not (mask == 2).any(), "the right heart is none of our structures"
    assert few.mask_frames == tuple(range(0, len(few.frames), 5))
    assert artery.masks is None
    assert bare.masks is None
    assert short.frames.shape[1:] == SIZE
    np.testing.assert_array_equal(short.frames, loop(153, *SIZE)[0])
    assert [items[row].labels["centre"] for row in items] == [None, "G", "G", "R", "R"]
    assert [items[row].patient for row in items] == [
        "patient-7",
        "patient-1",
        "patient-1",
        "normal-3",
        "patient2",
    ]


def test_uda_fills_outlines_that_were_stored_as_contours(tmp_path: Path) -> None:
    import nibabel
    from scipy import ndimage

    write_pair(tmp_path, "p-4", 1, {1: 1})
    path = tmp_path / "p-4_label.nii.gz"
    drawn = np.asarray(nibabel.load(path).dataobj)
    inner = np.stack([ndimage.binary_erosion(plane) for plane in drawn.transpose(2, 0, 1)])
    hollow = drawn * ~inner.transpose(1, 2, 0)
    nibabel.save(nibabel.Nifti1Image(hollow, np.eye(4)), path)
    read = uda_reader.read(tmp_path / "p-4_image.nii.gz", 4)
    filled = drawn.transpose(2, 0, 1)[list(read.mask_frames)]
    assert overlap(read.masks == 1, filled == 1) > 0.99


def test_a_table_groups_videos_by_patient(made: Made) -> None:
    items = made(labelled_folder)
    one, two, three = (items[row].read() for row in (1, 2, 3))
    assert one.patient_key == two.patient_key == "P1"
    assert three.patient_key == "P2"
    assert one.labels == {"ef_percent": 55.5, "view": "A4C", "split": "train"}
    assert "split" not in three.labels


@pytest.mark.parametrize(
    ("text", "value", "count"),
    [("3", 3.0, 3), ("3.0", 3.0, 3), ("3.5", 3.5, None), ("nan", None, None), ("", None, None)],
)
def test_numbers_are_read_or_unknown(text: str, value: float | None, count: int | None) -> None:
    assert number(text) == value
    assert whole(text) == count
