"""The script saves, queues itself again and goes on; without submitit it says what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from echocli import slurm
from echocli.errors import MachineError, UsageError

WORDS = ["pretrain", "clips", "--where", "normal == 1", "-o", "runs/x y"]


def test_what_describes_the_job_is_left_out_of_the_command() -> None:
    words = ["pretrain", "clips", "--slurm", "--nodes", "2", "--gpus=4", "--set", "optim.lr=1"]
    words += ["--sbatch", "partition=gpu", "--submit", "--hours", "3", "-o", "runs/x"]
    assert slurm.without_wishes(words) == [
        "pretrain", "clips", "--set", "optim.lr=1", "-o", "runs/x",
    ]  # fmt: skip


def test_options_of_the_job_are_those_asked_for() -> None:
    wishes = slurm.wishes_from(2, 4, 1.5, ["partition=gpu", "--mem=200G", "signal=B:USR1@99"])
    options = wishes.options("echo")
    assert (options["nodes"], options["gpus-per-node"]) == ("2", "4")
    assert options["time"] == "01:30:00"
    assert (options["partition"], options["mem"]) == ("gpu", "200G")
    assert options["signal"] == "B:USR1@99"  # the last word is the user's
    assert "gpus-per-node" not in slurm.wishes_from(None, 0, None, []).options("echo")
    with pytest.raises(UsageError, match="exclusive"):
        slurm.wishes_from(None, None, None, ["exclusive"])


def stand_ins(folder: Path, training: str) -> dict[str, str]:
    """Put commands of Slurm into a folder; return variables that find them."""
    commands = {
        "srun": training,
        "scontrol": f'if [ "$1" = show ]; then echo node1; else echo "$@" > {folder}/asked; fi',
    }
    for name, body in commands.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_CPUS_PER_TASK": "8"}
    return {**os.environ, **job, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_the_script_starts_the_training_on_every_machine(tmp_path: Path) -> None:
    environment = stand_ins(tmp_path, 'printf "%s\\n" "$@"; exit 3')
    text = slurm.script(WORDS, slurm.wishes_from(2, 4, None, []), "echo")
    ended = subprocess.run(
        ["bash", "-c", text], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (3, "")
    words = ended.stdout.splitlines()
    assert words[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert words[-len(WORDS) :] == WORDS
    assert {"--nnodes=2", "--nproc-per-node=4", "--rdzv-id=7"} <= set(words)
    assert f"--rdzv-endpoint=node1:{slurm.PORT}" in words
    assert not (tmp_path / "asked").exists()


def test_a_signal_lets_the_training_save_and_the_job_queue_again(tmp_path: Path) -> None:
    saving = f"trap 'sleep 0.3; touch {tmp_path}/saved; exit 143' TERM; touch {tmp_path}/began"
    environment = stand_ins(tmp_path, f"{saving}; while :; do sleep 0.05; done")
    text = slurm.script(WORDS, slurm.wishes_from(None, None, None, []), "echo")
    with subprocess.Popen(["bash", "-c", text], env=environment) as job:
        while not (tmp_path / "began").exists():
            time.sleep(0.02)
        job.send_signal(signal.SIGUSR1)
        assert job.wait(timeout=60) == 0
    assert (tmp_path / "saved").exists()
    assert (tmp_path / "asked").read_text() == "requeue 7\n"


def test_without_submitit_or_slurm_the_way_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = slurm.Wishes()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MachineError, match="pip install submitit"):
        slurm.submit(WORDS, wishes, "echo", tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="no sbatch"):
        slurm.submit(WORDS, wishes, "echo", tmp_path)


class Submitit(SimpleNamespace):
    """What we use of submitit, remembering what it was told."""

    def __init__(self) -> None:
        super().__init__(told={}, submitted=[])
        self.helpers = SimpleNamespace(DelayedSubmission=lambda training: ("again", training))

    def AutoExecutor(self, folder: Path, **options: Any) -> SimpleNamespace:  # noqa: N802
        def submit(training: slurm.Training) -> SimpleNamespace:
            self.submitted.append(training)
            return SimpleNamespace(job_id=12)

        return SimpleNamespace(update_parameters=self.told.update, submit=submit)

    def JobEnvironment(self) -> SimpleNamespace:  # noqa: N802
        signals = {"_usr_sig": lambda: signal.SIGUSR2}
        return SimpleNamespace(hostnames=["node1"], job_id="12", **signals)


@pytest.fixture
def submitit(monkeypatch: pytest.MonkeyPatch) -> Submitit:
    module = Submitit()
    monkeypatch.setitem(sys.modules, "submitit", module)
    return module


def test_submitit_is_told_what_the_job_asks_for(tmp_path: Path, submitit: Submitit) -> None:
    wishes = slurm.wishes_from(2, 4, 3, ["partition=gpu"])
    assert slurm.submit(WORDS, wishes, "echo", tmp_path, cluster="local") == "12"
    assert submitit.submitted == [slurm.Training(WORDS, wishes)]
    told = submitit.told
    assert (told["nodes"], told["gpus_per_node"], told["tasks_per_node"]) == (2, 4, 1)
    assert told["timeout_min"] == 180
    assert told["slurm_additional_parameters"]["partition"] == "gpu"


def test_the_end_of_its_time_lets_a_submitted_training_save(
    tmp_path: Path, submitit: Submitit, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Slurm's signal reaches the training too, which must not die of it.
    program = (
        "import os, signal, sys, time, pathlib\n"
        "def save(*_):\n"
        f"    pathlib.Path({str(tmp_path / 'saved')!r}).touch()\n"
        "    os._exit(143)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "os.kill(os.getpid(), signal.SIGUSR2)\n"
        f"pathlib.Path({str(tmp_path / 'began')!r}).touch()\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(slurm, "launch", lambda *given: [sys.executable, "-c", program])
    training, again = slurm.Training(WORDS, slurm.Wishes()), []

    def at_time_out(*_: object) -> None:
        again.append(training.checkpoint())
        raise SystemExit(1)  # as submitit does

    def signal_when_begun() -> None:
        while not (tmp_path / "began").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, at_time_out)
    try:
        threading.Thread(target=signal_when_begun).start()
        with pytest.raises(SystemExit):
            training()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert (tmp_path / "saved").exists()
    assert again == [("again", slurm.Training(WORDS, slurm.Wishes()))]


def test_a_submitted_training_that_fails_is_a_failed_job(
    submitit: Submitit, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [sys.executable, "-c", "raise SystemExit(5)"]
    monkeypatch.setattr(slurm, "launch", lambda *given: failing)
    with pytest.raises(subprocess.CalledProcessError):
        slurm.Training(WORDS, slurm.Wishes())()


def test_the_command_prints_a_script_of_its_own_words_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from echocli import main

    monkeypatch.chdir(tmp_path)
    words = ["pretrain", "clips", "--slurm", "--gpus", "2", "-o", "runs/heart"]
    monkeypatch.setattr(sys, "argv", ["echocli", *words])
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert not ended.value.code
    said = capsys.readouterr().out
    assert "#SBATCH --job-name=echocli-heart\n" in said
    assert "-m echocli pretrain clips -o runs/heart &" in said
    monkeypatch.setattr(sys, "argv", ["echocli", *words, "--overwrite"])
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == 2
    assert "begin anew" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
