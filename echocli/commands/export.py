"""``echocli export``."""

from pathlib import Path
from typing import Annotated

import typer

from echocli.commands._options import JsonOption, OverwriteOption, QuietOption
from echocli.commands._paths import refuse_results
from echocli.commands._words import one_of
from echocli.console import Console
from echocli.errors import ExitCode
from echocli.study import Study


def command(
    clips: Annotated[
        Path | None,
        typer.Argument(metavar="[CLIPS]", help="Clip set or recordings; clips if left out."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the files.", show_default=True)
    ] = Path("export"),
    form: Annotated[
        str,
        typer.Option("--format", help="H.264, or lossless FFV1.", **one_of("mp4", "mkv")),
    ] = "mp4",
    scale: Annotated[
        int, typer.Option("--scale", help="Enlarge each pixel to so many squared.")
    ] = 1,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Draw the outlines of the masks.")
    ] = False,
    sheet: Annotated[
        bool, typer.Option("--sheet", help="Contact sheets, 48 clips a page, not videos.")
    ] = False,
    where: Annotated[
        str | None, typer.Option("--where", help="Which clips: \"split == 'test'\".")
    ] = None,
    clip_id: Annotated[
        list[str] | None, typer.Option("--id", help="This clip; may be repeated.")
    ] = None,
    assume_fps: Annotated[
        float | None,
        typer.Option("--assume-fps", min=0.1, help="Frame rate of clips that tell none."),
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write clips as videos that every player opens, or as contact sheets.

    * `echocli export`: every clip of this study as export/CLIP_ID.mp4

    * `echocli export clips -o look --scale 4 --overlay`: large, with the outlines of masks

    * `echocli export clips -o kept --format mkv`: lossless, every pixel as it is stored

    * `echocli export clips -o pages --sheet --where "view == 'A4C'"`: pages to look over

    Files are named by clip id and hold pixels and times, nothing else. Frames come at their
    own times, even where the rate varies; clips without times are left out (exit code 4)
    unless --assume-fps is given. The same command again writes only what is missing.
    """
    from echocli.api.export import ExportConfig, export

    console = Console(quiet=quiet or as_json, as_json=as_json)
    source = clips or Study().clips
    refuse_results([source])
    result = export(
        source,
        out,
        config=ExportConfig(
            form=form, scale=scale, overlay=overlay, sheet=sheet, assume_rate_hz=assume_fps
        ),
        where=where,
        ids=clip_id or [],
        overwrite=overwrite,
        reporter=console,
    )
    if as_json:
        console.document(
            "echocli.export/1",
            {
                "folder": str(result.folder),
                "files": [path.name for path in result.files],
                "n_clips": result.n_clips,
                "n_written": result.n_written,
                "left_out": result.left_out,
            },
        )
    elif quiet:
        for path in result.files:
            console.result(str(path))
    else:
        console.say(
            f"{result.n_clips} clip(s) in {len(result.files)} file(s), "
            f"{result.n_written} of them new"
        )
        console.result(str(result.folder))
    if result.left_out:
        console.warn(
            f"{len(result.left_out)} clip(s) have no frame times and were left out: give "
            "their rate with --assume-fps."
        )
        raise typer.Exit(ExitCode.PARTIAL)
