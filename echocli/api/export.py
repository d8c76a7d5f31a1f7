"""Clips as videos and contact sheets, for eyes and for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import echocli
from echocli.api._export.record import RECORD, SCHEMA, exported_names
from echocli.api._export.sheet import PER_PAGE, page_name, write_sheet
from echocli.api._export.video import FORMATS, check_encoder, write_video
from echocli.clips.store import ClipSet
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError, UsageError
from echocli.files import check_place, new_folder, read_record, sweep, write_json

LARGEST_SCALE = 16


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What the files look like."""

    form: str = "mp4"
    """``mp4``: H.264, small, plays everywhere. ``mkv``: FFV1, every pixel as it is stored."""
    scale: int = 1
    """How many pixels wide and high each pixel becomes."""
    overlay: bool = False
    """Draw the outlines of the masks."""
    sheet: bool = False
    """Contact sheets instead of videos."""
    assume_rate_hz: float | None = None
    """Frame rate of clips whose times are unknown."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: If one makes no sense.
        """
        if self.form not in FORMATS:
            raise UsageError(
                f"There is no format {self.form}.", f"Choose {' or '.join(FORMATS)}."
            )
        if not 1 <= self.scale <= LARGEST_SCALE:
            raise UsageError(
                f"A scale of {self.scale} is not possible.",
                f"Use --scale with a whole number from 1 to {LARGEST_SCALE}.",
            )


@dataclass(frozen=True)
class ExportResult:
    """What was written."""

    folder: Path
    files: list[Path]
    """In the order of the manifest, those that were there already included."""
    n_written: int
    """How many of them are new."""
    n_clips: int
    left_out: list[str]
    """Ids of clips whose frame times are unknown."""


