"""Tokens outside the sector are left out by the same rule wherever clips are read."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from micro import micro_clip, write_clips

from echocli.api._encode import encode_clips, read_windows
from echocli.api._sector import grid_of, groups, share_of_clip, share_to_train, tokens_seen
from echocli.checkpoint import LoadedModel, load_model
from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.clips.windows import to_video

DATA = DataConfig(frames=4, size=32, seconds=0.5, sector_tokens=True)
GRID = (2, 4, 4)


def fan_clip(number: int) -> Clip:
    """Return a clip whose scan fills a corner, larger in every second clip."""
    clip = micro_clip(number)
    side = 20 if number % 2 else 14
    sector = np.add.outer(np.arange(32), np.arange(32)) < side
    return replace(clip, frames=np.maximum(clip.frames, 1) * sector, sector=sector)


@pytest.fixture(scope="module")
def fans(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    folder = tmp_path_factory.mktemp("fans") / "clips"
    return write_clips(folder, [fan_clip(number) for number in range(9)])


@pytest.fixture(scope="module")
def model(micro_run: Path) -> LoadedModel:
    loaded = load_model(micro_run)
    return replace(loaded, data=replace(loaded.data, sector_tokens=True))


def columns_by_hand(frames: np.ndarray) -> set[int]:
    """Return the columns of the grid that hold a pixel above black, one by one."""
    return {
        row * 4 + column
        for row in range(4)
        for column in range(4)
        if frames[:, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].any()
    }


def test_all_that_is_not_black_is_seen_and_shares_follow_the_clip(fans: ClipSet) -> None:
    shares = set()
    for row in range(len(fans)):
        needed = columns_by_hand(fans.frames(row))
        share = share_of_clip(fans, row, DATA, GRID)
        assert share == math.ceil(8 * len(needed) / 16) / 8
        seen = tokens_seen(fans, [row], DATA, GRID)
        assert seen is not None
        assert seen.shape == (1, 2 * share * 16)
        columns = set((seen[0] % 16).tolist())
        assert needed <= columns
        shares.add(share)
    assert len(shares) == 2


def test_groups_hold_every_row_once_and_one_share_each(fans: ClipSet) -> None:
    found = list(groups(fans, range(9), DATA, GRID, 3))
    assert sorted(row for group in found for row in group) == list(range(9))
    assert max(len(group) for group in found) == 3
    for group in found:
        assert len({share_of_clip(fans, row, DATA, GRID) for row in group}) == 1


@pytest.mark.parametrize("batch", [1, 100])
def test_a_row_is_its_own_clips_vector_by_the_slow_road(
    fans: ClipSet, model: LoadedModel, batch: int
) -> None:
    found = encode_clips(
        model, fans, pool="mean", windows=2, device="cpu", precision="fp32", batch=batch
    )
    assert found.rows == list(range(9))
    for row, vector in zip(found.rows, found.features, strict=True):
        windows = torch.from_numpy(read_windows(fans, row, model.data, 2))
        seen = tokens_seen(fans, [row], model.data, grid_of(model.encoder, model.data))
        assert seen is not None
        tokens = model.encoder(to_video(windows, model.data), seen.expand(2, -1))
        wanted = tokens.mean(dim=(0, 1)).numpy()
        np.testing.assert_allclose(vector, wanted, rtol=1e-4, atol=1e-5)


def test_what_is_left_out_changes_the_vector_and_a_full_sector_leaves_nothing_out(
    fans: ClipSet, model: LoadedModel, micro_clips: Path, micro_run: Path
) -> None:
    all_tokens = load_model(micro_run)
    ours, theirs = (encode_clips(m, fans, device="cpu").features for m in (model, all_tokens))
    assert np.abs(ours - theirs).max() > 1e-2
    full = ClipSet.open(micro_clips)
    ours, theirs = (encode_clips(m, full, device="cpu").features for m in (model, all_tokens))
    np.testing.assert_array_equal(ours, theirs)


def test_a_training_looks_at_what_most_clips_need(fans: ClipSet, micro_clips: Path) -> None:
    largest = max(share_of_clip(fans, row, DATA, GRID) for row in range(9))
    assert share_to_train(fans, range(9), DATA, GRID) == largest
    assert share_to_train(fans, range(0, 9, 2), DATA, GRID) < largest
    off = replace(DATA, sector_tokens=False)
    assert share_to_train(fans, range(9), off, GRID) is None
    assert share_to_train(ClipSet.open(micro_clips), range(9), DATA, GRID) is None
