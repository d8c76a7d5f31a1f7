"""``echocli score --anomaly`` and ``echocli score --vote``."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echocli.commands._options import (
    DeviceOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    SeedOption,
)
from echocli.commands._paths import STANDARD
from echocli.commands._rows import as_records, print_rows
from echocli.commands._tasks import bounded, doubt
from echocli.commands._words import one_of
from echocli.console import Console
from echocli.errors import UsageError
from echocli.study import Study

DIGITS = 3

if TYPE_CHECKING:
    from echocli.api.score import ScoreResult
    from echocli.api.vote import VoteResult


def command(
    embeddings: Annotated[
        Path | None,
        typer.Argument(
            metavar="[EMBEDDINGS]",
            help="Table from `echocli embed`, or - for standard input; embeddings.parquet if "
            "left out.",
        ),
    ] = None,
    anomaly: Annotated[
        bool, typer.Option("--anomaly", help="Score the distance from normal clips.")
    ] = False,
    vote: Annotated[
        bool,
        typer.Option("--vote", help="Let the nearest labelled training clips vote (DISCOVR)."),
    ] = False,
    normals: Annotated[
        Path | None,
        typer.Option(
            "--normals", help="Embeddings of normal clips; of labelled rows, the normal ones."
        ),
    ] = None,
    normal_rule: Annotated[
        str | None,
        typer.Option("--normal-rule", help="What is normal, by a label: 'ef_percent>=55'."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="CSV to write, or - for standard output."),
    ] = None,
    k: Annotated[int, typer.Option("--k", help="Nearest clips to compare with.")] = 10,
    distance: Annotated[
        str,
        typer.Option(
            "--distance",
            help="How far two clips are apart.",
            **one_of("cosine", "whitened", "mahalanobis"),
        ),
    ] = "cosine",
    per: Annotated[
        str,
        typer.Option("--per", help="What is judged.", **one_of("clip", "patient")),
    ] = "clip",
    aggregate: Annotated[
        str,
        typer.Option(
            "--aggregate", help="A patient's score, of its clips'.", **one_of("mean", "max")
        ),
    ] = "mean",
    false_positive_rate: Annotated[
        float,
        typer.Option(
            "--false-positive-rate", help="Share of normal patients that may be called."
        ),
    ] = 0.05,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score how far each clip lies from normal ones, with p-values and a threshold.

    * `echocli score --anomaly`: embeddings.parquet of this study, normal by its label column

    * `echocli score --anomaly --normal-rule 'ef_percent>=55'`: normal by a rule on a label

    * `echocli score --anomaly --normals healthy.parquet`: compared with other embeddings

    * `echocli score --anomaly --per patient --aggregate max`: patients, by their strangest clip

    * `echocli score --vote`: the two-class vote of the DISCOVR release, among training clips

    * `echocli embed videos/ -o - | echocli score --anomaly -o - | sort`: in a pipeline

    The score is the mean distance to the k nearest normal clips of other patients. Held-out
    normal patients turn it into a p-value and a threshold with the false-positive rate you
    choose. Where the test split is labelled, figures with 95 % intervals are written beside
    the scores, in scores.json.
    """
    _check_kind(anomaly=anomaly, vote=vote)
    if vote:
        _refuse_unused(
            normals=normals,
            distance=distance,
            per=per,
            aggregate=aggregate,
            false_positive_rate=false_positive_rate,
        )
    study = Study()
    console = Console(quiet=quiet or as_json, as_json=as_json)
    to_stdout = out == STANDARD or (as_json and out is None)
    source = _source(embeddings, study, to_stdout=to_stdout)
    place = None if to_stdout else out or (study.votes if vote else study.scores)
    if source == study.embeddings:
        from echocli.api._relabelled import warn_of_labels

        warn_of_labels(study.embeddings, study.clips, console)
    result: "ScoreResult | VoteResult"
    if vote:
        from echocli.api.vote import VoteConfig
        from echocli.api.vote import vote as cast_votes

        result = cast_votes(
            source,
            normal_rule=normal_rule,
            out=place,
            config=VoteConfig(k=k, seed=seed),
            device=device,
            overwrite=overwrite,
            reporter=console,
        )
    else:
        from echocli.api.score import ScoreConfig, score

        result = score(
            source,
            normals=normals,
            normal_rule=normal_rule,
            out=place,
            config=ScoreConfig(
                k=k,
                distance=distance,
                per=per,
                aggregate=aggregate,
                false_positive_rate=false_positive_rate,
                seed=seed,
            ),
            device=device,
            overwrite=overwrite,
            reporter=console,
        )
    if as_json:
        console.document(f"echocli.{'vote' if vote else 'score'}/1", _document(result))
    elif to_stdout:
        print_rows(result.table)
    else:
        _summarise(console, result, vote=vote)
        console.result(str(result.out))


