"""Which rule says what is normal, what it says of the clips, and whether all are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from echocli.api._preprocess.sources import FoundDataset
from echocli.console import Reporter
from echocli.datasets.rules import NormalRule
from echocli.errors import UsageError
from echocli.privacy.labels import COLUMNS

EVERYTHING = ""
"""Key of the rule that the user wants for all clips."""


@dataclass(frozen=True)
class RuleUsed:
    """A rule, and how many clips it finds what."""

    dataset: str
    """The data set that it is for; empty for all clips."""
    name: str
    normal_if: str
    abnormal_if: str
    """Empty if all that is certainly not normal is abnormal."""
    note: str
    normal: int
    abnormal: int
    neither: int


def rules_of(
    datasets: Sequence[FoundDataset],
    normal: str | None,
    abnormal: str | None,
    named: Sequence[str] = (),
) -> dict[str, NormalRule]:
    """Return the rules by data set, or the user's own for everything.

    Args:
        datasets: What was recognised among the sources.
        normal: The user's expression for normal clips.
        abnormal: The user's expression for abnormal ones.
        named: Label columns that the user let through.

    Raises:
        UsageError: If an expression cannot be read, or names no label column.
    """
    if normal:
        rule = NormalRule("yours", normal, abnormal or "")
        rule.check_columns([*COLUMNS, *named])
        return {EVERYTHING: rule}
    if abnormal:
        raise UsageError(
            "--abnormal alone does not say which clips are normal.", "Add --normal."
        )
    return {found.name: found.rule for found in datasets if found.rule}


def count_normal(rules: Mapping[str, NormalRule], manifest: pd.DataFrame) -> list[RuleUsed]:
    """Return what each rule finds in a clip set."""
    used = []
    for dataset, rule in rules.items():
        rows = manifest
        if dataset != EVERYTHING and "dataset" in manifest:
            rows = manifest[manifest["dataset"] == dataset]
        known = rows["normal"].dropna() if "normal" in rows else pd.Series(dtype=bool)
        normal = int(known.astype(bool).sum())
        used.append(
            RuleUsed(
                dataset=dataset,
                name=rule.name,
                normal_if=rule.normal,
                abnormal_if=rule.abnormal,
                note=rule.note,
                normal=normal,
                abnormal=len(known) - normal,
                neither=len(rows) - len(known),
            )
        )
    return used


def tell_datasets(datasets: Sequence[FoundDataset], reporter: Reporter) -> None:
    """Say which data sets were recognised, and warn where they are not as published."""
    for found in datasets:
        counts = ", ".join(f"{count} {word}" for word, count in found.counted.items())
        reporter.say(f"data set {found.name}: {counts}; {found.split}")
        differences = found.differences()
        if differences:
            reporter.warn(f"{found.name} is not as published: {'; '.join(differences)}.")
        elif found.expected:
            reporter.say(f"data set {found.name}: as many of everything as published")


def tell_rules(used: Sequence[RuleUsed], reporter: Reporter) -> None:
    """Say once which clips count as normal."""
    for rule in used:
        abnormal = rule.abnormal_if or "all others of which it is certain"
        note = f" ({rule.note})" if rule.note else ""
        reporter.say(
            f"normal by the rule {rule.name}{note}: {rule.normal_if}; abnormal: {abnormal}; "
            f"{rule.normal} normal, {rule.abnormal} abnormal, {rule.neither} neither; "
            "--normal and --abnormal change it"
        )
