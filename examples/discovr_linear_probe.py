"""DISCOVR's linear-probe table: F1 of normal against abnormal from frozen features.

    python examples/discovr_linear_probe.py EchoNet-Dynamic --model runs/discovr

Mishra et al. 2025, arXiv 2506.11777; EchoNet-Dynamic or RVENet.
"""

from __future__ import annotations

import numpy as np
from _tables import (
    NOT_KNOWN,
    Place,
    Row,
    counted,
    in_two_lines,
    parser_of,
    place_of,
    tell,
    told,
)

from echocli.api import classify
from echocli.api.vote import macro_f1
from echocli.clips.store import ClipSet
from echocli.statistics.bootstrap import bootstrap_intervals

PUBLISHED = {
    "echonet_dynamic": {"DISCOVR": "77.63", "SIGMA": "75.50", "VideoMAE": "70.85"},
    "rvenet": {"DISCOVR": "62.65", "SIGMA": "58.98", "VideoMAE": "59.70"},
}
DIFFERENCES = (
    "Theirs: what is normal, and over what F1 is averaged, is not stated. Ours: the data set's "
    "rule in docs/datasets.md; the mean of both classes' F1.",
    "Theirs: optimiser, epochs, pooling and class weights are not stated. Ours: a logistic "
    "regression on pooled features whose penalty is chosen by folds of training patients.",
    "Ours: the threshold is chosen on validation patients, figures are of test patients.",
)


def main(place: Place) -> list[Row]:
    """Fit, predict, and print the table."""
    clips, head = place.clips(), place.out / "heads" / "normal"
    names = ClipSet.open(clips).manifest["dataset"].unique().tolist()
    config = classify.ClassifyConfig(label="normal", class_weights="balanced")
    fitted = classify.fit(
        clips, place.encoder(), head, config=config, overwrite=True, reporter=place.reporter
    )
    table = classify.predict(clips, head, reporter=place.reporter).table
    tested = table[(table["split"] == "test") & table["label"].notna()]
    ours = {"macro-F1, %": "-", "balanced accuracy, %": "-"}
    if len(tested):
        one = tested["label"].iloc[0]
        truth, called = (
            (tested[name] == one).to_numpy(np.bool_) for name in ("label", "predicted")
        )
        found = bootstrap_intervals(
            {"macro_f1": lambda w: macro_f1(truth, called, w)},
            tested["patient_id"].to_numpy(dtype=np.str_),
            seed=0,
        )
        balanced = fitted.config["metrics"]["balanced_accuracy"]
        ours = {
            "macro-F1, %": told(found["macro_f1"].as_json(), 100, 2),
            "balanced accuracy, %": told(balanced, 100, 2),
        }
    theirs = PUBLISHED.get(names[0], {}) if len(names) == 1 else {}
    rows = [
        Row("macro-F1, %", theirs.get("DISCOVR", NOT_KNOWN), ours["macro-F1, %"]),
        *(Row(f"  {name}'s", theirs[name], "") for name in theirs if name != "DISCOVR"),
        Row("balanced accuracy, %", NOT_KNOWN, ours["balanced accuracy, %"]),
    ]
    of = f"{', '.join(names)}; {counted(fitted.config['test'])}"
    tell(f"DISCOVR, linear probe, {of}", rows, DIFFERENCES)
    return rows


if __name__ == "__main__":
    with in_two_lines():
        main(place_of(parser_of(__doc__, "discovr-paper").parse_args(), where="normal"))
