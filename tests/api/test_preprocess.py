"""Sources become an audited clip set, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from echocli.api._preprocess.quarantine import read_quarantine
from echocli.api.preprocess import PreprocessResult, preprocess
from echocli.clips.store import ClipSet
from echocli.datasets.phantom import PhantomConfig, draw_patient, write_dicom_study
from echocli.errors import EchoError, PrivacyError, UsageError
from echocli.files import read_json


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four phantom patients as DICOM, with labels and masks beside them."""
    folder = tmp_path_factory.mktemp("study")
    patients = [draw_patient(5, index, PhantomConfig()) for index in range(4)]
    write_dicom_study(folder, patients, height=200, width=268)
    shutil.copytree(folder / "dicom", folder.with_name("plain") / "dicom")
    return folder


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "key"


@pytest.fixture(scope="module")
def done(study: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's clip set, made in this process."""
    out = tmp_path_factory.mktemp("done") / "clips"
    preprocess([study], out, key_file=key_file, workers=1)
    return out


def dicoms(study: Path) -> list[Path]:
    """Return the files where nothing tells that they are of a data set."""
    return sorted((study.with_name("plain") / "dicom").iterdir())


def run(sources: list[Path], out: Path, key_file: Path, **options: object) -> PreprocessResult:
    return preprocess(sources, out, key_file=key_file, workers=1, **options)  # type: ignore[arg-type]


def test_a_phantom_study_becomes_clips_with_labels_masks_time_and_scale(done: Path) -> None:
    clips = ClipSet.open(done)
    assert len(clips) == 4
    assert clips.verify() == []
    table = clips.manifest
    assert table["patient_id"].nunique() == 4
    assert table["ef_percent"].between(10, 75).all()
    assert set(table["split"]) <= {"train", "val", "test"}
    assert table["row_mm"].between(0.3, 3).all()
    for row in range(4):
        frames, sector = clips.frames(row), clips.sector(row)
        assert frames.shape[1:] == (112, 112)
        assert 0.25 < sector.mean() < 0.8
        assert not frames[:, ~sector].any()
        assert frames[:, sector].mean() > 10
        masks = clips.masks(row)
        assert masks is not None
        assert set(np.unique(masks)) == {0, 1, 2, 3}
        assert clips.mask_frames(row) == tuple(
            sorted(int(table[name][row]) for name in ("ed_frame", "es_frame"))
        )


def test_areas_in_square_millimetres_are_those_of_the_source(study: Path, done: Path) -> None:
    from echocli.datasets import phantom

    clips = ClipSet.open(done)
    by_ef = {round(float(ef), 3): row for row, ef in enumerate(clips.manifest["ef_percent"])}
    for item in phantom.loops(study):
        loop = item.read()
        row = by_ef[round(float(loop.labels["ef_percent"]), 3)]  # type: ignore[arg-type]
        spacing, masks = clips.spacing_mm(row), clips.masks(row)
        assert spacing is not None
        assert masks is not None
        assert loop.masks is not None
        assert loop.spacing_mm is not None
        before = (loop.masks == 1).sum() * np.prod(loop.spacing_mm)
        assert (masks == 1).sum() * np.prod(spacing) == pytest.approx(before, rel=0.03)
        assert np.array_equal(clips.times_s(row), loop.times_s)


def test_the_audit_says_what_was_proved(done: Path) -> None:
    record = read_json(done / "audit.json")
    assert record["schema"] == "echocli.audit/1"
    assert len(record["checks"]) >= 7
    assert all(check["passed"] for check in record["checks"])
    assert record["settings"]["size"] == 112


def test_the_same_command_again_does_nothing_and_another_is_refused(
    study: Path, key_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "clips"
    files = dicoms(study)
    first = run(files[:2], out, key_file)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = run(files[:2], out, key_file)
    assert again.unchanged
    assert not first.unchanged
    assert again.n_clips == first.n_clips
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert run(files[1:2], out, key_file).n_clips == 2  # what is there stays
    with pytest.raises(UsageError, match=r"settings: size was 112, now 96\."):
        run(files[:2], out, key_file, size=96)
    with pytest.raises(UsageError, match=r"key was \"[0-9a-f]{8}\", now \"[0-9a-f]{8}\""):
        run(files[:2], out, tmp_path / "other-key", assume_rate_hz=50)
    with pytest.raises(UsageError, match=r"assume_rate_hz was none, now 50"):
        run(files[:2], out, key_file, assume_rate_hz=50)
    changed = run(files[:1], out, key_file, size=96, overwrite=True)
    assert (changed.n_clips, ClipSet.open(out).frames(0).shape[1]) == (1, 96)
    assert set(os.listdir(tmp_path)) == {"clips", "other-key"}


def test_workers_give_the_same_clips_in_the_same_order(
    study: Path, key_file: Path, tmp_path: Path, done: Path
) -> None:
    preprocess([study], tmp_path / "clips", key_file=key_file, workers=2)
    one, two = ClipSet.open(done), ClipSet.open(tmp_path / "clips")
    assert one.manifest.equals(two.manifest)
    assert all(np.array_equal(one.frames(row), two.frames(row)) for row in range(len(one)))


def test_bad_files_are_listed_with_a_reason_and_the_rest_goes_on(
    study: Path, key_file: Path, tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    good = dicoms(study)[0]
    shutil.copy(good, inbox / "a_good.dcm")
    shutil.copy(good, inbox / "b_twin.dcm")
    (inbox / "c_text.dcm").write_text("dear colleague, " * 40)
    (inbox / "d_cut.dcm").write_bytes(good.read_bytes()[:20_000])
    (inbox / "e_empty").write_bytes(b"")
    result = run([inbox], tmp_path / "clips", key_file)
    assert (result.n_clips, result.n_sources) == (1, 5)
    with (tmp_path / "clips" / "quarantine.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["position"] for row in rows] == ["2", "3", "4", "5"]
    assert [row["reason"] for row in rows][:3] == ["duplicate", "not_an_image", "truncated"]
    assert all(row["remedy"] and row["explanation"] for row in rows)
    assert len({row["source_id"] for row in rows[1:]}) == 3
    with pytest.raises(EchoError, match="file 2: duplicate"):
        run([inbox], tmp_path / "other", key_file, fail_fast=True)
    with pytest.raises(EchoError, match="3 source"):
        run([inbox], tmp_path / "other", key_file, max_fail=2)
    assert run([inbox], tmp_path / "other", key_file, max_fail=4).n_clips == 1


def test_nothing_usable_says_why_and_leaves_the_list(key_file: Path, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with pytest.raises(EchoError) as empty:
        run([inbox], tmp_path / "clips", key_file)
    with pytest.raises(EchoError) as absent:
        run([inbox / "Roe_Richard"], tmp_path / "clips", key_file)
    assert os.listdir(tmp_path) == ["inbox"]
    (inbox / "Doe_Jane").write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(EchoError) as useless:
            run([inbox], tmp_path / "clips", key_file)
        assert "1 not_an_image" in useless.value.problem
    assert [row.reason for row in read_quarantine(tmp_path / "clips/quarantine.csv")] == [
        "not_an_image"
    ]
    assert "Doe" not in str(useless.value) + str(empty.value)
    assert "Roe" not in str(absent.value)


def test_what_is_no_clip_set_is_never_replaced(
    study: Path, key_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(UsageError):
            run(dicoms(study)[:1], out, key_file, overwrite=overwrite)
    assert (out / "chapter.tex").read_text() == "precious"


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(28, "no space"), RuntimeError])
def test_an_interruption_leaves_what_was_there(
    study: Path,
    key_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException | type[BaseException],
) -> None:
    out = tmp_path / "clips"
    run(dicoms(study)[:1], out, key_file)
    before = sorted(path.name for path in out.rglob("*"))

    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("echocli.api._preprocess.parts.audit", fail)
    with pytest.raises(fault if isinstance(fault, type) else type(fault)):
        run(dicoms(study)[:2], out, key_file, overwrite=True)
    assert sorted(path.name for path in out.rglob("*")) == before
    assert len(ClipSet.open(out)) == 1
    assert os.listdir(tmp_path) == ["clips"]


def labels_csv(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_labels_join_by_name_path_stem_and_patient(
    study: Path, key_file: Path, tmp_path: Path
) -> None:
    files = dicoms(study)[:3]
    patient = draw_patient_id(files[0])
    by_file = labels_csv(
        tmp_path,
        f"file,ef_percent,view,secret,weight\n{files[0].name},61,A4C,x,70\n"
        f"dicom/{files[1].name},40,,x,80\n{files[2].stem},33,A2C,x,\nabsent.dcm,1,A4C,x,1\n",
    )
    run(files, tmp_path / "a", key_file, labels=by_file, label_columns=["weight"])
    table = ClipSet.open(tmp_path / "a").manifest
    assert table["ef_percent"].tolist() == [61, 40, 33]
    assert table["view"].fillna("?").tolist() == ["A4C", "?", "A2C"]
    assert table["weight"].tolist()[:2] == [70, 80]
    assert "secret" not in table
    assert "file" not in table
    by_patient = labels_csv(tmp_path, f"patient,ef_percent,split\n{patient},61,test\n")
    run(files[:2], tmp_path / "b", key_file, labels=by_patient)
    table = ClipSet.open(tmp_path / "b").manifest
    assert table["ef_percent"].isna().tolist() == [False, True]
    assert table["split"][0] == "test"
    assert patient not in (tmp_path / "b/manifest/part-00000.parquet").read_bytes().decode(
        "latin"
    )


def draw_patient_id(path: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(path, stop_before_pixels=True).PatientID)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name,ef_percent\na,1\n", "neither a column"),
        ("file,ef_percent\na.dcm,high\n", "Line 2"),
        ("file,ef_percent\na.dcm,50\na.dcm,60\n", "Line 3"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(
    study: Path, key_file: Path, tmp_path: Path, text: str, problem: str
) -> None:
    labels = labels_csv(tmp_path, text)
    with pytest.raises(EchoError, match=problem) as refused:
        run(dicoms(study)[:1], tmp_path / "clips", key_file, labels=labels)
    assert "a.dcm" not in str(refused.value)


def test_one_name_in_two_folders_is_refused(
    study: Path, key_file: Path, tmp_path: Path
) -> None:
    for number, path in enumerate(dicoms(study)[:2]):
        (tmp_path / f"in/{number}").mkdir(parents=True)
        shutil.copy(path, tmp_path / f"in/{number}/IM1")
    labels = labels_csv(tmp_path, "file,ef_percent\nIM1,50\n")
    with pytest.raises(EchoError, match="file 1 and file 2"):
        run([tmp_path / "in"], tmp_path / "clips", key_file, labels=labels)
    exact = labels_csv(tmp_path, "file,ef_percent\n0/IM1,50\n1/IM1,60\n")
    run([tmp_path / "in"], tmp_path / "clips", key_file, labels=exact)
    assert ClipSet.open(tmp_path / "clips").manifest["ef_percent"].tolist() == [50, 60]


def test_a_label_that_names_the_patient_stops_everything(
    study: Path, key_file: Path, tmp_path: Path
) -> None:
    path = dicoms(study)[0]
    text = f"file,view\n{path.name},seen as {draw_patient_id(path)}\n"
    with pytest.raises(PrivacyError):
        run([path], tmp_path / "clips", key_file, labels=labels_csv(tmp_path, text))
    assert os.listdir(tmp_path) == ["labels.csv"]


def test_linkage_and_key_stay_outside_and_private(
    study: Path, key_file: Path, tmp_path: Path
) -> None:
    out, linkage = tmp_path / "clips", tmp_path / "linkage.csv"
    for place in (out / "linkage.csv", out / "deep/linkage.csv"):
        with pytest.raises(PrivacyError):
            run(dicoms(study)[:1], out, key_file, linkage=place)
    with pytest.raises(PrivacyError):
        run(dicoms(study)[:1], out, out / "key")
    text = tmp_path / "letter"
    text.write_text("dear colleague")
    sources = [*dicoms(study)[:2], text]
    run(sources, out, key_file, linkage=linkage)
    assert stat.S_IMODE(linkage.stat().st_mode) == 0o600
    with linkage.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [str(path) for path in sources]
    assert [row["clip_id"] for row in rows[:2]] == ClipSet.open(out).manifest[
        "clip_id"
    ].tolist()
    assert rows[2]["reason"] == "not_an_image"
    linkage.unlink()
    assert run(sources, out, key_file, linkage=linkage).unchanged
    with linkage.open() as file:
        assert list(csv.DictReader(file)) == rows


def test_assumed_rates_fill_in_only_what_is_missing(
    study: Path, key_file: Path, tmp_path: Path
) -> None:
    import pydicom

    path = tmp_path / "untimed"
    data = pydicom.dcmread(dicoms(study)[0])
    for name in ("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate"):
        if name in data:
            delattr(data, name)
    data.save_as(path)
    result = run([path, dicoms(study)[1]], tmp_path / "a", key_file)
    assert result.n_without_time == 1
    run([path, dicoms(study)[1]], tmp_path / "b", key_file, assume_rate_hz=25)
    sources = ClipSet.open(tmp_path / "b").manifest.set_index("time_source")["frame_rate_hz"]
    assert sources["assumed"] == pytest.approx(25)
    assert len(sources) == 2


def test_the_audit_finds_what_is_planted(done: Path, tmp_path: Path) -> None:
    from echocli.privacy.audit import audit

    def again(folder: Path, **changes: object) -> None:
        audit(folder, **({"identifiers": [], "named": [], "details": {}} | changes))  # type: ignore[arg-type]

    clean = tmp_path / "clean"
    shutil.copytree(done, clean)
    again(clean)
    with pytest.raises(PrivacyError, match="identifier"):
        again(clean, identifiers=["phantom"])  # as if a patient were called so
    stray = tmp_path / "stray"
    shutil.copytree(done, stray)
    (stray / "Doe_Jane.txt").write_text("")
    with pytest.raises(PrivacyError, match="every file"):
        again(stray)
    lit = tmp_path / "lit"
    shutil.copytree(done, lit)
    shard = next(lit.glob("*.u8"))
    content = bytearray(shard.read_bytes())
    content[0] = 200  # a corner of the first frame
    shard.write_bytes(content)
    with pytest.raises(PrivacyError, match="pixel"):
        again(lit)
    noted = tmp_path / "noted"
    shutil.copytree(done, noted)
    with (noted / "quarantine.csv").open("a") as file:
        file.write(f"{'0' * 64},1,still,seen in ROOM-12,none\n")
    with pytest.raises(PrivacyError, match="quarantine"):
        again(noted, identifiers=["room-12"])
    assert "details" not in json.dumps(read_json(clean / "audit.json"))
