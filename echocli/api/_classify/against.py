"""Two heads that tell the same classes apart, compared on patients that neither has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from echocli.api._classes import Classes
from echocli.api._classify.figures import Codes, Floats, Owners, Reading, by_patient
from echocli.api._classify.look import TASK, Seen
from echocli.api._classify.probes import says
from echocli.api._compare import compare_aurocs, compare_metrics
from echocli.api._look import look_again
from echocli.api._look_against import counts_of, shared_units
from echocli.errors import EchoError
from echocli.statistics.multiclass import class_metrics

NOT_DRAWN = ("auroc", "calibration_slope", "calibration_intercept")
"""Figures that no bootstrap compares: the area has DeLong's test, and of two slopes the better
is the one nearer to 1."""


class Answers(NamedTuple):
    """What both heads say of the same rows, and what these truly are."""

    codes: Codes
    owners: Owners
    said: tuple[Floats, Floats]
    """Probabilities ``(rows, classes)``, ours first."""
    called: tuple[Codes, Codes]


def check_classes(head: Mapping[str, Any], theirs: Mapping[str, Any], other: Path) -> None:
    """Refuse a head that tells other classes apart.

    Args:
        head: Config of a head.
        theirs: Config of the other.
        other: Folder of the other.

    Raises:
        EchoError: If it does.
    """
    mine, told = Classes.from_config(head), Classes.from_config(theirs)
    if (told.label, set(told.names)) != (mine.label, set(mine.names)):
        raise EchoError(
            f"{other} tells {_of(told)} apart, this head {_of(mine)}.",
            "Compare heads of the same label and classes.",
        )


def figures_against(
    seen: Seen,
    other: Path,
    draws: int,
    **wishes: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Return how well two heads tell classes apart, clip by clip and patient by patient.

    Each is read as it was fitted: with its own calibration and its own threshold.

    Args:
        seen: What the head says of clips that are open.
        other: Folder of the other head, whose encoder is the one that it remembers.
        draws: Bootstrap samples.
        wishes: Where to compute, how exactly, and who is told.

    Raises:
        EchoError: If the other head saw all of these patients, or cannot read their clips.
    """
    again = look_again(TASK, says, seen.look.clips, other, **wishes)
    classes = Classes.from_config(again.config)
    rows = shared_units(seen.look, seen.tested, again, other)
    reading = Reading.from_config(again.config)
    order = [classes.names.index(name) for name in seen.classes.names]
    said = reading.scaling(again.said)[rows.theirs][:, order]
    owners = seen.look.units.patients[rows.ours]
    codes, ours = seen.codes[rows.ours], seen.probabilities[rows.ours]
    how = {"seed": seen.look.config["seed"], "draws": draws}
    counts = counts_of(seen.look, rows.ours)
    unit = next(iter(counts))
    found: dict[str, dict[str, Any]] = {}
    both = ((ours, seen.reading), (said, reading))
    for of, one in _levels(unit, codes, owners, both, seen.classes.positive):
        for figure, of_what, comparison in _compared(of, one, seen.classes, how):
            found.setdefault(figure, {})[of_what] = comparison
    return {"head": str(other), "test": counts, "metrics": found}


def _levels(
    unit: str,
    codes: Codes,
    owners: Owners,
    both: tuple[tuple[Floats, Reading], tuple[Floats, Reading]],
    positive: int | None,
) -> Iterator[tuple[str, Answers]]:
    """Yield the answers clip by clip, and patient by patient where these are fewer."""
    said = [probabilities for probabilities, _ in both]
    called = [reading.calls(p, positive, patient=False) for p, reading in both]
    yield unit, Answers(codes, owners, (said[0], said[1]), (called[0], called[1]))
    of_patients = [by_patient(p, codes, owners) for p in said]
    names, truth = of_patients[0].names, of_patients[0].codes
    known = truth >= 0
    if len(known) == len(codes) or not known.any():
        return
    means = [one.probabilities[known] for one in of_patients]
    called = [
        reading.calls(p, positive, patient=True)
        for p, (_, reading) in zip(means, both, strict=True)
    ]
    answers = (means[0], means[1]), (called[0], called[1])
    yield "patients", Answers(truth[known], names[known], *answers)


def _compared(
    of: str, one: Answers, classes: Classes, how: dict[str, int]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield figure, of what, and how the heads differ in it; areas by DeLong's test."""
    positive = classes.positive
    ours, theirs = (
        class_metrics(one.codes, said, called, positive, classes.order)
        for said, called in zip(one.said, one.called, strict=True)
    )
    looked_for = range(len(classes.names)) if positive is None else [positive]
    for code in looked_for:
        areas = one.said[0][:, code], one.said[1][:, code]
        name = of if positive is not None else f"{classes.names[code]}, {of}"
        yield "auroc", name, compare_aurocs(one.codes == code, *areas, one.owners)
    for figure in ours:
        if figure not in NOT_DRAWN:
            yield figure, of, compare_metrics(ours[figure], theirs[figure], one.owners, **how)


def _of(classes: Classes) -> str:
    return f"{classes.label} ({', '.join(classes.names)})"
