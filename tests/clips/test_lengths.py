"""A shorter window keeps as many clips as is asked, and no longer one does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from micro import micro_clip, write_clips

from echocli.clips.batches import Batches
from echocli.clips.contract import DataConfig
from echocli.clips.lengths import ENOUGH, by_seconds, by_stride, says, shorter_windows
from echocli.clips.store import ClipSet
from echocli.clips.windows import why_not
from echocli.config import from_assignments
from echocli.errors import EchoError

COUNTS = [*range(30, 70), 5, 200]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    folder = tmp_path_factory.mktemp("lengths") / "clips"
    return write_clips(folder, [micro_clip(i, frames=n) for i, n in enumerate(COUNTS)])


def kept(clips: ClipSet, data: DataConfig) -> int:
    counts = clips.manifest["frames"]
    return sum(why_not(clips.times_s(i), int(n), data) is None for i, n in enumerate(counts))


def changed(data: DataConfig, setting: str) -> DataConfig:
    return replace(data, **from_assignments([setting])["data"])


@pytest.mark.parametrize("data", [DataConfig(seconds=4.0), DataConfig(frames=16, seconds=2.5)])
def test_the_longest_seconds_that_keep_95_percent(clips: ClipSet, data: DataConfig) -> None:
    (way,) = shorter_windows(clips, data)
    shorter = changed(data, way.setting)
    assert kept(clips, shorter) == way.clips >= ENOUGH * len(clips)
    assert shorter.seconds is not None
    longer = replace(shorter, seconds=shorter.seconds + 0.06)
    assert kept(clips, longer) < ENOUGH * len(clips)


def test_less_stride_or_fewer_frames(clips: ClipSet) -> None:
    data = DataConfig(frames=16, stride=4)
    ways = shorter_windows(clips, data, tubelet=2)
    assert [way.setting.partition("=")[0] for way in ways] == ["data.stride", "data.frames"]
    for way in ways:
        shorter = changed(data, way.setting)
        assert kept(clips, shorter) == way.clips >= ENOUGH * len(clips)
        assert shorter.frames % 2 == 0
    stride, frames = (changed(data, way.setting) for way in ways)
    assert stride.stride is not None
    assert kept(clips, replace(stride, stride=stride.stride + 1)) < ENOUGH * len(clips)
    assert kept(clips, replace(frames, frames=frames.frames + 2)) < ENOUGH * len(clips)


@pytest.mark.parametrize("tubelet", [1, 2])
@pytest.mark.parametrize(("frames", "stride"), [(1, 1), (2, 3), (16, 2), (16, 4), (7, 5)])
def test_what_goes_by_stride_fits_and_the_next_longer_does_not(
    frames: int, stride: int, tubelet: int
) -> None:
    data = DataConfig(frames=frames, stride=stride)
    for span in range(40):
        for setting, fitting in by_stride(data, span, tubelet):
            assert fitting == changed(data, setting)
            assert fitting.span <= span
            assert fitting.stride is not None
            one_more = (
                replace(fitting, stride=fitting.stride + 1)
                if setting.startswith("data.stride")
                else replace(fitting, frames=fitting.frames + tubelet)
            )
            assert one_more.span > span


@pytest.mark.parametrize("frames", [2, 3, 16])
def test_seconds_that_fit_exactly_are_not_cut(frames: int) -> None:
    data = DataConfig(frames=frames, seconds=9.0)
    for seconds in [*(k / 100 for k in range(1, 100)), *(1 + k / 20 for k in range(40))]:
        fitting = replace(data, seconds=seconds)
        assert by_seconds(data, fitting.span) == [(f"data.seconds={seconds:g}", fitting)]
    assert by_seconds(data, -1e-6) == []


def test_nothing_shorter_helps_what_fits_or_has_no_frames(clips: ClipSet) -> None:
    assert shorter_windows(clips, DataConfig(seconds=0.5)) == []
    assert shorter_windows(clips.subset([]), DataConfig(frames=64, stride=3)) == []


def test_the_published_recipe_needs_190_frames() -> None:
    assert "190" in says(DataConfig(frames=64, stride=3))


def test_a_window_for_no_clip_names_the_nearest_one_that_is(
    tmp_path: Path, clips: ClipSet
) -> None:
    with pytest.raises(EchoError) as caught:
        Batches(clips, DataConfig(frames=64, stride=4), 2, 0)
    assert "253" in caught.value.problem
    assert "--set data.frames=8)" in caught.value.remedy

    timeless = [replace(micro_clip(i), times_s=None, time_source=None) for i in range(2)]
    with pytest.raises(EchoError, match="without frame times") as caught:
        Batches(write_clips(tmp_path / "timeless", timeless), DataConfig(), 2, 0)
    assert "data.stride=1" in caught.value.remedy
