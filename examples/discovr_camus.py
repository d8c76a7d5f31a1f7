"""DISCOVR's CAMUS table: Dice of a linear head on frozen tokens.

    python examples/discovr_camus.py CAMUS_public      # trains --preset discovr-paper
    python examples/discovr_camus.py CAMUS_public --model runs/discovr

Of CAMUS' half beats a named model sees what there is, at its own time step.

Mishra et al. 2025, arXiv 2506.11777.
"""

from __future__ import annotations

import numpy as np
from _tables import (
    HALF_BEAT,
    Place,
    Row,
    counted,
    in_two_lines,
    parser_of,
    place_of,
    tell,
    told,
)

from echocli.api import segment
from echocli.models.tasks.segmentation import SegmentationConfig

PUBLISHED = {
    "mean of the structures": "0.844",
    "left_atrium": "0.90",
    "lv_cavity": "not known",
    "lv_myocardium": "not known",
}
OTHERS = {"U-Net": "0.816", "DeepLabV3": "0.819", "VideoMAE": "0.747", "SIGMA": "0.759"}
DIFFERENCES = (
    "Theirs: encoder (video or image), resolution, the classes in the mean and the split are "
    "not stated. Ours: video, the official split's test patients, all three structures.",
    "Theirs: frames are not stated. Ours: every frame that has an outline: in the NIfTI layout "
    "all, in the older one end-diastole and end-systole, both views.",
    "Theirs: 64 frames, every third; how a half beat fills them is not stated. Ours: 16 in a "
    "row, if it is trained here; of a named model's window what the loop fills, the rest is "
    "left out.",
    "An atrium's Dice of 0.01 for a rival tells of a badly fitted probe: expect rivals to do "
    "better with ours.",
)


def main(place: Place, head: SegmentationConfig | None = None) -> list[Row]:
    """Fit, evaluate, and print the table."""
    clips, folder = place.clips(), place.out / "heads" / "camus"
    encoder = place.encoder("camus", HALF_BEAT)
    config = segment.SegmentConfig(head=head or SegmentationConfig())
    segment.fit(clips, encoder, folder, config=config, overwrite=True, reporter=place.reporter)
    summary = segment.evaluate(clips, folder, reporter=place.reporter).summary
    ours, mean_map = summary["metrics"]["dice"], summary["mean_map"]["dice"]
    structures = [name for name in PUBLISHED if name in ours]
    mean = np.mean([ours[name]["value"] for name in structures])
    rows = [
        Row("mean of the structures", PUBLISHED["mean of the structures"], f"{mean:.3f}"),
        *(Row(name, PUBLISHED[name], told(ours[name])) for name in structures),
        *(Row(f"  {name}'s mean", value, "") for name, value in OTHERS.items()),
        *(
            Row(f"  the mean of all masks, {name}", "none", told(mean_map[name]))
            for name in structures
        ),
    ]
    tell(f"DISCOVR, CAMUS, Dice; {counted(summary['test'])}", rows, DIFFERENCES)
    return rows


if __name__ == "__main__":
    with in_two_lines():
        main(place_of(parser_of(__doc__, "discovr-paper").parse_args(), where="normal"))
