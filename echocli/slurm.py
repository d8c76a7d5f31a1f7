"""Slurm: a script that runs a training under torchrun, and is queued again until it is done.

Some minutes before its time is over the job is signalled: training saves and ends, the job
goes back into the queue, and the same command goes on from where it stopped.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echocli.errors import MachineError, UsageError

TORCHRUN = ("-m", "torch.distributed.run")
"""What the command torchrun runs; it may not be on the path of a job."""
PORT = 29500
"""On which the processes find each other, PyTorch's own choice."""
SAVING_S = 300
"""Seconds before the end in which to save."""
CPUS_PER_GPU = 8
"""Processors to read clips and draw masks with."""


MOST_TIMES = 1000
"""How often a job may be queued again."""
FLAGS = ("--slurm", "--submit")
WISHES = ("--nodes", "--gpus", "--hours", "--sbatch")
"""Options of the command line that describe a job; these have values."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a job asks for."""

    nodes: int = 1
    """Machines."""
    gpus: int = 1
    """GPUs of each machine, and processes; with 0 there is one process, on processors."""
    hours: float = 24.0
    """After so long the job saves and is queued again."""
    more: dict[str, str] = field(default_factory=dict)
    """Other options of sbatch, such as ``partition``; they win."""

    @property
    def processes(self) -> int:
        """Processes of each machine."""
        return max(1, self.gpus)

    def options(self, name: str) -> dict[str, str]:
        """Return the options of sbatch.

        Args:
            name: Of the job.
        """
        minutes = round(self.hours * 60)
        gpus = {"gpus-per-node": str(self.gpus)} if self.gpus else {}
        return {
            "job-name": name,
            "nodes": str(self.nodes),
            "ntasks-per-node": "1",
            **gpus,
            "cpus-per-task": str(CPUS_PER_GPU * self.processes),
            "time": f"{minutes // 60:02}:{minutes % 60:02}:00",
            "signal": f"B:USR1@{SAVING_S}",
            "requeue": "",
            "open-mode": "append",
            "output": f"{name}-%j.log",
            **self.more,
        }


def wishes_from(
    nodes: int | None, gpus: int | None, hours: float | None, more: Sequence[str]
) -> Wishes:
    """Return what a job asks for.

    Args:
        nodes: See ``Wishes``; so with the next two. Defaults if left out.
        gpus: GPUs of each machine.
        hours: Time of the job.
        more: Words such as ``partition=gpu``.

    Raises:
        UsageError: If a word is not an option of sbatch with a value.
    """
    table = {}
    for word in more:
        name, equals, value = word.removeprefix("--").partition("=")
        if not name or not equals:
            raise UsageError(
                f"{word} is no option of sbatch with a value.",
                "Write it as --sbatch partition=gpu, once for each option.",
            )
        table[name] = value
    asked = {"nodes": nodes, "gpus": gpus, "hours": hours}
    return Wishes(**{k: v for k, v in asked.items() if v is not None}, more=table)  # type: ignore[arg-type]


def launch(words: Sequence[str], wishes: Wishes, head: str, job: str) -> list[str]:
    """Return the command that starts the processes of one machine.

    Args:
        words: Of the training, after ``echocli``.
        wishes: What the job has.
        head: Name of the machine where the processes find each other.
        job: Which processes belong together.
    """
    return [
        sys.executable,
        *TORCHRUN,
        f"--nnodes={wishes.nodes}",
        f"--nproc-per-node={wishes.processes}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={head}:{PORT}",
        f"--rdzv-id={job}",
        "-m",
        "echocli",
        *words,
    ]


def script(words: Sequence[str], wishes: Wishes, name: str) -> str:
    """Return a script for sbatch.

    Args:
        words: Of the training, after ``echocli``.
        wishes: What the job asks for.
        name: Of the job.
    """
    options = [
        f"#SBATCH --{key}={value}" if value else f"#SBATCH --{key}"
        for key, value in wishes.options(name).items()
    ]
    # What only the job knows goes in as the shell's variables.
    start, *rest = launch([], wishes, HEAD, JOB)
    started = " ".join([shlex.quote(start), *rest, *map(shlex.quote, words)])
    return "\n".join(["#!/bin/bash", *options, "", BODY.replace("COMMAND", started)])


