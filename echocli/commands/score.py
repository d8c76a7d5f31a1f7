"""``echocli score --anomaly``."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echocli.commands._options import JsonOption, OverwriteOption, QuietOption, SeedOption
from echocli.commands._paths import STANDARD
from echocli.console import Console
from echocli.errors import UsageError
from echocli.study import Study

if TYPE_CHECKING:
    from echocli.api.score import ScoreResult


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
    normals: Annotated[
        Path | None, typer.Option("--normals", help="Embeddings of clips known to be normal.")
    ] = None,
    normal_rule: Annotated[
        str | None,
        typer.Option("--normal-rule", help="What is normal, by a label: 'ef_percent>=55'."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="CSV to write, or - for standard output."),
    ] = None,
    k: Annotated[int, typer.Option("--k", help="Nearest normal clips to compare with.")] = 10,
    false_positive_rate: Annotated[
        float,
        typer.Option(
            "--false-positive-rate", help="Share of normal patients that may be called."
        ),
    ] = 0.05,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score how far each clip lies from normal ones, with p-values and a threshold.

    * `echocli score --anomaly`: embeddings.parquet of this study, normal by its label column

    * `echocli score --anomaly --normal-rule 'ef_percent>=55'`: normal by a rule on a label

    * `echocli score --anomaly --normals healthy.parquet`: compared with other embeddings

    * `echocli embed videos/ -o - | echocli score --anomaly -o - | sort`: in a pipeline

    The score is the mean cosine distance to the k nearest normal clips of other patients.
    Held-out normal patients turn it into a p-value and a threshold with the false-positive
    rate you choose. Where the test split is labelled, figures with 95 % intervals are written
    beside the scores, in scores.json.
    """
    if not anomaly:
        raise UsageError(
            "`echocli score` needs to be told what to score.",
            "Use `echocli score --anomaly`: the distance of each clip from normal ones.",
        )
    from echocli.api.score import ScoreConfig, score

    study = Study()
    console = Console(quiet=quiet or as_json, as_json=as_json)
    to_stdout = out == STANDARD or (as_json and out is None)
    result = score(
        _source(embeddings, study, to_stdout=to_stdout),
        normals=normals,
        normal_rule=normal_rule,
        out=None if to_stdout else out or study.scores,
        config=ScoreConfig(k=k, false_positive_rate=false_positive_rate, seed=seed),
        overwrite=overwrite,
        reporter=console,
    )
    if as_json:
        console.document("echocli.score/1", _document(result))
    elif to_stdout:
        result.table.to_csv(sys.stdout, index=False)
        sys.stdout.flush()
    else:
        _summarise(console, result)
        console.result(str(result.out))


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


def _document(result: "ScoreResult") -> dict[str, Any]:
    import json

    rows = json.loads(result.table.to_json(orient="records"))
    return {**result.summary, "out": str(result.out) if result.out else None, "rows": rows}


def _summarise(console: Console, result: "ScoreResult") -> None:
    summary = result.summary
    console.say(
        f"{summary['n_clips']} clip(s) against {summary['bank']['clips']} normal clip(s) of "
        f"{summary['bank']['patients']} patient(s); calibrated on "
        f"{summary['calibration']['patients']} other normal patient(s)"
    )
    console.say(
        f"{summary['n_anomalous']} clip(s) called anomalous at a false-positive rate of "
        f"{summary['false_positive_rate']:g}; normal is {summary['source_of_normal']}"
    )
    metrics = summary["metrics"]
    if metrics is not None:
        test, auroc = summary["test"], metrics["auroc"]
        console.say(
            f"test: AUROC {auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f}) "
            f"on {test['clips']} clip(s) of {test['patients']} patient(s), "
            f"{test['abnormal_clips']} abnormal"
        )
