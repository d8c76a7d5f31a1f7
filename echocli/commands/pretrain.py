"""``echocli pretrain``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echocli import slurm as cluster
from echocli.commands._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    MethodOption,
    NullOption,
    OverwriteOption,
    PrecisionOption,
    PresetOption,
    QuietOption,
    SetOption,
)
from echocli.commands._paths import expand
from echocli.commands._plan import plan_rows, presets
from echocli.commands._signals import stop_wish
from echocli.console import Console
from echocli.distributed import launched
from echocli.errors import UsageError
from echocli.study import Study

if TYPE_CHECKING:
    from echocli.api.pretrain import Choice, PretrainResult

SLURM = "On a Slurm cluster"


def command(
    clips: Annotated[
        Path | None,
        typer.Argument(
            metavar="CLIPS",
            help="Clip set, folder, file, or - for a list; clips/ if left out.",
            show_default=False,
        ),
    ] = None,
    method: MethodOption = None,
    preset: PresetOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The run; runs/METHOD-PRESET if left out."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Length of the training.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="QUERY",
            help="Which clips, such as: normal; all but the test split if left out, "
            "'' for all.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Start of all random numbers.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option("--init", metavar="MODEL", help="Start from these weights."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run and its settings.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would be done; write nothing.")
    ] = False,
    slurm: Annotated[
        bool,
        typer.Option("--slurm", help="Print a script for sbatch.", rich_help_panel=SLURM),
    ] = False,
    submit: Annotated[
        bool,
        typer.Option("--submit", help="Submit it by submitit.", rich_help_panel=SLURM),
    ] = False,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="Machines: 1.", rich_help_panel=SLURM)
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option("--gpus", min=0, help="GPUs of each machine: 1.", rich_help_panel=SLURM),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            "--hours", min=0.2, help="Time until it is queued again: 24.", rich_help_panel=SLURM
        ),
    ] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(
            "--sbatch",
            metavar="NAME=VALUE",
            help="Such as partition=gpu.",
            rich_help_panel=SLURM,
        ),
    ] = None,
    changes: SetOption = None,
    config: ConfigOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    readers: Annotated[
        int | None,
        typer.Option("--readers", min=0, help="Threads that read ahead; more for a slow disk."),
    ] = None,
    null: NullOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train an encoder on unlabelled clips, by DISCOVR or V-JEPA.

    * `echocli pretrain`: DISCOVR, tiny, on the clips of this study

    * `echocli pretrain --method vjepa --preset small --plan`: what it would take, measured

    * `echocli pretrain --steps 2000 --set optim.lr=3e-4 -o runs/mine`: change settings

    * `echocli pretrain --init models/vitl --method vjepa`: from public weights; see `models`

    * `echocli pretrain --resume`: go on with the newest run, exactly where it stopped

    * `torchrun --nproc-per-node 2 -m echocli pretrain`: the same on 2 GPUs; see --slurm

    Settings: defaults, then the preset, --config, the environment (ECHOCLI_OPTIM__LR=3e-4),
    options and --set; the later wins. They are saved in the run's config.json, which --config
    reads. Ctrl-C and SIGTERM save first. The model for `embed` is in the run's model/; where
    labels let a probe judge, that of its best step is in best/.
    """
    from echocli.api.pretrain import Choice

    console = Console(quiet=quiet or as_json, as_json=as_json)
    if preset == "list":
        _tell_presets(console)
        return
    if slurm or submit:
        if overwrite:
            raise UsageError(
                "A job that is queued again must not begin anew each time.",
                "Leave out --overwrite: remove the old run, or choose another place with -o.",
            )
        name = f"echocli-{out.name}" if out else "echocli-pretrain"
        _queue(
            console, name, cluster.wishes_from(nodes, gpus, hours, sbatch or []), submit=submit
        )
        return
    named = expand([clips or Study().clips], null=null)
    choice = Choice(method, preset, steps, where, seed, init, config, changes or [])
    if plan:
        _plan(console, named, choice, out, device, precision)
        return
    _train(
        console,
        named,
        choice,
        out=out,
        resume=resume,
        overwrite=overwrite,
        device=device,
        precision=precision,
        readers=readers,
    )


def _tell_presets(console: Console) -> None:
    columns, rows = ["preset", "method", "what"], presets()
    if console.as_json:
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        console.document("echocli.presets/1", {"presets": named})
    elif console.quiet:
        for row in rows:
            console.result(str(row[0]))
    else:
        console.table("presets", columns, rows)


def _train(console: Console, clips: list[Path], choice: "Choice", **options: Any) -> None:  # noqa: ANN401
    from echocli.api.pretrain import pretrain

    with stop_wish() as stop:
        result = pretrain(clips, choice, stop=stop, reporter=console, **options)
    if launched().leads:
        _tell(console, clips, result, stop.hint)
    if not result.finished:
        raise typer.Exit(stop.exit_code)


def _tell(console: Console, clips: list[Path], result: "PretrainResult", hint: str) -> None:
    if console.as_json:
        console.document("echocli.pretrain/1", _document(result))
    else:
        console.result(str(result.run))
    if not result.finished:
        console.warn(
            f"Saved after step {result.steps_done} of {result.steps}. To go on: "
            f"echocli pretrain {_words(clips)}--resume -o {result.run}{hint}"
        )
        return
    if result.loss is None:
        console.say("nothing to do: this run is finished, with these settings")
    if result.best_step not in (None, result.steps_done):
        console.say(f"the probe liked step {result.best_step} best: {result.best}")
    console.say(f"next: echocli embed --model {result.run}")


def _queue(console: Console, name: str, wishes: cluster.Wishes, *, submit: bool) -> None:
    """Print a script that runs the words of this command line, or submit them."""
    words = cluster.without_wishes(sys.argv[1:])
    if submit:
        number = cluster.submit(words, wishes, name, Study().runs / "slurm")
        console.say(f"submitted {name}; squeue shows it, scancel {number} ends it")
        console.result(number)
    else:
        console.result(cluster.script(words, wishes, name))


def _words(clips: list[Path]) -> str:
    """Return what to type for the clips, nothing for those of the study."""
    if clips == [Study().clips]:
        return ""
    return f"{clips[0]} " if len(clips) == 1 else "CLIPS "


def _plan(
    console: Console,
    clips: list[Path],
    choice: "Choice",
    out: Path | None,
    device: str,
    precision: str,
) -> None:
    from dataclasses import asdict

    from echocli.api.pretrain import plan

    found = plan(clips, choice, out=out, device=device, precision=precision, reporter=console)
    if not launched().leads:
        return
    if console.as_json:
        console.document("echocli.plan/1", {**asdict(found), "run": str(found.run)})
    elif console.quiet:
        console.result(str(found.run))
    else:
        console.table("plan", ["what", "value"], plan_rows(found))
        for warning in found.warnings:
            console.warn(warning)


def _document(result: "PretrainResult") -> dict[str, Any]:
    from dataclasses import asdict

    paths = {"run": str(result.run), "model": str(result.model)}
    if result.best is not None:
        paths["best"] = str(result.best)
    return {**asdict(result), **paths, "finished": result.finished}
