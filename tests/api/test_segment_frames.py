from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from micro import micro_clip, write_clips

from echocli.api._segment.frames import (
    BEYOND,
    labels_to_clip,
    masks_to_model,
    plan_every_frame,
    shown_times,
    spread_positions,
    windows_with,
)
from echocli.api._segment.tokens import labelled_frames
from echocli.checkpoint import LoadedModel
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.models.vit import VisionTransformer, ViTConfig

JITTER = np.random.default_rng(0).uniform(-0.005, 0.005, size=60)


def times(frames: int, rate_hz: float, jitter: bool = False) -> np.ndarray:
    even = np.arange(frames) / rate_hz
    return even + JITTER[:frames] - JITTER[0] if jitter else even


CASES = [
    (60, 50.0, False, DataConfig(frames=16, seconds=1.0)),
    (60, 50.0, True, DataConfig(frames=16, seconds=1.0)),
    (24, 25.0, False, DataConfig(frames=8, seconds=0.9)),
    (48, 50.0, False, DataConfig(frames=16, seconds=1.0)),  # as long as a window
    (10, 10.0, False, DataConfig(frames=16, seconds=0.9)),  # slower than the model
    (31, 50.0, False, DataConfig(frames=16, stride=2)),  # room for one window only
    (40, 50.0, False, DataConfig(frames=8, stride=4)),
    (16, 50.0, False, DataConfig(frames=16, stride=1)),
]


@pytest.mark.parametrize(("frames", "rate_hz", "jitter", "data"), CASES)
def test_every_frame_is_kept_once_in_a_window_at_the_models_time_step(
    frames: int, rate_hz: float, jitter: bool, data: DataConfig
) -> None:
    times_s = times(frames, rate_hz, jitter)
    plan = plan_every_frame(times_s, frames, data)
    kept = [frame for window in plan for _, frame in window.kept]
    assert sorted(kept) == list(range(frames))
    for window in plan:
        assert len(window.indices) == data.frames
        assert (np.diff(window.indices) >= 0).all()
        assert all(window.indices[position] == frame for position, frame in window.kept)
        if data.stride is None:
            assert data.seconds is not None
            steps = np.diff(times_s[window.indices])
            even = data.seconds / data.frames
            assert np.abs(steps - even).max() <= 1 / rate_hz + 0.02  # nearest frames
            span = times_s[window.indices[-1]] - times_s[window.indices[0]]
            assert span == pytest.approx(data.span, abs=1 / rate_hz + even + 0.01)


def test_windows_stand_on_their_frame() -> None:
    data = DataConfig(frames=16, seconds=1.0)
    found = windows_with(30, times(60, 50.0), 60, data)
    assert all(indices[position] == 30 for position, indices in found.items())
    assert set(found) == {6, 7, 8, 9, 10}  # 0.6 s before it, 0.58 behind, half a step more


def test_a_clip_without_room_or_time_has_no_plan() -> None:
    data = DataConfig(frames=16, seconds=1.0)
    assert plan_every_frame(times(40, 50.0), 40, data) == []
    assert plan_every_frame(None, 400, data) == []
    assert windows_with(3, times(40, 50.0), 40, data) == {}
    assert plan_every_frame(None, 15, DataConfig(frames=16, stride=1)) == []


@pytest.mark.parametrize("positions", [[6, 7, 8, 9], list(range(16)), [0, 1]])
def test_positions_meet_every_slot_and_lie_apart(positions: list[int]) -> None:
    met = set()
    for turn in range(len(positions)):
        chosen = spread_positions(positions, 2, tubelet=2, turn=turn)
        assert {p % 2 for p in chosen} == {0, 1}
        assert set(chosen) <= set(positions)
        assert abs(chosen[1] - chosen[0]) >= len(positions) // 2 - 1
        met |= set(chosen)
    assert met == set(positions)  # no position that a head has never learnt from
    for turn in (0, 1):  # no frame is lost, whatever slot it stands in
        assert spread_positions([5], 2, tubelet=2, turn=turn) == [5]
    assert spread_positions([], 2, tubelet=2) == []


