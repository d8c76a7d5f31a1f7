"""``echocli preprocess``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echocli.commands._options import JsonOption, NullOption, OverwriteOption, QuietOption
from echocli.commands._paths import expand
from echocli.commands._signals import stop_wish
from echocli.commands._words import one_of
from echocli.console import Console
from echocli.errors import ExitCode
from echocli.study import Study

if TYPE_CHECKING:
    from echocli.api.preprocess import Limits, PreprocessResult


MANY = 10
"""Clips of a single patient from which it is asked whether that can be."""


def command(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SRC...",
            help="Files, folders, a data set's root, or - for a list on standard input.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The clip set; clips if left out.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="CSV with a column `file` or `patient`, and labels."),
    ] = None,
    label_column: Annotated[
        list[str] | None,
        typer.Option("--label-column", help="Keep this column, too; may be repeated."),
    ] = None,
    linkage: Annotated[
        Path | None,
        typer.Option("--linkage", help="Write which source became which clip: identifying!"),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="Secret of the pseudonyms.")
    ] = None,
    size: Annotated[int, typer.Option("--size", help="Side of a frame in pixels.")] = 112,
    assume_fps: Annotated[
        float | None,
        typer.Option("--assume-fps", min=0.1, help="Frame rate of loops that tell none."),
    ] = None,
    normal: Annotated[
        str | None,
        typer.Option("--normal", metavar="EXPR", help="Normal clips: 'ef_percent >= 55'."),
    ] = None,
    abnormal: Annotated[
        str | None,
        typer.Option(
            "--abnormal", metavar="EXPR", help="Abnormal clips; all but normal if left out."
        ),
    ] = None,
    stills: Annotated[
        bool, typer.Option("--stills", help="Take the single pictures of TMED-2.")
    ] = False,
    dates: Annotated[
        str,
        typer.Option(
            "--dates",
            help="Remove them, or move them and keep intervals.",
            **one_of("drop", "shift"),
        ),
    ] = "drop",
    keep_dicom: Annotated[
        bool, typer.Option("--keep-dicom", help="Also write de-identified DICOM files.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Take one of N shares of the sources."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; as many as help.")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", min=1, metavar="SECONDS", help="For one file."),
    ] = None,
    memory_limit: Annotated[
        float | None,
        typer.Option("--memory-limit", min=0.25, metavar="GIB", help="For one file."),
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first unusable source.")
    ] = False,
    max_fail: Annotated[
        int | None, typer.Option("--max-fail", min=0, help="Stop above this many unusable.")
    ] = None,
    null: NullOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn DICOM files, videos or a known data set into de-identified clips.

    * `echocli preprocess`: dicom/, videos/ or camus/ of this study folder, with labels.csv

    * `echocli preprocess /archive/echo -o clips`: every file below a folder

    * `echocli preprocess EchoNet-Dynamic/ -o clips`: a data set with its labels and split

    * `find /archive -name '*.dcm' | echocli preprocess - -o clips`: a list of files

    * `echocli preprocess /archive -o clips --shard 2/4`: one of four processes or machines

    Only the moving scan is kept; text, ECG and everything else outside it turns black. Ids
    are keyed hashes. Stills, Doppler and what cannot be masked safely are refused, each with
    a reason in quarantine.csv; then the exit code is 4. audit.html shows what was kept.

    After Ctrl-C, a crash or a full disk, the same command goes on. Files are known by their
    content: new ones are added, the others are left as they are.
    """
    from echocli.api.preprocess import preprocess
    from echocli.datasets import base

    console = Console(quiet=quiet or as_json, as_json=as_json)
    study = Study()
    named = expand(sources or [], null=null)
    if not sources:
        named, labels = _found_here(study, labels, console)
    elif labels is None and study.labels.is_file() and not base.recognise(study.root):
        console.say(
            f"{study.labels} of this folder is not used; --labels {study.labels} takes it"
        )
    with stop_wish() as wish:
        result = preprocess(
            named,
            out or study.clips,
            size=size,
            labels=labels,
            label_columns=label_column or [],
            linkage=linkage,
            key_file=key_file,
            assume_rate_hz=assume_fps,
            normal=normal,
            abnormal=abnormal,
            stills=stills,
            dates=dates,
            keep_dicom=keep_dicom,
            shard=shard,
            workers=workers,
            limits=_limits(time_limit, memory_limit),
            fail_fast=fail_fast,
            max_fail=max_fail,
            overwrite=overwrite,
            stop=wish,
            reporter=console,
        )
    if as_json:
        console.document("echocli.preprocess/1", _document(result))
    else:
        _summarise(console, result)
        console.result(str(result.clips))
    if linkage:
        console.warn("The linkage file says who is who: keep it where patient data belong.")
    if result.stopped:
        raise typer.Exit(wish.exit_code)
    if bugs := sum(entry.reason == "bug" for entry in result.quarantined):
        console.error(
            f"echocli itself failed on {bugs} source(s): a bug.",
            "Please report the line that quarantine.csv names; `echocli --debug preprocess` "
            "stops at the first and tells more, without names of patients or files.",
        )
        raise typer.Exit(ExitCode.BUG)
    if result.quarantined:
        raise typer.Exit(ExitCode.PARTIAL)


