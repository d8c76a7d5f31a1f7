"""Self-distillation: what students minimise, and what keeps them from collapsing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .shapes import Scalar
from .team import ALONE, Team


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
    # -sum t log softmax(s) = logsumexp(s) - sum t s, as t sums to 1. The second is the same for
    # the mean of the views, so that no product of views and outputs is kept for the gradient.
    scaled = student / temperature
    met = (targets * scaled.mean(dim=1)).sum(dim=-1)
    return scaled.logsumexp(dim=-1).mean() - met.mean()


def koleo_loss(embeddings: Float[Tensor, "rows views dim"], team: Team = ALONE) -> Scalar:
    """Return how close the clips of a batch lie to their nearest neighbours.

    .. math:: L = -mean_i log(min_{j != i} |x_i - x_j|)

    for unit vectors x, averaged over the views, each compared within itself; nothing for a
    single clip.

    Args:
        embeddings: Of the views of the clips.
        team: Whose clips are neighbours too.

    Source:
        Sablayrolles et al. 2019 (arXiv 1806.03198), equation 2; DINOv2 (arXiv 2304.07193).
    """
    if len(embeddings) * team.size == 1:
        return embeddings.new_zeros((), dtype=torch.float32)
    with torch.autocast(embeddings.device.type, enabled=False):
        own = F.normalize(embeddings.float(), dim=-1)
        points, others = own.transpose(0, 1), team.gather(own).transpose(0, 1)
        with torch.no_grad():
            near = points @ others.mT
            itself = team.rank * len(own)  # a point is no neighbour of itself
            near.diagonal(itself, dim1=1, dim2=2).fill_(-2)
            nearest = near.argmax(dim=2, keepdim=True).expand_as(points)
        apart = points - others.gather(1, nearest)
        # The least distance keeps two equal clips from an infinite gradient.
        distance: Tensor = apart.norm(dim=-1) + 1e-8
        return -distance.log().mean()
