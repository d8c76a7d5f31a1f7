"""``echocli models``: list, info, import, verify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echocli.commands._options import JsonOption, OverwriteOption, QuietOption
from echocli.console import Console

if TYPE_CHECKING:
    from echocli.api._models.convert import Choice, Description

app = typer.Typer(
    help="""Public weights as models of this study.

    * `echocli models list`: what there is, who owns it, and what it was trained on

    * `echocli models info vitl.pt`: what a file is, without loading it

    * `echocli models import vitl.pt -o models/vitl`: make it a model for `embed --model`

    * `echocli models verify models/vitl`: whether it is whole

    A file of yours always works. Nothing is downloaded unless --download says so.
    """,
    no_args_is_help=True,
)

FileArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="File, folder, or name of a model of this study."),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", help="Format of the file; found by its names if left out."),
]
BranchOption = Annotated[
    str | None,
    typer.Option("--branch", help="Which network of the file, such as encoder."),
]
HeadsOption = Annotated[
    int | None,
    typer.Option("--heads", min=1, help="Attention heads, where the file does not tell."),
]
FramesOption = Annotated[
    int | None, typer.Option("--frames", min=1, help="Frames a window; as trained if left out.")
]
SizeOption = Annotated[
    int | None, typer.Option("--size", min=1, help="Rows and columns; as trained if left out.")
]
Sha256Option = Annotated[str, typer.Option("--sha256", help="Hash that the file must have.")]


@app.command("list")
def list_models(quiet: QuietOption = False, as_json: JsonOption = False) -> None:
    """Show the public checkpoints that we know, and what to mind of each.

    * `echocli models list`: a table

    * `echocli models list --json`: everything that is known of them

    * `echocli models list -q`: names only
    """
    from dataclasses import asdict

    from echocli.api.models import known_models

    console = Console(quiet=quiet, as_json=as_json)
    models = known_models()
    if as_json:
        found = [{**asdict(m), "source": m.source} for m in models]
        console.document("echocli.models-list/1", {"models": found})
    elif quiet:
        for model in models:
            console.result(model.name)
    else:
        columns = ["name", "encoder", "M", "px", "licence"]
        rows = [
            [m.name, m.encoder, m.parameters, m.size, m.licence.partition(" (")[0]]
            for m in models
        ]
        console.table("models", columns, rows)
        console.say("--json tells sources, training data and all that is known of licences")
        for model in models:
            if model.warning:
                console.warn(f"{model.name}: {model.warning}")


@app.command()
def info(
    model: FileArgument,
    form: FormatOption = None,
    branch: BranchOption = None,
    heads: HeadsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what a file of weights is, without loading its numbers.

    * `echocli models info checkpoint-399.pth`: format, encoder, licence, what is left out

    * `echocli models info models/vitl --json`: a model of ours, as JSON

    * `echocli models info vitl.pt -q`: the name of its format only
    """
    from dataclasses import asdict

    from echocli.api.models import describe

    console = Console(quiet=quiet or as_json, as_json=as_json)
    described = describe(model, _choice(form, branch, heads))
    if as_json:
        console.document("echocli.models-info/1", asdict(described))
    elif quiet:
        console.result(described.format)
    else:
        console.table("model", ["what", "value"], _rows(described))


@app.command("import")
def import_weights(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="File, folder, name in the list, or timm:NAME."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the model; models/NAME if left out."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch it if it is not here.")
    ] = False,
    sha256: Sha256Option = "",
    form: FormatOption = None,
    branch: BranchOption = None,
    heads: HeadsOption = None,
    frames: FramesOption = None,
    size: SizeOption = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0.01, help="Length of a window; 1 if left out."),
    ] = None,
    colour: Annotated[
        bool, typer.Option("--colour", help="Keep three channels; grey is exact without.")
    ] = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn public weights into a model that embed, pretrain --init and the tasks understand.

    * `echocli models import vitl16.pth.tar`: a file of yours, to models/vitl16

    * `echocli models import discovr --download`: fetch it from the Hugging Face hub first

    * `echocli models import vit.pth --frames 32 --size 112`: other windows than in training

    Every name in the file is accounted for, or the import is refused with the list. Nothing
    but tensors is unpickled. Licence, source, hash and training data are kept in config.json.
    """
    from dataclasses import asdict

    from echocli.api.models import import_model

    console = Console(quiet=quiet or as_json, as_json=as_json)
    result = import_model(
        model,
        out=out,
        choice=_choice(form, branch, heads, frames, size, seconds, colour),
        download=download,
        sha256=sha256,
        overwrite=overwrite,
        reporter=console,
    )
    described = result.description
    if as_json:
        paths = {"model": str(result.model), "sha256": result.sha256}
        console.document("echocli.models-import/1", {**asdict(described), **paths})
    else:
        console.result(str(result.model))
    for what, value in _rows(described):
        if what in ("format", "licence", "source", "trained on"):
            console.say(f"{what}: {value}")
    if described.warning:
        console.warn(described.warning)
    console.say(f"next: echocli embed --model {result.model}")


@app.command()
def verify(
    model: FileArgument,
    sha256: Sha256Option = "",
    form: FormatOption = None,
    branch: BranchOption = None,
    heads: HeadsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check that weights are whole: hashes of our models, names and shapes of public files.

    * `echocli models verify models/vitl`: a model of ours

    * `echocli models verify vitl.pt --sha256 0a1b...`: a public file, and that it is this one
    """
    console = Console(quiet=quiet, as_json=as_json)
    from echocli.api.models import verify as verify_model

    found = verify_model(model, _choice(form, branch, heads), sha256=sha256)
    rows = {"format": found.what, "tensors": found.tensors, "sha256": found.sha256}
    if as_json:
        console.document("echocli.models-verify/1", {"model": str(found.path), **rows})
    elif quiet:
        console.result(str(found.path))
    else:
        console.table("whole", ["model", *rows], [[found.path, *rows.values()]])


def _choice(
    form: str | None,
    branch: str | None,
    heads: int | None,
    frames: int | None = None,
    size: int | None = None,
    seconds: float | None = None,
    colour: bool = False,
) -> "Choice":
    from echocli.api._models.convert import Choice
    from echocli.models.weights.base import Wish

    wish = Wish(branch=branch, heads=heads, frames=frames, size=size)
    return Choice(format=form, wish=wish, seconds=seconds, colour=colour)


def _rows(described: "Description") -> list[list[Any]]:
    shape, data = described.encoder, described.data
    window = f"every {data['stride']}th frame" if data["stride"] else f"{data['seconds']} s"
    left_out = [[f"left out: {why}", count] for why, count in described.left_out.items()]
    return [
        ["format", f"{described.label} ({described.format})"],
        ["network", described.branch],
        ["encoder", f"{shape['depth']} blocks of {shape['dim']}, {shape['heads']} heads"],
        ["positions", shape["positions"]],
        ["tubelet", " x ".join(map(str, shape["tubelet"]))],
        ["parameters", described.parameters],
        ["window", f"{data['frames']} frames of {data['size']} pixels, {window}"],
        ["channels", data["channels"]],
        ["mean, std", f"{data['mean']}, {data['std']}"],
        ["tensors", described.tensors],
        *left_out,
        ["licence", described.licence],
        ["source", described.source],
        ["trained on", described.trained_on],
        *([["mind", described.warning]] if described.warning else []),
    ]