def _limits(seconds: float | None, gib: float | None) -> "Limits":
    """Return what one file may cost, in the terms of the API."""
    from dataclasses import replace

    from echocli.api.preprocess import STANDARD

    limits = STANDARD if seconds is None else replace(STANDARD, seconds=seconds)
    return limits if gib is None else replace(limits, memory_bytes=int(gib * 2**30))


def _found_here(
    study: Study, labels: Path | None, console: Console
) -> tuple[list[Path], Path | None]:
    """Return what a study folder holds: sources, and a table of labels."""
    from echocli.datasets import base

    if name := base.recognise(study.root):
        console.say(f"this folder holds the data set {name}: reading it with its labels")
        return [study.root], labels
    found = study.sources()
    console.say(f"reading {', '.join(f'{path}/' for path in found)}")
    if labels is None and study.labels.is_file():
        labels = study.labels
        console.say(f"with the labels of {labels}")
    return found, labels


def _summarise(console: Console, result: "PreprocessResult") -> None:
    from echocli.api._preprocess.quarantine import count_reasons
    from echocli.clips.store import ClipSet
    from echocli.intake.loop import NOTES

    if result.stopped:
        console.warn("Stopped before the end. Run the same command again to go on.")
    if result.unchanged:
        console.say("nothing to do: these clips are there already, with these settings")
    console.say(
        f"{result.n_sources} source(s): {result.n_clips} clip(s) of {result.n_patients} "
        f"patient(s), {len(result.quarantined)} refused"
    )
    if result.n_patients == 1 and result.n_clips >= MANY:
        console.warn(
            "All clips are of one patient, as the files have it. If an anonymiser gave all "
            "the same number, say who is who in labels.csv, in a column `patient`, and add "
            "--overwrite: splits and intervals go by patients."
        )
    for reason, count, meaning in count_reasons(result.quarantined):
        console.say(f"  {count:>5} {reason}: {meaning}")
    if result.quarantined:
        console.say(
            f"each with what can be done: {result.clips / 'quarantine.csv'} (exit code 4 says "
            "that not every source became a clip; stills and Doppler count, too)"
        )
    if result.unfinished and not result.stopped:
        console.say(f"the set is not finished: {', '.join(result.unfinished)}")
    if result.n_without_time:
        console.say(
            f"{result.n_without_time} clip(s) have no frame rate: give it with --assume-fps"
        )
    if result.n_without_spacing:
        console.say(f"{result.n_without_spacing} clip(s) have no scale: no mm, no mL from them")
    doubts = ClipSet.open(result.clips).manifest["notes"].explode().value_counts()
    if told := {word: doubts[word] for word in NOTES if word in doubts}:
        console.say("doubts about clips, in the manifest's column `notes`:")
    for word, count in told.items():
        console.say(f"  {count:>5} {word}: {NOTES[word]}")
    if not (result.stopped or result.unfinished):
        named = "" if result.clips == Study().clips else f"{result.clips} "
        console.say(
            f"next: look at {result.clips / 'audit.html'} for text that was not found; then "
            f"`echocli pretrain {named}--plan`"
        )


def _document(result: "PreprocessResult") -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(result), "clips": str(result.clips)}
