"""Rows on their way to the file: those that stand there, then the others as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from echocli.api._embed.checks import (
    SAMPLE_ROWS,
    Passing,
    check_passed,
    health_of,
    leakage_of,
    settle_precision,
)
from echocli.api._embed.rows import Layout, encode_units, like
from echocli.api._embed.units import Units, blocks_of
from echocli.api._embed.work import Kept, Work, sources_of, whole_file
from echocli.api._encode import prepare
from echocli.api._sector import grid_of
from echocli.checkpoint import LoadedModel
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.device import Device
from echocli.table_formats import Rows, Sink, Stored
from echocli.tables import Embeddings, sink_for


@dataclass(frozen=True)
class Job:
    """What is encoded, by what, how."""

    model: LoadedModel
    clips: ClipSet
    units: Units
    layout: Layout
    device: str
    precision: str
    metadata: dict[str, Any]
    reporter: Reporter
    stop: Callable[[], bool]
    """Asked after each block."""


class StoppedEarly(Exception):  # noqa: N818 - no error: somebody wished it
    """Somebody wished to stop; what is done is kept."""


def write(
    job: Job, place: Path | IO[str] | None, before: Stored | None, work: Work | None
) -> tuple[int, dict[str, Any]]:
    """Encode what is missing and write all rows.

    Args:
        job: What is encoded.
        place: File or stream; kept in memory if left out.
        before: The table that stands at the file.
        work: What an interrupted run left.

    Returns:
        How many units were kept, and what the result tells.

    Raises:
        EchoError: If a row is missing or not its clip's; nothing is written then.
    """
    stored = ([before] if before else []) + (work.kept() if work else [])
    kept, missing = sources_of(job.units, stored)
    where, metadata = _precision(job, kept, missing)
    count = len(job.units) - len(missing)
    if count:
        job.reporter.say(f"{count} stand there already; {len(missing)} are encoded")
    grid = grid_of(job.model.encoder, job.model.data)
    expected = len(job.units) * job.layout.rows_a_clip(grid)
    passing = Passing(job.units, max(1, expected // SAMPLE_ROWS))
    columns, width = like(job.units, job.layout), job.layout.width(job.model)
    with ExitStack() as stack:
        sink: Sink
        if place is None:
            sink = _Memory(columns, width)
        else:
            file = stack.enter_context(whole_file(place)) if isinstance(place, Path) else place
            suffix = place.suffix if isinstance(place, Path) else None
            sink = stack.enter_context(sink_for(file, columns, width, metadata, suffix=suffix))
        for rows in _all_rows(job, kept, missing, where, metadata, work):
            passing.take(rows)
            sink.add(rows)
        check_passed(passing, job.model, job.clips, job.layout, where)
        metadata |= _told_last(passing, job.clips)
        sink.finish(metadata)
    found = {"rows": passing.count, "width": width, "metadata": metadata}
    if isinstance(sink, _Memory):
        found["in_memory"] = sink.result
    return count, found


def _precision(
    job: Job, kept: Sequence[Kept], missing: Sequence[int]
) -> tuple[Device, dict[str, Any]]:
    """Return where to compute, in the precision of the rows that stand there."""
    told = [part.stored.metadata for part in kept if "precision" in part.stored.metadata]
    made = told[0]["precision"] if told else None
    asked = made if made and job.precision == "auto" else job.precision
    place = prepare(job.device, asked, job.reporter)
    record = told[0].get("precision_check") if told else None
    if made is None and missing:
        rows = [job.units.rows[index][0] for index in missing]
        place, record = settle_precision(
            job.model, job.clips, rows, place, job.precision, job.reporter
        )
    more: dict[str, Any] = {"precision": made or place.precision}
    return place, {**job.metadata, **more, **({"precision_check": record} if record else {})}


def _all_rows(
    job: Job,
    kept: Sequence[Kept],
    missing: Sequence[int],
    place: Device,
    metadata: dict[str, Any],
    work: Work | None,
) -> Iterator[Rows]:
    """Yield the rows that stand there, then the others as they are encoded."""
    for part in kept:
        yield from part.rows(job.units)
    grid = grid_of(job.model.encoder, job.model.data)
    size = 4 * job.layout.width(job.model) * job.layout.rows_a_clip(grid)
    rest = job.units.some(missing)
    blocks = list(blocks_of(rest, size, max(1, job.layout.batch // job.layout.windows)))
    clips = sum(len(rest.rows[index]) for block in blocks for index in block)
    with job.reporter.progress("encode", clips) as done:
        for number, block in enumerate(blocks, 1):
            rows = encode_units(job.model, job.clips, rest.some(block), job.layout, place, done)
            if number < len(blocks):
                if work is not None:
                    work.add(rows, metadata)
                if job.stop():
                    raise StoppedEarly(f"{number} of {len(blocks)} blocks were done")
            yield rows


def _told_last(passing: Passing, clips: ClipSet) -> dict[str, Any]:
    """Return the metadata that are known when all rows have passed."""
    found = health_of(passing)
    return {
        "rows": passing.count,
        "rows_sha256": passing.digest.hexdigest(),
        "health": asdict(found) if found else None,
        "leakage": leakage_of(passing, clips),
    }


class _Memory:
    """Keeps rows in memory, where no file is asked for."""

    def __init__(self, like: pd.DataFrame, width: int) -> None:
        self.rows = [Rows(like.iloc[:0], np.empty((0, width), np.float32))]
        self.result: Embeddings | None = None

    def add(self, rows: Rows) -> None:
        """Keep some rows."""
        self.rows.append(rows)

    def finish(self, metadata: dict[str, Any]) -> None:
        """Put the rows together."""
        table = pd.concat([rows.table for rows in self.rows[1:]] or [self.rows[0].table])
        vectors = np.concatenate([rows.vectors for rows in self.rows])
        self.result = Embeddings(table.reset_index(drop=True), vectors, metadata)

    def close(self) -> None:
        """Nothing is open."""
