"""What the methods minimise, each as its paper writes it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .shapes import Scalar


def cross_entropy(
    logits: Float[Tensor, "*rows classes"], targets: Float[Tensor, "*rows classes"]
) -> Scalar:
    """Return the mean of ``-sum(targets * log softmax(logits))``."""
    return -(targets * logits.log_softmax(dim=-1)).sum(dim=-1).mean()


def dino_targets(
    logits: Float[Tensor, "rows outputs"],
    centre: Float[Tensor, " outputs"],
    temperature: float | Scalar,
) -> Float[Tensor, "rows outputs"]:
    """Turn a teacher's logits into the distribution that students are to match.

    Args:
        logits: The teacher's, raw.
        centre: Running mean of the teacher's logits.
        temperature: The lower, the sharper.

    Source:
        DINO (Caron et al. 2021, arXiv 2104.14294), equation 1 and section 3.1.
    """
    return ((logits - centre) / temperature).softmax(dim=-1).detach()


def dino_loss(
    student: Float[Tensor, "rows views outputs"],
    targets: Float[Tensor, "rows outputs"],
    temperature: float,
) -> Scalar:
    """Return the cross entropy of every student view against its teacher, averaged.

    Args:
        student: Logits of the views.
        targets: What ``dino_targets`` returned.
        temperature: The students'.
    """
    views = targets[:, None].expand_as(student)
    return cross_entropy(student / temperature, views)


@torch.no_grad()
def sinkhorn(
    scores: Float[Tensor, "samples prototypes"], temperature: float, rounds: int = 10
) -> Float[Tensor, "samples prototypes"]:
    """Share samples among prototypes, evenly.

    Every sample's row sums to 1; with enough rounds every prototype gets equally much.

    Args:
        scores: How well a sample fits a prototype.
        temperature: The lower, the harder the decision.
        rounds: Of balancing prototypes, then samples.

    Source:
        SwAV (Caron et al. 2020, arXiv 2006.09882), section 3.1 and algorithm 1.
    """
    # In logarithms: exp(score / temperature) overflows float32 at a score of 4.4 for the usual
    # temperature of 0.05, and a row that underflows to zero turns into 0 / 0.
    weights = scores.float() / temperature
    for _ in range(rounds):
        weights -= weights.logsumexp(dim=0)  # every prototype: total 1
        weights -= weights.logsumexp(dim=1, keepdim=True)  # every sample: total 1
    return weights.exp()


def cluster_distillation_loss(
    video: Float[Tensor, "tokens dim"],
    image: Float[Tensor, "tokens dim"],
    prototypes: Float[Tensor, "prototypes dim"],
    *,
    temperature: float,
    sharpness: float,
    rounds: int,
) -> Scalar:
    """Make video tokens predict the clusters of image tokens, and the reverse.

    .. math:: L = H(q_i, s_v) + H(q_v, s_i)

    where s are the softmaxed cosines to the prototypes and q their balanced assignments. No
    gradient reaches the image tokens or the assignments; the second term trains the prototypes
    alone.

    Args:
        video: Decoded video tokens.
        image: Image tokens of the same places and times, row by row.
        prototypes: Cluster centres.
        temperature: Of the predicted distribution.
        sharpness: Of the assignments, Sinkhorn's temperature.
        rounds: Of Sinkhorn's balancing.

    Source:
        DISCOVR (Mishra et al. 2025, arXiv 2506.11777), semantic cluster distillation.
        Differs from the released code: tokens meet their own place and time, assignments are
        soft, and the second term has a gradient, as the paper's equation says.
    """
    # Cosines divided by small temperatures need more than bfloat16's 8 bits.
    with torch.autocast(video.device.type, enabled=False):
        centres = F.normalize(prototypes.float(), dim=1)
        video_scores = F.normalize(video.float(), dim=1) @ centres.T
        image_scores = F.normalize(image.detach().float(), dim=1) @ centres.T
    from_image = sinkhorn(image_scores.detach(), sharpness, rounds)
    from_video = sinkhorn(video_scores.detach(), sharpness, rounds)
    return cross_entropy(video_scores / temperature, from_image) + cross_entropy(
        image_scores / temperature, from_video
    )
