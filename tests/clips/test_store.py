"""A clip set gives back what was put in, is whole or absent, and notices damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from echocli.clips.record import Clip
from echocli.clips.store import ClipSet, ClipSetWriter
from echocli.errors import EchoError, UsageError
from echocli.files import read_json


def make_clip(name: str, frames: int = 12, size: int = 10, **more: Any) -> Clip:
    rng = np.random.default_rng(list(name.encode()))
    sector = rng.random((size, size + 2)) > 0.3
    pixels = rng.integers(0, 256, (frames, size, size + 2), dtype=np.uint8) * sector
    record: dict[str, Any] = {
        "clip_id": name,
        "patient_id": f"p{name[-1]}",
        "study_id": "s",
        "source_sha256": f"h{name}",
        "frames": pixels.astype(np.uint8),
        "sector": sector,
        "times_s": np.arange(frames) / 29.97,
        "time_source": "frame_time",
        "spacing_mm": (0.5, 0.25),
        "spacing_source": "region",
        "labels": {"ef_percent": 55, "normal": True, "split": "train"},
    }
    return Clip(**{**record, **more})


def write(folder: Path, *clips: Clip, part: str = "00000", **more: Any) -> ClipSet:
    with ClipSetWriter(folder, part, **more) as writer:
        for clip in clips:
            writer.add(clip)
    return ClipSet.open(folder)


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).integers(0, 4, (2, 10, 12), dtype=np.uint8)
    clips = [
        make_clip("a1"),
        make_clip("a2", frames=30, masks=masks, mask_frames=(3, 17)),
        make_clip("a3", times_s=None, time_source="unknown", spacing_mm=None, labels={}),
    ]
    stored = write(tmp_path / "set", *clips)
    assert len(stored) == 3
    for row, clip in enumerate(clips):
        np.testing.assert_array_equal(stored.frames(row), clip.frames)
        np.testing.assert_array_equal(stored.sector(row), clip.sector)
        assert stored.manifest["clip_id"][row] == clip.clip_id
        assert stored.manifest["source_sha256"][row] == clip.source_sha256
        assert stored.spacing_mm(row) == clip.spacing_mm
    np.testing.assert_array_equal(stored.masks(1), masks)
    assert stored.mask_frames(1) == (3, 17)
    assert stored.masks(0) is None
    times = stored.times_s(0)
    assert times is not None
    np.testing.assert_array_equal(times, clips[0].times_s)  # bit for bit
    assert stored.times_s(2) is None
    assert stored.manifest["frame_rate_hz"][0] == pytest.approx(29.97)
    assert stored.manifest["ef_percent"].tolist()[:2] == [55.0, 55.0]
    assert np.isnan(stored.manifest["ef_percent"][2])
    assert stored.verify() == []


def test_masks_have_pixels_of_their_own(tmp_path: Path) -> None:
    fine = np.random.default_rng(0).integers(0, 4, (2, 40, 24), dtype=np.uint8)
    clip = make_clip("a1", masks=fine, mask_frames=(3, 7), mask_box=(1, 9, 2, 10))
    stored = write(tmp_path / "set", clip, make_clip("a2"))
    found = stored.fine_masks(0)
    assert found is not None
    np.testing.assert_array_equal(found, fine)
    # 8 rows of 0.5 mm and 8 columns of 0.25 mm hold 40 rows and 24 columns of masks.
    assert stored.mask_spacing_mm(0) == pytest.approx((0.1, 2 / 24))
    row = stored.manifest.iloc[0]
    assert (row["mask_row_mm"], row["mask_column_mm"]) == stored.mask_spacing_mm(0)
    on_frames = stored.masks(0)
    assert on_frames is not None
    assert on_frames.shape == (2, *clip.frames.shape[1:])
    np.testing.assert_array_equal(on_frames[:, 1:9, 2:10], fine[:, 2::5, 1::3])
    assert not on_frames[:, [0, 9]].any()
    assert not on_frames[:, :, [0, 1, 10, 11]].any()
    assert stored.fine_masks(1) is None


def test_sets_that_know_nothing_of_finer_masks_read_as_before(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).integers(0, 4, (2, 10, 12), dtype=np.uint8)
    write(tmp_path, make_clip("a", masks=masks, mask_frames=(3, 7)))
    part = tmp_path / "manifest" / "part-00000.parquet"
    table = pq.read_table(part)
    new = [name for name in table.column_names if name.startswith("mask_")]
    old = {"mask_shard", "mask_offset", "mask_frames"}
    pq.write_table(table.drop_columns([name for name in new if name not in old]), part)
    part.with_suffix(".json").unlink()  # its hash is that of the part as it was
    stored = ClipSet.open(tmp_path)
    for found in (stored.masks(0), stored.fine_masks(0)):
        assert found is not None
        np.testing.assert_array_equal(found, masks)
    assert stored.mask_spacing_mm(0) == stored.spacing_mm(0)


def test_frames_are_not_writable_and_not_copied(tmp_path: Path) -> None:
    stored = write(tmp_path, make_clip("a"))
    view = stored.frames(0)
    assert not view.flags.writeable
    assert np.shares_memory(view, stored.frames(0))


def test_parts_are_read_as_one_set_whoever_wrote_them(tmp_path: Path) -> None:
    with ClipSetWriter(tmp_path, "east") as east, ClipSetWriter(tmp_path, "west") as west:
        west.add(make_clip("w1", labels={"room": "blue"}))
        east.add(make_clip("e1"))
        west.add(make_clip("w2", labels={"room": "red"}))
    stored = ClipSet.open(tmp_path)
    assert stored.manifest["clip_id"].tolist() == ["e1", "w1", "w2"]
    np.testing.assert_array_equal(stored.frames(2), make_clip("w2").frames)
    assert stored.where("room == 'red'").manifest["clip_id"].tolist() == ["w2"]
    assert stored.verify() == []


def test_a_large_part_has_several_shards(tmp_path: Path) -> None:
    clips = [make_clip(f"a{i}") for i in range(5)]
    stored = write(tmp_path, *clips, shard_bytes=2 * clips[0].frames.size)
    assert stored.manifest["shard"].nunique() == 3
    for row, clip in enumerate(clips):
        np.testing.assert_array_equal(stored.frames(row), clip.frames)


def test_a_choice_keeps_the_rows_together(tmp_path: Path) -> None:
    stored = write(tmp_path, *(make_clip(f"a{i}", frames=5 + i) for i in range(6)))
    chosen = stored.subset([4, 1])
    assert chosen.manifest["clip_id"].tolist() == ["a4", "a1"]
    np.testing.assert_array_equal(chosen.frames(1), stored.frames(1))
    assert stored.where("frames > 8").subset([0]).manifest["clip_id"].tolist() == ["a4"]


@pytest.mark.parametrize("query", ["frames >", "frames == [", "1 +* 2", "frames + 'a' > 1"])
def test_a_query_that_cannot_be_read_is_refused(tmp_path: Path, query: str) -> None:
    with pytest.raises(UsageError, match="query"):
        write(tmp_path, make_clip("a")).where(query)


def test_an_unknown_column_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ef_percent"):
        write(tmp_path, make_clip("a")).where("ef_percnt > 50")


@pytest.mark.parametrize("what", ["nothing", "empty", "file"])
def test_anything_else_names_preprocess(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x"
    if what == "empty":
        path.mkdir()
    elif what == "file":
        path.write_text("x")
    with pytest.raises(EchoError, match="echocli preprocess"):
        ClipSet.open(path)


def write_and_fail(folder: Path) -> None:
    with ClipSetWriter(folder) as writer:
        writer.add(make_clip("a"))
        raise RuntimeError


def test_an_error_while_writing_leaves_no_part(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        write_and_fail(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_store import make_clip
from echocli.clips.store import ClipSetWriter
from pathlib import Path
writer = ClipSetWriter(Path({folder!r}))
for i in range(50):
    writer.add(make_clip(f"a{{i}}"))
    if i == 20:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_writer_leaves_no_readable_part_and_the_next_one_sweeps(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "set"
    script = textwrap.dedent(
        KILLED.format(tests=str(Path(__file__).parent), folder=str(folder))
    )
    result = subprocess.run([sys.executable, "-c", script], check=False)
    assert result.returncode == -signal.SIGKILL
    assert not ClipSet.is_one(folder)
    write(folder, make_clip("b"))
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert files == ["manifest/part-00000.json", "manifest/part-00000.parquet", SHARD]


SHARD = "shard-00000-00000.u8"


def test_a_changed_shard_is_found_and_the_clip_named(tmp_path: Path) -> None:
    write(tmp_path, *(make_clip(f"a{i}") for i in range(3)))
    with (tmp_path / SHARD).open("r+b") as file:
        file.seek(make_clip("a0").frames.size + 5)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    problems = ClipSet.open(tmp_path).verify()
    assert any(SHARD in problem for problem in problems)
    assert [p for p in problems if p.startswith("clip")] == ["clip a1: its frames have changed"]


def test_a_cut_or_lost_shard_is_found(tmp_path: Path) -> None:
    write(tmp_path, make_clip("a"))
    os.truncate(tmp_path / SHARD, 100)
    assert any("missing" in problem for problem in ClipSet.open(tmp_path).verify())
    (tmp_path / SHARD).unlink()
    with pytest.raises(EchoError, match="lacks its file"):
        ClipSet.open(tmp_path).frames(0)


@pytest.mark.parametrize("left", [0, 0.5, -1])
def test_a_shard_that_was_not_copied_to_its_end_is_told_when_read(
    tmp_path: Path, left: float
) -> None:
    write(tmp_path, make_clip("a"), make_clip("b"))
    (shard,) = tmp_path.glob("*.u8")
    size = shard.stat().st_size
    os.truncate(shard, size - 1 if left < 0 else round(left * size))
    opened = ClipSet.open(tmp_path)
    with pytest.raises(EchoError, match="not copied to its end"):
        opened.window(1, np.array([0]))
    if left:  # what there is of it can be read
        np.testing.assert_array_equal(opened.frames(0), make_clip("a").frames)
    assert any("frames are missing" in problem for problem in opened.verify())


def test_a_clip_twice_is_refused(tmp_path: Path) -> None:
    with ClipSetWriter(tmp_path) as writer:
        writer.add(make_clip("a"))
        with pytest.raises(ValueError, match="twice"):
            writer.add(make_clip("a"))


def test_a_clip_of_two_writers_counts_once_if_its_pixels_agree(tmp_path: Path) -> None:
    write(tmp_path, make_clip("b"), make_clip("a"), part="00000-1of2")
    stored = write(tmp_path, make_clip("a"), make_clip("c"), part="00000-2of2")
    assert stored.manifest["clip_id"].tolist() == ["b", "a", "c"]
    np.testing.assert_array_equal(stored.frames(2), make_clip("c").frames)
    assert stored.verify() == []
    clip = make_clip("a")
    write_part_of(tmp_path, replace(clip, frames=clip.frames ^ clip.sector))
    with pytest.raises(EchoError, match="twice, with different pixels"):
        ClipSet.open(tmp_path)


def write_part_of(folder: Path, clip: Clip) -> None:
    with ClipSetWriter(folder, "00001") as writer:
        writer.add(clip)


def test_an_empty_part_is_kept_only_if_wished(tmp_path: Path) -> None:
    with ClipSetWriter(tmp_path / "a"):
        pass
    assert not ClipSet.is_one(tmp_path / "a")
    with ClipSetWriter(tmp_path / "b", keep_empty=True) as writer:
        writer.details = {"sources": ["x"]}
    assert len(ClipSet.open(tmp_path / "b")) == 0
    assert read_json(tmp_path / "b/manifest/part-00000.json")["sources"] == ["x"]
    both = write(tmp_path / "b", make_clip("a"), part="00001")
    assert both.manifest["ef_percent"].tolist() == [55.0]


def test_sets_from_before_a_column_was_thought_of_are_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    clip = make_clip("a", r_waves_s=(0.1, 0.9), notes=("region_rescaled",))
    stored = write(tmp_path, clip, make_clip("b"))
    assert stored.manifest["r_waves_s"][0].tolist() == [0.1, 0.9]
    assert stored.manifest["notes"][0].tolist() == ["region_rescaled"]
    assert stored.manifest["r_waves_s"][1] is None
    part = tmp_path / "manifest/part-00000.parquet"
    new = ["r_waves_s", "r_wave_source", "study_date", "notes"]
    pq.write_table(pq.read_table(part).drop_columns(new), part)
    part.with_suffix(".json").unlink()
    older = ClipSet.open(tmp_path)
    assert older.manifest[new].isna().all(axis=None)
    np.testing.assert_array_equal(older.frames(0), clip.frames)


def test_frames_outlive_what_is_forgotten(tmp_path: Path) -> None:
    stored = write(tmp_path, make_clip("a"), make_clip("b"))
    kept = stored.frames(0)
    stored.forget()
    np.testing.assert_array_equal(kept, make_clip("a").frames)
    assert not np.shares_memory(kept, stored.frames(0))
    np.testing.assert_array_equal(stored.frames(1), make_clip("b").frames)


def test_a_few_clips_may_stay_mapped(tmp_path: Path) -> None:
    stored = write(tmp_path, make_clip("a"), make_clip("b"))
    kept = stored.frames(0)
    stored.forget(beyond=kept.nbytes)
    assert np.shares_memory(kept, stored.frames(0))
    stored.forget(beyond=kept.nbytes)  # read twice by now
    assert not np.shares_memory(kept, stored.frames(0))
    np.testing.assert_array_equal(kept, stored.frames(0))


def test_a_window_is_a_copy_of_its_frames(tmp_path: Path) -> None:
    stored = write(tmp_path, make_clip("a"), make_clip("b"))
    indices = np.array([3, 3, 7, 0])
    out = np.zeros((4, 10, 12), np.uint8)
    assert stored.window(1, indices, out) is out
    np.testing.assert_array_equal(out, make_clip("b").frames[indices])
    for wrong in ([0, 12], [-1, 3]):
        with pytest.raises(IndexError):
            stored.window(1, np.array(wrong))


def test_a_manifest_that_points_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.u8").write_bytes(bytes(10_000))
    stored = write(tmp_path / "set", make_clip("a"))
    stored.manifest["shard"] = "../secret.u8"
    with pytest.raises(EchoError, match="none of its own"):
        stored.frames(0)


def test_a_part_is_not_written_over(tmp_path: Path) -> None:
    write(tmp_path, make_clip("a"))
    with pytest.raises(UsageError, match="overwrite"):
        ClipSetWriter(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": np.zeros((3, 10, 12), dtype=np.float32)},
        {"sector": np.ones((3, 3), dtype=bool)},
        {"times_s": np.array([0.0, 0.1])},
        {"times_s": np.zeros(12)},
        {"spacing_mm": (0.0, 1.0)},
        {"mask_frames": (1,)},
        {"masks": np.zeros((1, 10, 12), dtype=np.uint8), "mask_frames": (12,)},
        {"masks": np.zeros((1, 20, 24), dtype=np.uint8), "mask_frames": (1,)},
        {
            "masks": np.zeros((1, 20, 24), dtype=np.uint8),
            "mask_frames": (1,),
            "mask_box": (0, 11, 0, 12),
        },
        {"labels": {"shard": "x"}},
    ],
)
def test_a_clip_that_contradicts_itself_is_refused(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"\w"), ClipSetWriter(tmp_path) as writer:
        writer.add(make_clip("a", **wrong))


def test_labels_of_mixed_kinds_find_a_type(tmp_path: Path) -> None:
    labels: list[dict[str, Any]] = [{"x": 1, "y": "a"}, {"x": 2.5, "y": 3}, {"z": float("nan")}]
    stored = write(tmp_path, *(make_clip(f"a{i}", labels=v) for i, v in enumerate(labels)))
    assert stored.manifest["x"].tolist()[:2] == [1.0, 2.5]
    assert stored.manifest["y"].tolist()[:2] == ["a", "3"]
    assert stored.manifest["z"].isna().all()


@pytest.mark.parametrize(
    "values",
    [(None, 3.0), (3.0, "3A"), (None, None), (True, None, "x"), (2, 4.5, None), (True, 1.0)],
)
def test_labels_are_the_same_in_one_part_and_in_several(
    tmp_path: Path, values: tuple[Any, ...]
) -> None:
    clips = [make_clip(f"a{i}", labels={"ward": v}) for i, v in enumerate(values)]
    together = write(tmp_path / "one", *clips).manifest["ward"]
    for place, clip in enumerate(clips):
        apart = write(tmp_path / "some", clip, part=f"{place:05d}")
    found = apart.manifest["ward"]
    assert found.isna().tolist() == together.isna().tolist()
    assert found.dropna().tolist() == together.dropna().tolist()
    assert found.dtype == together.dtype


def test_parts_whose_columns_cannot_be_joined_are_refused(tmp_path: Path) -> None:
    write(tmp_path, make_clip("a1"))
    manifest = tmp_path / "manifest" / "part-00000.parquet"
    table = pq.read_table(manifest)
    place = table.column_names.index("frames")
    pq.write_table(table.set_column(place, "frames", [["twelve"]]), manifest)
    manifest.with_suffix(".json").unlink()
    with pytest.raises(EchoError, match="do not fit together"):
        ClipSet.open(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "a/b", "", "a" * 65, "a b", ".", "c\n"])
def test_an_id_that_could_lead_out_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with ClipSetWriter(tmp_path) as writer:
        writer.add(make_clip("a1"))
        writer.add(replace(make_clip("a2"), clip_id=name))
    with pytest.raises(EchoError, match="ids that are none") as told:
        ClipSet.open(tmp_path)
    assert "verify" in told.value.remedy