HEAD, JOB = '"$head"', '"$SLURM_JOB_ID"'
BODY = f"""\
# {SAVING_S // 60} minutes before the time is over Slurm signals this script. Training then
# saves and ends, the job is queued again, and the same command goes on where it stopped.
set -u
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK  # since Slurm 22.05 srun has to be told
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT={SAVING_S - 60}  # seconds in which to save

again=no
trap 'again=yes; kill -TERM "$step"' USR1

srun COMMAND &
step=$!
wait "$step"
code=$?
while kill -0 "$step" 2>/dev/null; do  # a signal ends the wait, not the training
    wait "$step"
    code=$?
done

if [ "$again" = yes ]; then
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def submit(
    words: Sequence[str], wishes: Wishes, name: str, logs: Path, cluster: str = "slurm"
) -> str:
    """Submit a training through submitit and return the number of its job.

    Args:
        words: Of the training, after ``echocli``.
        wishes: What the job asks for.
        name: Of the job.
        logs: Folder for what submitit writes.
        cluster: ``slurm``, or submitit's ``local`` for this machine.

    Raises:
        MachineError: If submitit is not installed, or there is no Slurm.
    """
    try:
        import submitit
    except ModuleNotFoundError:
        raise MachineError(
            "Jobs are submitted by submitit, which is not installed.",
            "pip install submitit; or leave out --submit and give the script to sbatch.",
        ) from None
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise MachineError(
            "There is no sbatch on the path: this is no machine of a Slurm cluster.",
            "Submit from one, or leave out --submit and take the script there.",
        )
    executor = submitit.AutoExecutor(logs, cluster=cluster, slurm_max_num_timeout=MOST_TIMES)
    executor.update_parameters(
        name=name,
        nodes=wishes.nodes,
        tasks_per_node=1,
        gpus_per_node=wishes.gpus,
        cpus_per_task=CPUS_PER_GPU * wishes.processes,
        timeout_min=round(wishes.hours * 60),
        slurm_signal_delay_s=SAVING_S,
        slurm_additional_parameters={"requeue": True, **wishes.more},
    )
    return str(executor.submit(Training(list(words), wishes)).job_id)


@dataclass
class Training:
    """What submitit runs on each machine, and queues again when its time is over."""

    words: list[str]
    wishes: Wishes

    def __call__(self) -> None:
        """Start the processes of this machine and wait for them.

        Raises:
            CalledProcessError: If one fails.
        """
        import submitit

        here = submitit.JobEnvironment()
        command = launch(self.words, self.wishes, here.hostnames[0], here.job_id)
        environment = {**os.environ, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SAVING_S - 60)}
        # Slurm signals all processes of a job; only this one knows what is meant.
        self._process = subprocess.Popen(
            command,
            env=environment,
            preexec_fn=lambda: signal.signal(here._usr_sig(), signal.SIG_IGN),
        )
        code = self._process.wait()
        if code:
            raise subprocess.CalledProcessError(code, command)

    def checkpoint(self) -> Any:  # noqa: ANN401
        """Let the training save, and return what is to be queued again."""
        import submitit

        self._process.send_signal(signal.SIGTERM)
        # Not Popen.wait: this runs in a signal handler, in the midst of the one in __call__.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED)
        self._process.returncode = -signal.SIGTERM
        return submitit.helpers.DelayedSubmission(Training(self.words, self.wishes))


def without_wishes(words: Sequence[str]) -> list[str]:
    """Return the words of a command line without those that describe a job."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, _ = word.partition("=")
        if name in WISHES:
            if not equals:
                next(rest, None)
        elif word not in FLAGS:
            kept.append(word)
    return kept
