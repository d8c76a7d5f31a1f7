"""How well masks agree: overlap, distances in millimetres, flicker; by view and phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from echocli.reports.numbers import interval, interval_note, number, part, plain
from echocli.reports.page import EMPTY, Html, join, paragraph, table

OVERLAP = {"dice": "Dice", "jaccard": "Jaccard", "precision": "precision", "recall": "recall"}
DISTANCES = {
    "hd95_mm": "HD95, mm",
    "assd_mm": "ASSD, mm",
    "hausdorff_mm": "largest distance, mm",
    "failure_rate": "failures",
}
NONE = interval(None)
"""What stands for a figure where there is none."""
BRIEF = {"dice": "Dice", "hd95_mm": "HD95, mm", "assd_mm": "ASSD, mm"}


def overlap_tables(summary: Mapping[str, Any]) -> Html:
    """Return the tables of how well masks agree with those of people.

    Args:
        summary: Of ``echocli segment``, or the settings of its head.
    """
    metrics, test = part(summary, "metrics"), part(summary, "test")
    if not metrics.get("dice"):
        return paragraph("No test patient has masks to compare with: no figures.", "note")
    baseline = part(part(summary, "mean_map"), "dice")
    told = (
        f"test split: {test.get('frames')} labelled frames of {test.get('patients')} patients"
    )
    rows = [
        (*row, interval(baseline.get(name)))
        for name, row in zip(_labelled(metrics), _rows(metrics, OVERLAP), strict=True)
    ]
    head = ["structure", *OVERLAP.values(), "Dice of the mean map"]
    parts = [
        table(head, rows, f"Overlap of the masks, {told}"),
        paragraph(
            "The mean map is where the structure lies on average: the same in every picture. "
            + interval_note(summary),
            "muted",
        ),
        _distances(summary, metrics),
        _flicker(summary),
        *(_parts(column, parts) for column, parts in part(summary, "subgroups").items()),
    ]
    return join(parts)


def _rows(metrics: Mapping[str, Any], shown: Mapping[str, str]) -> list[tuple[str, ...]]:
    return [
        (plain(name), *(interval(part(metrics, key).get(name)) for key in shown))
        for name in _labelled(metrics)
    ]


def _labelled(metrics: Mapping[str, Any]) -> list[str]:
    """Return the structures that were drawn at all: some data sets know the cavity alone."""
    return [name for name, value in part(metrics, "dice").items() if interval(value) != NONE]


def _distances(summary: Mapping[str, Any], metrics: Mapping[str, Any]) -> Html:
    shown = {key: name for key, name in DISTANCES.items() if part(metrics, key)}
    if not shown:
        return EMPTY
    sized = part(summary, "calibrated")
    caption = (
        f"Distances between outlines, {sized.get('frames', '?')} calibrated frames of "
        f"{sized.get('patients', '?')} patients; a failure is a frame with a Dice below "
        f"{number(summary.get('failure_below_dice'))}"
    )
    return table(["structure", *shown.values()], _rows(metrics, shown), caption)


def _flicker(summary: Mapping[str, Any]) -> Html:
    flicker = summary.get("flicker")
    if not isinstance(flicker, Mapping):
        return EMPTY
    return paragraph(
        f"Flicker {interval(flicker)}: how much the cavity's area bends from frame to frame, "
        "as a share of its range. A beating heart bends it slowly, masks that jump do not."
    )


def _parts(column: str, parts: Sequence[Mapping[str, Any]]) -> Html:
    rows = [
        (
            f"{own['name']}: {plain(structure)}",
            own.get("frames", "-"),
            f"{own['patients']}{' (few)' if own.get('small') else ''}",
            *(interval(part(metrics, key).get(structure)) for key in BRIEF),
        )
        for own in parts
        for metrics in [part(own, "metrics")]
        for structure in _labelled(metrics)
    ]
    if not rows:
        return EMPTY
    head = [plain(column), "frames", "patients", *BRIEF.values()]
    return table(head, rows, f"Masks by {plain(column)}")
