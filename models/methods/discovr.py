"""DISCOVR: a video branch, an image branch, and clusters that tie them together.

Mishra et al. 2025, "Self-supervised learning of echocardiographic video representations via
online cluster distillation" (arXiv 2506.11777). Three losses of equal weight: masked
self-distillation of clips, the same of single frames, and semantic cluster distillation, in
which decoded video tokens predict the clusters of the image teacher's tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..ema import make_teacher, momentum_at, update_teacher
from ..heads import DinoHead, TokenDecoder
from ..losses import cluster_distillation_loss, dino_loss, dino_targets
from ..masking import tube_ids
from ..shapes import Grid, Places, Scalar, Tokens, Video
from ..vit import VisionTransformer, ViTConfig
from .base import Draws, Method, StepOutput


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of DISCOVR.

    Where the paper's text is silent the authors' released code is followed, and named.
    """

    video_views: int = 4
    """Masked views of a clip; one more is drawn for the decoder (released code)."""
    image_views: int = 4
    """Masked views of a frame (released code)."""
    mask_ratio: float = 0.9
    """Share of the places hidden in every view."""
    image_frames: Literal["one", "all"] = "one"
    """Frames of a tubelet that the image branch sees: the ``one`` that starts it, or ``all`` as
    published, for twice the price at two frames a tubelet."""
    head_hidden: int = 512
    """Width inside the projection heads. Published 2,048, for ViT-B."""
    head_bottleneck: int = 128
    """Width of the heads' sphere. Published 256."""
    head_outputs: int = 1024
    """Outputs of the heads. Published 16,384."""
    prototypes: int = 256
    """Cluster centres. Published 3,000."""
    student_temperature: float = 0.1
    """Of the students' outputs."""
    teacher_temperature: float = 0.04
    """Of the teachers' outputs at the start."""
    teacher_temperature_end: float = 0.07
    """Of the teachers' outputs once warm."""
    teacher_warmup: float = 0.075
    """Share of the training over which the temperature rises (30 of 400 epochs)."""
    centre_momentum: float = 0.9
    """Of the mean of the teachers' logits (DINO)."""
    momentum: float = 0.99
    """Of the teachers at the start; constant 0.99 is what the released code runs with."""
    momentum_end: float = 0.99
    """Of the teachers at the end, on a straight line."""
    cluster_temperature: float = 0.1
    """Of the cluster predictions."""
    cluster_sharpness: float = 0.05
    """Sinkhorn's temperature."""
    cluster_rounds: int = 10
    """Sinkhorn's rounds."""
    decoder_depth: int | None = None
    """Blocks of the decoder. Left out, a third of the encoder's: 4 for the published ViT-B."""
    video_weight: float = 1.0
    """Of the loss on clips."""
    image_weight: float = 1.0
    """Of the loss on frames."""
    cluster_weight: float = 1.0
    """Of the loss on clusters."""

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio is {self.mask_ratio}; it must lie between 0 and 1.")


