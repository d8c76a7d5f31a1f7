"""Windows around chosen frames, at the model's own time step, and masks at its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from echocli.clips.contract import DataConfig
from echocli.clips.record import STRUCTURES
from echocli.clips.windows import SLACK_S, nearest, why_not
from echocli.models.augment import crop

CLASSES = 1 + max(STRUCTURES)
"""Mask values, background counted."""

BEYOND = -1
"""In the place of a frame: there the window reaches beyond the loop."""

Times = NDArray[np.float64] | None


@dataclass(frozen=True)
class Window:
    """Frames of a clip that the model sees together, and which of them to keep."""

    indices: NDArray[np.intp]
    """Frame at each position of the window; they never decrease, but for those ``BEYOND``."""
    kept: tuple[tuple[int, int], ...]
    """Position in the window and frame of the clip."""


def one_tubelet(data: DataConfig, tubelet: int) -> DataConfig:
    """Return the input contract of a single tubelet, at the time step of whole windows."""
    seconds = None if data.seconds is None else data.seconds * tubelet / data.frames
    return replace(data, frames=tubelet, seconds=seconds)


def windows_with(
    frame: int, times_s: Times, frames: int, data: DataConfig, tubelet: int | None = None
) -> dict[int, NDArray[np.intp]]:
    """Return every window of a clip that holds a frame, by its position in the window.

    Unlike windows drawn for training, these stand on the frame: its time is met exactly.

    Args:
        frame: Index of the frame in the clip.
        times_s: Time of each frame, ``None`` if unknown (enough for a stride).
        frames: How many frames the clip has.
        data: The input contract.
        tubelet: Frames of a tubelet, where a clip that is too short for a window may fill a
            part of one, all of it. Tubelets that hold none of its frames are ``BEYOND``; in
            those at its ends the first or the last frame stands for what is missing.

    Returns:
        Position to indices; empty if the clip cannot fill a window around the frame.
    """
    short = why_not(times_s, frames, data) == "too_short"
    least = one_tubelet(data, tubelet) if short and tubelet else data
    if why_not(times_s, frames, least) is not None:
        return {}
    found, held = {}, {}
    for position in range(data.frames):
        indices, inside = _around(frame, position, times_s, frames, data)
        if least is not data:
            filled = inside.reshape(-1, least.frames).any(axis=1).repeat(least.frames)
            found[position] = np.where(filled, indices, BEYOND)
            held[position] = int(inside.sum())
        elif inside.all():
            found[position] = indices
    if least is data:
        return found
    # The first and the last frame may stand twice in their tubelet: so they meet every slot.
    most = max(held.values())
    return {position: one for position, one in found.items() if held[position] == most}


def _around(
    frame: int, position: int, times_s: Times, frames: int, data: DataConfig
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the nearest frames of a window in which a frame has a position; which are in it.

    Half a step beyond either end is still nearest to the first or the last frame, and lets
    every frame of the clip stand in some window; more would freeze the heart.
    """
    steps = np.arange(data.frames) - position
    if data.stride is not None:
        indices, slack = frame + steps * data.stride, data.stride // 2
        inside = (indices >= -slack) & (indices < frames + slack)
        return indices.clip(0, frames - 1).astype(np.intp), inside
    assert times_s is not None
    assert data.seconds is not None
    step_s = data.seconds / data.frames
    wanted, slack_s = times_s[frame] + steps * step_s, step_s / 2 + SLACK_S
    inside = (wanted >= times_s[0] - slack_s) & (wanted <= times_s[-1] + slack_s)
    return nearest(times_s, wanted), inside


def shown_times(indices: NDArray[np.intp], tubelet: int) -> tuple[int, ...]:
    """Return the tubelets of a window, along time, that the loop fills."""
    filled = indices.reshape(-1, tubelet)[:, 0] != BEYOND
    return tuple(int(time) for time in np.flatnonzero(filled))


def spread_positions(
    positions: Sequence[int], count: int, tubelet: int, turn: int = 0
) -> list[int]:
    """Return some positions, equally far apart, every slot of a tubelet met.

    Frames of other clips take other turns, so that a head learns from frames at every position
    of a window: it will draw frames at all of them. Where all stood first and last only, masks
    flickered as often as windows began.

    Args:
        positions: Where in its windows a frame may stand, ascending.
        count: How many to return, where there are so many.
        tubelet: Frames of a tubelet.
        turn: Where to begin, counted round the positions.
    """
    chosen: list[int] = []
    for number in range(min(count, len(positions))):
        start = positions[(turn + number * len(positions) // count) % len(positions)]
        left = [p for p in positions if p not in chosen]
        of_slot = [p for p in left if p % tubelet == (turn + number) % tubelet]
        chosen.append(min(of_slot or left, key=lambda p: abs(p - start)))
    return chosen


def plan_every_frame(
    times_s: Times, frames: int, data: DataConfig, tubelet: int | None = None
) -> list[Window]:
    """Return windows that together hold every frame of a clip, each frame kept once.

    Args:
        times_s: Time of each frame, ``None`` if unknown.
        frames: How many frames the clip has.
        data: The input contract.
        tubelet: As ``windows_with`` takes it.

    Returns:
        Windows; empty if the clip cannot fill one.
    """
    missing = set(range(frames))
    plan: list[Window] = []
    while missing:
        frame = min(missing)
        choices = windows_with(frame, times_s, frames, data, tubelet)
        if not choices:
            return []
        # The earliest position leaves most of the window for the frames still to come.
        position = min(choices)
        indices = choices[position]
        kept = {frame: position}
        for place, other in enumerate(indices):
            if int(other) in missing:
                kept.setdefault(int(other), place)
        plan.append(Window(indices, tuple((place, f) for f, place in kept.items())))
        missing -= set(kept)
    return plan


def masks_to_model(masks: NDArray[np.uint8], size: int) -> torch.Tensor:
    """Return masks at the model's size, padded to a square as the clips are.

    Args:
        masks: ``(masks, height, width)``.
        size: Height and width that the model sees.
    """
    height, width = masks.shape[1:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((len(masks), side, side), np.uint8)
    square[:, top : top + height, left : left + width] = masks
    if side == size:
        return torch.from_numpy(square)
    scaled = functional.interpolate(
        torch.from_numpy(square)[:, None].float(), size=(size, size), mode="nearest-exact"
    )
    return scaled[:, 0].to(torch.uint8)


def labels_to_clip(logits: torch.Tensor, height: int, width: int) -> NDArray[np.uint8]:
    """Return label maps at the clip's size: what ``masks_to_model`` did, turned round.

    The logits are resized, not the labels, so that borders stay smooth.

    Args:
        logits: ``(maps, classes, size, size)``.
        height: Rows of the clip.
        width: Columns of the clip.
    """
    side = max(height, width)
    if logits.shape[-1] != side:
        logits = functional.interpolate(
            logits, size=(side, side), mode="bilinear", antialias=side < logits.shape[-1]
        )
    top, left = (side - height) // 2, (side - width) // 2
    labels = logits.argmax(dim=1)[:, top : top + height, left : left + width]
    return labels.to(torch.uint8).cpu().numpy()


def crop_labels(masks: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Cut a box out of every mask and stretch it to full size; each pixel keeps one class.

    Args:
        masks: Classes, ``(maps, rows, columns)``.
        boxes: As ``crop`` takes them.
    """
    layers = functional.one_hot(masks.long(), CLASSES).permute(0, 3, 1, 2)
    return crop(layers[:, :, None].float(), boxes)[:, :, 0].argmax(dim=1)
