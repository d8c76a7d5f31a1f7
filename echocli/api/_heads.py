"""A fitted head belongs to one encoder: what is checked before the two are joined."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._encode import LeftOut
from echocli.api._in_place import read_in_place, told_in_place
from echocli.api._output import whole_folder
from echocli.api._preprocess.quarantine import read_quarantine
from echocli.checkpoint import LoadedModel, load_head, load_model, save_head, save_model
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.config import to_table
from echocli.console import Reporter
from echocli.errors import EchoError
from echocli.privacy.audit import QUARANTINE_FILE
from echocli.study import HEAD_ENCODER, Study

TOLD = 20
"""Clips and files left out that are named one by one."""
SHOWN = 12
"""Digits of a hash that messages show."""


@dataclass(frozen=True)
class HeadFit:
    """A fitted head."""

    head: Path
    config: dict[str, Any]
    """What its ``config.json`` holds."""
    left_out: list[dict[str, str]]
    """What got no result: clip_id (or source_id) and reason."""


class Origin(Protocol):
    """What a head is fitted on, as its config names it."""

    @property
    def data(self) -> DataConfig:
        """What it expects to see."""

    @property
    def method(self) -> str:
        """What trained it."""

    @property
    def sha256(self) -> str:
        """Of its weights."""

    @property
    def folder(self) -> Path:
        """Where it is."""


def describe(
    task: str,
    model: Origin,
    out: Path,
    *,
    windows: int,
    seed: int,
    patients: Iterable[str],
    splits: NDArray[np.str_],
) -> dict[str, Any]:
    """Return what every head's config says: its encoder, and whom it has seen.

    Args:
        task: What it is for.
        model: The encoder that it is fitted on.
        out: Folder of the head; the path to the model is told from there.
        windows: Windows a clip, or a labelled frame.
        seed: Start of all random numbers.
        patients: Patient of each clip.
        splits: Split of each clip.
    """
    of_split: dict[str, set[str]] = {"train": set(), "val": set()}
    for patient, split in zip(patients, splits, strict=True):
        if split in of_split:
            of_split[split].add(str(patient))
    return {
        "task": task,
        "model_sha256": model.sha256,
        "model": os.path.relpath(model.folder, out),
        "method": model.method,
        "data": to_table(model.data),
        "windows": windows,
        "seed": seed,
        "patients": {split: sorted(names) for split, names in of_split.items()},
    }


def load_pair(
    head: Path, task: str, model: Path | None, study: Study
) -> tuple[LoadedModel, dict[str, Tensor], dict[str, Any]]:
    """Load a head and the encoder that it was fitted on.

    Args:
        head: Folder of the head.
        task: What it must be for.
        model: The encoder; the one that the head remembers if left out, else the newest run.
        study: Where the newest run is looked for.

    Raises:
        EchoError: If either is missing or the head was fitted on another encoder.
    """
    tensors, config = load_head(head, task)
    return encoder_of(head, config, model, study), tensors, config


def encoder_of(
    head: Path, config: Mapping[str, Any], model: Path | None, study: Study
) -> LoadedModel:
    """Load the encoder that a head was fitted on.

    Args:
        head: Folder of the head.
        config: Of the head.
        model: The encoder; the one that the head remembers if left out, else the newest run.
        study: Where the newest run is looked for.

    Raises:
        EchoError: If it is missing or the head was fitted on another encoder.
    """
    remembered, task = head / str(config["model"]), config["task"]
    if model is None:
        model = remembered if remembered.exists() else study.latest_run()
    loaded = load_model(model)
    if loaded.sha256 != config["model_sha256"]:
        raise EchoError(
            f"The head in {head} was fitted on the encoder {config['model_sha256'][:SHOWN]}, "
            f"{model} holds {loaded.sha256[:SHOWN]}: their features mean different things.",
            f"Name its own encoder with --model, or fit a new head: `echocli {task} fit "
            f"--model {model} --overwrite`.",
        )
    if to_table(loaded.data) != config["data"]:
        raise EchoError(
            f"The head in {head} was fitted on clips read in another way than {model} reads "
            "them.",
            f"Fit a new head: `echocli {task} fit --model {model} --overwrite`.",
        )
    return loaded


def write_head(
    out: Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    model: LoadedModel | None = None,
    overwrite: bool,
) -> dict[str, Any]:
    """Write a head, whole or not at all.

    Args:
        out: Its folder.
        tensors: Its state.
        config: What describes it.
        model: The encoder, if it was trained with the head: it is written beside it.
        overwrite: Replace what stands there.

    Returns:
        The config as it was written.
    """
    with whole_folder(out, overwrite=overwrite) as folder:
        own: dict[str, Any] = {}
        if model is not None:
            sha256 = save_model(
                folder / HEAD_ENCODER, model.encoder, model.data, model.method, model.details
            )
            own = {"model": HEAD_ENCODER, "model_sha256": sha256}
        save_head(folder, tensors, {**config, **own})
    return {**config, **own}


def roles_by_head(patients: Iterable[str], known: Mapping[str, list[str]]) -> NDArray[np.str_]:
    """Return what each row's patient was to a head: ``train``, ``val`` or ``test`` (neither).

    Args:
        patients: Patient of each row.
        known: Patients of the head by split.
    """
    role = {name: split for split, names in known.items() for name in names}
    return np.array([role.get(str(patient), "test") for patient in patients], dtype=np.str_)


def warn_of_seen(roles: Iterable[str], reporter: Reporter) -> None:
    """Say how many clips are of patients that the head was fitted on.

    Args:
        roles: What each clip's patient was to the head.
        reporter: Is warned.
    """
    listed = list(roles)
    if seen := listed.count("train"):
        reporter.warn(
            f"{seen} of {len(listed)} clip(s) are of patients that this head was fitted on; "
            "they are marked train and left out of the figures."
        )


def summarise(
    head: Path,
    config: Mapping[str, Any],
    patients: Sequence[str],
    left_out: list[dict[str, str]],
    *,
    in_place: bool,
) -> dict[str, Any]:
    """Return what every summary of predictions begins with.

    Args:
        head: Folder of the head.
        config: Of the head.
        patients: Patient of each clip that got a result.
        left_out: What got none.
        in_place: Whether files were read, and no clip set.
    """
    return {
        "head": str(head),
        "model_sha256": config["model_sha256"],
        "n_clips": len(patients),
        "n_patients": len(set(patients)),
        "left_out": left_out,
        **told_in_place(in_place),
    }


def left_out_of(
    clips: ClipSet,
    left_out: Iterable[LeftOut],
    source: Path | Sequence[Path],
    reporter: Reporter,
) -> list[dict[str, str]]:
    """Return and tell what got no result: clips without a window, and refused files.

    Args:
        clips: The clips that were read.
        left_out: Those of them that cannot fill a window.
        source: What the user named; a clip set's own quarantine is no news.
        reporter: Is told each of them, up to a number.
    """
    names = clips.manifest["clip_id"]
    found = [{"clip_id": str(names.iloc[c.row]), "reason": c.reason} for c in left_out]
    if read_in_place(clips, source):
        found += [
            {"source_id": q.source_id, "reason": f"file {q.position}: {q.reason}; {q.remedy}"}
            for q in read_quarantine(clips.folder / QUARANTINE_FILE)
        ]
    for entry in found[:TOLD]:
        name = f"clip {entry['clip_id']}: " if "clip_id" in entry else ""
        reporter.warn(f"left out, {name}{entry['reason']}")
    if len(found) > TOLD:
        reporter.warn(f"and {len(found) - TOLD} more left out")
    return found