@pytest.mark.parametrize(
    ("height", "width", "size"), [(64, 64, 32), (24, 40, 64), (33, 20, 33)]
)
def test_masks_go_to_the_models_size_and_back(height: int, width: int, size: int) -> None:
    rows, columns = np.mgrid[:height, :width]
    mask = ((rows - height / 2) ** 2 + (columns - width / 2) ** 2 < 60).astype(np.uint8)
    mask[: height // 4, : width // 3] = 3
    there = masks_to_model(mask[None], size)
    assert there.shape == (1, size, size)
    assert set(np.unique(there)) == {0, 1, 3}
    logits = torch.nn.functional.one_hot(there.long(), 4).permute(0, 3, 1, 2).float() * 10
    back = labels_to_clip(logits, height, width)[0]
    assert back.shape == mask.shape
    assert (back == mask).mean() > 0.97


@pytest.mark.parametrize("tubelet", [1, 2, 4])
def test_every_frame_of_a_tubelet_meets_labels(tubelet: int, tmp_path: Path) -> None:
    outline = np.zeros((2, 32, 32), np.uint8)
    write_clips(tmp_path, [micro_clip(0, masks=outline, mask_frames=(9, 14))])
    shape = ViTConfig(frames=8, size=32, tubelet=(tubelet, 8, 8), dim=32, depth=1, heads=2)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    data = DataConfig(frames=8, size=32, stride=1)
    model = LoadedModel(encoder, data, "vjepa", "", {}, tmp_path)
    generator = torch.Generator().manual_seed(0)
    found = labelled_frames(model, ClipSet.open(tmp_path), [0], 2, generator)
    for mask in (0, 1):
        met = {one.position % tubelet for one in found if one.mask == mask}
        assert met == set(range(tubelet))


@pytest.mark.parametrize(
    ("frames", "rate_hz", "data", "tubelet"),
    [
        (20, 50.0, DataConfig(frames=16, seconds=1.0), 2),  # a half beat of CAMUS
        (20, 50.0, DataConfig(frames=16, seconds=1.0), 4),
        (5, 50.0, DataConfig(frames=16, seconds=1.0), 2),  # one tubelet and a little
        (10, 50.0, DataConfig(frames=64, stride=3), 2),
    ],
)
def test_a_loop_shorter_than_a_window_fills_whole_tubelets_of_it(
    frames: int, rate_hz: float, data: DataConfig, tubelet: int
) -> None:
    times_s = times(frames, rate_hz)
    assert plan_every_frame(times_s, frames, data) == []
    plan = plan_every_frame(times_s, frames, data, tubelet)
    assert sorted(f for window in plan for _, f in window.kept) == list(range(frames))
    span = data.stride or data.seconds / data.frames * rate_hz  # frames a step
    longest = int((frames - 1 + span) / span / tubelet) + 1
    for window in plan:
        filled = window.indices != BEYOND
        shown = shown_times(window.indices, tubelet)
        assert filled.reshape(-1, tubelet).all(axis=1).nonzero()[0].tolist() == list(shown)
        assert filled.sum() == len(shown) * tubelet
        assert list(shown) == list(range(shown[0], shown[-1] + 1))
        assert 1 <= len(shown) <= longest
        there = window.indices[filled]
        apart = np.diff(there)
        assert (apart >= 0).all()
        # At the model's own step: half of it may be missing at either end of the loop.
        inner = (there[:-1] > 0) & (there[1:] < frames - 1)
        assert (np.abs(apart - span)[inner] <= 1).all()
        assert all(window.indices[position] == frame for position, frame in window.kept)


def test_windows_that_a_loop_can_fill_are_the_same_with_tubelets() -> None:
    data = DataConfig(frames=16, seconds=1.0)
    whole, parts = (windows_with(30, times(60, 50.0), 60, data, n) for n in (None, 2))
    assert whole.keys() == parts.keys()
    assert all((whole[p] == parts[p]).all() for p in whole)
    assert windows_with(0, times(1, 50.0), 1, data, 2) == {}  # not even a tubelet
    assert windows_with(0, None, 20, data, 2) == {}  # nor without times


def test_the_ends_of_a_short_loop_meet_every_slot_of_a_tubelet() -> None:
    data, times_s = DataConfig(frames=16, seconds=1.0), times(20, 50.0)
    for frame in (0, 19):
        found = windows_with(frame, times_s, 20, data, 2)
        assert {position % 2 for position in found} == {0, 1}
        for position, indices in found.items():
            own = indices[position // 2 * 2 : position // 2 * 2 + 2]
            assert frame in own
            assert BEYOND not in own
