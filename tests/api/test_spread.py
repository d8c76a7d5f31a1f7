"""Trainings of several processes: as one would train, one that writes, nothing lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from echocli.checkpoint import load_model
from echocli.device import choose_device
from echocli.distributed import ONE, Ranks, launched
from echocli.errors import EchoError, ExitCode, UsageError
from echocli.run import read_metrics
from echocli.states import load_state, saved_states

RUNS = Path(__file__).parent.parent / "team_runs.py"


class Ended(NamedTuple):
    """How one process of a run ended."""

    code: int
    out: str
    err: str


Found = dict[str, list[Ended]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("teams")


@pytest.fixture(scope="module")
def found(folder: Path, micro_clips: Path, micro_words: tuple[str, ...]) -> Found:
    """Return how the processes of every run ended."""
    settings = [part for word in micro_words for part in ("--set", word)]
    ended = subprocess.run(
        [sys.executable, str(RUNS), str(micro_clips), str(folder), *settings],
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "500"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=250,
    )
    runs: dict[str, list[dict[str, Any]]] = json.loads(ended.stdout)
    return {name: [Ended(**one) for one in ends] for name, ends in runs.items()}


def numbers(folder: Path) -> list[dict[str, float]]:
    """Return what the metrics say of each step, without what the clock said."""
    names = ("step", "loss", "grad_norm", "lr", "jepa", "localisation", "target_std")
    return [{name: record[name] for name in names} for record in read_metrics(folder)]


def weights(folder: Path) -> torch.Tensor:
    """Return all numbers of the newest state's method."""
    state = load_state(folder / "checkpoints")[0]["method"]
    return torch.cat([tensor.double().flatten() for tensor in state.values()])


def assert_same_training(one: Path, other: Path) -> None:
    for ours, theirs in zip(numbers(one), numbers(other), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert (weights(one) - weights(other)).norm() < 1e-4 * weights(other).norm()


@pytest.mark.parametrize("name", ["two", "shares"])
def test_two_processes_train_as_one_does_and_one_writes(
    found: Found, folder: Path, name: str
) -> None:
    leader, follower = found[name]
    assert (leader.code, follower.code) == (0, 0), leader.err + follower.err
    assert leader.out == f"{folder / name}\n"
    assert (follower.out, follower.err) == ("", "")
    assert_same_training(folder / name, folder / "one")
    model, alone = load_model(folder / name), load_model(folder / "one")
    ours, theirs = model.encoder.state_dict(), alone.encoder.state_dict()
    assert ours.keys() == theirs.keys()


@pytest.mark.parametrize("name", ["shares by one", "shares by two", "one by two"])
def test_any_number_of_processes_goes_on_from_any_state(
    found: Found, folder: Path, name: str
) -> None:
    assert {ended.code for ended in found[name]} == {0}, found[name]
    assert "nothing to do" not in found[name][0].err
    assert_same_training(folder / name, folder / "one")


def test_what_cannot_be_shared_is_refused_once(found: Found) -> None:
    leader, follower = found["uneven"]
    assert leader.code == follower.code == ExitCode.USAGE
    assert "2 process(es) in 3 parts each" in leader.err
    assert "optim.batch=6" in leader.err
    assert follower.err == ""


def test_what_is_no_clip_set_is_refused_once(found: Found) -> None:
    leader, follower = found["files"]
    assert leader.code == follower.code == ExitCode.USAGE
    assert "can only read a clip set" in leader.err
    assert follower.err == ""


def test_a_signal_to_one_process_lets_all_save_and_end(found: Found, folder: Path) -> None:
    leader, follower = found["stopped"]
    assert leader.code == follower.code == ExitCode.TERMINATED, leader.err + follower.err
    said = re.search(r"Saved after step (\d+) of", leader.err)
    assert said, leader.err
    assert load_state(folder / "stopped" / "checkpoints")[0]["step"] == int(said[1])
    assert len(read_metrics(folder / "stopped")) == int(said[1])
    assert follower.err == ""


def test_who_loses_another_process_says_so_and_the_state_before_stays(
    found: Found, folder: Path
) -> None:
    leader, follower = found["killed"]
    assert (leader.code, follower.code) == (ExitCode.MACHINE, -9), leader.err
    assert "Process 0 of 2 has lost another one" in leader.err
    states = saved_states(folder / "killed" / "checkpoints")
    assert states
    assert all(saved.whole for saved in states)


def test_only_all_of_torchruns_variables_make_a_team() -> None:
    place = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    meeting = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    assert launched({}) == launched(place) == launched({"WORLD_SIZE": "4", **meeting}) == ONE
    ranks = launched({**place, **meeting})
    assert ranks == Ranks(3, 4, 1)
    assert (ranks.leads, ranks.team.rank, ranks.team.size) == (False, 3, 4)


def test_every_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks(5, 8, 1)
    assert ONE.device("auto") == "auto"
    assert ONE.device("cuda:1") == "cuda:1"
    assert ranks.device("cpu") == "cpu"
    assert ranks.device("cuda") == "cuda:1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert ranks.device("auto") == "cuda:1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert ranks.device("auto") == "cpu"
    with pytest.raises(UsageError, match="cannot all compute on cuda:0"):
        ranks.device("cuda:0")


def test_who_is_alone_agrees_with_itself() -> None:
    def wish() -> bool:
        return True

    assert ONE.agreed(wish) is wish
    ONE.wait()
    ONE.check_same(3, "They differ.", "Never.")
    assert ONE.least(-3) == -3
    with (
        pytest.raises(EchoError, match="mine"),
        ONE.joined(choose_device("cpu")),
        ONE.leader_first(),
    ):
        raise EchoError("mine", "alone")
