"""Processes that ``torchrun`` starts together: who they are, and how they agree.

All of them run the same code on the same settings and reach the same decisions from the same
numbers; only the first, the leader, writes and speaks. What could differ between them (a signal
that came to one, a file that one does not see) is agreed on here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from echocli.errors import EchoError, ExitCode, MachineError, UsageError

if TYPE_CHECKING:
    from echocli.device import Device
    from echocli.models.team import Team

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets; all of them, or this process is alone."""
PATIENCE = timedelta(minutes=30)
"""How long processes wait for each other, such as for the leader that saves."""


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that were started together."""

    rank: int = 0
    """From 0, over all machines."""
    size: int = 1
    """How many processes there are."""
    local: int = 0
    """From 0, on this machine: the number of its GPU."""

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    @property
    def team(self) -> Team:
        """The same for the core."""
        from echocli.models.team import Team

        return Team(self.rank, self.size)

    def device(self, wanted: str) -> str:
        """Return the device of this process.

        Args:
            wanted: ``auto`` or PyTorch's name, the same for all processes.

        Raises:
            UsageError: If all would share one GPU.
        """
        import torch

        if self.size == 1 or wanted not in ("auto", "cuda"):
            if self.size > 1 and wanted.startswith("cuda:"):
                raise UsageError(
                    f"{self.size} processes cannot all compute on {wanted}.",
                    "Leave out --device; CUDA_VISIBLE_DEVICES chooses among the GPUs.",
                )
            return wanted
        return f"cuda:{self.local}" if torch.cuda.is_available() or wanted == "cuda" else "cpu"

    @contextmanager
    def joined(self, device: Device) -> Iterator[None]:
        """Connect the processes while the block runs.

        Raises:
            MachineError: If another process ends in the midst of the work.
        """
        if self.size == 1:
            yield
            return
        import torch
        import torch.distributed as dist

        backend = "gloo"
        if device.torch.type == "cuda":
            torch.cuda.set_device(device.torch)
            backend = "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, timeout=PATIENCE)
        try:
            yield
        except RuntimeError as error:
            if not _is_lost(error):
                raise
            raise MachineError(
                f"Process {self.rank} of {self.size} has lost another one, which ended before "
                "the work was done.",
                "Its own message says why. The last checkpoint is whole: run the same command "
                "again to go on from there.",
            ) from None
        dist.destroy_process_group()

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Let the leader run the block, then all others, unless it fails.

        Raises:
            SystemExit: If the leader failed, which says why.
        """
        if self.size == 1:
            yield
        elif self.leads:
            try:
                yield
            except BaseException as error:
                self._greatest(
                    int(error.code if isinstance(error, EchoError) else ExitCode.BUG)
                )
                raise
            self._greatest(int(ExitCode.DONE))
        else:
            code = self._greatest(int(ExitCode.DONE))
            if code:
                raise SystemExit(code)
            yield

    def agreed(self, wish: Callable[[], bool]) -> Callable[[], bool]:
        """Return a question that all processes answer alike: whether any of them wishes so.

        All must ask it equally often. The answer is that to the question before, so that
        nobody waits for it.
        """
        return wish if self.size == 1 else _Agreement(wish)

    def least(self, number: int) -> int:
        """Return the least number that any process has."""
        return -self._greatest(-number)

    def wait(self) -> None:
        """Return when all processes have come here."""
        self._greatest(0)

    def check_shares(self, batch: int, parts: int) -> None:
        """Check that all processes have equally many clips of a step, in equal parts.

        Args:
            batch: Clips of a step.
            parts: Into which each process cuts its own.

        Raises:
            UsageError: If they have not.
        """
        pieces = self.size * parts
        if batch % pieces:
            cut = f"{self.size} process(es)" + (f" in {parts} parts each" if parts > 1 else "")
            raise UsageError(
                f"A batch of {batch} clips cannot be shared equally by {cut}.",
                f"Choose a multiple of {pieces}, such as --set optim.batch="
                f"{pieces * -(-batch // pieces)}, or other optim.parts.",
            )

    def check_same(self, number: int, problem: str, remedy: str) -> None:
        """Check that all processes have the same number.

        Raises:
            EchoError: With the problem, if they have not.
        """
        if self._greatest(number) != -self._greatest(-number):
            raise EchoError(problem, remedy)

    def _greatest(self, number: int) -> int:
        import torch
        import torch.distributed as dist

        if self.size == 1:
            return number
        found = torch.tensor(number)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)


ONE = Ranks()
"""A process that is alone."""


class _Agreement:
    """Whether any process wished for something when it was asked the time before."""

    def __init__(self, wish: Callable[[], bool]) -> None:
        import torch

        self._wish = wish
        self._wishes = torch.tensor(0)
        self._answer: Callable[[], object] | None = None

    def __call__(self) -> bool:
        import torch
        import torch.distributed as dist

        if self._answer is not None:
            self._answer()
        if self._wishes.item():
            return True
        self._wishes = torch.tensor(int(self._wish()))
        work = dist.all_reduce(self._wishes, dist.ReduceOp.MAX, async_op=True)
        assert work is not None, "this process is one of the group"
        self._answer = work.wait
        return False


def launched(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Return the place of this process among those that torchrun started with it."""
    if any(name not in environment for name in VARIABLES):
        return ONE
    rank, size, local = (int(environment[name]) for name in VARIABLES[:3])
    return Ranks(rank, size, local)


def _is_lost(error: RuntimeError) -> bool:
    """Return whether an error says that another process is gone."""
    import torch.distributed as dist

    # Gloo raises plain errors, which name the file that they come from.
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()
