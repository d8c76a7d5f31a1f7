"""Every data set, in its real layout, keeps the contract of ``datasets/base.py``."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake.parts import Fake
from numpy.typing import NDArray
from scipy import ndimage

from echocli.api._preprocess.sources import find_tasks
from echocli.api.preprocess import PreprocessResult, preprocess
from echocli.clips.manifest import LABELS
from echocli.clips.store import ClipSet
from echocli.datasets import base
from echocli.datasets.base import DatasetItem
from echocli.intake.loop import MIN_FRAMES, CineLoop
from echocli.intake.reasons import Refused
from echocli.intake.sector import find_sector
from echocli.privacy.labels import COLUMNS, clean

NAMES = base.available()
Fakes = Mapping[str, Fake]
Loops = Mapping[str, list[tuple[DatasetItem, CineLoop | Refused]]]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sets")


@pytest.fixture(scope="module")
def fakes(everything: Path) -> Fakes:
    return {name: import_module(f"fake.{name}").write(everything) for name in NAMES}


@pytest.fixture(scope="module")
def loops(fakes: Fakes) -> Loops:
    """Read each loop once; what is read must have come through a process boundary."""
    found = {}
    for name, fake in fakes.items():
        tasks = find_tasks([fake.root], apart_from=fake.root / "none", stills=True).tasks
        items = [pickle.loads(pickle.dumps(task.item)) for task in tasks if task.item]  # noqa: S301
        found[name] = [(item, _read(item)) for item in items]
    return found


def _read(item: DatasetItem) -> CineLoop | Refused:
    try:
        return item.read()
    except Refused as refused:
        return refused


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_folder_is_recognised_as_itself_alone(name: str, fakes: Fakes) -> None:
    root = fakes[name].root
    assert [other for other in NAMES if base.load(other).recognise(root)] == [name]
    assert base.recognise(root.parent) is None, "found by walking, not by mistake"


def test_loops_come_in_a_fixed_order_without_being_opened(name: str, fakes: Fakes) -> None:
    first, again = (list(base.loops(fakes[name].root)) for _ in range(2))
    assert [item.path for item in first] == [item.path for item in again]
    assert [item.labels for item in first] == [item.labels for item in again]
    assert len({item.path for item in first}) == len(first) == fakes[name].clips
    numbers = [item.row for item in first]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1
    assert all(str(item.path) not in repr(item) for item in first)


def test_what_the_index_lists_is_counted(name: str, fakes: Fakes) -> None:
    fake = fakes[name]
    counted = base.count(base.loops(fake.root))
    assert counted["clips"] == fake.clips
    assert counted.get("patients") == fake.patients
    splits = {word: counted[word] for word in ("train", "val", "test") if word in counted}
    assert splits == dict(fake.splits)
    assert set(base.load(name).EXPECTED) <= set(counted) | {"train", "val", "test"}


def test_no_patient_stands_in_two_official_splits(name: str, fakes: Fakes) -> None:
    splits: dict[str, set[object]] = {}
    for item in base.loops(fakes[name].root):
        splits.setdefault(item.patient or str(item.path), set()).add(item.labels.get("split"))
    assert all(len(found) == 1 for found in splits.values())


def test_each_file_is_a_loop_or_refused_on_purpose(
    name: str, fakes: Fakes, loops: Loops
) -> None:
    refused = {item.row for item, loop in loops[name] if isinstance(loop, Refused)}
    assert refused == fakes[name].refused, [loop for _, loop in loops[name]]
    for item, loop in loops[name]:
        if isinstance(loop, Refused):
            assert item.path.name not in str(loop)
            assert item.path.stem not in str(loop)
            continue
        assert loop.frames.dtype == np.uint8
        assert len(loop.frames) >= MIN_FRAMES
        assert loop.frames.flags.c_contiguous
        sector = find_sector(loop).mask
        assert 0.1 < sector.mean() < 1.0
        assert (loop.times_s is None) == (loop.time_source == "unknown")
        assert (loop.spacing_mm is None) == (loop.spacing_source == "unknown")
        if item.patient:
            assert loop.patient_key == f"{item.labels['dataset']}/{item.patient}"


def test_labels_are_standard_columns_that_may_be_kept(name: str, loops: Loops) -> None:
    for item, loop in loops[name]:
        told = item.labels if isinstance(loop, Refused) else loop.labels
        assert set(told) <= set(COLUMNS), "clean() would drop it"
        assert set(told) <= {*LABELS, "abnormality"}, "parts would disagree on its type"
        kept = {key: value for key, value in told.items() if value is not None}
        assert clean(kept) == kept
        if name != "labelled_folder":
            assert told["dataset"] in (name, "phantom")


def test_masks_lie_on_the_frames_and_move_with_them(name: str, loops: Loops) -> None:
    for _, loop in loops[name]:
        if isinstance(loop, Refused) or loop.masks is None:
            continue
        assert loop.masks.shape == (len(loop.mask_frames), *loop.frames.shape[1:])
        assert loop.masks.dtype == np.uint8
        assert set(np.unique(loop.masks)) <= {0, 1, 2, 3}
        assert list(loop.mask_frames) == sorted(set(loop.mask_frames))
        assert loop.mask_frames[0] >= 0
        assert loop.mask_frames[-1] < len(loop.frames)
        for mask, frame in zip(loop.masks, loop.mask_frames, strict=True):
            cavity, wall = mask == 1, mask == 2
            picture = loop.frames[frame]
            if cavity.any():  # blood is darker than what surrounds it
                assert picture[cavity].mean() < picture[_around(cavity)].mean()
            elif wall.any():
                assert picture[wall].mean() > picture[~wall].mean()


def _around(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    wider = ndimage.binary_dilation(mask, iterations=6)
    return np.asarray(wider & ~ndimage.binary_dilation(mask, iterations=1))


def test_rules_and_notes_say_what_they_should(name: str, fakes: Fakes, loops: Loops) -> None:
    rule, fake = base.load(name).RULE, fakes[name]
    by_row = {item.row: loop for item, loop in loops[name]}
    for row, normal in fake.normal.items():
        assert rule.label(by_row[row].labels) is normal, row
    if rule:
        rule.check_columns(COLUMNS)
        assert {True, False} <= set(fake.normal.values())
        assert rule.note
    for row, note in fake.notes.items():
        assert note in by_row[row].notes


@pytest.fixture(scope="module")
def made(
    everything: Path, fakes: Fakes, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PreprocessResult, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("made")
    result = preprocess(
        [everything],
        folder / "clips",
        size=32,
        key_file=folder / "key",
        workers=1,
        stills=True,
    )
    return result, ClipSet.open(folder / "clips").manifest


def test_all_at_once_become_one_clip_set(
    made: tuple[PreprocessResult, pd.DataFrame], fakes: Fakes
) -> None:
    result, manifest = made
    refused = sum(len(fake.refused) for fake in fakes.values())
    listed = sum(fake.clips for fake in fakes.values())
    beside = 1  # the video that no table names
    assert len(manifest) == listed - refused + beside
    assert len(result.quarantined) == refused
    assert {entry.reason for entry in result.quarantined} == {"unreadable", "still", "volume"}


def test_splits_and_patients_pass_into_the_manifest(
    name: str, made: tuple[PreprocessResult, pd.DataFrame], fakes: Fakes
) -> None:
    fake, manifest = fakes[name], made[1]
    if name == "labelled_folder" or len(fake.refused) == fake.clips:
        return
    rows = manifest[manifest["dataset"] == name]
    assert len(rows) == fake.clips - len(fake.refused)
    told = Counter(
        item.labels.get("split")
        for item in base.loops(fake.root)
        if item.row not in fake.refused
    )
    if fake.splits:
        assert Counter(rows["split"]) == told
    assert rows["split"].notna().all()
    assert rows.groupby("patient_id")["split"].nunique().max() == 1
    patients = {item.patient for item in base.loops(fake.root) if item.row not in fake.refused}
    if fake.patients:
        assert rows["patient_id"].nunique() == len(patients)
    if fake.normal:
        known = [fake.normal.get(item.row) for item in base.loops(fake.root)]
        assert rows["normal"].eq(True).sum() >= sum(value is True for value in known)


def test_the_documentation_knows_each_data_set_rule_and_column(name: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text("utf-8")
    rule = base.load(name).RULE
    assert name == "phantom" or f"`{name}`" in text
    assert all(f"`{column}`" in text for column in COLUMNS)
    if rule:
        assert f"`{rule.name}`" in text
        assert all(word in text for word in (rule.normal, rule.abnormal.split(" or ")[0]))
