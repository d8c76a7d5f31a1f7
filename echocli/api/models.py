"""Public weights: which there are, what a file is, and how it becomes a model of ours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import echocli
from echocli.api._models.catalogue import CATALOGUE, Public, known, names
from echocli.api._models.convert import Choice, Description, contract, convert, describe_found
from echocli.api._models.fetch import fetch
from echocli.api._models.read import read_weights, weight_files
from echocli.api._models.timm import PREFIX, read_timm
from echocli.api._output import refuse_to_replace_folder, whole_folder
from echocli.checkpoint import CONFIG, MODEL_SCHEMA, load_model, save_model
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError, UsageError
from echocli.files import DAMAGED, read_json, sha256_of
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.models.weights.base import Found
from echocli.study import SUMS, WEIGHTS, Study


@dataclass(frozen=True)
class ImportResult:
    """Public weights as a model of ours."""

    model: Path
    sha256: str
    """Of the file that was read; empty for timm's models."""
    description: Description


@dataclass(frozen=True)
class Verified:
    """Weights that are whole, and of a known format."""

    path: Path
    what: str
    tensors: int
    sha256: str


def known_models() -> tuple[Public, ...]:
    """Return the public checkpoints that we know."""
    return CATALOGUE


def describe(argument: str, choice: Choice | None = None) -> Description:
    """Say what a file of weights is, or a model of ours.

    Args:
        argument: File, folder, or name of a model of this study.
        choice: What the user says of it.

    Raises:
        EchoError: If it is missing, damaged, or of no known format.
    """
    path = _existing(argument)
    ours = _ours(path)
    if ours is not None:
        return _describe_ours(ours)
    found = read_weights(path, shapes_only=True)
    converted, name = convert(found, choice or Choice())
    return describe_found(converted, found, name, known(argument), choice or Choice())


def verify(argument: str, choice: Choice | None = None, *, sha256: str = "") -> Verified:
    """Check that weights are whole: their hashes, or every name and shape of their format.

    Args:
        argument: File, folder, or name of a model of this study.
        choice: What the user says of it.
        sha256: Hash that the file must have.

    Raises:
        EchoError: If anything is missing, too much, damaged, or another hash.
    """
    path = _existing(argument)
    ours = _ours(path)
    if ours is not None:
        model = load_model(ours)
        _demand(sha256, model.sha256)
        return Verified(ours, "echocli", len(model.encoder.state_dict()), model.sha256)
    digest = _hash(path)
    _demand(sha256, digest)
    found = read_weights(path)
    _, name = convert(found, choice or Choice())
    return Verified(path, name, len(found.tensors), digest)


