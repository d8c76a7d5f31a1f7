"""Self-distillation by masking: a student that sees little follows a teacher that sees all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .checks import check_counts, check_positive, check_shares
from .ema import make_teacher, momentum_at, update_teacher
from .heads import DinoHead
from .losses import dino_loss, dino_targets
from .shapes import Scalar, Tokens, Video
from .team import ALONE, Team
from .vit import VisionTransformer, ViTConfig


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """How students are compared with their teachers.

    "Published" is what DISCOVR's released code runs with; its paper's text gives no numbers.
    """

    head_hidden: int = 512
    """Width inside the projection heads. Published 2,048, for ViT-B."""
    head_bottleneck: int = 128
    """Width of the heads' sphere. Published 256."""
    head_outputs: int = 1024
    """Outputs of the heads. Published 16,384."""
    student_temperature: float = 0.1
    """Of the students' outputs (published; DINO's)."""
    teacher_temperature: float = 0.04
    """Of the teachers' outputs at the start (published; DINO's)."""
    teacher_temperature_end: float = 0.07
    """Of the teachers' outputs once warm (published; DINO's)."""
    teacher_warmup: float = 0.075
    """Share of the training over which the temperature rises (published: 30 of 400 epochs)."""
    centre_momentum: float = 0.9
    """Of the mean of the teachers' logits (DINO's). Published 0.8, of probabilities."""
    momentum: float = 0.99
    """Of the teachers at the start (published: what runs, though 0.996 is asked for)."""
    momentum_end: float = 0.99
    """Of the teachers at the end, on a straight line (published: constant)."""

    def __post_init__(self) -> None:
        check_counts(self, "head_hidden", "head_bottleneck", "head_outputs")
        check_positive(self, "student_temperature", "teacher_temperature")
        check_positive(self, "teacher_temperature_end")
        check_shares(self, "teacher_warmup", "centre_momentum", "momentum", "momentum_end")


class Branch(nn.Module):
    """A student and its teacher, each an encoder with a projection head.

    Args:
        shape: Of the encoders, with a class token.
        config: The settings.
        generator: Source of the weights.

    Source:
        DINO (Caron et al. 2021, arXiv 2104.14294), section 3.1 and algorithm 1.
    """

    centre: Tensor
    centred: Tensor
    temperature: Tensor

    def __init__(
        self, shape: ViTConfig, config: DistillationConfig, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.student = VisionTransformer(shape, generator)
        self.student.freeze_lower_levels()
        sizes = config.head_hidden, config.head_bottleneck, config.head_outputs
        self.student_head = DinoHead(shape.dim, *sizes, generator)
        self.teacher = make_teacher(self.student)
        self.teacher_head = make_teacher(self.student_head)
        self.register_buffer("centre", torch.zeros(config.head_outputs))
        self.register_buffer("centred", torch.tensor(False))
        self.register_buffer("temperature", torch.tensor(config.teacher_temperature))

    @torch.no_grad()
    def teach(
        self, video: Video, seen: Int[Tensor, "batch seen"] | None = None
    ) -> tuple[Float[Tensor, "batch outputs"], Tokens]:
        """Return the teacher's logits, and its tokens.

        Args:
            video: Normalised clips.
            seen: Ids of the tokens that there are; all if left out.
        """
        cls, tokens = self.teacher.embed(video, seen)
        return self.teacher_head(cls), tokens

    @torch.no_grad()
    def judge(
        self, video: Video, seen: Int[Tensor, "batch seen"] | None = None
    ) -> Float[Tensor, "batch outputs"]:
        """Return the teacher's logits alone.

        Args:
            video: Normalised clips.
            seen: Ids of the tokens that there are; all if left out.
        """
        logits: Tensor = self.teacher_head(self.teacher.summarise(video, seen))
        return logits

    def distil(
        self,
        cls: Float[Tensor, "rows dim"],
        logits: Float[Tensor, "batch outputs"],
        team: Team = ALONE,
    ) -> tuple[Scalar, Float[Tensor, " outputs"]]:
        """Compare views of the student with the teacher's logits.

        Args:
            cls: Class tokens of the views, those of a clip side by side.
            logits: The teacher's, one row a clip.
            team: Who shares the clips.

        Returns:
            The loss, and what the centre is to follow, both of these clips alone.
        """
        # Before the first step the batch's own mean: from a centre of zero, all clips would
        # share one sharp target for a while, which is the collapse that centring prevents.
        centre = torch.where(self.centred, self.centre, team.mean(logits.mean(dim=0)))
        targets = dino_targets(logits, centre, self.temperature)
        views = self.student_head(cls).reshape(len(logits), -1, logits.shape[1])
        loss = dino_loss(views, targets, self.config.student_temperature)
        return loss, self.centre_of(logits, targets)

    def centre_of(
        self, logits: Float[Tensor, "batch outputs"], targets: Float[Tensor, "batch outputs"]
    ) -> Float[Tensor, " outputs"]:
        """Return the centre of some clips."""
        return logits.mean(dim=0)

    @torch.no_grad()
    def follow(self, progress: float, centre: Float[Tensor, " outputs"]) -> None:
        """Move teacher, centre and temperature after a step.

        Args:
            progress: Share of the training that is done.
            centre: Of the step's batch.
        """
        self.move_teacher(momentum_at(progress, self.config.momentum, self.config.momentum_end))
        moved = self.centre.lerp(centre, 1 - self.config.centre_momentum)
        self.centre.copy_(torch.where(self.centred, moved, centre))
        self.centred.fill_(True)
        self.temperature.fill_(self.temperature_at(progress))

    def move_teacher(self, momentum: float) -> None:
        """Move the teacher towards the student."""
        update_teacher(self.teacher, self.student, momentum)
        update_teacher(self.teacher_head, self.student_head, momentum)

    def temperature_at(self, progress: float) -> float:
        """Return the teacher's temperature at a share of the training."""
        cold, hot = self.config.teacher_temperature, self.config.teacher_temperature_end
        return cold + (hot - cold) * min(1.0, progress / max(self.config.teacher_warmup, 1e-9))
