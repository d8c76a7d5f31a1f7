"""Windows: which frames of a clip a network sees, and in which order clips come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from echocli.clips.contract import DataConfig

if TYPE_CHECKING:
    import torch

WhyNot = Literal["no_time", "too_short"]
"""Why a clip cannot fill a window."""

MOST_STRETCH = 2.0
"""A clip shorter than half a window is not stretched: 60 beats a minute would seem 30."""
SLACK_S = 1e-6
"""Times come from integer micro- or milliseconds; a window may miss its end by this much."""


def why_not(
    times_s: NDArray[np.float64] | None, frames: int, data: DataConfig
) -> WhyNot | None:
    """Return why a clip cannot fill a window, or ``None`` if it can.

    A window is never filled up with frozen or repeated last frames: a network would learn
    that hearts stop.

    Args:
        times_s: Time of each frame, ``None`` if unknown.
        frames: How many frames the clip has.
        data: The input contract.
    """
    if data.stride is not None:
        return "too_short" if frames - 1 < data.span else None
    if times_s is None:
        return "no_time"
    return "too_short" if times_s[-1] - times_s[0] + SLACK_S < data.span else None


def window_indices(
    times_s: NDArray[np.float64] | None,
    frames: int,
    data: DataConfig,
    start: float | NDArray[np.float64],
) -> NDArray[np.intp] | None:
    """Return the frames of one window, or of several of one clip.

    Args:
        times_s: Time of each frame, ``None`` if unknown (enough for a stride).
        frames: How many frames the clip has.
        data: The input contract.
        start: 0 for the first window that fits, 1 for the last one; several as an array.

    Returns:
        Indices that never decrease in a window, ``(*start, frames)``, or ``None`` if the clip
        cannot fill a window.
    """
    if why_not(times_s, frames, data) is not None:
        return None
    begin, steps = np.asarray(start)[..., None], np.arange(data.frames)
    if data.stride is not None:
        room = frames - 1 - round(data.span)
        first = np.minimum((begin * (room + 1)).astype(np.intp), room)
        return np.asarray(first + steps * data.stride)
    assert times_s is not None
    assert data.seconds is not None
    room_s = max(0.0, float(times_s[-1] - times_s[0]) - data.span)
    wanted = times_s[0] + begin * room_s + steps * (data.seconds / data.frames)
    return nearest(times_s, wanted)


def cyclic_indices(
    times_s: NDArray[np.float64], data: DataConfig, start: float, begin_s: float, end_s: float
) -> NDArray[np.intp]:
    """Return the frames of a window that goes round in whole heart beats.

    What follows the end of the last beat is what followed the begin of the first: the heart is
    at the same phase there, so that nothing stops, runs backwards or jumps.

    Args:
        times_s: Time of each frame.
        data: The input contract.
        start: Where in the beats the window starts, from 0 to 1.
        begin_s: When the first of the whole beats begins.
        end_s: When the last one ends.
    """
    clock, step = times_s, (data.seconds or 0.0) / data.frames
    if data.stride is not None:
        clock, step = np.arange(len(times_s), dtype=np.float64), float(data.stride)
        begin_s, end_s = np.interp([begin_s, end_s], times_s, clock)  # in frames from here on
    lasts = end_s - begin_s
    wanted = begin_s + (start * lasts + np.arange(data.frames) * step) % lasts
    return nearest(clock, np.asarray(wanted))


def stretched_indices(
    times_s: NDArray[np.float64] | None, frames: int, data: DataConfig
) -> NDArray[np.intp] | None:
    """Return the frames of a window that a whole, shorter clip is spread over.

    The heart then seems to beat slower than it does, ``stretch`` times.

    Args:
        times_s: Time of each frame, ``None`` if unknown (enough for a stride).
        frames: How many frames the clip has.
        data: The input contract.

    Returns:
        Indices that always increase, or ``None`` if that would show a frame twice or stretch
        time more than ``MOST_STRETCH`` times.
    """
    factor = stretch(times_s, frames, data)
    if factor is None or factor > MOST_STRETCH:
        return None
    clock = np.arange(frames, dtype=np.float64) if times_s is None else times_s
    chosen = nearest(clock, np.linspace(clock[0], clock[-1], data.frames))
    return chosen if (np.diff(chosen) > 0).all() else None


def stretch(times_s: NDArray[np.float64] | None, frames: int, data: DataConfig) -> float | None:
    """Return how many times longer a window is than a clip; ``None`` if that is unknown."""
    if data.stride is not None:
        return data.span / (frames - 1) if frames > 1 else None
    if times_s is None or times_s[-1] <= times_s[0]:
        return None
    return data.span / float(times_s[-1] - times_s[0])


def nearest(times_s: NDArray[np.float64], wanted_s: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the index of the time nearest to each wanted one; the earlier of two equals."""
    if len(times_s) == 1:
        return np.zeros(wanted_s.shape, dtype=np.intp)
    after = np.minimum(np.maximum(times_s.searchsorted(wanted_s), 1), len(times_s) - 1)
    earlier = wanted_s - times_s[after - 1] <= times_s[after] - wanted_s
    return np.asarray(after - earlier, dtype=np.intp)


