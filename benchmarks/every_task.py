"""Run every command of the tasks on phantoms in two public layouts, and on real clips.

    python benchmarks/every_task.py --out FOLDER [--real FOLDER_OF_ECHO_FILES]

Prints the exit code of each command, the one that is right, and the command. What each one
wrote on its two streams lies in FOLDER/<layout>/said, beside what it made, to be looked at. The
encoders have random weights: this shows that everything runs and how it looks, not how well it
works. What stands in `said` is not run again, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import torch

from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.datasets.phantom import PhantomConfig, draw_patient
from echocli.errors import ExitCode
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.phantoms.archives import write_camus, write_echonet_dynamic

SEED, NORMAL_SHARE = 1, 0.6
"""With which every split has normal and abnormal patients."""
FRAMES = 8
CODE = "--- exit code "
"""Stands between what a command said on its two streams."""
SECONDS = {"model": 0.2, "long": 1.0}
"""What a window lasts: half beats fill the one, not the other."""
DONE, INPUT, PARTIAL = ExitCode.DONE, ExitCode.INPUT, ExitCode.PARTIAL


class Call(NamedTuple):
    """A command, and the exit code that is right."""

    words: str
    code: int = DONE


SCORES = (
    Call("embed --model model"),
    Call("embed --model model --per patient -o patients.parquet"),
    Call("embed --model model --per frame -o frames.parquet"),
    Call("embed --model model --per token -o tokens.parquet"),
    Call("score --anomaly --false-positive-rate 0.3"),
    Call("score --anomaly --per patient --aggregate max --distance whitened "
         "--false-positive-rate 0.3 -o of_patients.csv"),
    Call("score --vote"),
)  # fmt: skip
CLASSES = (
    Call("classify fit --model model"),
    Call("classify"),
    Call("classify evaluate"),
    Call("classify fit --model model --label 'ef_percent<50' --probe attentive --epochs 1 "
         "-o heads/reduced"),
    Call("classify evaluate --against heads/reduced", INPUT),  # of other classes
    Call("robustness classify --perturb shadow --strengths 0.5,1"),
    Call("robustness score --model model --perturb low_gain --strengths 0.5,1"),
)  # fmt: skip
FRACTIONS = (
    Call("lvef fit --model model"),
    Call("lvef"),
    Call("lvef evaluate"),
    Call("lvef fit --model model --finetune-blocks 1 --epochs 1 -o heads/tuned"),
    Call("lvef evaluate --against heads/tuned"),
    Call("robustness lvef --perturb narrow,speckle --strengths 0.5,1"),
)
OUTLINES = (
    Call("segment fit --model model"),
    Call("segment --write nifti,png,mp4"),
    Call("segment evaluate"),
    Call("segment fit --model model --head dense --epochs 1 -o heads/dense"),
    Call("segment evaluate --against heads/dense"),
    Call("lvef --from-masks predictions/segment -o predictions/ef_from_masks.csv"),
    Call("lvef evaluate --from-masks predictions/segment"),
    Call("robustness segment --perturb attenuation --strengths 0.5,1"),
    Call("report"),
    Call("verify ."),
)
CALLS = {
    "echonet": (
        Call("preprocess ../EchoNet-Dynamic --size 64"),
        *SCORES, *CLASSES, *FRACTIONS, *OUTLINES,
    ),
    "camus": (
        Call("preprocess ../CAMUS_public --size 64"),
        Call("embed --model long -o none.parquet", INPUT),
        Call("lvef fit --model long -o none", INPUT),
        Call("classify fit --model long -o none", INPUT),
        *SCORES, *CLASSES,
        Call("classify fit --model model --label view -o heads/view"),
        *FRACTIONS,
        Call("lvef fit --model model --probe attentive --views A4C,A2C --epochs 1 "
             "-o heads/views"),
        Call("lvef evaluate --head heads/views"),
        Call("segment fit --model long -o heads/long"),
        *OUTLINES,
    ),
}  # fmt: skip
REAL = (
    Call("embed {real} --model model", PARTIAL),
    Call("lvef {real} --head ../echonet/heads/lvef", PARTIAL),
    Call("classify {real} --head ../echonet/heads/classify", PARTIAL),
    Call("segment {real} --head ../camus/heads/segment --write nifti,png,mp4", PARTIAL),
    Call("lvef --from-masks predictions/segment -o predictions/ef_from_masks.csv"),
    Call("score --anomaly --normals ../echonet/embeddings.parquet --false-positive-rate 0.3"),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--real", type=Path, help="echo files to predict on")
    parser.add_argument("--only", choices=[*CALLS, "real"], help="one part, on what is there")
    options = parser.parse_args()
    out = options.out.absolute()
    if not out.exists():
        prepare(out)
    parts = dict(CALLS)
    if options.real is not None:
        real = shlex.quote(str(options.real.absolute()))
        parts["real"] = tuple(Call(words.format(real=real), code) for words, code in REAL)
    wrong = 0
    for name, calls in parts.items():
        if options.only in (None, name):
            print(f"\n{name}\n code right command")
            wrong += sum(not run(out / name, place, call) for place, call in enumerate(calls))
    print(f"\n{wrong} command(s) ended with another code than they should")
    return int(wrong > 0)


def prepare(out: Path) -> None:
    """Write both data sets and, into each study, the encoders."""
    config = PhantomConfig(
        seconds=(1.0, 1.2), frame_rates_hz=(40.0, 50.0), normal_share=NORMAL_SHARE
    )
    patients = [draw_patient(SEED, index, config) for index in range(30)]
    write_echonet_dynamic(out / "EchoNet-Dynamic", patients)
    write_camus(out / "CAMUS_public", patients[:20], height=144, width=120)
    for study in (*CALLS, "real"):
        for name, seconds in SECONDS.items():
            shape = ViTConfig(
                frames=FRAMES, size=64, tubelet=(2, 8, 8), dim=48, depth=2, heads=3
            )
            encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
            data = DataConfig(frames=FRAMES, size=64, seconds=seconds)
            save_model(out / study / name, encoder, data, "vjepa", {"clip_size": 64})


def run(study: Path, place: int, call: Call) -> bool:
    """Run a command in a study, keep what it said, and tell whether its code is right."""
    said = study / "said" / f"{place:02d}.txt"
    if said.exists():
        code = int(said.read_text().partition(CODE)[2].split()[0])
    else:
        code = ask(study, call, said)
    right = code == call.code
    print(f"{' ' if right else '*'}{code:4} {call.code:5} {call.words}", flush=True)
    return right


def ask(study: Path, call: Call, said: Path) -> int:
    """Run a command in a study and keep what it said."""
    found = subprocess.run(
        [sys.executable, "-m", "echocli", *shlex.split(call.words)],
        cwd=study,
        env={**os.environ, "ECHOCLI_KEY_FILE": str(study.parent / "pseudonym.key")},
        capture_output=True,
        text=True,
        check=False,
    )
    said.parent.mkdir(exist_ok=True)
    said.write_text(
        f"$ echocli {call.words}\n{found.stdout}{CODE}{found.returncode}\n{found.stderr}"
    )
    return found.returncode


if __name__ == "__main__":
    sys.exit(main())
