"""How much memory a training step needs, found without having it.

A step is gone through with tensors that have shapes but hold no numbers, and what is alive is
counted after every operation. Formulas would have to follow every change of a method; a small
batch, measured and scaled up, would need memory and hide what does not grow with clips.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .methods.base import Draws, Method, load
from .shapes import Places
from .training import Precision, look
from .vit import ViTConfig
from .work import empty_twin

MOMENTS = 2
"""Numbers that AdamW keeps for each trained one."""
DRAWS = 8
"""Masks are drawn so often, and the step with most tokens counts."""


@dataclass(frozen=True)
class Memory:
    """Bytes that a training holds at the fullest moment of a step, by part."""

    weights: int
    """What is trained."""
    teachers: int
    """What is not: teachers, frozen blocks, tables of positions."""
    gradients: int
    """One number for each trained one."""
    moments: int
    """What the optimiser remembers."""
    activations: int
    """What forward and backward hold beside the gradients that they leave."""
    batch: int
    """Clips and masks."""

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(vars(self).values())


def build_empty(name: str, encoder: ViTConfig, config: Any) -> Method:  # noqa: ANN401
    """Return a method of shapes that hold no numbers.

    Args:
        name: Of the method.
        encoder: Shape of its encoder.
        config: Its settings.
    """
    generator = torch.Generator()
    with torch.device("meta"):
        return load(name).build(encoder, config, generator)


def step_memory(
    method: Method,
    shape: Sequence[int],
    generator: torch.Generator,
    places: Places | None = None,
    *,
    precision: Precision = "fp32",
    device: str = "cpu",
    resident: bool = False,
) -> Memory:
    """Return what a step holds; nothing is computed and the method stays as it is.

    Args:
        method: On any device, ``meta`` too. Its team says into how many parts a step is cut.
        shape: Of the clips of a process.
        generator: Source of masks.
        places: What may be seen; see ``Method.draw``.
        precision: Of matrix products.
        device: Where the step would be taken.
        resident: Whether gradients have a place of their own all the time, as in a team of
            processes; else they move in where activations move out.
    """
    grid = method.encoder.grid(shape)
    draws = (method.draw(shape[0], grid, generator, places) for _ in range(DRAWS))
    fullest = max(draws, key=size_of)
    trained = sum(p.nbytes for p in method.parameters() if p.requires_grad)
    every = sum(int(own.nbytes) for own in (*method.parameters(), *method.buffers()))
    with FakeTensorMode(allow_non_fake_inputs=True):
        twin = empty_twin(method, device).train()
        video = torch.empty(tuple(shape), device=device)
        here = {name: torch.empty_like(ids, device=device) for name, ids in fullest.items()}
        with Alive((*twin.parameters(), *twin.buffers(), video, *here.values())) as alive:
            look(twin, twin, video, here, precision)
    return Memory(
        weights=trained,
        teachers=every - trained,
        gradients=trained,
        moments=MOMENTS * trained,
        activations=max(0, alive.most - (0 if resident else trained)),
        batch=video.nbytes + size_of(fullest),
    )


def size_of(draws: Draws) -> int:
    """Return the bytes of a step's draws."""
    return sum(ids.nbytes for ids in draws.values())


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that are made in the block and not yet gone.

    Args:
        known: Tensors that were there before; their views are not counted either.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.most = 0
        """At the fullest moment."""
        self._seen: set[int] = set()
        self._known = [tensor.untyped_storage() for tensor in known]
        self._seen.update(storage._cdata for storage in self._known)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Compute, then count what was made."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size
