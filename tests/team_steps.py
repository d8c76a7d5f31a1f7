"""Steps that several processes take together, beside the same steps of one process alone.

``python tests/team_steps.py`` prints what two processes found.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from made_models import blobs, micro_method
from torch import Tensor

from echocli.models.augment import AugmentConfig
from echocli.models.clusters import sinkhorn
from echocli.models.losses import koleo_loss
from echocli.models.methods import base
from echocli.models.optim import OptimConfig, build_optimizer
from echocli.models.sector import Scan
from echocli.models.spreading import gathered, load_whole, shard
from echocli.models.team import ALONE, Team
from echocli.models.training import train

CLIPS, STEPS = 4, 2
RELEASE = {"fidelity": "release", "pairing": "released", "targets": "hard"}
HARDER: dict[str, dict[str, Any]] = {"discovr": {"koleo_weight": 0.1, "image_frames": "subset"}}
CASES = {
    **{name: (name, HARDER.get(name, {})) for name in base.available()},
    "discovr-release": ("discovr", RELEASE),
    "discovr of two levels": ("discovr", {"levels": 2}),
    "videomae of two levels": ("videomae", {"levels": 2}),
}


def scans(team: Team, start: int = 0, stop: int = STEPS) -> Iterator[Scan]:
    """Yield a process's clips of each step, and the sectors of all."""
    sector = (torch.arange(32)[:, None] >= torch.arange(32)).float().expand(CLIPS, -1, -1)
    for step in range(start, stop):
        yield Scan(team.own(blobs(CLIPS, seed=1000 + step)), sector)


def trained(
    case: str, team: Team, parts: int = 1
) -> tuple[base.Method, list[dict[str, float]]]:
    """Train a method; return it and the numbers of its steps."""
    name, changes = CASES[case]
    # Other weights on other processes: those of rank 0 are to count.
    method = micro_method(name, seed=team.rank, **changes)
    config = OptimConfig(steps=STEPS, warmup_steps=1, lr=1e-3, parts=parts, batch=CLIPS)
    generator = torch.Generator().manual_seed(0)
    records = train(
        method,
        scans(team),
        config,
        generator,
        augmentation=AugmentConfig(),
        share=0.75,
        team=team,
    )
    return method, [record.numbers for record in records]


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return how far weights, teachers and centres are apart, relative to their length."""
    differences = [(one[name].double() - other[name].double()).norm() for name in one]
    lengths = [other[name].double().norm() for name in one]
    return float(torch.stack(differences).norm() / torch.stack(lengths).norm())


def together(case: str, team: Team, parts: int = 1) -> dict[str, Any]:
    """Train together, each process looking at its clips in parts, then alone."""
    ours, numbers = trained(case, team, parts)
    alone, expected = trained(case, ALONE)
    distance = apart(ours.state_dict(), alone.state_dict())
    return {"numbers": numbers, "alone": expected, "apart": distance}


def handed_on(team: Team) -> dict[str, Any]:
    """Take each step with a state handed on: in shares, in whole copies, in shares again."""
    config = OptimConfig(steps=3, warmup_steps=1, lr=1e-3, batch=CLIPS)
    numbers, state = [], None
    for step in range(config.steps):
        method = micro_method("vjepa", seed=step, frozen_blocks=1)
        if step != 1:
            shard(method, team)
        optimizer = build_optimizer(method, config)
        if state is not None:
            load_whole(method, optimizer, state)
        clips = scans(team, step, step + 1)
        options: dict[str, Any] = {"start": step, "optimizer": optimizer, "team": team}
        records = train(method, clips, config, torch.Generator().manual_seed(0), **options)
        numbers += [record.numbers for record in records]
        parts = {"method": method.state_dict(), "optimizer": optimizer.state_dict()}
        state = gathered(parts)
    alone = micro_method("vjepa", frozen_blocks=1)
    records = train(alone, scans(ALONE, 0, 3), config, torch.Generator().manual_seed(0))
    expected = [record.numbers for record in records]
    distance = apart(state["method"], alone.state_dict())
    return {"numbers": numbers, "alone": expected, "apart": distance}


def statistics(team: Team) -> dict[str, float]:
    """Return how far reductions are from those of one process that has all rows."""
    rows = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
    views = rows.reshape(4, 3, 5)
    points = {t: t.own(views).clone().requires_grad_() for t in (team, ALONE)}
    losses = {t: koleo_loss(x, t) for t, x in points.items()}
    for loss in losses.values():
        loss.backward()
    grads = {t: x.grad for t, x in points.items()}
    assert grads[team] is not None
    assert grads[ALONE] is not None
    ours = sinkhorn(team.own(rows), 0.1, 5, team)
    off = {
        "sum": team.sum(team.own(rows).sum(dim=0)) - rows.sum(dim=0),
        "std": team.std(team.own(rows)) - rows.std(dim=0, correction=0),
        "gather": team.gather(team.own(rows)) - rows,
        "sinkhorn": ours - team.own(sinkhorn(rows, 0.1, 5)),
        "koleo": team.mean(losses[team]) - losses[ALONE],
        # The team's loss is the mean of its processes'.
        "koleo gradient": grads[team] / team.size - team.own(grads[ALONE]),
    }
    return {name: float(difference.detach().abs().max()) for name, difference in off.items()}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def main() -> None:
    """Print what was found."""
    torch.set_num_threads(1)
    importlib.import_module("torch.distributed.fsdp")  # once for both
    store = f"tcp://127.0.0.1:{free_port()}"
    other = os.fork()
    team = Team(rank=int(not other), size=2)
    dist.init_process_group(
        "gloo", store, timedelta(seconds=60), rank=team.rank, world_size=team.size
    )
    found: dict[str, Any] = {case: together(case, team) for case in CASES}
    found["vjepa in parts"] = together("vjepa", team, parts=CLIPS // team.size)
    found["vjepa in shares"] = handed_on(team)
    found["statistics"] = statistics(team)
    dist.destroy_process_group()
    if other:
        assert os.waitpid(other, 0)[1] == 0
        print(json.dumps(found))


if __name__ == "__main__":
    main()
