"""Models and heads: folders whose hashes are written last, so that half a one is none."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from echocli.clips.contract import DataConfig
from echocli.config import Layer, resolve, to_table
from echocli.console import Reporter
from echocli.errors import EchoError
from echocli.files import atomic_path, opened_by_name, read_json, sha256_of, to_json
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.study import HEAD, SUMS, WEIGHTS, Study, called

MODEL_SCHEMA = "echocli.model/1"
HEAD_SCHEMA = "echocli.head/1"
CONFIG = "config.json"


@dataclass(frozen=True)
class LoadedModel:
    """An encoder with what it expects to see, ready to embed."""

    encoder: VisionTransformer
    data: DataConfig
    method: str
    sha256: str
    """Of the weights."""
    details: dict[str, Any]
    """How it was made."""
    folder: Path


def save_model(
    folder: Path,
    encoder: VisionTransformer,
    data: DataConfig,
    method: str,
    details: Mapping[str, Any],
) -> str:
    """Write an encoder with its input contract.

    Args:
        folder: Where; what stands there is replaced.
        encoder: The network to use after training.
        data: What it expects to see.
        method: What trained it.
        details: How it was made: numbers, words, lists and tables of them.

    Returns:
        The SHA-256 of the weights.
    """
    config = {
        "schema": MODEL_SCHEMA,
        "method": method,
        "encoder": to_table(encoder.config),
        "data": to_table(data),
        "details": dict(details),
    }
    return _save(folder, WEIGHTS, encoder.state_dict(), config)


def load_model(path: Path) -> LoadedModel:
    """Read a model and verify its hashes.

    Args:
        path: Run folder, its ``model`` folder, or ``model.safetensors``.

    Raises:
        EchoError: If it is missing, damaged, or something else.
    """
    folder = _model_folder(path)
    weights, config, sha256 = _load(folder, WEIGHTS, MODEL_SCHEMA, "model")
    encoder_config = resolve(ViTConfig(), [Layer(CONFIG, config["encoder"])]).value
    encoder = VisionTransformer(encoder_config, None)
    try:
        encoder.load_state_dict(weights, assign=True)
    except RuntimeError:
        raise EchoError(
            f"The weights in {folder} do not fit the encoder that its {CONFIG} describes.",
            "Copy the whole folder again; both files belong together.",
        ) from None
    # A model from before there was a choice saw all tokens.
    data = resolve(DataConfig(sector_tokens=False), [Layer(CONFIG, config["data"])]).value
    encoder.eval().requires_grad_(False)
    return LoadedModel(encoder, data, config["method"], sha256, config["details"], folder)


def tell_unfinished(model: LoadedModel, reporter: Reporter) -> None:
    """Warn of a model whose training was stopped on the way."""
    done, steps = (model.details.get(name) for name in ("steps_done", "steps"))
    if "probe_score" in model.details:  # of the step that a probe liked best, not of a stop
        return
    if done is not None and steps is not None and done < steps:
        reporter.warn(
            f"The model is of step {done} of {steps}: its training was stopped. `echocli "
            "pretrain --resume` goes on with it."
        )


def find_model(argument: str | Path | None, study: Study) -> Path:
    """Return where a model is.

    Args:
        argument: Run folder, model folder or file, or the name of one that this study made or
            brought in; its newest run if left out.
        study: The study folder.

    Raises:
        EchoError: If there is none; it says what was looked for and how to make one.
    """
    if argument is None:
        return study.latest_run()
    path = Path(argument)
    for candidate in (path, study.runs / path, study.models / path):
        if candidate.exists():
            return candidate
    made = [p.name for at in (study.runs, study.models) if at.is_dir() for p in at.iterdir()]
    near = get_close_matches(path.name, made, 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise EchoError(
        "There is no such model: no file or folder of that name, here or in runs/ or models/.",
        f"{hint}Run `echocli pretrain` first, or name a run folder or a model folder with "
        "--model.",
    )


def save_head(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> str:
    """Write a fitted head: its tensors and what describes them. Returns their SHA-256."""
    return _save(folder, HEAD, tensors, {"schema": HEAD_SCHEMA, **config})


def load_head(folder: Path, task: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a head and verify its hashes.

    Args:
        folder: What ``save_head`` wrote.
        task: What it must be for: ``lvef``, ``segment`` ...

    Raises:
        EchoError: If it is missing, damaged, or for another task.
    """
    if not (folder / HEAD).is_file():
        raise EchoError(
            f"There is no head for {task}: {called(folder, Study().heads / task)} holds none.",
            f"Make one with `echocli {task} fit`, or name another with --head.",
        )
    tensors, config, _ = _load(folder, HEAD, HEAD_SCHEMA, "head")
    if config.get("task") != task:
        raise EchoError(
            f"The head in {folder} is for {config.get('task')}, not for {task}.",
            f"Make one with `echocli {task} fit`, or name another with --head.",
        )
    return tensors, config


def _model_folder(path: Path) -> Path:
    if path.is_file():
        path = path.parent
    for folder in (path / "model", path):
        if (folder / WEIGHTS).is_file():
            return folder
    if (path / "checkpoints").is_dir():
        raise EchoError(
            f"The run {path} has no model yet.",
            f"Let it finish: `echocli pretrain --resume -o {path}`.",
        )
    raise EchoError(
        f"There is no model there: neither model/{WEIGHTS} nor {WEIGHTS}.",
        "Run `echocli pretrain` first, bring public weights in with `echocli models import`, "
        "or name a run folder or a model folder.",
    )


def _save(
    folder: Path, name: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> str:
    # All is written before anything gets its name, the hashes last: a full disk leaves what
    # stood there before.
    with (
        atomic_path(folder / SUMS) as sums_file,
        atomic_path(folder / CONFIG) as config_file,
        atomic_path(folder / name) as weights_file,
    ):
        # Cloned, because safetensors refuses tensors that share memory.
        whole = {key: value.detach().cpu().clone() for key, value in tensors.items()}
        _write(whole, weights_file)
        config_file.write_text(to_json(config), encoding="utf-8")
        sums = {name: sha256_of(weights_file), CONFIG: sha256_of(config_file)}
        sums_file.write_text(to_json(sums), encoding="utf-8")
    return sums[name]


def _load(
    folder: Path, name: str, schema: str, what: str
) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    damaged = EchoError(
        f"The {what} in {folder} is damaged: it does not match its hashes.",
        "Copy the whole folder again, or make it again.",
    )
    if not (folder / SUMS).is_file():
        raise EchoError(
            f"The {what} in {folder} was not written to its end: {SUMS} is missing.",
            "Copy the whole folder again, or make it again.",
        )
    try:
        sums = dict(read_json(folder / SUMS))
        for part in (name, CONFIG):
            if not (folder / part).is_file() or sha256_of(folder / part) != sums.get(part):
                raise damaged
        config = dict(read_json(folder / CONFIG))
    except (ValueError, TypeError, RecursionError):
        raise damaged from None
    if config.get("schema") != schema:
        raise EchoError(
            f"{folder} holds {config.get('schema')}, this version reads {schema}.",
            "Make it again with this version of echocli.",
        )
    try:
        return _read(folder / name), config, sums[name]
    except SafetensorError:
        raise damaged from None


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # it tells what the system said only in words
        found = re.search(r"os error (\d+)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from None


def _read(path: Path) -> dict[str, Tensor]:
    source = opened_by_name(path)
    return dict(load_file(source) if isinstance(source, Path) else load(source.getvalue()))
