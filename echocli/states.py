"""States of a run: all it needs to go on, one of them whole whenever the process dies.

A state is ``step-00000400.pt``, and it counts only once ``step-00000400.json`` stands beside
it, which is written last and holds its hash. Nothing that counts is ever written over: the new
state gets its name first, then those that are no longer needed go.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echocli.errors import EchoError, writing
from echocli.files import DAMAGED, atomic_path, read_json, sha256_of, write_json

SCHEMA = "echocli.state/1"
KEPT = 2
"""Newest states that stay; the one with the best score stays beside them."""
OLD_NAMES = ("resume.pt", "resume-previous.pt")
"""The newest state and the one before, of runs from before states were named by step."""
OLD_SUMS = "SHA256SUMS.json"


@dataclass(frozen=True)
class Saved:
    """A state that was written to its end."""

    path: Path
    step: int
    """Steps that are done in it."""
    retry: int
    """How many times the run had gone back to an earlier state and on more gently."""
    sha256: tuple[str, ...]
    """The hash of the file is one of these."""
    score: float | None = None
    """What the encoder of this state is worth, the higher the better, if that was measured."""

    @property
    def note(self) -> Path:
        """The file that makes the state count."""
        return self.path.with_suffix(".json")

    @property
    def whole(self) -> bool:
        """Whether the file is as it was written."""
        try:
            return sha256_of(self.path) in self.sha256
        except OSError:  # gone, or the disk cannot read it any more
            return False

    def read(self) -> dict[str, Any]:
        """Return the state; tensors alone, no code, are read."""
        return dict(torch.load(self.path, map_location="cpu", weights_only=True))


def save_state(folder: Path, state: Mapping[str, Any], score: float | None = None) -> None:
    """Write the state of a run, then remove those that are no longer needed.

    Args:
        folder: Where the states of the run are.
        state: At least ``step``, and ``retry`` if the run ever went back.
        score: What this state is worth, the higher the better; the best one is kept.

    Raises:
        SpaceError: If it does not fit; the states before are whole.
        MachineError: If it cannot be written for another reason.
        EchoError: If it holds what is no number.
    """
    step, retry = int(state["step"]), int(state.get("retry", 0))
    name = f"retry-{retry}-step-{step:08}" if retry else f"step-{step:08}"
    path = folder / f"{name}.pt"
    _refuse_broken(state, folder)
    with writing("A checkpoint", folder):
        path.with_suffix(".json").unlink(missing_ok=True)  # of a damaged one that is done again
        with atomic_path(path) as temporary:
            _write(state, temporary)
            saved = Saved(path, step, retry, (sha256_of(temporary),), score)
        note = {"schema": SCHEMA, **asdict(saved)}
        del note["path"]
        write_json(saved.note, note)
        _forget_others(folder)


def load_state(folder: Path, until: int | None = None) -> tuple[dict[str, Any], list[Saved]]:
    """Read the newest whole state of a run.

    Args:
        folder: Where the states of the run are.
        until: Pass over states in which more steps are done.

    Returns:
        The state, and the damaged ones that had to be passed over.

    Raises:
        EchoError: If there is no whole one.
    """
    damaged: list[Saved] = []
    for saved in saved_states(folder):
        if until is not None and saved.step > until:
            continue
        if saved.whole:
            return saved.read(), damaged
        damaged.append(saved)
    raise EchoError(
        f"{folder} holds no whole checkpoint to go on from.",
        "Start again: run the same command with --overwrite.",
    )


def has_state(folder: Path) -> bool:
    """Return whether a state was ever saved."""
    return bool(saved_states(folder))


def saved_states(folder: Path) -> list[Saved]:
    """Return the states that were written to their ends, the newest first."""
    found = [saved for note in folder.glob("*step-*.json") if (saved := _read_note(note))]
    found.sort(key=lambda saved: (saved.retry, saved.step), reverse=True)
    return [*found, *_old_states(folder)]


def best_state(folder: Path) -> Saved | None:
    """Return the state with the best score, the newest of equals; ``None`` without scores."""
    scored = [(saved.score, saved) for saved in saved_states(folder) if saved.score is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def remove(saved: Saved) -> None:
    """Remove a state; from the first moment on it does not count."""
    saved.note.unlink(missing_ok=True)
    saved.path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what a crash left half written."""
    counted = {saved.path for saved in saved_states(folder)}
    for path in [*folder.glob(".*.tmp"), *folder.glob("*step-*.pt")]:
        if path not in counted:
            path.unlink()


def snapshot(value: Any, copies: dict[Any, Tensor] | None = None) -> Any:  # noqa: ANN401
    """Return a copy of a state on the CPU that training does not change any more.

    Tensors that share memory share it in the copy too.
    """
    copies = {} if copies is None else copies
    if isinstance(value, Tensor):
        key = (value.data_ptr(), value.dtype, value.shape, value.stride(), value.device)
        if key not in copies:
            copies[key] = value.detach().to("cpu", copy=True)
        return copies[key]
    if isinstance(value, Mapping):
        return {name: snapshot(inner, copies) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(snapshot(inner, copies) for inner in value)
    return value


def _write(state: Mapping[str, Any], path: Path) -> None:
    try:
        torch.save(dict(state), path)
    except RuntimeError as error:
        # How PyTorch says that a file could not be written to its end.
        if "PytorchStreamWriter" in str(error) or "unexpected pos" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        raise


def _refuse_broken(state: Mapping[str, Any], folder: Path) -> None:
    """Let no state that has stopped being numbers take the place of a good one."""
    for name, tensor in _tensors(state, ""):
        if tensor.is_floating_point() and tensor.numel():
            low, high = tensor.aminmax()  # both are NaN if one number is
            if not (low.isfinite() and high.isfinite()):
                raise EchoError(
                    f"{name} holds what is no number after step {state['step']}. The last good "
                    f"checkpoint in {folder} is whole.",
                    "Run the same command again; if it happens again, begin anew with a lower "
                    "optim.lr.",
                )


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:  # noqa: ANN401
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _tensors(inner, f"{name}.{key}" if name else str(key))


def _forget_others(folder: Path) -> None:
    states, best = saved_states(folder), best_state(folder)
    for saved in states[KEPT:]:
        if saved != best:
            remove(saved)
    if not any(saved.path.name in OLD_NAMES for saved in states[:KEPT]):
        (folder / OLD_SUMS).unlink(missing_ok=True)


def _read_note(path: Path) -> Saved | None:
    try:
        note = read_json(path)
        if note["schema"] != SCHEMA:
            return None
        hashes, score = tuple(map(str, note["sha256"])), note["score"]
        step, retry = int(note["step"]), int(note["retry"])
        score = None if score is None else float(score)
        return Saved(path.with_suffix(".pt"), step, retry, hashes, score)
    except (OSError, *DAMAGED):  # the state does not count
        return None


def _old_states(folder: Path) -> list[Saved]:
    try:
        known = tuple(read_json(folder / OLD_SUMS)["sha256"])
    except (OSError, *DAMAGED):
        return []
    present = [folder / name for name in OLD_NAMES if (folder / name).is_file()]
    return [Saved(path, -1 - age, 0, known) for age, path in enumerate(present)]
