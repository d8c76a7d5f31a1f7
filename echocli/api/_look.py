"""A head looks at clips: what every task does before it makes something of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._encode import clip_size, open_clips
from echocli.api._heads import left_out_of, load_pair, roles_by_head, summarise, warn_of_seen
from echocli.api._in_place import read_in_place
from echocli.api._probes import Floats, Said, Says, ask_head
from echocli.api._units import Units
from echocli.checkpoint import LoadedModel
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.study import Study

SaysOn = Callable[[Mapping[str, Any], Mapping[str, Tensor], torch.device], Says]
"""What a probe says, from its config, its state and the device that computes."""
Check = Callable[[ClipSet, NDArray[np.str_], Mapping[str, Any]], object]
"""Refuses clips, told what each one's patient was to a head, and its config."""
Pair = tuple[LoadedModel, dict[str, Tensor], dict[str, Any]]
"""An encoder, the state of a head on it and the head's config."""


class Look(NamedTuple):
    """What a head says of clips that are open."""

    config: dict[str, Any]
    """Of the head."""
    clips: ClipSet
    """Those that got a result, alone or with others."""
    units: Units
    """What they are: clips, or studies."""
    said: Floats
    """Of each unit."""
    roles: NDArray[np.str_]
    """What each unit's patient was to the head."""
    left_out: list[dict[str, str]]
    in_place: bool = False
    """Whether files were read, and no clip set."""

    @property
    def roles_of_clips(self) -> NDArray[np.str_]:
        """What each clip's patient was to the head."""
        return _roles_of(self.clips, self.config)


@contextmanager
def looking(
    task: str,
    says: SaysOn,
    source: Path | Sequence[Path],
    head: Path,
    model: Path | None,
    labels: Path | None,
    *,
    check: Check | None = None,
    device: str,
    precision: str,
    reporter: Reporter,
) -> Iterator[Look]:
    """Open clips and say what a head makes of them.

    Args:
        task: What the head is for.
        says: What its probe says.
        source: Clip set, or files and folders to be read in place.
        head: Folder of the head.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        check: Is asked before anything is encoded, which may take hours.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters, and of patients that the head knows.

    Raises:
        EchoError: If head and encoder do not belong together or no clip can be read.
    """
    pair = load_pair(head, task, model, Study())
    with open_clips(source, size=clip_size(pair[0]), labels=labels, reporter=reporter) as clips:
        if check is not None:
            check(clips, _roles_of(clips, pair[2]), pair[2])
        found = _ask(says, pair, clips, device=device, precision=precision, reporter=reporter)
        left_out = left_out_of(clips, found.left_out, source, reporter)
        seen = _as_look(found, pair[2], left_out)
        seen = seen._replace(in_place=read_in_place(clips, source))
        warn_of_seen(seen.roles_of_clips, reporter)
        yield seen


def look_again(
    task: str,
    says: SaysOn,
    clips: ClipSet,
    head: Path,
    **wishes: Any,  # noqa: ANN401
) -> Look:
    """Return what another head, with the encoder that it remembers, says of open clips.

    Args:
        task: What the head is for.
        says: What its probe says.
        clips: The clips.
        head: Folder of the head.
        wishes: Where to compute, how exactly, and who is told.

    Raises:
        EchoError: If head and encoder do not belong together or no clip can be read.
    """
    pair = load_pair(head, task, None, Study())
    return _as_look(_ask(says, pair, clips, **wishes), pair[2], [])


def _ask(
    says: SaysOn,
    pair: Pair,
    clips: ClipSet,
    **wishes: Any,  # noqa: ANN401
) -> Said:
    loaded, tensors, config = pair
    return ask_head(loaded, config, lambda place: says(config, tensors, place), clips, **wishes)


def _roles_of(clips: ClipSet, head: Mapping[str, Any]) -> NDArray[np.str_]:
    return roles_by_head(clips.manifest["patient_id"], head["patients"])


def _as_look(found: Said, config: dict[str, Any], left_out: list[dict[str, str]]) -> Look:
    roles = roles_by_head(found.units.patients, config["patients"])
    return Look(config, found.clips, found.units, found.said, roles, left_out)


def begin_summary(seen: Look, head: Path) -> dict[str, Any]:
    """Return what the summary of a probe's predictions begins with.

    Args:
        seen: What a head said.
        head: Its folder.
    """
    patients = seen.units.patients.tolist()
    told = summarise(head, seen.config, patients, seen.left_out, in_place=seen.in_place)
    if seen.units.places is None:
        return told
    views = seen.units.ids["views"].value_counts().to_dict()
    return {
        **told,
        "n_rows": len(seen.units),
        "n_clips": seen.units.clips,
        "views": seen.config["views"],
        "studies_with": {str(name): int(count) for name, count in views.items()},
    }
