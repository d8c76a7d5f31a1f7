"""Embeddings: vectors of clips, with ids and labels from the same manifest row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import pandas as pd

import echocli
from echocli.api._embed.rows import Layout
from echocli.api._embed.units import Units, units_of
from echocli.api._embed.work import REMEDY, open_before, sources_of, work_beside
from echocli.api._embed.write import Job, write
from echocli.api._embed.write import StoppedEarly as StoppedEarly
from echocli.api._encode import (
    WINDOWS,
    LeftOut,
    clip_size,
    open_clips,
    readable,
    rows_to_encode,
)
from echocli.api._in_place import read_in_place, told_in_place
from echocli.api._preprocess.place import Share
from echocli.api._preprocess.quarantine import Quarantined, read_quarantine
from echocli.api._sector import grid_of
from echocli.checkpoint import LoadedModel, find_model, load_model, tell_unfinished
from echocli.clips.store import ClipSet
from echocli.config import to_table
from echocli.console import SILENT, Reporter
from echocli.errors import UsageError
from echocli.files import check_place
from echocli.models.health import Health
from echocli.privacy.audit import QUARANTINE_FILE
from echocli.study import Study
from echocli.table_formats import Stored
from echocli.tables import SCHEMA, Embeddings, read_embeddings, result_keys


@dataclass(frozen=True)
class EmbedResult:
    """Embeddings, and what is missing from them."""

    rows: int
    width: int
    """Numbers a row."""
    metadata: dict[str, Any]
    out: Path | None
    """Where they were written; ``None`` if they were not, or to a stream."""
    model: Path
    left_out: list[tuple[str, str]]
    """Id and reason of each clip that cannot be encoded."""
    refused: list[Quarantined]
    """Sources that did not become clips, when sources were read in place."""
    kept: int = 0
    """Clips or patients whose rows stood there already."""
    unchanged: bool = False
    """Whether the same embeddings stood there already."""
    in_memory: Embeddings | None = field(default=None, repr=False)

    @cached_property
    def embeddings(self) -> Embeddings:
        """The rows, read from the file if they were written to one."""
        if self.in_memory is None:
            assert self.out is not None, "rows that were streamed are gone"
            return read_embeddings(self.out)
        return self.in_memory

    @property
    def health(self) -> Health | None:
        """Signs of collapse; ``None`` for fewer than two rows."""
        told = self.metadata.get("health")
        return Health(**told) if told else None


def embed(
    source: Path | Sequence[Path],
    *,
    model: Path | None = None,
    out: Path | IO[str] | None = None,
    per: str = "clip",
    pool: str | None = None,
    windows: int = WINDOWS,
    keep_windows: bool = False,
    shard: str | None = None,
    batch: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    overwrite: bool = False,
    stop: Callable[[], bool] = lambda: False,
    reporter: Reporter = SILENT,
) -> EmbedResult:
    """Embed clips with a trained encoder.

    Run again, it encodes what is missing only; labels are taken anew.

    Args:
        source: Clip set, folder, file or list of files.
        model: Run folder, model folder or file; the newest run if left out.
        out: Parquet file, CSV or safetensors by its ending; a stream gets CSV while it is
            computed; kept in memory if left out.
        per: ``clip``, ``frame`` (step of a tubelet), ``token`` or ``patient`` (mean of clips).
        pool: ``mean_std``, ``mean`` or ``cls`` for clips and patients; see
            ``models/pooling.py``.
        windows: Windows a clip, evenly spread.
        keep_windows: Give each window of a clip its row, instead of their mean.
        shard: ``2/4`` makes the second of four parts of ``out``, which is then a folder.
        batch: Windows that cross the network together; left out, 16, or up to 64 small ones.
        device: ``auto`` or PyTorch's name.
        precision: ``auto``, ``fp32`` or ``bf16``; with ``auto``, bf16 is compared with fp32 on
            a few clips and left where it changes too much.
        overwrite: Replace what stands at ``out``.
        stop: Asked now and then whether to keep what is done and end.
        reporter: Who watches.

    Raises:
        StoppedEarly: If somebody wished to stop; the same call goes on.
        EchoError: If there is no model, no clip can be encoded, or a row is not its clip's.
        UsageError: If other embeddings stand at ``out``, or options do not fit.
    """
    loaded = load_model(find_model(model, Study()))
    tell_unfinished(loaded, reporter)
    layout = Layout.of(loaded, per, pool, windows, keep_windows, batch)
    share = Share.parse(shard)
    place = _place_of(out, share)
    share_read = None if share.alone or per == "patient" else shard
    size = clip_size(loaded)
    with open_clips(source, size=size, shard=share_read, stop=stop, reporter=reporter) as clips:
        if stop():
            raise StoppedEarly("nothing is encoded yet")
        in_place = read_in_place(clips, source)
        units, left_out = _units(
            loaded, clips, layout, Share() if in_place else share, reporter
        )
        if in_place and not share.alone and per == "patient":
            raise UsageError(
                "A patient's files may lie in several shares of the sources.",
                "Run `echocli preprocess` first, then embed the clip set by patient.",
            )
        metadata = _metadata(loaded, layout, share) | told_in_place(in_place)
        job = Job(loaded, clips, units, layout, device, precision, metadata, reporter, stop)
        kept, found = _run(job, place, overwrite=overwrite)
        return EmbedResult(
            **found,
            model=loaded.folder,
            out=place if isinstance(place, Path) else None,
            left_out=[_named(clips, clip) for clip in left_out],
            refused=read_quarantine(clips.folder / QUARANTINE_FILE) if in_place else [],
            kept=kept,
        )


def _place_of(out: Path | IO[str] | None, share: Share) -> Path | IO[str] | None:
    """Return where the rows go; a part of a table lies in the folder of that name.

    Raises:
        UsageError: If a table and a folder of parts would have one name.
    """
    if not isinstance(out, Path):
        return out
    check_place(out)
    if share.alone:
        if out.is_dir():
            raise UsageError(
                f"{out} is a folder, such as parts of a table lie in.",
                "Choose another place with -o, or make a part of it with --shard.",
            )
        return out
    if out.is_file() or out.suffix != ".parquet":
        raise UsageError(
            f"{out} cannot become a folder of parts.",
            "With --shard, choose a new name with -o that ends in .parquet.",
        )
    return out / f"part{share.suffix}.parquet"


def _units(
    model: LoadedModel, clips: ClipSet, layout: Layout, share: Share, reporter: Reporter
) -> tuple[Units, list[LeftOut]]:
    """Return what becomes rows in this share, and what cannot."""
    if share.alone:
        rows, left_out = rows_to_encode(clips, model.data, reporter)
        return units_of(clips, rows, layout.per), left_out
    rows, left_out = readable(clips, model.data)
    units = units_of(clips, rows, layout.per)
    mine = [index for index, name in enumerate(units.names) if share.takes(name)]
    names = clips.manifest["patient_id" if layout.per == "patient" else "clip_id"].astype(str)
    return units.some(mine), [clip for clip in left_out if share.takes(names.iloc[clip.row])]


def _metadata(model: LoadedModel, layout: Layout, share: Share) -> dict[str, Any]:
    found = {
        "schema": SCHEMA,
        "echocli": echocli.__version__,
        "method": model.method,
        "model_sha256": model.sha256,
        "per": layout.per,
        "pool": layout.pool,
        "windows": layout.windows,
        "keep_windows": layout.keep_windows,
        "data": to_table(model.data),
        "grid": list(grid_of(model.encoder, model.data)),
        "tubelet": list(model.encoder.config.tubelet),
    }
    return found if share.alone else {**found, "shard": f"{share.shard}/{share.of}"}


def _named(clips: ClipSet, clip: LeftOut) -> tuple[str, str]:
    return str(clips.manifest["clip_id"].iloc[clip.row]), clip.reason


def _run(
    job: Job, place: Path | IO[str] | None, *, overwrite: bool
) -> tuple[int, dict[str, Any]]:
    """Write the rows; return how many units were kept, and what the result tells."""
    before = None
    if isinstance(place, Path) and place.exists() and not overwrite:
        before = open_before(place, job.metadata, job.precision, job.units.key)
        _check_same_clips(place, before, job.units)
        if _is_current(before, job):
            found = {"rows": len(before.table), "width": before.width, "unchanged": True}
            return len(job.units), {**found, "metadata": before.metadata}
    if not isinstance(place, Path):
        return write(job, place, None, None)
    place.parent.mkdir(parents=True, exist_ok=True)
    asked = {**result_keys(job.metadata), "precision": job.precision, "device": job.device}
    with work_beside(place, asked, job.reporter) as work:
        return write(job, place, before, work)


def _check_same_clips(out: Path, before: Stored, units: Units) -> None:
    """Refuse to write over rows of clips that are not asked for.

    Raises:
        UsageError: If there are such rows.
    """
    other = set(before.table[units.key].astype(str)) - set(units.names)
    if other:
        raise UsageError(
            f"{out} was made of other clips: {len(other)} of its rows are none of these.",
            REMEDY,
        )


def _is_current(before: Stored, job: Job) -> bool:
    """Return whether all units stand there, with the labels that they have now."""
    kept, missing = sources_of(job.units, [before])
    if missing:
        return False
    if not len(job.units):
        return True
    now = pd.concat([rows.table for rows in kept[0].rows(job.units)], ignore_index=True)
    if set(now) != set(before.table) or len(now) != len(before.table):
        return False
    return all(_equal(now[name], before.table[name]) for name in now)


def _equal(ours: pd.Series[Any], theirs: pd.Series[Any]) -> bool:
    """Return whether two columns say the same, by whatever words they say nothing."""
    known = ours.notna()
    if not (known == theirs.notna()).all():
        return False
    return bool((ours[known].astype(str) == theirs[known].astype(str)).all())
