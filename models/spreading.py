"""One step on several processes: who averages gradients, and when."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .methods.base import Method
from .team import Team

_SENDS_BUFFERS = "forward_sync_buffers"
if _SENDS_BUFFERS not in inspect.signature(DistributedDataParallel).parameters:
    _SENDS_BUFFERS = "broadcast_buffers"  # its name before PyTorch 2.13


def replicate(method: Method, team: Team) -> nn.Module:
    """Return what to call instead of the method: its gradients are averaged over a team.

    All begin with the weights of rank 0. Gradients travel while those of lower layers are
    computed.

    Args:
        method: On its device; it is changed in place.
        team: Who takes the steps.
    """
    if team.size == 1:
        return method
    options: dict[str, Any] = {_SENDS_BUFFERS: False}  # every process computes the same ones
    return DistributedDataParallel(
        method,
        gradient_as_bucket_view=True,
        # What embeds pictures has no gradient in a training on clips.
        find_unused_parameters=method.encoder.config.stills,
        **options,
    )


@contextmanager
def averaging(network: nn.Module, *, now: bool) -> Iterator[None]:
    """Average the gradients of the block's backward pass over the team now, or later.

    Args:
        network: From ``replicate``.
        now: Whether it is the last part of the step.
    """
    if now or not isinstance(network, DistributedDataParallel):
        yield
    else:
        with network.no_sync():
            yield