def spread_starts(windows: int) -> NDArray[np.float64]:
    """Return the starts of so many windows, evenly from the first to the last that fits."""
    return np.linspace(0, 1, windows) if windows > 1 else np.array([0.5])


def draws(count: int, *key: int) -> NDArray[np.uint64]:
    """Return random 64-bit numbers that depend on the key alone.

    Raw output of PCG64, which NumPy keeps the same in every release (its distributions are
    not promised to stay).
    """
    # The same words as an array, where each number is one of them, are taken in seven times
    # faster; a step asks for as many keys as it has clips.
    small = min(key) >= 0 and max(key) < 2**32
    words = np.array(key, dtype=np.uint32) if small else key
    bits = np.random.PCG64(np.random.SeedSequence(words))
    return np.atleast_1d(np.asarray(bits.random_raw(count), dtype=np.uint64))


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.intp]:
    """Return the order of the clips in an epoch, from the key alone."""
    return np.argsort(draws(count, seed, epoch), kind="stable")


def window_start(seed: int, epoch: int, sample: int) -> float:
    """Return where in its clip the window of one sample starts, from 0 to 1."""
    return float(draws(1, seed, epoch, sample, 1)[0] >> np.uint64(11)) / 2**53


def to_video(windows: torch.Tensor, data: DataConfig) -> torch.Tensor:
    """Turn stored pixels into what the network sees, on the device they are on.

    Args:
        windows: uint8, ``(batch, frames, height, width)``.
        data: The input contract. Frames of another size are padded black to a square and
            averaged down (or interpolated up).

    Returns:
        float32, ``(batch, channels, frames, size, size)``.
    """
    import torch

    grey = to_size(windows.to(torch.float32, copy=True), data.size)
    return normalised(grey, data, 1)


def to_grey(windows: torch.Tensor, data: DataConfig) -> torch.Tensor:
    """Return stored pixels at the size that the network sees, not normalised yet.

    Args:
        windows: uint8, ``(batch, frames, height, width)``.
        data: The input contract.

    Returns:
        ``(batch, 1, frames, size, size)``, uint8 if they have that size, else float32.
    """
    fits = windows.shape[-2:] == (data.size, data.size)
    return (windows if fits else to_size(windows.float(), data.size))[:, None]


def normalised(grey: torch.Tensor, data: DataConfig, dim: int) -> torch.Tensor:
    """Return grey pixels as a network is used to them; floating point ones are written over.

    Args:
        grey: 0 to 255, of any shape.
        data: The input contract.
        dim: Where the channels shall stand in the result.

    Returns:
        float32.
    """
    import torch

    # In place: a batch costs more to get from the system than to compute.
    pixels = grey.to(torch.float32).unsqueeze(dim)
    shape = list(pixels.shape)
    shape[dim] = data.channels
    pixels = pixels.expand(shape).contiguous()
    # As plain numbers: a tensor of them would have to be sent, and a GPU finish its work first.
    for channel in range(data.channels):
        mean, std = (255 * of[channel % len(of)] for of in (data.mean, data.std))
        pixels.select(dim, channel).sub_(mean).div_(std)
    return pixels


def normalised_tubelets(grey: torch.Tensor, data: DataConfig) -> torch.Tensor:
    """Return tubelets of grey pixels as a network is used to them, channel after channel.

    Args:
        grey: 0 to 255, ``(rows, tubelets, pixels)``; floating point ones are written over.
        data: The input contract.

    Returns:
        float32, ``(rows, tubelets, channels x pixels)``.
    """
    return normalised(grey, data, 2).flatten(2)


def to_sector(sectors: NDArray[np.bool_], data: DataConfig) -> torch.Tensor:
    """Return where clips have anything to see, at the size that the network sees.

    Args:
        sectors: Where the scan is, ``(batch, height, width)``.
        data: The input contract.

    Returns:
        float32, ``(batch, size, size)``, 0 where ``to_video`` makes every frame black.
    """
    import torch

    return to_size(torch.from_numpy(sectors)[:, None].float(), data.size)[:, 0]


def to_size(frames: torch.Tensor, size: int) -> torch.Tensor:
    """Pad frames black to a square and average them down, or interpolate them up.

    Args:
        frames: Floating point, ``(batch, frames, height, width)``.
        size: Height and width to reach.
    """
    import torch.nn.functional as F

    height, width = frames.shape[-2:]
    if height != width:
        more = (max(height, width) - width, max(height, width) - height)
        frames = F.pad(frames, (more[0] // 2, -(-more[0] // 2), more[1] // 2, -(-more[1] // 2)))
    if frames.shape[-1] == size:
        return frames
    return F.interpolate(frames, size=(size, size), mode="bilinear", antialias=True)