def import_model(
    argument: str,
    *,
    out: Path | None = None,
    choice: Choice | None = None,
    download: bool = False,
    sha256: str = "",
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> ImportResult:
    """Turn public weights into a model that every command understands.

    Args:
        argument: File or folder, a name of ``known_models``, or ``timm:NAME``.
        out: Folder of the model; ``models/NAME`` of the study if left out.
        choice: What the user says of the weights.
        download: Fetch what is not here.
        sha256: Hash that the file must have.
        overwrite: Replace what stands at ``out``.
        reporter: Who watches.

    Raises:
        UsageError: If a wish makes no sense, or a download was not asked for.
        EchoError: If a file is missing, damaged, of no known format, or a name in it is
            missing, unexpected or of another shape.
    """
    chosen, public = choice or Choice(), known(argument)
    folder = out or Study().models / (public.name if public else _stem(argument))
    refuse_to_replace_folder(folder, overwrite=overwrite)
    found, digest = _obtain(argument, public, download, sha256, reporter)
    converted, name = convert(found, chosen, public)
    description = describe_found(converted, found, name, public, chosen)
    data = contract(converted, chosen)
    encoder = VisionTransformer(converted.config, None)
    encoder.load_state_dict(converted.weights, assign=True)
    details = {
        "echocli": echocli.__version__,
        "clip_size": data.size,
        "imported": {
            "format": name,
            "branch": converted.branch,
            "sha256": digest,
            "tensors": len(found.tensors),
            "left_out": description.left_out,
            "licence": description.licence,
            "source": description.source,
            "trained_on": description.trained_on,
            "warning": description.warning,
        },
    }
    with whole_folder(folder, overwrite=overwrite) as new:
        save_model(new, encoder, data, name, details)
    return ImportResult(folder, digest, description)


def _obtain(
    argument: str, public: Public | None, download: bool, sha256: str, reporter: Reporter
) -> tuple[Found, str]:
    """Return what is in the weights that a user means, and their hash."""
    path = Path(argument)
    if not path.exists():
        if not download:
            raise _not_here(argument, public)
        if argument.startswith(PREFIX):
            return read_timm(argument.removeprefix(PREFIX)), ""
        if public is None:
            raise _not_here(argument, public)
        path = fetch(public, Study().models / "downloads", sha256, reporter)
    digest = _hash(path)
    _demand(sha256, digest)
    return read_weights(path), digest


def _not_here(argument: str, public: Public | None) -> UsageError:
    if public is not None or argument.startswith(PREFIX):
        where = (
            f"fetch {public.source} yourself and import the file" if public else "give a file"
        )
        return UsageError(
            f"{argument} is not on this machine, and nothing is downloaded unasked.",
            f"Add --download, or {where}.",
        )
    near = get_close_matches(argument, names(), 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return UsageError(
        "There is no such file, and no public model of that name.",
        f"{hint}See `echocli models list`.",
    )


def _describe_ours(folder: Path) -> Description:
    try:
        return _described(read_json(folder / CONFIG))
    except (*DAMAGED, OSError, RuntimeError):
        raise EchoError(
            f"{CONFIG} of the model is damaged.", "Copy the whole folder again."
        ) from None


def _described(config: dict[str, Any]) -> Description:
    if config.get("schema") != MODEL_SCHEMA:
        raise EchoError("That folder holds no model of ours.", "Name a model folder.")
    imported = config["details"].get("imported", {})
    shape = VisionTransformer(ViTConfig(**_tuples(config["encoder"])), None).state_dict()
    return Description(
        format=config["method"],
        label="echocli",
        branch=imported.get("branch", "encoder"),
        tensors=len(shape),
        parameters=sum(tensor.numel() for tensor in shape.values()),
        encoder=config["encoder"],
        data=config["data"],
        left_out=imported.get("left_out", {}),
        licence=imported.get("licence", "yours"),
        source=imported.get("source", "trained here"),
        trained_on=imported.get("trained_on", "the clips that its config.json names by hash"),
        warning=imported.get("warning", ""),
    )


def _tuples(table: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in table.items()}


def _existing(argument: str) -> Path:
    for path in (Path(argument), Study().models / argument, Study().runs / argument):
        if path.exists():
            return path
    raise _not_here(argument, known(argument))


def _ours(path: Path) -> Path | None:
    """Return the folder of a model of ours; ``None`` if the path is something else."""
    folder = path.parent if path.is_file() and path.name == WEIGHTS else path
    for place in (folder / "model", folder):
        if (place / SUMS).is_file() and (place / WEIGHTS).is_file():
            return place
    return None


def _stem(argument: str) -> str:
    """Return what to call the model of a file."""
    if argument.startswith(PREFIX):
        return argument.removeprefix(PREFIX)
    path = Path(argument)
    return path.parent.name if path.name == WEIGHTS else path.name.partition(".")[0]


def _hash(path: Path) -> str:
    """Return the hash of a file of weights; of several, the hash of their hashes."""
    files = weight_files(path)
    if len(files) == 1:
        return sha256_of(files[0])
    joined = "".join(sha256_of(file) for file in files)
    return hashlib.sha256(joined.encode()).hexdigest()


def _demand(wanted: str, found: str) -> None:
    if wanted and wanted.lower() != found:
        raise EchoError(
            f"The file has the SHA-256 {found}, not the one that was asked for.",
            "Fetch it again from its authors.",
        )
