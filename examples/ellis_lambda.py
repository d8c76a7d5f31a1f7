"""Ellis et al.'s table of lambda: how much weight V-JEPA's loss has beside localisation.

    echocli models import vitl16.pth.tar
    python examples/ellis_lambda.py CAMUS_public --init models/vitl16

Trains one encoder for each lambda: a data-centre GPU, days. arXiv 2507.18424, table 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from _ellis import BLOCKS, asked, judged, mean_dice, trained
from _tables import NOT_KNOWN, Place, Row, in_two_lines, tell

from echocli.models.finetune import FitConfig

PUBLISHED = {
    0: {0.9: ".696", 0.75: ".658", 0.5: ".708", 0.25: ".754"},
    12: {0.9: ".782", 0.75: ".787", 0.5: ".780", 0.25: ".805"},
    16: {0.9: ".810", 0.75: ".812", 0.5: ".817", 0.25: ".818"},
}
"""Dice by frozen blocks and lambda."""
MEAN_MAP = "  the mean of all masks"
DIFFERENCES = (
    "Theirs: Dice of validation patients. Ours: of the official split's test patients, mean of "
    "cavity, muscle and atrium.",
    "Theirs: every fourth frame, so that a half beat of 20 frames gives 5. Ours: 16 in a row.",
    "Theirs: 300 epochs of the probe. Ours: the dense head's own length.",
    "lambda multiplies V-JEPA's loss: 0.25 gives localisation three quarters.",
)


def main(
    place: Place,
    lambdas: Sequence[float] = (0.9, 0.75, 0.5, 0.25),
    blocks: int = BLOCKS,
    fit: FitConfig | None = None,
) -> list[Row]:
    """Train, fit, evaluate, and print the table."""
    rows = []
    for share in lambdas:
        encoder = trained(place, share, blocks)
        theirs = PUBLISHED.get(blocks, {}).get(share, NOT_KNOWN)
        found = judged(place, encoder, fit)
        rows.append(Row(f"lambda {share:g}", theirs, f"{mean_dice(found):.3f}"))
    rows.append(Row(MEAN_MAP, "none", f"{mean_dice(found, 'mean_map'):.3f}"))
    tell(f"Ellis et al., Dice by lambda, {blocks} blocks frozen", rows, DIFFERENCES)
    return rows


if __name__ == "__main__":
    with in_two_lines():
        place, blocks = asked(__doc__)
        main(place, blocks=blocks)
