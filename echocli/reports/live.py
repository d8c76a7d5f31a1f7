"""The page of a run that is going on: what it learns, how healthy it is, how fast it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from echocli.reports import lines
from echocli.reports.curves import Curve
from echocli.reports.numbers import duration, number
from echocli.reports.page import (
    EMPTY,
    Html,
    Section,
    cards,
    facts,
    figure,
    gallery,
    join,
    page,
    paragraph,
)
from echocli.reports.sections_learning import HEALTH, LOSS_CAPTION

REFRESH_S = 15
"""How often a browser asks for a page that is still being written."""
TARGETS = {
    "teacher_std": "spread of the teacher's answers (0: the same for every clip)",
    "target_std": "spread of the targets (0: the same everywhere)",
    "prototypes_used": "share of the clusters in use (0: nearly all tokens in one)",
}
HEALTH_CAPTION = (
    "Features that are lost show here, not in the loss. What counts is the fall from the best "
    "of this run, over several looks: an untrained network may well begin low."
)
PROBE_CAPTION = (
    "A linear model on the features as they are, judged on patients that it was not fitted on. "
    "The encoder never learns from these labels, and the test split is not looked at."
)
TARGETS_CAPTION = (
    "What the student is to learn: a teacher that answers every clip alike teaches nothing."
)


@dataclass(frozen=True)
class Progress:
    """Where a run is."""

    name: str
    method: str
    state: str
    """``training``, ``finished``, ``stopped after step 7``."""
    alive: bool
    """Whether the page will be written again."""
    written: str
    """When it was, as local time."""
    done: int
    steps: int
    seconds_left: float | None
    alarms: Sequence[str] = ()
    """What went wrong, a sentence or more each."""
    details: Sequence[tuple[str, object]] = ()
    """Facts of the run."""
    probe: str = ""
    """What the last probe said; empty without one."""
    probe_axis: str = ""
    """What it measures."""
    guess_name: str = ""
    """What it is compared with."""
    speed: str = ""
    """How fast it goes, in a line."""


def live_page(now: Progress, curves: Mapping[str, Curve]) -> str:
    """Return the page of a run.

    Args:
        now: Where it is.
        curves: By the names of its metrics; a curve may be missing.
    """
    sections = [
        Section("learning", "Learning", _learning(curves)),
        Section("health", "Health of the features", _health(now, curves)),
    ]
    if now.probe:
        sections.append(Section("probe", "What the features are worth", _probe(now, curves)))
    sections.append(Section("speed", "Speed", _speed(now, curves)))
    return page(
        f"Run {now.name}",
        f"{now.method}, {now.state}; written {now.written}",
        _lead(now, curves),
        sections,
        refresh_s=REFRESH_S if now.alive else None,
    )


def _lead(now: Progress, curves: Mapping[str, Curve]) -> Html:
    boxes = [(f"{now.done:,}", f"of {now.steps:,} steps", f"{now.done / now.steps:.0%} done")]
    if now.alive and now.seconds_left is not None:
        boxes.append((duration(now.seconds_left), "to go", "at the present speed"))
    if "loss" in curves:
        boxes.append((number(curves["loss"].last), "loss", "a moving target"))
    if "effective_rank" in curves:
        rank = curves["effective_rank"]
        boxes.append((number(rank.last, 1), "directions", f"{_first(rank)} at the start"))
    if "probe_score" in curves:
        score = curves["probe_score"]
        boxes.append((number(score.last, 3), "probe score", f"{_first(score)} at the start"))
    if "clips_per_s" in curves:
        boxes.append((number(curves["clips_per_s"].last), "clips a second", ""))
    return join(
        [
            *(paragraph(alarm, "note") for alarm in now.alarms),
            cards(boxes),
            _how_old(now),
            facts(now.details),
        ]
    )


def _first(curve: Curve) -> str:
    return number(float(curve.points[1][0]))


def _how_old(now: Progress) -> Html:
    if not now.alive:
        return paragraph(
            f"This run is {now.state}. The page does not change any more.", "muted"
        )
    return paragraph(
        f"Written {now.written}; it is written again while the run goes on, and a browser "
        f"shows it anew every {REFRESH_S} seconds. If that time is long past, the run was cut "
        f"off: echocli pretrain --resume -o runs/{now.name}",
        "muted",
    )


def _learning(curves: Mapping[str, Curve]) -> Html:
    if not len(curves.get("loss", ())):
        return paragraph("Not one step is done yet.", "muted")
    picture = lines.line(*curves["loss"].points, "loss", "loss")
    drawn = [figure(picture, f"{LOSS_CAPTION} {lines.legend(len(curves['loss']))}")]
    if len(curves.get("lr", ())) > 1:
        picture = lines.line(*curves["lr"].points, "learning rate", "rate", smooth=False)
        drawn.append(figure(picture, "The learning rate of each step."))
    return gallery(drawn)


def _health(now: Progress, curves: Mapping[str, Curve]) -> Html:
    drawn, seen = [], []
    for title, labels, caption in (
        ("health of the features", HEALTH, HEALTH_CAPTION),
        ("what the student is to learn", TARGETS, TARGETS_CAPTION),
    ):
        shown = {label: curves[name] for name, label in labels.items() if name in curves}
        seen += [(label, f"{curve.last:.3g}") for label, curve in shown.items()]
        points = {label: curve.points for label, curve in shown.items() if len(curve) > 1}
        if points:
            drawn.append(figure(lines.panels(points, title), caption))
    if not seen:
        return paragraph("The features were not looked at yet.", "muted")
    fine = EMPTY if now.alarms else paragraph("No sign of a collapse.")
    return join([fine, gallery(drawn), facts(seen)])


def _probe(now: Progress, curves: Mapping[str, Curve]) -> Html:
    told = paragraph(now.probe)
    if len(curves.get("probe", ())) < 2:
        return join([told, paragraph(PROBE_CAPTION, "muted")])
    beside = {now.guess_name: curves["probe_guess"].last}
    picture = lines.line(*curves["probe"].points, now.probe_axis, "probe", beside)
    return join([told, gallery([figure(picture, PROBE_CAPTION)])])


def _speed(now: Progress, curves: Mapping[str, Curve]) -> Html:
    drawn = []
    if len(curves.get("seconds", ())) > 1:
        picture = lines.line(*curves["seconds"].points, "seconds a step", "seconds a step")
        drawn.append(figure(picture, "What a step takes, waiting for clips included."))
    if len(curves.get("data_wait", ())) > 1:
        picture = lines.line(
            *curves["data_wait"].points,
            "share waiting",
            "share of the time spent waiting for clips",
        )
        drawn.append(figure(picture, "Share of the time in which a step waits for its clips."))
    return join([paragraph(now.speed) if now.speed else EMPTY, gallery(drawn)])
