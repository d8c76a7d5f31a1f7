"""``echocli demo``: a whole study on phantom hearts."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from echocli.commands._options import (
    DeviceOption,
    JsonOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    SeedOption,
)
from echocli.console import Console

SCHEMA = "echocli.demo/1"

MADE = (
    ("dicom/", "phantom DICOM files with invented names burned in: what you would bring"),
    ("clips/", "de-identified clips, what was refused and why, the audit"),
    ("runs/", "two pretrained encoders with their settings and curves"),
    ("embeddings.parquet", "one vector a clip"),
    ("scores.csv", "anomaly scores with p-values"),
    ("heads/", "linear heads for ejection fraction, masks and classes"),
    ("predictions/", "ejection fractions, masks, areas, volumes, classes"),
    ("report.html", "all of it on one page: open it in a browser"),
)


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="The study folder to make.")] = Path(
        "echo-demo"
    ),
    steps: Annotated[int, typer.Option("--steps", help="Training steps of each method.")] = 30,
    patients: Annotated[int, typer.Option("--patients", help="Phantom patients.")] = 48,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a whole study on phantom hearts: CPU, no download, minutes.

    * `echocli demo`: the study folder echo-demo

    * `echocli demo -o /tmp/study --steps 200`: elsewhere, with more training

    * `echocli demo --patients 15 --steps 3`: the same in less than a minute

    Writes DICOM files of invented hearts and takes them through every command, each shown as
    the line that you would type. Minutes of training do not make a good encoder: the figures
    show that everything works, not how well it can work.
    """
    from echocli.api.demo import DemoConfig, demo

    console = Console(quiet=quiet or as_json, as_json=as_json)
    result = demo(
        out,
        config=DemoConfig(patients=patients, steps=steps, seed=seed),
        overwrite=overwrite,
        device=device,
        precision=precision,
        reporter=console,
    )
    if as_json:
        console.document(
            SCHEMA,
            {
                "study": str(result.study),
                "report": str(result.report),
                "seconds": round(result.seconds, 1),
                "steps": [asdict(step) for step in result.steps],
            },
        )
        return
    console.say(f"\nDone in {result.seconds / 60:.1f} minutes. {result.study} now holds:")
    for name, what in MADE:
        console.say(f"  {name:20}{what}")
    console.say(
        "\nMinutes of training do not make a good encoder; the report says what its figures "
        "mean.\nNext, with your own files:\n"
        "  mkdir study && cd study\n"
        "  echocli inspect /where/your/dicoms/are\n"
        "  echocli preprocess /where/your/dicoms/are"
    )
    console.result(str(result.report))
