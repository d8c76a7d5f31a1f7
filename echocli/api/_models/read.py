"""Files of public weights, read without running anything that is in them."""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from echocli.errors import EchoError
from echocli.files import read_json
from echocli.models.weights.base import Found

SAFETENSORS = ".safetensors"
INDEX = "model.safetensors.index.json"
WHOLE_NAMES = ("model.safetensors", "pytorch_model.bin")
"""What Hugging Face calls the weights in a folder."""
FETCH_AGAIN = "Fetch the whole folder again."
SETTINGS = {
    "config.json": "config",
    "preprocessor_config.json": "preprocessor",
    "video_preprocessor_config.json": "preprocessor",
}
"""What it lays beside them."""


def read_weights(path: Path, *, shapes_only: bool = False) -> Found:
    """Read the tensors of a file, or of a folder as Hugging Face publishes it.

    Only tensors and plain values are ever unpickled; a file that holds anything else is
    refused before it can do anything.

    Args:
        path: The file or folder.
        shapes_only: Leave the numbers where they are: tensors know their shapes only, but for
            tables of positions, which tell what clips a file is for.

    Raises:
        EchoError: If it is missing, damaged, no file of weights, or tries to run code.
    """
    files, words = weight_files(path), settings_beside(path)
    tensors: dict[str, Tensor] = {}
    for file in files:
        if file.suffix == SAFETENSORS:
            tensors |= _read_safetensors(file, shapes_only=shapes_only)
        else:
            found, more = _flatten(_unpickle(file), "")
            tensors |= {
                name: tensor.to("meta") if shapes_only and not _is_table(name) else tensor
                for name, tensor in found.items()
            }
            words |= more
    if not tensors:
        raise EchoError("The file holds no tensors.", "Name a file of weights.")
    return Found(tensors=tensors, words=words)


def weight_files(path: Path) -> list[Path]:
    """Return the files that hold the weights of a file or folder.

    Raises:
        EchoError: If there are none.
    """
    if path.is_file():
        return [path]
    if (path / INDEX).is_file():
        where = _read_object(path / INDEX).get("weight_map")
        if not isinstance(where, dict) or not where:
            raise EchoError(f"{INDEX} names no files of weights.", FETCH_AGAIN)
        return [
            path / name for name in sorted({Path(str(name)).name for name in where.values()})
        ]
    for name in WHOLE_NAMES:
        if (path / name).is_file():
            return [path / name]
    raise EchoError(
        "There are no weights there.",
        "Name a file of weights, a folder with model.safetensors and config.json, or a model "
        "of `echocli models list`.",
    )


def settings_beside(path: Path) -> dict[str, Any]:
    """Return what the settings say that Hugging Face lays beside weights.

    Returns:
        The encoder's under ``config``, the pixels' under ``preprocessor``, if they are there.

    Raises:
        EchoError: If a file of them is damaged.
    """
    if path.is_file() and path.name not in WHOLE_NAMES:
        return {}
    folder = path if path.is_dir() else path.parent
    found: dict[str, Any] = {}
    for name, kind in SETTINGS.items():
        if (folder / name).is_file():
            found[kind] = _read_object(folder / name)
    return found


def _read_object(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise EchoError(
            f"{file.name} beside the weights is damaged: it holds no JSON object.", FETCH_AGAIN
        )
    return content


def _read_safetensors(path: Path, *, shapes_only: bool) -> dict[str, Tensor]:
    try:
        if not shapes_only:
            return dict(load_file(path))
        with safe_open(path, "pt") as file:
            return {
                name: file.get_tensor(name)
                if _is_table(name)
                else torch.empty(file.get_slice(name).get_shape(), device="meta")
                for name in file.keys()  # noqa: SIM118
            }
    except (SafetensorError, OSError):
        raise EchoError("The file is damaged or missing.", "Fetch it again.") from None


def _is_table(name: str) -> bool:
    return name.rpartition(".")[2] == "pos_embed"


def _unpickle(path: Path) -> Any:  # noqa: ANN401
    refused = EchoError(
        "This is no file of tensors and plain values: it is damaged, or asks for code to "
        "be run. Nothing in it was run.",
        "Fetch it again from its authors, or ask them for safetensors.",
    )
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what it then refuses
        try:
            # Mapped, not read: of a file of 5 GB only what is used is ever in memory.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                raise refused from None
        except (pickle.UnpicklingError, EOFError, ValueError, KeyError, OSError):
            raise refused from None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, EOFError, ValueError, KeyError, RuntimeError):
            raise refused from None


def _flatten(saved: Any, before: str) -> tuple[dict[str, Tensor], dict[str, Any]]:  # noqa: ANN401
    """Return the tensors of a container by dotted name, and its plain values.

    Parts that hold more than tensors, such as an optimiser's state, are named and left out.
    """
    tensors: dict[str, Tensor] = {}
    words: dict[str, Any] = {}
    for key, value in saved.items() if isinstance(saved, Mapping) else ():
        name = f"{before}{key}"
        if isinstance(value, Tensor):
            tensors[name] = value
        elif isinstance(value, argparse.Namespace):
            words[name] = vars(value)
        elif isinstance(value, Mapping) and value and _all_tensors(value):
            tensors |= _flatten(value, f"{name}.")[0]
        elif isinstance(value, str | int | float | bool | None):
            words[name] = value
        else:
            words[name] = f"a {type(value).__name__} that is left out"
    return tensors, words


def _all_tensors(part: Mapping[Any, Any]) -> bool:
    return all(isinstance(value, Tensor) for value in part.values())
