"""Windows are right in seconds, whatever the frame rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from echocli.clips.contract import DataConfig
from echocli.clips.windows import (
    draws,
    epoch_order,
    nearest,
    normalised_tubelets,
    spread_starts,
    to_grey,
    to_video,
    why_not,
    window_indices,
    window_start,
)
from echocli.models.layers import cut_patches, take

RATES = st.sampled_from([10.0, 24.0, 29.97, 30.0, 47.3, 50.0, 61.7, 113.5])


def regular(rate_hz: float, frames: int) -> NDArray[np.float64]:
    return np.arange(frames) / rate_hz


@given(
    rate_hz=RATES, start=st.floats(0, 1), frames=st.integers(2, 32), length=st.floats(0.3, 2)
)
def test_frames_are_within_half_a_frame_of_the_wanted_time(
    rate_hz: float, start: float, frames: int, length: float
) -> None:
    data = DataConfig(frames=frames, seconds=length)
    times = regular(rate_hz, int(3 * rate_hz))
    chosen = window_indices(times, len(times), data, start)
    assert chosen is not None
    room = times[-1] - (frames - 1) * length / frames
    wanted = start * room + np.arange(frames) * length / frames
    assert np.abs(times[chosen] - wanted).max() <= 0.5 / rate_hz + 1e-9
    assert chosen.min() >= 0
    assert chosen.max() < len(times)
    assert (np.diff(chosen) >= 0).all()


def test_uneven_times_are_followed() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.25, 0.3, 0.6, 0.85, 1.0])
    chosen = window_indices(times, len(times), DataConfig(frames=4, seconds=1.0), 0.0)
    assert chosen is not None
    assert chosen.tolist() == [0, 3, 5, 6]  # nearest to 0, 0.25, 0.5, 0.75


@given(st.lists(st.floats(0, 9), min_size=1, max_size=9, unique=True), st.floats(-1, 10))
def test_nearest_equals_a_search_through_all(times: list[float], wanted: float) -> None:
    sorted_times = np.array(sorted(times))
    index = int(nearest(sorted_times, np.array([wanted]))[0])
    distance = np.abs(sorted_times - wanted)
    assert distance[index] == pytest.approx(distance.min())


def test_two_frame_rates_show_the_same_moments() -> None:
    data = DataConfig(frames=16, seconds=1.0)
    slow, fast = regular(32.0, 96), regular(64.0, 192)
    a, b = window_indices(slow, 96, data, 0.0), window_indices(fast, 192, data, 0.0)
    assert a is not None
    assert b is not None
    np.testing.assert_allclose(slow[a], fast[b])


@given(frames=st.integers(1, 60), start=st.floats(0, 1), stride=st.integers(1, 5))
def test_a_stride_takes_every_so_many_th_frame(frames: int, start: float, stride: int) -> None:
    data = DataConfig(frames=8, stride=stride)
    chosen = window_indices(None, frames, data, start)
    if frames < 7 * stride + 1:
        assert chosen is None
        return
    assert chosen is not None
    assert (np.diff(chosen) == stride).all()
    assert chosen[0] >= 0
    assert chosen[-1] < frames


@given(starts=st.lists(st.floats(0, 1), min_size=1, max_size=4), stride=st.integers(0, 3))
def test_several_windows_at_once_are_those_of_each_alone(
    starts: list[float], stride: int
) -> None:
    data = DataConfig(frames=8, stride=stride) if stride else DataConfig(frames=8)
    times = regular(29.97, 47)
    found = window_indices(times, 47, data, np.array(starts))
    alone = [window_indices(times, 47, data, start) for start in starts]
    np.testing.assert_array_equal(found, alone)  # type: ignore[arg-type]
    assert window_indices(times[:5], 5, data, np.array(starts)) is None


def test_the_first_and_the_last_window_are_reached() -> None:
    data = DataConfig(frames=4, stride=2)
    first, last = (window_indices(None, 20, data, start) for start in (0.0, 1.0))
    assert first is not None
    assert last is not None
    assert first[0] == 0
    assert last[-1] == 19


def test_short_and_timeless_clips_are_told_apart_never_filled_up() -> None:
    data = DataConfig(frames=16, seconds=1.0)
    assert why_not(regular(30, 28), 28, data) == "too_short"  # 0.9 s of 0.9375 s
    assert why_not(regular(30, 30), 30, data) is None
    assert why_not(None, 300, data) == "no_time"
    assert window_indices(regular(30, 28), 28, data, 0.5) is None
    assert why_not(regular(16, 16), 16, data) is None, "exactly a window must fit"


def test_orders_are_permutations_that_depend_on_the_key_alone() -> None:
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert tuple(epoch_order(50, 1, 2)) in orders
    # A golden value: orders may not change between releases, or no run could be resumed.
    assert epoch_order(6, 0, 0).tolist() == GOLDEN_ORDER


GOLDEN_ORDER = [3, 2, 1, 0, 4, 5]


@pytest.mark.parametrize("key", [(0,), (7, 0, 3, 1), (2**32 - 1, 5), (2**32, 5), (2**70, 0, 2)])
def test_draws_are_those_of_numpy_for_the_key_as_it_is(key: tuple[int, ...]) -> None:
    plain = np.random.PCG64(np.random.SeedSequence(key)).random_raw(3)
    assert draws(3, *key).tolist() == plain.tolist()


def test_starts_are_even_and_differ_by_sample() -> None:
    starts = np.array([window_start(7, 0, sample) for sample in range(2000)])
    assert ((starts >= 0) & (starts < 1)).all()
    assert len(set(starts)) == 2000
    counts = np.histogram(starts, bins=10, range=(0, 1))[0]
    assert counts.min() > 140
    assert window_start(7, 0, 3) != window_start(7, 1, 3)


def test_windows_of_an_embedding_cover_the_clip() -> None:
    assert spread_starts(3).tolist() == [0, 0.5, 1]
    assert spread_starts(1).tolist() == [0.5]


def test_pixels_are_scaled_and_normalised() -> None:
    data = DataConfig(frames=2, size=8, mean=(0.5,), std=(0.25,))
    windows = torch.full((3, 2, 8, 8), 255, dtype=torch.uint8)
    video = to_video(windows, data)
    assert video.shape == (3, 1, 2, 8, 8)
    torch.testing.assert_close(video, torch.full_like(video, 2.0))


def test_every_grey_is_what_double_precision_says() -> None:
    data = DataConfig(frames=1, size=16)
    grey = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    exact = (grey / 255 - data.mean[0]) / data.std[0]
    video = to_video(torch.from_numpy(grey), data)[:, 0].double().numpy()
    np.testing.assert_allclose(video, exact, rtol=0, atol=2.0**-21)


def test_colour_networks_see_grey_three_times() -> None:
    data = DataConfig(frames=2, size=8, channels=3, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    windows = torch.randint(0, 256, (1, 2, 8, 8), dtype=torch.uint8)
    video = to_video(windows, data)
    for channel, (mean, std) in enumerate(zip(data.mean, data.std, strict=True)):
        torch.testing.assert_close(video[0, channel], (windows[0] / 255 - mean) / std)


def test_one_mean_may_serve_all_channels() -> None:
    data = DataConfig(frames=1, size=8, channels=3, mean=(0.1,), std=(1.0, 2.0, 3.0))
    windows = torch.randint(0, 256, (1, 1, 8, 8), dtype=torch.uint8)
    video = to_video(windows, data)
    for channel, std in enumerate(data.std):
        torch.testing.assert_close(video[0, channel], (windows[0] / 255 - 0.1) / std)


@pytest.mark.parametrize("side", [16, 24], ids=["as stored", "another size"])
@pytest.mark.parametrize("channels", [1, 3])
def test_tubelets_normalised_alone_are_those_of_the_normalised_clip(
    side: int, channels: int
) -> None:
    mean, std = (0.1, 0.2, 0.3)[:channels], (1.0, 2.0, 3.0)[:channels]
    data = DataConfig(frames=4, size=16, channels=channels, mean=mean, std=std)
    shape, tubelet = (3, 4, side, 16), (2, 4, 8)
    windows = torch.randint(0, 256, shape, dtype=torch.uint8)
    before = windows.clone()
    keep = torch.tensor([[0, 5], [1, 7], [2, 15]])
    grey = to_grey(windows, data)
    assert grey.dtype == (torch.uint8 if side == 16 else torch.float32)
    found = normalised_tubelets(take(cut_patches(grey, tubelet), keep), data)
    assert torch.equal(found, take(cut_patches(to_video(windows, data), tubelet), keep))
    assert torch.equal(windows, before)


def test_shrinking_keeps_the_mean_and_the_shape_of_the_heart() -> None:
    data = DataConfig(frames=1, size=16, mean=(0.0,), std=(1.0,))
    tall = torch.zeros(1, 1, 64, 32, dtype=torch.uint8)
    tall[..., 16:48, :] = 255
    video = to_video(tall, data)
    assert video.shape[-2:] == (16, 16)
    assert video.mean().item() == pytest.approx(0.25, abs=0.01)  # padded, not stretched
    assert video[..., :3].abs().max() == 0
    assert video[0, 0, 0, 8, 8] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": 0},
        {"seconds": None},
        {"seconds": -1.0},
        {"std": (0.0,)},
        {"mean": (1.0, 2.0)},
    ],
)
def test_a_contract_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        DataConfig(**wrong)  # type: ignore[arg-type]


def test_a_stride_overrides_seconds() -> None:
    assert DataConfig(stride=3).seconds is None
