"""Exports show each clip's own pixels at their own times, and replace nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from micro import micro_clip, write_clips
from PIL import Image

from echocli.api._export.record import RECORD
from echocli.api.export import ExportConfig, export
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.errors import EchoError, UsageError
from echocli.intake.video import read_video

MATROSKA_TICK_S = 1e-3
MICROSECOND = 1e-6


def uneven() -> np.ndarray:
    return np.r_[0, np.cumsum(np.random.default_rng(5).uniform(0.011, 0.09, 23))]


def odd() -> Clip:
    """Sides that no H.264 encoder takes, and every grey there is."""
    frames = np.random.default_rng(2).integers(0, 256, (9, 31, 27)).astype(np.uint8)
    sector = np.ones((31, 27), dtype=bool)
    times = np.arange(9) / 47.44
    return replace(micro_clip(2), frames=frames, sector=sector, times_s=times)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "clips"
    masks = np.zeros((2, 32, 32), dtype=np.uint8)
    masks[:, 8:20, 8:20] = 1
    labelled = micro_clip(1, masks=masks, mask_frames=(0, 5))
    timeless = micro_clip(3, times_s=None, time_source="unknown")
    write_clips(folder, [micro_clip(0, times_s=uneven()), labelled, odd(), timeless])
    return folder


@pytest.mark.parametrize("scale", [1, 3])
def test_lossless_files_read_back_as_the_clip(clips: Path, tmp_path: Path, scale: int) -> None:
    config = ExportConfig(form="mkv", scale=scale)
    result = export(clips, tmp_path / "out", config=config)
    opened = ClipSet.open(clips)
    assert [path.name for path in result.files] == ["c000.mkv", "c001.mkv", "c002.mkv"]
    for row, path in enumerate(result.files):
        gathered, times = read_video(path)
        expected = opened.frames(row).repeat(scale, 1).repeat(scale, 2)
        np.testing.assert_array_equal(gathered.frames, expected)
        np.testing.assert_allclose(times, opened.times_s(row), atol=MATROSKA_TICK_S / 2)


def test_films_are_close_to_the_clip_and_exact_in_time(clips: Path, tmp_path: Path) -> None:
    result = export(clips, tmp_path / "out")
    opened = ClipSet.open(clips)
    for row, path in enumerate(result.files):
        gathered, times = read_video(path)
        truth = opened.frames(row)
        seen = gathered.frames[:, : truth.shape[1], : truth.shape[2]]
        # Random noise is the hardest there is for H.264; a heart differs by one or two greys.
        assert np.abs(seen.astype(int) - truth).mean() < 5
        assert gathered.frames.shape[1] % 2 == gathered.frames.shape[2] % 2 == 0
        np.testing.assert_allclose(times, opened.times_s(row), atol=MICROSECOND)


def test_outlines_stand_on_labelled_frames_only(clips: Path, tmp_path: Path) -> None:
    config = ExportConfig(form="mkv", scale=2, overlay=True)
    (path,) = export(clips, tmp_path / "out", config=config, ids=["c001"]).files
    with av.open(str(path)) as container:
        colour = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    truth = ClipSet.open(clips).frames(1).repeat(2, 1).repeat(2, 2)
    drawn = (colour != truth[..., None]).any(axis=(1, 2, 3))
    assert drawn.tolist() == [frame in (0, 5) for frame in range(len(truth))]
    ring = np.zeros((64, 64), dtype=bool)
    ring[16:40, 16:40] = True
    ring[18:38, 18:38] = False  # an outline of one stored pixel or less
    assert not (colour[0] != truth[0, ..., None]).any(-1)[~ring].any()


def test_files_hold_nothing_but_pixels_and_times(clips: Path, tmp_path: Path) -> None:
    for form in ("mp4", "mkv"):
        folder = tmp_path / form
        for path in export(clips, folder, config=ExportConfig(form=form)).files:
            with av.open(str(path)) as container:
                told = container.metadata | container.streams.video[0].metadata
            known = {"encoder", "DURATION", "major_brand", "minor_version", "language"}
            known |= {"compatible_brands", "handler_name", "vendor_id", "encoder_settings"}
            assert set(told) <= known, told
            assert b"h001" not in path.read_bytes()


def test_clips_without_times_are_left_out_or_assumed(clips: Path, tmp_path: Path) -> None:
    assert export(clips, tmp_path / "a").left_out == ["c003"]
    config = ExportConfig(assume_rate_hz=40)
    path = export(clips, tmp_path / "b", config=config, ids=["c003"]).files[0]
    np.testing.assert_allclose(read_video(path)[1], np.arange(24) / 40, atol=MICROSECOND)
    with pytest.raises(EchoError, match="--assume-fps"):
        export(clips, tmp_path / "c", ids=["c003"])
    assert not (tmp_path / "c").exists()


def test_the_same_call_does_only_what_is_missing(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(clips, out, where="ef_percent < 41.5").n_written == 2
    before = (out / "c000.mp4").stat()
    (out / "c001.mp4").unlink()
    result = export(clips, out)
    assert (result.n_written, result.n_clips) == (2, 3)
    assert (out / "c000.mp4").stat() == before
    assert set(json.loads((out / RECORD).read_text())["clips"]) == {"c000", "c001", "c002"}


def test_nothing_of_others_is_replaced(clips: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "c000.mp4").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="already exists"):
            export(clips, own, overwrite=overwrite)
    assert (own / "c000.mp4").read_text() == "mine"

    out = tmp_path / "out"
    export(clips, out, ids=["c000"])
    with pytest.raises(UsageError, match="scale"):
        export(clips, out, config=ExportConfig(scale=2), ids=["c000"])
    write_clips(tmp_path / "other", [micro_clip(7, clip_id="c000")])
    with pytest.raises(UsageError, match="other frames"):
        export(tmp_path / "other", out)
    export(tmp_path / "other", out, overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["c000.mp4", RECORD]


@pytest.mark.parametrize("content", ["", "no JSON", "[]", '"a"', "{}", '{"schema": "x"}'])
def test_a_damaged_record_is_told_and_nothing_replaced(
    clips: Path, tmp_path: Path, content: str
) -> None:
    out = tmp_path / "out"
    export(clips, out, ids=["c000"])
    (out / RECORD).write_text(content)
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="no whole export"):
            export(clips, out, overwrite=overwrite)
    assert (out / "c000.mp4").is_file()


def test_a_record_without_its_parts_can_be_made_again(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(clips, out, ids=["c000"])
    (out / RECORD).write_text('{"schema": "echocli.export/1", "clips": 3}')
    with pytest.raises(UsageError, match="damaged"):
        export(clips, out)
    export(clips, out, ids=["c001"], overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["c001.mp4", RECORD]


def test_sheets_show_every_clip(tmp_path: Path) -> None:
    write_clips(tmp_path / "clips", [micro_clip(number) for number in range(50)])
    config = ExportConfig(sheet=True)
    result = export(tmp_path / "clips", tmp_path / "out", config=config)
    assert [path.name for path in result.files] == ["sheet-0001.png", "sheet-0002.png"]
    first, second = (np.asarray(Image.open(path)) for path in result.files)
    opened = ClipSet.open(tmp_path / "clips")
    assert first.shape == (6 * 196, 8 * 168, 3)
    for row in range(50):
        page, place = (first, row) if row < 48 else (second, row - 48)
        top, left = place // 8 * 196 + 2, place % 8 * 168 + 2
        tile = page[top : top + 164, left : left + 164, 0]
        middle = opened.frames(row)[12].repeat(164, 0).repeat(164, 1)
        small = middle.reshape(32, 164, 32, 164).mean((1, 3))
        seen = np.asarray(Image.fromarray(tile).resize((32, 32), Image.Resampling.BOX))
        assert np.corrcoef(seen.ravel(), small.ravel())[0, 1] > 0.97, row
    assert export(tmp_path / "clips", tmp_path / "out", config=config).n_written == 0
    with pytest.raises(UsageError, match="sheets of other clips"):
        export(tmp_path / "clips", tmp_path / "out", config=config, ids=["c001"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ids": ["c00"]}, "Did you mean c00"),
        ({"where": "ef_percent > 99"}, "No clip"),
        ({"where": "efpercent > 9"}, "Did you mean ef_percent"),
    ],
)
def test_wrong_wishes_are_told(
    clips: Path, tmp_path: Path, options: dict[str, str], said: str
) -> None:
    with pytest.raises(EchoError) as error:
        export(clips, tmp_path / "out", **options)
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


def test_impossible_settings_are_refused() -> None:
    for wrong in ({"form": "avi"}, {"scale": 0}, {"scale": 17}):
        with pytest.raises(UsageError):
            ExportConfig(**wrong)
