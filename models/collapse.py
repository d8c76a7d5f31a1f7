"""Tells a collapse from what several looks at a training have shown.

No figure alone says it: an untrained network describes all clips much alike, and a small one
fills few directions. A run is therefore compared with itself, and with several looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

START = "start_"
"""What the name of a measure begins with that was taken before the first step."""
LOOKS = 2
"""Looks in a row that must show the same."""


@dataclass(frozen=True, kw_only=True)
class Sign:
    """How one way to collapse shows."""

    measure: str
    """What falls."""
    share: float
    """Of the best that two looks in a row held in this run; less is a collapse."""
    below: float = float("inf")
    """Where it must lie besides."""
    name: str
    """What has happened, in a few words."""
    meaning: str
    """What that is, a full sentence."""
    helps: str
    """What usually helps, a full sentence."""


SIGNS = (
    Sign(
        measure="feature_std",
        share=0.1,
        name="all clips alike",
        meaning="The encoder says nearly the same of every clip.",
        helps="A lower optim.lr, or a teacher that moves more slowly (momentum nearer to 1), "
        "usually helps.",
    ),
    Sign(
        measure="effective_rank",
        share=0.45,
        name="few directions",
        meaning="Features of different clips differ in very few ways.",
        helps="A lower optim.lr, a slower teacher (momentum nearer to 1) or larger batches "
        "usually help.",
    ),
    *(
        Sign(
            measure=measure,
            share=0.1,
            name="targets constant",
            meaning="The teacher asks the same of everything, and nothing is left to learn.",
            helps="A slower teacher (momentum nearer to 1) or a lower optim.lr usually helps.",
        )
        for measure in ("teacher_std", "target_std")
    ),
    Sign(
        measure="prototypes_used",
        share=0.5,
        below=0.03,
        name="prototypes unused",
        meaning="Nearly all tokens belong to the same few clusters.",
        helps="A lower optim.lr or fewer prototypes usually help.",
    ),
)


@dataclass(frozen=True)
class Collapse:
    """One way in which a run has collapsed."""

    sign: Sign
    value: float
    """At the last look."""
    best: float
    """What two looks in a row held before."""
    since: int
    """The look that was the last good one, counted from 0: the one before the first step."""

    def __str__(self) -> str:
        sign = self.sign
        return f"{sign.name} ({sign.measure} fell from {self.best:.3g} to {self.value:.3g})"


def collapses(looks: Sequence[Mapping[str, float]]) -> list[Collapse]:
    """Return the ways in which a run has collapsed, as its last looks show; usually none.

    Args:
        looks: What was measured, in order, the first before the first step. A look may lack
            measures; figures of steps are means since the look before.
    """
    return [found for sign in SIGNS if (found := _judge(sign, looks)) is not None]


def _judge(sign: Sign, looks: Sequence[Mapping[str, float]]) -> Collapse | None:
    taken = [(at, look[sign.measure]) for at, look in enumerate(looks) if sign.measure in look]
    best, run = 0.0, 0
    for number, (_, value) in enumerate(taken):
        low = value < min(sign.share * best, sign.below)
        run = run + 1 if low else 0
        if not low:
            # A single look may be high by chance; the first is all that is known of the start.
            held = value if number == 0 else min(value, taken[number - 1][1])
            best = max(best, held)
    if run < LOOKS:
        return None
    return Collapse(sign, taken[-1][1], best, taken[-run - 1][0])
