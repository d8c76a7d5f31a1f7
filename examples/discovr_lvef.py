"""DISCOVR's ejection-fraction table: error of a linear probe, and of three blocks trained on.

    python examples/discovr_lvef.py EchoNet-Dynamic --model runs/discovr

Mishra et al. 2025, arXiv 2506.11777; the dataset is taken to be EchoNet-Dynamic.
"""

from __future__ import annotations

from _tables import Place, Row, counted, in_two_lines, parser_of, place_of, tell, told

from echocli.api import lvef
from echocli.models.finetune import FitConfig

DIFFERENCES = (
    "Theirs: which three blocks, the recipe and the windows of a clip are not stated. Ours: "
    "the last three; three even windows, averaged.",
    "Theirs: how the linear probe is fitted is not stated. Ours: ridge on pooled features, its "
    "penalty chosen by folds of training patients.",
    "The supervised rows that the paper quotes (6.59, 7.35) are not EchoNet-Dynamic's best: "
    "Ouyang et al. 2020 report 4.1 (PMC8979576). Measure yourself against that.",
)


def main(place: Place, blocks: int = 3, fit: FitConfig | None = None) -> list[Row]:
    """Fit both, evaluate, and print the table."""
    clips, encoder = place.clips(), place.encoder()
    kinds = {
        "linear": lvef.LvefConfig(),
        "blocks": lvef.LvefConfig(
            tune=lvef.TuneConfig(blocks=blocks, fit=fit or lvef.tuning_fit())
        ),
    }
    found = {}
    for name, config in kinds.items():
        head = place.out / "heads" / f"lvef-{name}"
        lvef.fit(clips, encoder, head, config=config, overwrite=True, reporter=place.reporter)
        found[name] = lvef.evaluate(clips, head, reporter=place.reporter).summary
    linear, trained = (found[name]["metrics"] for name in kinds)
    rows = [
        Row("linear probe, error in points", "7.79", told(linear["mae"], digits=2)),
        Row(f"last {blocks} blocks trained", "6.32", told(trained["mae"], digits=2)),
        Row(
            "always the mean",
            "none",
            told(found["linear"]["predict_the_mean"]["mae"], digits=2),
        ),
        Row("  MC3, supervised, as quoted", "6.59", ""),
        Row("  EchoNet-Dynamic, as quoted", "7.35", ""),
        Row("  EchoNet-Dynamic, its own paper", "4.1", ""),
        Row("linear probe, R2", "not known", told(linear["r2"], digits=2)),
    ]
    of = counted(found["linear"]["test"])
    tell(f"DISCOVR, ejection fraction; {of}", rows, DIFFERENCES)
    return rows


if __name__ == "__main__":
    with in_two_lines():
        main(place_of(parser_of(__doc__, "discovr-paper").parse_args(), where="normal"))
