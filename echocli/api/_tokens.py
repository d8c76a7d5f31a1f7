"""Frozen tokens of clips, kept in a file while a probe is fitted on them."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from echocli.api._encode import encode_groups
from echocli.api._sector import grid_of, share_of_clip
from echocli.checkpoint import LoadedModel
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.device import Device
from echocli.errors import SpaceError

GB = 1e9


def share_of_all(model: LoadedModel, clips: ClipSet, rows: Sequence[int]) -> float:
    """Return the share of the grid's columns that holds the sector of each of these clips."""
    grid = grid_of(model.encoder, model.data)
    return max(share_of_clip(clips, row, model.data, grid) for row in rows)


@contextmanager
def kept_tokens(
    model: LoadedModel,
    clips: ClipSet,
    rows: Sequence[int],
    *,
    windows: int,
    share: float,
    near: Path,
    place: Device,
    reporter: Reporter,
) -> Iterator[Float[Tensor, "clips windows tokens dim"]]:
    """Encode clips once and yield all their tokens, from a file that is gone afterwards.

    The encoder is frozen and clips are not varied, so every epoch would compute the same. What
    is kept can be larger than memory: it is mapped from a file, in half precision, which is
    finer than the bfloat16 in which most tokens are computed.

    Args:
        model: The encoder.
        clips: The clips.
        rows: Those to encode, in the order of the result.
        windows: Windows a clip.
        share: Of the grid's columns that are seen; see ``share_of_all``.
        near: Folder in which the file lies.
        place: Where to encode.
        reporter: Who watches.

    Raises:
        SpaceError: If the disk has no room.
    """
    time, height, width = grid_of(model.encoder, model.data)
    count = time * math.ceil(share * height * width)
    shape = (len(rows), windows, count, model.encoder.config.dim)
    remedy = "Free some space, give fewer --windows, or use --probe ridge."
    with token_file(shape, f"{len(rows)} clip(s)", near, remedy, reporter) as tokens:
        place_of = {row: index for index, row in enumerate(rows)}
        for seen in encode_groups(
            model, clips, rows, windows, place, least=share, reporter=reporter
        ):
            tokens[[place_of[row] for row in seen.rows]] = seen.tokens.half().cpu().numpy()
        yield torch.from_numpy(tokens)


@contextmanager
def token_file(
    shape: tuple[int, ...], what: str, near: Path, remedy: str, reporter: Reporter
) -> Iterator[np.memmap[Any, np.dtype[np.float16]]]:
    """Yield an array of half-precision numbers in a file that is gone afterwards.

    Args:
        shape: Of the array.
        what: Whose tokens they will be.
        near: Folder in which the file lies.
        remedy: What to do where the disk has no room.
        reporter: Is told the size.

    Raises:
        SpaceError: If the disk has no room.
    """
    size = 2 * math.prod(shape)
    near.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(near).free
    if size > free:
        raise SpaceError(
            f"The tokens of {what} need {size / GB:.1f} GB while the probe is fitted; {near} "
            f"has {free / GB:.1f} GB.",
            remedy,
        )
    told = f"{size / GB:.1f} GB" if size >= GB else f"{size / GB * 1000:.0f} MB"
    reporter.say(f"keeping {told} of tokens on disk while the probe is fitted")
    with tempfile.TemporaryFile(prefix=".tokens-", dir=near) as file:
        yield np.memmap(file, np.float16, "w+", shape=shape)
