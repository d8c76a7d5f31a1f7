"""Semantic cluster distillation: which tokens meet, which clusters they have, the loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .products import affine
from .shapes import Scalar
from .team import ALONE, Team

MOST = 1e24
"""By which a prototype is multiplied at most: what cannot be balanced, as it is with very low
temperatures, would leave float32 in the end."""


def standardise(
    tokens: Float[Tensor, "images places dim"],
) -> Float[Tensor, "images places dim"]:
    """Give every channel mean 0 and spread 1 over the places of a frame.

    Clusters then tell places apart rather than frames.

    Source:
        DISCOVR's released code.
    """
    tokens = tokens.float()
    spread = tokens.std(dim=1, keepdim=True, correction=0) + 1e-6
    return (tokens - tokens.mean(dim=1, keepdim=True)) / spread


def tubelet_tokens(
    tokens: Float[Tensor, "images places dim"], batch: int, times: int
) -> Float[Tensor, "batch tokens dim"]:
    """Arrange the tokens of frames as those of clips; frames of one tubelet are averaged.

    Args:
        tokens: Of frames, clip after clip, equally many a tubelet.
        batch: Number of clips.
        times: Tubelets of a clip along time.
    """
    _, places, dim = tokens.shape
    return tokens.reshape(batch, times, -1, places, dim).mean(dim=2).flatten(1, 2)


def tokens_of_times(
    tokens: Float[Tensor, "batch tokens dim"], times: Int[Tensor, "batch chosen"], places: int
) -> Float[Tensor, "batch others dim"]:
    """Return the tokens of some tubelets of each clip, in the order of ``times``.

    Args:
        tokens: Of clips, ``places`` a tubelet.
        times: Which tubelets.
        places: Tokens a tubelet.
    """
    batch, _, dim = tokens.shape
    ids = times[:, :, None, None].expand(-1, -1, places, dim)
    return tokens.reshape(batch, -1, places, dim).gather(1, ids).flatten(1, 2)


@torch.no_grad()
def sinkhorn(
    scores: Float[Tensor, "samples prototypes"],
    temperature: float,
    rounds: int = 10,
    team: Team = ALONE,
) -> Float[Tensor, "samples prototypes"]:
    """Share samples among prototypes, evenly.

    Every sample's row sums to 1; with enough rounds every prototype gets equally much.

    Args:
        scores: How well a sample fits a prototype.
        temperature: The lower, the harder the decision.
        rounds: Of balancing prototypes, then samples; one or more.
        team: Who has equally many samples each; all of them share the prototypes.

    Source:
        SwAV (Caron et al. 2020, arXiv 2006.09882), section 3.1 and algorithm 1. Two vectors
        are updated instead of the matrix, after a first round in logarithms (Schmitzer 2019,
        arXiv 1610.06519, section 3.1).
    """
    with torch.autocast(scores.device.type, enabled=False):
        # exp(score / temperature) overflows float32 at a score of 4.4 for the usual temperature
        # of 0.05, and a row that underflows to zero turns into 0 / 0. After one round in
        # logarithms no entry is above 1, and no prototype is without samples.
        logs = scores.float() / temperature
        logs -= team.logsumexp(logs)  # prototypes
        logs -= logs.logsumexp(dim=1, keepdim=True)  # samples
        shares = logs.exp_()
        by_sample = torch.ones_like(shares[:, 0])
        by_prototype = torch.ones_like(shares[0])
        fair = (
            len(shares) * team.size / shares.shape[1]
        )  # keeps the two vectors from running away
        for _ in range(rounds - 1):
            by_prototype = fair / team.sum(by_sample @ shares)
            by_prototype = by_prototype.clamp(1 / MOST, MOST)
            by_sample = 1 / (shares @ by_prototype)
        return shares.mul_(by_sample[:, None]).mul_(by_prototype)


def cosines(
    tokens: Float[Tensor, "*rows dim"], prototypes: Float[Tensor, "prototypes dim"]
) -> Float[Tensor, "rows_ prototypes"]:
    """Return how well every token fits every prototype, the tokens of all rows in one list.

    Args:
        tokens: Of any length.
        prototypes: Of length 1.
    """
    # Cosines divided by small temperatures need more than bfloat16's 8 bits.
    with torch.autocast(tokens.device.type, enabled=False):
        return affine(F.normalize(tokens.float(), dim=-1).flatten(0, -2), prototypes)


def harden(
    shares: Float[Tensor, "samples prototypes"],
) -> Float[Tensor, "samples prototypes"]:
    """Give every sample wholly to the prototype that has most of it."""
    whole = torch.zeros_like(shares)
    return whole.scatter_(1, shares.argmax(dim=1, keepdim=True), 1.0)


@torch.no_grad()
def share_used(scores: Float[Tensor, "samples prototypes"], team: Team = ALONE) -> Scalar:
    """Return how much of the prototypes is in use: 1 if all are equally, near 0 if only one is.

    It is the perplexity (exponential of the entropy) of the nearest prototype, over the number
    of prototypes. Sinkhorn's shares would not tell: they are even by construction.

    Args:
        scores: How well a sample fits a prototype.
        team: Who has equally many samples each.
    """
    nearest = scores.argmax(dim=1)
    ones = torch.ones_like(nearest, dtype=torch.float32)
    counts = torch.zeros_like(scores[0], dtype=torch.float32).index_add_(0, nearest, ones)
    shares = team.sum(counts) / (len(scores) * team.size)
    used: Tensor = torch.special.entr(shares).sum().exp() / scores.shape[1]
    return used


def predict_clusters(
    scores: Float[Tensor, "samples prototypes"],
    shares: Float[Tensor, "samples prototypes"],
    temperature: float,
) -> Scalar:
    """Return the cross entropy H(q, s) of the clusters predicted by one side.

    Args:
        scores: Cosines of this side's tokens.
        shares: What ``sinkhorn`` made of the other side's, sample by sample.
        temperature: Of the prediction.

    Source:
        DISCOVR (Mishra et al. 2025, arXiv 2506.11777), semantic cluster distillation.
    """
    scaled = scores / temperature
    met = (shares * scaled).sum(dim=1)  # see dino_loss
    return (scaled.logsumexp(dim=1) - met).mean()
