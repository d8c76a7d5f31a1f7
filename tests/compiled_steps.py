"""Compiled steps of every method, in a process of their own: PyTorch cannot trace shape checks.

``python tests/compiled_steps.py graphs`` traces them, ``... code`` generates code for them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from made_models import blob_batches, blobs, micro_method
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from echocli.models.methods import base
from echocli.models.optim import OptimConfig
from echocli.models.training import Compiled, train

STEPS = 5
CONFIG = OptimConfig(steps=3, warmup_steps=1, lr=1e-3)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def step(method: base.Method, number: int, *, bf16: bool) -> list[Tensor]:
    """Return loss and gradients of a step."""
    method.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = method.step(blobs(4, number), seeded(number)).loss
    loss.backward()
    gradients = [p.grad.clone() for p in method.parameters() if p.grad is not None]
    return [loss.detach(), *gradients]


def graphs(name: str, *, bf16: bool = False, blocks: bool = False) -> dict[str, Any]:
    """Count graphs over steps that draw differently, and the numbers that they get wrong."""
    torch.compiler.reset()
    plain, compiled = micro_method(name), micro_method(name)
    counter = CompileCounterWithBackend("eager")
    compiled.compile(blocks=blocks, backend=counter)
    wrong = 0
    for number in range(STEPS):
        pairs = zip(
            step(plain, number, bf16=bf16), step(compiled, number, bf16=bf16), strict=True
        )
        wrong += sum(not torch.equal(a, b) for a, b in pairs)
    return {"graphs": counter.frame_count, "wrong": wrong}


def losses(name: str, *, compiled: Compiled) -> list[float]:
    """Return the first losses of a training."""
    torch.compiler.reset()
    records = train(
        micro_method(name), blob_batches(4, 0, 3), CONFIG, seeded(0), compiled=compiled
    )
    return [record.loss for record in records]


def main(what: str) -> None:
    """Print what was found, by method."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name in base.available():
        if what == "graphs":
            found[name] = {"whole": graphs(name), "blocks": graphs(name, blocks=True)}
        else:
            ways: tuple[Compiled, ...] = (False, True, "blocks")
            found[name] = [losses(name, compiled=compiled) for compiled in ways]
            found[name].append(graphs(name, bf16=True))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
