"""One step on several processes: who holds the weights, who averages gradients, and when.

What only shares of weights need is imported where they are made: it costs 0.8 s.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from .layers import Block
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
    if team.size == 1 or is_sharded(method):
        return method
    options: dict[str, Any] = {_SENDS_BUFFERS: False}  # every process computes the same ones
    return DistributedDataParallel(
        method,
        gradient_as_bucket_view=True,
        # What embeds pictures has no gradient in a training on clips.
        find_unused_parameters=method.encoder.config.stills,
        **options,
    )


def shard(method: Method, team: Team) -> None:
    """Let each process of a team hold its share of every weight, teachers' included.

    A block's weights are brought together while it computes. Those that student and teacher
    share, frozen blocks, stay whole everywhere: they have neither gradient nor moments.

    Args:
        method: On its device, with the same weights everywhere; it is changed in place, before
            an optimiser is built for it.
        team: More than one process.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    device = next(method.parameters()).device.type
    mesh = init_device_mesh(device, (team.size,))
    owners = Counter(id(p) for _, p in method.named_parameters(remove_duplicate=False))
    whole = {p for p in method.parameters() if owners[id(p)] > 1}
    for part in [*(m for m in method.modules() if isinstance(m, Block)), method]:
        fully_shard(part, mesh=mesh, ignored_params=whole)


def is_sharded(network: nn.Module) -> bool:
    """Return whether ``shard`` has been here."""
    return hasattr(network, "set_requires_gradient_sync")


@contextmanager
def averaging(network: nn.Module, *, now: bool) -> Iterator[None]:
    """Average the gradients of the block's backward pass over the team now, or later.

    Args:
        network: From ``replicate``.
        now: Whether it is the last part of the step.
    """
    if is_sharded(network):
        network.set_requires_gradient_sync(now)  # type: ignore[operator]
    if now or not isinstance(network, DistributedDataParallel):
        yield
    else:
        with network.no_sync():
            yield


def gathered(value: Any) -> Any:  # noqa: ANN401
    """Return a state in which every tensor is whole, whoever held what of it.

    All processes of a team must ask at once.

    Args:
        value: Tensors in tables and lists, as from ``state_dict``.
    """
    if hasattr(value, "full_tensor"):
        return value.full_tensor().detach()
    if isinstance(value, dict):
        return {name: gathered(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [gathered(inner) for inner in value]
    return value


def divided(whole: Tensor, like: Tensor) -> Tensor:
    """Return a process's share of a whole tensor, if it holds a share of another like it."""
    if not hasattr(like, "device_mesh") or whole.shape != like.shape:
        return whole
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    there = whole.to(like.device)
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)


def load_whole(method: Method, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Give a method and its optimiser a state, of which a process may hold a share.

    Args:
        method: Shared out or not.
        optimizer: Built for it.
        state: What ``gathered`` made of their ``state_dict``, as ``method`` and ``optimizer``.
    """
    own = method.state_dict()
    weights = {name: divided(t, own.get(name, t)) for name, t in state["method"].items()}
    method.load_state_dict(weights)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    moments = {
        place: {name: divided(t, trained[place]) for name, t in numbers.items()}
        for place, numbers in state["optimizer"]["state"].items()
    }
    optimizer.load_state_dict({**state["optimizer"], "state": moments})
