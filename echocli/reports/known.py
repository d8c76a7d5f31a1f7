"""What the files of a study answer of the questions that reporting guidelines ask."""

from __future__ import annotations

from collections.abc import Iterator

import echocli
from echocli.reports.flow import TASKS
from echocli.reports.numbers import part, plain
from echocli.reports.sections_cards import contract_words
from echocli.reports.study_reader import Results, RunRecord, settings_of

Fact = tuple[str, str]
"""What is known, and what is left to be told by the authors; the second may be empty."""


def known(results: Results) -> dict[str, Fact]:
    """Return the facts that the files hold, by the names that the checklists use."""
    facts: dict[str, Fact] = {}
    for part_of in (_data, _splits, _models, _figures):
        facts.update(part_of(results))
    facts["limits"] = (
        "general limits stand under What this does not tell",
        "those of your data",
    )
    facts["repeat"] = (
        "commands and settings stand under How to repeat this",
        "where the protocol can be read",
    )
    facts["code"] = (
        f"analysed with echocli {echocli.__version__}, Apache-2.0",
        "your own code",
    )
    return facts


def _data(results: Results) -> Iterator[tuple[str, Fact]]:
    clips = results.clips
    if clips is None:
        return
    manifest = clips.manifest
    sets = set(manifest["dataset"].dropna().astype(str)) if "dataset" in manifest else set()
    names = f" ({', '.join(sorted(sets))})" if sets else ""
    patients = manifest["patient_id"].nunique()
    yield "source", (f"{len(clips)} clips of {patients} patients{names}", "hospitals, years")
    refused = results.refusals.count if results.refusals else 0
    yield (
        "eligible",
        (
            f"{refused} sources left out by the tool, reasons in the diagram",
            "your own criteria",
        ),
    )
    settings = part(results.audit or {}, "settings")
    yield (
        "preprocessing",
        (
            f"masked to the sector, cropped, {settings.get('size', '?')} pixels, grey; checked "
            "after writing",
            "",
        ),
    )
    yield "subset", ("all clips, or those named in the diagram", "")
    yield (
        "elements",
        ("names and units stand in the table of the clips", "how each was measured"),
    )
    yield (
        "deidentified",
        (
            f"keyed hashes for ids; dates: {settings.get('dates', 'drop')}; pixels outside "
            "the sector black; checks under What was done",
            "",
        ),
    )
    yield "missing", ("unknown values are counted in the table and never filled in", "")
    if manifest["study_date"].notna().any() if "study_date" in manifest else False:
        yield "dates", ("study dates were kept moved per patient", "the true dates")
    if "centre" in manifest and manifest["centre"].notna().any():
        yield "centres", (f"{manifest['centre'].nunique()} centres", "their setting")
    yield "flow", ("the diagram under What was done", "")
    yield "people", ("the table under Clips, by split, with the unknown", "")
    yield (
        "sharing",
        ("the clip set is de-identified and hashed", "whether and where it is shared"),
    )
    yield "predictors", ("the moving picture alone; no label is an input", "")


def _splits(results: Results) -> Iterator[tuple[str, Fact]]:
    if results.clips is None or "split" not in results.clips.manifest:
        return
    counts = results.clips.manifest.groupby("split")["patient_id"].nunique()
    told = ", ".join(f"{name} {n}" for name, n in counts.items())
    torn = int((results.clips.manifest.groupby("patient_id")["split"].nunique() > 1).sum())
    yield "splits", (f"patients: {told}", "who made the splits, and how, if they were given")
    yield (
        "apart",
        (
            f"patients; {torn or 'none'} in two splits; see Splits and leakage",
            "sites, scanners",
        ),
    )
    yield "numbers", (f"patients: {told}; outcomes in the tables", "")


def _models(results: Results) -> Iterator[tuple[str, Fact]]:
    runs, heads = results.runs, results.heads
    if runs:
        told = "; ".join(_run(run) for run in runs)
        yield "model", (f"{told}; every number under How to repeat this", "")
        versions = {
            f"echocli {r.config.get('echocli')}, torch {r.config.get('torch')}" for r in runs
        }
        yield "software", ("; ".join(sorted(versions)), "")
        starts = {"given weights" if settings_of(run).get("init") else "random" for run in runs}
        yield "start", (f"{' and '.join(sorted(starts))}, seed in the settings", "")
        yield "training", ("settings of every run and head under How to repeat this", "")
        yield (
            "chosen",
            (
                "an encoder is the last step of its run; what a head is fitted with is chosen "
                "on training and validation patients",
                "whether several runs were compared",
            ),
        )
        yield "ensemble", ("none; windows of a clip are averaged", "")
        contracts = {contract_words(part(settings_of(run), "data")) for run in runs}
        yield "input", ("; ".join(sorted(contracts)), "")
    if heads:
        tasks = [TASKS.get(str(h.get("task")), str(h.get("task"))) for h in heads.values()]
        yield "output", (f"{', '.join(tasks)}; thresholds were set on validation patients", "")
        yield "predicting", ("by the saved heads; commands under How to repeat this", "")
    labels = [str(h["label"]) for h in heads.values() if h.get("label")]
    truth = (["ef_percent"] if "lvef" in heads else []) + (
        ["masks"] if "segment" in heads else []
    )
    if truth or labels:
        yield "truth", (f"the labels {', '.join([*truth, *labels])}", "how they were measured")
    weights = {str(h.get("class_weights")) for h in heads.values() if h.get("class_weights")}
    if weights:
        yield "imbalance", (f"class weights: {', '.join(sorted(weights))}", "")


def _run(run: RunRecord) -> str:
    settings = settings_of(run)
    encoder = part(settings, "encoder")
    size = f", {encoder.get('depth')} blocks of {encoder.get('dim')}" if encoder else ""
    count = f"{run.config.get('parameters', 0):,} numbers"
    return f"{run.name}: {settings.get('method')}{size}, {count}"


def _figures(results: Results) -> Iterator[tuple[str, Fact]]:
    tables = [results.scores, results.lvef, results.classes, results.volumes]
    found = [one for one in tables if one is not None and part(one.summary, "metrics")]
    if not found:
        return
    names = sorted({plain(key) for one in found for key in one.summary["metrics"]})
    made = part(found[0].summary, "intervals")
    yield "measures", (", ".join(names), "why these")
    yield (
        "uncertainty",
        (
            f"95 % intervals, bootstrap of patients, {made.get('draws', '?')} draws, seed "
            f"{made.get('seed', '?')}",
            "tests between models, if any",
        ),
    )
    yield (
        "performance",
        ("test split, in the sections of each task and by group", "other splits"),
    )
    yield "precision", ("intervals beside every figure", "")
    yield (
        "failures",
        ("clips furthest off and with the highest scores are shown", "why they fail"),
    )
    yield "explained", ("nearest normal clips, and outlines over the loops", "")
    yield "clusters", ("figures by scanner, frame rate and view where known", "centres")
    yield "fairness", ("figures by sex and age where known, under Subgroups", "what was done")
    yield "bad_input", ("what cannot be read or masked is refused by name, never guessed", "")