def _check_kind(*, anomaly: bool, vote: bool) -> None:
    """Refuse to score in no way, or in two.

    Raises:
        UsageError: If not one of both was asked for.
    """
    if anomaly and vote:
        raise UsageError(
            "--anomaly and --vote are two scores.", "Ask for one, then for the other."
        )
    if not anomaly and not vote:
        raise UsageError(
            "`echocli score` needs to be told what to score.",
            "Use `echocli score --anomaly`: the distance of each clip from normal ones; or "
            "--vote: what the nearest labelled clips say.",
        )


def _refuse_unused(**typed: object) -> None:
    """Refuse what only an anomaly score would heed.

    Raises:
        UsageError: If one of its options was given.
    """
    from echocli.api.score import ScoreConfig

    for name, value in typed.items():
        if value != getattr(ScoreConfig, name, None):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} is of --anomaly.", f"Leave {option} out, or --vote.")


def _source(named: Path | None, study: Study, *, to_stdout: bool) -> Path:
    """Return where the embeddings come from: as named, from a pipe, or the study's own."""
    if named is not None:
        return named
    if (to_stdout or not study.embeddings.exists()) and _is_fed():
        return STANDARD
    return study.embeddings


def _is_fed() -> bool:
    """Return whether standard input is a pipe or a file; a terminal has nothing to give."""
    import stat

    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # closed, or replaced by a notebook
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _document(result: "ScoreResult | VoteResult") -> dict[str, Any]:
    out = str(result.out) if result.out else None
    return {**result.summary, "out": out, "rows": as_records(result.table)}


def _summarise(console: Console, result: "ScoreResult | VoteResult", *, vote: bool) -> None:
    summary, per = result.summary, result.summary.get("per")
    # Embeddings may be of patients: a row of theirs is no clip.
    embedded = per != "patient" and "clip_id" not in result.table
    bank, n = f"{summary['bank']['patients']} patient(s)", f"{summary['n_patients']} patient(s)"
    if not embedded:
        bank, n = (
            f"{summary['bank']['clips']} clip(s) of {bank}",
            f"{summary['n_clips']} clip(s)",
        )
    if vote:
        console.say(f"{n}, voted on by {bank} of the training split")
    else:
        console.say(
            f"{n} against {bank}, all normal according to {summary['source_of_normal']}; "
            f"calibrated on {summary['calibration']['patients']} other normal patient(s)"
        )
        console.say(
            f"{summary['n_anomalous']} {'patient' if embedded else per}(s) called anomalous at "
            f"a false-positive rate of {summary['false_positive_rate']:g}"
        )
    test, of_patients = summary["test"], per == "patient"
    metrics = summary["patient_metrics" if of_patients else "metrics"]
    if metrics is None:
        return
    told = {"macro_f1": "macro-F1", "auroc": "AUROC"} if vote else {"auroc": "AUROC"}
    figures = ", ".join(f"{words} {bounded(metrics[k], DIGITS)}" for k, words in told.items())
    clips = "" if of_patients or embedded else f"{test['clips']} clip(s) of "
    abnormal = test["abnormal_patients" if of_patients else "abnormal_clips"]
    console.say(
        f"test: {figures} on {clips}{test['patients']} patient(s), {abnormal} abnormal"
        f"{doubt(test['patients'])}"
    )
