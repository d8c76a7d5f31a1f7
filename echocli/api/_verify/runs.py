"""Runs, models and heads: are their hashes right, and do they load?"""

from __future__ import annotations

from pathlib import Path

from echocli.api._verify.files import (
    Checked,
    counted,
    files_below,
    parsed_lines,
    text_of,
    trusted_json,
)
from echocli.checkpoint import CONFIG, load_head, load_model
from echocli.errors import EchoError
from echocli.files import DAMAGED
from echocli.run import SCHEMA as RUN_SCHEMA
from echocli.run import Run
from echocli.states import OLD_SUMS, saved_states
from echocli.study import HEAD, HEAD_ENCODER, SUMS, WEIGHTS

LOAD_ERRORS = (*DAMAGED, ArithmeticError, MemoryError, OSError, RuntimeError)
"""What a config that was edited by hand, hashes included, makes a loader raise."""


def check_weights(folder: Path, *, quick: bool) -> Checked:
    """Check a folder with the weights of a model or of a head.

    Args:
        folder: What ``save_model`` or ``save_head`` wrote.
        quick: Look only whether the files are there and can be parsed.
    """
    is_head = (folder / HEAD).is_file() or HEAD in trusted_json(folder / SUMS)
    checked = Checked(folder, "head" if is_head else "model")
    name = HEAD if is_head else WEIGHTS
    again = "Copy the whole folder again, or make it again with --overwrite."
    whole = {name, CONFIG, SUMS}
    present = set(files_below(folder))
    if is_head:  # its encoder is an output of its own
        present = {name for name in present if Path(name).parts[0] != HEAD_ENCODER}
    for missing in sorted(whole - present):
        checked.add(f"{missing}: missing", again)
    if present - whole:
        checked.add(f"{counted(len(present - whole), 'file')} too many", "Move them elsewhere.")
    configs = [trusted_json(folder / part) for part in (CONFIG, SUMS) if part in present]
    for content in configs:
        if isinstance(content, str):
            checked.add(content, again)
        elif content.get("model") == HEAD_ENCODER and not (folder / HEAD_ENCODER).is_dir():
            checked.add("the encoder that was trained with it is missing", again)
    if is_head and not checked.problems and isinstance(configs[0], dict):
        checked.figures = configs[0]
    if not checked.problems and not quick:
        try:
            if is_head:
                assert isinstance(configs[0], dict)
                load_head(folder, text_of(configs[0], "task"))
            else:
                load_model(folder)
        except EchoError as error:
            checked.add(error.problem, again)
        except LOAD_ERRORS:
            checked.add("it does not load", again)
    checked.looked_at = counted(len(present & whole), "file")
    return checked


def check_run(folder: Path, *, quick: bool) -> list[Checked]:
    """Check a run and the model in it."""
    run = Run(folder)
    checked = Checked(folder, "run")
    go_on = f"Go on from the last good state: `echocli pretrain --resume -o {folder}`."
    config = trusted_json(run.config)
    if isinstance(config, str):
        checked.add(config, "Copy the whole folder again, or start again with --overwrite.")
    elif config.get("schema") != RUN_SCHEMA:
        checked.add(f"{run.config.name}: not of the kind {RUN_SCHEMA}")
    steps = _check_metrics(run, checked)
    _check_states(run.checkpoints, checked, go_on, quick=quick)
    left = [name for name in files_below(folder) if name.endswith(".tmp")]
    if left:
        checked.add(f"{counted(len(left), 'file')} of a run that did not end", go_on)
    checked.looked_at = counted(steps, "step")
    if steps < _steps_of_model(run):
        checked.add("metrics.jsonl: it ends before the model's last step")
    if run.model.exists():
        models = [run.model, *([run.best] if run.best.exists() else [])]
        return [checked, *(check_weights(model, quick=quick) for model in models)]
    if checked.whole:
        checked.add("it has no model yet", go_on)
    return [checked]


def _check_metrics(run: Run, checked: Checked) -> int:
    """Check that each step is told once, in order; return how many there are."""
    if not run.metrics.is_file():
        return 0
    text = run.metrics.read_text(encoding="utf-8", errors="replace")
    # A crash cuts the last line; that step is done again when the run goes on.
    records = list(parsed_lines(text if text.endswith("\n") else text.rpartition("\n")[0]))
    steps = [record.get("step") if isinstance(record, dict) else None for record in records]
    if steps != list(range(len(steps))):
        checked.add("metrics.jsonl: steps are missing or out of order")
    return len(steps)


def _steps_of_model(run: Run) -> int:
    config = trusted_json(run.model / CONFIG)
    details = config.get("details") if isinstance(config, dict) else None
    steps = details.get("steps_done") if isinstance(details, dict) else None
    return steps if isinstance(steps, int) else 0


def _check_states(folder: Path, checked: Checked, go_on: str, *, quick: bool) -> None:
    """Check the states to go on from."""
    states = saved_states(folder)
    notes = {saved.note.name for saved in states} | {OLD_SUMS}
    for note in sorted(folder.glob("*.json")):
        content = trusted_json(note)
        if isinstance(content, str):
            checked.add(f"checkpoints/{content}", go_on)
        elif note.name not in notes:
            checked.add(f"checkpoints/{note.name}: not the note of a state", go_on)
    for saved in states:
        if not saved.path.is_file() or not (quick or saved.whole):
            checked.add(f"checkpoints/{saved.path.name}: changed since it was written", go_on)
    counted = {saved.path for saved in states}
    if any(path not in counted for path in folder.glob("*.pt")):
        checked.add("checkpoints: a state was not written to its end", go_on)