class Branch(nn.Module):
    """A student and its teacher, each an encoder with a projection head.

    Args:
        encoder_config: Shape of the encoders, with a class token.
        config: The method's settings.
        generator: Source of the weights.
    """

    centre: Tensor
    centred: Tensor
    temperature: Tensor

    def __init__(
        self, encoder_config: ViTConfig, config: Config, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.student = VisionTransformer(encoder_config, generator)
        sizes = config.head_hidden, config.head_bottleneck, config.head_outputs
        self.student_head = DinoHead(encoder_config.dim, *sizes, generator)
        self.teacher = make_teacher(self.student)
        self.teacher_head = make_teacher(self.student_head)
        self.register_buffer("centre", torch.zeros(config.head_outputs))
        self.register_buffer("centred", torch.tensor(False))
        self.register_buffer("temperature", torch.tensor(config.teacher_temperature))

    @torch.no_grad()
    def teach(self, video: Video) -> tuple[Float[Tensor, "batch outputs"], Tokens]:
        """Return the teacher's logits for whole clips, and its tokens."""
        cls, tokens = self.teacher.embed(video)
        return self.teacher_head(cls), tokens

    def distil(
        self, cls: Float[Tensor, "rows dim"], logits: Float[Tensor, "batch outputs"]
    ) -> Scalar:
        """Return the loss of student views against the teacher's logits.

        Args:
            cls: Class tokens of the views, those of a clip side by side.
            logits: The teacher's, one row a clip.
        """
        # Before the first step the batch's own mean: from a centre of zero, all clips would
        # share one sharp target for a while, which is the collapse that centring prevents.
        centre = torch.where(self.centred, self.centre, logits.mean(dim=0))
        targets = dino_targets(logits, centre, self.temperature)
        views = self.student_head(cls).reshape(len(logits), -1, logits.shape[1])
        return dino_loss(views, targets, self.config.student_temperature)

    @torch.no_grad()
    def follow(self, progress: float, mean_logits: Float[Tensor, " outputs"]) -> None:
        """Move teacher, centre and temperature after a step."""
        config = self.config
        momentum = momentum_at(progress, config.momentum, config.momentum_end)
        update_teacher(self.teacher, self.student, momentum)
        update_teacher(self.teacher_head, self.student_head, momentum)
        moved = self.centre.lerp(mean_logits, 1 - config.centre_momentum)
        self.centre.copy_(torch.where(self.centred, moved, mean_logits))
        self.centred.fill_(True)
        warm = min(1.0, progress / max(config.teacher_warmup, 1e-9))
        cold, hot = config.teacher_temperature, config.teacher_temperature_end
        self.temperature.fill_(cold + (hot - cold) * warm)


class DISCOVR(Method):
    """Video branch, image branch, decoder and prototypes.

    Args:
        encoder_config: Shape of the video encoder; a class token is added.
        config: The settings.
        generator: Source of the weights.
    """

    def __init__(
        self, encoder_config: ViTConfig, config: Config, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        shape = replace(encoder_config, cls_token=True)
        frame = replace(shape, frames=1, tubelet=(1, *shape.tubelet[1:]))
        self.video = Branch(shape, config, generator)
        self.image = Branch(frame, config, generator)
        head = shape.dim // shape.heads
        heads = max(1, shape.heads // 2)
        depth = config.decoder_depth or max(1, shape.depth // 3)
        self.decoder = TokenDecoder(
            shape.grid, shape.dim, heads * head, depth, heads, frame.dim, generator
        )
        directions = torch.randn(config.prototypes, frame.dim, generator=generator)
        self.prototypes = nn.Parameter(F.normalize(directions, dim=1))

    @property
    def encoder(self) -> VisionTransformer:
        """The video student."""
        return self.video.student

    def draw(
        self, batch: int, grid: Grid, generator: torch.Generator, places: Places | None = None
    ) -> Draws:
        """Draw the visible tokens of every view of frames and clips."""
        config = self.config
        frames = grid[0] * self.frames_a_tubelet
        each = None if places is None else places.repeat_interleave(frames, dim=0)
        still = (1, *grid[1:])
        ratio = config.mask_ratio
        image_rows = batch * frames * config.image_views
        video_rows = batch * (config.video_views + 1)
        return {
            "image": tube_ids(image_rows, still, ratio, generator, each),
            "video": tube_ids(video_rows, grid, ratio, generator, places),
        }

    @property
    def frames_a_tubelet(self) -> int:
        """Frames of a tubelet that the image branch sees."""
        return 1 if self.config.image_frames == "one" else self.encoder.config.tubelet[0]

    def forward(self, video: Video, draws: Draws) -> StepOutput:
        """Distil clips and frames, and make video tokens predict clusters of image tokens."""
        grid = self.encoder.grid(video.shape)
        image_loss, image_logits, image_tokens = self.image_step(video, grid, draws["image"])

        views, ids = self.config.video_views + 1, draws["video"]
        video_logits, _ = self.video.teach(video)
        cls, visible = self.video.student.embed(video, ids)
        assert cls is not None
        # The first view of every clip is the decoder's, the others are for distillation.
        others = cls.reshape(len(video), views, -1)[:, 1:].flatten(0, 1)
        video_loss = self.video.distil(others, video_logits)

        decoded = self.decoder(visible[::views], ids[::views], grid)
        cluster_loss = cluster_distillation_loss(
            decoded.flatten(0, 1),
            image_tokens.flatten(0, 1),
            self.prototypes,
            temperature=self.config.cluster_temperature,
            sharpness=self.config.cluster_sharpness,
            rounds=self.config.cluster_rounds,
        )
        return StepOutput(
            loss=self.config.video_weight * video_loss
            + self.config.image_weight * image_loss
            + self.config.cluster_weight * cluster_loss,
            metrics={
                "video": video_loss.detach(),
                "image": image_loss.detach(),
                "cluster": cluster_loss.detach(),
                # Falls to 0 when the teacher says the same of every clip.
                "teacher_std": video_logits.std(dim=0, correction=0).mean(),
            },
            state={"video": video_logits.mean(dim=0), "image": image_logits.mean(dim=0)},
        )

    def image_step(
        self, video: Video, grid: Grid, ids: Int[Tensor, "rows kept"]
    ) -> tuple[Scalar, Float[Tensor, "images outputs"], Tokens]:
        """Distil single frames, with the visible tokens of their views.

        Returns:
            The loss, the teacher's logits, and its tokens arranged as those of the clips.
        """
        seen = video[:, :, :: self.encoder.config.tubelet[0] // self.frames_a_tubelet]
        frames = seen.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        logits, tokens = self.image.teach(frames)
        cls, _ = self.image.student.embed(frames, ids)
        assert cls is not None
        return self.image.distil(cls, logits), logits, gather_tubelets(tokens, len(video), grid)

    def after_step(self, progress: float, state: dict[str, Tensor]) -> None:
        """Move both teachers, their centres and their temperature."""
        self.video.follow(progress, state["video"])
        self.image.follow(progress, state["image"])

    def export_encoder(self) -> VisionTransformer:
        """Return the video teacher."""
        return self.video.teacher


def standardise(
    tokens: Float[Tensor, "images places dim"],
) -> Float[Tensor, "images places dim"]:
    """Give every channel mean 0 and spread 1 over the places of a frame.

    Clusters then tell places apart rather than frames (released code).
    """
    spread = tokens.var(dim=1, keepdim=True, correction=0).add(1e-6).sqrt()
    return (tokens - tokens.mean(dim=1, keepdim=True)) / spread


def gather_tubelets(
    tokens: Float[Tensor, "images places dim"], batch: int, grid: Grid
) -> Float[Tensor, "batch tokens dim"]:
    """Arrange the tokens of frames as the tokens of their clips.

    Frames of one tubelet are averaged, once each is standardised.

    Args:
        tokens: Of frames, clip after clip, equally many a tubelet.
        batch: Number of clips.
        grid: Tubelets of a clip along time, height and width.
    """
    _, places, dim = tokens.shape
    tubelets = standardise(tokens.float()).reshape(batch, grid[0], -1, places, dim).mean(dim=2)
    return tubelets.flatten(1, 2)


def build(encoder_config: ViTConfig, config: Config, generator: torch.Generator) -> DISCOVR:
    """Make DISCOVR with fresh weights."""
    return DISCOVR(encoder_config, config, generator)
