"""DISCOVR: a video branch, an image branch, and clusters that tie them together.

Mishra et al. 2025, "Self-supervised learning of echocardiographic video representations via
online cluster distillation" (arXiv 2506.11777). Three losses of equal weight: masked
self-distillation of clips, the same of single frames, and semantic cluster distillation, in
which decoded video tokens predict the clusters of the image teacher's tokens.

The equations, our choices, and what the published code does otherwise are in
``docs/methods-discovr.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..checks import check_counts, check_positive
from ..clusters import (
    cosines,
    harden,
    predict_clusters,
    share_used,
    sinkhorn,
    standardise,
    tokens_of_times,
    tubelet_tokens,
)
from ..distillation import DistillationConfig
from ..fidelity import NEEDED, RULES, mispair
from ..heads import TokenDecoder
from ..losses import koleo_loss
from ..masking import draw_ids, tokens_at, tube_ids
from ..shapes import Grid, Places, Scalar, Tokens, Video
from ..vit import VisionTransformer, ViTConfig
from ..weights.discovr import published_state
from .base import Draws, Method, StepOutput


@dataclass(frozen=True, kw_only=True)
class Config(DistillationConfig):
    """Settings of DISCOVR.

    "Published" is what the authors' released code runs with, where the paper's text is silent.
    """

    fidelity: Literal["paper", "release"] = "paper"
    """``paper`` computes what is written; ``release`` what the published code computes, its
    defects included."""
    video_views: int = 4
    """Masked views of a clip; one more is drawn for the decoder (published)."""
    image_views: int = 4
    """Masked views of a frame (published)."""
    mask_ratio: float = 0.9
    """Share of the places hidden in every view (paper)."""
    image_frames: Literal["all", "one", "subset"] = "all"
    """Frames that the image branch sees: ``all`` (paper), the ``one`` that starts a tubelet, or
    of a random ``subset`` of the tubelets one frame each."""
    image_subset: int = 4
    """Tubelets of a ``subset``."""
    prototypes: int = 256
    """Clusters. Published 3,000."""
    separate_prototypes: bool = False
    """Whether image tokens have prototypes of their own; in the paper both sides share them."""
    pairing: Literal["aligned", "released"] = "aligned"
    """Which tokens meet: those of the same patch and tubelet (``aligned``, paper), or, as
    ``released``, hardly ever those."""
    targets: Literal["soft", "hard"] = "soft"
    """What is predicted: a token's share of every cluster, as in SwAV, whose loss the paper
    takes over, or only its largest (published)."""
    standardised: bool = True
    """Whether image tokens have mean 0 and spread 1 over a frame (published): what all places
    of a frame share tells no place from another."""
    cluster_temperature: float = 0.1
    """Of the predictions (published; SwAV's)."""
    cluster_sharpness: float = 0.05
    """Sinkhorn's temperature (published; SwAV's)."""
    cluster_rounds: int = 10
    """Sinkhorn's rounds (published)."""
    decoder_depth: int | None = None
    """Blocks of the decoder. Left out, a third of the encoder's: 4 for the published ViT-B."""
    decoder_dim: int | None = None
    """Its width. Left out, that of half of the encoder's heads (published)."""
    decoder_heads: int | None = None
    """Its heads. Left out, half of the encoder's (published)."""
    video_weight: float = 1.0
    """Of the loss on clips (paper; so are the next two)."""
    image_weight: float = 1.0
    """Of the loss on frames."""
    cluster_weight: float = 1.0
    """Of the loss on clusters."""
    koleo_weight: float = 0.0
    """Of the repulsion between clips that are nearest neighbours (DINOv2); not in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio is {self.mask_ratio}; it must lie between 0 and 1.")
        check_counts(self, "video_views", "image_views", "image_subset", "prototypes")
        check_counts(self, "cluster_rounds", "decoder_depth", "decoder_dim", "decoder_heads")
        check_positive(self, "cluster_temperature", "cluster_sharpness")
        if self.pairing == "released" and self.image_frames != "all":
            raise ValueError("The released pairing needs all frames: set image_frames to all.")
        needed = NEEDED.items()
        wrong = [f"{name} {value}" for name, value in needed if getattr(self, name) != value]
        if self.fidelity == "release" and wrong:
            raise ValueError(
                f"The release needs {', '.join(wrong)}; the preset discovr-release has them."
            )


class DISCOVR(Method):
    """Video branch, image branch, decoder and prototypes.

    Args:
        encoder_config: Shape of the video encoder; a class token is added.
        config: The settings.
        generator: Source of the weights.
    """

    image_prototypes: nn.Parameter | None

    def __init__(
        self, encoder_config: ViTConfig, config: Config, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.rules = RULES[config.fidelity]
        shape = self.rules.clip_shape(replace(encoder_config, cls_token=True))
        self.video = self.rules.branch(shape, config, generator)
        self.image = self.rules.branch(self.rules.frame_shape(shape), config, generator)
        heads = config.decoder_heads or max(1, shape.heads // 2)
        width = config.decoder_dim or heads * shape.dim // shape.heads
        self.decoder = TokenDecoder(
            self.rules.decoder_positions(shape.grid, width),
            shape.dim,
            config.decoder_depth or max(1, shape.depth // 3),
            heads,
            shape.dim,
            generator,
            qkv_bias=shape.qkv_bias,
        )
        self.prototypes = directions(config.prototypes, shape.dim, generator)
        self.image_prototypes = (
            directions(config.prototypes, shape.dim, generator)
            if config.separate_prototypes
            else None
        )
        self.rules.draw_weights(self, generator)

    @property
    def encoder(self) -> VisionTransformer:
        """The video student."""
        return self.video.student

    def draw(
        self, batch: int, grid: Grid, generator: torch.Generator, places: Places | None = None
    ) -> Draws:
        """Draw the visible tokens of every view of frames and clips, and what frames to see."""
        config, (times, height, width) = self.config, grid
        count = height * width if places is None else places.shape[1]
        ratio = self.rules.hidden_share(config.mask_ratio, count)
        draws, frames = {}, times
        if config.image_frames == "all":
            frames = times * self.tubelet
        elif config.image_frames == "subset":
            frames = min(config.image_subset, times)
            chosen = draw_ids(torch.ones(batch, times, dtype=torch.bool), frames, generator)
            inside = torch.randint(self.tubelet, chosen.shape, generator=generator)
            draws["frames"] = chosen * self.tubelet + inside
        if places is not None:
            draws["places"] = places
        each = None if places is None else places.repeat_interleave(frames, dim=0)
        image_rows = batch * frames * config.image_views
        video_rows = batch * (config.video_views + 1)
        draws["image"] = tube_ids(image_rows, (1, height, width), ratio, generator, each)
        draws["video"] = tube_ids(video_rows, grid, ratio, generator, places)
        return draws

    def forward(self, video: Video, draws: Draws) -> StepOutput:
        """Distil clips and frames, and make video tokens predict clusters of image tokens."""
        config, grid = self.config, self.encoder.grid(video.shape)
        batch, views, places = len(video), config.video_views + 1, draws.get("places")
        seen = None if places is None else tokens_at(places, grid)

        # The first view of every clip is the decoder's, the others are for distillation.
        ids = draws["video"].reshape(batch, views, -1)
        video_logits = self.video.judge(video, seen)
        cls = self.video.student.summarise(video, ids[:, 1:].flatten(0, 1))
        video_loss, video_centre = self.video.distil(cls, video_logits, self.team)

        frames = self.frames(video, draws)
        each = None if places is None else places.repeat_interleave(len(frames) // batch, dim=0)
        image_logits, image_tokens = self.image.teach(frames, each)
        image_cls = self.image.student.summarise(frames, draws["image"])
        image_loss, image_centre = self.image.distil(image_cls, image_logits, self.team)

        _, visible = self.video.student.embed(video, ids[:, 0])
        decoded = self.decoder(visible, ids[:, 0], grid, seen)
        pairs = self.pair(decoded, image_tokens, draws, seen)
        forth, back, used = self.cluster_losses(*pairs)
        cluster_loss = forth + back
        image_scale = self.rules.image_scale(len(frames) * self.team.pieces)
        loss = (
            config.video_weight * video_loss
            + config.image_weight * image_scale * image_loss
            + config.cluster_weight * cluster_loss
        )
        metrics = {
            "video": video_loss.detach(),
            "image": image_loss.detach(),
            "cluster": cluster_loss.detach(),
            "prototypes_used": used,
            # Falls to 0 when the teacher says the same of every clip.
            "teacher_std": self.team.std(video_logits).mean(),
        }
        if config.koleo_weight:
            koleo = koleo_loss(cls.reshape(batch, views - 1, -1), self.team)
            loss = loss + config.koleo_weight * koleo
            metrics["koleo"] = koleo.detach()
        return StepOutput(
            loss=loss, metrics=metrics, state={"video": video_centre, "image": image_centre}
        )

    def frames(
        self, video: Video, draws: Draws
    ) -> Float[Tensor, "images channels 1 height width"]:
        """Return the frames that the image branch sees, as clips of one frame."""
        if self.config.image_frames == "one":
            video = video[:, :, :: self.tubelet]
        elif self.config.image_frames == "subset":
            ids = draws["frames"][:, None, :, None, None]
            video = video.gather(2, ids.expand(-1, video.shape[1], -1, *video.shape[3:]))
        return video.transpose(1, 2).flatten(0, 1).unsqueeze(2)

    def pair(
        self,
        decoded: Tokens,
        images: Float[Tensor, "images places dim"],
        draws: Draws,
        seen: Int[Tensor, "batch tokens"] | None,
    ) -> tuple[Float[Tensor, "batch pairs dim"], Float[Tensor, "batch pairs dim"]]:
        """Return tokens of clips and of frames, those of the same patch and tubelet together.

        Args:
            decoded: Of clips, in the order of the grid.
            images: Of the frames that the image branch sees.
            draws: Of the step.
            seen: Ids of the tokens of the clips; all if left out.
        """
        batch, places = len(decoded), images.shape[1]
        if self.config.standardised:
            images = standardise(images)
        if self.config.pairing == "released":
            visible = draws["video"][:: self.config.video_views + 1]
            rows = images.reshape(batch, -1, images.shape[2])
            return mispair(decoded, rows, visible, seen, self.tubelet)
        if self.config.image_frames == "subset":
            decoded = tokens_of_times(decoded, draws["frames"] // self.tubelet, places)
        return decoded, tubelet_tokens(images, batch, decoded.shape[1] // places)

    def cluster_losses(self, decoded: Tokens, images: Tokens) -> tuple[Scalar, Scalar, Scalar]:
        """Make video tokens predict the clusters of image tokens, and the reverse.

        No gradient reaches image tokens or clusters; the second loss trains prototypes alone.

        Returns:
            H(q_i, s_v), H(q_v, s_i), and the share of the prototypes that video tokens use.
        """
        config, own = self.config, self.image_prototypes
        video_scores = cosines(decoded, self.prototypes)
        image_scores = cosines(images, self.prototypes if own is None else own)
        losses = []
        for predicted, other in ((video_scores, image_scores), (image_scores, video_scores)):
            shares = sinkhorn(other, config.cluster_sharpness, config.cluster_rounds, self.team)
            target = harden(shares) if config.targets == "hard" else shares
            losses.append(predict_clusters(predicted, target, config.cluster_temperature))
        used = share_used(video_scores, self.team)
        return losses[0], self.rules.reverse(losses[1]), used

    def after_step(self, progress: float, state: dict[str, Tensor]) -> None:
        """Move teachers, centres and temperatures, and bring prototypes back to length 1."""
        self.video.follow(progress, state["video"])
        self.image.follow(progress, state["image"])
        self.normalise_prototypes()

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        """Bring the prototypes back to length 1, as SwAV does."""
        for prototypes in (self.prototypes, self.image_prototypes):
            if prototypes is not None:
                prototypes.copy_(F.normalize(prototypes, dim=1))

    def export_encoder(self) -> VisionTransformer:
        """Return the video teacher."""
        return self.video.teacher

    @property
    def tubelet(self) -> int:
        """Frames of a tubelet."""
        return self.encoder.config.tubelet[0]

    def load_published(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over all that a published file holds of the method.

        Args:
            tensors: Of the file, by its names.

        Raises:
            KeysError: If names or shapes differ.
        """
        self.load_state_dict(published_state(tensors, self.state_dict()))
        # Its code moves teachers and prototypes when a step begins, ours when one has ended:
        # the file lies between the two.
        for branch in (self.video, self.image):
            branch.move_teacher(self.config.momentum)
        self.normalise_prototypes()


def directions(count: int, dim: int, generator: torch.Generator) -> nn.Parameter:
    """Return random vectors of length 1."""
    return nn.Parameter(F.normalize(torch.randn(count, dim, generator=generator), dim=1))


def build(encoder_config: ViTConfig, config: Config, generator: torch.Generator) -> DISCOVR:
    """Make DISCOVR with fresh weights."""
    return DISCOVR(encoder_config, config, generator)
