"""Trainings of several processes that end well or badly, forked from one that has all loaded.

``python tests/team_runs.py CLIPS FOLDER WORDS...`` prints how every process of every run ended.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from echocli import main
from echocli.api._pretrain import page as page_module
from echocli.api._pretrain import speed as speed_module
from echocli.api.pretrain import Choice
from echocli.states import saved_states

STEPS = "8"
"""Of a run that ends well; states of the last and of two steps before stay."""
LONG = "2000"
"""Steps of a run that is to be stopped."""
Act = Callable[[list[int]], None]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def child(words: list[str], variables: dict[str, str], said: Path) -> None:
    """Run the command line as one process of a team."""
    for number, suffix in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{said}.{suffix}", os.O_WRONLY | os.O_CREAT), number)
    os.environ.update(variables)
    code = 0
    try:
        main.run(words)
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def together(
    folder: Path, name: str, words: list[str], size: int = 2, act: Act | None = None
) -> list[dict[str, Any]]:
    """Run a command as a team and return how its processes ended.

    Args:
        folder: Where they leave what they say.
        name: Of the run.
        words: Of the command.
        size: Processes.
        act: What is done to them meanwhile, by their ids.
    """
    port, pids = str(free_port()), []
    for rank in range(size):
        variables = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        pid = os.fork()
        if pid == 0:
            child(words, variables, folder / f"{name}-{rank}")
        pids.append(pid)
    if act is not None:
        act(pids)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    said = [
        [(folder / f"{name}-{r}.{s}").read_text() for s in ("out", "err")] for r in range(size)
    ]
    return [{"code": c, "out": o, "err": e} for c, (o, e) in zip(codes, said, strict=True)]


def after_saving(run: Path, number: int, rank: int) -> Act:
    """Return what sends a signal to one process once a state was saved in the run."""

    def act(pids: list[int]) -> None:
        while not list((run / "checkpoints").glob("step-*[1-9].json")):
            time.sleep(0.02)
        os.kill(pids[rank], number)

    return act


def try_all(clips: str, folder: Path, settings: list[str]) -> None:
    """Print how all runs ended."""
    torch.set_num_threads(1)
    for name in ("echocli.main", "echocli.tables", "torch._dynamo", "torch.distributed.fsdp"):
        importlib.import_module(name)
    main.build_app()
    Choice(method="vjepa").resolve()
    # What is drawn and counted for people would cost more than these trainings.
    page_module.Page._write = lambda *asked, **how: None  # type: ignore[method-assign]
    speed_module.matrix_rate = lambda device: 1e9
    speed_module.operations = lambda job: 0

    def words(name: str, *more: str) -> list[str]:
        asked = [*more, "--set", "optim.batch=4"]
        place = ["-o", str(folder / name), "--device", "cpu", "--precision", "fp32"]
        return ["pretrain", clips, "--method", "vjepa", *place, *settings, *asked]

    def run(name: str, *more: str, **how: Any) -> list[dict[str, Any]]:
        return together(folder, name, words(name, *more), **how)

    shares = ("--set", "sharded=true")
    found = {
        "one": run("one", "--steps", STEPS, size=1),
        "two": run("two", "--steps", STEPS),
        "shares": run("shares", "--steps", STEPS, *shares),
        "uneven": run("uneven", "--steps", STEPS, "--set", "optim.parts=3"),
        "files": together(
            folder,
            "files",
            [w if w != clips else f"{folder}/one-0.out" for w in words("files")],
        ),
    }
    # Others go on from the state before the last.
    again: dict[str, tuple[str, int, Sequence[str]]] = {
        "shares by one": ("shares", 1, shares),
        "shares by two": ("shares", 2, shares),
        "one by two": ("one", 2, ()),
    }
    for name, (before, size, wish) in again.items():
        shutil.copytree(folder / before, folder / name)
        saved_states(folder / name / "checkpoints")[0].note.unlink()
        found[name] = run(name, "--steps", STEPS, *wish, size=size)
    stopped = after_saving(folder / "stopped", signal.SIGTERM, 1)
    killed = after_saving(folder / "killed", signal.SIGKILL, 1)
    found |= {
        "stopped": run("stopped", "--steps", LONG, act=stopped),
        "killed": run("killed", "--steps", LONG, *shares, act=killed),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    try_all(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
