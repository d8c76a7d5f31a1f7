"""What a pretraining run writes down about itself, and what it checks before going on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import echocli
from echocli.api._pretrain.job import Job
from echocli.api._pretrain.settings import Settings
from echocli.checkpoint import load_model, save_model
from echocli.config import Layer, differences, resolve, to_table
from echocli.console import Reporter
from echocli.errors import EchoError, SpaceError, UsageError
from echocli.models.memory import MOMENTS
from echocli.run import Run
from echocli.states import Saved, best_state

ENTRY = 230
"""Bytes of a tensor in a state's file, beside its numbers (measured)."""
CHANGEABLE = ("watch.", "encoder.recompute")
"""How settings begin that may change while a run goes on: they decide what is saved, looked at
and told, not what is learnt."""


def details_of(job: Job) -> dict[str, Any]:
    """Return what is saved with the settings: versions, machine, clips."""
    used = job.clips.manifest.iloc[job.rows]
    digest = hashlib.sha256()
    for clip_id, pixels in zip(used["clip_id"], used["pixels_sha256"], strict=True):
        digest.update(f"{clip_id} {pixels}\n".encode())
    return {
        "echocli": echocli.__version__,
        "torch": torch.__version__,
        "device": job.device.description,
        "precision": job.device.precision,
        "parameters": count_numbers(p for p in job.method.parameters() if p.requires_grad),
        "clips": {
            "count": len(used),
            "patients": job.patients,
            "left_out": left_out_of(job),
            "height": int(used["height"].iloc[0]),
            "sha256": digest.hexdigest(),
        },
    }


def left_out_of(job: Job) -> dict[str, int]:
    """Return how many clips the first stage leaves out, by reason."""
    return {str(reason): n for reason, n in job.stages[0][1].left_out.items()}


def check_same(
    run: Run, settings: Settings, details: dict[str, Any], reporter: Reporter
) -> None:
    """Refuse to go on with other settings that change what is learnt, or with other clips.

    Raises:
        UsageError: With what differs.
    """
    saved = run.read_config()
    # Settings that are younger than the run have their defaults, which change nothing.
    before = resolve(type(settings)(), [Layer(str(run.folder), saved["settings"])]).value
    changed = differences(to_table(before), to_table(settings))
    if any(not change.startswith(CHANGEABLE) for change in changed):
        raise UsageError(
            f"{run.folder} was begun with other settings: {'; '.join(changed)}.",
            "Go on with the old ones by --resume alone, choose another folder with -o, or "
            "begin anew with --overwrite.",
        )
    if saved["clips"]["sha256"] != details["clips"]["sha256"]:
        raise UsageError(
            f"{run.folder} was begun with other clips ({saved['clips']['count']} then, "
            f"{details['clips']['count']} now).",
            "Name the same clip set, choose another folder with -o, or begin anew with "
            "--overwrite.",
        )
    if changed:
        reporter.say(f"this run goes on with other settings: {'; '.join(changed)}")
        run.change(to_table(settings))
    moved = [
        f"{name} was {saved.get(name)}, now {details[name]}"
        for name in ("torch", "device", "precision")
        if saved.get(name) != details[name]
    ]
    if moved:
        reporter.warn(
            f"This run was begun elsewhere ({'; '.join(moved)}): its numbers will differ a "
            "little from a straight run."
        )


def check_space(run: Run, job: Job) -> None:
    """Refuse to begin what cannot be saved.

    Raises:
        SpaceError: If the disk has no room for the states.
    """
    # Two states are kept, the best one beside them, and another is being written.
    states = 3 + (job.settings.watch.probe is not None)
    needed, free = states * state_bytes(job), shutil.disk_usage(run.folder).free
    if free < needed:
        raise SpaceError(
            f"The states of this run need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free.",
            "Free some space, or choose a folder on another disk with -o.",
        )


def export_model(job: Job, run: Run, done: int, loss: float | None) -> None:
    """Write the network to use, with its input contract."""
    _export(job, run, run.model, {"steps_done": done, "loss": loss})


def export_best(job: Job, run: Run, *, anew: bool) -> Saved | None:
    """Write the network of the state that the probe liked best, beside the last one.

    Args:
        job: It is left with the weights of that state.
        run: Where the states are.
        anew: Whether states were added since it was written.

    Returns:
        The state; ``None`` if no probe was asked in a step that was saved.
    """
    with job.ranks.leader_first():  # who writes the states is done with the last of them
        best = best_state(run.checkpoints)
    if best is None or (not anew and is_exported(run.best, best.step)):
        return best
    if not best.whole:
        raise EchoError(
            f"The best checkpoint by the probe ({best.path.name}) is damaged. The model of the "
            f"last step in {run.model} is whole.",
            f"Remove {best.note}, and run the same command again.",
        )
    job.restore(best.read())
    told = {"steps_done": best.step, "loss": None, "probe_score": best.score}
    _export(job, run, run.best, told)
    return best


def _export(job: Job, run: Run, folder: Path, told: dict[str, Any]) -> None:
    saved = run.read_config()
    details = {
        **{key: saved[key] for key in ("echocli", "torch", "precision", "clips")},
        "preset": job.settings.preset,
        **told,
        "steps": job.settings.optim.steps,
        "clip_size": saved["clips"]["height"],
        "settings": saved["settings"],
        **({"init": saved["init"]} if saved.get("init") else {}),
    }
    encoder = job.exported()
    if run.writes:
        save_model(folder, encoder, job.stage.data, job.settings.method, details)


def is_exported(folder: Path, done: int) -> bool:
    """Return whether a model is whole, and that of so many steps."""
    try:
        return load_model(folder).details.get("steps_done") == done
    except EchoError:  # none yet, or what a crash left of it
        return False


def state_bytes(job: Job) -> int:
    """Return the size of one saved state."""
    trained = [p for p in job.method.parameters() if p.requires_grad]
    once = {name for name, _ in job.method.named_parameters()}
    every = {name for name, _ in job.method.named_parameters(remove_duplicate=False)}
    kept = [t for name, t in job.method.state_dict().items() if name not in every - once]
    numbers = sum(int(t.nbytes) for t in kept) + MOMENTS * sum(p.nbytes for p in trained)
    # Each trained tensor has its moments and its count of steps.
    return numbers + ENTRY * (len(kept) + (MOMENTS + 1) * len(trained))


def count_numbers(parameters: Iterator[torch.nn.Parameter]) -> int:
    """Return how many numbers some parameters hold."""
    return sum(parameter.numel() for parameter in parameters)
