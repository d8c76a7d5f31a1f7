"""Windows come in order, however many are read at once; of small ones more cross together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echocli.api import _windows
from echocli.api._encode import BATCH, BATCH_TOKENS, batch_for
from echocli.api._sector import Group
from echocli.checkpoint import load_model
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.clips.windows import window_indices
from echocli.models.vit import VisionTransformer, ViTConfig

GROUPS = [Group(rows, None) for rows in ([3, 1], [0], [2, 5, 4], [6])]
DATA = DataConfig(frames=4, size=32, seconds=0.5)
GROUP_BYTES = 2 * 2 * 4 * 32 * 32
"""Of two clips, two windows each."""


@pytest.mark.parametrize("most", [1, GROUP_BYTES, 3 * GROUP_BYTES, 10**9])
def test_groups_come_in_order_however_many_are_read_at_once(
    micro_clips: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(_windows, "READ_BYTES", most)
    clips = ClipSet.open(micro_clips)
    found = list(_windows.read_ahead(clips, GROUPS, DATA, 2))
    assert [group for group, _ in found] == GROUPS
    for group, pixels in found:
        assert pixels.shape == (len(group.rows), 2, 4, 32, 32)
        for row, windows in zip(group.rows, pixels, strict=True):
            frames = clips.frames(row)
            for window, start in zip(windows, (0.0, 1.0), strict=True):
                chosen = window_indices(clips.times_s(row), len(frames), DATA, start)
                assert chosen is not None
                np.testing.assert_array_equal(window, frames[chosen])


@pytest.mark.parametrize(("most", "at_once"), [(1, 1), (2 * GROUP_BYTES, 2), (10**9, 9)])
def test_no_more_is_read_at_once_than_is_allowed(
    micro_clips: Path, monkeypatch: pytest.MonkeyPatch, most: int, at_once: int
) -> None:
    handed: list[int] = []

    def counted(tasks: object, readers: int) -> object:
        for part in (task() for task in tasks):  # type: ignore[attr-defined]
            handed.append(len(part))
            yield part

    monkeypatch.setattr(_windows, "READ_BYTES", most)
    monkeypatch.setattr(_windows, "in_order", counted)
    pairs = [Group([0, 1], None)] * 9
    assert len(list(_windows.read_ahead(ClipSet.open(micro_clips), pairs, DATA, 2))) == 9
    assert max(handed) == at_once


@pytest.mark.parametrize(("size", "windows"), [(32, 64), (64, 64), (112, 20), (224, 16)])
def test_more_windows_of_a_small_network_cross_together(
    micro_run: Path, size: int, windows: int
) -> None:
    shape = ViTConfig(frames=16, size=size, tubelet=(4, 8, 8), dim=32, depth=1, heads=1)
    model = replace(
        load_model(micro_run),
        encoder=VisionTransformer(shape, None),
        data=DataConfig(frames=16, size=size),
    )
    assert batch_for(model) == windows
    tokens = shape.grid[0] * shape.grid[1] * shape.grid[2]
    assert windows == BATCH or windows * tokens <= BATCH_TOKENS
