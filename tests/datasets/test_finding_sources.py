"""What the user named, as tasks: data sets anywhere in it, and files that are awkward."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from fake import camus, echonet_dynamic, hmc_qu, labelled_folder, mimic_echo, tmed2

from echocli.api._preprocess.clip import Task
from echocli.api._preprocess.sources import Found, find_tasks
from echocli.errors import EchoError
from echocli.intake.reasons import Reason, Refused


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data sets, files of nobody's, and a folder of plain files."""
    root = tmp_path_factory.mktemp("archive")
    echonet_dynamic.write(root / "public" / "zips")
    camus.write(root / "public")
    (root / "clinic" / "monday").mkdir(parents=True)
    (root / "clinic" / "monday" / "one").write_bytes(b"x")
    (root / "two.dcm").write_bytes(b"y")
    (root / "notes.txt").write_bytes(b"z")
    return root


def found(*sources: Path, out: Path = Path("/nowhere"), stills: bool = False) -> Found:
    return find_tasks(sources, apart_from=out, stills=stills)


def places(found: Found) -> list[str]:
    return [task.place for task in found.tasks]


def test_data_sets_lie_anywhere_among_plain_files(archive: Path) -> None:
    all_of_it = found(archive)
    assert [task.position for task in all_of_it.tasks] == list(range(1, 5 + 6 + 2 + 1))
    plain = [task.place for task in all_of_it.tasks if task.item is None]
    assert plain == ["clinic/monday/one", "two.dcm"]
    assert sorted(data.name for data in all_of_it.datasets) == ["camus", "echonet_dynamic"]
    assert len(set(places(all_of_it))) == len(all_of_it.tasks)
    assert all((archive / task.place) == task.path for task in all_of_it.tasks)
    assert places(found(archive)) == places(all_of_it), "always in the same order"


def test_counts_stand_beside_the_published_ones(archive: Path) -> None:
    data = next(d for d in found(archive).datasets if d.name == "echonet_dynamic")
    assert data.counted["clips"] == 5
    assert data.expected["clips"] == 10_030
    assert "5 clips, published 10030" in data.differences()
    assert data.rule is not None
    assert "TRAIN" in data.split


@pytest.mark.parametrize("part", ["Videos", "", "."])
def test_a_part_of_a_data_set_keeps_its_labels(archive: Path, part: str) -> None:
    root = archive / "public" / "zips" / "EchoNet-Dynamic"
    some = found(root / part)
    assert {task.item.labels["split"] for task in some.tasks if task.item} == {
        "train",
        "val",
        "test",
    }
    assert len(some.datasets) == 1


def test_files_named_one_by_one_keep_their_labels(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(archive / "public" / "zips" / "EchoNet-Dynamic" / "Videos")
    named = sorted(Path().glob("*.avi"))
    some = found(*named[:2])
    assert [task.path.name for task in some.tasks] == [path.name for path in named[:2]]
    assert all(task.item for task in some.tasks)
    assert some.datasets[0].counted["clips"] == 2
    assert some.datasets[0].expected == {}, "a part is not held against the whole"
    assert found(Path()).datasets[0].counted["clips"] == 5


def test_one_patient_of_camus_is_found_in_its_own_folder(archive: Path) -> None:
    some = found(archive / "public" / "CAMUS_public" / "training" / "patient0001")
    assert [task.item.labels["view"] for task in some.tasks if task.item] == ["A2C", "A4C"]
    assert some.datasets[0].split.startswith("fold 1")


def test_what_is_named_twice_is_taken_once(archive: Path) -> None:
    whole = found(archive)
    twice = found(archive / "two.dcm", archive, archive / "public" / "CAMUS_public", archive)
    assert len(twice.tasks) == len(whole.tasks)
    assert {str(t.path) for t in twice.tasks} == {str(t.path) for t in whole.tasks}


def test_the_output_and_other_clip_sets_are_no_sources(tmp_path: Path) -> None:
    for name in ("out", "older", "data"):
        (tmp_path / name / "manifest").mkdir(parents=True)
        (tmp_path / name / "file.dcm").write_bytes(b"x")
    (tmp_path / "older" / "manifest" / "part-1.parquet").write_bytes(b"x")
    assert places(found(tmp_path, out=tmp_path / "out")) == ["data/file.dcm"]


def test_a_study_of_mimic_below_its_index(tmp_path: Path) -> None:
    fake = mimic_echo.write(tmp_path)
    some = found(fake.root / "files" / "p10" / "p10002221" / "s94106955")
    assert [task.item.labels["ef_percent"] for task in some.tasks if task.item] == [62.5, 62.5]
    assert found(tmp_path).datasets[0].counted["clips"] == 4, (
        "what was not copied is not missed"
    )


def test_pictures_are_read_only_if_asked_for(tmp_path: Path) -> None:
    fake = tmed2.write(tmp_path)
    task = found(fake.root).tasks[0]
    assert task.item is not None
    with pytest.raises(Refused, match="--stills") as refused:
        task.item.read()
    assert refused.value.reason is Reason.STILL
    wished = found(fake.root, stills=True).tasks[0].item
    assert wished is not None
    loop = wished.read()
    assert len(loop.frames) == 16
    assert (loop.frames == loop.frames[0]).all()
    assert "fold 0 of DEV479" in found(fake.root).datasets[0].split


def test_a_table_beside_videos_adds_labels_and_hides_nothing(tmp_path: Path) -> None:
    fake = labelled_folder.write(tmp_path)
    tasks = found(tmp_path).tasks
    assert [task.item is None for task in tasks] == [False] * 4 + [True]
    assert places(found(fake.root)) == [task.path.name for task in tasks]
    (fake.root / "below").mkdir()
    (fake.root / "below" / "more.avi").write_bytes(b"x")
    assert "below/more.avi" in places(found(fake.root))


def test_an_index_that_names_no_file_here_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,ef_percent\nother.avi,55\n")
    (tmp_path / "mine.avi").write_bytes(b"x")
    assert not found(tmp_path).datasets


def test_workbooks_may_be_saved_as_csv(tmp_path: Path) -> None:
    fake = hmc_qu.write(tmp_path)
    before = [(t.place, dict(t.item.labels)) for t in found(fake.root).tasks if t.item]
    for view, videos in (("A4C", hmc_qu.A4C), ("A2C", hmc_qu.A2C)):
        rows = [
            f"{name},{','.join(['MI'] * ill + ['x'] * (6 - ill))}" for name, ill, _ in videos
        ]
        table = "\n".join([f"ECHO,{','.join(hmc_qu.SEGMENTS)}", *rows])
        (fake.root / f"{view}.csv").write_text(table, "utf-8")
        (fake.root / f"{view}.xlsx").write_bytes(b"no workbook")
    after = [(t.place, dict(t.item.labels)) for t in found(fake.root).tasks if t.item]
    assert after == before
    (fake.root / "A4C.csv").unlink()
    with pytest.raises(EchoError, match=r"Save its first sheet as A4C\.csv"):
        found(fake.root)


def _link_loop(folder: Path) -> None:
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "dead").symlink_to(folder / "absent")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def _names(folder: Path) -> None:
    for name in (b"caf\xe9.dcm", b"a" * 255, b"new\nline", b"-rf", b" "):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(b"x")


