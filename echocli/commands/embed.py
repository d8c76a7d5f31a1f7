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
from echocli.commands._signals import stop_wish
from echocli.commands._words import one_of
from echocli.console import Console
from echocli.errors import ExitCode, UsageError
from echocli.study import Study

if TYPE_CHECKING:
    from echocli.api.embed import EmbedResult

LISTED = 20
"""Clips that are named one by one before the rest is counted."""


def command(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[VIDEOS]...",
            help="Clip set, files, folders, or - for a list; clips if left out.",
        ),
    ] = None,
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Parquet, .csv or .safetensors; - streams CSV; default embeddings.parquet.",
        ),
    ] = None,
    per: Annotated[
        str,
        typer.Option(
            "--per", help="What a row is.", **one_of("clip", "frame", "token", "patient")
        ),
    ] = "clip",
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool",
            help="For clips and patients; mean_std, which keeps motion, if left out.",
            **one_of("mean_std", "mean", "cls"),
        ),
    ] = None,
    windows: Annotated[
        int, typer.Option("--windows", min=1, help="Windows a clip, averaged.")
    ] = 3,
    keep_windows: Annotated[
        bool, typer.Option("--keep-windows", help="Give each window of a clip its own row.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Make one of N parts, read as one table."),
    ] = None,
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

    * `echocli embed --per token -o tokens.parquet`: every token with its place in the clip

    * `echocli embed --shard 2/8`: the second of eight parts; score reads all of them as one

    How clips are read (frames, seconds, size) is saved in the model and cannot differ. Each
    row holds ids, source hash and labels of its clip; a few clips are encoded twice and
    compared. The same command again does only what is missing, and takes labels anew. If
    some clips cannot be used, they are listed and the exit code is 4.
    """
    from echocli.api.embed import StoppedEarly, embed

    console = Console(quiet=quiet or as_json, as_json=as_json)
    stream = out == STANDARD
    place = sys.stdout if stream else out or Study().embeddings
    if stream and as_json:
        raise UsageError("-o - and --json both want standard output.", "Leave one out.")
    with stop_wish() as stop:
        try:
            result = embed(
                expand(videos or [Study().clips], null=null),
                model=model,
                out=place,
                per=per,
                pool=pool,
                windows=windows,
                keep_windows=keep_windows,
                shard=shard,
                device=device,
                precision=precision,
                overwrite=overwrite,
                stop=stop,
                reporter=console,
            )
        except StoppedEarly as stopped:
            console.warn(f"stopped: {stopped}. Run the same command again to go on.{stop.hint}")
            raise typer.Exit(stop.exit_code) from None
    _tell(console, result)
    if as_json:
        console.document("echocli.embed/1", _document(result))
    elif not stream:
        console.result(str(result.out))
    if result.left_out or result.refused:
        raise typer.Exit(ExitCode.PARTIAL)


def _tell(console: Console, result: "EmbedResult") -> None:
    if result.unchanged:
        console.say("nothing to do: these embeddings are there already")
    per = result.metadata["per"]
    console.say(
        f"{result.rows} row(s), one a {per}, {result.width} numbers each, by {result.model}"
    )
    if result.health:
        console.say(
            f"they fill {result.health.effective_rank:.1f} directions, mean cosine "
            f"{result.health.mean_cosine:.3f}"
        )
    for name, told in (result.metadata.get("leakage") or {}).items():
        console.say(
            f"a linear probe tells {name.replace('_', ' ')} in {told['balanced_accuracy']:.0%} "
            f"(chance {told['chance']:.0%}, {told['classes']} classes)"
        )
    missing = [f"clip {clip_id}: {reason}" for clip_id, reason in result.left_out]
    missing += [f"file {f.position}: {f.reason}; {f.remedy}" for f in result.refused]
    for line in missing[:LISTED]:
        console.warn(f"left out, {line}")
    if len(missing) > LISTED:
        console.warn(f"and {len(missing) - LISTED} more left out")


def _document(result: "EmbedResult") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "out": str(result.out),
        "model": str(result.model),
        "rows": result.rows,
        "width": result.width,
        "kept": result.kept,
        "unchanged": result.unchanged,
        "metadata": result.metadata,
        "health": asdict(result.health) if result.health else None,
        "left_out": [
            {"clip_id": clip_id, "reason": reason} for clip_id, reason in result.left_out
        ],
        "refused": [asdict(source) for source in result.refused],
    }
