"""Tokens of windows around labelled frames, and the masks of those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._sector import alike, grid_of, share_of_clip, tokens_seen
from echocli.api._segment.frames import (
    masks_to_model,
    shown_times,
    spread_positions,
    windows_with,
)
from echocli.checkpoint import LoadedModel
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.clips.windows import normalised_tubelets, to_grey
from echocli.console import Reporter
from echocli.device import Device
from echocli.models.sector import to_grid

BATCH = 8
"""Windows that cross the network together."""
MOST_BYTES = 2 << 30
"""Memory that the tokens of labelled frames may take; more are drawn at random."""


@dataclass(frozen=True)
class LabelledFrame:
    """A labelled frame in one of its windows."""

    row: int
    mask: int
    indices: NDArray[np.intp]
    position: int


@dataclass(frozen=True)
class LabelledTokens:
    """What the head is fitted on."""

    tokens: Tensor
    slots: Tensor
    masks: Tensor


def labelled_frames(
    model: LoadedModel,
    clips: ClipSet,
    rows: Sequence[int],
    windows: int,
    generator: torch.Generator,
    *,
    part: bool = False,
) -> list[LabelledFrame]:
    """Return the labelled frames of some clips, each in several of its windows.

    A head has weights of its own for every frame of a tubelet: each must meet labels.

    Args:
        model: Decides what a window is.
        clips: The clips.
        rows: Which of them.
        windows: Windows a labelled frame, so that it stands early and late in them; at least
            as many as a tubelet has frames.
        generator: Draws among the frames, if all together are too many.
        part: Whether short clips may fill a part of a window; see ``windows_with``.
    """
    tubelet, counts = model.encoder.config.tubelet, clips.manifest["frames"].tolist()
    windows, least = max(windows, tubelet[0]), tubelet[0] if part else None
    frames = []
    for turn, row in enumerate(rows):
        for mask, frame in enumerate(clips.mask_frames(row)):
            choices = windows_with(frame, clips.times_s(row), counts[row], model.data, least)
            for position in spread_positions(sorted(choices), windows, tubelet[0], turn + mask):
                frames.append(LabelledFrame(row, mask, choices[position], position))
    side = model.data.size
    places = (side // tubelet[1]) * (side // tubelet[2])
    most = max(1, MOST_BYTES // (4 * places * model.encoder.config.dim))
    if len(frames) > most:
        chosen = torch.randperm(len(frames), generator=generator)[:most].sort().values
        frames = [frames[index] for index in chosen.tolist()]
    return frames


def encode_frames(
    model: LoadedModel,
    clips: ClipSet,
    frames: Sequence[LabelledFrame],
    place: Device,
    reporter: Reporter,
) -> LabelledTokens:
    """Return the tokens of the tubelets that hold labelled frames, and the masks."""
    tubelet = model.encoder.config.tubelet[0]
    tokens: dict[int, Tensor] = {}
    for index, found in encode_windows(model, clips, frames, place, reporter):
        tokens[index] = found[frames[index].position // tubelet].clone()
    slots = torch.tensor([f.position % tubelet for f in frames], device=place.torch)
    in_order = torch.stack([tokens[index] for index in range(len(frames))])
    masks = frame_masks(clips, frames, model.data)
    return LabelledTokens(in_order, slots, masks.to(place.torch))


def encode_windows(
    model: LoadedModel,
    clips: ClipSet,
    frames: Sequence[LabelledFrame],
    place: Device,
    reporter: Reporter,
) -> Iterator[tuple[int, Tensor]]:
    """Yield the index of each frame, in changed order, and all tokens of its window."""
    shares = {
        row: share_of_clip(clips, row, model.data, grid_of(model.encoder, model.data))
        for row in {f.row for f in frames}
    }
    with reporter.progress("encode labelled frames", len(frames)) as done:
        tubelet = model.encoder.config.tubelet[0]
        keys = ((shares[f.row], shown_times(f.indices, tubelet)) for f in frames)
        for group in alike(keys, BATCH):
            batch = [frames[index] for index in group]
            windows = [f.indices for f in batch]
            grids = tokens_of(model, clips, [f.row for f in batch], windows, place)
            yield from zip(group, grids, strict=True)
            done(len(batch))


def frame_masks(clips: ClipSet, frames: Sequence[LabelledFrame], data: DataConfig) -> Tensor:
    """Return the masks of labelled frames at the model's size."""
    masks = []
    for f in frames:
        known = clips.masks(f.row)
        assert known is not None
        masks.append(masks_to_model(known[f.mask : f.mask + 1], data.size)[0])
    return torch.stack(masks)


@torch.inference_mode()
def tokens_of(
    model: LoadedModel,
    clips: ClipSet,
    rows: Sequence[int],
    windows: Sequence[NDArray[np.intp]],
    place: Device,
) -> Tensor:
    """Return tokens, ``(windows, time, height, width, dim)``; NaN where nothing is looked at.

    Args:
        model: The encoder.
        clips: The clips.
        rows: The clip of each window; all have equal shares of the grid in their sector.
        windows: Frames of each, which may differ in size; the same tubelets of all are filled.
        place: Where to compute.
    """
    encoder, data = model.encoder.to(place.torch), model.data
    # What is beyond the loop is never looked at: any frame may stand there.
    pixels = [clips.frames(row)[np.maximum(w, 0)] for row, w in zip(rows, windows, strict=True)]
    grey = [to_grey(torch.from_numpy(w)[None].to(place.torch), data) for w in pixels]
    grid = grid_of(encoder, data)
    times = shown_times(windows[0], encoder.config.tubelet[0])
    seen = tokens_seen(clips, rows, data, grid, times=times)
    keep = None if seen is None else seen.to(place.torch)
    with torch.autocast(place.torch.type, torch.bfloat16, enabled=place.precision == "bf16"):
        found = encoder.embed(torch.cat(grey), keep, partial(normalised_tubelets, data=data))
    tokens = found[1].float()
    if keep is None:
        return tokens.reshape(len(windows), *grid, -1)
    return to_grid(tokens, keep, grid)