def _deep(folder: Path) -> None:
    deep = folder.joinpath(*["d" * 50] * 40)
    deep.mkdir(parents=True)
    (deep / "file.dcm").write_bytes(b"x")


def _traps(folder: Path) -> None:
    """Write indexes of data sets that are broken in several ways."""
    (folder / "codebook.csv").write_bytes(b"\xff\xfe\x00FileName")
    (folder / "labels.csv").mkdir()
    (folder / "MeasurementsList.csv").symlink_to("MeasurementsList.csv")
    os.mkfifo(folder / "echo-record-list.csv")
    (folder / "FileList.csv").write_bytes(b"")
    (folder / "patient0001").write_bytes(b"x")
    (folder / "phantom.json").write_bytes(b"{")


@pytest.mark.parametrize(
    ("awkward", "count"),
    [(_link_loop, 0), (_pipe, 1), (_names, 5), (_deep, 1), (_traps, 1)],
)
def test_awkward_names_and_files_are_listed_never_fatal(
    tmp_path: Path, awkward: Callable[[Path], None], count: int
) -> None:
    (tmp_path / "plain.dcm").write_bytes(b"x")
    awkward(tmp_path)
    tasks = found(tmp_path).tasks
    assert len(tasks) == 1 + count
    assert all(task.item is None for task in tasks)
    assert all(os.fsencode(task.place) for task in tasks)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is shut to the superuser")
def test_a_shut_folder_is_a_task_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    assert places(found(tmp_path)) == ["shut"]


def test_a_folder_that_fails_to_open_is_a_task_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shut").mkdir()
    (tmp_path / "plain.dcm").write_bytes(b"x")
    scandir = os.scandir

    def failing(path: str) -> object:
        if os.path.basename(path) == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    assert places(found(tmp_path)) == ["plain.dcm", "shut"]


def test_absent_and_empty_sources_are_told_by_position(tmp_path: Path) -> None:
    with pytest.raises(EchoError, match="Path 2 of 2 does not exist"):
        found(tmp_path, tmp_path / "absent")
    with pytest.raises(EchoError, match="no file"):
        found(tmp_path)


def test_an_index_must_not_point_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "Videos").mkdir()
    (tmp_path / "FileList.csv").write_text(
        "FileName,EF,ESV,EDV,FPS,Split\na,1,1,1,1,TRAIN\n../../x,1,1,1,1,TRAIN\n"
    )
    with pytest.raises(EchoError, match="Row 2"):
        found(tmp_path)


def test_a_hundred_thousand_files_fit_in_modest_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer are made here; the cost of each is what counts."""
    count = 2000
    for folder in range(20):
        (tmp_path / f"s{folder:04d}").mkdir()
        for file in range(count // 20):
            (tmp_path / f"s{folder:04d}" / f"1.2.840.{folder}.{file}").touch()
    found(tmp_path / "s0000")  # what is loaded once is not counted
    tracemalloc.start()
    tasks: list[Task] = found(tmp_path).tasks
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(tasks) == count
    assert peak / count < 2500, f"{peak / count:.0f} bytes a file"
