"""Options that mean the same in every command.

The docstring of a command is its help page: one line, then its examples, each an item such as
``* `echocli embed`: all clips of this study, with its newest model``, then what a user needs to
know. Files that start with an underscore are not commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echocli.commands._words import among, method_names, one_of, preset_names

PRESETS = (
    "tiny (if left out), small, base, large; laptop, laptop-vjepa; adapt-vjepa21-vitb, "
    "ellis-vitl-12b, ellis-vitl-16b; discovr-paper, discovr-release."
)

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON document.")
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only paths or ids; say nothing else.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what stands at the output.")
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:1, mps.",
        **among(lambda: ("auto", "cpu", "cuda", "mps")),
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision", help="How numbers are computed with.", **one_of("auto", "fp32", "bf16")
    ),
]
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="METHOD",
        help="discovr, vjepa or videomae; that of the preset, or discovr, if left out.",
        **among(method_names),
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="PRESET",
        help=f"{PRESETS} `echocli pretrain --preset list` tells of each.",
        **among(preset_names),
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML or JSON file with settings.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Start of all random numbers.")]
NullOption = Annotated[
    bool, typer.Option("--null", "-0", help="Paths on standard input end with NUL.")
]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", "-m", help="Run folder or model folder; the newest run if left out."
    ),
]
ScratchOption = Annotated[
    str | None,
    typer.Option(
        "--from-scratch",
        metavar="PRESET",
        help="Train that preset's encoder from random weights, on the labels alone.",
        **among(preset_names),
    ),
]
BlocksOption = Annotated[
    int | None,
    typer.Option(
        "--finetune-blocks",
        metavar="N",
        help="Train the model's last N blocks with the head; frozen if left out.",
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option("--epochs", min=1, help="Looks at every label, where training is in steps."),
]
RateOption = Annotated[
    float | None, typer.Option("--lr", help="Learning rate, where training is in steps.")
]
LayerDecayOption = Annotated[
    float | None,
    typer.Option(
        "--layer-decay",
        min=0.01,
        max=1.0,
        help="Factor of the learning rate from a block of the encoder to the one below it, "
        "where it is trained; 1, all alike, if left out.",
    ),
]
LabelFractionOption = Annotated[
    float,
    typer.Option(
        "--label-fraction",
        help="Share of the labelled training patients that is used, drawn by --seed.",
    ),
]
ViewsOption = Annotated[
    str | None,
    typer.Option(
        "--views",
        metavar="A4C,A2C",
        help="Views of a study that an attentive probe looks at together; clip by clip if left "
        "out.",
    ),
]
ClipsAViewOption = Annotated[
    int, typer.Option("--clips-a-view", min=1, help="With --views: clips of each, at most.")
]
ViewDropoutOption = Annotated[
    float,
    typer.Option(
        "--view-dropout", help="With --views: share of views that training hides; EchoJEPA 0.1."
    ),
]
ByOption = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="A,B",
        help="Columns whose parts are shown one by one; sex, age_years, scanner, frame_rate_hz "
        "and quality if left out.",
    ),
]
