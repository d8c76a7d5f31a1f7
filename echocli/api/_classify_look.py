"""A head that looks at clips: what it says of each, and what is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._classes import Classes, Words, known_words
from echocli.api._classify_figures import NO_FIGURES, Codes, Floats, Reading, figures
from echocli.api._classify_probes import say_of_clips
from echocli.api._classify_rows import patient_rows, prediction_table
from echocli.api._encode import clip_size, open_clips
from echocli.api._heads import (
    left_out_of,
    load_pair,
    roles_by_head,
    summarise,
    warn_of_seen,
)
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.errors import EchoError
from echocli.study import Study

TASK = "classify"


class Seen(NamedTuple):
    """What a head says of clips that are open."""

    config: dict[str, Any]
    """Of the head."""
    classes: Classes
    reading: Reading
    clips: ClipSet
    """Those that got a result."""
    logits: Floats
    probabilities: Floats
    words: Words
    codes: Codes
    roles: NDArray[np.str_]
    left_out: list[dict[str, str]]


@contextmanager
def looking(
    source: Path | Sequence[Path],
    head: Path,
    model: Path | None,
    labels: Path | None,
    *,
    device: str,
    precision: str,
    reporter: Reporter,
) -> Iterator[Seen]:
    """Open clips and say what a head makes of them.

    Args:
        source: Clip set, or files and folders to be read in place.
        head: Folder of the head.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters, and of patients that the head knows.

    Raises:
        EchoError: If head and encoder do not belong together or no clip can be read.
    """
    loaded, tensors, config = load_pair(head, TASK, model, Study())
    classes, reading = Classes.from_config(config), Reading.from_config(config)
    with open_clips(source, size=clip_size(loaded), labels=labels, reporter=reporter) as clips:
        said = say_of_clips(
            loaded,
            tensors,
            config,
            clips,
            device=device,
            precision=precision,
            reporter=reporter,
        )
        left_out = left_out_of(clips, said.left_out, source, reporter)
        chosen = clips.subset(said.rows)
        words = known_words(chosen.manifest, classes.label)
        roles = roles_by_head(chosen.manifest["patient_id"], config["patients"])
        warn_of_seen(roles, reporter)
        yield Seen(
            config,
            classes,
            reading,
            chosen,
            said.logits,
            reading.scaling(said.logits),
            words,
            classes.codes(words),
            roles,
            left_out,
        )


def tell(seen: Seen, head: Path, draws: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows and the summary of predictions.

    Args:
        seen: What a head said.
        head: Its folder.
        draws: Bootstrap samples.
    """
    manifest, owners = seen.clips.manifest, owners_of(seen.clips.manifest)
    table = prediction_table(
        manifest, seen.probabilities, seen.words, seen.classes, seen.reading, seen.roles
    )
    chosen = (seen.codes >= 0) & (seen.roles == "test")
    strange = Counter(w for w, c in zip(seen.words, seen.codes, strict=True) if w and c < 0)
    summary = {
        **summarise(head, seen.config, owners.tolist(), seen.left_out),
        **seen.classes.as_json(),
        "threshold": seen.config["threshold"],
        "calibration": seen.config["calibration"],
        "unlabelled": sum(word is None for word in seen.words),
        "of_other_classes": dict(strange),
        "patients": patient_rows(
            seen.probabilities, seen.codes, owners, seen.classes, seen.reading, seen.roles
        ),
        **figures_of(
            seen.config, seen.logits[chosen], seen.codes[chosen], owners[chosen], draws
        ),
    }
    return table, summary


def figures_of(
    config: dict[str, Any],
    logits: Floats,
    codes: Codes,
    patients: NDArray[np.str_],
    draws: int,
) -> dict[str, Any]:
    """Return the figures of labelled clips of patients that a head never saw.

    Args:
        config: Of the head.
        logits: Of the clips.
        codes: Their classes.
        patients: Their patients.
        draws: Bootstrap samples.
    """
    if not len(codes):
        return NO_FIGURES
    classes, reading = Classes.from_config(config), Reading.from_config(config)
    of_class = config["n"]["train"]["clips_of"]
    return figures(
        reading.scaling(logits),
        codes,
        patients,
        reading,
        classes,
        commonest=int(np.argmax([of_class[name] for name in classes.names])),
        seed=config["seed"],
        draws=draws,
    )


def check_test(words: Words, clips: int, classes: Classes) -> None:
    """Refuse labels that nothing can be judged by.

    Raises:
        EchoError: If there is none, or all are the same.
    """
    there = sorted(set(words.tolist()))
    if not there:
        raise EchoError(
            f"None of the {clips} clip(s) is labelled with {classes.label} and of a patient "
            "that the head was not fitted on.",
            "Give clips of other patients, made with `echocli preprocess --labels labels.csv`.",
        )
    if len(there) == 1:
        raise EchoError(
            f"Every labelled clip of an unseen patient has {classes.label} = {there[0]}: "
            "nothing can be told apart.",
            "Give clips of another class too.",
        )


def owners_of(table: pd.DataFrame) -> NDArray[np.str_]:
    """Return the patient of each row."""
    return table["patient_id"].astype(str).to_numpy(dtype=np.str_)
