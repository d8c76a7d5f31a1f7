"""The key figures at the top of the page, and at its end what not to believe."""

from __future__ import annotations

from typing import Any

from echocli.reports.numbers import interval
from echocli.reports.page import (
    Html,
    Section,
    cards,
    items,
    join,
    paragraph,
)
from echocli.reports.study_reader import Results, of_other_clips, settings_of

LIMITS = (
    "This is research software, not a medical device. No figure here is a diagnosis.",
    "Figures hold for patients like those of the test split: the same scanners, views, frame "
    "rates and illnesses. Elsewhere they may be far off.",
    "Splits keep the patients apart, not the sites or scanners. A model can learn the machine "
    "instead of the heart.",
    "Intervals say how much the figures would vary with other patients of the same kind. They "
    "know nothing of wrong labels, of a changed population, or of how often settings were "
    "changed after looking at the test split.",
    "An anomaly score says that a clip differs from the normal clips given, not that the heart "
    "is ill: a rare view, a new scanner or a bad picture differs too.",
    "Volumes and ejection fractions from one view assume a shape that ill hearts do not have.",
)
PHANTOM = (
    "The clips are phantoms: invented hearts, drawn by a program. Nothing in this report says "
    "anything about real patients."
)


FEWEST = 20
"""Test patients below which no figure stands at the head of the page: it would be quoted."""


def lead(results: Results) -> Html:
    """Return the key figures."""
    figures: list[tuple[str, str, str]] = []
    if results.clips is not None:
        refused = results.refusals.count if results.refusals else 0
        patients = results.clips.manifest["patient_id"].nunique()
        figures.append((str(len(results.clips)), "clips", f"{refused} sources left out"))
        figures.append((str(patients), "patients", _apart(results)))
    if results.runs:
        methods = sorted({str(settings_of(run).get("method")) for run in results.runs})
        word = "pretraining runs" if len(results.runs) > 1 else "pretraining run"
        figures.append((str(len(results.runs)), word, ", ".join(methods)))
    if results.scores is not None:
        auroc = ("patient_metrics", "auroc")
        figures += _figure(results.scores.summary, auroc, "AUROC, anomaly", "0.5 is chance")
    if results.lvef is not None:
        mean = _find(results.lvef.summary, ("predict_the_mean", "mae"))
        beside = f"predicting the mean: {interval(mean).split()[0]}" if mean else ""
        figures += _figure(results.lvef.summary, ("metrics", "mae"), "EF error, points", beside)
    if results.volumes is not None:
        path = ("metrics", "dice", "lv_cavity")
        mean = _find(results.volumes.summary, ("mean_map", "dice", "lv_cavity"))
        beside = f"mean map: {interval(mean).split()[0]}" if mean else ""
        figures += _figure(results.volumes.summary, path, "Dice, LV cavity", beside)
    parts = [cards(figures)]
    if is_phantom(results):
        parts.append(paragraph(PHANTOM, "note"))
    if results.unreadable:
        told = f"These parts are there but cannot be read: {', '.join(results.unreadable)}."
        parts.append(paragraph(told, "note"))
    if others := of_other_clips(results):
        told = (
            f"These results are of other clips than those in clips/: {', '.join(others)}. They "
            "tell nothing of these; make them again, with --overwrite."
        )
        parts.append(paragraph(told, "note"))
    if results.of_other_labels:
        told = (
            "These results were made with other labels than the clips have now: "
            f"{', '.join(results.of_other_labels)}. Their figures are of the labels of then; "
            "make them again: embed and fit first, then score and predict, with --overwrite."
        )
        parts.append(paragraph(told, "note"))
    return join(parts)


def _apart(results: Results) -> str:
    """Say whether a patient stands in two splits: the leak that flatters every figure."""
    assert results.clips is not None
    manifest = results.clips.manifest
    if "split" not in manifest:
        return "no splits"
    torn = int((manifest.groupby("patient_id")["split"].nunique() > 1).sum())
    return f"{torn} IN TWO SPLITS" if torn else "none in two splits"


def is_phantom(results: Results) -> bool:
    """Return whether any clip comes from the phantom."""
    if results.clips is None or "dataset" not in results.clips.manifest:
        return False
    return bool((results.clips.manifest["dataset"] == "phantom").any())


def _find(summary: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
    found: Any = summary
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, dict) and found.get("value") is not None else None


def _figure(
    summary: dict[str, Any], path: tuple[str, ...], what: str, beside: str
) -> list[tuple[str, str, str]]:
    found = _find(summary, path)
    if found is None:
        return []
    value, _, told = interval(found).partition(" ")
    patients = summary.get("test", {}).get("patients")
    if patients is not None and patients < FEWEST:
        return [("-", what, f"{patients} test patients are too few to quote; see below")]
    parts = (told.strip("()"), beside, f"{patients} test patients" if patients else "")
    return [(value, what, "; ".join(part for part in parts if part))]


def limits_section(results: Results) -> Section:
    """Say what not to believe."""
    return Section("limits", "What this does not tell", items(LIMITS))
