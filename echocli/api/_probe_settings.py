"""How a probe on an encoder is fitted: what its task does not matter to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from echocli.api._encode import POOL, WINDOWS
from echocli.api._finetune import TuneConfig
from echocli.api._splits import check_fraction
from echocli.errors import UsageError
from echocli.models.finetune import FitConfig
from echocli.models.readout import Views
from echocli.statistics.bootstrap import DRAWS

ATTENTIVE = "attentive"


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Settings that all tasks share."""

    LINEAR: ClassVar[str]
    """The task's name of a linear probe."""

    probe: str
    """A linear one is fitted on the mean over windows of pooled features; ``attentive`` looks
    at all tokens."""
    pool: str = POOL
    """Mean over tokens, and how much each place changes over time: motion is what EF is."""
    windows: int = WINDOWS
    """Windows a clip whose features, or answers, are averaged."""
    folds: int = 5
    """Parts of the training patients, to choose a linear probe's penalty."""
    depth: int = 1
    """Blocks of an attentive probe: 1 as V-JEPA's, 4 as V-JEPA 2's."""
    attentive: FitConfig = field(default_factory=FitConfig)
    """How an attentive probe is fitted."""
    views: tuple[str, ...] = ()
    """Views whose clips an attentive probe looks at together, study by study; clip by clip if
    empty."""
    clips_a_view: int = 1
    """Places for clips of one view."""
    view_dropout: float = 0.1
    """Share of a study's views that are hidden in training; one is always shown."""
    tune: TuneConfig | None = None
    """How the encoder is trained with a linear layer; it stays frozen if left out."""
    label_fraction: float = 1.0
    """Share of the labelled training patients that are used; a smaller share is part of a
    greater one."""
    seed: int = 0
    """Start of all random numbers."""
    draws: int = DRAWS
    """Bootstrap samples."""

    def __post_init__(self) -> None:
        kinds = (self.LINEAR, ATTENTIVE)
        if self.probe not in kinds:
            raise UsageError(
                f"There is no --probe {self.probe}.", f"Choose among {', '.join(kinds)}."
            )
        if self.tune is not None and self.probe == ATTENTIVE:
            raise UsageError(
                "A probe that is attentive is fitted on a frozen encoder.",
                "Leave --probe out, or --from-scratch and --finetune-blocks.",
            )
        check_fraction(self.label_fraction)
        for name in ("depth", "windows", "clips_a_view"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} is {getattr(self, name)}.", "Give 1 or more.")
        if self.views and self.probe != ATTENTIVE:
            raise UsageError(
                "Only an attentive probe looks at several views together.",
                "Add --probe attentive, or leave --views out.",
            )
        if self.depth != ProbeConfig.depth and self.probe != ATTENTIVE:
            raise UsageError(
                "--depth is of an attentive probe.",
                "Add --probe attentive, or leave --depth out.",
            )
        for name in ("clips_a_view", "view_dropout"):
            if getattr(self, name) != getattr(ProbeConfig, name) and not self.views:
                option = name.replace("_", "-")
                raise UsageError(
                    f"--{option} is of a probe that looks at several views together.",
                    f"Add --probe attentive --views A4C,A2C, or leave --{option} out.",
                )
        if len(set(self.views)) != len(self.views):
            raise UsageError("--views names a view twice.", "Name each once: A4C,A2C.")
        if not 0 <= self.view_dropout < 1:
            raise UsageError(
                f"--view-dropout is {self.view_dropout:g}.", "Give a share from 0, below 1."
            )

    @property
    def together(self) -> Views | None:
        """What an attentive probe looks at together."""
        if not self.views:
            return None
        return Views(count=len(self.views), clips=self.clips_a_view, dropout=self.view_dropout)

    def contract(self) -> dict[str, Any]:
        """Return what a head's config says of the views; nothing where clips stand alone."""
        if not self.views:
            return {}
        names = ("clips_a_view", "view_dropout")
        return {"views": list(self.views), **{name: getattr(self, name) for name in names}}
