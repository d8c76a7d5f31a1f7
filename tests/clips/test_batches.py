"""Which window comes when depends on (seed, epoch, sample) alone."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echocli.clips.batches import Batches
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet, ClipSetWriter
from echocli.errors import EchoError

DATA = DataConfig(frames=4, size=32, seconds=0.5)


def test_an_epoch_visits_every_clip_once(micro_clips: Path) -> None:
    batches = Batches(ClipSet.open(micro_clips), DATA, batch=5, seed=3)
    for epoch in range(3):
        seen = [row for step in (0, 1) for row, _ in batches.samples(2 * epoch + step)]
        assert sorted(seen) == list(range(10))


def test_a_batch_may_cross_epochs(micro_clips: Path) -> None:
    batches = Batches(ClipSet.open(micro_clips), DATA, batch=4, seed=3)
    straight = [sample for step in range(10) for sample in batches.samples(step)]
    assert sorted(row for row, _ in straight[:10]) == list(range(10))
    assert sorted(row for row, _ in straight[10:20]) == list(range(10))
    other = Batches(ClipSet.open(micro_clips), DATA, batch=2, seed=3)
    assert straight[:20] == [s for step in range(10) for s in other.samples(step)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), batch=st.integers(1, 25), epoch=st.integers(0, 40))
def test_any_batch_from_any_seed_visits_each_clip_once(
    micro_clips: Path, seed: int, batch: int, epoch: int
) -> None:
    batches = Batches(ClipSet.open(micro_clips), DATA, batch, seed)
    count = len(batches.rows)
    first = epoch * count // batch
    near = [
        s for step in range(first, first + count // batch + 2) for s in batches.samples(step)
    ]
    visit = near[epoch * count - first * batch :][:count]
    assert sorted(row for row, _ in visit) == batches.rows
    assert len({start for _, start in visit}) == count, "windows start at places of their own"


@pytest.mark.parametrize("readers", [0, 1, 4])
def test_the_stream_starts_anywhere_and_equals_reading(micro_clips: Path, readers: int) -> None:
    batches = Batches(ClipSet.open(micro_clips), DATA, batch=3, seed=1)
    for step, batch in enumerate(batches.stream(4, 9, readers), start=4):
        wanted = batches.read(step)
        assert batch.rows == wanted.rows == [row for row, _ in batches.samples(step)]
        np.testing.assert_array_equal(batch.pixels, wanted.pixels)
        assert batch.pixels.shape == (3, 4, 32, 32)
        assert batch.pixels.dtype == np.uint8


def test_a_stream_that_is_left_ends_its_thread(micro_clips: Path) -> None:
    before = threading.active_count()
    stream = Batches(ClipSet.open(micro_clips), DATA, batch=3, seed=1).stream(0, 1000)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_an_error_of_the_reader_reaches_the_trainer(tmp_path: Path, micro_clips: Path) -> None:
    clips = ClipSet.open(micro_clips)
    clips.folder = tmp_path  # its shards are not there
    with pytest.raises(EchoError, match="lacks its file"):
        next(Batches(clips, DATA, batch=3, seed=1).stream(0, 5))


def test_clips_that_cannot_fill_a_window_are_counted(tmp_path: Path) -> None:
    from micro import micro_clip

    clips = [
        micro_clip(0),
        micro_clip(1, frames=5),
        micro_clip(2, times_s=None),
        micro_clip(3),
        micro_clip(4, frames=6),
    ]
    with ClipSetWriter(tmp_path) as writer:
        for clip in clips:
            writer.add(clip)
    batches = Batches(ClipSet.open(tmp_path), DATA, batch=2, seed=0)
    assert batches.rows == [0, 3]
    assert batches.left_out == {"too_short": 2, "no_time": 1}
    assert {row for step in range(9) for row, _ in batches.samples(step)} == {0, 3}


def test_no_usable_clip_is_an_error_that_says_why(micro_clips: Path) -> None:
    with pytest.raises(EchoError, match=r"10 shorter than a window.*data.seconds"):
        Batches(ClipSet.open(micro_clips), DataConfig(frames=4, seconds=9.0), batch=2, seed=0)


def test_a_set_without_clips_is_called_that(micro_clips: Path) -> None:
    clips = ClipSet.open(micro_clips)
    clips.manifest = clips.manifest.iloc[:0]
    with pytest.raises(EchoError, match="holds no clip"):
        Batches(clips, DATA, batch=2, seed=0)
