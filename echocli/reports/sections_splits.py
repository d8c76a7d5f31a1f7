"""Whether the test set is known already: patients, files and pictures in two splits."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.clips.store import ClipSet
from echocli.reports.numbers import interval, number, plain
from echocli.reports.page import EMPTY, Html, Section, join, missing, paragraph, table
from echocli.reports.study_reader import Results
from echocli.statistics.confounding import confounding
from echocli.statistics.leakage import NEAR_COSINE, audit, fingerprint, near_embeddings

TITLE = "Splits and leakage"
MOST_READ = 2_000
"""Clips whose pictures are compared; more would take minutes."""
MOST_COMPARED = 20_000
DRAWS = 500
SEED = 0
NONE = "none"
OLD_NEWS = (
    "What a model has seen in training it knows at the test. A patient, a file or a picture in "
    "two splits makes every figure look better than it is."
)


def splits_section(results: Results) -> Section:
    """Look for what the splits share, and for labels that go with the machine."""
    clips = results.clips
    if clips is None:
        body = missing("There are no clips to look at.", "echocli preprocess")
        return Section("splits", TITLE, body)
    manifest = clips.manifest
    if "split" not in manifest or manifest["split"].isna().all():
        told = "The clips have no splits: nothing here was kept for a test."
        return Section("splits", TITLE, paragraph(told, "note"))
    splits = manifest["split"].fillna("").to_numpy(dtype=np.str_)
    rows, findings = _shared(clips, splits)
    rows += _near(results, splits)
    rows += _heads(results)
    parts = [
        paragraph(OLD_NEWS),
        *(paragraph(found[0].upper() + found[1:] + ".", "note") for found in findings),
        table(["looked for", "looked at", "found"], rows, "What two splits share"),
        _confounding(manifest),
    ]
    return Section("splits", TITLE, join(parts))


def _shared(
    clips: ClipSet, splits: NDArray[np.str_]
) -> tuple[list[tuple[str, str, str]], list[str]]:
    read = len(clips) <= MOST_READ
    prints = None
    if read and len(clips):
        prints = np.stack([fingerprint(clips.frames(row)) for row in range(len(clips))])
        clips.forget()
    found = audit(clips.manifest, splits, prints)
    near = found["near_duplicates"]
    patients = clips.manifest["patient_id"].nunique()
    count = {
        name: sum(s["count"] for s in found[f"{name}_shared"])
        for name in ("patients", "sources")
    }
    rows = [
        ("patients in two splits", f"{patients} patients", str(count["patients"] or NONE)),
        ("source files in two splits", f"{len(clips)} clips", str(count["sources"] or NONE)),
    ]
    told = f"{near['pairs'] or NONE} pairs" if read else "not looked for"
    seen = f"{len(clips)} clips" if read else f"more than {MOST_READ} clips"
    rows.append(("pictures that are almost the same", seen, told.replace("none pairs", NONE)))
    return rows, list(found["findings"])


def _near(results: Results, splits: NDArray[np.str_]) -> list[tuple[str, str, str]]:
    """Compare embeddings of clips in different splits."""
    found, clips = results.embeddings, results.clips
    if found is None or clips is None or "clip_id" not in found.table:
        return []
    of = dict(zip(clips.manifest["clip_id"].astype(str), splits, strict=True))
    own = np.array([of.get(str(name), "") for name in found.table["clip_id"]])
    what = f"embeddings with a cosine of {NEAR_COSINE} or more"
    if len(own) > MOST_COMPARED:
        return [(what, f"more than {MOST_COMPARED} rows", "not looked for")]
    pairs = len(near_embeddings(found.vectors, own))
    return [(what, f"{len(own)} rows", f"{pairs} pairs" if pairs else NONE)]


def _heads(results: Results) -> list[tuple[str, str, str]]:
    """Ask of every head whether patients that it was fitted on are judged as test patients."""
    if results.clips is None:
        return []
    manifest = results.clips.manifest
    tested = set(manifest.loc[manifest["split"] == "test", "patient_id"].astype(str))
    rows = []
    for name, head in results.heads.items():
        patients = head.get("patients")
        if not isinstance(patients, dict):
            continue
        used = {str(one) for split in ("train", "val") for one in patients.get(split, [])}
        told = f"{len(used)} patients"
        rows.append(
            (f"test patients that head {name} knows", told, str(len(used & tested) or NONE))
        )
    return rows


def _confounding(manifest: pd.DataFrame) -> Html:
    """Say how well the label normal is told by how a clip was taken."""
    if "normal" not in manifest or manifest["normal"].nunique() < 2:
        return EMPTY
    known = manifest[manifest["normal"].notna()].reset_index(drop=True)
    label = known["normal"].astype(bool).to_numpy().astype(np.int64)
    found = confounding(known, label, seed=SEED, draws=DRAWS)
    rows = [(plain(column), number(v, 2)) for column, v in found["cramers_v"].items()]
    area = found["auroc_of_metadata"]
    if area is not None:
        rows.append(("AUROC of all of them together", interval(area)))
    if not rows:
        return EMPTY
    caption = (
        f"How the label normal goes with the way a clip was taken, {found['patients']} "
        "patients: Cramer's V, 0 not at all, 1 wholly"
    )
    notes = [paragraph(one[0].upper() + one[1:] + ".", "note") for one in found["findings"]]
    return join([table(["how it was taken", "strength"], rows, caption), *notes])
