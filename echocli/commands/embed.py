"""``echocli embed``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echocli.commands._options import (
    DeviceOption,
    JsonOption,
    ModelOption,
    NullOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
)
from echocli.commands._paths import STANDARD, expand
from echocli.console import Console
from echocli.errors import ExitCode, UsageError
from echocli.study import Study

if TYPE_CHECKING:
    from echocli.api.embed import EmbedResult

LISTED = 20
"""Clips that are named one by one before the rest is counted."""


def command(
    videos: Annotated[
        Path | None,
        typer.Argument(
            metavar="VIDEOS",
            help="Clip set, folder, file, or - for a list; clips/ if left out.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Parquet or .csv; - streams CSV; embeddings.parquet."),
    ] = None,
    pool: Annotated[
        str, typer.Option("--pool", help="mean_std (keeps motion), mean or cls.")
    ] = "mean_std",
    windows: Annotated[
        int, typer.Option("--windows", min=1, help="Windows a clip, averaged.")
    ] = 3,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    null: NullOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn clips into vectors with a trained encoder, one row a clip.

    * `echocli embed`: all clips of this study, with its newest model

    * `echocli embed videos/ --model runs/mine -o mine.parquet`: files, read in place

    * `echocli embed -o - | echocli score --anomaly -o - | sort`: in a pipeline

    * `find /archive -name '*.dcm' -print0 | echocli embed - -0`: a list of files

    How clips are read (frames, seconds, size) is saved in the model and cannot differ. Each
    row holds ids, source hash and labels of its clip; a few clips are encoded twice and
    compared. If some clips cannot be used, they are listed and the exit code is 4.
    """
    from echocli.api.embed import embed

    console = Console(quiet=quiet or as_json, as_json=as_json)
    stream = out == STANDARD
    if stream and as_json:
        raise UsageError("-o - and --json both want standard output.", "Leave one out.")
    result = embed(
        expand([videos or Study().clips], null=null),
        model=model,
        out=None if stream else out or Study().embeddings,
        pool=pool,
        windows=windows,
        device=device,
        precision=precision,
        overwrite=overwrite,
        reporter=console,
    )
    _tell(console, result)
    if stream:
        from echocli.tables import stream_embeddings

        stream_embeddings(sys.stdout, result.embeddings)
        sys.stdout.flush()
    elif as_json:
        console.document("echocli.embed/1", _document(result))
    else:
        console.result(str(result.out))
    if result.left_out or result.refused:
        raise typer.Exit(ExitCode.PARTIAL)


def _tell(console: Console, result: "EmbedResult") -> None:
    rows, width = result.embeddings.vectors.shape
    if result.unchanged:
        console.say("nothing to do: these embeddings are there already")
    console.say(f"{rows} clip(s), {width} numbers each, by {result.model}")
    if result.health:
        console.say(
            f"they fill {result.health.effective_rank:.1f} directions, mean cosine "
            f"{result.health.mean_cosine:.3f}"
        )
    missing = [f"clip {clip_id}: {reason}" for clip_id, reason in result.left_out]
    missing += [f"file {f.position}: {f.reason}; {f.remedy}" for f in result.refused]
    for line in missing[:LISTED]:
        console.warn(f"left out, {line}")
    if len(missing) > LISTED:
        console.warn(f"and {len(missing) - LISTED} more left out")


def _document(result: "EmbedResult") -> dict[str, Any]:
    from dataclasses import asdict

    rows, width = result.embeddings.vectors.shape
    return {
        "out": str(result.out),
        "model": str(result.model),
        "clips": rows,
        "width": width,
        "unchanged": result.unchanged,
        "metadata": result.embeddings.metadata,
        "health": asdict(result.health) if result.health else None,
        "left_out": [
            {"clip_id": clip_id, "reason": reason} for clip_id, reason in result.left_out
        ],
        "refused": [asdict(source) for source in result.refused],
    }