def export(
    source: Path,
    out: Path,
    *,
    config: ExportConfig | None = None,
    where: str | None = None,
    ids: Sequence[str] = (),
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> ExportResult:
    """Write clips as videos named by their ids, or as contact sheets.

    The same call again writes only what is missing; more clips may be added later.

    Args:
        source: Clip set.
        out: Folder of the files.
        config: What they look like.
        where: Condition on the manifest.
        ids: Clips to take; all that meet the condition if empty.
        overwrite: Replace an earlier export that stands at ``out``.
        reporter: Who watches.

    Raises:
        EchoError: If there is no clip to write.
        UsageError: If ``out`` holds something else.
        MachineError: If the encoder is missing.
    """
    config = config or ExportConfig()
    check_place(out)
    with _opened(source, reporter) as opened:
        clips = _chosen(opened, where, ids)
        rows, left_out = _playable(clips, config)
        if not config.sheet:
            check_encoder(config.form)
        _begin(out, clips.subset(rows), config, overwrite=overwrite)
        if config.sheet:
            files, written = _write_sheets(clips, rows, out, reporter)
        else:
            files, written = _write_videos(clips, rows, out, config, reporter)
        names = clips.manifest["clip_id"]
        missing = [str(names.iloc[row]) for row in left_out]
    return ExportResult(out, files, written, len(rows), missing)


@contextmanager
def _opened(source: Path, reporter: Reporter) -> Iterator[ClipSet]:
    """Open a clip set, or read recordings in place as one."""
    if ClipSet.is_one(source) or not source.exists():
        clips = ClipSet.open(source)
        if clips.kind != "clips":
            raise EchoError(
                f"{source} holds {clips.kind}, not pictures.",
                "Name the clips instead; --overlay draws the masks that they have.",
            )
        yield clips
        return
    from echocli.api._encode import open_clips  # brings PyTorch, which a clip set needs not

    with open_clips(source, reporter=reporter) as clips:
        yield clips


def _chosen(clips: ClipSet, where: str | None, ids: Sequence[str]) -> ClipSet:
    if where:
        clips = clips.where(where)
    if ids:
        known = clips.manifest["clip_id"].tolist()
        for name in ids:
            if name not in known:
                near = get_close_matches(name, known, 1)
                seen = "Ids stand below the pictures of audit.html, and as clip_id in tables."
                raise UsageError(
                    f"{clips.folder} has no clip {name} that was asked for.",
                    f"Did you mean {near[0]}?" if near else seen,
                )
        wanted = set(ids)
        clips = clips.subset([row for row, name in enumerate(known) if name in wanted])
    if not len(clips):
        raise EchoError(
            f"No clip of {clips.folder} meets {where!r}.", "Ask for less with --where."
        )
    return clips


def _playable(clips: ClipSet, config: ExportConfig) -> tuple[list[int], list[int]]:
    """Return the rows that can be written, and those that cannot: a video needs times."""
    every = range(len(clips))
    if config.sheet or config.assume_rate_hz is not None:
        return list(every), []
    rows = [row for row in every if clips.times_s(row) is not None]
    if not rows:
        raise EchoError(
            f"None of the {len(clips)} clip(s) has known frame times.",
            "Give their rate with --assume-fps, or look at them with --sheet.",
        )
    return rows, sorted(set(every) - set(rows))


def _begin(out: Path, clips: ClipSet, config: ExportConfig, *, overwrite: bool) -> None:
    """Write down what the folder will hold; refuse one that holds something else.

    Written before the first file, so that an export that was interrupted can be told from a
    folder of somebody's own.
    """
    names, sums = clips.manifest["clip_id"].tolist(), clips.manifest["pixels_sha256"].tolist()
    wanted = dict(zip(names, sums, strict=True))
    sweep(out, [RECORD, *exported_names({"settings": asdict(config), "clips": wanted})])
    before = read_record(out / RECORD, SCHEMA)
    if before is None and out.is_dir() and any(out.iterdir()):
        raise UsageError(
            f"{out} already exists, is no whole export and is not replaced.",
            "Choose another folder with -o.",
        )
    if before is None or overwrite:
        new_folder(out, overwrite=overwrite)
    else:
        _check_same(out, before, asdict(config), wanted)
        wanted = {**before["clips"], **wanted}
    content = {"schema": SCHEMA, "echocli": echocli.__version__, "settings": asdict(config)}
    write_json(out / RECORD, {**content, "clips": wanted})


def _check_same(
    out: Path, before: dict[str, Any], settings: dict[str, Any], wanted: dict[str, str]
) -> None:
    remedy = "Choose another folder with -o, or add --overwrite to make it again."
    if not all(isinstance(before.get(name), dict) for name in ("settings", "clips")):
        raise UsageError(f"{RECORD} in {out} is damaged.", remedy)
    changed = [name for name in settings if before["settings"].get(name) != settings[name]]
    if changed:
        raise UsageError(f"{out} was made with other settings: {', '.join(changed)}.", remedy)
    other = [
        name for name, value in wanted.items() if before["clips"].get(name, value) != value
    ]
    if other:
        raise UsageError(f"{out} shows other frames of {len(other)} of these clips.", remedy)
    if settings["sheet"] and set(wanted) != set(before["clips"]):
        raise UsageError(f"{out} holds sheets of other clips.", remedy)


def _write_videos(
    clips: ClipSet, rows: Sequence[int], out: Path, config: ExportConfig, reporter: Reporter
) -> tuple[list[Path], int]:
    names = clips.manifest["clip_id"]
    files = [out / f"{names.iloc[row]}.{config.form}" for row in rows]
    written = 0
    with reporter.progress("export", len(rows)) as done:
        for row, path in zip(rows, files, strict=True):
            if not path.exists():
                frames = clips.frames(row)
                write_video(
                    path,
                    frames,
                    _times(clips, row, config),
                    config.form,
                    scale=config.scale,
                    masks=_masks(clips, row) if config.overlay else None,
                )
                written += 1
            done(1)
    return files, written


def _times(clips: ClipSet, row: int, config: ExportConfig) -> NDArray[np.float64]:
    times = clips.times_s(row)
    if times is not None:
        return times
    assert config.assume_rate_hz is not None, "clips without times were left out"
    return np.arange(len(clips.frames(row))) / config.assume_rate_hz


def _masks(clips: ClipSet, row: int) -> dict[int, NDArray[np.uint8]]:
    masks = clips.masks(row)
    return {} if masks is None else dict(zip(clips.mask_frames(row), masks, strict=True))


def _write_sheets(
    clips: ClipSet, rows: Sequence[int], out: Path, reporter: Reporter
) -> tuple[list[Path], int]:
    pages = [rows[start : start + PER_PAGE] for start in range(0, len(rows), PER_PAGE)]
    files = [out / page_name(number) for number in range(len(pages))]
    missing = [
        (page, path) for page, path in zip(pages, files, strict=True) if not path.exists()
    ]
    with reporter.progress("sheets", len(missing)) as done:
        for page, path in missing:
            write_sheet(path, clips, page)
            done(1)
    return files, len(missing)
