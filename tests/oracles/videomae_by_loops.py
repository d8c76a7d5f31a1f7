"""VideoMAE's loss, pixel by pixel."""

from __future__ import annotations

import math

from torch import Tensor


def pixels_of(
    clip: Tensor, channel: int, token: int, tubelet: tuple[int, int, int]
) -> list[float]:
    """The pixels of a channel of a tubelet; ``clip`` is (channels, frames, rows, columns)."""
    rows, columns = clip.shape[2] // tubelet[1], clip.shape[3] // tubelet[2]
    time, place = divmod(token, rows * columns)
    row, column = divmod(place, columns)
    return [
        float(
            clip[channel, time * tubelet[0] + t, row * tubelet[1] + i, column * tubelet[2] + j]
        )
        for t in range(tubelet[0])
        for i in range(tubelet[1])
        for j in range(tubelet[2])
    ]


def standard(values: list[float]) -> list[float]:
    """Mean 0 and deviation 1, the variance being unbiased, and 1e-6 beside the deviation."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return [(value - mean) / (math.sqrt(variance) + 1e-6) for value in values]


def loss(
    video: Tensor, rebuilt: Tensor, hidden: Tensor, tubelet: tuple[int, int, int]
) -> float:
    """The mean squared error of what was rebuilt at the hidden tokens.

    ``rebuilt`` is (batch, hidden, pixels), channel after channel.
    """
    errors = []
    for clip, guesses, ids in zip(video, rebuilt, hidden.tolist(), strict=True):
        for guess, token in zip(guesses.tolist(), ids, strict=True):
            wanted = [
                value
                for channel in range(video.shape[1])
                for value in standard(pixels_of(clip, channel, token, tubelet))
            ]
            errors += [(g - w) ** 2 for g, w in zip(guess, wanted, strict=True)]
    return sum(errors) / len(errors)
