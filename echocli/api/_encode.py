"""From clips to embeddings, the same way for every command that needs them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._in_place import refuse_labels
from echocli.api._sector import Group, grid_of, groups
from echocli.api._windows import read_ahead
from echocli.api.preprocess import SIZE, preprocess
from echocli.checkpoint import LoadedModel
from echocli.clips.contract import DataConfig
from echocli.clips.lengths import says, shorter_windows
from echocli.clips.store import ClipSet
from echocli.clips.windows import normalised_tubelets, to_grey, why_not
from echocli.console import SILENT, Advance, Reporter
from echocli.device import Device, choose_device, keep_freed_memory, limit_threads
from echocli.errors import EchoError, UsageError
from echocli.models.pooling import POOLS, pool
from echocli.models.shapes import Grid, TokenIds

POOL = "mean_std"
"""Mean over tokens and how much each place changes over time: on phantoms an untrained network
halved the error of EF with it, against the mean alone."""
WINDOWS = 3
BATCH, MOST = 16, 64
"""Windows that cross the network together, at least and at most."""
BATCH_TOKENS = 16384
"""Tokens up to which more windows do: beside a small network, what a batch costs counts."""

REASONS = {
    "no_time": "without frame times (preprocess with --assume-fps)",
    "too_short": "shorter than one window",
}


class LeftOut(NamedTuple):
    """A clip that cannot be encoded."""

    row: int
    reason: str


class Encoded(NamedTuple):
    """Features, and which rows of the clip set they belong to."""

    features: NDArray[np.float32]
    rows: list[int]
    left_out: list[LeftOut]


class EncodedGroup(NamedTuple):
    """Tokens of a few clips."""

    rows: list[int]
    cls: Float[Tensor, "clips windows dim"] | None
    tokens: Float[Tensor, "clips windows tokens dim"]
    places: TokenIds | None
    """Which tokens of the grid those of each clip are; ``None`` if all of them, in order."""


def encode_clips(
    model: LoadedModel,
    clips: ClipSet,
    *,
    pool: str = POOL,
    windows: int = WINDOWS,
    device: str = "auto",
    precision: str = "auto",
    batch: int | None = None,
    reporter: Reporter = SILENT,
) -> Encoded:
    """Embed clips: the mean over windows that cover each clip evenly.

    Args:
        model: The network and its input contract, which alone decides how clips are read.
        clips: The clips.
        pool: How tokens become one vector; see ``models/pooling.py``.
        windows: Windows a clip.
        device: ``auto`` or PyTorch's name.
        precision: ``auto``, ``fp32`` or ``bf16``.
        batch: Windows that cross the network together; ``batch_for`` if left out.
        reporter: Who watches.

    Raises:
        UsageError: If the pooling or the number of windows makes no sense.
        EchoError: If no clip can fill a window.
    """
    check_wishes(model, pool, windows)
    place = prepare(device, precision, reporter)
    rows, left_out = rows_to_encode(clips, model.data, reporter)
    grid = grid_of(model.encoder, model.data)
    features: dict[int, NDArray[np.float32]] = {}
    for seen in encode_groups(
        model, clips, rows, windows, place, batch=batch, reporter=reporter
    ):
        vectors = pooled(seen, grid, pool).mean(dim=1).cpu().numpy()
        features |= zip(seen.rows, vectors, strict=True)
    return Encoded(np.stack([features[row] for row in rows]), rows, left_out)


def pooled(seen: EncodedGroup, grid: Grid, kind: str) -> Float[Tensor, "clips windows width"]:
    """Return a vector a window; see ``models/pooling.py``."""
    clips, windows = seen.tokens.shape[:2]
    cls = None if seen.cls is None else seen.cls.flatten(0, 1)
    return pool(seen.tokens.flatten(0, 1), grid, kind, cls).reshape(clips, windows, -1)


def prepare(device: str, precision: str, reporter: Reporter) -> Device:
    """Choose where to compute, and say so."""
    place = choose_device(device, precision)
    limit_threads()
    keep_freed_memory()
    reporter.say(f"encoding on {place}")
    return place


def rows_to_encode(
    clips: ClipSet, data: DataConfig, reporter: Reporter
) -> tuple[list[int], list[LeftOut]]:
    """Return the rows whose clips can fill a window, one or more, and the others.

    Raises:
        EchoError: If there are none.
    """
    rows, left_out = readable(clips, data)
    if not rows:
        raise EchoError(
            f"None of the {len(clips)} clip(s) can be encoded: {_count(left_out)}.",
            remedy_for(clips, data),
        )
    if left_out:
        reporter.say(f"left out: {_count(left_out)}")
    return rows, left_out


def remedy_for(clips: ClipSet, data: DataConfig) -> str:
    """Return what helps where no clip can fill a window."""
    ways = shorter_windows(clips, data)
    if not ways:
        return "Set a frame rate: `echocli preprocess --assume-fps 50`, or bring longer loops."
    fitting = " or ".join(f"--set {way.setting}" for way in ways)
    return (
        f"Train an encoder of shorter windows than {says(data)}: `echocli pretrain {fitting}`. "
        "Or draw masks, for which short loops are enough (`echocli segment`), and measure the "
        "ejection fraction in them (`echocli lvef --from-masks`)."
    )


def encode_groups(
    model: LoadedModel,
    clips: ClipSet,
    rows: Sequence[int],
    windows: int,
    place: Device,
    *,
    least: float = 0.0,
    batch: int | None = None,
    reporter: Reporter = SILENT,
    done: Advance | None = None,
) -> Iterator[EncodedGroup]:
    """Yield all tokens of clips, a few clips at a time, in changed order.

    Args:
        model: The network and its input contract.
        clips: The clips.
        rows: Those to encode; each can fill a window.
        windows: Windows a clip.
        place: Where to compute.
        least: Share of the grid's columns that is seen of every clip at least, where the
            contract asks for the sector alone.
        batch: Windows that cross the network together; ``batch_for`` if left out.
        reporter: Who watches.
        done: Counts the clips, where they are part of a longer work.
    """
    if next(model.encoder.parameters()).device != place.torch:
        model.encoder.to(place.torch)  # which looks at every weight, each time
    grid = grid_of(model.encoder, model.data)
    together = max(1, (batch or batch_for(model)) // windows)
    with nullcontext(done) if done else reporter.progress("encode", len(rows)) as advance:
        asked = groups(clips, rows, model.data, grid, together, least)
        for group, pixels in read_ahead(clips, asked, model.data, windows):
            yield _encode_group(model, group, pixels, place)
            advance(len(group.rows))


def batch_for(model: LoadedModel) -> int:
    """Return how many windows cross a network together, unless it is said."""
    tokens = math.prod(grid_of(model.encoder, model.data))
    return min(max(BATCH, BATCH_TOKENS // tokens), MOST)


def readable(clips: ClipSet, data: DataConfig) -> tuple[list[int], list[LeftOut]]:
    """Return the rows whose clips can fill a window, and the others with the reason."""
    rows: list[int] = []
    left_out: list[LeftOut] = []
    for row, count in enumerate(clips.manifest["frames"].tolist()):
        reason = why_not(clips.times_s(row), count, data)
        if reason is None:
            rows.append(row)
        else:
            left_out.append(LeftOut(row, REASONS[reason]))
    return rows, left_out


@contextmanager
def open_clips(
    source: Path | Sequence[Path],
    *,
    size: int = SIZE,
    labels: Path | None = None,
    shard: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    reporter: Reporter = SILENT,
) -> Iterator[ClipSet]:
    """Open a clip set, or read anything else in place as one.

    Files pass through the intake and the privacy guard of ``preprocess`` into a temporary clip
    set of this user alone, gone afterwards. What was refused is in its ``quarantine.csv``.

    Args:
        source: Clip set, folder, file, or a list of files.
        size: Side of a frame that is kept for sources; see ``clip_size``.
        labels: Table of labels for sources; refused for a clip set.
        shard: ``2/4`` reads one of four shares of the sources; a clip set is opened whole.
        stop: Asked after each source whether to leave out the others.
        reporter: Who watches.
    """
    listed = [source] if isinstance(source, Path) else list(source)
    if len(listed) == 1 and (ClipSet.is_one(listed[0]) or not listed[0].exists()):
        refuse_labels(labels)
        yield open_set(listed[0], reporter)
        return
    with tempfile.TemporaryDirectory(prefix="echocli-") as folder:
        result = preprocess(
            listed,
            Path(folder) / "clips",
            size=size,
            labels=labels,
            shard=shard,
            in_place=True,
            stop=stop,
            reporter=reporter,
        )
        yield ClipSet.open(result.clips)


def open_set(folder: Path, reporter: Reporter = SILENT) -> ClipSet:
    """Open a clip set and warn if more clips are still to come."""
    clips = ClipSet.open(folder)
    if unfinished := clips.unfinished():
        reporter.warn(
            f"{folder} may still grow: {', '.join(unfinished)}. Run the same "
            "`echocli preprocess` again to finish it."
        )
    return clips


def clip_size(model: LoadedModel) -> int:
    """Return the side at which sources must be read for a model, as its training clips were."""
    return int(model.details.get("clip_size") or max(SIZE, model.data.size))


def check_wishes(model: LoadedModel, kind: str, windows: int) -> None:
    """Check what is asked of an encoder.

    Raises:
        UsageError: If the pooling or the number of windows makes no sense.
    """
    if kind not in POOLS:
        raise UsageError(f"There is no pooling {kind}.", f"Choose among {', '.join(POOLS)}.")
    if kind == "cls" and model.encoder.cls_token is None:
        raise UsageError(
            f"A {model.method} encoder has no class token.", "Use --pool mean or mean_std."
        )
    if windows < 1:
        raise UsageError(f"--windows is {windows}.", "Give 1 or more.")


def _count(left_out: Sequence[LeftOut]) -> str:
    reasons = [clip.reason for clip in left_out]
    return ", ".join(f"{reasons.count(reason)} {reason}" for reason in dict.fromkeys(reasons))


@torch.inference_mode()
def _encode_group(
    model: LoadedModel,
    group: Group,
    pixels: NDArray[np.uint8],
    place: Device,
) -> EncodedGroup:
    count, windows = pixels.shape[:2]
    flat = torch.from_numpy(pixels.reshape(count * windows, *pixels.shape[2:]))
    grey = to_grey(flat.to(place.torch), model.data)
    keep = None
    if group.seen is not None:
        keep = group.seen.repeat_interleave(windows, dim=0).to(place.torch)
    normalise = partial(normalised_tubelets, data=model.data)
    with torch.autocast(place.torch.type, torch.bfloat16, enabled=place.precision == "bf16"):
        cls, tokens = model.encoder.embed(grey, keep, normalise)
    return EncodedGroup(
        group.rows,
        None if cls is None else cls.float().view(count, windows, -1),
        tokens.float().view(count, windows, *tokens.shape[1:]),
        group.seen,
    )
