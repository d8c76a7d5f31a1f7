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

from echocli.api import _look
from echocli.api._classes import Classes, Words, known_words
from echocli.api._classify.figures import NO_FIGURES, Codes, Floats, Reading, figures
from echocli.api._classify.probes import says
from echocli.api._classify.rows import patient_rows, prediction_table
from echocli.api._look import Look, begin_summary
from echocli.errors import EchoError

TASK = "classify"


class Seen(NamedTuple):
    """What a head says of clips that are open."""

    look: Look
    classes: Classes
    reading: Reading
    probabilities: Floats
    words: Words
    """What each clip, or study, truly is, where it is known."""
    codes: Codes

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Those of a known class, of patients that the head never saw."""
        return np.asarray((self.codes >= 0) & (self.look.roles == "test"))


@contextmanager
def looking(
    source: Path | Sequence[Path],
    head: Path,
    model: Path | None,
    labels: Path | None,
    **wishes: Any,  # noqa: ANN401
) -> Iterator[Seen]:
    """Open clips and say what a head makes of them; see ``_look.looking``.

    Args:
        source: Clip set, or files and folders to be read in place.
        head: Folder of the head.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        wishes: Where to compute, how exactly, and who is told.

    Raises:
        EchoError: If head and encoder do not belong together or no clip can be read.
    """
    with _look.looking(TASK, says, source, head, model, labels, **wishes) as look:
        classes, reading = Classes.from_config(look.config), Reading.from_config(look.config)
        words = look.units.one_of(known_words(look.clips.manifest, classes.label))
        yield Seen(
            look, classes, reading, reading.scaling(look.said), words, classes.codes(words)
        )


def tell(seen: Seen, head: Path, draws: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows and the summary of predictions.

    Args:
        seen: What a head said.
        head: Its folder.
        draws: Bootstrap samples.
    """
    look, owners = seen.look, seen.look.units.patients
    table = prediction_table(
        look.units.ids, seen.probabilities, seen.words, seen.classes, seen.reading, look.roles
    )
    chosen = seen.tested
    strange = Counter(w for w, c in zip(seen.words, seen.codes, strict=True) if w and c < 0)
    summary = {
        **begin_summary(look, head),
        **seen.classes.as_json(),
        "threshold": look.config["threshold"],
        "calibration": look.config["calibration"],
        "unlabelled": sum(word is None for word in seen.words),
        "of_other_classes": dict(strange),
        "patients": patient_rows(
            seen.probabilities, seen.codes, owners, seen.classes, seen.reading, look.roles
        ),
        **figures_of(look.config, look.said[chosen], seen.codes[chosen], owners[chosen], draws),
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
        logits: Of the clips, or studies.
        codes: Their classes.
        patients: Their patients.
        draws: Bootstrap samples.
    """
    if not len(codes):
        return NO_FIGURES
    classes, reading = Classes.from_config(config), Reading.from_config(config)
    of_class = config["n"]["train"]["clips_of"]
    found = figures(
        reading.scaling(logits),
        codes,
        patients,
        reading,
        classes,
        commonest=int(np.argmax([of_class[name] for name in classes.names])),
        seed=config["seed"],
        draws=draws,
    )
    if "views" in config:
        found["test"]["studies"] = found["test"].pop("clips")
    return found


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
            "Give clips of other patients, made with `echocli preprocess --labels labels.csv`; "
            "beside files, --labels labels.csv is enough.",
        )
    if len(there) == 1:
        raise EchoError(
            f"Every labelled clip of an unseen patient has {classes.label} = {there[0]}: "
            "nothing can be told apart.",
            "Give clips of another class too.",
        )
